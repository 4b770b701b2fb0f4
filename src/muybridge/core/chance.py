"""Chance without hidden position: every draw is a function of a seed and the name of its use."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import torch
from torch import Tensor

_MASK = (1 << 64) - 1


def mix(*parts: int | str) -> int:
    """Hashes numbers and names into 63 bits (splitmix64; Steele et al. 2014, "Fast splittable
    pseudorandom number generators")."""
    state = 0
    for part in parts:
        value = zlib.crc32(part.encode()) if isinstance(part, str) else part
        state = (state ^ (value & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state >> 1


def uniform(seeds: Tensor, use: str) -> Tensor:
    """One number in (0, 1) a clip, float32 (batch,), on the device of `seeds` (batch,)."""
    draws = [(mix(seed, use) + 0.5) / 2**63 for seed in seeds.tolist()]
    return torch.tensor(draws, dtype=torch.float64).float().clamp(1e-7, 1 - 1e-7).to(seeds.device)


def normal(seeds: Tensor, shape: Sequence[int], use: str) -> Tensor:
    """Standard normal noise, float32 (batch, *shape); each clip's from its own seed alone."""
    out = torch.empty(len(seeds), *shape, device=seeds.device)
    for row, seed in zip(out, seeds.tolist(), strict=True):
        generator = torch.Generator(seeds.device).manual_seed(mix(seed, use))
        row.normal_(generator=generator)
    return out


def permutation(count: int, *parts: int | str) -> Tensor:
    """A shuffle of range(count), int64 (count,), the same for the same `parts`."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(mix(*parts)))
