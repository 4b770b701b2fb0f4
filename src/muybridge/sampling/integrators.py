"""Integrators of dx/dt = velocity(x, t) from t = 1 (noise) to t = 0 (a clip)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from ..core.config import Section

Velocity = Callable[[Tensor, float], Tensor]
Prediction = Callable[[Tensor, float], Tensor]


class Config(Section):
    """How clips are drawn from a trained flow."""

    solver: Literal["euler", "heun", "multistep"] = "multistep"
    """euler: one evaluation a step; heun: two, second order; multistep: one, second order, by what
    the step before predicted."""
    steps: int = Field(20, ge=1)
    """Steps from noise to clip."""
    guidance: float = 3.0
    """How strongly text and label are followed; 1 turns guidance off and halves the work."""
    guided: tuple[float, float] = (0.0, 1.0)
    """Least and largest share of noise at which guidance is used; outside, a step costs half."""
    shift: float = Field(12.0, gt=0)
    """More than 1 spends more of the steps near pure noise, where the layout is settled."""


def grid(steps: int, shift: float = 1.0, begin: float = 1.0) -> list[float]:
    """The moments t_0 > ... > t_steps = 0, evenly spaced from `begin` on, then moved towards 1 by
    `shift` (Esser et al. 2024, eq. 23); t_0 = 1 where `begin` is."""
    even = [begin * (1 - i / steps) for i in range(steps + 1)]
    return [shift * t / (1 + (shift - 1) * t) for t in even]


def euler(velocity: Velocity, x: Tensor, moments: Sequence[float]) -> Tensor:
    """First order."""
    for t, following in pairwise(moments):
        x = x + (following - t) * velocity(x, t)
    return x


def heun(velocity: Velocity, x: Tensor, moments: Sequence[float]) -> Tensor:
    """Second order; the last step, where the velocity at t = 0 has no meaning, is Euler's
    (Karras et al. 2022, algorithm 1)."""
    for t, following in pairwise(moments):
        slope = velocity(x, t)
        ahead = x + (following - t) * slope
        if following > 0:
            ahead = x + (following - t) * (slope + velocity(ahead, following)) / 2
        x = ahead
    return x


def multistep(velocity: Velocity, x: Tensor, moments: Sequence[float]) -> Tensor:
    """Second order at one evaluation a step: the clip that is headed for is extrapolated from the
    last two predictions of it, along the logarithm of signal to noise (Lu et al. 2022,
    "DPM-Solver++", algorithm 2, for a straight path)."""
    before: tuple[float, Tensor] | None = None
    for t, following in pairwise(moments):
        clean = x - t * velocity(x, t)
        ahead = clean
        if before is not None and before[0] < 1 and following > 0:
            ratio = _log_ratio(t, following) / _log_ratio(before[0], t)
            ahead = clean + (clean - before[1]) * (ratio / 2)
        x = following / t * x + (1 - following / t) * ahead
        before = t, clean
    return x


def edited(
    after: Prediction,
    before: Prediction,
    clips: Tensor,
    noise: Prediction,
    moments: Sequence[float],
) -> Tensor:
    """Clips with what is to be different: through the same noise, what is headed for from them as
    they are to become is compared with what is headed for from them as they are (Kulikov et al.
    2025, "FlowEdit", algorithm 1, one draw a step, put in terms of predicted clips).

    Args:
        after: the clip headed for at a moment, as it is to become; `before`: as it is.
        clips: what is changed.
        noise: standard normal numbers, anew for each moment; it is given the clips.
        moments: from the first, at which much or little can change, to 0.
    """
    change = torch.zeros_like(clips)
    for t, following in pairwise(moments):
        noisy = torch.lerp(clips, noise(clips, t), t)
        heading = after(noisy + change, t) - before(noisy, t)
        change = torch.lerp(heading, change, following / t)
    return clips + change


def _log_ratio(t: float, following: float) -> float:
    """How much the logarithm of signal to noise, (1 - t) / t, grows from one moment to another."""
    return math.log((1 - following) / following) - math.log((1 - t) / t)


SOLVERS = {"euler": euler, "heun": heun, "multistep": multistep}
