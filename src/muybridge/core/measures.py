"""Formulas that more than one part needs. float64 throughout."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def frechet(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Frechet distance between Gaussians fitted to two sets of features (n, d).

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) (Dowson and Landau 1982; Heusel et al. 2017, eq. 6),
    covariances over n - 1. With C1 = A'A and C2 = B'B the last trace is the nuclear norm of AB',
    so no matrix square root is taken.

    Raises:
        ValueError: fewer than two rows, unlike widths, or values that are not finite.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"features of shapes {a.shape} and {b.shape} cannot be compared")
    if min(len(a), len(b)) < 2:
        raise ValueError(f"a covariance needs two or more clips, not {len(a)} and {len(b)}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("features hold values that are not finite")
    gap = a.mean(0) - b.mean(0)
    a = (a - a.mean(0)) / np.sqrt(len(a) - 1)
    b = (b - b.mean(0)) / np.sqrt(len(b) - 1)
    traces = np.square(a).sum() + np.square(b).sum()
    return float(gap @ gap + traces - 2 * _nuclear(a, b))


def _nuclear(a: Array, b: Array) -> float:
    """Sum of singular values of a @ b.T, by way of square matrices no wider than they must be."""
    if len(a) > a.shape[1]:
        a = np.asarray(np.linalg.qr(a, mode="r"))
    if len(b) > b.shape[1]:
        b = np.asarray(np.linalg.qr(b, mode="r"))
    return float(np.linalg.svd(a @ b.T, compute_uv=False).sum())


def standard_error(statistic: list[float]) -> float:
    """Standard deviation of a statistic over bootstrap draws."""
    return float(np.std(statistic, ddof=1)) if len(statistic) > 1 else 0.0
