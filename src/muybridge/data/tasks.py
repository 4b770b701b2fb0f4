"""What is given of a clip, from which the rest is to be made: the same in training and after."""

from __future__ import annotations

from typing import Annotated

import pydantic
import torch
from torch import Tensor

from ..core import chance
from ..core.config import Count, Section
from ..core.errors import RecipeError


class Config(Section):
    """What a model learns to go on from."""

    prefix: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.0
    """Share of clips whose first frames are given, to be continued; of the others nothing is."""
    given: Count = 4
    """First frames that are given."""

    @property
    def always(self) -> bool:
        """Whether clips can be made from given frames alone, and never from nothing."""
        return self.prefix == 1

    @property
    def judged(self) -> int:
        """Frames of a real clip that are given where a model is judged: most of what it learned is
        to go on from them, or none are."""
        return self.given if self.prefix > 0.5 else 0


def mask(seeds: Tensor, frames: int, config: Config) -> Tensor | None:
    """Which frames are given, float32 (batch, frames, 1, 1, 1) of 1 and 0; None where none ever is.

    Args:
        seeds: each clip's own source of chance, int64 (batch,).

    Raises:
        RecipeError: no frame would be left to be made.
    """
    if not config.prefix:
        return None
    if config.given >= frames:
        raise RecipeError(
            f"data.tasks.given = {config.given} of data.frames = {frames}: none is left to be made",
            "lower data.tasks.given, or raise data.frames",
        )
    continued = chance.uniform(seeds, "task") < config.prefix
    return first(frames, config.given) * continued.float().view(-1, 1, 1, 1, 1)


def first(frames: int, given: int) -> Tensor:
    """The mask of one clip whose first `given` frames are known, (1, frames, 1, 1, 1)."""
    return (torch.arange(frames) < given).float().view(1, -1, 1, 1, 1)
