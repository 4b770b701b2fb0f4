"""Whether samples are copies of training clips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# A sample is called a copy when its nearest training clip is this much nearer than the nearest one
# of any other footage.
COPY_RATIO = 1 / 3


@dataclass(frozen=True)
class Copying:
    """Nearest training clips of a set of clips, by root mean square difference of thumbnails.

    Attributes:
        nearest: index of the nearest training clip of each, (n,).
        distance: to it, (n,).
        ratio: that distance over the one to the nearest clip of other footage, (n,); 1 where all
            training clips are of one piece of footage, so that nothing can be said.
    """

    nearest: np.ndarray[tuple[int], np.dtype[np.int64]]
    distance: np.ndarray[tuple[int], np.dtype[np.float64]]
    ratio: np.ndarray[tuple[int], np.dtype[np.float64]]

    @property
    def share(self) -> float:
        """Share of the clips that are copies."""
        return float((self.ratio < COPY_RATIO).mean())


def thumbnails(clips: Tensor) -> Tensor:
    """(n, time, 3, height, width) to (n, features): every second frame at 16 x 16."""
    small = F.adaptive_avg_pool2d(clips[:, ::2].flatten(0, 1), 16)
    return small.reshape(len(clips), -1)


@torch.no_grad()
def nearest(clips: Tensor, training: Tensor, groups: Tensor) -> Copying:
    """Finds the nearest training clips, mirror images counted.

    Args:
        clips: thumbnails (n, features) of what is judged.
        training: thumbnails (m, features) of training clips, several moments of each.
        groups: int64 (m,); training clips of one number show the same footage.
    """
    side = training.view(len(training), -1, 3, 16, 16).flip(-1).reshape(len(training), -1)
    table = torch.minimum(torch.cdist(clips, training), torch.cdist(clips, side))
    table = table / training.shape[1] ** 0.5
    distance, index = table.min(1)
    same = groups[index][:, None] == groups[None, :]
    second = table.masked_fill(same, float("inf")).min(1).values
    # With no other footage to compare with, nothing can be called a copy.
    ratio = torch.where(second.isinf(), 1.0, distance / second.clamp(min=1e-9))
    return Copying(index.numpy(), distance.double().numpy(), ratio.double().numpy())
