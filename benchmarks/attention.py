"""Attention on the CPU, forward and backward: `fused.attention` against torch's own pieces.

python benchmarks/attention.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from common import report
from torch import Tensor

from muybridge.models import fused


def plain(qk: Tensor, v: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Normalise, turn, torch's fused kernel: what a GPU is given."""
    q, k = fused._turned(F.layer_norm(qk, qk.shape[-1:]), *turn).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q, k, v.transpose(1, 2)).transpose(1, 2).flatten(2)


def milliseconds(attention: Callable[..., Tensor], tokens: int) -> float:
    """Best of seven, 4,096 tokens in all, four heads of 64 channels, bf16."""
    batch, best = 4096 // tokens, float("inf")
    qk = torch.randn(batch, tokens, 2, 4, 64).bfloat16().requires_grad_()
    v = torch.randn(batch, tokens, 4, 64).bfloat16().requires_grad_()
    angle = torch.rand(1, tokens, 1, 1, 32)
    turn = angle.cos().bfloat16(), angle.sin().bfloat16()
    gradient = torch.randn(batch, tokens, 256).bfloat16()
    for _ in range(7):
        begun = time.perf_counter()
        attention(qk, v, turn).backward(gradient)
        best = min(best, time.perf_counter() - begun)
    return 1e3 * best


def main() -> None:
    """Compares both at several lengths, in one run."""
    fused._WHOLE_TABLE = 1 << 30
    rows = []
    for tokens in (64, 128, 272, 512, 1024, 2048):
        theirs = milliseconds(plain, tokens)
        ours = milliseconds(fused.attention, tokens)
        rows.append({"tokens": tokens, "plain ms": theirs, "ours ms": ours,
                     "ratio": theirs / ours})  # fmt: skip
    report("attention", rows)


if __name__ == "__main__":
    main()
