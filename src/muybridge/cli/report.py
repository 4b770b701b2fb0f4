"""`muybridge report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Run folders, or folders that were evaluated; several make a leaderboard.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="The page; RUN/report.html when left out.")
    ] = None,
) -> None:
    """Write one HTML page, offline and whole: curves, samples beside real clips, scores."""
    from ..core.progress import say
    from ..report import write_report

    say(f"page: {write_report(runs, out)}")
