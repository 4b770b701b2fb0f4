"""Two stages: a tokenizer that is trained first, or taken from another run, and kept in the run.

`RUN/tokenizer` is a run folder of its own; a model over its latents never changes it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from .assembly import assemble
from .core import device, distributed, files
from .core.clips import Batch
from .core.errors import RunError
from .core.mirror import mirrored
from .core.progress import say, track
from .data.augment import Config as Augment
from .data.loader import Loader
from .data.store import Dataset
from .kinds import OWN
from .latent_cache import LatentCache
from .objectives.base import Objective
from .objectives.latents import Latents
from .recipe import BUDGETS
from .run import Run
from .training import checkpoint as checkpoints
from .training.config import Config as Training

_CLIPS, _CHUNK = 256, 16
_LEAST = 1e-3
"""Minutes that a model is trained for where its tokenizer took them all."""


def first(run: Run, dataset: Dataset) -> None:
    """Trains or copies the tokenizer, and measures what its latents are standardised by; what is
    done is not done again."""
    place, source = run.folder / "tokenizer", run.recipe.tokenizer
    if source is None or (place / "latents.json").exists():
        return
    if source.run:
        if distributed.rank() == 0:
            copy_of(Path(source.run), place)
    else:
        inner = run.recipe.first_stage()
        budget = next(f"{v:g} {n}" for n in BUDGETS if (v := getattr(inner.training, n)))
        say(f"first its tokenizer, {source.recipe}: {budget}")
        assemble(inner, place).train()
    distributed.wait()
    if distributed.rank() == 0:
        _measure(run, Run.open(place), dataset)
    mirrored(place)


def left(run: Run) -> Training:
    """How the model itself is trained: with what its tokenizer left of the budget."""
    source, training = run.recipe.tokenizer, run.recipe.second_stage()
    if source is None or not source.recipe or training.epochs is not None:
        return training
    ahead, whole = (
        checkpoints.load(checkpoints.find(run.folder / "tokenizer", "last"), ())[0],
        run.recipe.training,
    )
    if whole.minutes is not None:
        return training.with_values(minutes=max(whole.minutes - ahead.seconds / 60, _LEAST))
    assert whole.steps is not None
    return training.with_values(steps=max(whole.steps - ahead.step, 1))


def loaded(run: Run) -> tuple[nn.Module, list[float], list[float]]:
    """A run's tokenizer, with the mean and deviation of each channel of its latents.

    Raises:
        RunError: it is not trained yet.
    """
    place = run.folder / "tokenizer"
    if not (place / "latents.json").exists():
        raise RunError(
            f"{run.folder} has no tokenizer yet: {place} is not trained to its end",
            "to go on training, run the same command again",
        )
    facts = files.read_json(place / "latents.json")
    return network_of(Run.open(place)), facts["mean"], facts["std"]


def cached(run: Run, train: Loader, objective: Objective) -> Callable[[Batch], Batch]:
    """Gives training batches their latents from the cache beside the dataset, where the model is
    of latents and its clips are not varied."""
    latents: Latents | None = getattr(objective, "latents", None)
    if latents is None or run.recipe.data.augment != Augment():
        return lambda batch: batch
    inner = Run.open(run.folder / "tokenizer")

    def encode(clips: Tensor) -> Tensor:
        with torch.no_grad(), inner.autocast():
            return latents.tokenizer.encode(clips.to(device.pick())).float()

    return LatentCache(train, key_of(inner), encode, inner.folder).filled


def key_of(tokenizer: Run) -> str:
    """What its latents are known by: its weights, and the precision that it computes in."""
    state = files.read_json(checkpoints.find(tokenizer.folder, "last") / "state.json")
    return files.digest_of(state["sha256"]["average"], tokenizer.recipe.training.precision)


def network_of(run: Run) -> nn.Module:
    """The averaged network of a run, which is not to be trained."""
    network = run.restored()[0].generator.get_submodule("network")
    return network.eval().requires_grad_(False)


def copy_of(source: Path, place: Path) -> None:
    """What a run needs to be opened: its settings, and the weights of its last checkpoint."""
    last = checkpoints.find(source, "last")
    with files.atomic(place) as folder:
        (folder / "checkpoints").mkdir(parents=True)
        for name in ("recipe.yaml", "conditions.json", "vocabulary.json"):
            if (source / name).exists():
                shutil.copyfile(source / name, folder / name)
        if (source / OWN).is_dir():
            shutil.copytree(source / OWN, folder / OWN)
        shutil.copytree(last, folder / "checkpoints" / last.name)


def _measure(run: Run, tokenizer: Run, dataset: Dataset) -> None:
    """Writes the mean and deviation of each channel of the latents of training clips."""
    network, train = network_of(tokenizer), run.loader(dataset, "train")
    count, found = min(_CLIPS, 4 * len(train.clips)), []
    for begin in track(range(0, count, _CHUNK), "latents"):
        clips = train.fixed(count, begin, min(begin + _CHUNK, count)).clips
        with torch.no_grad(), tokenizer.autocast():
            made = network.encode(clips.to(device.pick()))  # type: ignore[operator]
        found.append(made.double().cpu().transpose(1, 2).flatten(2))
    each = torch.cat(found).transpose(0, 1).flatten(1)
    facts = {"mean": each.mean(1).tolist(), "std": each.std(1).clamp(min=1e-6).tolist()}
    files.write_json(tokenizer.folder / "latents.json", {"format": 1, **facts})
