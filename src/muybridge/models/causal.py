"""Convolutions that are causal in time, over clips that may come piece by piece.

The channels of a place lie together (batch, t, h, w, channels), which convolutions and norms on a
CPU are fastest with. Kernels are 3 x 3 in space, then 3 in time over the past alone (Tran et al.
2018, "R(2+1)D"): half the work of 3 x 3 x 3 on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Memory:
    """What causal layers remember of the pieces of a clip that went before."""

    def __init__(self) -> None:
        self.past: dict[nn.Module, Tensor] = {}


class Layers(nn.Module):
    """One after another."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(layers)

    def forward(self, clips: Tensor, memory: Memory | None) -> Tensor:
        """(batch, time, inputs, height, width) to (batch, t, outputs, h, w)."""
        x = clips.permute(0, 1, 3, 4, 2)
        for layer in self.blocks:
            x = layer(x, memory)
        return x.permute(0, 1, 4, 2, 3)


def blocks(width: int, depth: int) -> list[nn.Module]:
    """So many residual blocks."""
    return [Block(width) for _ in range(depth)]


class Fold(nn.Module):
    """Patches of pixels, or of places, become one place each."""

    def __init__(self, inputs: int, outputs: int, patch: tuple[int, int, int]) -> None:
        super().__init__()
        self.patch = patch
        self.mix = nn.Linear(inputs * math.prod(patch), outputs)

    def forward(self, x: Tensor, memory: Memory | None) -> Tensor:
        """(batch, time, height, width, inputs) to (batch, t, h, w, outputs)."""
        (p, q, r), (batch, time, height, width, inputs) = self.patch, x.shape
        x = x.reshape(batch, time // p, p, height // q, q, width // r, r, inputs)
        made: Tensor = self.mix(x.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4))
        return made


class Unfold(nn.Module):
    """One place becomes a patch of places, or of pixels, seen with its neighbours: no grid."""

    def __init__(self, inputs: int, outputs: int, patch: tuple[int, int, int]) -> None:
        super().__init__()
        self.patch = patch
        self.norm = Norm(inputs)
        self.mix = nn.Conv2d(inputs, outputs * math.prod(patch), 3, padding=1)

    def forward(self, x: Tensor, memory: Memory | None) -> Tensor:
        """(batch, t, h, w, inputs) to (batch, time, height, width, outputs)."""
        (p, q, r), (batch, t, h, w, _) = self.patch, x.shape
        x = _each_frame(self.mix, F.silu(self.norm(x))).view(batch, t, h, w, p, q, r, -1)
        return x.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(batch, t * p, h * q, w * r, -1)


class Ends(nn.Module):
    """To the latents, or from them."""

    def __init__(self, inputs: int, outputs: int, normed: bool = True) -> None:
        super().__init__()
        self.norm = Norm(inputs) if normed else nn.Identity()
        self.mix = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor, memory: Memory | None) -> Tensor:
        """(batch, t, h, w, inputs) to (batch, t, h, w, outputs)."""
        made: Tensor = self.mix(self.norm(x))
        return made


class Block(nn.Module):
    """x + a convolution in time of one in space of it; at first x alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = Norm(width)
        self.space = nn.Conv2d(width, width, 3, padding=1)
        self.time = nn.Conv2d(width, width, (3, 1))
        nn.init.zeros_(self.time.weight)
        assert self.time.bias is not None
        nn.init.zeros_(self.time.bias)

    def forward(self, x: Tensor, memory: Memory | None) -> Tensor:
        """(batch, t, h, w, width) to the same."""
        return x + self._over_time(F.silu(_each_frame(self.space, self.norm(x))), memory)

    def _over_time(self, x: Tensor, memory: Memory | None) -> Tensor:
        """A convolution over a frame and the two before it; before the first there is nothing."""
        batch, t, h, w, width = x.shape
        past = None if memory is None else memory.past.get(self)
        if past is None:
            past = x.new_zeros(batch, 2, h, w, width)
        x = torch.cat([past.to(x.dtype), x], 1)
        if memory is not None:
            memory.past[self] = x[:, -2:]
        lines = x.view(batch, t + 2, h * w, width).permute(0, 3, 1, 2)
        made: Tensor = self.time(lines)
        return made.permute(0, 2, 3, 1).reshape(batch, t, h, w, width)


class Norm(nn.LayerNorm):
    """Over the channels of each place alone: none depends on another's brightness, as tiles and
    pieces need."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to the same, in the precision that layers compute in."""
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


def _each_frame(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution in space of (batch, t, h, w, inputs)."""
    made: Tensor = layer(x.flatten(0, 1).permute(0, 3, 1, 2))
    return made.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)
