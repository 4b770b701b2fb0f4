"""`muybridge evaluate`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Checkpoint, Json

if TYPE_CHECKING:
    from ..evaluation.clip_sets import Wanted

Subject = Annotated[
    Path, typer.Argument(help="Run folder, or a folder of videos.", show_default=False)
]
METRICS = (
    "Measures, by commas; left out, all but learned and kernel. Distances that need no weights: "
    "appearance, motion, and learned, which trains its network on the dataset first (minutes, "
    "once); kernel adds the kernel distance to each. manifold: precision, recall, density, "
    "coverage. time: warping error, flicker, amount of motion, drift, jump cuts and more. stage: "
    "words and physics, on the stage's clips. labels: what a classifier recognises. copying: of "
    "training clips. truth: PSNR, SSIM, LPIPS of videos that have the names of real ones. speed. "
    "baselines. With the published weights only: fid (and KID), fvd (and KVD), is."
)


class Format(StrEnum):
    """How scores are printed."""

    table = "table"
    markdown = "markdown"
    latex = "latex"


def evaluate(
    subject: Subject,
    real: Annotated[
        Path | None,
        typer.Option(
            help="Real footage to judge against: a dataset (its test split), or a folder of "
            "videos. Left out, a run's own dataset; a folder of videos needs it."
        ),
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="A rival, a run or a folder: judged alike, then compared.")
    ] = None,
    metrics: Annotated[str, typer.Option(help=METRICS, show_default=False)] = "",
    samples: Annotated[
        int | None,
        typer.Option(help="Clips that a run makes, 2 or more; its recipe's when left out."),
    ] = None,
    checkpoint: Checkpoint = "last",
    frames: Annotated[
        int | None, typer.Option(help="Of folders: judge the first so many frames of each video.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="Of folders: bring videos to this many frames a second.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Of folders: stretch pictures to HEIGHTxWIDTH.")
    ] = None,
    given: Annotated[
        int,
        typer.Option(help="First frames that the model was given; they are not judged."),
    ] = 0,
    weights: Annotated[
        str,
        typer.Option(help="Where published weights lie: a folder, a file, hf:OWNER/REPO/FILE."),
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="Folder for scores.json; the subject's when left out.")
    ] = None,
    format: Annotated[Format, typer.Option(help="How scores are printed.")] = Format.table,
    json: Json = False,
) -> None:
    """Judge a run, or a folder of videos, against real footage; writes scores.json."""
    from ..core.progress import say
    from ..judge import evaluate as judged

    found = judged(
        subject,
        real=real,
        against=against,
        metrics=tuple(name.strip() for name in metrics.split(",") if name.strip()),
        samples=samples,
        checkpoint=checkpoint,
        wanted=_wanted(frames, fps, size),
        given=given,
        weights=weights,
        out=out,
    )
    if json:
        import json as writer

        print(writer.dumps(found))
        return
    if format is Format.table:
        print(table(found))
    else:
        from ..report import scores_table

        print(getattr(scores_table, format.value)(found))
    folder = out or subject
    say(f"how each number was made is in {folder / 'scores.json'}\nnext: muybridge report {folder}")


def _wanted(frames: int | None, fps: float | None, size: str | None) -> Wanted:
    """What the videos of folders are brought to."""
    from ..core.errors import MuybridgeError
    from ..evaluation.clip_sets import Wanted

    if frames is not None and frames < 3:
        raise MuybridgeError(
            f"--frames {frames}: a clip that is judged has 3 frames or more", "as in --frames 16"
        )
    if fps is not None and not fps > 0:
        raise MuybridgeError(f"--fps {fps:g}: a rate is above 0", "as in --fps 8")
    sides: tuple[int, int] | None = None
    if size is not None:
        parts = size.lower().split("x")
        if len(parts) != 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
            raise MuybridgeError(f"--size {size}: not a height and a width", "write it as 64x64")
        sides = (int(parts[0]), int(parts[1]))
    return Wanted(frames, fps, sides)


def table(found: dict[str, Any]) -> str:
    """Scores in lines: value, interval, and the same for real clips; then what else was found."""
    lines = [_line(score) for score in found["scores"]]
    for other in found.get("baselines") or ():
        first = {score["name"]: score["value"] for score in other["scores"]}
        told = ", ".join(f"{name} {value:.3g}" for name, value in list(first.items())[:4])
        lines.append(f"baseline: {other['name']}: {told}")
    rival = found.get("comparison")
    if rival:
        lines += [
            f"against {rival['against']}: {row['name']}: {row['verdict']}"
            for row in rival["rows"]
            if row["verdict"] != "not told apart"
        ]
        lines += [
            f"against {rival['against']}: {row['name']} is not compared: {row['field']} differs"
            for row in rival["refused"]
        ]
    lines += [f"not computed: {one['name']}: {one['why']}" for one in found.get("missing") or ()]
    lines += [f"note: {warning}" for warning in found.get("warnings") or ()]
    return "\n".join(lines)


def _line(score: dict[str, Any]) -> str:
    interval = score["interval"]
    spread = f"  [{interval[0]:.3g}, {interval[1]:.3g}]" if interval else ""
    gap = "" if score["unit"] == "%" else " "
    floor = score["floor"]
    told = "" if floor is None else f"  real clips {floor:.3g}{gap}{score['unit']}".rstrip()
    ideal = f"ideal {score['target']:.3g}" if score["target"] is not None else "near to real"
    better = ideal if score["better"] == "near" else f"{score['better']} is better"
    value = f"{score['value']:>10.4g} {score['unit']:<5}"
    return f"{score['name']:<30}{value}{spread}{told} ({better})"
