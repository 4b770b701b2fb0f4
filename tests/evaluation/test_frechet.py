from __future__ import annotations

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from muybridge.evaluation.frechet import (
    Moments,
    expected_bias,
    extrapolated,
    frechet,
)

Array = npt.NDArray[np.float64]
SEEDS = st.integers(0, 2**32 - 1)


def samples(mean: Array, covariance: Array, count: int, seed: int) -> Array:
    """Samples whose mean and covariance (over n - 1) are exactly these."""
    noise = np.random.default_rng(seed).standard_normal((count, len(mean)))
    columns = np.linalg.qr(noise - noise.mean(0))[0]
    return np.asarray(mean + columns @ np.linalg.cholesky(covariance).T * np.sqrt(count - 1))


def rotation(size: int, seed: int) -> Array:
    return np.asarray(np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0])


def moments(*parts: Array) -> Moments:
    found = Moments(parts[0].shape[1])
    for part in parts:
        found.update(part)
    return found


def in_extended_precision(first: Array, second: Array) -> float:
    """The formula as it is written, to sixty digits, square roots of matrices by eigenvalues."""
    with mpmath.workdps(60):
        means, covariances = [], []
        for features in (first, second):
            rows = mpmath.matrix(features.tolist())
            ones = mpmath.ones(1, rows.rows)
            mean = ones * rows / rows.rows
            centred = rows - ones.T * mean
            means.append(mean)
            covariances.append(centred.T * centred / (rows.rows - 1))
        one, two = covariances
        values, vectors = mpmath.mp.eigsy(one)
        roots = [mpmath.sqrt(max(value, 0)) for value in values]
        root = vectors * mpmath.diag(roots) * vectors.T
        middle = mpmath.mp.eigsy(root * two * root, eigvals_only=True)
        gap = means[0] - means[1]
        total = sum(one[i, i] + two[i, i] + gap[i] ** 2 for i in range(len(gap)))
        return float(total - 2 * sum(mpmath.sqrt(max(value, 0)) for value in middle))


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
    assert frechet(moments(first), second) == pytest.approx(expected, rel=1e-9)
    assert frechet(moments(first), moments(second)) == pytest.approx(expected, rel=1e-9)


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


@pytest.mark.parametrize("power", [0, 0.5, 1, 2])
def test_wide_features_agree_with_a_matrix_square_root(power: float) -> None:
    # As wide as is quick; variances fall as i^-2p, as those of networks do, and along other axes.
    random, size = np.random.default_rng(3), 300
    spread = np.arange(1.0, size + 1) ** -power
    first, second = (
        random.normal(size=(700, size)) * spread @ rotation(size, seed) for seed in (1, 2)
    )
    root = scipy.linalg.sqrtm(np.cov(first.T) @ np.cov(second.T))
    expected = np.square(first.mean(0) - second.mean(0)).sum() - 2 * np.trace(root).real
    expected += np.trace(np.cov(first.T)) + np.trace(np.cov(second.T))
    assert frechet(first, second) == pytest.approx(expected, rel=1e-6)
    assert frechet(moments(first), moments(second)) == pytest.approx(expected, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(2, 7), st.integers(2, 7), st.integers(1, 9))
