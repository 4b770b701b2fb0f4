"""Variety at load time: one draw a clip, the same for all its frames.

A draw is a function of the clip's own seed alone. Each kind of change has a draw of its own, so
that turning one on or off leaves the others as they are. All of it is OpenCV and numpy: see
`core.clips.to_float` for why a loader's thread must not use torch.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cache
from statistics import NormalDist
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pydantic

from ..core import chance
from ..core.config import NotNegative, Section
from ..core.video import Frames
from . import sides

Share = Annotated[float, pydantic.Field(ge=0, le=1)]

# NTSC's brightness and two axes of colour: hue is a rotation of these two, saturation their length.
_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
# In red, green and blue: what takes the brightness, the colour, and the colour a quarter round.
_GREY, _COLOUR, _ROUND = (
    np.linalg.solve(_YIQ, np.array(part) @ _YIQ)
    for part in (
        [[1.0, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]],
        [[0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]],
    )
)
# Frames that are warped at once: OpenCV takes at most 128 channels, and three a frame are needed.
_TOGETHER = 16
# Turned further than this, what was at the left is at the top or the bottom.
_QUARTER = 45.0


class Config(Section):
    """How training clips are varied; 0 leaves a thing as it is. All frames of a clip change alike.

    Clips for validation and scoring are never changed.
    """

    flip: Share = 0.0
    """Share of clips mirrored left to right; "left" and "right" in captions, labels and objects are
    swapped, and a clip whose words are not sure to be swapped rightly is not mirrored (English
    only). Writing in the picture is mirrored too."""
    flip_vertical: Share = 0.0
    """Share of clips turned upside down; not those whose words say up or down, rise or fall."""
    rotate: Annotated[float, pydantic.Field(ge=0, le=180)] = 0.0
    """Degrees turned at most, either way; not over 45 where words name a direction."""
    zoom: Annotated[float, pydantic.Field(ge=0, le=9)] = 0.0
    """Closer by at most this share, 0.2 for a fifth, with the cut at a random place."""
    brightness: Share = 0.0
    """Brighter or darker by at most this share of the whole range."""
    contrast: Share = 0.0
    """Stronger or weaker by at most this share, about mid grey."""
    saturation: Share = 0.0
    """Colours stronger or weaker by at most this share."""
    hue: Annotated[float, pydantic.Field(ge=0, le=180)] = 0.0
    """Degrees round the colour circle at most, either way; captions that name colours go wrong."""
    noise: NotNegative = 0.0
    """Standard deviation of grain at most, in grey levels of 255. The same grain on all frames:
    grain that changed would be motion that the footage does not have."""
    speed: Annotated[float, pydantic.Field(ge=0, le=0.9)] = 0.0
    """Faster or slower by at most this share: 0.2 for 0.8 to 1.25 times as fast. The clip's times
    stay those of data.fps, so a model learns the motion at its new speed. Never so slow that a
    stored frame would come twice, nor so fast that the footage is too short, nor (as for the rate)
    where more frames would be invented ones."""
    rate: Share = 0.0
    """Share of clips taken at half of data.fps, over twice the time, where the footage is long
    enough. The clip's times say so, so a model learns to heed them; motion keeps its speed."""


@dataclass(frozen=True)
class Draw:
    """What is done to one clip; as it comes, nothing.

    Attributes:
        flip: mirrored left to right.
        flip_vertical: upside down.
        angle: degrees, counterclockwise.
        zoom: how many times closer, 1 or more.
        shift: where the cut lies, right and down, from -1 to 1: the whole room on either side.
        brightness: added, in shares of the whole range.
        contrast: factor about mid grey.
        saturation: factor.
        hue: degrees round the colour circle.
        noise: standard deviation of the grain, in grey levels.
        seed: of the grain.
        speed: how many times as fast.
        every: of so many frames at data.fps one is taken.
    """

    flip: bool = False
    flip_vertical: bool = False
    angle: float = 0.0
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    brightness: float = 0.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    noise: float = 0.0
    seed: int = 0
    speed: float = 1.0
    every: int = 1


AS_IT_IS = Draw()


@dataclass(frozen=True)
class Said:
    """What is said of a clip: its caption, its class and its objects."""

    caption: str = ""
    label: str = ""
    objects: tuple[str, ...] = ()


def draw(config: Config, seed: int) -> Draw:
    """What is done to the clip with this seed."""
    own = chance.mix(seed, "augment")

    def share(use: str) -> float:
        """From 0 up to 1, evenly."""
        return chance.mix(own, use) / 2**63

    def either(use: str, most: float) -> float:
        """From -most to most, evenly."""
        return most * (2 * share(use) - 1) if most else 0.0

    return Draw(
        flip=config.flip > 0 and share("flip") < config.flip,
        flip_vertical=config.flip_vertical > 0 and share("flip_vertical") < config.flip_vertical,
        angle=either("rotate", config.rotate),
        zoom=1 + config.zoom * share("zoom") if config.zoom else 1.0,
        shift=(either("across", 1.0), either("down", 1.0)) if config.zoom else (0.0, 0.0),
        brightness=either("brightness", config.brightness),
        contrast=1 + either("contrast", config.contrast),
        saturation=1 + either("saturation", config.saturation),
        hue=either("hue", config.hue),
        noise=config.noise * share("noise") if config.noise else 0.0,
        seed=chance.mix(own, "grain") if config.noise else 0,
        # Even on a scale of ratios: as many clips faster as slower.
        speed=math.exp(either("speed", -math.log1p(-config.speed))),
        every=2 if config.rate and share("rate") < config.rate else 1,
    )


