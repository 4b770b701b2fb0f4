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
KEYS = ("kind", "step", "loss", "train_loss", "gradient_norm", "data_wait")
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
        lately: held-out loss over that before the last quarter of the updates, less 1.
        fallen: share of its first value by which the loss of training clips fell to its least.
        late: of that fall, the share in the second half of the judgements.
        steady: share of the judgements at which it was less than before.
        worst: the most that it was, over its first value.
        clipped: share of the last third of the updates whose gradients were scaled down.
        over: median of their norm there over the largest that is let through.
        gradient_growth: their norm at the end over that in the second fifth.
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
    if len(losses) < _FEW or min(losses) <= 0 or min(own) <= 0:
        return {}
    fall, half = own[0] - min(own), own[: len(own) // 2 + 1]
    begun = _LATELY * float(judged[-1].get("step", 0))
    before = [x for x, line in zip(losses, judged, strict=True) if line.get("step", 0) <= begun]
    return {
        "gap": losses[-1] / own[-1] - 1,
        "risen": losses[-1] / min(losses) - 1,
        "worse": losses[-1] / min(max(pair) for pair in pairwise(losses)) - 1,
        "lately": losses[-1] / before[-1] - 1 if before else math.nan,
        "fallen": fall / own[0],
        "late": (min(half) - min(own)) / fall if fall > 0 else 0.0,
        "steady": sum(b < a for a, b in pairwise(own)) / (len(own) - 1),
        "worst": max(own) / own[0],
    }


def _of_updates(train: Sequence[Line], clip: float) -> dict[str, float]:
    if len(train) < 6:
        return {}
    norms = [float(line.get("gradient_norm", math.nan)) for line in train]
    third, fifth = len(train) // 3, len(train) // 5
    found = {
        "clipped": sum(norm > clip for norm in norms[-third:]) / third,
        "over": median(norms[-third:]) / clip,
        "gradient_growth": median(norms[-fifth:]) / max(median(norms[fifth : 2 * fifth]), 1e-12),
        "waiting": median(float(line.get("data_wait", 0.0)) for line in train[-third:]),
    }
    losses = [float(line["loss"]) for line in train if "loss" in line]
    changes = [abs(b - a) / max(abs(a), 1e-12) for a, b in pairwise(losses)]
    return found | {"rough": median(changes[-third:])}
