"""Figures of footage, and which of it they say is bad."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.config import NotNegative, Section
from ..core.video import Frames

Figures = dict[str, Any]
Floats = npt.NDArray[np.float64]
Luma = npt.NDArray[np.float32]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# A picture is dark, or light, where its luma is within this of the end of the scale.
_END = 8
# The picture of a camera with its cap on, or of a leader: no pixel is brighter than this, in grey
# levels, and it has no contrast. A night scene has lamps.
_BLACK_LEVEL, _BLACK_CONTRAST = 32, 3.0
# A scene comes to rest if it moves by less than this share of its usual change before and after;
# measured: at most .26 where drawn things slow down, mostly over 1 around frozen frames.
_RESTING = 0.3
# A frame is repeated amid motion where it differs from the one before by less than this share of
# what three frames on both sides change, and nowhere by more than so many grey levels.
_REPEATED, _LEFT = 0.1, 10


class Limits(Section):
    """What footage must be to be kept. The report page shows each figure's distribution."""

    min_height: int = 32
    """Pixels on a picture's shorter side."""
    min_sharpness: NotNegative = 12.0
    """Variance of the Laplacian of luma, of at most 360 lines: 5 for footage blurred by a Gaussian
    of sigma 6, 32 and more for real footage, 40 for wildlife with a soft background."""
    min_motion: NotNegative = 0.05
    """Mean change of luma in 1/24 s, in grey levels: 0 for a picture that is held, .2 and more for
    an almost still scene before a camera."""
    min_brightness: NotNegative = 0.06
    """Mean luma, of 1; less is underexposed."""
    max_brightness: NotNegative = 0.94
    """Mean luma, of 1; more is overexposed."""
    max_noise: NotNegative = 12.0
    """Standard deviation of noise in grey levels, of at most 360 lines."""
    max_disorder: NotNegative = 0.25
    """Share of places where two neighbouring frames move more smoothly the other way round."""


def of_picture(luma: Frames) -> tuple[float, float, float, float, float]:
    """Sharpness, noise, dark, light and flat of one picture of luma, uint8 (height, width).

    Sharpness is the variance of the Laplacian (Pech-Pacheco et al. 2000). Noise is the standard
    deviation that Immerkaer's filter finds (1996, eq. 5), over the flatter half of the picture,
    since texture would count as noise.
    """
    import cv2

    sharpness = float(cv2.meanStdDev(cv2.Laplacian(luma, cv2.CV_16S))[1][0, 0]) ** 2
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    residue = np.abs(cv2.filter2D(luma, cv2.CV_32F, kernel))
    level = luma.astype(np.float32)
    blocks = (max(1, luma.shape[1] // 8), max(1, luma.shape[0] // 8))
    mean, square, rough = (
        cv2.resize(plane, blocks, interpolation=cv2.INTER_AREA)
        for plane in (level, level * level, residue)
    )
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    noise = float(np.sqrt(np.pi / 2) / 6 * rough[deviation <= np.median(deviation)].mean())
    counts = cv2.calcHist([luma], [0], None, [256], [0, 256]).ravel() / luma.size
    dark, light = float(counts[: _END + 1].sum()), float(counts[255 - _END :].sum())
    return sharpness, noise, dark, light, float((deviation < 1.0).mean())


def luma_of(thumbs: Frames) -> Luma:
    """Luma of small pictures (n, height, width, 3), in grey levels."""
    return np.asarray(thumbs @ LUMA, np.float32)


def moments(frames: Frames) -> tuple[list[float], list[float]]:
    """Mean and mean square of each channel of frames (t, h, w, 3), in [-1, 1]."""
    import cv2

    found = cv2.meanStdDev(frames.reshape(-1, frames.shape[2], 3))
    mean, deviation = (np.asarray(one, np.float64)[:, 0] / 127.5 for one in found)
    return (mean - 1).tolist(), ((mean - 1) ** 2 + deviation**2).tolist()


def black(luma: Luma) -> npt.NDArray[np.bool_]:
    """Which pictures, by their luma (n, height, width), show nothing."""
    return np.asarray(
        (luma.max((1, 2)) < _BLACK_LEVEL) & (luma.std((1, 2)) < _BLACK_CONTRAST), np.bool_
    )


def repeats(thumbs: Frames) -> npt.NDArray[np.bool_]:
    """Which pictures (n, height, width, 3) are the one before, shown again.

    Even a still scene before a camera differs from frame to frame by noise; a repeated frame does
    not, but for what compression leaves. Amid motion that may be more than the noise of another
    scene, but it is next to nothing beside the changes before and after.
    """
    import cv2

    if len(thumbs) < 2:
        return np.zeros(len(thumbs), bool)
    flat = thumbs.reshape(len(thumbs), -1)
    change = cv2.absdiff(flat[1:], flat[:-1])
    mean, most = change.mean(1), change.max(1)
    same = (mean < 0.03) & (most <= 2)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(mean, (3, 4)), 7)[: len(mean)]
    moving = np.minimum(around[:, :3].max(1), around[:, 4:].max(1))
    same |= (mean < _REPEATED * moving) & (most <= _LEFT)
    return np.concatenate([[False], same])


def at_rest(repeated: npt.NDArray[np.bool_], luma: Luma) -> npt.NDArray[np.bool_]:
    """Which repeated pictures are nothing worse than a scene that has come to rest.

    Before a camera nothing is ever quite still, but drawn footage stops: a thing slows down, and
    then all is as it was. A frozen picture stops, or goes on, at once.
    """
    change = np.concatenate([[0.0], np.abs(np.diff(luma, axis=0)).mean((1, 2))])
    usual = np.median(change[1:][~repeated[1:]]) if (~repeated[1:]).any() else 0.0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], repeated, [False]]).astype(int)))
    rest = np.zeros(len(repeated), bool)
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        around = (change[max(1, first - 2) : first], change[last : last + 2])
        if max((side.mean() for side in around if len(side)), default=0.0) < _RESTING * usual:
            rest[first:last] = True
    return rest


