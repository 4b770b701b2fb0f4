"""Where to crop: the path of a clip's subject through its picture, smoothed over time."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..core.errors import MuybridgeError, RecipeError

Picture = npt.NDArray[np.uint8]
Grey = npt.NDArray[np.float32]
Real = npt.NDArray[np.float64]
Kind = Literal["centre", "motion", "saliency", "people", "faces"]

# Pictures looked at in a second: movement needs neighbours, the rest changes slowly.
RATES = {"motion": 8.0, "saliency": 4.0, "people": 4.0, "faces": 4.0}
# The path follows what changes more slowly than this many times a second, and moves by no more than
# this share of the picture a second.
FOLLOWED, MAX_SPEED = 0.7, 0.5
# Where nothing is seen: the seconds over which what was seen before and after is forgotten, and the
# weight that it has, of 1; and the weight that the middle has against it.
HELD, UNSEEN, UNSURE = 0.5, 0.01, 0.1
# The middle of the picture counts more, by a bell curve of this width.
MIDDLE = 0.3
# A path that stays within this share of the crop is a constant one: a still camera looks better.
STILL = 0.15
# Mean interest of a picture (grey levels) that counts half; a change below `CHANGE` counts nothing.
HALF_SURE, CHANGE = 0.03, 2.0
# Detected people and faces below this score are passed over.
SCORE = 0.6


def shorter_side(kind: Kind) -> int:
    """The length in pixels of the shorter side of pictures as they are best given to `path`."""
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
        frames: uint8 RGB pictures (height, width, 3) of one size, their shorter side about
            `shorter_side(kind)`.
        aspect: height and width of the crop; only their ratio counts.
        kind: what is followed, see `reading.Config`.
        detector: see `reading.Config`.
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
    shares = window(frames[0].shape[0], frames[0].shape[1], aspect)
    centres = np.full((len(frames), 2), 0.5)
    axis = 0 if shares[0] < 1 else 1
    if kind == "centre" or shares[axis] == 1:
        return centres
    rate = min(RATES[kind], fps)
    count = math.ceil((len(frames) - 1) * rate / fps) + 1
    moments = np.linspace(0, len(frames) - 1, count)
    chosen = [frames[i] for i in moments.round().astype(int)]
    interest = _interest(chosen, kind, detector)
    places, trust = _places(interest.sum(2 - axis), shares[axis])
    much = (interest.mean((1, 2), dtype=float) / HALF_SURE) ** 2
    trust *= much / (1 + much)
    smooth = _smooth(places, trust, rate, shares[axis])
    centres[:, axis] = np.interp(np.arange(len(frames)), moments, smooth)
    return centres


def _interest(pictures: list[Picture], kind: Kind, detector: str) -> Grey:
    """How much there is to follow at every place: (pictures, height, width), not negative."""
    if kind == "motion":
        return _moving(_grey(pictures))
    if kind == "saliency":
        return np.stack([_standing_out(grey.astype(np.float32)) for grey in _grey(pictures)])
    find = _people(detector) if kind == "people" else _faces(detector)
    maps = []
    for picture in pictures:
        # A detector sees a mirrored picture a little differently; looked at both ways, it does not.
        both = find(picture), find(np.ascontiguousarray(picture[:, ::-1]))
        maps.append(_painted(both[0]) + _painted(both[1])[:, ::-1])
    return np.stack(maps)


def _grey(pictures: list[Picture]) -> Picture:
    import cv2

    height, width = pictures[0].shape[:2]
    scale = min(1.0, shorter_side("motion") / min(height, width))
    size = (max(16, round(width * scale)), max(16, round(height * scale)))
    # Shrunk by INTER_AREA, of which a mirrored picture is the mirrored one.
    smaller = (
        picture
        if size == (width, height)
        else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        for picture in pictures
    )
    return np.stack([cv2.cvtColor(one, cv2.COLOR_RGB2GRAY) for one in smaller])


# --- movement ------------------------------------------------------------------------------------


def _moving(greys: Picture) -> Grey:
    """What moves against the background, the camera's own movement taken out, at half the size.

    A place counts where it differs from the picture before and from the one after: the difference
    of two pictures alone also shows where the subject was, or will be.
    """
    import cv2

    height, width = greys.shape[1:]
    # Softened, so that a camera's noise does not pass for movement.
    greys = np.stack([cv2.GaussianBlur(grey, (3, 3), 0) for grey in greys])
    found = np.full_like(greys, 255 if len(greys) > 1 else 0)
    bounds = [_neighbourhood(grey) for grey in greys]
    for i, camera in enumerate(_camera(greys)):
        for at, of, way in ((i + 1, i, 0), (i, i + 1, cv2.WARP_INVERSE_MAP)):
            low, high = (
                cv2.warpAffine(
                    bound,
                    camera,
                    (width, height),
                    flags=cv2.INTER_LINEAR | way,
                    borderValue=unknown,
                )
                for bound, unknown in zip(bounds[of], (0, 255), strict=True)
            )
            # Subtraction stops at 0: of the two, one at most is more.
            beyond = cv2.add(cv2.subtract(greys[at], high), cv2.subtract(low, greys[at]))
            found[at] = cv2.min(found[at], beyond)
    # The rim has come into the picture by a part of a pixel.
    found[:, [0, -1]], found[:, :, [0, -1]] = 0, 0
    half = (width // 2, height // 2)
    result = np.stack([cv2.resize(one, half, interpolation=cv2.INTER_AREA) for one in found * 1.0])
    noise = np.median(result, axis=(1, 2), keepdims=True)
    return np.asarray(np.maximum(result - 6 * noise - CHANGE, 0), np.float32)


def _neighbourhood(grey: Picture) -> tuple[Any, Any]:
    """The least and the most within a quarter of a pixel of each place: between them lies what a
    small error in the camera's movement makes of it."""
    import cv2

    square = np.ones((3, 3), np.uint8)
    low, high = cv2.erode(grey, square), cv2.dilate(grey, square)
    return cv2.addWeighted(low, 0.25, grey, 0.75, 0), cv2.addWeighted(high, 0.25, grey, 0.75, 0)


