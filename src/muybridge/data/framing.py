"""Where in a picture the stored picture lies: sizes, scaling, cropping."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.video import Frames

Size = tuple[int, int]
Box = tuple[float, float, float, float]
"""Top, bottom, left, right of what is kept of a picture, of 1."""

WHOLE: Box = (0.0, 1.0, 0.0, 1.0)


def choose(shape: Size, box: Box, sizes: Sequence[Size]) -> Size:
    """The stored size for pictures of `shape` (height, width): of several, that of the nearest
    shape."""
    height, width = shape[0] * (box[1] - box[0]), shape[1] * (box[3] - box[2])
    return min(sizes, key=lambda s: abs(np.log(s[1] / s[0] * height / width)))


def cover(shape: Size, box: Box, size: Size) -> tuple[Size, tuple[slice, slice]]:
    """The size to scale a picture of `shape` to, so that what `box` keeps of it covers `size`; and
    where that lies in it.

    What is over is an even number of pixels, so that as much can be cropped left as right: a
    mirrored copy must be cropped alike, or it is shifted and could pass for other footage.
    """
    parts = ((box[0], box[1]), (box[2], box[3]))
    lengths = [n * (end - start) for n, (start, end) in zip(shape, parts, strict=True)]
    scale = max(wanted / length for wanted, length in zip(size, lengths, strict=True))
    scaled, inner = [], []
    for (start, end), wanted, length in zip(parts, size, lengths, strict=True):
        kept = wanted + 2 * round(max(length * scale - wanted, 0) / 2)
        whole = max(kept, round(kept / (end - start)))
        first = min(round(start * whole), whole - kept)
        scaled.append(whole)
        inner.append(slice(first, first + kept))
    return (scaled[0], scaled[1]), (inner[0], inner[1])


def inside(luma: Frames, box: Box) -> Frames:
    """What `box` keeps of a picture (height, width, ...), or all where that is next to nothing."""
    height, width = luma.shape[:2]
    rows, columns = round(box[0] * height), round(box[2] * width)
    cut = luma[rows : round(box[1] * height), columns : round(box[3] * width)]
    return np.ascontiguousarray(cut if min(cut.shape[:2]) >= 16 else luma)


def crop(picture: Frames, middle: tuple[float, float], size: Size) -> Frames:
    """Cuts `size` (height, width) out of a picture, its middle near `middle` (y, x of 1)."""
    corner = []
    for length, wanted, at in zip(picture.shape, size, middle, strict=False):
        room = length - wanted
        # Rounded away from the picture's middle on both sides alike: mirrored, it crops the same.
        offset = at * length - length / 2
        corner.append(int(np.clip(room // 2 + np.sign(offset) * round(abs(offset)), 0, room)))
    top, left = corner
    return picture[top : top + size[0], left : left + size[1]]
