"""Pieces of networks of space-time convolutions, for a loss that has the gradient's own gradient.

A penalty on a discriminator's gradient is differentiated twice. On a CPU, torch's second gradient
of a convolution goes through a convolution with a kernel as large as the clip, and its own
interpolation of clips is slow going back; these say the same with products that are fast each time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LAST = torch.channels_last_3d
SLOPE = 0.2
# Waves along each side of a picture; turns a second of those in time; features of a place.
_ACROSS, _TURNS = 4, (0.25, 0.5)
PLACES = _ACROSS**2 * (1 + 2 * len(_TURNS))


class Conv3d(nn.Conv3d):
    """A convolution whose gradient's gradient is as fast as its gradient (on a CPU)."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, t, h, w), as `nn.Conv3d`."""
        if x.is_cuda:
            return super().forward(x)
        kind = computed_in(x)
        # Views, since a leaf cannot be asked whether a gradient leads to it.
        x, weight = (one.to(kind).view_as(one) for one in (x, self.weight))
        bias = None if self.bias is None else self.bias.to(kind).view_as(self.bias)
        made: Tensor = _convolve(x, weight, bias, self.stride, self.padding)
        return made


def act(x: Tensor) -> Tensor:
    """Leaky ReLU: bent nowhere but at 0, which makes a gradient of gradients cheap."""
    return F.leaky_relu(x, SLOPE)


def computed_in(x: Tensor) -> torch.dtype:
    """The precision that autocast would compute in."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *steps: Any) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.steps = steps
        return F.conv3d(x, weight, bias, *steps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        g = gradients[0].contiguous(memory_format=_LAST)
        wanted = _wanted(ctx)
        for_x = _to_input(g, weight, x.detach(), *ctx.steps) if wanted[0] else None
        for_weight = _to_weight(g, x, weight.detach(), *ctx.steps) if wanted[1] else None
        for_bias = g.sum((0, 2, 3, 4)) if wanted[2] else None
        return for_x, for_weight, for_bias, None, None


class _ToInput(torch.autograd.Function):
    """The gradient of a convolution for its input: linear in g and in the weight."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, weight: Tensor, x: Tensor, *steps: Any) -> Tensor:
        ctx.save_for_backward(g, weight)
        ctx.steps = steps
        return _gradients(g, x, weight, steps, 0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        g, weight = ctx.saved_tensors
        h = gradients[0].contiguous(memory_format=_LAST)
        wanted = _wanted(ctx)
        for_g = _convolve(h, weight, None, *ctx.steps) if wanted[0] else None
        for_weight = _to_weight(g, h, weight.detach(), *ctx.steps) if wanted[1] else None
        return for_g, for_weight, None, None, None


class _ToWeight(torch.autograd.Function):
    """The gradient of a convolution for its weight; cannot itself be differentiated."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, weight: Tensor, *steps: Any) -> Tensor:
        return _gradients(g, x, weight, steps, 1)


_convolve: Callable[..., Any] = _Convolve.apply
_to_input: Callable[..., Any] = _ToInput.apply
_to_weight: Callable[..., Any] = _ToWeight.apply


def _gradients(g: Tensor, x: Tensor, weight: Tensor, steps: tuple[Any, ...], which: int) -> Tensor:
    """One of a convolution's gradients: for its input (0) or its weight (1)."""
    stride, padding = steps
    asked = [which == 0, which == 1, False]
    if which == 1 and g.shape[2] == 2 and padding[0]:
        # oneDNN 3.x gives numbers of no meaning here in bf16, on processors with avx512_bf16 but no
        # AMX, where a kernel reaches over both ends of time: so that there is nothing over the end.
        x, padding = F.pad(x, (0, 0, 0, 0, padding[0], padding[0])), (0, *padding[1:])
    found = torch.ops.aten.convolution_backward(
        g, x, weight, None, stride, padding, (1, 1, 1), False, (0, 0, 0), 1, asked
    )
    made: Tensor = found[which]
    return made


def _wanted(ctx: Any) -> list[bool]:
    """Which gradients this backward pass leads to: one for the input alone asks for no weight's."""
    ask = torch._C._will_engine_execute_node
    return [node is not None and bool(ask(node)) for node, _ in ctx.next_functions]


def folded(clips: Tensor, fold: tuple[int, int, int]) -> Tensor:
    """(batch, time, channel, height, width) to (batch, fold x channel, t, h, w), channels last in
    memory; in the precision that convolutions compute in."""
    batch, time, channels, height, width = clips.shape
    p, q, r = fold
    # Rows first and columns then, which is twice as fast as both at once.
    x = clips.to(computed_in(clips)).reshape(-1, p * channels, height // q, q * width)
    x = x.transpose(1, 2).reshape(-1, p * channels * q, width // r, r).transpose(1, 2)
    x = x.reshape(batch, time // p, height // q, width // r, -1)
    return x.permute(0, 4, 1, 2, 3)


def halved(clips: Tensor) -> Tensor:
    """Clips (batch, time, channel, height, width): means over two frames, rows and columns."""
    for axis in (1, 3, 4):
        clips = _along(clips, axis, _pairs(clips.shape[axis] // 2))
    return clips


def enlarged(x: Tensor, axes: tuple[int, int, int] = (1, 3, 4)) -> Tensor:
    """Twice as long along some axes, by default those of time, height and width in clips, by linear
    interpolation."""
    for axis in axes:
        x = _along(x, axis, _between(x.shape[axis]))
    return x


def _along(x: Tensor, axis: int, matrix: Tensor) -> Tensor:
    """A matrix (new, old) applied to one axis, in the precision of x."""
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    matrix = matrix.to(x)
    with torch.autocast(x.device.type, enabled=False):
        if after:
            lines = matrix @ x.reshape(math.prod(before), x.shape[axis], math.prod(after))
        else:
            lines = x.reshape(math.prod(before), -1) @ matrix.T
    return lines.view(*before, len(matrix), *after)


@lru_cache
@torch.inference_mode(False)
def _pairs(count: int) -> Tensor:
    """(count, 2 count): the mean of each pair."""
    return torch.eye(count).repeat_interleave(2, 1) / 2


@lru_cache
@torch.inference_mode(False)
def _between(count: int) -> Tensor:
    """(2 count, count): linear interpolation, the ends repeated."""
    where = ((torch.arange(2 * count) + 0.5) / 2 - 0.5).clamp(0, count - 1)
    return (1 - (where[:, None] - torch.arange(count)).abs()).clamp(min=0)


def places_of(times: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """What tells places apart: (batch, *grid, 80), products of cosines down and across the picture
    and of waves in time by the clip's own seconds (batch, time)."""
    t, h, w = grid
    seconds = times.float().reshape(len(times), t, -1).mean(-1)
    turns = 2 * math.pi * seconds[..., None] * torch.tensor(_TURNS, device=times.device)
    when = torch.cat([torch.ones_like(turns[..., :1]), turns.cos(), turns.sin()], -1)
    down, across = (_cosines(side).to(times.device) for side in (h, w))
    return torch.einsum("bti,hj,wk->bthwijk", when, down, across).flatten(4)


def _cosines(side: int) -> Tensor:
    """(side, 4)."""
    middle = (torch.arange(side) + 0.5) / side
    return torch.outer(math.pi * middle, torch.arange(_ACROSS)).cos()
