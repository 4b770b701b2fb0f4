"""What is given of a clip, from which the rest is to be made: the same in training and after."""

from __future__ import annotations

from typing import Annotated

import pydantic
import torch
from torch import Tensor

from ..core import chance
from ..core.config import Count, Section


class Config(Section):
    """What a model learns to go on from."""

    prefix: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.0
    """Share of clips whose first frames are given, to be continued; of the others nothing is."""
    given: Count = 4
    """First frames that are given."""


def mask(seeds: Tensor, frames: int, config: Config) -> Tensor | None:
    """Which frames are given, float32 (batch, frames, 1, 1, 1) of 1 and 0; None where none ever is.

    Args:
        seeds: each clip's own source of chance, int64 (batch,).
    """
    if not config.prefix:
        return None
    continued = chance.uniform(seeds, "task") < config.prefix
    return first(frames, config.given) * continued.float().view(-1, 1, 1, 1, 1)


def first(frames: int, given: int) -> Tensor:
    """The mask of one clip whose first `given` frames are known, (1, frames, 1, 1, 1)."""
    return (torch.arange(frames) < given).float().view(1, -1, 1, 1, 1)
