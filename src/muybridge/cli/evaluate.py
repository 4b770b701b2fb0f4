"""`muybridge evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .options import Checkpoint, Json


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.", show_default=False)],
    checkpoint: Checkpoint = "last",
    samples: Annotated[
        int | None, typer.Option(help="Clips to judge; the recipe's when left out.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Dataset, if it lies elsewhere than when trained.")
    ] = None,
    json: Json = False,
) -> None:
    """Judge a run on its dataset's test split; writes RUN/scores.json."""
    from ..core.progress import say
    from ..run import Run

    scores = Run.open(run).evaluate(checkpoint, samples, data)
    if json:
        import json as writer

        print(writer.dumps(scores))
        return
    print(table(scores))
    say(f"how each number was made is in {run / 'scores.json'}\nnext: muybridge report {run}")


def table(scores: dict[str, Any]) -> str:
    """Scores in lines: value, interval, and the same for real clips."""
    lines = []
    for score in scores["scores"]:
        interval = score["interval"]
        spread = f"  [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""
        floor = (
            "" if score["floor"] is None else f"  real clips {score['floor']:.2f}{score['unit']}"
        )
        target = {"near": f"ideal {score['target']:g}" if score["target"] is not None else ""}.get(
            score["better"], f"{score['better']} is better"
        )
        lines.append(
            f"{score['name']:<28}{score['value']:>9.2f}{score['unit']:<2}{spread}{floor} ({target})"
        )
    return "\n".join(lines)
