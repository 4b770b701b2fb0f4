"""Figures of how a training goes, from its log: what the signs of `health` are read from.

All compare a run with itself, so that they mean the same whatever is minimised.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

Line = Mapping[str, Any]

_FEW = 3
"""Judgements below which nothing is said of held-out clips."""
_LATELY = 0.75
"""Share of the updates from which on is lately."""
EARLY = 50
"""Updates below which nothing is said at all."""
KEYS = ("kind", "step", "loss", "train_loss", "energy", "gradient_norms", "data_wait")
"""What is read of a line."""


def vitals(lines: Sequence[Line], clip: float) -> dict[str, float]:
    """What a log says so far.

    Args:
        lines: of the log, in order.
        clip: largest norm of a gradient that is not scaled down.

    Returns:
        Of these, those that can be told yet:
        gap: held-out loss over that of training clips, less 1.
        risen: held-out loss over its least so far, less 1.
        worse: the same over the least that it had twice in turn.
        lately: held-out loss less that before the last quarter of the updates, over the first one.
        fallen: share of its first value by which the loss of training clips fell to its least.
        late: of that fall, the share in the second half of the judgements.
        steady: share of the judgements at which it was less than before.
        worst: the most that it was, over its first value.
        clipped: share of the last third of the updates whose gradients were scaled down.
        over: median of their norm there over the largest that is let through.
        gradient_growth: their norm at the end over that in the second fifth.
            These three of the phase of which they are largest.
        rough: median change of the training loss from one line to the next, of its value.
        waiting: share of the time that was spent waiting for clips, there too.
    """
    if not lines or lines[-1].get("step", 0) < EARLY:
        return {}
    judged = [line for line in lines if line.get("kind") == "validation"]
    train = [line for line in lines if line.get("kind") == "train"]
    found = _of_held_out(judged) | _of_updates(train, clip)
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _of_held_out(judged: Sequence[Line]) -> dict[str, float]:
    judged = [line for line in judged if "loss" in line]
    losses = [float(line["loss"]) for line in judged]
    own = [float(line.get("train_loss", line["loss"])) for line in judged]
    # A distance's best is 0, and by chance it is below: there ratios mean nothing. It is measured
    # by what it was at first.
    of_distance = any("energy" in line for line in judged)
    if len(losses) < _FEW or losses[0] <= 0 or own[0] <= 0:
        return {}
    if not of_distance and min(*losses, *own) <= 0:
        return {}

    def beyond(now: float, then: float) -> float:
        return (now - then) / (losses[0] if of_distance else then)

    fall, half = own[0] - min(own), own[: len(own) // 2 + 1]
    begun = _LATELY * float(judged[-1].get("step", 0))
    before = [x for x, line in zip(losses, judged, strict=True) if line.get("step", 0) <= begun]
    return {
        "gap": beyond(losses[-1], own[-1]),
        "risen": beyond(losses[-1], min(losses)),
        "worse": beyond(losses[-1], min(max(pair) for pair in pairwise(losses))),
        "lately": (losses[-1] - before[-1]) / losses[0] if before else math.nan,
        "fallen": fall / own[0],
        "late": (min(half) - min(own)) / fall if fall > 0 else 0.0,
        "steady": sum(b < a for a, b in pairwise(own)) / (len(own) - 1),
        "worst": max(own) / own[0],
    }


def _of_updates(train: Sequence[Line], clip: float) -> dict[str, float]:
    if len(train) < 6:
        return {}
    third = len(train) // 3
    found = {"waiting": median(float(line.get("data_wait", 0.0)) for line in train[-third:])}
    for name in {name for line in train for name in line.get("gradient_norms", {})}:
        norms = [line["gradient_norms"].get(name, math.nan) for line in train]
        for figure, value in _of_norms([norm for norm in norms if norm == norm], clip).items():
            found[figure] = max(value, found.get(figure, 0.0))
    losses = [float(line["loss"]) for line in train if "loss" in line]
    changes = [abs(b - a) / max(abs(a), 1e-12) for a, b in pairwise(losses)]
    return found | {"rough": median(changes[-third:])}


def _of_norms(norms: Sequence[float], clip: float) -> dict[str, float]:
    """Of one phase's gradients."""
    if len(norms) < 6:
        return {}
    third, fifth = len(norms) // 3, len(norms) // 5
    return {
        "clipped": sum(norm > clip for norm in norms[-third:]) / third,
        "over": median(norms[-third:]) / clip,
        "gradient_growth": median(norms[-fifth:]) / max(median(norms[fifth : 2 * fifth]), 1e-12),
    }
