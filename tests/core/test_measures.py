from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st

from muybridge.core.measures import frechet, standard_error

Array = npt.NDArray[np.float64]
SEEDS = st.integers(0, 2**32 - 1)


def samples(mean: Array, covariance: Array, count: int, seed: int) -> Array:
    """Samples whose mean and covariance (over n - 1) are exactly these."""
    noise = np.random.default_rng(seed).standard_normal((count, len(mean)))
    columns = np.linalg.qr(noise - noise.mean(0))[0]
    return np.asarray(mean + columns @ np.linalg.cholesky(covariance).T * np.sqrt(count - 1))


def rotation(size: int, seed: int) -> Array:
    return np.asarray(np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0])


def by_eigenvalues(first: Array, second: Array) -> float:
    """The formula with square roots of matrices by their eigenvalues."""
    a, b = np.cov(first.T).reshape(first.shape[1], -1), np.cov(second.T).reshape(first.shape[1], -1)
    values, vectors = np.linalg.eigh(a)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    middle = np.sqrt(np.linalg.eigvalsh(root @ b @ root).clip(0)).sum()
    gap = first.mean(0) - second.mean(0)
    return float(gap @ gap + np.trace(a) + np.trace(b) - 2 * middle)


@given(SEEDS, st.integers(1, 6), st.integers(8, 20), st.integers(8, 20))
def test_gaussians_that_lie_along_common_axes(seed: int, size: int, n: int, m: int) -> None:
    random = np.random.default_rng(seed)
    means, spreads = random.normal(size=(2, size)), random.uniform(0.2, 3, (2, size))
    turn = rotation(size, seed)
    first, second = (
        samples(mean @ turn.T, turn * spread**2 @ turn.T, count, seed + count)
        for mean, spread, count in zip(means, spreads, (n, m), strict=True)
    )
    expected = np.square(means[0] - means[1]).sum() + np.square(spreads[0] - spreads[1]).sum()
    assert frechet(first, second) == pytest.approx(expected, rel=1e-9)


def test_one_dimension_by_hand() -> None:
    # Means 1 and 5, standard deviations 1 and 3: 16 + 4.
    assert frechet([[0.0], [1.0], [2.0]], [[2.0], [5.0], [8.0]]) == pytest.approx(20)


@pytest.mark.parametrize(("n", "m", "size"), [(50, 60, 8), (400, 90, 33), (70, 500, 64)])
def test_a_matrix_square_root_says_the_same(n: int, m: int, size: int) -> None:
    random = np.random.default_rng(n)
    first = random.normal(size=(n, size)) @ random.normal(size=(size, size)) + 1
    second = random.normal(size=(m, size)) @ random.normal(size=(size, size))
    a, b = np.cov(first.T), np.cov(second.T)
    gap = first.mean(0) - second.mean(0)
    root = scipy.linalg.sqrtm(a @ b)
    expected = gap @ gap + np.trace(a) + np.trace(b) - 2 * np.trace(root).real
    assert frechet(first, second) == pytest.approx(expected, rel=1e-6)


@given(SEEDS, st.integers(2, 9), st.integers(2, 9), st.integers(1, 12))
def test_fewer_clips_than_features(seed: int, n: int, m: int, size: int) -> None:
    random = np.random.default_rng(seed)
    first, second = random.normal(size=(n, size)), 2 * random.normal(size=(m, size)) + 0.3
    expected = by_eigenvalues(first, second)
    assert frechet(first, second) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(SEEDS, st.integers(2, 12), st.integers(2, 12), st.integers(1, 6))
def test_it_is_symmetric_never_negative_and_blind_to_order(
    seed: int, n: int, m: int, size: int
) -> None:
    random = np.random.default_rng(seed)
    first, second = random.normal(size=(n, size)), random.normal(size=(m, size))
    value = frechet(first, second)
    assert value > -1e-9
    assert frechet(second, first) == pytest.approx(value, rel=1e-9, abs=1e-9)
    assert frechet(first[::-1], second) == pytest.approx(value, rel=1e-9, abs=1e-9)
    turn = rotation(size, seed)
    assert frechet(first @ turn + 3, second @ turn + 3) == pytest.approx(value, rel=1e-6, abs=1e-8)
    assert frechet(first * 3, second * 3) == pytest.approx(9 * value, rel=1e-6, abs=1e-8)


@given(SEEDS, st.integers(2, 12), st.integers(1, 20))
def test_identical_sets_are_at_zero(seed: int, n: int, size: int) -> None:
    features = np.random.default_rng(seed).normal(size=(n, size))
    assert frechet(features, features) == pytest.approx(0, abs=1e-9)


def test_single_precision_is_computed_in_double() -> None:
    random = np.random.default_rng(0)
    features = (1000 + random.normal(size=(40, 6))).astype(np.float32)
    other = (1000 + random.normal(size=(40, 6))).astype(np.float32)
    expected = frechet(features.astype(np.float64), other.astype(np.float64))
    assert frechet(features, other) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (np.zeros((3, 2)), np.zeros((3, 4)), "compared"),
        (np.zeros(3), np.zeros(3), "compared"),
        (np.zeros((1, 2)), np.zeros((3, 2)), "two or more"),
        (np.zeros((3, 2)), np.zeros((0, 2)), "two or more"),
        (np.array([[0.0], [np.nan]]), np.zeros((3, 1)), "finite"),
        (np.zeros((3, 1)), np.array([[0.0], [np.inf]]), "finite"),
    ],
)
def test_features_that_cannot_be_compared(first: Array, second: Array, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        frechet(first, second)


def test_the_standard_error_is_the_spread_of_the_draws() -> None:
    assert standard_error([1.0, 2.0, 3.0, 4.0]) == pytest.approx((5 / 3) ** 0.5)
    assert standard_error([1.0]) == 0
    assert standard_error([]) == 0
