"""`muybridge train`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .options import Out, Set


def train(
    recipe: Annotated[
        str, typer.Argument(help="A recipe that ships, or a YAML file.", show_default=False)
    ],
    data: Annotated[Path, typer.Option(help="Dataset, as prepare made it.", show_default=False)],
    out: Out,
    minutes: Annotated[float | None, typer.Option(help="Budget in minutes.")] = None,
    steps: Annotated[int | None, typer.Option(help="Budget in updates.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Budget in passes over the data.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of all chance; the recipe's when left out.")
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(help="Run whose weights a new one begins from.", show_default=False),
    ] = None,
    changes: Set = [],  # noqa: B006
) -> None:
    """Train a model. To go on after a stop, run the same command again; a larger budget extends."""
    from ..assembly import assemble
    from ..core import distributed
    from ..core.progress import say
    from ..recipe import Recipe

    distributed.spread()
    folder = json.dumps(str(data), ensure_ascii=False)  # YAML too, whatever signs are in it
    given = [f"data.folder={folder}", *budget(minutes, steps, epochs)]
    if seed is not None:
        given.append(f"seed={seed}")
    run = assemble(Recipe.load(recipe, (*given, *changes)), out, init)
    settings = run.recipe.training
    say(
        f"training in {settings.precision} on {settings.threads} threads; "
        f"previews go to {out / 'previews'}"
    )
    position = run.train()
    say(f"{position.step} steps in {position.seconds / 60:.1f} minutes")
    say(f"next: muybridge generate {out} --out samples, or muybridge evaluate {out}")


def budget(minutes: float | None, steps: int | None, epochs: float | None) -> list[str]:
    """Changes that put the budget given on the command line in place of the recipe's."""
    from ..core.errors import RecipeError

    given = {"minutes": minutes, "steps": steps, "epochs": epochs}
    chosen = [name for name, value in given.items() if value is not None]
    if len(chosen) > 1:
        raise RecipeError(
            " and ".join(f"--{name}" for name in chosen) + " are given: a run has one budget",
            "give one of them",
        )
    return (
        [f"training.{n}={'null' if v is None else v}" for n, v in given.items()] if chosen else []
    )
