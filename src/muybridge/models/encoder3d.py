"""A small 3D convolutional encoder of clips: what sees and moves, as one row of numbers a clip.

Pixels are folded into channels first (space to depth), since layers at full resolution are what
makes 3D convolutions slow. Residual blocks begin as the identity and there is no normalisation
(Zhang et al. 2019, "Fixup initialization"), so that brightness, contrast and the amount of
texture and motion are not divided away.
"""

from __future__ import annotations

import math
from typing import Annotated

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.config import Count, Section

# The least extent of a clip: shorter ones say next to nothing of motion or form.
LEAST = (4, 16, 16)
# Variance taken for that of a blank clip, which has none.
_BLANK = 1e-4
# Changes and detail are smaller than pixels; so much larger, they are of like size in real footage.
_CHANGE, _DETAIL = 4.0, 6.0


class Config(Section):
    """The encoder's shape."""

    channels: Count = 3
    """Channels of a clip."""
    differences: bool = False
    """Looks at changes from frame to frame and at detail (pixels less the mean of their
    neighbours) beside the pixels: small sets of clips do not teach a network to take them."""
    patch: tuple[Count, Count, Count] = (2, 4, 4)
    """Frames, rows and columns of pixels folded into one place."""
    widths: Annotated[tuple[Count, ...], pydantic.Field(min_length=1)] = (32, 64, 96)
    """Channels of each stage; each but the first halves time, height and width."""
    depth: Count = 1
    """Residual blocks in a stage."""


def network(config: Config) -> Encoder3d:
    """Makes the network, its weights drawn from torch's generator."""
    return Encoder3d(config)


class Encoder3d(nn.Module):
    """Clips to features: mean and log of the deviation of every stage over space and time.

    Early stages tell texture, late ones form and motion; deviations tell what is in few places.

    Attributes:
        config: its shape.
        features: numbers that it gives for a clip.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, widths = config, config.widths
        channels = config.channels * (3 if config.differences else 1)
        self.stem = nn.Conv3d(channels * math.prod(config.patch), widths[0], 1)
        before = (widths[0], *widths)
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    Block(before[place] if first else width, width, 2 if first and place else 1)
                    for first in [True] + [False] * (config.depth - 1)
                )
            )
            for place, width in enumerate(widths)
        )
        self.features = 2 * sum(widths)

    def forward(self, clips: Tensor) -> Tensor:
        """Features of clips.

        Args:
            clips: (n, time, channels, height, width), in [-1, 1]; of any extent from `LEAST` up.

        Returns:
            (n, features).

        Raises:
            ValueError: clips of another form.
        """
        levels = []
        for level in self.maps(clips):
            flat = level.flatten(2)
            levels += [flat.mean(2), (flat.var(2, correction=0) + _BLANK).log() / 2]
        return torch.cat(levels, 1)

    def maps(self, clips: Tensor) -> list[Tensor]:
        """What each stage sees where and when: a list of (n, width, time, height, width)."""
        x = self.stem(self._folded(clips).contiguous(memory_format=torch.channels_last_3d))
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found

    def _folded(self, clips: Tensor) -> Tensor:
        """Space to depth: (n, channels x patch, time, height, width), edges repeated to fit."""
        extent = (*clips.shape[1:2], *clips.shape[3:])
        if clips.ndim != 5 or clips.shape[2] != self.config.channels:
            raise ValueError(
                f"clips of shape {tuple(clips.shape)}, not (n, time, {self.config.channels}, "
                "height, width)"
            )
        if any(side < least for side, least in zip(extent, LEAST, strict=True)):
            raise ValueError(f"clips of {extent} frames, rows and columns; at least {LEAST}")
        x = _beside(clips) if self.config.differences else clips
        x = x.movedim(2, 1)
        over = [-side % part for side, part in zip(extent, self.config.patch, strict=True)]
        if any(over):
            x = F.pad(x, (0, over[2], 0, over[1], 0, over[0]), mode="replicate")
        for axis, part in zip((4, 3, 2), reversed(self.config.patch), strict=True):
            parts = (*x.shape[:axis], x.shape[axis] // part, part, *x.shape[axis + 1 :])
            x = x.reshape(parts).movedim(axis + 1, 1).flatten(1, 2)
        return x


def _beside(clips: Tensor) -> Tensor:
    """Pixels, changes and detail: (n, time, 3 x channels, height, width)."""
    change = clips.diff(dim=1)
    change = torch.cat([change[:, :1], change], 1)
    flat = clips.flatten(0, 1)
    around = F.avg_pool2d(flat, 3, 1, 1, count_include_pad=False)
    return torch.cat([clips, _CHANGE * change, _DETAIL * (flat - around).view(clips.shape)], 2)


class Block(nn.Module):
    """x + two 3x3x3 convolutions of it; at first x alone, or a 1x1x1 convolution of it where the
    form changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(inputs, outputs, 3, stride, 1)
        self.second = nn.Conv3d(outputs, outputs, 3, 1, 1)
        same = inputs == outputs and stride == 1
        self.way = nn.Identity() if same else nn.Conv3d(inputs, outputs, 1)
        self.stride = stride
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, t, h, w) to (n, outputs, t / stride, h / stride, w / stride), rounded up."""
        change = self.second(F.silu(self.first(F.silu(x))))
        if self.stride > 1:
            x = F.avg_pool3d(x, self.stride, self.stride, ceil_mode=True)
        made: Tensor = self.way(x) + change
        return made
