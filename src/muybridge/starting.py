"""Training that begins from another run's weights."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from .core import files
from .core.errors import RunError
from .core.progress import say
from .models import text as text_module
from .objectives.base import Objective
from .recipe import Recipe, with_model

FILE = "init.safetensors"


def settled(recipe: Recipe, other: Path) -> Recipe:
    """A recipe that reads text as the other run did, whose word numbers its weights know.

    Raises:
        RunError: `other` is no run that was trained.
    """
    from .run import Run
    from .training import checkpoint

    run = Run.open(other)
    checkpoint.find(other, "last")
    there = getattr(run.recipe.model.config, "text", None)
    here = getattr(recipe.model.config, "text", None)
    if there is None or here is None:
        return recipe
    same = here.with_values(vocabulary=there.vocabulary, length=there.length)
    return with_model(recipe, text=same)


def copied(other: Path, recipe: Recipe, out: Path) -> None:
    """Keeps the other run's averaged weights in a run that is to begin from them, and its words.

    Raises:
        RunError: none of them fits, or they are for other latents.
    """
    from .run import Run

    objective, position = Run.open(other).trained()
    _same_latents(other, recipe)
    with torch.device("meta"):
        wanted = dict(recipe.model.module.build(recipe.model.config).named_parameters())
    found = {n: p.detach().clone() for n, p in objective.generator.named_parameters()}
    fits = [n for n, p in wanted.items() if _shape(found, n) == p.shape]
    if not fits:
        raise RunError(
            f"--init {other}: none of its weights fits a {recipe.model.kind} of this size",
            "take a recipe of the same model and size",
        )
    say(f"begins from {other}, step {position.step}: {len(fits)} of {len(wanted)} parts fit")
    with files.atomic(out / FILE) as place:
        save_file(found, place)
    if isinstance(getattr(recipe.model.config, "text", None), text_module.Config):
        words = (other / "vocabulary.json").read_text(encoding="utf-8")
        files.write_text(out / "vocabulary.json", words)


def _same_latents(other: Path, recipe: Recipe) -> None:
    """Raises RunError where both draw latents, and not those of one tokenizer."""
    ours, theirs = recipe.tokenizer, other / "tokenizer"
    if ours is None or not theirs.is_dir():
        return
    if not ours.run or _weights(Path(ours.run)) != _weights(theirs):
        raise RunError(
            f"--init {other}: its weights draw the latents of its own tokenizer, which this recipe "
            "does not take",
            f"--set tokenizer={theirs}",
        )


def _weights(run: Path) -> str:
    """The hash of a run's last averaged weights."""
    from .training import checkpoint

    state = files.read_json(checkpoint.find(run, "last") / "state.json", "checkpoint")
    return str(state["sha256"]["average"])


def begin(objective: Objective, folder: Path) -> None:
    """Gives an objective the weights that its run begins from, as far as they fit."""
    if not (folder / FILE).is_file():
        return
    found = load_file(folder / FILE)
    with torch.no_grad():
        for name, parameter in objective.generator.named_parameters():
            if name in found and found[name].shape == parameter.shape:
                parameter.copy_(found[name])


def _shape(found: dict[str, torch.Tensor], name: str) -> torch.Size | None:
    """That of the network's own part of this name, wherever the objective keeps its network."""
    one = found.get(f"network.{name}", found.get(name))
    return None if one is None else one.shape
