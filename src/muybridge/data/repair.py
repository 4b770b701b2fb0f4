"""Mends pictures: frames that are missing, noise, black bars."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import decoding
from ..core.video import Frames
from . import framing

Flow = npt.NDArray[np.float32]
# Of each row, or column: how bright it is, in grey levels, and which share of it is lit.
_Lines = npt.NDArray[np.float64]

# Bars are black to within this many grey levels, and take more than this share of a side.
_BAR_LEVEL, _BAR_SHARE = 24, 0.015
_BAR_SAMPLES = 8
# Beside a bar, at one of the moments at least, this share of a line of the picture is lit: a bar is
# straight, the roofs beneath a night's sky are not.
_STRAIGHT = 0.4


@lru_cache(maxsize=1)
def _flow() -> Any:
    import cv2

    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)


def interpolate(first: Frames, second: Frames, share: float) -> Frames:
    """The picture at `share` of the way from one picture (h, w, 3) to another.

    Dense inverse search flow (Kroeger et al. 2016) there and back is carried to the moment between
    (as by Baker et al. 2011, section 3.3), along which both are warped and mixed. Where the two
    flows disagree, something is hidden in one of the pictures, and neither is believed.
    """
    import cv2

    if share in (0, 1):
        return (first, second)[int(share)].copy()
    grey = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in (first, second)]
    if min(grey[0].shape) < 16:  # too small for the search's patches
        return cv2.addWeighted(first, 1 - share, second, share, 0).astype(np.uint8)
    there = _flow().calc(grey[0], grey[1], None)
    back = _flow().calc(grey[1], grey[0], None)
    between = _filled(
        _carried(there, _disagree(there, back), share),
        -_carried(back, _disagree(back, there), 1 - share),
    )
    a, b = _fetch(first, -share * between), _fetch(second, (1 - share) * between)
    return np.asarray(np.rint(a * (1 - share) + b * share), np.uint8)


def _fetch(picture: npt.NDArray[Any], flow: Flow) -> npt.NDArray[Any]:
    """What a picture shows where `flow` (h, w, 2; x and y in pixels) leads from each place."""
    import cv2

    y, x = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    return cv2.remap(
        picture, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip


def _disagree(flow: Flow, back: Flow) -> npt.NDArray[np.bool_]:
    """Where going there and back leads elsewhere, by more than a pixel and a half."""
    apart = flow + _fetch(back, flow)
    return np.asarray((apart**2).sum(-1) > 1.5**2, np.bool_)


def _carried(flow: Flow, without: npt.NDArray[np.bool_], part: float) -> Flow:
    """Flow at the places that `part` of it leads to; NaN where it leads to none."""
    height, width = without.shape
    y, x = np.nonzero(~without)
    moved = flow[y, x]
    to = np.rint(np.stack([x, y], -1) + part * moved).astype(np.int64)
    inside = ((to >= 0) & (to < (width, height))).all(-1)
    carried = np.full_like(flow, np.nan)
    carried[to[inside, 1], to[inside, 0]] = moved[inside]
    return carried


def _filled(flow: Flow, other: Flow) -> Flow:
    """Flow, the other one where it is NaN, and the mean of what is nearby where both are."""
    import cv2

    flow = np.where(np.isnan(flow), other, flow)
    known = np.where(np.isnan(flow[..., 0]), 0, 1).astype(np.float32)
    flow = np.nan_to_num(flow)
    filled, missing, side = flow.copy(), known == 0, 3
    while missing.any() and side < 4 * max(known.shape):
        near, total = cv2.blur(known, (side, side)), cv2.blur(flow, (side, side))
        found = missing & (near > 1e-6)
        filled[found] = total[found] / near[found][:, None]
        missing &= ~found
        side = 2 * side + 1
    return filled


def denoise(frames: Frames, how: str) -> Frames:
    """Frames (t, h, w, 3) with less noise.

    Args:
        frames: one clip.
        how: "median" of three frames in time, where they agree to within noise, so that what moves
            keeps its place; "nlm", OpenCV's non-local means, far slower.
    """
    import cv2

    if how == "nlm":
        made = [cv2.fastNlMeansDenoisingColored(frame, None, 5, 5, 5, 15) for frame in frames]
        return np.stack(made).astype(np.uint8)
    around = np.stack(
        [frames[[0, *range(len(frames) - 1)]], frames, frames[[*range(1, len(frames)), -1]]]
    )
    middle = np.median(around, axis=0)
    apart = np.abs(middle - frames).mean(-1, keepdims=True)
    return np.where(apart < 5 * max(float(np.median(apart)), 1.0), middle, frames).astype(np.uint8)


def content(path: Path) -> framing.Box:
    """The part of a file's picture that is not black bars: top, bottom, left, right, of 1.

    Looks at a few moments spread over the file; bars are where all of them are black and beside
    which the picture begins sharply, in a straight line.

    Raises:
        DataError: the file cannot be opened or holds no picture.
    """
    seen: list[tuple[_Lines, _Lines]] = []

    def look(frame: decoding.Frame) -> None:
        height, width = frame.size
        scale = min(1.0, 360 / min(height, width))
        luma = frame.picture(
            (max(1, round(height * scale)), max(1, round(width * scale))), grey=True
        )
        lit = luma > 2 * _BAR_LEVEL
        if not frame.damaged and lit.mean() > 0.05:
            rows, columns = (
                np.stack([np.percentile(luma, 98, axis=across), lit.mean(across)])
                for across in (1, 0)
            )
            seen.append((rows, columns))

    decoding.sample(path, _BAR_SAMPLES, look)
    if not seen:
        return framing.WHOLE
    top, bottom = _extent([rows for rows, _ in seen])
    left, right = _extent([columns for _, columns in seen])
    return top, bottom, left, right


def _extent(sides: Sequence[_Lines]) -> tuple[float, float]:
    """From where to where, of 1, any of the lines is not black."""
    length = sides[0].shape[1]
    brightest, share = np.max([side for side in sides if side.shape[1] == length], axis=0)
    lit = np.flatnonzero(brightest > _BAR_LEVEL)
    if not len(lit):
        return 0.0, 1.0
    first, last = int(lit[0]), int(lit[-1]) + 1
    least = max(2, round(_BAR_SHARE * length))
    # A dark corner of a scene fades in; a bar ends from one line to the next but one.
    start = first >= least and share[first : first + 3].max() > _STRAIGHT
    end = length - last >= least and share[max(0, last - 3) : last].max() > _STRAIGHT
    if abs(first - (length - last)) <= 2:  # bars come in pairs: one is seen well enough
        start = end = bool(start or end)
    return first / length if start else 0.0, last / length if end else 1.0
