"""Where things of the stage's strong colours are in a clip, and what shape they have.

The stage's surroundings are of weak colour, so hue and saturation alone tell where things are.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ..core.video import Frames
from ..data.shapes import AREAS, BELOW
from ..data.stage import COLOURS, SHAPES, coverage

Array = npt.NDArray[np.floating[Any]]
Exact = npt.NDArray[np.float64]
Masks = npt.NDArray[np.bool_]

# Chroma (largest less smallest channel, 0 to 1) and saturation from which a pixel counts as
# coloured: the stage's surroundings stay below 0.25 and 0.3, its things above 0.4 and 0.6.
CHROMA, SATURATION = 0.22, 0.42
HUE_REACH = 28.0
# A thing smaller than this share of the picture's height squared is taken for noise.
SMALLEST = 0.008
# By how many equal turns a shape comes back to itself, as far as its outline's moments tell.
TURNS = {"square": 4, "triangle": 3}


def parts(frames: Frames) -> list[tuple[str, Masks]]:
    """The largest connected part of each palette colour in each frame, strongest colour first.

    Args:
        frames: (time, height, width, 3) uint8 RGB.

    Returns:
        (colour, (time, height, width)) for each colour that has a part above `SMALLEST` in any
        frame, by the sum of its chroma over the clip; parts below `SMALLEST` are kept.
    """
    time, height, width, _ = frames.shape
    label, strength = _labels(frames)
    counts = np.stack([(label == index).sum((1, 2)) for index in range(len(COLOURS))])
    found = []
    for index, colour in enumerate(COLOURS):
        if counts[index].max() < SMALLEST * height**2:
            continue
        masks = np.zeros((time, height, width), np.bool_)
        for i in np.flatnonzero(counts[index]):
            masks[i] = _largest(label[i] == index)
        if masks.sum((1, 2)).max() >= SMALLEST * height**2:
            found.append((float(strength[masks].sum()), colour, masks))
    found.sort(key=lambda part: -part[0])
    return [(colour, masks) for _, colour, masks in found]


def _labels(frames: Frames) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Number of the nearest palette colour, -1 where the colour is weak, and the chroma."""
    flat = (frames.reshape(1, -1, 3) / np.float32(255)).astype(np.float32)
    hue, saturation, value = cv2.split(cv2.cvtColor(flat, cv2.COLOR_RGB2HSV))
    strength = saturation * value
    label = np.full(hue.shape, -1, np.int8)
    vivid = (strength > CHROMA) & (saturation > SATURATION)
    away = np.abs((hue[vivid][:, None] - _hues() + 180) % 360 - 180)
    label[vivid] = np.where(away.min(-1) < HUE_REACH, away.argmin(-1), -1)
    return label.reshape(frames.shape[:3]), np.asarray(strength).reshape(frames.shape[:3])


@cache
def _hues() -> npt.NDArray[np.float32]:
    """Hue of each colour of the palette, in degrees."""
    palette = np.array([list(COLOURS.values())], np.float32) / 255
    return np.asarray(cv2.cvtColor(palette, cv2.COLOR_RGB2HSV)[0, :, 0], np.float32)


def _largest(mask: Masks) -> Masks:
    """The largest connected part of a mask, its holes (highlights) filled."""
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count > 2:
        mask = numbers == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
    edges, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(mask.shape, np.uint8)
    cv2.drawContours(filled, edges, -1, 1, cv2.FILLED)
    return filled.astype(np.bool_)


def centre_and_box(mask: Masks) -> tuple[Exact, Exact]:
    """Centre of area (x, y) and left, top, right, bottom of a mask, in picture heights."""
    height = len(mask)
    rows, columns = np.nonzero(mask)
    centre = np.array([columns.mean() + 0.5, rows.mean() + 0.5])
    box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    return centre / height, box / height


def windows(masks: Masks, centres: Exact, box: Exact) -> tuple[Masks, Exact]:
    """Small pictures with the things in their middle: shapes and angles are found faster in them.

    Args:
        masks: (n, height, width).
        centres: (n, 2) in picture heights, as `centre_and_box` gives them.
        box: (n, 4) likewise.

    Returns:
        (n, side, side), and the centres (n, 2) in sides of a window.
    """
    height = masks.shape[1]
    pixels = np.rint(box * height).astype(int)
    side = int((pixels[:, 2:] - pixels[:, :2]).max(initial=1)) + 4
    corner = (pixels[:, 2:] + pixels[:, :2] - side) // 2
    found = np.zeros((len(masks), side, side), np.bool_)
    for window, mask, (left, top), (x0, y0, x1, y1) in zip(
        found, masks, corner, pixels, strict=True
    ):
        window[y0 - top : y1 - top, x0 - left : x1 - left] = mask[y0:y1, x0:x1]
    return found, (centres * height - corner) / side


