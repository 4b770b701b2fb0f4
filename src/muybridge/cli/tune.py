"""`muybridge tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Out, Set


def tune(
    recipe: Annotated[
        str, typer.Argument(help="A recipe that ships, or a YAML file.", show_default=False)
    ],
    data: Annotated[Path, typer.Option(help="Dataset, as prepare made it.", show_default=False)],
    out: Out,
    trials: Annotated[int, typer.Option(help="Trainings in all.")] = 20,
    minutes: Annotated[float, typer.Option(help="Budget of each, in minutes.")] = 2,
    space: Annotated[
        Path | None,
        typer.Option(help="YAML: what is searched; rates, batch and decay when left out."),
    ] = None,
    prune: Annotated[bool, typer.Option(help="End bad trials early.")] = True,
    changes: Set = [],  # noqa: B006
) -> None:
    """Search settings of a recipe by many short trainings; the same command goes on.

    Several may run it at once, with the same --out.
    """
    from ..core.progress import say
    from ..recipe import Recipe
    from ..tuning import page, search
    from ..tuning import space as spaces

    loaded = Recipe.load(recipe, tuple(changes)).with_(data=data)
    searched = spaces.usual_space(loaded) if space is None else spaces.read_space(space)
    study = search.tune(loaded, searched, trials, minutes, out, prune)
    for one in sorted(study.trials, key=lambda t: float("inf") if t.loss is None else t.loss)[:8]:
        loss = one.state if one.loss is None else f"{one.loss:.4g}"
        values = ", ".join(
            f"{n.rsplit('.', 1)[-1]} {v:.3g}" if isinstance(v, float) else f"{n} {v}"
            for n, v in one.values.items()
        )
        print(f"trial {one.number:<4}{loss:<10}{values}")
    written = page.write_page(study, out / "tuning.html")
    say(f"{page.told(study)}\npage: {written}")
    say(f"next: muybridge train {study.recipe} --data {data} --out run")
