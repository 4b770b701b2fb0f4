"""`muybridge tune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Out, Set

if TYPE_CHECKING:
    from ..recipe import Recipe


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
        typer.Option(help="YAML: what is searched; the usual settings when left out."),
    ] = None,
    prune: Annotated[bool, typer.Option(help="End bad trials early.")] = True,
    rates: Annotated[
        int, typer.Option(help="No search: one training of N updates in which the rates rise.")
    ] = 0,
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
    if rates:
        _show_rates(loaded, rates, out)
        return
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


def _show_rates(recipe: Recipe, steps: int, out: Path) -> None:
    from ..core.progress import say
    from ..tuning.rates import PLOT, range_test

    found = range_test(recipe, steps, out)
    say(f"proposed: {found.factor:.2g} times the recipe's rates; see {out / PLOT}")
    print(" ".join(f"--set {change}" for change in found.changes))
