"""The Frechet distance between two sets of features, and how much of it is due to too few clips.

float64 throughout. The formula is that of FID (Heusel et al. 2017) and FVD (Unterthiner et al.
2018); which of them it is, the features say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ..core.chance import permutation

Array = npt.NDArray[np.float64]
_EPS = float(np.finfo(np.float64).eps)


def checked(features: npt.ArrayLike, name: str, least: int = 2) -> Array:
    """Features as float64 (n, d).

    Raises:
        ValueError: not a matrix, fewer than `least` rows, or values that are not finite; it names
            the side and says how many rows.
    """
    rows = np.asarray(features, np.float64)
    if rows.ndim != 2 or not rows.shape[1]:
        raise ValueError(f"{name} features have shape {rows.shape}, not (clips, features)")
    if len(rows) < least:
        raise ValueError(f"{least} or more {name} clips are needed, not {len(rows)}")
    bad = len(rows) - int(np.isfinite(rows).all(1).sum())
    if bad:
        raise ValueError(f"{bad} of {len(rows)} rows of {name} features are not finite")
    return rows


def checked_pair(
    generated: npt.ArrayLike, real: npt.ArrayLike, least: int = 2
) -> tuple[Array, Array]:
    """Both sides by `checked`, of one width.

    Raises:
        ValueError: as `checked`; or unlike widths.
    """
    a, b = checked(generated, "generated", least), checked(real, "real", least)
    _same_width(a.shape[1], b.shape[1])
    return a, b


def _same_width(generated: int, real: int) -> None:
    if generated != real:
        raise ValueError(f"features of widths {generated} and {real} cannot be compared")


class Moments:
    """Count, mean and scatter of features, summed as they come.

    Parts are summed about their own means and merged (Chan et al. 1979, "Updating formulae and a
    pairwise algorithm for computing sample variances"), so a large common offset costs few digits,
    and sums over chunks or ranks agree with the sum over all.

    Attributes:
        count: rows so far.
        mean: float64 (d,).
        scatter: float64 (d, d), the sum of outer products of centred rows.
    """

    def __init__(self, width: int) -> None:
        self.count = 0
        self.mean: Array = np.zeros(width)
        self.scatter: Array = np.zeros((width, width))

    def update(self, rows: npt.ArrayLike) -> None:
        """Adds rows (n, d); n may be 0.

        Raises:
            ValueError: another width, or rows that are not finite.
        """
        values = checked(rows, "added", 0)
        if not len(values):
            return
        mean = values.mean(0)
        values = values - mean
        self._add(len(values), mean, values.T @ values)

    def merge(self, other: Moments) -> None:
        """Adds what `other` has seen; `other` stays as it is.

        Raises:
            ValueError: another width.
        """
        if other.count:
            self._add(other.count, other.mean, other.scatter)

    @property
    def covariance(self) -> Array:
        """Over n - 1; float64 (d, d).

        Raises:
            ValueError: fewer than two rows.
        """
        if self.count < 2:
            raise ValueError(f"2 or more clips are needed for a covariance, not {self.count}")
        return self.scatter / (self.count - 1)

    def _add(self, count: int, mean: Array, scatter: Array) -> None:
        _same_width(len(mean), len(self.mean))
        total, gap = self.count + count, mean - self.mean
        self.scatter = self.scatter + scatter + np.outer(gap, gap) * (self.count * count / total)
        self.mean = self.mean + gap * (count / total)
        self.count = total


Side = npt.ArrayLike | Moments


def frechet(generated: Side, real: Side) -> float:
    """Frechet distance (squared) between Gaussians fitted to two sets of features.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) (Dowson and Landau 1982; Heusel et al. 2017, eq. 6),
    covariances over n - 1. No matrix square root is taken: with C1 = A'A and C2 = B'B the last
    trace is the sum of the singular values of AB', and also of the roots of the eigenvalues of
    AC2A'. Eigenvalues are fast, but the root of one near 0 has half its digits; where that could
    show (fewer clips than features, repeated or constant features, nearly equal sets) the singular
    values are taken, with factors A and B got from the features themselves.

    A result within rounding of its terms (1e-13 of their sum) is given as 0.

    Args:
        generated: features (n, d), any float type, or their `Moments`. Moments cannot tell a
            variance under about 1e-13 of the greatest from 0; features can.
        real: the same, (m, d).

    Raises:
        ValueError: fewer than two rows, unlike widths, or rows that are not finite.
    """
    a, b = _Side.of(generated, "generated"), _Side.of(real, "real")
    _same_width(len(a.mean), len(b.mean))
    terms = float(np.square(a.mean - b.mean).sum() + a.variance + b.variance)
    if min(a.count, b.count) > len(a.mean):
        root, doubt = _by_eigenvalues(a.covariance(), b.covariance())
        value = terms - 2 * root
        if 2 * doubt <= 1e-8 * value:
            return value
    value = terms - 2 * _nuclear(a.factor(), b.factor())
    return value if value > 1e-13 * terms else 0.0


@dataclass(frozen=True)
class _Side:
    """One set: its mean, its total variance, and rows (centred) or a covariance, as it came."""

    count: int
    mean: Array
    variance: float
    rows: Array | None
    given: Array | None

    @classmethod
    def of(cls, side: Side, name: str) -> _Side:
        if isinstance(side, Moments):
            given = side.covariance
            return cls(side.count, side.mean, float(np.trace(given)), None, given)
        rows = checked(side, name)
        mean = rows.mean(0)
        rows = rows - mean
        rows /= np.sqrt(len(rows) - 1)
        return cls(len(rows), mean, float(np.vdot(rows, rows)), rows, None)

    def covariance(self) -> Array:
        if self.given is not None:
            return self.given
        assert self.rows is not None
        return np.asarray(self.rows.T @ self.rows)

    def factor(self) -> Array:
        """F (at most d, d) with F'F the covariance."""
        if self.rows is not None:
            tall = len(self.rows) > self.rows.shape[1]
            return np.asarray(np.linalg.qr(self.rows, mode="r")) if tall else self.rows
        assert self.given is not None
        values, vectors = np.linalg.eigh(self.given)
        # Below this is rounding, whose root would be a hundred-millionth, not nothing.
        kept = values > len(values) * _EPS * max(values[-1], 0.0)
        return np.asarray(np.sqrt(values[kept])[:, None] * vectors[:, kept].T)


