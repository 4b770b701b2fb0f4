"""`muybridge recipes`."""

from __future__ import annotations

from typing import Annotated

import typer


def recipes(
    name: Annotated[
        str | None, typer.Argument(help="A recipe; all are listed when left out.")
    ] = None,
) -> None:
    """List the recipes that ship, or show all settings of one with their help."""
    from ..recipe import SHIPPED, Recipe, shipped

    if name is None:
        for one in shipped():
            first = (SHIPPED / f"{one}.yaml").read_text(encoding="utf-8").splitlines()[0]
            print(f"{one:<16}{first.lstrip('# ')}")
        return
    from ..core.config import explain

    recipe = Recipe.load(name)
    sections = {
        "data": recipe.data, "prepare": recipe.prepare, "model": recipe.model.config,
        "objective": recipe.objective.config, "training": recipe.training,
        "sampling": recipe.sampling, "evaluation": recipe.evaluation,
    }  # fmt: skip
    for section, settings in sections.items():
        print(f"{section}:")
        print(explain(settings, indent=2))
