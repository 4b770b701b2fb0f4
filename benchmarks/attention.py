"""Attention on the CPU: the whole table against torch's fused kernel, forward and backward.

python benchmarks/attention.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from common import report
from torch import Tensor

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def whole(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As in `models/dit.py`."""
    table = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    return table.softmax(-1) @ v


def milliseconds(attention: Attention, tokens: int) -> float:
    """Best of seven, batch 16, four heads of 64 channels, bf16."""
    q, k, v = (torch.randn(16, 4, tokens, 64).bfloat16().requires_grad_() for _ in range(3))
    gradient, best = torch.randn(16, 4, tokens, 64).bfloat16(), float("inf")
    for _ in range(7):
        begun = time.perf_counter()
        attention(q, k, v).backward(gradient)
        best = min(best, time.perf_counter() - begun)
    return 1e3 * best


def main() -> None:
    """Compares both at several lengths, in one run."""
    rows = []
    for tokens in (128, 272, 512, 1024):
        fused = milliseconds(F.scaled_dot_product_attention, tokens)
        table = milliseconds(whole, tokens)
        rows.append(
            {"tokens": tokens, "fused ms": fused, "table ms": table, "ratio": fused / table}
        )
    report("attention", rows)


if __name__ == "__main__":
    main()
