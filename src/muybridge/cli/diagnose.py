"""`muybridge diagnose`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Json


def diagnose(
    run: Annotated[Path, typer.Argument(help="Run folder.", show_default=False)],
    json: Json = False,
) -> None:
    """Say what went wrong in a training, by which figures, and what to change; with a plot."""
    from dataclasses import asdict

    from .. import diagnosis
    from ..core.progress import say
    from ..run import Run

    opened = Run.open(run)
    found = diagnosis.diagnose(opened)
    plot = diagnosis.draw(opened)
    if json:
        import json as writer

        print(writer.dumps(asdict(found) | {"plot": str(plot)}))
        return
    wrong = [one for one in found.findings if not one.advice]
    print(f"{run} after {found.step} updates: {_counted(len(wrong))}\n")
    for one in found.findings:
        figures = ", ".join(f"{name} {value:.3g}" for name, value in one.figures.items())
        print(f"{one.name}: {one.said}\n  seen by: {figures}\n  to try:  {one.hint}\n")
    for name, value in found.figures.items():
        print(f"  {name:<18}{value:.3g}")
    say(f"plot: {plot}")


def _counted(wrong: int) -> str:
    return "nothing wrong is seen" if not wrong else f"{wrong} thing{'s' * (wrong > 1)} to look at"
