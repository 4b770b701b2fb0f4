"""Known faults, put into real clips at three levels, and the measure that is meant to catch each.

A measure that does not move when its fault is put in, or moves to and fro as the fault grows, is
not to be believed on a model's clips either. `benchmarks/distortions.py` makes the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

LEVELS = 3
Fault = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class Distortion:
    """A fault and what it must move.

    Attributes:
        apply: clips (n, time, 3, height, width) and a level of 1 to 3, to clips as many.
        measure: the name of the score that is meant to catch it.
        metric: the name under which that is asked for.
        moves: where the score must go.
        stage: it takes the stage's known physics.
    """

    apply: Fault
    measure: str
    metric: str
    moves: Literal["up", "down"]
    stage: bool = False


def blur(clips: Tensor, level: int) -> Tensor:
    """Gaussian blur of 0.7, 1.4 and 2.8 pixels in pictures 64 high."""
    sigma = 0.35 * 2**level * clips.shape[-2] / 64
    pictures = clips.flatten(0, 1).movedim(1, -1).numpy()
    made = np.stack([cv2.GaussianBlur(picture, (0, 0), sigma) for picture in pictures])
    return torch.from_numpy(made).movedim(-1, 1).reshape(clips.shape)


def noise(clips: Tensor, level: int) -> Tensor:
    """Normal noise with a deviation of 0.03, 0.06 and 0.12, in [-1, 1]."""
    drawn = torch.randn(clips.shape, generator=torch.Generator().manual_seed(0))
    return (clips + drawn * (0.015 * 2.0**level)).clamp(-1, 1)


def swap(clips: Tensor, level: int) -> Tensor:
    """One, two and four pairs of neighbouring frames in each other's place."""
    made = clips.clone()
    pairs = 2 ** (level - 1)
    for k in range(pairs):
        at = round((k + 0.5) * clips.shape[1] / pairs) - 1
        made[:, [at, at + 1]] = clips[:, [at + 1, at]]
    return made


def freeze(clips: Tensor, level: int) -> Tensor:
    """The last quarter, half and three quarters held still."""
    made, time = clips.clone(), clips.shape[1]
    held = time - time * level // 4 - 1
    made[:, held:] = clips[:, held : held + 1]
    return made


def flicker(clips: Tensor, level: int) -> Tensor:
    """Brightness up and down from frame to frame, by 0.02, 0.04 and 0.08."""
    signs = torch.tensor([1.0, -1.0]).repeat(clips.shape[1])[: clips.shape[1]].view(1, -1, 1, 1, 1)
    return (clips + signs * (0.01 * 2.0**level)).clamp(-1, 1)


def reversal(clips: Tensor, level: int) -> Tensor:
    """A third, two thirds and all of the clips backwards."""
    count = len(clips) * level // LEVELS
    # Spread over all clips, so that each kind of motion has its share.
    chosen = torch.arange(len(clips)) * count // len(clips)
    turned = torch.cat([chosen.new_ones(1), chosen.diff()]) > 0 if count else chosen > 0
    if count == len(clips):
        turned = torch.ones(len(clips), dtype=torch.bool)
    return torch.where(turned.view(-1, 1, 1, 1, 1), clips.flip(1), clips)


def speed(clips: Tensor, level: int) -> Tensor:
    """1.15, 1.3 and 1.6 times as fast, by the nearest frame; the last frame is held to the end of
    what there is."""
    factor = 1 + 0.075 * 2**level
    places = (torch.arange(clips.shape[1]) * factor).round().long()
    return clips[:, places.clamp(max=clips.shape[1] - 1)]


def colour(clips: Tensor, level: int) -> Tensor:
    """Red up and blue down by 0.06, 0.12 and 0.24."""
    shift = torch.tensor([1.0, 0.0, -1.0]).view(3, 1, 1) * (0.03 * 2.0**level)
    return (clips + shift).clamp(-1, 1)


def drift(clips: Tensor, level: int) -> Tensor:
    """The colours go off over the clip, red up and blue down, by 0.06, 0.12 and 0.24 at its end."""
    share = torch.linspace(0, 1, clips.shape[1]).view(1, -1, 1, 1, 1)
    return clips + share * (colour(clips, level) - clips)


def cut(clips: Tensor, level: int) -> Tensor:
    """A third, two thirds and all of the clips go on as another clip from their middle on."""
    made, half = clips.clone(), clips.shape[1] // 2
    chosen = torch.arange(len(clips) * level // LEVELS) * LEVELS // level
    made[chosen, half:] = clips.roll(1, 0)[chosen, half:]
    return made


def duplication(clips: Tensor, level: int) -> Tensor:
    """Every clip 2, 4 and 16 times, in place of others."""
    times = (2, 4, 16)[level - 1]
    return clips[torch.arange(len(clips)) // times * times]


def scramble(clips: Tensor, level: int) -> Tensor:
    """Blocks of an eighth of the height moved about by 1, 2 and 4 pixels, each its own way."""
    side, reach = clips.shape[-2] // 8, 2 ** (level - 1)
    draw = np.random.default_rng(0)
    padded = torch.nn.functional.pad(
        clips.flatten(0, 1), (reach, reach, reach, reach), mode="replicate"
    )
    made = clips.flatten(0, 1).clone()
    for top in range(0, made.shape[-2], side):
        for left in range(0, made.shape[-1], side):
            down, right = draw.choice([-reach, reach], 2) + reach
            height, width = (
                min(side, made.shape[-2] - top), min(side, made.shape[-1] - left)
            )  # fmt: skip
            made[..., top : top + height, left : left + width] = padded[
                ..., top + down : top + down + height, left + right : left + right + width
            ]
    return made.reshape(clips.shape)


DISTORTIONS: Mapping[str, Distortion] = MappingProxyType(
    {
        "blur": Distortion(blur, "sharpness", "time", "down"),
        "colour shift": Distortion(colour, "appearance distance", "appearance", "up"),
        "scrambled blocks": Distortion(scramble, "grid", "time", "up"),
        "noise": Distortion(noise, "warping error", "time", "up"),
        "frame swap": Distortion(swap, "frames out of order", "time", "up"),
        "frame swap, by features": Distortion(swap, "motion distance", "motion", "up"),
        "freeze": Distortion(freeze, "frozen frames", "time", "up"),
        "freeze, by features": Distortion(freeze, "motion distance", "motion", "up"),
        "flicker": Distortion(flicker, "flicker", "time", "up"),
        "drift": Distortion(drift, "drift", "time", "up"),
        "cut": Distortion(cut, "jump cuts", "time", "up"),
        "duplication": Distortion(duplication, "recall", "manifold", "down"),
        "duplication, of real clips": Distortion(duplication, "coverage", "manifold", "down"),
        "reversal, of slides": Distortion(
            reversal, "slide acceleration", "stage", "up", stage=True
        ),
        "reversal, of rebounds": Distortion(reversal, "energy gain", "stage", "up", stage=True),
        "speed": Distortion(speed, "gravity error", "stage", "up", stage=True),
    }
)
