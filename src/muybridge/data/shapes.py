"""The outlines of the stage's things: what they cover, how large they are, when they meet."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]
Exact = npt.NDArray[np.float64]
Size = tuple[int, int]

# Signed distance to the outline, in radii: a shape fills the box from -1 to 1 and stands on y = 1.
SHAPES: Mapping[str, Callable[[Array, Array], Array]] = MappingProxyType(
    {
        "ball": lambda x, y: np.hypot(x, y) - 1,
        "square": lambda x, y: np.maximum(np.abs(x), np.abs(y)) - 1,
        "triangle": lambda x, y: np.maximum(y - 1, (2 * np.abs(x) - y - 1) / math.sqrt(5)),
    }
)
# Area, in squared radii.
AREAS: Mapping[str, float] = MappingProxyType({"ball": math.pi, "square": 4.0, "triangle": 2.0})
# How far the centre of area lies below that of the box, in radii.
BELOW: Mapping[str, float] = MappingProxyType({"ball": 0.0, "square": 0.0, "triangle": 1 / 3})
# The turn, in radians, after which a shape looks the same. A triangle's sides are unlike, but so
# little that a third of a turn is hard to tell from none; a ball has a bar across it (see scenery).
PERIODS: Mapping[str, float] = MappingProxyType(
    {"ball": math.pi, "square": math.pi / 2, "triangle": 2 * math.pi / 3}
)


def grid(size: Size) -> tuple[Array, Array]:
    """Pixel centres in picture heights: x (1, width) and y (height, 1)."""
    height, width = size
    x = (np.arange(width, dtype=np.float32) + 0.5) / height
    y = (np.arange(height, dtype=np.float32) + 0.5) / height
    return x[None], y[:, None]


def by_frame(value: float | Exact) -> float | Array:
    """A number, or (time,) of them as (time, 1, 1) to go with pictures."""
    if isinstance(value, np.ndarray):
        return np.asarray(value[:, None, None], np.float32)
    return value


def turned(x: Array, y: Array, angle: Exact, below: float = 0.0) -> tuple[Array, Array]:
    """Where points of the picture lie on a thing that has turned about (0, `below`).

    Args:
        x: across, (time, height, width) or what broadcasts to it.
        y: down, likewise.
        angle: (time,) radians, clockwise as seen.
        below: how far the centre of its turning lies below (0, 0).
    """
    cosine, sine = by_frame(np.cos(angle)), by_frame(np.sin(angle))
    return x * cosine + (y - below) * sine, (y - below) * cosine - x * sine + below


def coverage(
    shape: str,
    position: Exact,
    radius: float | Exact,
    size: Size,
    angle: Exact | None = None,
) -> Array:
    """How much of each pixel a shape covers, 0 to 1.

    Args:
        shape: a key of `SHAPES`.
        position: (time, 2), the centre of its box when upright.
        radius: half the height of its box when upright, one or (time,).
        size: (height, width) in pixels.
        angle: (time,) radians that it has turned about its centre of area, clockwise as seen.

    Returns:
        (time, height, width) float32.
    """
    x, y = grid(size)
    at, half = position.astype(np.float32)[:, :, None, None], by_frame(radius)
    across, down = (x - at[:, 0]) / half, (y - at[:, 1]) / half
    if angle is not None:
        across, down = turned(across, down, angle, BELOW[shape])
    distance = SHAPES[shape](across, down)
    return np.asarray(np.clip(0.5 - distance * (half * size[0]), 0, 1), np.float32)


def touching(shapes: tuple[str, str], radii: tuple[float, float]) -> float:
    """How far apart the boxes of two things on one floor are, centre to centre, as outlines meet.

    Boxes meet side by side, with two exceptions: balls of unlike size meet where their sides slope,
    and a ball reaches over the foot of a triangle to its side.
    """
    if shapes == ("ball", "ball"):
        return 2 * math.sqrt(radii[0] * radii[1])
    if set(shapes) == {"ball", "triangle"}:
        sizes = dict(zip(shapes, radii, strict=True))
        return sizes["triangle"] + sizes["ball"] * (math.sqrt(5) - 1) / 2
    return radii[0] + radii[1]
