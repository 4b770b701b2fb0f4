"""A deep convolutional predictor: given frames in, all the next ones out, in one pass.

Gao et al. 2022, "SimVP: Simpler yet Better Video Prediction": an encoder of single frames, a
translator that sees the frames at each place as channels, and a decoder of single frames. The
translator's blocks are gated by a large depthwise kernel (Tan et al. 2023, "SimVPv2: Towards Simple
yet Powerful Spatiotemporal Predictive Learning", gSTA): what moves must reach where it will be.
That kernel is one over rows after one over columns here, each a product with a banded matrix, which
reaches across the picture at the cost of a small kernel of two dimensions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..core.config import Count, Section
from . import fused
from . import text as text_module
from .patches import from_patches, to_patches


class Config(Section):
    """The network's shape."""

    given: Count = 4
    """Frames it goes on from: as many as data.tasks.given."""
    frames: Count = 12
    """Frames it makes at once: data.frames less those given. It goes on from its own for more."""
    width: Count = 256
    """Channels at each place of all frames together, in the translator."""
    depth: Count = 3
    """Blocks of the translator."""
    frame_width: Count = 64
    """Channels at each place of one frame."""
    reach: Count = 15
    """Places on each side that a block of the translator sees; a place is `fold` pixels wide."""
    fold: Count = 4
    """Rows and columns of pixels in one place."""
    lapped: bool = True
    """Places reach smoothly into their neighbours, which leaves far less of a grid."""
    channels: int = 3
    """Channels of a clip."""
    labels: int = 0
    """Classes, settled from the dataset; 0 for none."""
    text: text_module.Config | None = text_module.Config()
    """The text encoder; null for none, which is settled so where the data has no captions."""

    @property
    def patch(self) -> tuple[int, int, int]:
        """What frames, rows and columns of a clip are multiples of."""
        return 1, self.fold, self.fold


SIZES: dict[str, dict[str, Any]] = {
    "nano": {"width": 128, "depth": 2, "frame_width": 32},
    "small": {"width": 256, "depth": 3, "frame_width": 64},
    "base": {"width": 768, "depth": 8, "frame_width": 128},
}


def build(config: Config) -> SimVP:
    """Makes the network."""
    return SimVP(config)


class SimVP(nn.Module):
    """Predicts frames as changes of the last given one.

    The first of `blocks` looks at single frames, the others are the translator. Tensors inside are
    (batch, ..., rows, columns, channels): products then need no copies.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, width, frame = config, config.width, config.frame_width
        pixels = config.channels * config.fold**2
        self.embed = nn.Linear(pixels, frame)
        self.join = nn.Linear(config.given * frame, width)
        # One entry more than there are classes: the last says "not said".
        self.label = nn.Embedding(config.labels + 1, width) if config.labels else None
        self.text: nn.Linear | None = None
        if config.text is not None:
            self.text = nn.Linear(config.text.width, width)
            self.nothing = nn.Parameter(torch.randn(width) * 0.02)
        translator = (Gated(width, config.reach) for _ in range(config.depth))
        self.blocks = nn.ModuleList([Local(frame), *translator])
        self.part = nn.Linear(width, config.frames * frame)
        self.skip = nn.Linear(frame, frame)
        self.norm = nn.LayerNorm(frame)
        self.head = nn.Conv2d(frame, pixels, 3, padding=1)
        _silence(self.head)  # at first nothing changes
        if self.label is not None:
            nn.init.normal_(self.label.weight, std=0.02)

    def forward(
        self,
        shown: Tensor,
        label: Tensor | None = None,
        text: Tensor | None = None,
        text_mask: Tensor | None = None,
    ) -> Tensor:
        """Predicts the next frames.

        Args:
            shown: given frames (batch, given, channels, height, width), of mean 0 and deviation 1.
            label: classes (batch,); the number of classes stands for "not said".
            text: features (batch, length, text width).
            text_mask: (batch, length), False where there is no word; all False for no text.

        Returns:
            (batch, frames, channels, height, width).
        """
        config, count = self.config, len(shown)
        rows, columns = (side // config.fold for side in shown.shape[-2:])
        tokens = self.embed(to_patches(shown, config.patch, config.lapped))
        first = tokens.view(count, config.given, rows, columns, -1)
        looked = self.blocks[0](first.flatten(0, 1)).view_as(first)
        x = self.join(looked.permute(0, 2, 3, 1, 4).flatten(3))
        x = x + self._told(count, label, text, text_mask)[:, None, None].to(x.dtype)
        for block in self.blocks[1:]:
            x = block(x)
        x = self.part(x).unflatten(3, (config.frames, -1)).permute(0, 3, 1, 2, 4)
        x = self.norm(x + self.skip(first[:, -1:])).flatten(0, 1)
        change = _convolved(self.head, x).reshape(count, -1, self.head.out_channels)
        grid = (config.frames, rows, columns)
        made = from_patches(change, grid, config.patch, config.channels, config.lapped)
        return shown[:, -1:] + made

    def _told(
        self, count: int, label: Tensor | None, text: Tensor | None, mask: Tensor | None
    ) -> Tensor:
        """What clips are said to be, as a vector each: (batch, width)."""
        where = self.join.weight.device
        told = torch.zeros(count, self.config.width, device=where)
        if self.label is not None:
            unsaid = torch.full((count,), self.config.labels, device=where)
            told = told + self.label(unsaid if label is None else label)
        if self.text is not None:
            words = self.nothing.expand(count, -1)
            if text is not None and mask is not None:
                there = mask.float()[..., None]
                mean = (text * there).sum(1) / there.sum(1).clamp(min=1)
                words = torch.where(mask.any(1, keepdim=True), self.text(mean), words)
            told = told + words
        return told


class Local(nn.Module):
    """Residual block that mixes channels and neighbours at once."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.around = nn.Conv2d(width, width, 3, padding=1)
        self.out = nn.Linear(width, width)
        _silence(self.out)

    def forward(self, x: Tensor) -> Tensor:
        """x: (n, rows, columns, width)."""
        change: Tensor = self.out(fused.squared_relu(_convolved(self.around, self.norm(x))))
        return x + change


