"""What a training will take, measured on its first updates: memory, and time for a step."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .core import device, distributed, files
from .core.errors import MuybridgeError, RunError
from .core.progress import say
from .recipe import Recipe

_STEPS = 6
_FEW, _MORE = 2, 4
_USED = 0.85
"""Share of the free memory that is taken, at most."""
# What takes no memory to speak of, or would take long.
_SHORT = (
    "training.measures=0", "training.loggers=[]", "training.log_every=1",
    "training.save_seconds=1e9", "training.minutes=null", "training.epochs=null",
    f"training.steps={_STEPS}", "training.memory=asked", "training.shard=none",
    "training.best=loss", "training.patience=null",
)  # fmt: skip
_WHOLE = (*_SHORT, "training.previews=1", "training.validations=1")
_TOKENIZER = (*_SHORT, "training.previews=0", "training.validations=1")
_STEPS_ALONE = (*_SHORT, "training.previews=0", "training.validations=0")


class _Killed(MuybridgeError):
    """The system ended the process: it does so where memory runs out."""


@dataclass(frozen=True)
class Needs:
    """What it takes.

    Attributes:
        memory_gib: most that the process holds while it trains, judges, saves and shows samples.
        free_gib: memory that there is.
        step_seconds: for an update.
        steps: in the recipe's budget, or what a tokenizer leaves of it.
        minutes: of the budget, a tokenizer's counted.
        micro_batch: clips at once that memory suffices for, where all of a batch do not fit.
    """

    memory_gib: float
    free_gib: float
    step_seconds: float
    steps: int
    minutes: float
    micro_batch: int | None


def measure(recipe: Recipe) -> Needs:
    """Takes a few updates in a process of their own, on the recipe's dataset, and all else that a
    training does between them, once; a tokenizer that is to be trained first likewise.

    Raises:
        MuybridgeError: they cannot be taken; the message is that of training.
    """
    try:
        with _stages(recipe) as (first, model):
            found = _measured(model, _taken(model))
            ahead = _measured(*first) if first else None
    except _Killed as error:
        few = micro_batch(recipe)
        raise RunError(
            f"memory does not suffice for {recipe.training.batch} clips at once",
            f"--set training.micro_batch={few or _FEW}: the batch stays",
        ) from error
    if ahead is None:
        return found
    fits = [count for count in (ahead.micro_batch, found.micro_batch) if count]
    return replace(
        found,
        memory_gib=max(ahead.memory_gib, found.memory_gib),
        minutes=ahead.minutes + found.minutes,
        micro_batch=min(fits, default=None),
    )


@contextmanager
def _stages(recipe: Recipe) -> Iterator[tuple[tuple[Recipe, list[dict[str, Any]]] | None, Recipe]]:
    """A recipe that trains a tokenizer first becomes two: that of the tokenizer with the log of its
    first updates, and its own with what these made. Another one stays alone."""
    if recipe.tokenizer is None or recipe.tokenizer.run:
        yield None, recipe
        return
    from .data.loader import Loader
    from .data.store import Dataset
    from .latent_cache import place_of
    from .run import Run
    from .stages import key_of

    ahead = recipe.first_stage()
    say(f"first its tokenizer, {recipe.tokenizer.recipe}")
    with tempfile.TemporaryDirectory() as place:
        lines = _tried(ahead.with_(*_TOKENIZER), Path(place))
        made = Path(place) / "run"
        model = replace(recipe, training=recipe.second_stage()).with_(f"tokenizer={made}")
        try:
            yield (ahead, lines), model
        finally:  # its latents are of no use to anybody
            run = Run.open(made)
            loader = Loader(Dataset.open(recipe.data.folder), "train", recipe.data)
            files.remove(place_of(loader, key_of(run), run.folder))


def _taken(recipe: Recipe) -> list[dict[str, Any]]:
    """The log of a recipe's first updates; of a model over latents once these are kept, as they are
    for all of a training but its beginning."""
    for _ in range(1 if recipe.tokenizer is None else 2):
        with tempfile.TemporaryDirectory() as place:
            lines = _tried(recipe.with_(*_WHOLE), Path(place))
    return lines


def _measured(recipe: Recipe, lines: list[dict[str, Any]]) -> Needs:
    own = sorted(float(line["seconds"]) for line in lines if line["kind"] == "train")
    seconds = (own[-1] - own[0]) / (len(own) - 1)
    memory = max(float(line["peak_memory_gib"]) for line in lines)
    steps, minutes = _budget(recipe, seconds)
    found = device.examine()
    free = found.gpu_memory_gib if found.gpu else found.memory_gib
    return Needs(memory, free, seconds, steps, minutes, _fits(recipe, memory, free))


def micro_batch(recipe: Recipe) -> int | None:
    """How many clips at once memory suffices for; None where that is all of a process's share.

    It follows from what 2 and 4 clips take, so that no more memory than that is tried.

    Raises:
        RunError: not even two do.
        MuybridgeError: the updates cannot be taken.
    """
    if recipe.training.batch // distributed.world() <= _MORE:
        return None
    with _stages(recipe) as (first, model):
        found = [_most(one) for one in ([first[0]] if first else []) + [model]]
    return min((count for count in found if count), default=None)


def _most(recipe: Recipe) -> int | None:
    share = recipe.training.batch // distributed.world()
    say(f"trying how much memory {_FEW} and {_MORE} clips take")
    peaks = []
    for count in (_FEW, _MORE):
        asked = (f"training.batch={_MORE}", f"training.micro_batch={count}")
        with tempfile.TemporaryDirectory() as place:
            lines = _tried(recipe.with_(*_STEPS_ALONE, *asked), Path(place), alone=True)
        peaks.append(max(float(line["peak_memory_gib"]) for line in lines))
    few, more = peaks
    room = _USED * device.free_memory() / 2**30 - few
    if room < 0:
        raise RunError(
            f"memory does not suffice: {_FEW} clips take {few:.1f} GiB",
            "take a smaller model.size, fewer data.frames or a smaller data.size, or set "
            "model.recompute=true where there is such a setting",
        )
    each = max((more - few) / (_MORE - _FEW), 1e-3)
    most = _FEW + int(room / each)
    return None if most >= share else most


def _tried(recipe: Recipe, folder: Path, alone: bool = False) -> list[dict[str, Any]]:
    """The log of a few updates; `alone`, by one process on one GPU, whoever asks for it."""
    import yaml

    files.write_text(folder / "recipe.yaml", yaml.safe_dump(recipe.tree(), sort_keys=False))
    command = [
        sys.executable, "-m", "muybridge", "train", str(folder / "recipe.yaml"), "--data",
        recipe.data.folder, "--out", str(folder / "run"),
    ]  # fmt: skip
    env = dict(os.environ)
    if alone:
        env = {name: value for name, value in env.items() if name not in ("WORLD_SIZE", "RANK")}
        env["CUDA_VISIBLE_DEVICES"] = env.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL):
        raise _Killed("the first updates were killed, as by lack of memory", "take fewer clips")
    if done.returncode:
        last = next((x for x in done.stderr.splitlines() if x.startswith("error: ")), "")
        message = last.removeprefix("error: ") or done.stderr[-400:]
        raise MuybridgeError(f"the first updates failed: {message}", "see the message")
    text = (folder / "run" / "log.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    return [line for line in lines if line["kind"] in ("train", "end")]


def _budget(recipe: Recipe, seconds: float) -> tuple[int, float]:
    """Updates and minutes of the recipe's budget."""
    training = recipe.training
    if training.minutes is not None:
        return round(60 * training.minutes / seconds), training.minutes
    steps = training.steps
    if steps is None:
        from .data.store import Dataset

        clips = Dataset.open(recipe.data.folder).facts["clips"]["train"]
        steps = round((training.epochs or 0) * clips / training.batch)
    return steps, steps * seconds / 60


def _fits(recipe: Recipe, memory: float, free: float) -> int | None:
    if memory < 0.9 * free:
        return None
    size = recipe.training.micro_batch or recipe.training.batch
    return max(1, int(size * 0.8 * free / memory))
