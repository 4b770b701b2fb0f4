"""Clips as tokens: a linear, orthonormal change of coordinates, which leaves white noise white.

Plain patches are cut at borders on which a network's errors on either side disagree, and a grid
shows. Lapped patches reach half a patch into their neighbours with smooth windows, and yet are as
many numbers as there are pixels: what differs between the two sides of a border is turned by an
orthogonal matrix (Tran, Liang and Tu 2003, "Lapped transform via time-domain pre- and
post-filtering", with the matrix of Malvar's lapped orthogonal transform). What is alike on both
sides stays as it is: a flat picture gives flat patches, and a patch that is too bright fades into
its neighbours. Time is never lapped, so that single frames can be given.
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

    The outer borders have no neighbour, and patches of odd sides their middle: these are left.
    """
    half = step // 2
    if half == 0:
        return torch.eye(side)
    even, flip = torch.eye(half, dtype=torch.float64), torch.eye(half, dtype=torch.float64).flip(0)
    # Sums and differences of the pixels that mirror each other in a border, and back.
    mirror = torch.cat([torch.cat([even, flip], 1), torch.cat([flip, -even], 1)]) / 2**0.5
    turn = flip @ _cosines(half, 0.0).T @ _cosines(half, 0.5) @ flip
    nothing = torch.zeros_like(even)
    inner = torch.cat([torch.cat([even, nothing], 1), torch.cat([nothing, turn], 1)])
    about = mirror @ inner @ mirror
    matrix = torch.eye(side, dtype=torch.float64)
    for border in range(step, side, step):
        near = slice(border - half, border + half)
        matrix[near, near] = about
    return matrix.float()


def waves(patch: Patch, channels: int, count: int) -> Tensor:
    """The slowest cosine waves in time and space of each channel of a patch, orthonormal:
    (at most `count`, pixels), pixels in the order of `to_patches`."""
    axes = torch.meshgrid(*(torch.arange(size) for size in (*patch, channels)), indexing="ij")
    frequencies = torch.stack(axes, -1).flatten(0, 3)
    speed = (frequencies[:, :3] / torch.tensor(patch)).square().sum(1)
    a, b, d, k = frequencies[speed.argsort(stable=True)[:count]].T
    t, h, w = (_cosines(size, 0.0) for size in patch)
    channel = torch.eye(channels, dtype=torch.float64)
    made = torch.einsum("nt,nc,nh,nw->ntchw", t[a], channel[k], h[b], w[d])
    return made.flatten(1).float()


def _cosines(size: int, shift: float) -> Tensor:
    """The orthonormal discrete cosine transform: of type 2 (`shift` 0) or type 4 (0.5)."""
    row = torch.arange(size, dtype=torch.float64) + shift
    place = torch.arange(size, dtype=torch.float64) + 0.5
    waves: Tensor = torch.cos(math.pi / size * row[:, None] * place) * (2 / size) ** 0.5
    if shift == 0:
        waves[0] /= 2**0.5
    return waves
