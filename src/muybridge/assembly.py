"""From a recipe to a run: what the recipe leaves open is settled, and the run folder made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from . import prefixes, starting
from .core import config, device, distributed, files
from .core.errors import RecipeError, RunError
from .core.mirror import mirrored
from .data import loader, splits
from .data.store import Dataset
from .kinds import OWN, kept, same
from .models import text as text_module
from .recipe import FORMAT, Recipe, with_model

if TYPE_CHECKING:
    from .run import Run

_LONGEST_CAPTION = 64
_VOCABULARY = 2048

# What may change between a run and its resumption without making it another run.
FREE = (
    "name", "data.folder", "tokenizer.share",
    "training.steps", "training.minutes", "training.epochs",
    "training.validations", "training.previews", "training.save_seconds", "training.keep",
    "training.log_every", "training.loggers", "training.shard", "training.compile",
    "training.micro_batch", "sampling", "evaluation", "prepare",
)  # fmt: skip


def assemble(recipe: Recipe, out: Path, init: Path | None = None) -> Run:
    """Settles what the recipe leaves open, and makes the run folder or finds it as it was left.

    Args:
        recipe: what is to be trained.
        out: the run's folder.
        init: a run whose weights it begins from; of no meaning for one that has begun.

    Raises:
        RunError: the folder holds another run, or something that is no run.
        MuybridgeError: the dataset does not fit the recipe.
    """
    from .run import Run

    distributed.start()
    distributed.check_share(recipe.training.batch)
    if recipe.tokenizer is not None and not recipe.tokenizer.run:
        distributed.check_share(recipe.first_stage().training.batch, "tokenizer's training.batch")
    if distributed.rank() == 0:
        settled = settle(recipe, previous(out), init)  # errors come before anything is made
        with files.locked(out, "run"):
            old = previous(out)
            settled = _own_files(settled, old) if old else settled
            if old is None:
                if init is not None:
                    starting.copied(init, settled, out)
                write_new(settled, out)
            elif settled != old:
                _same_run(old, settled, out)
                write(settled, out)
    distributed.wait()
    return Run.open(mirrored(out))


def settle(recipe: Recipe, old: Recipe | None, init: Path | None = None) -> Recipe:
    """Fills in what a recipe leaves to the machine and the data; what `old` settled stays, and
    words are read as the run `init` reads them."""
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
        training = training.with_values(threads=old.training.threads if old else _threads())
    if training.memory == "auto" and training.micro_batch is None:
        from . import probe

        fits = old.training.micro_batch if old else probe.micro_batch(recipe)
        training = training.with_values(micro_batch=fits)
    recipe = replace(
        recipe, training=training, data=recipe.data.with_values(digest=dataset.facts["digest"])
    )
    if recipe.tokenizer is not None:
        recipe = _settle_tokenizer(recipe, old)
    if recipe.perceptual is not None:
        from . import perceptual

        known = old.perceptual.sha256 if old and old.perceptual else ""
        there = recipe.perceptual.with_values(sha256=known) if known else None
        recipe = replace(recipe, perceptual=there or perceptual.settled(recipe.perceptual))
    words = getattr(recipe.model.config, "text", None)
    if words is not None:
        before = getattr(old.model.config, "text", None) if old else None
        if before is not None and not (words.vocabulary and words.length):
            left = {n: getattr(words, n) or getattr(before, n) for n in ("vocabulary", "length")}
            words = words.with_values(**left)
        words = _settle_text(words, _captions(dataset))
    guides = recipe.data.tasks.guides
    recipe = with_model(recipe, labels=len(dataset.labels), text=words, guides=guides)
    return recipe if init is None else starting.settled(recipe, init)


def _threads() -> int:
    """Cores for each of the processes on this machine."""
    return max(1, device.cores() // distributed.neighbours())


def _settle_tokenizer(recipe: Recipe, old: Recipe | None) -> Recipe:
    """Fills in what the model must know of its tokenizer, and checks that clips fit both."""
    wanted, before = recipe.tokenizer, old.tokenizer if old else None
    assert wanted is not None
    if before is not None and (wanted.recipe, wanted.run) == (before.recipe, before.run):
        found = before  # it is in the run, and need not be anywhere else
    else:
        inner = _trained(Path(wanted.run)) if wanted.run else recipe.first_stage()
        with torch.device("meta"):
            network = inner.model.module.build(inner.model.config)
        if not hasattr(network, "encode"):
            raise RecipeError(
                f"tokenizer: {wanted.run or wanted.recipe} is a {inner.model.kind}, which makes no "
                "latents",
                "name a run or a recipe of kind vae",
            )
        found = wanted.with_values(
            stride=network.stride, channels=network.channels, vocabulary=network.vocabulary,
            levels=network.config.levels,
        )  # fmt: skip
    told = {name: getattr(found, name) for name in ("channels", "vocabulary", "levels")}
    recipe = replace(recipe, tokenizer=wanted.with_values(stride=found.stride, **told))
    recipe = with_model(recipe, frames=recipe.data.frames, stride=found.stride, **told)
    return Recipe.from_tree(recipe.tree())


def _trained(folder: Path) -> Recipe:
    """The recipe of a run that has a checkpoint."""
    from .run import Run
    from .training import checkpoint

    run = Run.open(folder)
    checkpoint.find(folder, "last")
    return run.recipe


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
    if words is not None and not (out / starting.FILE).exists():
        files.write_text(
            out / "vocabulary.json", text_module.learn_vocabulary(captions, words.vocabulary)
        )
    if recipe.data.tasks.always:
        prefixes.keep(loader.Loader(dataset, "train", recipe.data), out)
    write(recipe, out)


def write(recipe: Recipe, out: Path) -> None:
    """Writes `recipe.yaml`."""
    import yaml

    tree = kept(recipe.tree(), out)
    text = yaml.safe_dump(tree, sort_keys=False, default_flow_style=None)
    files.write_text(out / "recipe.yaml", text)


def previous(out: Path) -> Recipe | None:
    """The recipe of the run in a folder, as it was settled; None where there is no run yet."""
    if (out / "recipe.yaml").is_file():
        return Recipe.stored(out)
    # Written before the recipe: all that a process killed in `write_new` can have left.
    begun = {"conditions.json", "vocabulary.json", OWN, prefixes.FILE, starting.FILE}
    if out.is_file():
        raise RunError(f"--out {out} is a file, not a run", "give a new folder")
    if out.exists() and any(p.name not in begun and p.name[0] != "." for p in out.iterdir()):
        raise RunError(f"--out {out} exists and is not a run", "give a new folder")
    return None


def _own_files(recipe: Recipe, old: Recipe) -> Recipe:
    """The recipe with the run's own copies of files, which must be the same."""
    critic = recipe.critic
    if critic is not None and old.critic is not None:
        critic = same(critic, old.critic, "critic")
    model = same(recipe.model, old.model, "model")
    objective = same(recipe.objective, old.objective, "objective")
    return replace(recipe, model=model, objective=objective, critic=critic)


def _same_run(old: Recipe, new: Recipe, out: Path) -> None:
    there = config.differences(old.tree(), new.tree())
    real = [line for line in there if not line.startswith(FREE)]
    if real:
        raise RunError(
            f"--out {out} holds a run with other settings: {'; '.join(real)}",
            "give another --out for a new run, or the old settings to go on with this one",
        )