def test_fewer_clips_than_features(seed: int, n: int, m: int, size: int) -> None:
    random = np.random.default_rng(seed)
    first, second = random.normal(size=(n, size)), 2 * random.normal(size=(m, size)) + 0.3
    expected = in_extended_precision(first, second)
    assert frechet(first, second) == pytest.approx(expected, rel=1e-9)
    assert frechet(moments(first), moments(second)) == pytest.approx(expected, rel=1e-9)
    assert frechet(first, moments(second)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_moments_of_many_parts_and_fewer_clips_than_features(offset: float) -> None:
    random = np.random.default_rng(9)
    first, second = random.normal(size=(60, 80)) + offset, random.normal(size=(150, 80)) + offset
    found = frechet(moments(*np.split(first, 60)), moments(*np.split(second, 30)))
    assert found == pytest.approx(frechet(first, second), rel=1e-9)


def degenerate(kind: str) -> tuple[Array, Array]:
    random = np.random.default_rng(8)
    first, second = random.normal(size=(12, 5)), 1.5 * random.normal(size=(10, 5)) + 0.2
    if kind == "repeated rows":
        first = np.repeat(first[:3], 4, 0)
    elif kind == "a constant feature":
        first[:, 2], second[:, 2] = 0.1, 0.3
    elif kind == "constant on one side":
        first[:, 2] = 0.1
    elif kind == "a feature twice":
        first[:, 4], second[:, 4] = first[:, 0], second[:, 0]
    elif kind == "all rows alike":
        first[:] = first[0]
    elif kind == "one wide, one tall":
        second = second[:3]
    elif kind == "scales far apart":
        first *= 10.0 ** -np.arange(0, 10, 2)
        second *= 10.0 ** -np.arange(0, 10, 2)[::-1]
    elif kind == "nearly singular":
        first[:, 4] = first[:, 0] + 1e-9 * first[:, 4]
    elif kind == "far from 0":
        first, second = first + 1e6, second + 1e6
    return first, second


@pytest.mark.parametrize(
    "kind",
    [
        "plain",
        "repeated rows",
        "a constant feature",
        "constant on one side",
        "a feature twice",
        "all rows alike",
        "one wide, one tall",
        "scales far apart",
        "nearly singular",
        "far from 0",
    ],
)
def test_degenerate_features_agree_with_extended_precision(kind: str) -> None:
    first, second = degenerate(kind)
    expected = in_extended_precision(first, second)
    assert frechet(first, second) == pytest.approx(expected, rel=1e-9)
    assert frechet(second, first) == pytest.approx(expected, rel=1e-9)
    # Of a covariance with 1e-18 in it, 1e-9 is left when its root is taken.
    assert frechet(moments(first), moments(second)) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("step", [1e-2, 1e-4])
def test_small_distances_keep_their_digits(step: float) -> None:
    # Shrunk about the mean by 1 - step: the distance is step^2 of the variance.
    features = np.random.default_rng(2).normal(size=(60, 20))
    shrunk = features.mean(0) + (1 - step) * (features - features.mean(0))
    expected = step**2 * features.var(0, ddof=1).sum()
    assert frechet(shrunk, features) == pytest.approx(expected, rel=1e-6)


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


@given(SEEDS, st.integers(2, 40), st.integers(1, 20), st.sampled_from([1e-6, 1.0, 1e6]))
def test_identical_sets_are_at_zero(seed: int, n: int, size: int, scale: float) -> None:
    random = np.random.default_rng(seed)
    features = scale * random.normal(size=(n, size)) * random.uniform(0, 1, size) ** 9
    assert frechet(features, features) == 0
    assert frechet(features, random.permutation(features)) == 0
    assert frechet(moments(features), moments(features)) == 0
    assert frechet(moments(features[:1], features[1:]), features) == pytest.approx(
        0, abs=1e-12 * scale**2
    )


@pytest.mark.parametrize("n", [100, 900])
def test_identical_wide_sets_are_at_zero(n: int) -> None:
    features = np.random.default_rng(n).normal(size=(n, 600)).astype(np.float32)
    features[1] = features[0]
    features[:, 7] = 3
    assert frechet(features, features) == 0
    assert frechet(features, np.repeat(features, 2, 0)[::2]) == 0


def test_single_precision_is_computed_in_double() -> None:
    random = np.random.default_rng(0)
    features = (1000 + random.normal(size=(40, 6))).astype(np.float32)
    other = (1000 + random.normal(size=(40, 6))).astype(np.float32)
    expected = frechet(features.astype(np.float64), other.astype(np.float64))
    assert frechet(features, other) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (np.zeros((3, 2)), np.zeros((3, 4)), "widths 2 and 4"),
        (np.zeros(3), np.zeros((3, 1)), r"generated features have shape \(3,\)"),
        (np.zeros((3, 0)), np.zeros((3, 0)), "shape"),
        (np.zeros((1, 2)), np.zeros((3, 2)), "generated clips are needed, not 1"),
        (np.zeros((3, 2)), np.zeros((0, 2)), "real clips are needed, not 0"),
        (np.array([[0.0], [np.nan]]), np.zeros((3, 1)), "1 of 2 rows of generated"),
        (np.zeros((3, 1)), np.array([[np.inf], [0], [-np.inf]]), "2 of 3 rows of real"),
    ],
)
def test_features_that_cannot_be_compared(first: Array, second: Array, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        frechet(first, second)


@pytest.mark.parametrize("made", [Moments(3), moments(np.ones((1, 3)))])
def test_moments_of_no_or_one_clip_have_no_distance(made: Moments) -> None:
    with pytest.raises(ValueError, match=f"not {made.count}"):
        frechet(made, np.zeros((4, 3)))


@given(SEEDS, st.lists(st.integers(0, 7), min_size=1, max_size=6), st.sampled_from([0.0, 1e7]))
def test_moments_add_up_over_chunks_and_ranks(seed: int, counts: list[int], offset: float) -> None:
    rows = np.random.default_rng(seed).normal(size=(sum(counts) + 2, 3))
    parts = np.split(rows + offset, np.cumsum(counts))
    streamed, merged = moments(*parts), Moments(3)
    for part in parts:
        merged.merge(moments(part))
    for found in (streamed, merged):
        assert found.count == len(rows)
        np.testing.assert_allclose(found.mean - offset, rows.mean(0), rtol=0, atol=1e-8)
        # Sums of raw squares would have no digit left at 1e7: 1e14 * eps is 0.02.
        np.testing.assert_allclose(found.covariance, np.cov(rows.T), rtol=0, atol=1e-7)


def test_merging_leaves_the_other_as_it_was() -> None:
    one, other = moments(np.eye(3)), moments(2 * np.eye(3))
    mean, scatter = other.mean.copy(), other.scatter.copy()
    one.merge(other)
    one.update(np.ones((4, 3)))
    assert other.count == 3
    np.testing.assert_array_equal(other.mean, mean)
    np.testing.assert_array_equal(other.scatter, scatter)


def test_moments_refuse_what_does_not_fit() -> None:
    found = moments(np.eye(3))
    with pytest.raises(ValueError, match="widths"):
        found.update(np.eye(2))
    with pytest.raises(ValueError, match="widths"):
        found.merge(moments(np.eye(2)))
    with pytest.raises(ValueError, match="1 of 2 rows"):
        found.update([[0, 0, np.nan], [0, 0, 0]])
    assert found.count == 3
    np.testing.assert_array_equal(found.covariance, np.cov(np.eye(3)))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("size", [8, 20])
def test_extrapolation_is_nearer_the_truth(size: int, stream: bool) -> None:
    # As few clips as the rule allows: the plain distance is far above the truth.
    truth, count, plain, found = 0.5 + 0.04 * size, 4 * size, [], []
    for seed in range(60):
        random = np.random.default_rng(seed)
        made = 1.2 * random.normal(size=(count, size)) + (0.5 / size) ** 0.5
        real: Array | Moments = random.normal(size=(count, size))
        if stream:  # known, so that the generated side alone has a bias
            real = moments(samples(np.zeros(size), np.eye(size), 1000, seed))
        plain.append(frechet(made, real) - truth)
        found.append(extrapolated(made, real, points=3, draws=3, seed=seed).value - truth)
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(plain) > 0.7 * truth
    assert abs(np.mean(found)) < 0.15 * np.mean(plain) + 2 * error < 0.5 * np.mean(plain)
    assert np.mean(np.abs(found)) < 0.7 * np.mean(np.abs(plain))


def test_an_extrapolation_is_a_line_over_its_sizes_and_a_function_of_its_seed() -> None:
    random = np.random.default_rng(0)
    made, real = random.normal(size=(41, 3)), random.normal(size=(30, 3))
    found = extrapolated(made, real)
    assert found == extrapolated(made, real)
    assert found != extrapolated(made, real, seed=1)
    assert found.sizes == (20, 25, 29, 33, 37, 41)
    assert found.distances[-1] == pytest.approx(frechet(made, real), rel=1e-12)
    design = np.stack([np.ones(6), 1 / np.array(found.sizes)], 1)
    line = np.linalg.lstsq(design, np.array(found.distances), rcond=None)[0]
    assert [found.value, found.slope] == pytest.approx(line.tolist(), rel=1e-9)


def test_too_few_clips_are_not_extrapolated() -> None:
    few = np.random.default_rng(0).normal(size=(19, 5))
    many = np.tile(few, (9, 1))
    with pytest.raises(ValueError, match=r"20 or more clips .* 5 features, not 19"):
        extrapolated(few, many)
    with pytest.raises(ValueError, match="20 or more clips"):
        extrapolated(many, few)
    with pytest.raises(ValueError, match="2 or more points"):
        extrapolated(many, many, points=1)


@pytest.mark.parametrize("count", [30, 200, 900])
def test_the_expected_bias_is_the_distance_of_clips_of_one_source(count: int) -> None:
    spread, n = np.array([3, 2, 1, 1, 1, 0.5, 0.5, 0.1]), 200
    random = np.random.default_rng(count)
    told, predicted, met = [], [], []
    for _ in range(60):
        real = random.normal(size=(n, 8)) * spread
        told.append(expected_bias(real, count, draws=4))
        predicted.append(expected_bias(moments(real), count))
        met.append(frechet(random.normal(size=(count, 8)) * spread, real))
    error = np.std(met) / np.sqrt(len(met)) / np.mean(met)
    assert error < 0.07
    assert np.mean(told) == pytest.approx(np.mean(met), rel=0.05 + 3 * error)
    assert np.mean(predicted) == pytest.approx(np.mean(met), rel=0.05 + 3 * error)


def test_the_first_order_of_the_bias_in_one_dimension() -> None:
    # Variance v: v for the mean and v / 2 for the deviation, over both counts.
    real = moments(samples(np.zeros(1), np.array([[4.0]]), 50, 0))
    assert expected_bias(real, 25) == pytest.approx((4 + 2) * (1 / 25 + 1 / 50))


def test_heavy_tails_raise_the_bias_of_features_as_they_raise_the_distance() -> None:
    random = np.random.default_rng(0)
    real = random.standard_t(5, size=(400, 6))
    assert expected_bias(real, 100) > 1.15 * expected_bias(moments(real), 100)


def test_an_expected_bias_needs_clips() -> None:
    with pytest.raises(ValueError, match="4 or more real clips"):
        expected_bias(np.eye(3), 10)
    with pytest.raises(ValueError, match="not 1 and 10"):
        expected_bias(np.eye(5), 1)
