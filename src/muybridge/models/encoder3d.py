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
# Size of a change of brightness that is taken for none.
_STILL = 1e-3


class Config(Section):
    """The encoder's shape."""

    channels: Count = 3
    """Channels of a clip."""
    cells: Annotated[int, pydantic.Field(ge=0, le=16)] = 0
    """With so many cells along a side, `energies` are among the features: small sets of clips do
    not teach a network to take differences by itself. 0 for none."""
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
    With `cells`, `energies` stand beside them.

    Attributes:
        config: its shape.
        features: numbers that it gives for a clip.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, widths = config, config.widths
        self.stem = nn.Conv3d(config.channels * math.prod(config.patch), widths[0], 1)
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
        self.features = 2 * sum(widths) + 9 * config.cells**2

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
            mean = flat.mean(2, keepdim=True)
            variance = (flat - mean).square().mean(2)
            levels += [mean.squeeze(2), (variance + _BLANK).log() / 2]
        if self.config.cells:
            levels.append(energies(clips, self.config.cells))
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
        x = clips.movedim(2, 1)
        over = [-side % part for side, part in zip(extent, self.config.patch, strict=True)]
        if any(over):
            x = F.pad(x, (0, over[2], 0, over[1], 0, over[0]), mode="replicate")
        for axis, part in zip((4, 3, 2), reversed(self.config.patch), strict=True):
            parts = (*x.shape[:axis], x.shape[axis] // part, part, *x.shape[axis + 1 :])
            x = x.reshape(parts).movedim(axis + 1, 1).flatten(1, 2)
        return x


def energies(clips: Tensor, cells: int) -> Tensor:
    """How much a clip changes, how much its change changes, and how much detail it has, cell by
    cell of a grid: the logs of mean and deviation over time, and the share by which it grows.

    What grows tells time forwards from backwards; mean and deviation do not.

    Args:
        clips: (n, time, channels, height, width) in [-1, 1]; four frames or more.
        cells: along a side of the grid.

    Returns:
        (n, 9 x cells x cells).
    """
    grey = clips.mean(2)
    change = grey.diff(dim=1)
    detail = grey - F.avg_pool2d(grey, 3, 1, 1, count_include_pad=False)
    rows = []
    for seen in (change, change.diff(dim=1), detail):
        sizes = F.adaptive_avg_pool2d(seen.abs(), cells).flatten(2)
        mean = sizes.mean(1)
        over = sizes - mean[:, None]
        # Not 0 under the root, where its slope is infinite.
        deviation = (over.square().mean(1) + _STILL**4).sqrt()
        when = torch.linspace(-1, 1, sizes.shape[1], device=clips.device)[:, None]
        growth = (over * when).mean(1) / (mean + _STILL)
        rows += [(mean + _STILL).log(), (deviation + _STILL).log(), growth]
    return torch.cat(rows, 1)


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
        for parameter in self.second.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, t, h, w) to (n, outputs, t / stride, h / stride, w / stride), rounded up."""
        change = self.second(F.silu(self.first(F.silu(x))))
        if self.stride > 1:
            x = F.avg_pool3d(x, self.stride, self.stride, ceil_mode=True)
        made: Tensor = self.way(x) + change
        return made
