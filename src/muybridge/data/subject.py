"""Where to crop: the path of a clip's subject through its picture, smoothed over time."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..core.config import Section
from ..core.errors import MuybridgeError, RecipeError

Picture = npt.NDArray[np.uint8]
Grey = npt.NDArray[np.float32]
Real = npt.NDArray[np.float64]
Kind = Literal["centre", "motion", "saliency", "people", "faces"]

# Pictures looked at in a second: movement needs neighbours, the rest changes slowly.
RATES = {"motion": 12.0, "saliency": 4.0, "people": 4.0, "faces": 4.0}
# The path follows what changes more slowly than this many times a second ...
FOLLOWED = 0.4
# ... settles within a sixth of this part of a second where nothing more is seen, and moves by no
# more than this share of the picture a second.
HELD, MAX_SPEED = 2.0, 0.5
# A path that stays within this share of the crop is a constant one: a still camera looks better.
STILL = 0.15
# Mean interest of a picture (grey levels) that counts half; a change below `CHANGE` counts nothing.
HALF_SURE, CHANGE = 0.02, 2.0
# Detected people and faces below this score are passed over.
SCORE = 0.6


class Config(Section):
    """Which part of the picture is kept where the shape of clips is not that of the footage."""

    kind: Kind = "centre"
    """centre, or the place of the clip's movement, of what stands out (saliency), of people or of
    faces."""
    detector: str = ""
    """For people, the folder or hub name of an object detector (see `prepare.objects.model`); for
    faces, the ONNX file of a YuNet face detector (face_detection_yunet_2023mar.onnx)."""


def lines(kind: Kind) -> int:
    """The height in pixels at which pictures are best given to `path`."""
    return 360 if kind in ("people", "faces") else 64


def window(height: int, width: int, aspect: tuple[int, int]) -> tuple[float, float]:
    """The largest crop of shape `aspect` (height, width): its shares of the height and the width,
    of which one is 1."""
    ratio = (aspect[1] * height) / (aspect[0] * width)
    return (1.0, ratio) if ratio < 1 else (1 / ratio, 1.0)


def path(
    frames: Sequence[Picture] | Picture,
    aspect: tuple[int, int],
    kind: Kind = "centre",
    detector: str = "",
    fps: float = 24.0,
) -> Real:
    """Where the crop's centre is in every frame of one shot.

    A mirrored shot has the mirrored path. Where nothing of the kind is seen the crop stays in the
    middle.

    Args:
        frames: uint8 RGB pictures (height, width, 3) of one size, about `lines(kind)` high.
        aspect: height and width of the crop; only their ratio counts.
        kind: what is followed, see `Config`.
        detector: see `Config`.
        fps: frames a second.

    Returns:
        float64 (frames, 2): y and x as shares of the height and the width, so that the `window`
        around them is inside the picture. They are not whole pixels: cropping by sub-pixel
        resampling keeps the picture from trembling.

    Raises:
        RecipeError: `kind` needs a detector and none is named.
        MuybridgeError: the detector cannot be used.
    """
    if not len(frames):
        return np.zeros((0, 2))
    shares = window(*frames[0].shape[:2], aspect)
    centres = np.full((len(frames), 2), 0.5)
    axis = 0 if shares[0] < 1 else 1
    if kind == "centre" or shares[axis] == 1:
        return centres
    rate = min(RATES[kind], fps)
    count = math.ceil((len(frames) - 1) * rate / fps) + 1
    chosen = np.linspace(0, len(frames) - 1, count).round().astype(int)
    interest = _interest([frames[i] for i in chosen], kind, detector)
    places, trust = _places(interest.sum(2 - axis), shares[axis])
    trust *= (interest.mean((1, 2)) / (interest.mean((1, 2)) + HALF_SURE)).astype(float)
    smooth = _smooth(places, trust, rate, shares[axis])
    centres[:, axis] = np.interp(np.arange(len(frames)), chosen, smooth)
    return centres


def _interest(pictures: list[Picture], kind: Kind, detector: str) -> Grey:
    """How much there is to follow at every place: (pictures, height, width), not negative."""
    if kind == "motion":
        return _moving(_grey(pictures))
    if kind == "saliency":
        return np.stack([_standing_out(grey) for grey in _grey(pictures)])
    find = _people(detector) if kind == "people" else _faces(detector)
    maps = []
    for picture in pictures:
        # A detector sees a mirrored picture a little differently; looked at both ways, it does not.
        both = find(picture), find(np.ascontiguousarray(picture[:, ::-1]))
        maps.append(_painted(both[0]) + _painted(both[1])[:, ::-1])
    return np.stack(maps)


def _grey(pictures: list[Picture]) -> Grey:
    import cv2

    height, width = pictures[0].shape[:2]
    scale = min(1.0, lines("motion") / height)
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    greys = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) for picture in pictures]
    if size != (width, height):
        greys = [
            np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.float32)
            for grey in greys
        ]
    return np.stack(greys)


# --- movement ------------------------------------------------------------------------------------


def _moving(greys: Grey) -> Grey:
    """What moves against the background, the camera's own shift taken out.

    A place counts where it differs from the picture before and from the one after: the difference
    of two pictures alone also shows where the subject was, or will be.
    """
    import cv2

    if len(greys) < 2:
        return np.zeros_like(greys)
    # A lamp that flickers is no movement.
    greys = greys - greys.mean((1, 2), keepdims=True)
    low, high = _neighbourhood(greys)
    taper = cv2.createHanningWindow(greys.shape[:0:-1], cv2.CV_32F)
    found = np.full_like(greys, np.inf)
    for i in range(len(greys) - 1):
        shift = _shift(greys[i], greys[i + 1], taper)
        for at, of, way in ((i + 1, i, 1), (i, i + 1, -1)):
            outside = np.maximum(
                greys[at] - _moved(high[of], shift, way), _moved(low[of], shift, way) - greys[at]
            )
            # What has just come into the picture differs from nothing.
            found[at] = np.fmin(found[at], np.nan_to_num(np.maximum(outside, 0), nan=0.0))
    result = np.stack([cv2.blur(one, (3, 3)) for one in found])
    noise = np.median(result[:, ::2, ::2], axis=(1, 2), keepdims=True)
    return np.asarray(np.maximum(result - 4 * noise - CHANGE, 0), np.float32)


def _neighbourhood(greys: Grey) -> tuple[Grey, Grey]:
    """Bounds of each place over half a pixel around it: a camera that turns or zooms, or a shift
    between pixels, changes no place beyond them."""
    import cv2

    kernel = np.ones((3, 3), np.uint8)
    low = np.stack([cv2.erode(grey, kernel) for grey in greys])
    high = np.stack([cv2.dilate(grey, kernel) for grey in greys])
    return (low + greys) / 2, (high + greys) / 2


def _shift(first: Grey, second: Grey, taper: Any) -> tuple[float, float]:
    """How far (x, y) the background of `first` has moved in `second`, in pixels."""
    import cv2

    (x, y), _ = cv2.phaseCorrelate(first, second, taper)
    if max(abs(x) / first.shape[1], abs(y) / first.shape[0]) > 0.3:
        return 0.0, 0.0

    def error(shift: tuple[float, float]) -> float:
        # A bound on each place's part, so that a large subject does not decide.
        return float(np.nanmean(np.minimum(np.abs(_moved(first, shift, 1) - second), 20)))

    return (x, y) if error((x, y)) < error((0.0, 0.0)) else (0.0, 0.0)


def _moved(grey: Grey, shift: tuple[float, float], way: int) -> Grey:
    """The picture shifted by `way` times `shift`; NaN where it shows nothing."""
    import cv2

    matrix = np.array([[1, 0, way * shift[0]], [0, 1, way * shift[1]]])
    size = grey.shape[::-1]
    moved = cv2.warpAffine(grey, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    x, y = (math.copysign(math.ceil(abs(way * one) - 1e-3), way * one) for one in shift)
    moved[slice(0, int(y)) if y > 0 else slice(len(moved) + int(y), None)] = np.nan
    moved[:, slice(0, int(x)) if x > 0 else slice(moved.shape[1] + int(x), None)] = np.nan
    return np.asarray(moved, np.float32)


# --- what stands out -----------------------------------------------------------------------------


def _standing_out(grey: Grey) -> Grey:
    """The spectral residual (Hou & Zhang 2007, "Saliency Detection: A Spectral Residual Approach"):
    what the logarithm of the spectrum has over its own local mean, back in the picture."""
    import cv2

    if grey.std() < CHANGE:
        return np.zeros_like(grey)
    spectrum = np.fft.fft2(grey - grey.mean())
    amplitude = np.log(np.abs(spectrum) + 1e-3)
    # The spectrum goes round: its local mean does too.
    mean = sum(
        np.roll(amplitude, (dy, dx), (0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)
    ) / 9  # fmt: skip
    back = np.fft.ifft2(np.exp(amplitude - mean + 1j * np.angle(spectrum)))
    saliency = cv2.GaussianBlur(np.abs(back) ** 2, (0, 0), grey.shape[0] / 25)
    # The paper's threshold for an object: three times the mean.
    found = np.maximum(saliency / saliency.mean() - 3, 0)
    return np.asarray(found / max(found.mean(), 1e-9), np.float32)


# --- detectors -----------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def _people(detector: str) -> Any:
    if not detector:
        raise RecipeError(
            "prepare.subject.kind = people needs prepare.subject.detector, which is not set",
            "name the folder of an object detector, as hustvl/yolos-tiny, or follow motion",
        )
    from .caption import Detector, ObjectsConfig

    config = ObjectsConfig(model=detector, words=("person",), threshold=SCORE)
    model = Detector(config, "prepare.subject.detector")

    def find(picture: Picture) -> Real:
        return model.boxes(picture[None])[0][1]

    return find


@functools.lru_cache(maxsize=1)
def _faces(detector: str) -> Any:
    """A function from a picture to boxes (n, 5): top, left, bottom, right as shares, and score."""
    import cv2

    hint = "face_detection_yunet_2023mar.onnx is in the OpenCV zoo; or follow motion"
    if not detector:
        raise RecipeError(
            "prepare.subject.kind = faces needs prepare.subject.detector, which is not set", hint
        )
    if not Path(detector).is_file():
        raise MuybridgeError(f"prepare.subject.detector = {detector} is not a file", hint)
    try:
        model = cv2.FaceDetectorYN.create(detector, "", (320, 320), SCORE)
    except cv2.error as error:
        raise MuybridgeError(
            f"prepare.subject.detector = {detector} is no face detector: {error.err}", hint
        ) from error

    def find(picture: Picture) -> Real:
        height, width = picture.shape[:2]
        model.setInputSize((width, height))
        try:
            _, faces = model.detect(np.ascontiguousarray(picture[..., ::-1]))
        except cv2.error as error:
            raise MuybridgeError(
                f"prepare.subject.detector = {detector} is no face detector: {error.err}", hint
            ) from error
        x, y, w, h, score = np.zeros((5, 0)) if faces is None else faces[:, [0, 1, 2, 3, 14]].T
        return np.stack(
            [y / height, x / width, (y + h) / height, (x + w) / width, score], 1
        ).astype(float)  # fmt: skip

    return find


def _painted(boxes: Real, height: int = 36, width: int = 64) -> Grey:
    """Boxes as a picture: each adds its score by the square root of its share of the picture, so
    that a crowd behind does not outweigh who is in front."""
    picture = np.zeros((height, width))
    for top, left, bottom, right, score in np.clip(boxes, 0, 1):
        area = (bottom - top) * (right - left)
        if area > 0:
            rows, columns = _covered(top, bottom, height), _covered(left, right, width)
            picture += score / math.sqrt(area) * np.outer(rows, columns)
    return picture.astype(np.float32)


def _covered(begin: float, end: float, count: int) -> Real:
    """How much of each of `count` cells of [0, 1] lies between `begin` and `end`."""
    cells = np.arange(count)
    inside = np.minimum(cells + 1, end * count) - np.maximum(cells, begin * count)
    return np.asarray(np.clip(inside, 0, 1), np.float64)


# --- the path ------------------------------------------------------------------------------------


def _places(profiles: Grey, share: float) -> tuple[Real, Real]:
    """Where the most of each profile (pictures, cells) is within a crop of this share, by mean
    shift from its mean; and how much of it, 0 to 1, is there."""
    cells = (np.arange(profiles.shape[1]) + 0.5) / profiles.shape[1]
    total = np.maximum(profiles.sum(1, dtype=float), 1e-12)
    places = np.where(total > 1e-9, profiles @ cells / total, 0.5)
    near = profiles.astype(float)
    for _ in range(8):
        near = profiles * np.exp(-0.5 * ((cells - places[:, None]) / (share / 2)) ** 2)
        sums = near.sum(1)
        places = np.where(sums > 1e-9, near @ cells / np.maximum(sums, 1e-12), places)
    return np.clip(places, share / 2, 1 - share / 2), np.clip(near.sum(1) / total, 0, 1)


def _smooth(places: Real, trust: Real, rate: float, share: float) -> Real:
    """The path of least acceleration near trusted places, not led off by a few far ones."""
    stiffness = (rate / (2 * math.pi * FOLLOWED)) ** 4
    for _ in range(6):
        result, weights = places, trust
        for _ in range(4):  # reweighted, so that what is off by more than a tenth counts as a tenth
            result = _least_acceleration(places, weights, rate, stiffness)
            weights = trust * np.minimum(1, 0.1 / np.maximum(np.abs(result - places), 1e-9))
        result = np.clip(result, share / 2, 1 - share / 2)
        speed = float(np.abs(np.diff(result)).max(initial=0)) * rate
        if speed <= MAX_SPEED:
            break
        stiffness *= 4
    else:
        result = 0.5 + (result - 0.5) * MAX_SPEED / speed
    if np.ptp(result) < STILL * share:
        result = np.full_like(result, (result.min() + result.max()) / 2)
    return result


def _least_acceleration(places: Real, weights: Real, rate: float, stiffness: float) -> Real:
    """Minimises sum w (x - place)^2 + stiffness sum (x'')^2 + a little (x')^2, and very little
    (x - 1/2)^2 for where nothing is known (Whittaker 1923, "On a New Method of Graduation")."""
    count = len(places)
    drag = (rate / (2 * math.pi * HELD)) ** 2
    bands = np.zeros((3, count))  # of the symmetric matrix: the diagonal, and the two below it
    bands[0] = weights + 1e-3
    for kernel, weight in (((1, -1), drag), ((1, -2, 1), stiffness)):
        terms = count - len(kernel) + 1
        for i, first in enumerate(kernel):
            for j in range(i, len(kernel)):
                bands[j - i, i : i + max(terms, 0)] += weight * first * kernel[j]
    return 0.5 + _solved(bands, weights * (places - 0.5))


def _solved(bands: Real, right: Real) -> Real:
    """Solves a positive definite system of five diagonals by its LDL' factors."""
    main, first, second = (band.tolist() for band in bands)
    x, count = right.tolist(), len(right)
    for i in range(count):
        for step, low in ((1, first[i]), (2, second[i])):
            if i + step < count:
                factor = low / main[i]
                x[i + step] -= factor * x[i]
                main[i + step] -= factor * low
                if step == 1 and i + 2 < count:
                    first[i + 1] -= factor * second[i]
    for i in reversed(range(count)):
        below = sum(
            band[i] * x[i + step]
            for step, band in ((1, first), (2, second))
            if i + step < count
        )  # fmt: skip
        x[i] = (x[i] - below) / main[i]
    return np.array(x)
