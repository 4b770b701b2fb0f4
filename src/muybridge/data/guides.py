"""Pictures that guide: lines drawn of a clip, and the clip itself made small, noisy or grey.

A model that is to follow drawings by hand must not learn one detector's lines. So detector, its
threshold and the width of lines are drawn anew for each clip.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..core import chance
from ..core.clips import GUIDES, to_float
from .tasks import Config

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Draw = Callable[[str], float]
"""A number in (0, 1) for each use that is named."""


class Room:
    """Where what guides a batch is drawn, clip by clip; in numpy, as `to_float` says why.

    Args:
        config: shares of the tasks.
        shape: clips, frames, height and width.
    """

    def __init__(self, config: Config, shape: tuple[int, int, int, int]) -> None:
        self.config, (count, frames, *size) = config, shape
        names = [name for name in config.guides if name in _MAKERS]
        self.pictures = {
            name: np.zeros((count, frames, GUIDES[name], *size), np.float32) for name in names
        }

    def draw(self, row: int, clip: Pixels, seed: int) -> None:
        """Draws what guides a clip (time, height, width, 3), by chance of its own; nothing in the
        share of clips that is to have none."""
        for name, pictures in self.pictures.items():
            one = _draws(seed, name)
            if one("there") < getattr(self.config, name):
                pictures[row] = _MAKERS[name](clip, one)

    @property
    def guides(self) -> dict[str, Tensor] | None:
        """By name, (clips, frames, channels, height, width) as `core.clips.GUIDES` counts channels,
        the last of which is 1 where there is a picture; all 0 where there is none."""
        return {name: torch.from_numpy(one) for name, one in self.pictures.items()} or None


def sketched(clip: Pixels, draw: Draw) -> Floats:
    """Lines of a clip (time, height, width, 3) as a person might draw them, (time, 2, height,
    width): 1 on a line and -1 beside it, and 1; of later frames 0 and 0 in half of the clips."""
    detector = (_canny, _difference, _posterised)[int(draw("detector") * 3)]
    thick, only = 1 + int(draw("width") * 2), draw("first") < 0.5
    made = np.zeros((len(clip), 2, *clip.shape[1:3]), np.float32)
    for place, frame in enumerate(clip[:1] if only else clip):
        lines = detector(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), draw)
        if thick > 1:
            lines = np.asarray(cv2.dilate(lines, np.ones((thick, thick))), np.uint8)
        made[place, 0] = lines * 2.0 - 1
        made[place, 1] = 1
    return made


def damaged(clip: Pixels, draw: Draw) -> Floats:
    """The clip smaller and enlarged again, noisy, in blocks or grey, one of them or several;
    (time, 4, height, width): pixels in [-1, 1], and 1."""
    chosen = int(draw("damage") * 4)
    shrink = (2, 4)[int(draw("shrink") * 2)] if chosen in (0, 3) else 1
    noise = 8 + 40 * draw("noise") if chosen == 1 else 0.0
    quality = int(5 + 40 * draw("quality")) if chosen == 1 and draw("blocks") < 0.5 else 0
    pale = chosen == 2 or (chosen == 3 and draw("grey") < 0.5)
    random = np.random.default_rng(int(draw("grain") * 2**31))
    frames = [_worse(frame, shrink, noise, quality, pale, random) for frame in clip]
    pixels = to_float(np.stack(frames))
    return np.concatenate([pixels, np.ones_like(pixels[:, :1])], 1)


_MAKERS = {"sketch": sketched, "video": damaged}


def smaller(frame: Pixels, factor: int) -> Pixels:
    """A picture as a `factor` times smaller one is enlarged again."""
    height, width = frame.shape[:2]
    small = cv2.resize(frame, (width // factor, height // factor), interpolation=cv2.INTER_AREA)
    return enlarged(np.asarray(small, np.uint8), (height, width))


def enlarged(frame: Pixels, size: tuple[int, int]) -> Pixels:
    """A small picture at a larger `size`, height and width (bicubic)."""
    return np.asarray(cv2.resize(frame, size[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)


def grey(frame: Pixels) -> Pixels:
    """A picture without its colours."""
    luma = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)
    return np.repeat(luma[..., None], 3, -1)


def _worse(
    frame: Pixels, shrink: int, noise: float, quality: int, pale: bool, random: np.random.Generator
) -> Pixels:
    made = smaller(frame, shrink) if shrink > 1 else frame
    made = grey(made) if pale else made
    if noise:
        grain = random.normal(0, noise, made.shape)
        made = (made + grain).clip(0, 255).round().astype(np.uint8)
    if quality:
        _, packed = cv2.imencode(".jpg", made, [cv2.IMWRITE_JPEG_QUALITY, quality])
        made = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return made


def _canny(grey: Pixels, draw: Draw) -> Pixels:
    low = 30 + 70 * draw("threshold")
    return np.asarray(cv2.Canny(grey, low, 2.5 * low) > 0, np.uint8)


def _difference(grey: Pixels, draw: Draw) -> Pixels:
    """Dark sides of edges (difference of Gaussians; Winnemoeller et al. 2012, "XDoG")."""
    near, far = (cv2.GaussianBlur(grey.astype(np.float32), (0, 0), s) for s in (0.8, 1.6))
    return np.asarray(near - far < -(2 + 4 * draw("threshold")), np.uint8)


def _posterised(grey: Pixels, draw: Draw) -> Pixels:
    """Borders between a few tones: outlines without texture."""
    smooth = cv2.bilateralFilter(grey, 5, 40, 3)
    tones = (smooth.astype(int) + int(draw("threshold") * 48)) // 48
    across = np.zeros_like(grey)
    across[:-1] |= (tones[1:] != tones[:-1]).astype(np.uint8)
    across[:, :-1] |= (tones[:, 1:] != tones[:, :-1]).astype(np.uint8)
    return across


def _draws(seed: int, name: str) -> Draw:
    return lambda use: (chance.mix(seed, name, use) + 0.5) / 2**63
