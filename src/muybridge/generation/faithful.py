"""Keeps what is made true to the small or grey video that it was made of.

Something is known for certain of a video that is to be sharpened or coloured: made small again, or
grey, what comes out has to be what came in. A network leaves it nearly so. What is wrong in that is
enlarged and taken off, several times (Irani and Peleg 1991, "Improving Resolution by Image
Registration", section 3); of what cannot be known from the small video nothing is changed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Each leaves about half of what is wrong with the finest that a small video holds.
_ROUNDS = 8
# Of red, green and blue, as `guides.grey` weighs them (ITU-R BT.601).
_LUMA = (0.299, 0.587, 0.114)


def faithful(made: Tensor, given: Tensor, grey: bool = False) -> Tensor:
    """Clips that are `given` when they are made as small, and as grey.

    Args:
        made: (..., time, 3, height, width) in [-1, 1].
        given: (time, 3, height / k, width / k), k from 1 on, or the same for each of the clips.
        grey: it tells how bright things are, and not their colours.

    Returns:
        In the shape of `made`, in [-1, 1].
    """
    clips, count = made.flatten(0, -4), given.shape[-2]
    factor = made.shape[-2] // count
    real = given.expand(*made.shape[:-3], *given.shape[-3:]).flatten(0, -4)
    for _ in range(_ROUNDS if factor > 1 else 1):
        wrong = real - F.avg_pool2d(clips, factor)
        if grey:
            luma = torch.tensor(_LUMA, device=made.device).view(3, 1, 1)
            wrong = (wrong * luma).sum(1, keepdim=True).expand_as(wrong)
        size = (clips.shape[-2], clips.shape[-1])
        clips = clips + F.interpolate(wrong, size, mode="bicubic")
    return clips.clamp(-1, 1).view_as(made)