def fitted(
    draw: Draw, said: Said, labels: Collection[str], objects: Collection[str]
) -> tuple[Draw, Said]:
    """The draw without what would make the words wrong, and the words as they then are.

    Args:
        draw: what is to be done.
        said: of the clip as it is.
        labels: all classes of the dataset: the mirrored one must be among them.
        objects: all objects of the dataset, likewise.
    """
    turned = abs(draw.angle) > _QUARTER
    if not (draw.flip or draw.flip_vertical or turned):
        return draw, said
    texts = (said.caption, said.label, *said.objects)
    tall = any(map(sides.names_height, texts))
    if draw.flip_vertical and tall:
        draw = replace(draw, flip_vertical=False)
    if turned and (tall or any(map(sides.names_side, texts))):
        draw = replace(draw, angle=0.0)
    if not draw.flip:
        return draw, said
    caption = sides.mirrored(said.caption)
    label = sides.mirrored_name(said.label, labels)
    seen = [sides.mirrored_name(name, objects) for name in said.objects]
    names = tuple(name for name in seen if name is not None)
    if caption is None or label is None or len(names) < len(seen):
        return replace(draw, flip=False), said
    return draw, Said(caption, label, names)


def apply(frames: Frames, draw: Draw) -> Frames:
    """Changes how a clip looks; its speed is a matter of which frames are read.

    Args:
        frames: (time, height, width, 3) RGB, left as it is.
        draw: what to do.

    Returns:
        Of the same shape; perhaps `frames` itself or a view of it, where flips are all there is.
    """
    if draw.angle or draw.zoom != 1:
        frames = _warped(frames, draw)
    if draw.brightness or (draw.contrast, draw.saturation) != (1, 1) or draw.hue:
        frames = _coloured(frames, draw)
    if draw.noise:
        frames = _grained(frames, draw)
    # Last, since as views they cost nothing.
    if draw.flip_vertical:
        frames = frames[:, ::-1]
    return frames[:, :, ::-1] if draw.flip else frames


def matrix(draw: Draw, height: int, width: int) -> npt.NDArray[np.float64]:
    """Where in the source a pixel of the result is from: (2, 3), for (x, y, 1) in pixels."""
    angle, x, y = math.radians(draw.angle), (width - 1) / 2, (height - 1) / 2
    cos, sin = math.cos(angle) / draw.zoom, math.sin(angle) / draw.zoom
    room = (1 - 1 / draw.zoom) / 2
    right, down = x + room * width * draw.shift[0], y + room * height * draw.shift[1]
    return np.array([[cos, -sin, right - cos * x + sin * y], [sin, cos, down - sin * x - cos * y]])


def _warped(frames: Frames, draw: Draw) -> Frames:
    """Turned and closer, by one affine map; what comes in from outside is a reflection.

    Several frames are one picture of many channels: where a pixel comes from, and with what
    weights, is then found once for all of them, at half the cost of a call a frame.
    """
    import cv2

    time, height, width, _ = frames.shape
    where = matrix(draw, height, width)
    made = np.empty(frames.shape, np.uint8)
    # Shared out evenly: OpenCV rounds a lone frame in another way than several.
    many = -(-time // -(-time // _TOGETHER))
    for begin in range(0, time, many):
        part = frames[begin : begin + many]
        deep = cv2.transpose(part.reshape(len(part), -1)).reshape(height, width, -1)
        deep = cv2.warpAffine(
            deep,
            where,
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        rows = made[begin : begin + many].reshape(len(part), -1)
        cv2.transpose(deep.reshape(-1, len(part)), dst=rows)
    return made


def colour_matrix(draw: Draw) -> npt.NDArray[np.float64]:
    """The new levels of a pixel from its (red, green, blue, 1): (3, 4)."""
    angle, made = math.radians(draw.hue), np.empty((3, 4))
    made[:, :3] = _GREY + draw.saturation * (math.cos(angle) * _COLOUR + math.sin(angle) * _ROUND)
    made[:, :3] *= draw.contrast
    made[:, 3] = 127.5 * (1 - draw.contrast) + 255 * draw.brightness
    return made


def _coloured(frames: Frames, draw: Draw) -> Frames:
    """All changes of colour as one matrix: it costs less than a lookup table for some of them."""
    import cv2

    time, height, width, _ = frames.shape
    tall = np.ascontiguousarray(frames).reshape(time * height, width, 3)
    return np.asarray(cv2.transform(tall, colour_matrix(draw)), np.uint8).reshape(frames.shape)


def _grained(frames: Frames, draw: Draw) -> Frames:
    """With normal grain, by a table of 256 quantiles: whole grey levels need no finer ones."""
    import cv2

    generator = np.random.Generator(np.random.Philox(draw.seed))
    picks = np.frombuffer(generator.bytes(frames[0].size), np.uint8).reshape(frames.shape[1:])
    levels = np.rint(_quantiles() * draw.noise)
    lighter = cv2.LUT(picks, np.clip(levels, 0, 255).astype(np.uint8))
    darker = cv2.LUT(picks, np.clip(-levels, 0, 255).astype(np.uint8))
    # Sums of bytes that stop at white and at black.
    made = np.minimum(frames, 255 - lighter)
    made += lighter
    np.maximum(made, darker, out=made)
    made -= darker
    return made


@cache
def _quantiles() -> npt.NDArray[np.float64]:
    """256 equally likely values of mean 0 and variance 1, as of a normal distribution."""
    normal = NormalDist()
    values = np.array([normal.inv_cdf((place + 0.5) / 256) for place in range(256)])
    return np.asarray(values / values.std())
