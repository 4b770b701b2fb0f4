"""Precision, recall, density and coverage: quality apart from variety, by nearest neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .frechet import Array, checked_pair

Flags = npt.NDArray[np.bool_]
_BLOCK = 1 << 22  # entries of a table at a time
# Distances closer than this, in squares and of the clips' own, are equal: rounding is smaller.
_TIE = 1e-13


@dataclass(frozen=True)
class Manifold:
    """What each clip adds to the four numbers; the numbers are means over clips.

    Attributes:
        inside: bool (n,), whether a generated clip lies in any real clip's ball.
        densities: float64 (n,), in how many real balls it lies, over k.
        recalled: bool (m,), whether a real clip lies in any generated clip's ball.
        covered: bool (m,), whether any generated clip lies in a real clip's ball.
    """

    inside: Flags
    densities: Array
    recalled: Flags
    covered: Flags

    @property
    def precision(self) -> float:
        """Share of generated clips that look real, in [0, 1]."""
        return float(self.inside.mean())

    @property
    def recall(self) -> float:
        """Share of real clips that generated ones reach, in [0, 1]; an outlier reaches far."""
        return float(self.recalled.mean())

    @property
    def density(self) -> float:
        """How deep generated clips lie among real ones: 0 or more, about 1 for real clips."""
        return float(self.densities.mean())

    @property
    def coverage(self) -> float:
        """Share of real clips with a generated one near, in [0, 1]; real balls only, so no
        generated outlier can raise it."""
        return float(self.covered.mean())


def manifold(generated: npt.ArrayLike, real: npt.ArrayLike, k: int = 5) -> Manifold:
    """Precision and recall (Kynkaanniemi et al. 2019, eq. 1 and 2), density and coverage (Naeem et
    al. 2020, eq. 3 and 5).

    A clip's ball reaches to its k-th nearest other clip of its own set, and holds what lies on its
    edge: a copy of a clip is in its ball even where copies make the radius 0. Distances that differ
    by less than rounding are ties. All four depend on k and on the numbers of clips (clips of the
    same source, as many on each side, are expected to cover 1 - 2^-k): compare only at the same k
    and numbers. Memory is bounded, whatever the number of clips.

    Args:
        generated: features (n, d).
        real: features (m, d).
        k: neighbours, under n and m. 3 and 5 are the papers' choices.

    Raises:
        ValueError: k not under the clips on each side, unlike widths, or rows that are not finite.
    """
    if k < 1:
        raise ValueError(f"k is 1 or more, not {k}")
    made, true = checked_pair(generated, real, k + 1)
    reach, real_reach = _reach(made, k), _reach(true, k)
    balls = np.zeros(len(made), np.int64)
    recalled, covered = np.zeros(len(true), bool), np.zeros(len(true), bool)
    centre = true.mean(0)
    for part, squares, slack in _squares(made - centre, true - centre):
        in_real = squares <= real_reach + slack
        balls[part] = in_real.sum(1)
        covered |= in_real.any(0)
        recalled |= (squares <= reach[part, None] + slack).any(0)
    return Manifold(balls > 0, balls / k, recalled, covered)


def _reach(rows: Array, k: int) -> Array:
    """Squared distance of each row to its k-th nearest other one, (n,)."""
    out = np.empty(len(rows))
    rows = rows - rows.mean(0)
    for part, squares, _ in _squares(rows, rows):
        own = np.arange(len(rows))[part]
        squares[own - own[0], own] = 0
        out[part] = np.partition(squares, k, axis=1)[:, k]
    return out


def _squares(a: Array, b: Array) -> Iterator[tuple[slice, Array, Array]]:
    """Squared distances in blocks of rows of `a`: the rows, (rows, m), and what a tie may differ
    by, (rows, m)."""
    of_a, of_b = np.square(a).sum(1), np.square(b).sum(1)
    step = max(1, _BLOCK // len(b))
    for start in range(0, len(a), step):
        part = slice(start, start + step)
        sums = of_a[part, None] + of_b
        yield part, (sums - 2 * (a[part] @ b.T)).clip(0), _TIE * sums
