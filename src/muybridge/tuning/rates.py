"""A range test of learning rates (Smith 2017, "Cyclical Learning Rates for Training Neural
Networks", section 3.3): one short training in which they rise until it fails."""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core import files
from ..core.errors import MuybridgeError, NotFinite
from ..recipe import Recipe
from ..training.optimizers import RANGE

PLOT = "rates.png"
_ABOVE = 30.0
"""How far above the recipe's own rates they rise."""
_NOTHING = 1e-9
_SMOOTH = 0.08
"""Share of the test over which losses are averaged: those of single batches say little."""
_BELOW = 3.0
"""How far below the rate of the least loss one is proposed: there it no longer falls."""


@dataclass(frozen=True)
class Rates:
    """What came of a test.

    Attributes:
        factors: of the recipe's rates, update by update.
        losses: of the batches, as a share of what they are without learning; medians of some.
        factor: what is proposed.
        changes: that say so, section.key=value.
    """

    factors: Sequence[float]
    losses: Sequence[float]
    factor: float
    changes: tuple[str, ...]


def range_test(recipe: Recipe, steps: int, out: Path) -> Rates:
    """Trains from fresh weights while the rates rise, and once more without learning; draws
    `rates.png` in `out`.

    Args:
        recipe: with its dataset.
        steps: updates; 100 and more say something.
        out: a folder, which is made.

    Raises:
        MuybridgeError: the loss was not a number before there was anything to see, or a tokenizer
            is to be trained first.
    """
    if recipe.tokenizer is not None and not recipe.tokenizer.run:
        raise MuybridgeError(
            f"{recipe.name} trains a tokenizer first, and is tested with one that is trained",
            f"test {recipe.tokenizer.recipe}, or --set tokenizer=RUN",
        )
    own = recipe.training.optimizer
    rising = _losses(recipe, steps, _ABOVE)
    if len(rising) < max(10, steps // 4):
        raise MuybridgeError(
            f"the loss is not a number after {len(rising)} of {steps} updates",
            "lower the recipe's rates a hundredfold and try again",
        )
    # The same batches and noise without learning: a batch that is easy says nothing of a rate.
    still = _losses(recipe, len(rising), _NOTHING)
    losses = np.array(rising) / np.array(still)
    shares = np.arange(len(losses)) / steps
    factors = _ABOVE * 10 ** (-RANGE * (1 - shares))
    smooth = smoothed(losses, max(3, round(_SMOOTH * steps)))
    factor = float(factors[int(np.argmin(smooth))] / _BELOW)
    changes = tuple(
        f"training.optimizer.{name}={factor * getattr(own, name):.2g}"
        for name in ("learning_rate", "muon_rate")
    )
    found = Rates(factors.tolist(), smooth.tolist(), factor, changes)
    files.write_bytes(out / PLOT, _drawn(found))
    return found


def _losses(recipe: Recipe, steps: int, factor: float) -> list[float]:
    """Of each batch, until one is not a number, in a training whose rates rise to a factor."""
    own = recipe.training.optimizer
    rising = recipe.with_(
        "training.minutes=null", "training.epochs=null", f"training.steps={steps}",
        "training.validations=0", "training.previews=0", "training.measures=0",
        "training.log_every=1", "training.loggers=[]", "training.save_seconds=1e9",
        "training.best=loss", "training.patience=null",
        "training.optimizer.schedule=range",
        f"training.optimizer.learning_rate={factor * own.learning_rate}",
        f"training.optimizer.muon_rate={factor * own.muon_rate}",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        run = Path(place) / "run"
        # That it fails at last is what the test is for.
        with contextlib.suppress(NotFinite):
            rising.train(run)
        log = run / "log.jsonl"
        text = log.read_text(encoding="utf-8") if log.exists() else ""
    lines = [json.loads(line) for line in text.splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "train"]


def smoothed(losses: Sequence[float], width: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Medians over `width` neighbours: one bad batch is not the end of the range."""
    values = np.asarray(losses, np.float64)
    around = range(len(values))
    return np.array(
        [np.median(values[max(0, n - width // 2) : n + math.ceil(width / 2)]) for n in around]
    )


def _drawn(found: Rates) -> bytes:
    import io

    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.semilogx(found.factors, found.losses)
    axes.axvline(found.factor, color="tab:green", label=f"proposed: {found.factor:.2g} times")
    axes.axvline(1, color="grey", linestyle=":", label="the recipe's own")
    least = min(found.losses)
    axes.set_ylim(least - 0.1 * abs(least), max(found.losses[: len(found.losses) // 2]) * 1.1)
    axes.set_xlabel("the rates, as a multiple of the recipe's")
    axes.set_ylabel("training loss, as a share of that at first")
    axes.legend()
    made = io.BytesIO()
    figure.savefig(made, format="png", dpi=110)
    return made.getvalue()
