"""Clips as tokens: a linear, orthonormal change of coordinates, which leaves white noise white.

Plain patches are cut at borders on which a network's errors on either side disagree, and a grid
shows. Lapped patches reach half a patch into their neighbours with smooth windows, and yet are as
many numbers as there are pixels: pixels that mirror each other in a border are first turned into
each other by an angle that falls to 0 towards the patch's middle (Malvar 1990, "Lapped transforms
for efficient transform/subband coding"; the folding of the modified discrete cosine transform,
Princen and Bradley 1986, with its sine window). Time is never lapped, so that single frames can be
given.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

Patch = tuple[int, int, int]


def to_patches(clips: Tensor, patch: Patch, lapped: bool = False) -> Tensor:
    """(batch, time, channel, height, width) to (batch, tokens, pixels of a patch)."""
    if lapped:
        clips = _fold(clips, patch)
    b, t, c, h, w = clips.shape
    p, q, r = patch
    x = clips.view(b, t // p, p, c, h // q, q, w // r, r)
    return x.permute(0, 1, 4, 6, 2, 3, 5, 7).reshape(b, -1, p * c * q * r)


def from_patches(
    tokens: Tensor, grid: tuple[int, int, int], patch: Patch, channels: int, lapped: bool = False
) -> Tensor:
    """The inverse of `to_patches`; `grid` is the number of tokens in time, height and width."""
    t, h, w = grid
    p, q, r = patch
    x = tokens.view(len(tokens), t, h, w, p, channels, q, r)
    x = x.permute(0, 1, 4, 5, 2, 6, 3, 7).reshape(len(tokens), t * p, channels, h * q, w * r)
    return _fold(x, patch, back=True) if lapped else x


def _fold(clips: Tensor, patch: Patch, back: bool = False) -> Tensor:
    rows, columns = (
        lapping(side, step).to(clips.device, clips.dtype)
        for side, step in zip(clips.shape[-2:], patch[1:], strict=True)
    )
    if back:
        rows, columns = rows.T, columns.T
    return rows @ (clips @ columns.T)


@lru_cache
@torch.inference_mode(False)
def lapping(side: int, step: int) -> Tensor:
    """The orthogonal matrix (side, side) that turns pixels about each border of patches of `step`.

    The outer borders have no neighbour and are left as they are.
    """
    matrix = torch.eye(side, dtype=torch.float64)
    for border in range(step, side, step):
        for place in range(step // 2):
            # The sine window at a pixel's middle: an eighth of a turn at the border itself.
            angle = math.pi / 4 - math.pi * (place + 0.5) / (2 * step)
            one, other = border - 1 - place, border + place
            matrix[one, one] = matrix[other, other] = math.cos(angle)
            matrix[one, other], matrix[other, one] = math.sin(angle), -math.sin(angle)
    return matrix.float()
