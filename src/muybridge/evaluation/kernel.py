"""The kernel distance: KID with Inception's features of frames, KVD with features of video."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..core.chance import permutation
from .frechet import Array, checked_pair

_BLOCK = 1 << 22  # entries of a table at a time


def kernel_distance(generated: npt.ArrayLike, real: npt.ArrayLike) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x'y / d + 1)^3.

    Binkowski et al. 2018, "Demystifying MMD GANs", section 4. Over all pairs, a clip with itself
    left out; its expectation is 0 for clips of one source, so that it may be negative. Memory is
    bounded, whatever the number of clips.

    Args:
        generated: features (n, d).
        real: features (m, d).

    Raises:
        ValueError: fewer than two rows, unlike widths, or rows that are not finite.
    """
    return _of_pairs(*checked_pair(generated, real))


def kernel_distance_of_subsets(
    generated: npt.ArrayLike,
    real: npt.ArrayLike,
    size: int = 1000,
    count: int = 100,
    seed: int = 0,
) -> tuple[float, float]:
    """Mean and standard deviation of `kernel_distance` over `count` draws of `size` clips from
    each side, without replacement within a draw: how KID is usually reported.

    The mean has the same expectation as the distance over all pairs and varies more. The deviation
    (over `count`) is that of one draw; it is no standard error, since draws share clips.

    Raises:
        ValueError: more clips asked for than there are; or as `kernel_distance`.
    """
    a, b = checked_pair(generated, real)
    if not 2 <= size <= min(len(a), len(b)) or count < 1:
        raise ValueError(
            f"{count} subsets of {size} clips cannot be drawn from {len(a)} and {len(b)} clips"
        )
    found = []
    for draw in range(count):
        of_a = permutation(len(a), seed, "generated", draw).numpy()[:size]
        of_b = permutation(len(b), seed, "real", draw).numpy()[:size]
        found.append(_of_pairs(a[of_a], b[of_b]))
    return float(np.mean(found)), float(np.std(found))


def _of_pairs(a: Array, b: Array) -> float:
    n, m = len(a), len(b)
    within = _sum(a, a, False) / (n * (n - 1)) + _sum(b, b, False) / (m * (m - 1))
    return within - 2 * _sum(a, b, True) / (n * m)


def _sum(a: Array, b: Array, diagonal: bool) -> float:
    """Sum of the kernel over all pairs, or over all but those of a row with itself."""
    step, total = max(1, _BLOCK // len(b)), 0.0
    for start in range(0, len(a), step):
        table = a[start : start + step] @ b.T
        table /= a.shape[1]
        table += 1
        cubes = table * table * table
        if not diagonal:
            rows = np.arange(len(cubes))
            cubes[rows, start + rows] = 0
        total += float(cubes.sum())
    return total