def likeness(masks: Masks, centres: Exact) -> Exact:
    """How well each shape, upright or turned, overlaps masks when given their area and centre.

    Args:
        masks: (n, height, width).
        centres: (n, 2), the masks' centres of area.

    Returns:
        (n, shapes) intersection over union, 0 to 1, in the order of `SHAPES`.
    """
    found = np.zeros((len(masks), len(SHAPES)))
    for column, shape in enumerate(SHAPES):
        found[:, column] = _overlap(masks, _ideal(shape, masks, centres, np.zeros(len(masks))))
        poor = found[:, column] < 0.9
        if shape in TURNS and poor.any():
            few, at = masks[poor], centres[poor]
            angles = _phases(few, at, TURNS[shape]) / TURNS[shape] - _upright(shape)
            turned = _overlap(few, _ideal(shape, few, at, angles))
            found[poor, column] = np.maximum(found[poor, column], turned)
    return found


def shape_of(likeness: Exact) -> str | None:
    """The shape that is most alike over the given frames (n, shapes), None below 0.6 or of none."""
    if not len(likeness):
        return None
    mean = likeness.mean(0)
    return list(SHAPES)[int(mean.argmax())] if mean.max() > 0.6 else None


def angles_of(shape: str, masks: Masks, centres: Exact) -> Exact:
    """How far a shape with corners is turned in each mask, continued over time.

    Args:
        shape: a key of `TURNS`.
        masks: (n, height, width), in order of time, each a thing seen whole.
        centres: (n, 2), the masks' centres of area.

    Returns:
        (n,) radians clockwise as seen, from one of the positions in which the shape looks upright;
        a turn by more than half its period from mask to mask is taken for one the other way.
    """
    return _continued(_phases(masks, centres, TURNS[shape]), TURNS[shape]) - _upright(shape)


def angles_of_ball(frames: Frames, masks: Masks, centres: Exact) -> Exact:
    """How far a ball that stays in its place is turned, by the dark bar across it.

    The bar is where a pixel is darker than it mostly is. Arguments and result as for `angles_of`,
    with the masks' own frames (n, height, width, 3); NaN where there is no such bar.
    """
    value = frames.max(-1).astype(np.float32)
    usual = np.maximum(np.quantile(value, 0.8, axis=0), 1)
    x, y = _from_centres(centres, (masks.shape[1], masks.shape[2]))
    radius = np.sqrt(masks.sum((1, 2), keepdims=True) / masks.shape[1] ** 2 / AREAS["ball"])
    # The bar's middle is always dark, and the ball's edge is where its surroundings begin.
    far = np.hypot(x, y) / radius
    ring = masks & (far > 0.3) & (far < 0.75)
    dark = np.where(ring, np.clip(1 - value / usual, 0, 1), 0)
    if dark.sum() < 0.05 * ring.sum():
        return np.full(len(masks), np.nan)
    moment = np.einsum("nyx,nyx->n", dark, (x + np.complex64(1j) * y) ** 2)
    return _continued(np.angle(moment), 2)


def _continued(phases: Exact, order: int) -> Exact:
    return np.asarray(np.unwrap(phases) / order, np.float64)


def _overlap(masks: Masks, ideals: Masks) -> Exact:
    union = np.maximum((masks | ideals).sum((1, 2)), 1)
    return np.asarray((masks & ideals).sum((1, 2)) / union, np.float64)


def _ideal(shape: str, masks: Masks, centres: Exact, angles: Exact) -> Masks:
    """A shape of each mask's area and centre, turned: (n, height, width)."""
    height, width = masks.shape[1:]
    area = masks.sum((1, 2)) / height**2
    radius = np.sqrt(area / AREAS[shape]).astype(np.float32)[:, None, None]
    x, y = _from_centres(centres, (height, width))
    cos, sin = (f(angles).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
    across, down = (
        (x * cos + y * sin) / radius,
        (y * cos - x * sin) / radius + np.float32(BELOW[shape]),
    )
    return np.asarray(SHAPES[shape](across, down) <= 0)


def _phases(masks: Masks, centres: Exact, order: int) -> Exact:
    """Phase of each mask's moment of (x + iy)^order, which turns `order` times as fast as it."""
    x, y = _from_centres(centres, (masks.shape[1], masks.shape[2]))
    power = place = x + np.complex64(1j) * y
    for _ in range(order - 1):
        power = power * place
    return np.asarray(np.angle(np.einsum("nyx,nyx->n", masks, power)), np.float64)


def _from_centres(centres: Exact, size: tuple[int, int]) -> tuple[Array, Array]:
    """Pixel centres from each centre, in picture heights: x (n, 1, width) and y (n, height, 1)."""
    at = centres.astype(np.float32)
    x = (np.arange(size[1], dtype=np.float32) + 0.5) / size[0]
    y = (np.arange(size[0], dtype=np.float32) + 0.5) / size[0]
    return x[None, None, :] - at[:, 0, None, None], y[None, :, None] - at[:, 1, None, None]


@cache
def _upright(shape: str) -> float:
    """The angle that the moments give to a shape that is not turned."""
    cover = coverage(shape, np.array([[0.5, 0.5]]), 0.4, (200, 200)) >= 0.5
    centre = np.array([[0.5, 0.5 + 0.4 * BELOW[shape]]])
    return float(_phases(cover, centre, TURNS[shape])[0]) / TURNS[shape]
