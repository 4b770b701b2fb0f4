"""A recipe: the one composed configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pydantic

from .core import config
from .core.errors import RecipeError, nearest
from .data import loader, prepare, tasks
from .evaluation import metrics, suite
from .kinds import Part, beside, part_of
from .training.config import Config as Training

if TYPE_CHECKING:
    from .run import Run

SHIPPED = Path(__file__).parent / "recipes"
FORMAT = 1


class Tokenizer(config.Section):
    """What turns clips into the latents or tokens that the model works on: one of `recipe` and
    `run`."""

    recipe: str = ""
    """A recipe that is trained first, on the same clips."""
    run: str = ""
    """A run that has been trained; its weights are copied."""
    set: tuple[str, ...] = ()
    """Changes of that recipe, as of --set."""
    share: Annotated[float, pydantic.Field(gt=0, lt=1)] = 0.4
    """Share of the budget that goes into training it first."""
    stride: tuple[int, int, int] = (1, 1, 1)
    """Frames, rows and columns of pixels in one place of its latents, settled from it."""
    channels: int = 0
    """Numbers in one place, settled from it."""
    vocabulary: int = 0
    """Of its tokens, settled from it; 0 where it has none."""
    levels: tuple[int, ...] = ()
    """Steps of each of the numbers that a token stands for, settled from it."""


class Perceptual(config.Section):
    """The network that a `perceptual` part of a loss compares by: that of LPIPS, or one's own."""

    backbone: Literal["vgg", "alex"] = "vgg"
    """Of LPIPS."""
    weights: str = ""
    """Where its published weights lie: a folder or a file; "" for the usual caches."""
    run: str = ""
    """Instead, a run of kind vae, trained on clips like these: its encoder is copied."""
    sha256: str = ""
    """Of the weights, settled from them: evaluation refuses to judge by what trained."""


_FLOWS = 16
"""Rows and columns of pixels that optical flow takes, at least."""
_OPTIONAL = ("tokenizer", "perceptual", "critic")
BUDGETS = ("steps", "minutes", "epochs")