def figures(thumbs: Frames, luma: Luma, times: Floats, sampled: Floats) -> Figures:
    """Figures of a run of frames.

    Args:
        thumbs: small pictures (n, height, width, 3).
        luma: of them (n, height, width).
        times: their seconds (n,).
        sampled: `of_picture` of some of them, (m, 5).
    """
    few = thumbs[:: max(1, len(thumbs) // 64)]  # colours change slowly
    colour = few.mean((0, 1, 2)) / 255
    red, green, blue = (few[..., i] for i in range(3))
    most = np.maximum(np.maximum(red, green), blue)
    spread = most - np.minimum(np.minimum(red, green), blue)
    saturation = (spread / np.maximum(most, 1)).mean()
    change = np.abs(np.diff(luma, axis=0)).mean((1, 2))
    gaps = np.maximum(np.diff(times), 1e-3)
    motion = float(change.sum() / (24 * gaps.sum())) if len(change) else 0.0
    found = sampled if len(sampled) else np.zeros((1, 5))
    sharpness, noise, dark, light, flat = (float(v) for v in np.median(found, axis=0))
    return {
        "brightness": float(luma.mean() / 255),
        "contrast": float(luma.std((1, 2)).mean() / 255),
        "saturation": float(saturation),
        "sharpness": sharpness,
        "noise": noise,
        "motion": motion,
        "camera": camera(luma, times),
        "dark": dark,
        "light": light,
        "flat": flat,
        "colour": [round(float(value), 4) for value in colour],
    }


def camera(luma: Luma, times: Floats) -> float:
    """How fast the whole picture is shifted, in widths a second: the median over some moments.

    By phase correlation (Kuglin & Hines 1975) of frames about an eighth of a second apart.
    """
    import cv2

    if len(luma) < 2:
        return 0.0
    step = max(1, round(0.125 / max(float(np.median(np.diff(times))), 1e-3)))
    window = cv2.createHanningWindow((luma.shape[2], luma.shape[1]), cv2.CV_32F)
    speeds = []
    for first in np.linspace(0, max(0, len(luma) - 1 - step), 16).astype(int):
        second = min(first + step, len(luma) - 1)
        a, b = luma[first].copy(), luma[second].copy()  # they are multiplied by the window in place
        (x, y), sure = cv2.phaseCorrelate(a, b, window)
        if sure > 0.1:
            spent = max(float(times[second] - times[first]), 1e-3)
            speeds.append(np.hypot(x, y) / luma.shape[2] / spent)
    return float(np.median(speeds)) if speeds else 0.0


def verdict(found: Figures, disorder: float, limits: Limits) -> str:
    """Why footage of these figures is set aside, or ""."""
    tests = (
        ("out of order", disorder > limits.max_disorder, "max_disorder", disorder),
        ("underexposed", found["brightness"] < limits.min_brightness, "min_brightness",
         found["brightness"]),
        ("overexposed", found["brightness"] > limits.max_brightness, "max_brightness",
         found["brightness"]),
        ("static", found["motion"] < limits.min_motion, "min_motion", found["motion"]),
        ("noisy", found["noise"] > limits.max_noise, "max_noise", found["noise"]),
        ("blurred", found["sharpness"] < limits.min_sharpness, "min_sharpness",
         found["sharpness"]),
    )  # fmt: skip
    for word, bad, setting, value in tests:
        if bad:
            measure = setting.partition("_")[2]
            limit = getattr(limits, setting)
            return f"{word}: {measure} {value:.3g}, prepare.{setting} = {limit:g}"
    return ""