def _by_eigenvalues(first: Array, second: Array) -> tuple[float, float]:
    """The trace of (C1 C2)^(1/2) from the eigenvalues of L'C2L with C1 = LL', and how far off.

    A change E of C1 changes the trace by at most |E| |C2| sum(1 / s) / 2 to first order, s the
    roots summed, and likewise for C2. Roundings differ in sign, so the 1 / s are summed in
    quadrature, which is less by sqrt(d) at most. Infinitely far where C1 is not positive definite.
    """
    lower, failed = torch.linalg.cholesky_ex(torch.from_numpy(first))
    if int(failed):
        return 0.0, float("inf")
    root = lower.numpy()
    product = torch.from_numpy(_between(root, second))
    values = torch.linalg.eigvalsh(product, UPLO="L").numpy()
    if values[0] <= 0:
        return 0.0, float("inf")
    singular = np.sqrt(values)
    change = 8 * _EPS * np.linalg.norm(first) * np.linalg.norm(second)
    return float(singular.sum()), float(change * np.sqrt((1 / values).sum()) / 2)


def _between(lower: Array, middle: Array) -> Array:
    """The lower triangle of L'ML for a lower triangular L and symmetric M, at half the work."""
    half, product = np.empty_like(middle), np.zeros_like(middle)
    blocks = [slice(start, start + 256) for start in range(0, len(lower), 256)]
    for block in blocks:
        half[:, block] = middle[:, block.start :] @ lower[block.start :, block]
    for block in blocks:
        rows = lower[block.start :, block].T
        product[block, : block.stop] = rows @ half[block.start :, : block.stop]
    return product


def _nuclear(a: Array, b: Array) -> float:
    """Sum of the singular values of a @ b.T."""
    if not (len(a) and len(b)):
        return 0.0
    return float(np.linalg.svd(a @ b.T, compute_uv=False).sum())


@dataclass(frozen=True)
class Extrapolation:
    """A Frechet distance at infinite sample size.

    Attributes:
        value: the distance where 1/N is 0; may fall below 0 by chance where the sets are alike.
        slope: of the distance over 1/N; slope / N is the bias at N clips.
        sizes: numbers of generated clips, from half to all.
        distances: at each size, means over the draws.
    """

    value: float
    slope: float
    sizes: tuple[int, ...]
    distances: tuple[float, ...]


