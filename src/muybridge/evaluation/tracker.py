"""Finds what a clip of the stage shows - colour, shape, motion - from its pixels alone.

It is made for footage like the stage's: one thing of strong colour before surroundings of weak
colour. Its own error on real clips belongs beside every number that it gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from ..core.errors import MuybridgeError
from ..core.video import Frames
from ..data.stage import COLOURS, SHAPES, coverage

Exact = npt.NDArray[np.float64]
Masks = npt.NDArray[np.bool_]

KEYS = ("colour", "shape", "motion")
# Chroma (largest less smallest channel, 0 to 1) and saturation from which a pixel counts as
# coloured: the stage's surroundings stay below 0.25 and 0.3, its things above 0.4 and 0.6.
CHROMA, SATURATION = 0.22, 0.42
HUE_REACH = 28.0
# A thing smaller than this share of the picture's height squared is taken for noise.
SMALLEST = 0.008


@dataclass(frozen=True)
class Track:
    """What was found in a clip.

    `times` (time,) in seconds. `position` (time, 2) is the centre of the visible area, x and y in
    picture heights from the top left corner, NaN where nothing is visible. `area` (time,) is in
    picture heights squared. `visible` (time,). Words that could not be told are None.
    """

    times: Exact
    position: Exact
    area: Exact
    visible: Masks
    colour: str | None = None
    shape: str | None = None
    motion: str | None = None


def track(frames: Frames, fps: float) -> Track:
    """Follows the one coloured thing in a clip.

    Args:
        frames: (time, height, width, 3) uint8 RGB.
        fps: frames per second.

    Raises:
        MuybridgeError: frames of another type or shape, or fps that is not above 0.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise MuybridgeError(
            f"the tracker got {frames.dtype} of shape {frames.shape}",
            "give uint8 (time, height, width, 3) with at least one frame",
        )
    if not fps > 0:
        raise MuybridgeError(f"fps is {fps:g}; it must be above 0", "give the clip's own rate")
    height = frames.shape[1]
    times = np.arange(len(frames)) / fps
    colour, masks = _segment(frames)
    area = masks.sum((1, 2)) / height**2
    visible = area >= SMALLEST
    position = np.full((len(frames), 2), np.nan)
    for i in np.flatnonzero(visible):
        rows, columns = np.nonzero(masks[i])
        position[i] = (columns.mean() + 0.5) / height, (rows.mean() + 0.5) / height
    if visible.sum() < 2:
        return Track(times, position, area, visible)
    # The area when seen whole; a high quantile, for one bad frame may be larger.
    whole = area / np.quantile(area[visible], 0.9)
    shape = _shape_of(masks[whole > 0.92], position[whole > 0.92])
    return Track(times, position, area, visible, colour, shape, _motion_of(position, whole))


def _segment(frames: Frames) -> tuple[str, Masks]:
    """The palette colour with the most coherent area over the clip, and where it is."""
    time, height, width, _ = frames.shape
    flat = (frames.reshape(1, -1, 3) / np.float32(255)).astype(np.float32)
    hsv = cv2.cvtColor(flat, cv2.COLOR_RGB2HSV).reshape(time, height, width, 3)
    hue, saturation, value = hsv[..., 0], hsv[..., 1], hsv[..., 2]
    vivid = (saturation * value > CHROMA) & (saturation > SATURATION)
    away = np.abs((hue[..., None] - _hues() + 180) % 360 - 180)
    label = np.where(vivid & (away.min(-1) < HUE_REACH), away.argmin(-1), -1)
    strength = saturation * value
    best, most, masks = "", -1.0, np.zeros(label.shape, np.bool_)
    for index, colour in enumerate(COLOURS):
        found = np.stack([_largest(picture == index) for picture in label])
        weight = float(strength[found].sum())
        if weight > most:
            best, most, masks = colour, weight, found
    return best, masks


@cache
def _hues() -> npt.NDArray[np.float32]:
    """Hue of each colour of the palette, in degrees."""
    palette = np.array([list(COLOURS.values())], np.float32) / 255
    return np.asarray(cv2.cvtColor(palette, cv2.COLOR_RGB2HSV)[0, :, 0], np.float32)


