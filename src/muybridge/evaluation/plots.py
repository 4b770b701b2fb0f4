"""What a page draws beside the numbers, as plain values: curves, distributions, clouds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .measured import Measured

Array = npt.NDArray[np.float64]
DIGITS = 5


def curve(
    title: str, unit: str, seconds: Array, sets: Sequence[tuple[str, Array]]
) -> dict[str, Any]:
    """Means over clips by time, with 95 % of the mean's own chance about them.

    Args:
        title: of the plot.
        unit: of the figures.
        seconds: (time,).
        sets: name and figures (clips, time) of each line; NaN where a frame has none.
    """
    lines = []
    for name, rows in sets:
        count = np.isfinite(rows).sum(0)
        shown = count > 0
        mean = np.nanmean(rows[:, shown], 0)
        half = 1.96 * np.nanstd(rows[:, shown], 0) / np.sqrt(count[shown])
        lines.append(
            {"name": name, "x": _plain(seconds[shown]), "y": _plain(mean),
             "low": _plain(mean - half), "high": _plain(mean + half)}
        )  # fmt: skip
    note = "the mean over clips, with 1.96 standard errors"
    return {"title": title, "x": "seconds", "y": unit, "note": note, "lines": lines}


def histogram(
    title: str, unit: str, sets: Sequence[tuple[str, Array]], note: str = ""
) -> dict[str, Any]:
    """Values of the clips of several sets, to be drawn as distributions."""
    groups = [{"name": name, "values": _plain(rows[np.isfinite(rows)])} for name, rows in sets]
    return {"title": title, "x": unit, "note": note, "groups": groups}


def cloud(title: str, extractor: str, sets: Sequence[Measured]) -> dict[str, Any]:
    """Features of clips in the two directions in which the last set, the real one, varies most."""
    rows = [measured.features[extractor] for measured in sets]
    flat = [r.reshape(len(r), -1).astype(np.float64) for r in rows]
    mean, std = flat[-1].mean(0), flat[-1].std(0)
    scaled = [(r - mean) / np.where(std < 1e-4, 1.0, std) for r in flat]
    # Signs of singular vectors are arbitrary; fixed so that the plot is the same each time.
    axes = np.linalg.svd(scaled[-1], full_matrices=False)[2][:2]
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])[:, None]
    groups = []
    for measured, points in zip(sets, scaled, strict=True):
        at = points @ axes.T
        groups.append({"name": measured.clips.name, "x": _plain(at[:, 0]), "y": _plain(at[:, -1])})
    return {"title": title, "x": "first direction", "y": "second direction", "groups": groups}


def learning(what: str, course: Sequence[tuple[int, float, float]]) -> dict[str, Any]:
    """How a network that judges learnt: step, accuracy on training and on validation clips."""
    steps, *sides = zip(*course, strict=True)
    names = ("training clips", "validation clips")
    return {
        "title": f"{what} while it learnt", "x": "step", "y": "accuracy",
        "note": "the moment that is best on validation clips is kept",
        "lines": [{"name": name, "x": list(steps), "y": list(rows), "low": None, "high": None}
                  for name, rows in zip(names, sides, strict=True)],
    }  # fmt: skip


def _plain(values: npt.NDArray[Any]) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values.tolist()]
