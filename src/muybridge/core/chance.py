"""Chance without hidden position: every draw is a function of a seed and the name of its use."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

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


def even(index: Tensor) -> Tensor:
    """Numbers in (0, 1), float32 (n,), that any stretch of `index` spreads evenly: the golden
    ratio's sequence, in which neighbours fill each other's gaps (Weyl 1916)."""
    turns = (index.double() + 0.5) * ((5**0.5 - 1) / 2)
    return (turns - turns.floor()).float().clamp(1e-7, 1 - 1e-7)


def normal(seeds: Tensor, shape: Sequence[int], use: str) -> Tensor:
    """Standard normal noise, float32 (batch, *shape); each clip's from its own seed alone."""
    out = torch.empty(len(seeds), *shape, device=seeds.device)

    def draw(row: Tensor, seed: int) -> None:
        generator = torch.Generator(seeds.device).manual_seed(mix(seed, use))
        with torch.inference_mode(row.is_inference()):  # a thread has its own mode
            row.normal_(generator=generator)

    # One draw keeps one core busy, and with hundreds of thousands of numbers a row a tenth of a
    # step goes into them.
    with ThreadPoolExecutor(min(torch.get_num_threads(), max(1, len(out)))) as pool:
        list(pool.map(draw, out, seeds.tolist()))
    return out


def permutation(count: int, *parts: int | str) -> Tensor:
    """A shuffle of range(count), int64 (count,), the same for the same `parts`."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(mix(*parts)))
