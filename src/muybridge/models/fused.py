"""Pieces of a transformer whose backward passes are written out, for processors without a GPU.

There, what a step costs beside its matrix products is memory traffic: each piece goes over its
tensors as seldom as it can, and keeps for the backward pass only what that needs. On a GPU the
plain forms, which torch fuses there, are used instead; both are the same functions.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# Tokens up to which the whole table of attention is faster than torch's fused kernel on a CPU,
# forward and backward in bf16; see `benchmarks/attention.py`.
_WHOLE_TABLE = 1024


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Normalised x, scaled by 1 + `scale` and shifted (adaLN; Peebles and Xie 2023).

    Args:
        x: (batch, tokens, width).
        shift, scale: (batch, 1 or tokens, width).
    """
    if x.is_cuda or scale.shape[1] > 1:
        return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:]), 1 + scale)
    if not torch.is_grad_enabled():  # a token at a time, what a function of our own costs counts
        normal = torch.native_layer_norm(x, x.shape[-1:], None, None, 1e-5)[0]
        return torch.addcmul(shift, normal, 1 + scale)
    made: Tensor = _Modulate.apply(x, shift, scale)  # type: ignore[no-untyped-call]
    return made


class _Modulate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        normal, mean, rstd = torch.native_layer_norm(x, x.shape[-1:], None, None, 1e-5)
        ctx.save_for_backward(x, normal, mean, rstd, scale)
        return torch.addcmul(shift, normal, 1 + scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (g,) = gradients
        x, normal, mean, rstd, scale = ctx.saved_tensors
        # Sums over tokens as products with a row of ones: one pass, accumulated in fp32.
        ones = g.new_ones(len(g), 1, g.shape[1])
        shifted = ones @ g
        scaled = ones @ (g * normal)
        back = torch.ops.aten.native_layer_norm_backward(
            g * (1 + scale), x, x.shape[-1:], mean, rstd, None, None, [True, False, False]
        )[0]
        return back, shifted, scaled


def squared_relu(x: Tensor) -> Tensor:
    """relu(x)**2 (So et al. 2021, "Primer")."""
    if x.is_cuda:
        return F.relu(x).square()
    if not torch.is_grad_enabled():
        x = x.relu()
        return x * x
    made: Tensor = _SquaredRelu.apply(x)  # type: ignore[no-untyped-call]
    return made


class _SquaredRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.relu()
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return (gradients[0] * x).mul_(2)


def attention(qk: Tensor, v: Tensor, turn: tuple[Tensor, Tensor], causal: bool = False) -> Tensor:
    """Attention with normalised queries and keys, turned by rotary angles.

    Queries and keys are normalised over each head's channels (Dehghani et al. 2023), so that no
    logit is larger than the root of their number: exp needs no maximum taken off first.

    Args:
        qk: queries and keys (batch, tokens, 2, heads, channels).
        v: values (batch, tokens, heads, channels).
        turn: cosines and sines (batch or 1, tokens, 1, 1, channels / 2).
        causal: a token sees those before it and itself alone.

    Returns:
        (batch, tokens, heads x channels).
    """
    if qk.is_cuda or qk.shape[1] > _WHOLE_TABLE:
        q, k = _turned(F.layer_norm(qk, qk.shape[-1:]), *turn).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v.transpose(1, 2), is_causal=causal)
        return mixed.transpose(1, 2).flatten(2)
    made: Tensor = _Attention.apply(qk, v, *turn, causal)  # type: ignore[no-untyped-call]
    return made


def _turned(qk: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns channel pairs (i, i + half) of (batch, tokens, 2, heads, channels) by their angles."""
    a, b = qk.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


def _turn_into(made: Tensor, qk: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The same into memory that is there."""
    (a, b), (first, second) = qk.chunk(2, -1), made.chunk(2, -1)
    torch.mul(a, cos, out=first).addcmul_(b, sin, value=-1)
    torch.mul(a, sin, out=second).addcmul_(b, cos)
    return made


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qk: Tensor, v: Tensor, cos: Tensor, sin: Tensor, causal: bool) -> Tensor:
        batch, tokens, _, heads, channels = qk.shape
        normal, mean, rstd = torch.native_layer_norm(qk, [channels], None, None, 1e-5)
        # Half of the logits' scale on each side.
        scale = channels**-0.25
        cos, sin = cos * scale, sin * scale
        apart = qk.new_empty(2, batch, heads, tokens, channels)
        _turn_into(apart.permute(1, 3, 0, 2, 4), normal, cos, sin)
        q, k = apart.flatten(1, 2)
        v = v.transpose(1, 2).reshape(-1, tokens, channels)
        table = (q @ k.transpose(1, 2)).exp_()
        if causal:
            table.tril_()  # what is 0 here has no slope in `backward` either
        total = table.sum(-1, keepdim=True)
        mixed = (table @ v).div_(total)
        ctx.save_for_backward(qk, mean, rstd, cos, sin, q, k, v, table, total, mixed)
        made: Tensor = mixed.view(batch, heads, tokens, channels).transpose(1, 2).flatten(2)
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        qk, mean, rstd, cos, sin, q, k, v, table, total, mixed = ctx.saved_tensors
        batch, tokens, _, heads, channels = qk.shape
        g = gradients[0].view(batch, tokens, heads, channels).transpose(1, 2)
        g = g.reshape(-1, tokens, channels) / total
        back_v = (table.transpose(1, 2) @ g).view(batch, heads, tokens, channels).transpose(1, 2)
        own = (g * mixed).sum(-1, keepdim=True)
        slope = (g @ v.transpose(1, 2)).sub_(own).mul_(table)
        apart = qk.new_empty(2, batch * heads, tokens, channels)
        torch.bmm(slope, k, out=apart[0])
        torch.bmm(slope.transpose(1, 2), q, out=apart[1])
        apart = apart.view(2, batch, heads, tokens, channels).permute(1, 3, 0, 2, 4)
        # Turned back: the transpose of a turn is the turn by minus its angle.
        normal = _turn_into(torch.empty_like(qk), apart, cos, -sin)
        back = torch.ops.aten.native_layer_norm_backward(
            normal, qk, [channels], mean, rstd, None, None, [True, False, False]
        )[0]
        return back, back_v, None, None, None