def _largest(mask: Masks) -> Masks:
    """The largest connected part of a mask, its holes (highlights) filled."""
    if not mask.any():
        return mask
    edges, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(mask.shape, np.uint8)
    cv2.drawContours(filled, [max(edges, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    return filled.astype(np.bool_)


def _shape_of(masks: Masks, centres: Exact) -> str | None:
    """The shape that best overlaps the masks when given their area and centre, if any does."""
    height, width = masks.shape[1:]
    overlaps: dict[str, float] = {}
    for shape in SHAPES:
        area, below = _unit(shape)
        scores = []
        for mask, centre in zip(masks, centres, strict=True):
            radius = float(np.sqrt(mask.sum() / height**2 / area))
            at = centre - [0, below * radius]
            ideal = coverage(shape, at[None], radius, (height, width))[0] >= 0.5
            scores.append((mask & ideal).sum() / max((mask | ideal).sum(), 1))
        overlaps[shape] = float(np.mean(scores)) if scores else 0.0
    best = max(overlaps, key=lambda shape: overlaps[shape])
    return best if overlaps[best] > 0.6 else None


@cache
def _unit(shape: str) -> tuple[float, float]:
    """Area of a shape of radius 1, and how far its centre of area lies below that of its box."""
    cover = coverage(shape, np.array([[0.5, 0.5]]), 0.4, (200, 200))[0]
    rows = (np.arange(200) + 0.5) / 200
    below = float((cover.sum(1) * rows).sum() / cover.sum() - 0.5)
    return float(cover.sum()) / 200**2 / 0.4**2, below / 0.4


def _motion_of(position: Exact, whole: Exact) -> str | None:
    """The motion that a course shows; `whole` is the share in sight, about 0 to 1, by frame."""
    full = np.flatnonzero(whole > 0.75)
    if len(full) < 2:
        return None
    x, y = position[full, 0], position[full, 1]
    between = slice(full[0], full[-1] + 1)
    lost = full[0] + int(np.argmin(whole[between]))
    before, after = full[full < lost], full[full > lost]
    if whole[lost] < 0.4 and len(before) and len(after):
        crossed = abs(position[after[0], 0] - position[before[-1], 0])
        return "hide" if crossed > 0.15 and np.ptp(y) < 0.12 else None
    # y grows downwards: at a landing it is well above its least before, and its least after.
    fallen = y - np.minimum.accumulate(y)
    rising = y - np.minimum.accumulate(y[::-1])[::-1]
    if np.minimum(fallen, rising).max() > 0.06:
        return "bounce"
    return "slide" if np.ptp(x) > 0.12 and np.ptp(y) < 0.08 else None


def following(
    clips: Sequence[Frames], asked: Sequence[Mapping[str, str]], fps: float = 8
) -> dict[str, object]:
    """How often clips show what was asked for.

    Args:
        clips: each (time, height, width, 3) uint8 RGB.
        asked: for each clip, the wanted `colour`, `shape` and `motion`; one left out is not judged.
        fps: frames per second.

    Returns:
        `colour`, `shape`, `motion` and `all` (everything asked of a clip at once): share right, 0
        to 1, each there only if something was asked; `right` and `of`: the counts, likewise named.

    Raises:
        MuybridgeError: not as many requests as clips, or no clips.
    """
    if len(clips) != len(asked) or not len(clips):
        raise MuybridgeError(
            f"{len(clips)} clips, but {len(asked)} requests", "give one request for each clip"
        )
    right = dict.fromkeys((*KEYS, "all"), 0)
    of = dict(right)
    for clip, wanted in zip(clips, asked, strict=True):
        found = track(clip, fps)
        hits = {key: getattr(found, key) == wanted[key] for key in KEYS if wanted.get(key)}
        if not hits:
            continue
        for key, hit in (hits | {"all": all(hits.values())}).items():
            right[key] += hit
            of[key] += 1
    shares = {key: right[key] / of[key] for key in of if of[key]}
    return {**shares, "right": right, "of": of}
