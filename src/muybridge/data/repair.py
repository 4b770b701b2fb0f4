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

# Bars are black to within this many grey levels, and take more than this share of a side.
_BAR_LEVEL, _BAR_SHARE = 24, 0.015
_BAR_SAMPLES = 8


@lru_cache(maxsize=1)
def _flow() -> Any:
    import cv2

    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)


def interpolate(first: Frames, second: Frames, share: float) -> Frames:
    """The picture at `share` of the way from one picture (h, w, 3) to another.

    Both are warped along dense inverse search flow (Kroeger et al. 2016) to the moment between and
    mixed; where the flows there and back disagree, something is hidden in one of the two, and the
    one nearer in time counts.
    """
    import cv2

    grey = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in (first, second)]
    if min(grey[0].shape) < 16:  # too small for the search's patches
        return cv2.addWeighted(first, 1 - share, second, share, 0).astype(np.uint8)
    there = _flow().calc(grey[0], grey[1], None)
    back = _flow().calc(grey[1], grey[0], None)
    y, x = np.mgrid[: first.shape[0], : first.shape[1]].astype(np.float32)

    def fetch(picture: npt.NDArray[Any], flow: npt.NDArray[Any], part: float) -> npt.NDArray[Any]:
        return cv2.remap(
            picture, x - part * flow[..., 0], y - part * flow[..., 1], cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip

    a, b = fetch(first, there, share), fetch(second, back, 1 - share)
    returned = there + cv2.remap(
        back,
        x + there[..., 0],
        y + there[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    lost = fetch(np.linalg.norm(returned, axis=-1), there, share) > 1.5
    weight = np.where(lost, float(share > 0.5), share)[..., None]
    return np.asarray(np.rint(a * (1 - weight) + b * weight), np.uint8)


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
    return np.where(apart < 3 * max(float(np.median(apart)), 1.0), middle, frames).astype(np.uint8)


def content(path: Path) -> framing.Box:
    """The part of a file's picture that is not black bars: top, bottom, left, right, of 1.

    Looks at a few moments spread over the file; bars are where all of them are black and beside
    which the picture begins sharply.

    Raises:
        DataError: the file cannot be opened or holds no picture.
    """
    seen: list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]] = []

    def look(frame: decoding.Frame) -> None:
        height, width = frame.size
        scale = min(1.0, 360 / min(height, width))
        luma = frame.picture(
            (max(1, round(height * scale)), max(1, round(width * scale))), grey=True
        )
        if not frame.damaged and (luma > 2 * _BAR_LEVEL).mean() > 0.05:
            seen.append((np.percentile(luma, 98, axis=1), np.percentile(luma, 98, axis=0)))

    decoding.sample(path, _BAR_SAMPLES, look)
    if not seen:
        return framing.WHOLE
    top, bottom = _extent([rows for rows, _ in seen])
    left, right = _extent([columns for _, columns in seen])
    return top, bottom, left, right


def _extent(sides: Sequence[npt.NDArray[np.float64]]) -> tuple[float, float]:
    """From where to where, of 1, any of the lines is not black."""
    length = len(sides[0])
    brightest = np.max([side for side in sides if len(side) == length], axis=0)
    lit = np.flatnonzero(brightest > _BAR_LEVEL)
    if not len(lit):
        return 0.0, 1.0
    first, last = int(lit[0]), int(lit[-1]) + 1
    least = max(2, round(_BAR_SHARE * length))
    # A dark corner of a scene fades in; a bar ends from one line to the next but one.
    sharp = [
        line < length and brightest[line : line + 3].max() > 2 * _BAR_LEVEL for line in (first,)
    ] + [brightest[max(0, last - 3) : last].max() > 2 * _BAR_LEVEL]
    start = first / length if first >= least and sharp[0] else 0.0
    end = last / length if length - last >= least and sharp[1] else 1.0
    return start, end
