"""`muybridge segmenter`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Seed

JUDGED = 12


def segmenter(
    out: Annotated[Path, typer.Option(help="File to write.", show_default=False)],
    steps: Annotated[int, typer.Option(min=1, help="Updates.")] = 400,
    seed: Seed = 0,
) -> None:
    """Train what tells things from their background on the stage, for `generate --segmenter`."""
    from ..core.errors import DataError, MuybridgeError
    from ..core.progress import say
    from ..data.stage import MOTIONS
    from ..generation import foreground
    from ..generation.segmenter import kept_clips, overlap, train

    if out.exists():
        raise MuybridgeError(f"--out {out} exists", "give another, or remove it")
    made = train(steps, seed)
    made.save(out)
    say("overlap (IoU) with true masks, in clips it never saw; and of the model of the background:")
    for motion in MOTIONS:
        own, other = [], []
        for frames, real in kept_clips(motion, JUDGED, seed):
            own.append(overlap(made.foreground(frames), real))
            try:
                other.append(overlap(foreground.foreground(frames), real))
            except DataError:
                other.append(0.0)
        print(f"{motion:<12}{sum(own) / JUDGED:.2f}  {sum(other) / JUDGED:.2f}")
    say(f"next: muybridge generate RUN --video V --background B --segmenter {out} --out samples")
