"""Student's t distribution with one or more degrees of freedom, not only whole ones."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)
_PIECES = 4


def tail(t: float, freedom: float) -> float:
    """Probability of a value above `t`.

    With t = sqrt(freedom) tan(angle) the density becomes cos(angle)^(freedom - 1), which is
    integrated from the angle of `t` on (Gauss-Legendre, in pieces a few deviations wide).

    Raises:
        ValueError: fewer degrees of freedom than one, or NaN.
    """
    if not freedom >= 1 or math.isnan(t):
        raise ValueError(f"no t distribution at {t} with {freedom} degrees of freedom")
    if t < 0:
        return 1 - tail(-t, freedom)
    # Beyond ten million degrees it is the normal distribution to six digits.
    freedom = min(freedom, 1e7)
    # The area is measured from the right angle, where nothing is lost for large t.
    rest = math.atan2(math.sqrt(freedom), t)
    half = min(rest, 16 / math.sqrt(freedom)) / (2 * _PIECES)
    angles = half * (1 + _NODES + 2 * np.arange(_PIECES)[:, None])
    area = float((half * _WEIGHTS * np.sin(rest - angles) ** (freedom - 1)).sum())
    return min(0.5, area * _height(freedom) * math.sqrt(freedom))


def _height(freedom: float) -> float:
    """Density at zero."""
    constant = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)
    return math.exp(constant) / math.sqrt(math.pi * freedom)


def two_sided(t: float, freedom: float) -> float:
    """Probability of a value as far from zero as `t`."""
    return min(1.0, 2 * tail(abs(t), freedom))


@lru_cache(4096)
def quantile(freedom: float, level: float = 0.95) -> float:
    """The bound that holds `level` of the distribution between its negative and itself."""
    wanted = (1 - level) / 2
    # The distribution's tail is convex, so Newton's steps from below never go too far.
    t, step = 0.0, 1.0
    while step > 1e-10 * (1 + t):
        density = _height(freedom) * (1 + t * t / freedom) ** (-(freedom + 1) / 2)
        step = (tail(t, freedom) - wanted) / density
        t += step
    return t
