"""`muybridge stage`."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import Out, Seed


def stage(
    out: Out,
    count: Annotated[int, typer.Option(help="Clips.")] = 400,
    size: Annotated[int, typer.Option(help="Height and width in pixels.")] = 64,
    fps: Annotated[float, typer.Option(help="Frames per second.")] = 24.0,
    seconds: Annotated[float, typer.Option(help="Length of a clip.")] = 2.0,
    seed: Seed = 0,
    motions: Annotated[
        str,
        typer.Option(
            help="Any of bounce, slide, hide, collide, circle, grow, spin and pair, with commas; "
            "or all."
        ),
    ] = "bounce,slide,hide",
) -> None:
    """Make test footage with known physics: things that bounce, slide and pass behind a pillar.

    With --motions also things that collide, circle, grow and spin, and pairs.
    """
    from ..core.progress import say
    from ..data.stage import make_stage

    make_stage(out, count, size=(size, size), fps=fps, seconds=seconds, seed=seed, motions=motions)
    say(f"{count} clips in {out}\nnext: muybridge prepare {out} --out dataset")
