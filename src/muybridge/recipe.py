"""A recipe: the one composed configuration, and `assemble`, which makes a run of it."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .core import config, device, distributed, files
from .core.errors import RecipeError, RunError, nearest
from .data import loader, prepare, splits
from .data.store import Dataset
from .evaluation import metrics, suite
from .models import text as text_module
from .training import loop

if TYPE_CHECKING:
    from .run import Run

HERE = Path(__file__).parent
SHIPPED = HERE / "recipes"
FORMAT = 1
_LONGEST_CAPTION = 64
_VOCABULARY = 2048

# What may change between a run and its resumption without making it another run.
FREE = (
    "name", "data.folder", "training.steps", "training.minutes", "training.epochs",
    "training.validations", "training.previews", "training.save_seconds", "training.keep",
    "training.log_every", "training.tensorboard", "sampling", "evaluation", "prepare",
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A section whose type is chosen by its `kind`: a file's name, or a path to a user's own."""

    folder: str
    kind: str
    config: config.Section

    @property
    def module(self) -> ModuleType:
        """The file itself."""
        return load_kind(self.folder, self.kind)


@dataclass(frozen=True)
class Recipe:
    """All settings of a run. Sections are defined beside the code that reads them."""

    name: str
    seed: int
    data: loader.Config
    prepare: prepare.Config
    model: Part
    objective: Part
    training: loop.Config
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
        tree = config.read_yaml(path, "recipe")
        return cls.from_tree({"name": path.stem, **tree}, changes)

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
        sections = {k: v for k, v in tree.items() if k not in ("name", "seed")}
        for section, values in sections.items():
            if not isinstance(values, dict):
                raise RecipeError(f"{section} = {values!r}: a section holds settings, not a value")
        seed = tree.get("seed", 0)
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise RecipeError(f"seed = {seed!r}: a whole number is needed")
        data = config.parse(loader.Config, tree.get("data", {}), "data")
        stored = {"size": data.size, **tree.get("prepare", {})}
        objective = _part("objectives", "flow_matching", tree.get("objective", {}), "objective")
        recipe = cls(
            name=str(tree.get("name", "")),
            seed=seed,
            data=data,
            prepare=config.parse(prepare.Config, stored, "prepare"),
            model=_part("models", "dit", tree.get("model", {}), "model"),
            objective=objective,
            training=config.parse(loop.Config, tree.get("training", {}), "training"),
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

    def train(self, out: str | Path) -> Run:
        """Trains, or goes on training, in the run folder `out`."""
        run = assemble(self, Path(out))
        run.train()
        return run

    def _check(self) -> None:
        budget = {n: getattr(self.training, n) for n in ("steps", "minutes", "epochs")}
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
        metrics.check_names(self.evaluation.metrics, "evaluation.metrics")
        metrics.check_names(self.evaluation.during, "evaluation.during")
        for name in self.evaluation.during:
            if name in ("truth", "speed", "baselines"):
                raise RecipeError(
                    f"evaluation.during: {name} is not measured while training",
                    "leave it out here; muybridge evaluate measures it",
                )
        if self.data.frames < 3:
            raise RecipeError(f"data.frames = {self.data.frames}: motion is judged over 3 or more")
        patch = getattr(self.model.config, "patch", (1, 1, 1))
        sides = {
            "data.frames": self.data.frames,
            "height of data.size": self.data.size[0],
            "width of data.size": self.data.size[1],
        }
        for (name, side), step in zip(sides.items(), patch, strict=True):
            if side < step or side % step:
                raise RecipeError(
                    f"{name} = {side} is not a multiple of model.patch's {step}",
                    "change one of the two",
                )


def _sampling_of(objective: Part) -> type[config.Section]:
    """The type of a recipe's `sampling`: what the objective's file calls so; by default empty."""
    found: type[config.Section] = getattr(objective.module, "Sampling", config.Section)
    return found


def shipped() -> list[str]:
    """Names of the recipes that ship."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def kinds(folder: str) -> list[str]:
    """Names of the kinds in a folder of the package: those of its files that have a `build`."""
    return sorted(p.stem for p in (HERE / folder).glob("*.py") if "\ndef build(" in p.read_text())


def load_kind(folder: str, kind: str) -> ModuleType:
    """The file of a kind: `dit`, or `./mine.py` for a user's own.

    Raises:
        RecipeError: there is none, or a user's file lacks `Config` or `build`.
    """
    if kind.endswith(".py"):
        path = Path(kind)
        spec = importlib.util.spec_from_file_location(f"muybridge_own_{path.stem}", path)
        if not path.is_file() or spec is None or spec.loader is None:
            raise RecipeError(
                f"kind {kind!r} is not a file", "the path is taken from where you are"
            )
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        missing = [name for name in ("Config", "build") if not hasattr(module, name)]
        if missing:
            raise RecipeError(
                f"{kind} does not define {' and '.join(missing)}", "see CONTRIBUTING.md"
            )
        return module
    known = kinds(folder)
    if kind not in known:
        close = nearest(kind, known)
        hint = (
            f"did you mean {close}?" if close else f"known: {', '.join(known)}, or a path ./mine.py"
        )
        raise RecipeError(f"kind {kind!r} is not in {folder}", hint)
    return importlib.import_module(f"muybridge.{folder}.{kind}")


def _part(folder: str, default: str, values: Mapping[str, Any], where: str) -> Part:
    values = dict(values)
    kind = str(values.pop("kind", default))
    if kind.endswith(".py"):  # a run must open from any folder
        kind = str(Path(kind).resolve())
    module = load_kind(folder, kind)
    size = values.pop("size", None)
    if size is not None:
        sizes: dict[str, dict[str, Any]] = getattr(module, "SIZES", {})
        if size not in sizes:
            raise RecipeError(
                f"{where}.size = {size!r} is not a size of {kind}", f"sizes: {', '.join(sizes)}"
            )
        values = {**sizes[size], **values}
    return Part(folder, kind, config.parse(module.Config, values, where))


def assemble(recipe: Recipe, out: Path) -> Run:
    """Settles what the recipe leaves open, and makes the run folder or finds it as it was left.

    Raises:
        RunError: the folder holds another run, or something that is no run.
        MuybridgeError: the dataset does not fit the recipe.
    """
    from .run import Run

    distributed.start()
    if distributed.rank() == 0:
        settled = settle(recipe, _previous(out))  # errors come before anything is made
        with files.locked(out, "run"):
            old = _previous(out)
            if old is None:
                write_new(settled, out)
            elif settled != old:
                _same_run(old, settled, out)
                write(settled, out)
    distributed.wait()
    return Run.open(out)


def settle(recipe: Recipe, old: Recipe | None) -> Recipe:
    """Fills in what a recipe leaves to the machine and the data; what `old` settled stays."""
    if not recipe.data.folder:
        raise RecipeError(
            "data.folder is not set", "give --data DATASET, as muybridge prepare made it"
        )
    dataset = Dataset.open(recipe.data.folder)
    if old is not None and old.data.digest != dataset.facts["digest"]:
        raise RunError(
            f"dataset {dataset.folder} is not the one this run began with (digest "
            f"{dataset.facts['digest'][:12]}, not {old.data.digest[:12]})",
            "give the old dataset, or another --out for a new run",
        )
    for split in splits.NAMES:
        loader.Loader(dataset, split, recipe.data)
    training = recipe.training
    if training.precision == "auto":
        chosen = old.training.precision if old else device.examine().precision
        training = training.with_values(precision=chosen)
    if training.threads == 0:
        training = training.with_values(threads=old.training.threads if old else device.cores())
    recipe = replace(
        recipe, training=training, data=recipe.data.with_values(digest=dataset.facts["digest"])
    )
    words = getattr(recipe.model.config, "text", None)
    if words is not None:
        words = _settle_text(words, _captions(dataset))
    return with_model(recipe, labels=len(dataset.labels), text=words)


def _settle_text(settings: text_module.Config, captions: list[str]) -> text_module.Config | None:
    if not captions:
        return None
    from tokenizers import Tokenizer

    size = settings.vocabulary or _VOCABULARY
    tokenizer = Tokenizer.from_str(text_module.learn_vocabulary(captions, size))
    longest = max(len(one.ids) for one in tokenizer.encode_batch(captions))
    return settings.with_values(
        vocabulary=size, length=settings.length or min(longest, _LONGEST_CAPTION)
    )


def _captions(dataset: Dataset) -> list[str]:
    return sorted({clip.caption for clip in dataset.of("train")} - {""})


def write_new(recipe: Recipe, out: Path) -> None:
    """Makes a run folder: the settled recipe last, since it is what makes it a run."""
    dataset = Dataset.open(recipe.data.folder)
    captions = _captions(dataset)
    pairs = sorted({(clip.caption, clip.label) for clip in dataset.of("train")})
    files.write_json(
        out / "conditions.json",
        {
            "format": FORMAT,
            "labels": dataset.labels,
            "captioned": bool(captions),
            "known": [{"text": caption, "label": label} for caption, label in pairs],
            "mean": dataset.facts["mean"],
            "std": dataset.facts["std"],
        },
    )
    words = getattr(recipe.model.config, "text", None)
    if words is not None:
        files.write_text(
            out / "vocabulary.json", text_module.learn_vocabulary(captions, words.vocabulary)
        )
    write(recipe, out)


def write(recipe: Recipe, out: Path) -> None:
    """Writes `recipe.yaml`."""
    import yaml

    text = yaml.safe_dump(recipe.tree(), sort_keys=False, default_flow_style=None)
    files.write_text(out / "recipe.yaml", text)


def _previous(out: Path) -> Recipe | None:
    if (out / "recipe.yaml").is_file():
        return Recipe.from_tree(config.read_yaml(out / "recipe.yaml", "recipe"))
    # Written before the recipe: all that a process killed in `write_new` can have left.
    begun = {"conditions.json", "vocabulary.json"}
    if out.is_file():
        raise RunError(f"--out {out} is a file, not a run", "give a new folder")
    if out.exists() and any(p.name not in begun and p.name[0] != "." for p in out.iterdir()):
        raise RunError(f"--out {out} exists and is not a run", "give a new folder")
    return None


def _same_run(old: Recipe, new: Recipe, out: Path) -> None:
    there = config.differences(old.tree(), new.tree())
    real = [line for line in there if not line.startswith(FREE)]
    if real:
        raise RunError(
            f"--out {out} holds a run with other settings: {'; '.join(real)}",
            "give another --out for a new run, or the old settings to go on with this one",
        )


def with_model(recipe: Recipe, **values: Any) -> Recipe:
    """A copy with settings of the model changed; those its kind does not have are left out."""
    known = type(recipe.model.config).model_fields
    fitting = {key: value for key, value in values.items() if key in known}
    changed = replace(recipe.model, config=recipe.model.config.with_values(**fitting))
    return replace(recipe, model=changed)
