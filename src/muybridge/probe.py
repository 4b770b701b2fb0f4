"""What a training will take, measured on its first updates: memory, and time for a step."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .core import device, files
from .core.errors import MuybridgeError
from .recipe import Recipe

_STEPS = 6
# What is neither needed for a step nor small beside it.
_QUIET = (
    "training.previews=0", "training.measures=0", "training.validations=0",
    "training.loggers=[]", "training.log_every=1", "training.save_seconds=1e9",
    "training.minutes=null", "training.epochs=null", f"training.steps={_STEPS}",
)  # fmt: skip


@dataclass(frozen=True)
class Needs:
    """What it takes.

    Attributes:
        memory_gib: most that the process holds while it trains.
        free_gib: memory that there is.
        step_seconds: for an update.
        steps: in the recipe's budget.
        minutes: of the budget.
        micro_batch: clips at once that memory suffices for, where all of a batch do not fit.
    """

    memory_gib: float
    free_gib: float
    step_seconds: float
    steps: int
    minutes: float
    micro_batch: int | None


def measure(recipe: Recipe) -> Needs:
    """Takes a few updates in a process of their own, on the recipe's dataset.

    A tokenizer that is to be trained first is left out: its recipe is measured by itself.

    Raises:
        MuybridgeError: they cannot be taken; the message is that of training.
    """
    if recipe.tokenizer is not None and not recipe.tokenizer.run:
        raise MuybridgeError(
            f"{recipe.name} trains a tokenizer first, and is measured with one that is trained",
            f"measure {recipe.tokenizer.recipe}, or --set tokenizer.run=RUN",
        )
    with tempfile.TemporaryDirectory() as place:
        lines = _tried(recipe.with_(*_QUIET), Path(place))
    own = sorted(float(line["seconds"]) for line in lines)
    seconds = (own[-1] - own[0]) / (len(own) - 1)
    memory = max(float(line["peak_memory_gib"]) for line in lines)
    steps, minutes = _budget(recipe, seconds)
    found = device.examine()
    free = found.gpu_memory_gib if found.gpu else found.memory_gib
    return Needs(memory, free, seconds, steps, minutes, _fits(recipe, memory, free))


def _tried(recipe: Recipe, folder: Path) -> list[dict[str, Any]]:
    """The log of a few updates."""
    import yaml

    files.write_text(folder / "recipe.yaml", yaml.safe_dump(recipe.tree(), sort_keys=False))
    command = [
        sys.executable, "-m", "muybridge", "train", str(folder / "recipe.yaml"), "--data",
        recipe.data.folder, "--out", str(folder / "run"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = next((x for x in done.stderr.splitlines() if x.startswith("error: ")), "")
        message = last.removeprefix("error: ") or done.stderr[-400:]
        raise MuybridgeError(f"the first updates failed: {message}", "see the message")
    text = (folder / "run" / "log.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    return [line for line in lines if line["kind"] == "train"]


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
