"""`muybridge compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Out, Set


def compare(
    data: Annotated[Path, typer.Option(help="Dataset, as prepare made it.", show_default=False)],
    recipes: Annotated[
        str,
        typer.Option(help="Recipes, parted by commas: flow-small,gan3d,...", show_default=False),
    ],
    out: Out,
    minutes: Annotated[float, typer.Option(help="Budget of each, in minutes.")] = 10,
    changes: Set = [],  # noqa: B006
) -> None:
    """Train several recipes for the same time, judge them alike, and write one leaderboard.

    The same command goes on after a stop; a recipe that fails does not stop the others.
    """
    from ..compare import compare as compared
    from ..core.errors import MuybridgeError
    from ..core.progress import say

    names = [name.strip() for name in recipes.split(",") if name.strip()]
    found = compared(data, names, minutes, out, changes)
    if found.page is not None:
        say(f"page: {found.page}")
    if found.failed:
        told = "; ".join(f"{name}: {why}" for name, why in found.failed.items())
        raise MuybridgeError(
            f"{len(found.failed)} of {len(names)} were not judged: {told}",
            "the others are on the page" if found.page else "mend what is named, and run it again",
        )
