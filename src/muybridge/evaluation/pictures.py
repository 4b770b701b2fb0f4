"""How single pictures look: how sharp they are, and whether a grid of blocks shows in them.

Neither is good by being high or low: both are to be near real footage's own.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..core.measures import luma

Array = npt.NDArray[np.float64]

# Sides of blocks, in pixels, whose borders are looked at.
BLOCKS = (4, 8, 16)
# A hundredth of a grey level: steps so small are none, in pictures that are flat too.
LEAST = 1e-4


def sharpness(clips: Tensor) -> Array:
    """Root mean square slope of luma from pixel to pixel, over its deviation: (n,).

    Args:
        clips: (n, time, 3, height, width) in [-1, 1].
    """
    y = luma(clips.double())
    slopes = (y.diff(dim=-1).square().mean((-2, -1)) + y.diff(dim=-2).square().mean((-2, -1))) / 2
    spread = y.var((-2, -1), correction=0)
    each = (slopes / spread.clamp(min=1e-6)).sqrt()
    return np.asarray(each.mean(1).numpy())


def grid(clips: Tensor) -> Array:
    """How much steeper pictures are across the borders of blocks than elsewhere, less 1: (n,).

    How far luma steps from one pixel to the next, beyond the slope on either side: the median over
    borders, over that of all other places in the same direction, so that an edge on one border is
    none; the blocks of `BLOCKS` that show most. A network that draws patch by patch leaves such a
    grid, and so does strong compression.

    Args:
        clips: (n, time, 3, height, width) in [-1, 1].
    """
    y = luma(clips.double())
    found = []
    for side in BLOCKS:
        if min(y.shape[-2:]) < 2 * side:
            continue
        across = [_across(y, side), _across(y.transpose(-1, -2), side)]
        found.append(torch.stack(across).mean(0))
    if not found:
        return np.zeros(len(clips))
    return np.asarray(torch.stack(found).max(0).values.numpy())


def _across(y: Tensor, side: int) -> Tensor:
    """The same across columns alone."""
    # A step between two pixels that goes on on neither side: what a slope or an edge is not.
    step = (y[..., 2:-1] - y[..., 1:-2]) - (y[..., 3:] - y[..., :-3]) / 3
    steep = step.abs().mean((1, 2))  # (n, width - 3): between pixels i + 1 and i + 2
    place = (torch.arange(steep.shape[-1]) + 2) % side
    # Next to a border its step is part of the slope, so that these places are left out.
    parts = place == 0, (place > 1) & (place < side - 1)
    at, elsewhere = (steep[:, part].quantile(0.5, dim=1) for part in parts)
    return (at + LEAST) / (elsewhere + LEAST) - 1
