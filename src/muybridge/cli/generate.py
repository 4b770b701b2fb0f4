"""`muybridge generate`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from .options import Checkpoint, Out


class Format(StrEnum):
    """What clips are written as."""

    mp4 = "mp4"
    gif = "gif"
    png = "png"


def _option(help: str) -> Any:
    return typer.Option(help=help, show_default=False)


def generate(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="Run folder.", show_default=False)],
    out: Out,
    text: Annotated[list[str], _option("Caption; several are gone through in turn.")] = [],  # noqa: B006
    label: Annotated[list[str], _option("Class; several are gone through in turn.")] = [],  # noqa: B006
    count: Annotated[int | None, _option("Clips; 8, or 1 where a file is given.")] = None,
    seconds: Annotated[
        float | None, _option("Length; that trained on, or of --video, when left out.")
    ] = None,
    seed: Annotated[int | None, _option("Of all chance; 0 when left out.")] = None,
    steps: Annotated[int | None, _option("Sampling steps; the recipe's when left out.")] = None,
    guidance: Annotated[float | None, _option("How strongly words are followed.")] = None,
    picture_guidance: Annotated[
        float | None, _option("How strongly what is given as pictures is followed; 1 as trained.")
    ] = None,
    image: Annotated[Path | None, _option("Picture to begin with.")] = None,
    last_image: Annotated[Path | None, _option("Picture to end with.")] = None,
    storyboard: Annotated[
        Path | None,
        _option("YAML list of moments: {at: seconds, text: ..., image: FILE, cut: true}."),
    ] = None,
    prefix: Annotated[
        Path | None, _option("Video to go on from: its last frames are the first of each clip.")
    ] = None,
    extend: Annotated[float | None, _option("Seconds that follow all of --prefix VIDEO.")] = None,
    between: Annotated[
        tuple[Path, Path] | None,
        _option("Two videos or pictures, to be joined by a passage of --seconds."),
    ] = None,
    sketch: Annotated[
        Path | None, _option("Drawing of the first frame, or a video of drawings.")
    ] = None,
    video: Annotated[
        Path | None, _option("Video to be edited, mended, filled or looped, as below.")
    ] = None,
    strength: Annotated[
        float | None, _option("Edit --video towards --text: .3 changes little, .9 nearly all.")
    ] = None,
    mask: Annotated[
        Path | None, _option("White where --video is to be made anew; or: things, background.")
    ] = None,
    background: Annotated[
        Path | None, _option("Picture, video or #rrggbb to put what moves in --video before.")
    ] = None,
    segmenter: Annotated[
        Path | None, _option("Weights by `muybridge segmenter`, which find what moves.")
    ] = None,
    outpaint: Annotated[
        float | None, _option("Border to make around --video or --image, such as .2 of it.")
    ] = None,
    upscale: Annotated[
        int | None, _option("Sharpen --video from 1/2 or 1/4 of the run's size.")
    ] = None,
    denoise: Annotated[bool, _option("Clean --video of noise and blocks.")] = False,
    colourise: Annotated[bool, _option("Colour --video.")] = False,
    interpolate: Annotated[
        float | None, _option("Frames a second that --video is to have.")
    ] = None,
    loop: Annotated[bool, _option("The end leads back to the beginning.")] = False,
    batch: Annotated[
        Path | None,
        _option(
            "JSON lines, each what these options say and a name; goes on where it was cut off."
        ),
    ] = None,
    checkpoint: Checkpoint = "last",
    format: Annotated[
        Format, typer.Option(help="mp4, gif, or folders of PNG frames.")
    ] = Format.mp4,
) -> None:
    """Make clips with a trained model, from words, pictures, drawings, video, or nothing."""
    from ..core.config import parse
    from ..core.errors import MuybridgeError
    from ..core.progress import say
    from ..generation.asked import Asked
    from ..generation.batches import read, write_all
    from ..generation.making import plan
    from ..generation.trained import option
    from ..generation.writing import Format as Written
    from ..generation.writing import write
    from ..run import Run

    given = {name: context.params.get(name) for name in Asked.model_fields}
    # 0 is a value like any other, and equals False.
    asked = {
        name: value
        for name, value in given.items()
        if value is not None and value is not False and value not in ([], ())
    }
    opened, form = Run.open(run), Written(format.value)
    if batch is not None:
        if asked:
            raise MuybridgeError(
                f"--batch {batch} and {', '.join(map(option, asked))}: lines say what to make",
                "leave the other options out, or --batch",
            )
        write_all(opened, read(batch), out, checkpoint, form)
        return
    wanted = parse(Asked, asked, "")
    planned = plan(opened, wanted)
    for line in planned.done:
        say(line)
    written = write(planned, wanted, out, checkpoint, form)
    say(f"{len(written)} clips and contact-sheet.png in {out}")
