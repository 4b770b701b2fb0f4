"""`muybridge generate`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Checkpoint, Out, Seed

if TYPE_CHECKING:
    from ..objectives.base import SampleRequest
    from ..run import Run


class Format(StrEnum):
    """What clips are written as."""

    mp4 = "mp4"
    gif = "gif"
    png = "png"


def generate(
    run: Annotated[Path, typer.Argument(help="Run folder.", show_default=False)],
    out: Out,
    text: Annotated[
        list[str] | None, typer.Option(help="Caption; several are gone through in turn.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Class.")] = None,
    count: Annotated[int, typer.Option(help="Clips.")] = 8,
    seconds: Annotated[
        float | None, typer.Option(help="Length; that trained on when left out.")
    ] = None,
    seed: Seed = 0,
    steps: Annotated[
        int | None, typer.Option(help="Sampling steps; the recipe's when left out.")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(help="How strongly conditions are followed.")
    ] = None,
    prefix: Annotated[
        Path | None,
        typer.Option(help="Video to go on from: its last frames are the first of each clip."),
    ] = None,
    checkpoint: Checkpoint = "last",
    format: Annotated[
        Format, typer.Option(help="mp4, gif, or folders of PNG frames.")
    ] = Format.mp4,
) -> None:
    """Make clips with a trained model, from text, a label, given frames, or nothing."""
    from ..core.progress import say
    from ..run import Run

    opened = Run.open(run)
    if prefix is None and opened.recipe.data.tasks.always:
        say("no --prefix: going on from first frames of training clips")
    elif prefix is None and not text and not label:
        say("no --text or --label: going through the conditions of the training clips")
    asked = opened.request(text, label, count, seconds, seed, steps, guidance, prefix)
    write_samples(opened, asked, out, checkpoint, format)
    say(f"{count} clips and contact-sheet.png in {out}")


def write_samples(
    run: Run, asked: SampleRequest, out: Path, checkpoint: str = "last", format: Format = Format.mp4
) -> None:
    """Makes the clips asked for and writes each with a JSON beside it, and a contact sheet."""
    from .. import prefixes
    from ..core import files, progress, video

    clips, position = run.make(asked, checkpoint)
    given = prefixes.count(asked)
    labels = run.conditions["labels"]
    changed = {n: getattr(asked, n) for n in ("steps", "guidance") if getattr(asked, n) is not None}
    sampling = run.recipe.sampling.model_dump(mode="json") | changed
    suffix = "" if format is Format.png else f".{format.value}"
    captions = []
    for index, clip in enumerate(progress.track(clips, "write")):
        name = f"clip-{index:04d}"
        path = out / f"{name}{suffix}"
        video.write_video(clip, path, run.recipe.data.fps, comment="synthetic: made by Muybridge")
        number = len(labels) if asked.label is None else int(asked.label[index])
        how = {
            "format": 1, "synthetic": True, "run": run.folder.name, "step": position.step,
            "caption": asked.text[index] if asked.text else "", "label": [*labels, ""][number],
            "clip_seed": int(asked.seeds[index]),
            "frames": clip.shape[0], "given_frames": given[index], "fps": run.recipe.data.fps,
            "sampling": sampling,
        }  # fmt: skip
        captions.append(how["caption"] or how["label"])
        files.write_json(out / f"{name}.json", how)
    shown = [video.to_uint8(clip) for clip in clips[:16]]
    sheet = video.contact_sheet(shown, captions, scale=2)
    files.write_bytes(out / "contact-sheet.png", video.png(sheet))
