"""What is searched: for each setting, a range or some choices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pydantic

from ..core import config
from ..core.errors import RecipeError
from ..recipe import Recipe

if TYPE_CHECKING:
    import optuna

_COMPARABLE = ("model.", "training.", "critic.")


class Range(config.Section):
    """The values of one setting: `least` to `most`, or one of `choices`."""

    least: float | None = None
    """Smallest value."""
    most: float | None = None
    """Largest value."""
    log: bool = True
    """Each factor is as likely as any other."""
    whole: bool = False
    """Whole numbers alone."""
    choices: tuple[Any, ...] = ()
    """Instead, values of any kind."""

    @pydantic.model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        ends = self.least is not None and self.most is not None
        if ends == bool(self.choices) or (ends and not self.least < self.most):  # type: ignore[operator]
            raise ValueError("give least and a larger most, or choices")
        return self

    def draw(self, trial: optuna.Trial, name: str) -> Any:
        """A value for a trial."""
        if self.choices:
            return trial.suggest_categorical(name, self.choices)
        assert self.least is not None and self.most is not None
        if self.whole:
            return trial.suggest_int(name, int(self.least), int(self.most), log=self.log)
        return trial.suggest_float(name, self.least, self.most, log=self.log)

    @property
    def some(self) -> Any:
        """One of the values."""
        if self.choices:
            return self.choices[0]
        assert self.least is not None
        return int(self.least) if self.whole else self.least

    def holds(self, value: Any) -> bool:
        """Whether a value is one of these."""
        if self.choices:
            return value in self.choices
        assert self.least is not None and self.most is not None
        return isinstance(value, int | float) and self.least <= value <= self.most


Space = Mapping[str, Range]


def read_space(path: Path) -> Space:
    """A space from YAML: by setting, `{least: .., most: ..}` or a list of choices.

    Raises:
        RecipeError: a setting that trials cannot be compared over, or no range.
    """
    found = {}
    for name, value in config.read_yaml(path, "space").items():
        if not name.startswith(_COMPARABLE):
            raise RecipeError(
                f"{path.name}: {name}: held-out losses of trials that differ in it do not compare",
                f"search settings of {', '.join(part[:-1] for part in _COMPARABLE)}",
            )
        values = {"choices": value} if isinstance(value, list) else value
        if not isinstance(values, dict):
            raise RecipeError(
                f"{path.name}: {name} = {value!r} is no range",
                "write {least: 0.001, most: 0.1} or [a, b, c]",
            )
        found[name] = config.parse(Range, values, f"{path.name}: {name}")
    if not found:
        raise RecipeError(f"{path} names no setting", "see docs/tuning.md")
    return found


def usual_space(recipe: Recipe) -> Space:
    """Of a recipe: rates within a factor of ten, batch, decay; depth, width and dropout of a model
    that has such a setting. Not guidance, which no held-out loss tells of."""
    rates = recipe.training.optimizer
    found = {"training.optimizer.learning_rate": rates.learning_rate}
    if rates.kind == "muon":
        found["training.optimizer.muon_rate"] = rates.muon_rate
    space = {name: Range(least=rate / 10, most=10 * rate) for name, rate in found.items()}
    batch = recipe.training.batch
    space["training.batch"] = Range(choices=tuple(sorted({max(1, batch // 2), batch, 2 * batch})))
    decay = rates.weight_decay
    usual = Range(least=decay / 10, most=10 * decay) if decay else Range(choices=(0.0, 0.01, 0.1))
    space["training.optimizer.weight_decay"] = usual
    depth = getattr(recipe.model.config, "depth", None)
    if isinstance(depth, int):
        space["model.depth"] = Range(least=max(1, depth // 2), most=2 * depth, whole=True)
    width, heads = (getattr(recipe.model.config, name, None) for name in ("width", "heads"))
    if isinstance(width, int) and isinstance(heads, int) and width % (4 * heads) == 0:
        space["model.width"] = Range(choices=(width // 2, width, 2 * width))
    if hasattr(recipe.model.config, "dropout"):
        space["model.dropout"] = Range(choices=(0.0, 0.1, 0.2))
    return space