@dataclass(frozen=True)
class Recipe:
    """All settings of a run. Sections are defined beside the code that reads them."""

    name: str
    seed: int
    data: loader.Config
    prepare: prepare.Config
    tokenizer: Tokenizer | None
    perceptual: Perceptual | None
    critic: Part | None
    model: Part
    objective: Part
    training: Training
    sampling: config.Section
    evaluation: suite.Config

    @classmethod
    def load(cls, name: str | Path, changes: tuple[str, ...] = ()) -> Recipe:
        """Reads a recipe that ships (`flow-small`), or a file, with `section.key=value` changes.

        Raises:
            RecipeError: no such recipe, an unknown setting, or a value it cannot have.
        """
        path = Path(name)
        if path.suffix not in (".yaml", ".yml"):
            path = SHIPPED / f"{name}.yaml"
        if not path.is_file():
            known = shipped()
            close = nearest(str(name), known)
            raise RecipeError(
                f"recipe {str(name)!r} is neither a file nor one that ships",
                f"did you mean {close}?" if close else f"these ship: {', '.join(known)}",
            )
        tree = beside(config.read_yaml(path, "recipe"), path.parent)
        return cls.from_tree({"name": path.stem, **tree}, changes)

    @classmethod
    def stored(cls, run: Path) -> Recipe:
        """The recipe in a run's folder, as it was settled."""
        return cls.from_tree(beside(config.read_yaml(run / "recipe.yaml", "recipe"), run))

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any], changes: tuple[str, ...] = ()) -> Recipe:
        """Checks a tree of settings."""
        tree = config.override(dict(tree), changes)
        if (version := tree.pop("format", FORMAT)) != FORMAT:
            raise RecipeError(
                f"format = {version}: this version of Muybridge reads {FORMAT}", "update Muybridge"
            )
        known = [f.name for f in fields(cls)]
        for section in tree:
            if section not in known:
                close = nearest(section, known)
                hint = f"did you mean {close}?" if close else f"sections: {', '.join(known)}"
                raise RecipeError(f"{section} is not a section of a recipe", hint)
        sections = {k: v for k, v in tree.items() if k not in ("name", "seed", *_OPTIONAL)}
        for section, values in sections.items():
            if not isinstance(values, dict):
                raise RecipeError(f"{section} = {values!r}: a section holds settings, not a value")
        seed = tree.get("seed", 0)
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise RecipeError(f"seed = {seed!r}: a whole number is needed")
        data = config.parse(loader.Config, tree.get("data", {}), "data")
        stored = {"size": data.size, **tree.get("prepare", {})}
        objective = part_of("objectives", "flow_matching", tree.get("objective", {}), "objective")
        recipe = cls(
            name=str(tree.get("name", "")),
            seed=seed,
            data=data,
            prepare=config.parse(prepare.Config, stored, "prepare"),
            tokenizer=_tokenizer(tree.get("tokenizer")),
            perceptual=_perceptual(tree.get("perceptual")),
            critic=_critic(tree.get("critic")),
            model=part_of("models", "dit", tree.get("model", {}), "model"),
            objective=objective,
            training=config.parse(Training, tree.get("training", {}), "training"),
            sampling=config.parse(_sampling_of(objective), tree.get("sampling", {}), "sampling"),
            evaluation=config.parse(suite.Config, tree.get("evaluation", {}), "evaluation"),
        )
        recipe._check()
        return recipe

    def tree(self) -> dict[str, Any]:
        """All settings as plain values, as `recipe.yaml` holds them."""
        tree: dict[str, Any] = {"format": FORMAT}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Part):
                tree[item.name] = {"kind": value.kind, **value.config.model_dump(mode="json")}
            elif isinstance(value, config.Section):
                tree[item.name] = value.model_dump(mode="json")
            else:
                tree[item.name] = value
        return tree

    def with_(
        self, *changes: str, data: str | Path | None = None, minutes: float | None = None
    ) -> Recipe:
        """A changed copy: `with_("training.batch=8", data="dataset/", minutes=5)`."""
        given = list(changes)
        if data is not None:
            given.append(f"data.folder={json.dumps(str(data), ensure_ascii=False)}")
        if minutes is not None:
            given += ["training.steps=null", "training.epochs=null", f"training.minutes={minutes}"]
        return Recipe.from_tree(self.tree(), tuple(given))

    def train(self, out: str | Path, init: str | Path | None = None) -> Run:
        """Trains, or goes on training, in the run folder `out`; a new run begins from the weights
        of the run `init` where one is given."""
        from .assembly import assemble

        run = assemble(self, Path(out), None if init is None else Path(init))
        run.train()
        return run

    def _check(self) -> None:
        budget = {n: getattr(self.training, n) for n in BUDGETS}
        given = {name: value for name, value in budget.items() if value is not None}
        if len(given) != 1:
            told = (
                " and ".join(f"training.{n} = {v}" for n, v in given.items()) or "no budget is set"
            )
            raise RecipeError(
                f"{told}: a recipe has one budget",
                "set one of training.steps, minutes and epochs, the others null",
            )
        if next(iter(given.values())) <= 0:
            name, value = next(iter(given.items()))
            raise RecipeError(f"training.{name} = {value}: a budget is more than 0")
        best, during = self.training.best, self.evaluation.during
        if best != "loss" and best.removesuffix(" distance") not in during:
            raise RecipeError(
                f"training.best = {best!r}: neither loss nor a distance of evaluation.during",
                f"add {best.removesuffix(' distance')} there, or take "
                + ", ".join(["loss", *(f"'{name} distance'" for name in during)]),
            )
        if best != "loss" and not self.training.measures:
            raise RecipeError(
                f"training.best = {best!r}, but training.measures = 0: it is never scored",
                "set training.measures=4, or training.best=loss",
            )
        against = getattr(getattr(self.objective.config, "pixels", None), "adversarial", 0.0)
        if against and self.critic is None:
            raise RecipeError(
                f"objective.pixels.adversarial = {against:g}, but the recipe has no critic",
                "add critic: {kind: gan3d, size: nano}",
            )
        if self.critic is not None and not against:
            raise RecipeError(
                f"critic is set, but objective.kind = {self.objective.kind} does not ask it",
                "set objective.pixels.adversarial=0.1 where there is such a setting, or leave "
                "critic out",
            )
        self._check_tasks()
        metrics.check_names(self.evaluation.metrics, "evaluation.metrics")
        metrics.check_names(self.evaluation.during, "evaluation.during")
        for name in self.evaluation.during:
            if name in ("truth", "speed", "prediction", "baselines"):
                raise RecipeError(
                    f"evaluation.during: {name} is not measured while training",
                    "leave it out here; muybridge evaluate measures it",
                )
        if self.data.frames < 3:
            raise RecipeError(f"data.frames = {self.data.frames}: motion is judged over 3 or more")
        sides = {
            "data.frames": self.data.frames,
            "height of data.size": self.data.size[0],
            "width of data.size": self.data.size[1],
        }
        whose = "model.patch's" if self.tokenizer is None else "the tokenizer's"
        patches = {whose: self.multiple}
        if self.critic is not None:
            patches["the critic's"] = getattr(self.critic.config, "patch", (1, 1, 1))
        for whose, patch in patches.items():
            for (name, side), step in zip(sides.items(), patch, strict=True):
                if side < step or side % step:
                    raise RecipeError(
                        f"{name} = {side} is not a multiple of {whose} {step}",
                        "change one of the two",
                    )
        pixels = getattr(self.objective.config, "pixels", None)
        if getattr(pixels, "motion", 0) and min(self.data.size) < _FLOWS:
            raise RecipeError(
                f"objective.pixels.motion: {min(self.data.size)} pixels are too few for optical "
                "flow",
                f"it takes {_FLOWS} or more on each side; set it to 0",
            )

    def _check_tasks(self) -> None:
        guides, kind = self.data.tasks.guides, self.objective.kind
        if not guides:
            return
        if kind in ("flow_matching", "shortcut") and self.tokenizer is not None:
            raise RecipeError(
                f"data.tasks asks to look at {', '.join(guides)}: these are "
                "pixels, and the model is over a tokenizer's latents",
                "leave out either the tasks or the tokenizer",
            )
        if kind == "autoencoder":
            raise RecipeError(
                "data.tasks: an autoencoder takes clips whole, and goes on from nothing",
                "leave the tasks out, or take flow-any",
            )
        if kind == "adversarial" and not getattr(self.model.config, "picture", True):
            raise RecipeError(
                "data.tasks: a GAN goes on from a first frame where it is made to",
                "set model.picture=true, or leave the tasks out",
            )

    @property
    def multiple(self) -> tuple[int, int, int]:
        """Frames, rows and columns that clips are multiples of."""
        patch = getattr(self.model.config, "patch", (1, 1, 1))
        stride = (1, 1, 1) if self.tokenizer is None else self.tokenizer.stride
        return patch[0] * stride[0], patch[1] * stride[1], patch[2] * stride[2]

    def first_stage(self) -> Recipe:
        """The recipe of the tokenizer that is trained first, with its share of the budget."""
        assert self.tokenizer is not None
        inner = Recipe.load(self.tokenizer.recipe, self.tokenizer.set)
        training = inner.training.with_values(
            **self._budget(self.tokenizer.share), previews=0, measures=0,
            precision=self.training.precision, threads=self.training.threads,
            micro_batch=self.training.micro_batch,
        )  # fmt: skip
        data = self.data.with_values(tasks=tasks.Config())  # a tokenizer takes clips whole
        return replace(inner, seed=self.seed, data=data, training=training)

    def second_stage(self) -> Training:
        """How the model itself is trained: with what the tokenizer leaves of the budget."""
        if self.tokenizer is None or not self.tokenizer.recipe:
            return self.training
        return self.training.with_values(**self._budget(1 - self.tokenizer.share))

    def _budget(self, share: float) -> dict[str, float | None]:
        """A share of the budget, as settings of training."""
        whole = {name: getattr(self.training, name) for name in BUDGETS}
        part = {n: None if v is None else v * share for n, v in whole.items()}
        if part["steps"] is not None:
            part["steps"] = max(1, round(part["steps"]))
        return part


