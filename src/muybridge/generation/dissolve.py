"""A passage between two scenes that have nothing in common: each goes on, and one dissolves into
the other. A model of single shots has never seen one scene turn into another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor

from ..core.video import Frames
from ..data import shots
from ..objectives.base import SampleRequest

# Frames of each side that are looked at: more than a flash has.
_LOOKED = 8


def unlike(before: list[Frames], after: list[Frames], fps: float) -> bool:
    """Whether two videos would be two shots, if the second followed at once upon the first."""
    before, after = before[-_LOOKED:], after[:_LOOKED]
    # Of a picture there are as many as it takes.
    both = [before[0]] * (_LOOKED - len(before)) + before
    both += after + [after[-1]] * (_LOOKED - len(after))
    small = [cv2.resize(one, (64, 36), interpolation=cv2.INTER_AREA) for one in both]
    found = shots.boundaries(np.stack(small), np.arange(len(small)) / fps)
    return any(one.first <= _LOOKED <= one.last for one in found)


def dissolved(sample: Callable[[SampleRequest], Tensor], asked: SampleRequest) -> Tensor:
    """Clips of which frames before and after a gap are of two scenes; where none are known after
    it, the first scene goes on.

    Args:
        sample: makes clips.
        asked: whose `known_mask` is 1 for frames that are known, alike for all clips.

    Returns:
        (count, time, 3, height, width) in [-1, 1], what is known as it is.
    """
    assert asked.known is not None and asked.known_mask is not None
    known = asked.known_mask[0].flatten(1).amin(1) > 0
    begin = int((~known).nonzero()[0])
    after = known[begin:].nonzero()
    if not len(after):
        return sample(asked)
    end, sides = begin + int(after[0]), []
    for other in (slice(end, None), slice(None, begin)):
        mask = asked.known_mask.clone()
        mask[:, other] = 0
        sides.append(sample(replace(asked, known=asked.known * mask, known_mask=mask)))
    share = torch.zeros(asked.known.shape[1])
    share[begin:end] = torch.linspace(0, 1, end - begin + 2)[1:-1]
    share[end:] = 1
    return torch.lerp(sides[0], sides[1], share.view(-1, 1, 1, 1))