def _camera(greys: Picture) -> Real:
    """How the background goes from each picture to the next: affine maps (pictures - 1, 2, 3).

    The points of a grid are followed (Lucas & Kanade 1981, through a pyramid), and the map that
    most of them agree on is found by reweighted least squares (Geman & McClure 1987).
    """
    import cv2

    height, width = greys.shape[1:]
    rows, columns = (np.linspace(6, side - 7, max(2, side // 11)) for side in (height, width))
    points = np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 1, 2).astype(np.float32)
    shifts = np.zeros((len(greys) - 1, len(points), 2))
    found = np.zeros(shifts.shape[:2])
    for i in range(len(shifts)):
        ends, status, _ = cv2.calcOpticalFlowPyrLK(
            greys[i], greys[i + 1], points, points.copy(), winSize=(9, 9), maxLevel=2,
            criteria=(cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 8, 0.02),
        )  # fmt: skip
        shifts[i], found[i] = (ends - points)[:, 0], status[:, 0]
    middle, unit = np.array([width - 1, height - 1]) / 2, width / 2
    known = np.concatenate([np.ones((len(points), 1)), (points[:, 0] - middle) / unit], 1)
    fits = np.zeros((len(shifts), 3, 2))
    fits[:, 0] = np.median(shifts, axis=1)
    for scale in (2.0, 1.0, 0.5, 0.5):  # pixels by which a point may be off and still count
        off = ((shifts - known @ fits) ** 2).sum(2)
        weights = found / (1 + off / scale**2) ** 2
        weighted = known.T * weights[:, None]
        # Where few points agree, a plain shift is believed before a turn or a zoom.
        fits = np.linalg.solve(weighted @ known + np.diag([1e-3, 1.0, 1.0]), weighted @ shifts)
    turn = fits[:, 1:].swapaxes(1, 2) / unit
    maps = np.concatenate([turn, (fits[:, 0] - turn @ middle)[..., None]], 2)
    return np.asarray(maps + np.eye(2, 3), np.float64)


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
    around = [np.roll(amplitude, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    back = np.fft.ifft2(np.exp(amplitude - sum(around) / 9 + 1j * np.angle(spectrum)))
    saliency = cv2.GaussianBlur(np.abs(back) ** 2, (0, 0), grey.shape[0] / 25)
    # The paper's threshold for an object: three times the mean.
    found = np.maximum(saliency / saliency.mean() - 3, 0)
    return np.asarray(found / max(found.mean(), 1e-9), np.float32)


# --- detectors -----------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def _people(detector: str) -> Any:
    if not detector:
        raise RecipeError(
            "prepare.crop = people needs prepare.detector, which is not set",
            "name the folder of an object detector, as hustvl/yolos-tiny, or follow motion",
        )
    from .caption import Detector, ObjectsConfig

    config = ObjectsConfig(model=detector, words=("person",), threshold=SCORE)
    model = Detector(config, "prepare.detector")

    def find(picture: Picture) -> Real:
        return model.boxes(picture[None])[0][1]

    return find


@functools.lru_cache(maxsize=1)
def _faces(detector: str) -> Any:
    """A function from a picture to boxes (n, 5): top, left, bottom, right as shares, and score."""
    import cv2

    hint = "face_detection_yunet_2023mar.onnx is in the OpenCV zoo; or follow motion"
    if not detector:
        raise RecipeError("prepare.crop = faces needs prepare.detector, which is not set", hint)
    if not Path(detector).is_file():
        raise MuybridgeError(f"prepare.detector = {detector} is not a file", hint)

    def find(picture: Picture) -> Real:
        height, width = picture.shape[:2]
        try:
            model.setInputSize((width, height))
            _, faces = model.detect(np.ascontiguousarray(picture[..., ::-1]))
        except cv2.error as error:
            raise MuybridgeError(no_detector, hint) from error
        x, y, w, h, score = np.zeros((5, 0)) if faces is None else faces[:, [0, 1, 2, 3, 14]].T
        sides = [y / height, x / width, (y + h) / height, (x + w) / width, score]
        return np.stack(sides, 1).astype(float)

    no_detector = f"prepare.detector = {detector} is no YuNet face detector"
    try:
        model = cv2.FaceDetectorYN.create(detector, "", (320, 320), SCORE)
    except cv2.error as error:
        raise MuybridgeError(no_detector, hint) from error
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
    # Who films holds the subject near the middle; a road passing by the window is at the rim.
    profiles = profiles * np.exp(-0.5 * ((cells - 0.5) / MIDDLE) ** 2)
    total = np.maximum(profiles.sum(1), 1e-12)
    places = np.where(total > 1e-9, profiles @ cells / total, 0.5)
    near = profiles
    for _ in range(8):
        near = profiles * np.exp(-0.5 * ((cells - places[:, None]) / (0.75 * share)) ** 2)
        sums = near.sum(1)
        places = np.where(sums > 1e-9, near @ cells / np.maximum(sums, 1e-12), places)
    return np.clip(places, share / 2, 1 - share / 2), np.clip(near.sum(1) / total, 0, 1)


def _smooth(places: Real, trust: Real, rate: float, share: float) -> Real:
    """The path of least acceleration near trusted places, not led off by a few far ones."""
    stiffness = (rate / (2 * math.pi * FOLLOWED)) ** 4
    # Where nothing is seen, what was seen shortly before or after counts a little: the path of
    # least acceleration alone would go straight on.
    reach = np.arange(-len(places) + 1, len(places)) / (HELD * rate)
    known = np.array([0.5 * UNSURE, UNSURE])[:, None] + [
        np.convolve(values, np.exp(-np.abs(reach)), "valid") for values in (trust * places, trust)
    ]
    places = trust * places + (1 - trust) * known[0] / known[1]
    trust = UNSEEN + (1 - UNSEEN) * trust
    for _ in range(6):
        result, weights = places, trust
        for _ in range(4):  # reweighted, so that what is off by more than a tenth counts as a tenth
            result = _least_acceleration(places, weights, stiffness)
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


def _least_acceleration(places: Real, weights: Real, stiffness: float) -> Real:
    """Minimises sum w (x - place)^2 + stiffness sum (x'')^2 (Whittaker 1923, "On a New Method of
    Graduation")."""
    count = len(places)
    bands = np.zeros((3, count))  # of the symmetric matrix: the diagonal, and the two below it
    bands[0] = weights
    kernel = (1.0, -2.0, 1.0)
    for i in range(3):
        for j in range(i, 3):
            bands[j - i, i : i + max(count - 2, 0)] += stiffness * kernel[i] * kernel[j]
    return _solved(bands, weights * places)


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