def _tokenizer(given: Any) -> Tokenizer | None:
    if given is None:
        return None
    values = {"run": given} if isinstance(given, str) else given
    if not isinstance(values, dict):
        raise RecipeError(
            f"tokenizer = {given!r}: a run's folder, or a section of settings", "see recipes/README"
        )
    made = config.parse(Tokenizer, values, "tokenizer")
    if bool(made.recipe) == bool(made.run):
        raise RecipeError(
            f"tokenizer.recipe = {made.recipe!r} and tokenizer.run = {made.run!r}: one is needed",
            "name the recipe to train first, or a run that was trained",
        )
    if made.run:  # a run must open from any folder
        made = made.with_values(run=str(Path(made.run).resolve()))
    return made


def _perceptual(given: Any) -> Perceptual | None:
    if given is None:
        return None
    made = config.parse(
        Perceptual, {"run": given} if isinstance(given, str) else given, "perceptual"
    )
    return made.with_values(run=str(Path(made.run).resolve())) if made.run else made


def _critic(given: Any) -> Part | None:
    """Networks whose discriminator looks at clips beside other losses, and is told nothing."""
    if given is None:
        return None
    if not isinstance(given, dict):
        raise RecipeError(
            f"critic = {given!r}: a section of settings", "as in critic: {kind: gan3d, size: nano}"
        )
    made = part_of("models", "gan3d", given, "critic")
    untold = {"labels": 0, "text": None, "picture": False}
    fields_of = type(made.config).model_fields
    known = {name: value for name, value in untold.items() if name in fields_of}
    return replace(made, config=made.config.with_values(**known))


def _sampling_of(objective: Part) -> type[config.Section]:
    """The type of a recipe's `sampling`: what the objective's file calls so; by default empty."""
    found: type[config.Section] = getattr(objective.module, "Sampling", config.Section)
    return found


def shipped() -> list[str]:
    """Names of the recipes that ship."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def with_model(recipe: Recipe, **values: Any) -> Recipe:
    """A copy with settings of the model changed; those its kind does not have are left out."""
    known = type(recipe.model.config).model_fields
    fitting = {key: value for key, value in values.items() if key in known}
    changed = replace(recipe.model, config=recipe.model.config.with_values(**fitting))
    return replace(recipe, model=changed)