def extrapolated(
    generated: npt.ArrayLike, real: Side, points: int = 6, draws: int = 5, seed: int = 0
) -> Extrapolation:
    """The Frechet distance at several sizes N, as a line over 1/N, where 1/N is 0 (Chong and
    Forsyth 2020, "Effectively unbiased FID and Inception Score").

    Sizes are evenly spaced from half of the clips to all of them, each the mean of several draws
    without replacement, a function of `seed`. Real features are thinned in the same shares, so
    that the bias of both sides is taken off (the paper keeps the real side whole). Real `Moments`
    cannot be thinned: their side's bias stays.

    The bias is a line over 1/N only where covariances are far from singular, so the smallest draw
    from each thinned side must hold twice as many clips as there are features: n >= 4 d. There, of
    the bias of Gaussians with equal variances, about a fiftieth is left, a tenth with `Moments`.

    Raises:
        ValueError: fewer clips than that, fewer than two points or one draw; or as `frechet`.
    """
    made = checked(generated, "generated")
    true = None if isinstance(real, Moments) else checked(real, "real")
    if points < 2 or draws < 1:
        raise ValueError(f"2 or more points and 1 or more draws, not {points} and {draws}")
    least = 4 * made.shape[1]
    fewest = len(made) if true is None else min(len(made), len(true))
    if fewest < least:
        raise ValueError(
            f"{least} or more clips are needed to extrapolate with {made.shape[1]} features,"
            f" not {fewest}"
        )
    sizes: list[int] = []
    distances: list[float] = []
    for share in np.linspace(0.5, 1, points):
        found = []
        for draw in range(draws if share < 1 else 1):
            few = _draw(made, share, seed, "generated", len(sizes), draw)
            others = real if true is None else _draw(true, share, seed, "real", len(sizes), draw)
            found.append(frechet(few, others))
        sizes.append(len(few))
        distances.append(float(np.mean(found)))
    slope, value = np.polyfit(1 / np.asarray(sizes), distances, 1)
    return Extrapolation(float(value), float(slope), tuple(sizes), tuple(distances))


def _draw(rows: Array, share: float, *parts: int | str) -> Array:
    order = permutation(len(rows), *parts).numpy()
    return np.asarray(rows[order[: round(share * len(rows))]])


def expected_bias(real: Side, count: int, draws: int = 10, seed: int = 0) -> float:
    """The Frechet distance to expect between `count` clips and the real ones if both came from
    the same source: what a distance owes to too few clips.

    From features: the mean over seeded `draws` of the distance between min(count, n // 2) real
    clips and the other real ones, times the ratio of 1/a + 1/b (a and b the clips on either side)
    from those numbers to `count` and n. That the bias goes with 1/a + 1/b is exact to first order,
    so the ratio is only a guide where clips are fewer than features. Clips must be independent:
    windows of one video are not, and give too small a bias.

    From `Moments`: the first order for Gaussian features with eigenvalues l of their covariance,
    (1/count + 1/n) (5/4 sum_i l_i + 1/2 sum_ij l_i l_j / (l_i + l_j)): the expected squared error
    of the mean, plus that of the covariance in the metric that the distance is near 0.

    Raises:
        ValueError: fewer than four real clips, `count` or `draws` too small; or as `frechet`.
    """
    if count < 2 or draws < 1:
        raise ValueError(f"2 or more clips and 1 or more draws are needed, not {count} and {draws}")
    if isinstance(real, Moments):
        scale = 1 / count + 1 / real.count
        values = np.linalg.eigvalsh(real.covariance).clip(0)
        sums = np.add.outer(values, values)
        pairs = np.outer(values, values) / np.where(sums > 0, sums, 1)
        return float(scale * (1.25 * values.sum() + pairs.sum() / 2))
    rows = checked(real, "real", 4)
    few, found = min(count, len(rows) // 2), []
    for draw in range(draws):
        mixed = rows[permutation(len(rows), seed, "bias", draw).numpy()]
        found.append(frechet(mixed[:few], mixed[few:]))
    ratio = (1 / count + 1 / len(rows)) / (1 / few + 1 / (len(rows) - few))
    return float(np.mean(found) * ratio)
