"""Whether samples are copies of training clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

Array = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

# A sample is called a copy when its nearest training clip is this much nearer than the nearest one
# of any other footage.
COPY_RATIO = 1 / 3
SIDE = 16


@dataclass(frozen=True)
class Copying:
    """Nearest training clips of a set of clips, by root mean square difference of thumbnails.

    Attributes:
        nearest: index of the nearest training clip of each, (n,).
        second: index of the nearest one of other footage, (n,); that of `nearest` where all
            training clips are of one piece of footage.
        distance: to the nearest, (n,).
        ratio: that distance over the one to `second`, (n,); 1 where all training clips are of one
            piece of footage, so that nothing can be said.
    """

    nearest: Places
    second: Places
    distance: Array
    ratio: Array

    @property
    def copied(self) -> npt.NDArray[np.bool_]:
        """Which of the clips are copies, (n,)."""
        return np.asarray(self.ratio < COPY_RATIO)

    @property
    def share(self) -> float:
        """Share of the clips that are copies."""
        return float(self.copied.mean())


def thumbnails(clips: Tensor) -> Tensor:
    """(n, time, 3, height, width) to (n, features): every second frame at 16 x 16."""
    small = F.adaptive_avg_pool2d(clips[:, ::2].flatten(0, 1), SIDE)
    return small.reshape(len(clips), -1)


def variety(clips: Tensor, labels: Sequence[str]) -> Array:
    """How far each clip is from the others of its label, on average; NaN where there is no other.

    Args:
        clips: thumbnails (n, features).
        labels: of each; clips without one are of one kind.

    Returns:
        Root mean square differences of thumbnails, (n,).
    """
    found = np.full(len(clips), np.nan)
    for label in set(labels):
        places = np.flatnonzero([one == label for one in labels])
        if len(places) > 1:
            table = torch.cdist(clips[places], clips[places]).double() / clips.shape[1] ** 0.5
            found[places] = (table.sum(1) / (len(places) - 1)).numpy()
    return found


@torch.no_grad()
def nearest(clips: Tensor, training: Tensor, groups: Tensor) -> Copying:
    """Finds the nearest training clips, mirror images counted.

    Args:
        clips: thumbnails (n, features) of what is judged.
        training: thumbnails (m, features) of training clips, several moments of each.
        groups: int64 (m,); training clips of one number show the same footage.
    """
    parts = [_nearest(part, training, groups) for part in torch.split(clips, 256)]
    found, second, distance, ratio = (
        torch.cat(column).numpy() for column in zip(*parts, strict=True)
    )
    return Copying(found, second, distance, ratio)


def _nearest(clips: Tensor, training: Tensor, groups: Tensor) -> tuple[Tensor, ...]:
    table = distances(clips, training)
    distance, index = table.min(1)
    same = groups[index][:, None] == groups[None, :]
    other, second = table.masked_fill(same, float("inf")).min(1)
    # With no other footage to compare with, nothing can be called a copy.
    alone = other.isinf()
    ratio = torch.where(alone, 1.0, distance / other.clamp(min=1e-9))
    return index, torch.where(alone, index, second), distance.double(), ratio.double()


def distances(first: Tensor, second: Tensor) -> Tensor:
    """Root mean square differences of thumbnails, the smaller of a clip and its mirror image:
    (n, m)."""
    mirrored = second.view(len(second), -1, 3, SIDE, SIDE).flip(-1).reshape(len(second), -1)
    table = torch.minimum(torch.cdist(first, second), torch.cdist(first, mirrored))
    scaled: Tensor = table / second.shape[1] ** 0.5
    return scaled


def group_numbers(owners: Sequence[str]) -> Tensor:
    """A number for each owner, int64 (n,): equal for equal ones."""
    numbers = {owner: number for number, owner in enumerate(dict.fromkeys(owners))}
    return torch.tensor([numbers[owner] for owner in owners])
