"""The contract between an objective and the loop, which owns every update."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..core.clips import Batch, moved_to, part_of
from ..core.config import Section


@dataclass(frozen=True)
class Parts:
    """What an objective is built from, beside its own settings.

    Attributes:
        network: of the recipe's `model`.
        text: the text encoder, or None where the model reads none.
        mean, std: per channel, of the training clips.
        sampling: the recipe's `sampling`: what the objective's file calls `Sampling`.
        tokenizer: turns clips into latents or tokens and back, frozen; None for pixels.
        perceptual: how far apart two clips look, frame by frame, (batch, time); None where the
            recipe names no network for it.
        critic: networks of which the discriminator judges beside other losses; None where the
            recipe has none.
    """

    network: nn.Module
    text: nn.Module | None
    mean: Sequence[float]
    std: Sequence[float]
    sampling: Section
    tokenizer: nn.Module | None = None
    perceptual: Callable[[Tensor, Tensor], Tensor] | None = None
    critic: nn.Module | None = None


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
        known: frames that are given, float32 (count, time, 3, height, width), or None.
        known_mask: 1 where a frame is given, else 0, float32 (count, time, 1, height, width).
        steps, guidance: the objective's own meaning; None for the recipe's.
        guides: pictures that guide, by their names in `core.clips.GUIDES`, float32 (count, time,
            channels, height, width) each, or None.
        source: clips from whose noised form sampling begins, as `known`, or None.
        strength: the share of the sampling steps that are taken from there, in (0, 1].
        picture_guidance: how strongly what is known and what guides is followed; 1 as trained.
    """

    times: Tensor
    size: tuple[int, int]
    seeds: Tensor
    text: tuple[str, ...] | None = None
    label: Tensor | None = None
    known: Tensor | None = None
    known_mask: Tensor | None = None
    steps: int | None = None
    guidance: float | None = None
    guides: Mapping[str, Tensor] | None = None
    source: Tensor | None = None
    strength: float = 1.0
    picture_guidance: float = 1.0

    def __len__(self) -> int:
        return len(self.seeds)

    def part(self, begin: int, end: int) -> SampleRequest:
        """Clips `begin` up to `end`."""
        cut = {name: value[begin:end] for name, value in vars(self).items() if _one_a_clip(value)}
        return replace(self, guides=part_of(self.guides, begin, end), **cut)

    def to(self, device: torch.device) -> SampleRequest:
        """The same on another device."""
        moved: dict[str, Any] = {
            n: v.to(device) for n, v in vars(self).items() if isinstance(v, Tensor)
        }
        return replace(self, guides=moved_to(self.guides, device), **moved)


def _one_a_clip(value: Any) -> bool:
    """Whether a field of a request has a row for each clip; `size` is a pair of numbers."""
    return isinstance(value, Tensor) or (
        isinstance(value, tuple) and all(isinstance(one, str) for one in value)
    )


class Objective(nn.Module, ABC):
    """What is minimised and how it is sampled.

    Attributes:
        generator: what is averaged, exported and sampled from, with all that belongs to it.
        progress: share of the budget that the weights have seen, set by whoever loads or trains
            them: what `held_out` and `sample` of a model that grows go by.
        even: whether any batch goes through the network equally often and is propagated back in one
            part, without which ranks cannot spread weights: they would wait for each other.
    """

    generator: nn.Module
    progress: float = 1.0
    even: bool = True

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
        loss = self.loss(batch, phase, self.progress)
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
