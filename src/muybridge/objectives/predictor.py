"""What a recurrent network is to the objective that trains it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

State = list[tuple[Tensor, ...]]
Law = tuple[Tensor, Tensor]
"""Means and log-variances of independent normal numbers, each (batch, ...)."""


class Predictor(Protocol):
    """What `models/convrnn.py` has. Frames are of mean 0 and deviation 1; lists are of scales."""

    def latents(self, size: tuple[int, int]) -> list[tuple[int, ...]]:
        """Shapes of a frame's latents."""

    def told(self, count: int, *conditions: Tensor | None) -> Tensor:
        """What clips are said to be: from label, text and its mask."""

    def start(self, count: int, size: tuple[int, int]) -> State:
        """What is remembered before there is a frame."""

    def follow(self, state: State, frames: Tensor, seconds: Tensor) -> tuple[list[Tensor], State]:
        """What is shown after each of frames (batch, time, 3, height, width), so many `seconds`
        (batch, time) before the next; and what is remembered after the last."""

    def look(self, frames: Tensor) -> list[Tensor]:
        """What posteriors are to see of frames (n, 3, height, width)."""

    def draw(
        self,
        shown: list[Tensor],
        told: Tensor,
        noise: list[Tensor],
        seen: list[Tensor] | None = None,
    ) -> tuple[Tensor, Sequence[Law], Sequence[Law]]:
        """Changes (n, 3, height, width) that make the next frames, the priors and posteriors of
        their latents: drawn from these where something of the frames is `seen`."""


def divergence(first: Law, second: Law) -> Tensor:
    """Kullback-Leibler divergence of the first from the second, in nats (batch,)."""
    (mean, log_variance), (other, other_log) = first, second
    off = (mean - other).square() / other_log.exp()
    each = other_log - log_variance + (log_variance - other_log).exp() + off - 1
    return each.flatten(1).sum(1) / 2
