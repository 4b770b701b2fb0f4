"""Large frames in tiles that overlap: bounded memory for what would not fit at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Places = tuple[int, int]


def tiled(
    make: Callable[[Tensor], Tensor], x: Tensor, tile: Places, overlap: Places, scale: float
) -> Tensor:
    """What `make` gives of tiles of frames, blended linearly where they overlap.

    Args:
        make: (..., rows, columns) to (..., scale x rows, scale x columns).
        x: (..., height, width).
        tile, overlap: rows and columns of a tile of `x`, and of what neighbours share of it, at
            most half of it; a dimension that is no larger than a tile is not cut.
        scale: rows and columns that `make` gives for one it is given, such that tiles, overlaps
            and what they begin at come out as whole numbers.

    Returns:
        (..., scale x height, scale x width).
    """
    if any(shared < 0 or 2 * shared > side for side, shared in zip(tile, overlap, strict=True)):
        raise ValueError(f"overlap {overlap} of tiles {tile}: at most half of each side")
    rows = list(_cuts(x.shape[-2], tile[0], overlap[0]))
    columns = list(_cuts(x.shape[-1], tile[1], overlap[1]))
    whole: Tensor | None = None
    weights = x.new_zeros(round(x.shape[-2] * scale), round(x.shape[-1] * scale))
    for top, bottom in rows:
        for left, right in columns:
            made = make(x[..., top:bottom, left:right])
            down, across = (
                _ramp(begin, end, side, round(shared * scale), scale).to(made)
                for begin, end, side, shared in (
                    (top, bottom, x.shape[-2], overlap[0]),
                    (left, right, x.shape[-1], overlap[1]),
                )
            )
            weight = down[:, None] * across
            if whole is None:
                whole = made.new_zeros(*made.shape[:-2], *weights.shape)
            a, b = round(top * scale), round(left * scale)
            place = (..., slice(a, a + len(down)), slice(b, b + len(across)))
            whole[place] += made * weight
            weights[place] += weight
    assert whole is not None
    return whole / weights


def _cuts(side: int, tile: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Begins and ends of tiles; the last one ends with the side, and overlaps more."""
    if side <= tile:
        yield 0, side
        return
    for begin in range(0, side - overlap, tile - overlap):
        end = min(begin + tile, side)
        yield max(end - tile, 0), end
        if end == side:
            return


def _ramp(begin: int, end: int, side: int, shared: int, scale: float) -> Tensor:
    """Weights of a tile's rows: they rise from an inner border and fall to one."""
    count = round((end - begin) * scale)
    weight = torch.ones(count)
    slope = (torch.arange(shared) + 0.5) / max(shared, 1)
    if begin > 0:
        weight[:shared] = slope
    if end < side:
        weight[count - shared :] = weight[count - shared :].minimum(slope.flip(0))
    return weight
