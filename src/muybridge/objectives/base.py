"""The contract between an objective and the loop, which owns every update."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..core.clips import Batch


@dataclass(frozen=True)
class Phase:
    """Parameters updated together, by one optimizer, on every `every`-th step."""

    name: str
    parameters: Mapping[str, nn.Parameter]
    every: int = 1


@dataclass(frozen=True)
class Loss:
    """Per-clip sums (batch,) by term; the loop divides each by its weight over the global batch.

    Attributes:
        sums: for each term, the sum over what counts in each clip.
        shares: factor of a term in the total; 1 where it is not named.
    """

    sums: Mapping[str, Tensor]
    shares: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SampleRequest:
    """What is to be made.

    Attributes:
        times: seconds of each frame, float32 (count, time).
        size: height and width in pixels.
        seeds: each clip's own source of chance, int64 (count,).
        text: captions; None or "" for none.
        label: classes (count,), or None.
        steps, guidance: the objective's own meaning; None for the recipe's.
    """

    times: Tensor
    size: tuple[int, int]
    seeds: Tensor
    text: tuple[str, ...] | None = None
    label: Tensor | None = None
    steps: int | None = None
    guidance: float | None = None

    def __len__(self) -> int:
        return len(self.seeds)

    def part(self, begin: int, end: int) -> SampleRequest:
        """Clips `begin` up to `end`."""
        return replace(
            self,
            times=self.times[begin:end],
            seeds=self.seeds[begin:end],
            text=None if self.text is None else self.text[begin:end],
            label=None if self.label is None else self.label[begin:end],
        )

    def to(self, device: torch.device) -> SampleRequest:
        """The same on another device."""
        label = None if self.label is None else self.label.to(device)
        return replace(self, times=self.times.to(device), seeds=self.seeds.to(device), label=label)


class Objective(nn.Module, ABC):
    """What is minimised and how it is sampled.

    Attributes:
        generator: what is averaged, exported and sampled from, with all that belongs to it.
    """

    generator: nn.Module

    def phases(self) -> tuple[Phase, ...]:
        """The groups of parameters; one that holds the generator's unless overridden."""
        return (Phase("generator", dict(self.generator.named_parameters())),)

    @abstractmethod
    def weights(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        """What each term's sums are divided by, per clip (batch,), before the global sum.

        A function of the batch alone: the loop must know the global weight before the first
        micro-batch is propagated back, or masked means would depend on how the batch is cut.
        """

    @abstractmethod
    def loss(self, batch: Batch, phase: str, progress: float) -> Loss | Iterator[Loss]:
        """The loss of a batch; in parts, each propagated back before the next, where it iterates.

        `progress` in [0, 1] is the share of the budget spent. All chance comes from `batch.seeds`.
        """

    def held_out(self, batch: Batch) -> tuple[float, dict[str, Any]]:
        """The loss of a fixed batch, for judging; and further figures for the log, if any.

        The batch's seeds make it the same draw each time, so that only the weights change it.
        """
        phase = self.phases()[0].name
        loss = self.loss(batch, phase, 1.0)
        weights = self.weights(batch, phase)
        parts = [loss] if isinstance(loss, Loss) else list(loss)
        totals = [
            part.shares.get(name, 1.0) * float(sums.sum() / weights[name].sum())
            for part in parts
            for name, sums in part.sums.items()
        ]
        return sum(totals), {}

    @abstractmethod
    def sample(self, request: SampleRequest) -> Tensor:
        """Makes clips (count, time, channel, height, width) in [-1, 1]."""
