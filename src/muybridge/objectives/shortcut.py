"""Flow matching that also learns long steps, so that a few are enough.

Frans et al. 2025, "One Step Diffusion via Shortcut Models": the network is told where a step ends
as well as where it begins, and one step is to go where two of half its length go (eq. 4 and 5). The
shortest follow the velocity itself, with guidance, which is so learned into the long ones: sampling
takes one evaluation a step, and none for guidance.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import pydantic
import torch
from torch import Tensor

from ..core import chance
from ..core.clips import Batch
from ..core.config import Count, Section
from ..core.errors import RecipeError
from ..sampling import guidance, integrators
from . import conditions, flow_matching
from .base import Loss, Parts, SampleRequest
from .conditions import Conditions


class Config(flow_matching.Config):
    """What is minimised."""

    long: Annotated[float, pydantic.Field(gt=0, lt=1)] = 0.25
    """Share of training clips that learn long steps from two short ones."""
    shortest: Annotated[int, pydantic.Field(ge=2)] = 32
    """Steps of a clip that are short enough to follow the velocity itself; a power of two."""
    guidance: float = 3.0
    """How strongly text and label are followed in the shortest steps, and so in all."""

    @pydantic.field_validator("shortest")
    @classmethod
    def _power(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError("a power of two: steps are halved")
        return value


class Sampling(Section):
    """How clips are drawn."""

    steps: Count = 4
    """Steps from noise to clip."""
    shift: Annotated[float, pydantic.Field(gt=0)] = 12.0
    """More than 1 spends more of the steps near pure noise; the same in training."""


def build(config: Config, parts: Parts) -> Shortcut:
    """Makes the objective.

    Raises:
        RecipeError: the network is not told where a step ends.
    """
    if not getattr(getattr(parts.network, "config", None), "jumps", False):
        raise RecipeError(
            "objective.kind = shortcut, but model.jumps = false: the network is not told where a "
            "step ends",
            "set model.jumps=true",
        )
    return Shortcut(config, parts)


class Shortcut(flow_matching.FlowMatching):
    """See the file's own description."""

    config: Config
    even = False  # clips of long steps go through it two or three times more

    def __init__(self, config: Config, parts: Parts) -> None:
        given = parts.sampling
        assert isinstance(given, Sampling)
        solver = integrators.Config(solver="euler", steps=given.steps, shift=given.shift)
        super().__init__(config, replace(parts, sampling=solver))

    def loss(self, batch: Batch, phase: str, progress: float) -> Loss:
        """Squared error of the velocity; of some clips, of the mean velocity over a long step."""
        batch = self._encoded(batch)
        batch = conditions.dropped(batch, self.config.drop, self.config.drop_one, self._unsaid)
        long = chance.uniform(batch.seeds, "long") < self.config.long
        begin, middle, end, shortest = self._step(batch.seeds)
        level = torch.where(long, begin, self._levels(batch))
        clean, noisy = self._noised(batch, level)
        told, target = self._read(batch), clean
        if bool(long.any()):
            rows = long.nonzero().flatten()
            moments = torch.stack([begin, middle, end])[:, rows]
            with torch.no_grad():
                target = clean.clone()
                target[rows] = self._two_steps(
                    noisy[rows], moments, shortest[rows], batch.times[rows], told.rows(rows)
                )
        ahead = torch.where(long, end, level)
        predicted = self._jump(noisy, level, ahead, batch.times, told)
        return self._squared(predicted, target, level, batch)

    def _step(self, seeds: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A step of each clip, drawn from those of 1, 2, 4, ... steps a clip: where it begins, its
        middle and its end, and whether its halves are the shortest; each (batch,)."""
        kinds = self.config.shortest.bit_length() - 1
        count = 2 ** (chance.uniform(seeds, "steps") * kinds).long()
        place = (chance.uniform(seeds, "step") * count).long()
        even = [1 - (place + part) / count for part in (0.0, 0.5, 1.0)]
        shift = self.sampling.shift
        begin, middle, end = (shift * t / (1 + (shift - 1) * t) for t in even)
        return begin, middle, end, 2 * count == self.config.shortest

    def _two_steps(
        self, x: Tensor, moments: Tensor, shortest: Tensor, times: Tensor, told: Conditions
    ) -> Tensor:
        """The clip that one step must head for to come where two of half its length come."""
        begin, end = moments[0], moments[2]
        there = x
        for t, following in (moments[:2], moments[1:]):
            clean = self._jump(there, t, torch.where(shortest, t, following), times, told)
            if bool(shortest.any()) and told.any and self.config.guidance != 1:
                rows = shortest.nonzero().flatten()
                nothing = told.rows(rows).none(self._unsaid)
                blind = self._jump(there[rows], t[rows], t[rows], times[rows], nothing)
                clean[rows] = guidance.guide(clean[rows], blind, self.config.guidance)
            there = _went(there, clean, t, following)
        share = (begin / (begin - end)).view(-1, 1, 1, 1, 1)
        return x - share * (x - there)

    def drawn(self, request: SampleRequest, shape: tuple[int, ...]) -> Tensor:
        """Goes from noise in a few long steps."""
        told, x = self._read(request), chance.normal(request.seeds, shape, "sample")
        moments = integrators.grid(request.steps or self.sampling.steps, self.sampling.shift)
        for place, t in enumerate(moments[:-1]):
            level, ahead = (
                torch.full((len(x),), m, device=x.device) for m in (t, moments[place + 1])
            )
            x = _went(x, self._jump(x, level, ahead, request.times, told), level, ahead)
        made: Tensor = x * self.std + self.mean
        return made

    def _predict(self, noisy: Tensor, level: Tensor, times: Tensor, told: Conditions) -> Tensor:
        return self._jump(noisy, level, level, times, told)

    def _jump(
        self, noisy: Tensor, level: Tensor, ahead: Tensor, times: Tensor, told: Conditions
    ) -> Tensor:
        """The clip that a step from `level` to `ahead` heads for."""
        return self._through(noisy, level, times, told, ahead=ahead)


def _went(x: Tensor, clean: Tensor, t: Tensor, following: Tensor) -> Tensor:
    """Where a straight step from t towards a clip is at the moment `following`."""
    share = (following / t).view(-1, 1, 1, 1, 1)
    return torch.lerp(clean, x, share)