class Gated(nn.Module):
    """Gated attention by a large kernel (gSTA), then a feed-forward layer, each residual."""

    def __init__(self, width: int, reach: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.near1, self.near2 = _depthwise(width), _depthwise(width)
        self.far = Far(width, reach)
        self.gate, self.out = nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        _silence(self.out)
        _silence(self.down)

    def forward(self, x: Tensor) -> Tensor:
        """x: (n, rows, columns, width)."""
        y = self.norm1(x)
        y = y + _convolved(self.near1, y)
        value, gate = self.gate(self.far(y)).chunk(2, -1)
        x = x + self.out(value * gate.sigmoid())
        y = self.norm2(x)
        y = y + _convolved(self.near2, y)
        change: Tensor = self.down(fused.squared_relu(self.up(y)))
        return x + change


class Far(nn.Module):
    """A depthwise kernel over columns, then one over rows, that reach far; zeros lie outside.

    Written as products with a banded matrix for each channel: on a CPU depthwise kernels this large
    take many times as long.
    """

    def __init__(self, width: int, reach: int) -> None:
        super().__init__()
        self.reach = reach
        # Of three dimensions, so that the optimizer does not take them for matrices.
        self.rows = nn.Parameter(torch.randn(width, 1, 2 * reach + 1) * 0.1)
        self.columns = nn.Parameter(torch.randn(width, 1, 2 * reach + 1) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (n, rows, columns, width)."""
        n, rows, columns, width = x.shape
        down, across = self._band(self.rows, rows), self._band(self.columns, columns)
        y = torch.bmm(down.to(x.dtype), x.permute(3, 1, 0, 2).reshape(width, rows, -1))
        y = y.view(width, rows, n, columns).permute(0, 3, 2, 1).reshape(width, columns, -1)
        y = torch.bmm(across.to(x.dtype), y).view(width, columns, n, rows)
        return y.permute(2, 3, 1, 0).contiguous()

    def _band(self, kernel: Tensor, side: int) -> Tensor:
        """Matrices (width, side, side) whose product with a line is its convolution."""
        place = torch.arange(side, device=kernel.device)
        offset = place - place[:, None]
        within = offset.abs() <= self.reach
        taps = kernel[:, 0, (offset + self.reach).clamp(0, 2 * self.reach)]
        return taps * within


def _convolved(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution of (n, rows, columns, width)."""
    made: Tensor = layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return made


def _depthwise(width: int) -> nn.Conv2d:
    return nn.Conv2d(width, width, 3, padding=1, groups=width)


def _silence(layer: nn.Linear | nn.Conv2d) -> None:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
