from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from muybridge.evaluation.intervals import (
    Kind,
    mean_interval,
    mean_of,
    share_interval,
    statistic_interval,
    wilson,
)

Array = npt.NDArray[np.float64]
SIMULATIONS = 2000


def covered(ends: list[tuple[float, float]], target: float) -> float:
    """Percent of intervals that hold the target."""
    low, high = np.array(ends).T
    return 100 * float(((low <= target) & (target <= high)).mean())


# Means.


def test_of_symmetric_values_it_is_students_interval() -> None:
    x = np.array([-4.0, -1.0, -0.5, 0.5, 1.0, 4.0]) + 3
    expected = stats.t.interval(0.95, 5, x.mean(), stats.sem(x))
    assert mean_interval(x) == pytest.approx(expected)


def test_skewed_values_reach_further_on_their_long_side() -> None:
    x = np.array([1.0, 1.1, 1.2, 1.3, 1.5, 2.0, 3.0, 6.0])
    low, high = mean_interval(x)
    assert high - x.mean() > 2 * (x.mean() - low)
    mirrored = mean_interval(-x)
    assert mirrored == pytest.approx((-high, -low))
    assert mean_interval(3 * x + 5) == pytest.approx((3 * low + 5, 3 * high + 5))


def test_equal_owners_count_by_their_means() -> None:
    x = np.random.default_rng(0).exponential(size=(9, 4))
    owners = np.repeat(list("abcdefghi"), 4)
    assert mean_interval(x.ravel(), owners) == pytest.approx(mean_interval(x.mean(1)))
    assert mean_interval(x[:, 0], list(range(9))) == mean_interval(x[:, 0])


@given(st.lists(st.integers(1, 6), min_size=2, max_size=12))
def test_degrees_of_freedom_follow_how_alike_owners_are_in_size(sizes: list[int]) -> None:
    owners = np.repeat(np.arange(len(sizes)), sizes)
    random = np.random.default_rng(0)
    found = mean_of(random.normal(size=len(owners)), owners)
    # The quadratic form of owners' means written out.
    weight = np.array(sizes) / sum(sizes)
    rows = weight[:, None] * (np.eye(len(sizes)) - weight)
    rows /= np.sqrt(1 - 2 * weight + np.square(weight).sum())[:, None]
    form = rows.T @ rows
    expected = np.trace(form) ** 2 / np.trace(form @ form)
    assert found.freedom == pytest.approx(max(1, expected))
    assert 1 <= found.freedom <= len(sizes) - 1 + 1e-9
    assert np.trace(form) == pytest.approx(np.square(weight).sum())


DRAWS: dict[str, tuple[Callable[[np.random.Generator, int], Array], float, int]] = {
    "normal": (lambda random, n: random.standard_normal(n), 0.0, 8),
    "uniform": (lambda random, n: random.random(n), 0.5, 12),
    "exponential": (lambda random, n: random.exponential(1, n), 1.0, 12),
    "log-normal": (
        lambda random, n: np.exp(random.standard_normal(n) / 2),
        float(np.exp(1 / 8)),
        8,
    ),
}


@pytest.mark.parametrize("name", DRAWS)
def test_intervals_of_means_cover(name: str) -> None:
    draw, target, n = DRAWS[name]
    random = np.random.default_rng(10)
    assert 92 <= covered([mean_interval(draw(random, n)) for _ in range(SIMULATIONS)], target) <= 98


def test_intervals_of_means_cover_where_clips_have_owners() -> None:
    random = np.random.default_rng(11)
    owners = np.repeat(np.arange(12), [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6])
    drawn = [
        random.standard_normal(12)[owners] + random.standard_normal(len(owners))
        for _ in range(SIMULATIONS)
    ]
    assert 92 <= covered([mean_interval(x, owners) for x in drawn], 0.0) <= 98
    # As if each clip stood for itself it would not.
    assert covered([mean_interval(x) for x in drawn], 0.0) < 85


@pytest.mark.parametrize("values", [[], [1.0], [1.0, np.nan], [[1.0, 2.0]]])
def test_what_has_no_interval_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"interval|mean"):
        mean_interval(values)
    with pytest.raises(ValueError, match="two or more owners"):
        mean_interval([1.0, 2.0], ["a", "a"])


# Shares.


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(81, 263, 25.53, 36.62), (15, 148, 6.24, 16.05), (0, 20, 0, 16.11), (1, 29, 0.61, 17.18)],
)
def test_intervals_of_shares_are_the_published_ones(
    hits: int, count: int, low: float, high: float
) -> None:
    assert wilson(hits / count, count) == pytest.approx((low, high), abs=0.006)
    assert wilson(1 - hits / count, count) == pytest.approx((100 - high, 100 - low), abs=0.006)
    assert share_interval(hits, count) == pytest.approx((low / 100, high / 100), abs=6e-5)
    each = np.arange(count) < hits
    assert share_interval(each) == share_interval(hits, count)


def test_intervals_of_shares_cover_on_average() -> None:
    """Exactly, over all outcomes, for even shares from 2 to 98 %."""
    for count in (8, 20, 100):
        ends = np.array([share_interval(hits, count) for hits in range(count + 1)])
        shares = np.linspace(0.02, 0.98, 97)
        held = (ends[:, :1] <= shares) & (shares <= ends[:, 1:])
        chance = stats.binom.pmf(np.arange(count + 1)[:, None], count, shares)
        covers = 100 * (held * chance).sum(0)
        assert 94 <= covers.mean() <= 97
        if count >= 20:
            assert covers[(shares >= 0.1) & (shares <= 0.9)].min() > 91.5


def test_intervals_of_shares_cover_where_clips_have_owners() -> None:
    random = np.random.default_rng(12)
    owners = np.repeat(np.arange(16), 8)
    of_owner = random.beta(0.6, 1.4, (SIMULATIONS, 16))
    drawn = random.random((SIMULATIONS, 128)) < of_owner[:, owners]
    assert 92 <= covered([share_interval(hits, owners=owners) for hits in drawn], 0.3) <= 98
    assert covered([share_interval(hits) for hits in drawn], 0.3) < 80


def test_where_all_clips_hit_owners_are_what_counts() -> None:
    owners = np.repeat(np.arange(5), 20)
    low, high = share_interval(np.ones(100), owners=owners)
    assert high == 1 and low == pytest.approx(5 / (5 + stats.t.ppf(0.975, 4) ** 2))
    assert low < share_interval(100, 100)[0]


@pytest.mark.parametrize(
    ("hits", "count", "owners"),
    [(3, 2, None), (-1, 2, None), (0, 0, None), (3, None, None), ([1, 0], 2, None), (1, 2, [0, 1]),
     ([1, 2], None, None), ([], None, None)],
)  # fmt: skip
def test_what_is_no_share_is_refused(hits: int, count: int | None, owners: list[int]) -> None:
    with pytest.raises(ValueError, match="hits"):
        share_interval(hits, count, owners)


# Statistics of two sets.


def frechet(a: Array, b: Array, of_a: Array, of_b: Array) -> Array:
    """Of two features, by the closed form of the root of 2 x 2 matrices."""
    (x, first), (y, second) = _moments(a, of_a), _moments(b, of_b)
    both = np.linalg.det(first).clip(0) * np.linalg.det(second).clip(0)
    root = np.sqrt(np.trace(first @ second, axis1=1, axis2=2) + 2 * np.sqrt(both))
    traces = np.trace(first + second, axis1=1, axis2=2)
    return np.asarray(np.square(x - y).sum(1) + traces - 2 * root)


def linear_kernel(a: Array, b: Array, of_a: Array, of_b: Array) -> Array:
    """Unbiased squared distance of means: negative half of the time where they are equal."""
    (x, first), (y, second) = _moments(a, of_a), _moments(b, of_b)
    noise = [np.trace(c, axis1=1, axis2=2) / w.sum(1) for c, w in ((first, of_a), (second, of_b))]
    return np.asarray(np.square(x - y).sum(1) - noise[0] - noise[1])


def _moments(x: Array, weights: Array) -> tuple[Array, Array]:
    count = weights.sum(1)
    mean = weights @ x / count[:, None]
    products = weights @ (x[:, :, None] * x[:, None]).reshape(len(x), -1)
    scatter = products.reshape(-1, 2, 2) - count[:, None, None] * mean[:, :, None] * mean[:, None]
    return mean, scatter / (count - 1)[:, None, None]


GROUPS = 8


def asked(n: int, owners: Array | None) -> list[Array]:
    """Which clips count each time a statistic is asked for, (times, n) on each side."""
    sets: list[tuple[Array, Array]] = []

    def record(i: Array, k: Array) -> float:
        sets.append((i, k))
        return 0.0

    statistic_interval(record, np.arange(n), np.arange(n), None, owners, groups=GROUPS)
    out = [np.zeros((len(sets), n)) for _ in range(2)]
    for number, side in itertools.product(range(len(sets)), range(2)):
        out[side][number, sets[number][side]] = 1
    return out


@pytest.mark.parametrize(
    ("statistic", "kind", "scale", "shift", "each"),
    [(frechet, "distance", 1.0, 0.6, 1), (frechet, "distance", 1.0, 0.6, 2),
     (linear_kernel, "signed", 1.0, 0.6, 1)],
)  # fmt: skip
def test_intervals_of_statistics_cover_their_average(
    statistic: Callable[..., Array], kind: Kind, scale: float, shift: float, each: int
) -> None:
    random, n = np.random.default_rng(13), 64
    owners = np.arange(n) // each if each > 1 else None
    left_out, ends, values = asked(n, owners), [], []
    for _ in range(SIMULATIONS):
        a = scale * random.exponential(1, (n, 2)) + shift
        b = np.repeat(random.exponential(1, (n // each, 2)), each, axis=0)
        b += 0.1 * random.standard_normal(b.shape)
        ready: Iterator[float] = iter(statistic(a, b, *left_out))
        found = statistic_interval(
            lambda *_, ready=ready: float(next(ready)), np.arange(n), np.arange(n), None, owners,
            kind=kind, groups=GROUPS,
        )  # fmt: skip
        ends.append(found.interval)
        values.append(found.value)
    assert 92 <= covered(ends, float(np.mean(values))) <= 98


def test_it_is_of_the_average_estimate_and_bias_is_apart() -> None:
    """Equal distributions: their distance is 0, that of so few clips never is."""
    random, every = np.random.default_rng(14), np.ones((1, 24))
    values, biases, lows = [], [], []
    for _ in range(100):
        a, b = random.standard_normal((2, 24, 2))
        found = statistic_interval(
            lambda x, y: float(frechet(x, y, np.ones((1, len(x))), np.ones((1, len(y))))[0]), a, b
        )  # fmt: skip
        assert found.value == pytest.approx(float(frechet(a, b, every, every)[0]))
        values.append(found.value)
        biases.append(found.bias)
        lows.append(found.interval[0])
    assert np.mean(values) > 0.1 and min(lows) >= 0
    assert np.mean(biases) == pytest.approx(np.mean(values), rel=0.2)


def test_more_clips_narrow_it_and_the_seed_fixes_it() -> None:
    random = np.random.default_rng(15)
    a, b = random.standard_normal((2, 400, 1)) + np.array([[[0.5]], [[0.0]]])

    def gap(x: Array, y: Array) -> float:
        return float(abs(x.mean() - y.mean()))

    few, many = (statistic_interval(gap, a[:n], b[:n]) for n in (40, 400))
    assert np.diff(many.interval) < 0.5 * np.diff(few.interval)
    assert statistic_interval(gap, a, b) == many
    assert statistic_interval(gap, a, b, seed=7).interval != many.interval
    # The error of a difference of means is known.
    known = (a.var(ddof=1) / 400 + b.var(ddof=1) / 400) ** 0.5
    exact = statistic_interval(gap, a, b, groups=400)
    assert exact.error == pytest.approx(known)


def test_repeated_windows_widen_it() -> None:
    random = np.random.default_rng(16)
    a, b = random.standard_normal((64, 1)) + 1, np.repeat(random.standard_normal((16, 1)), 4, 0)

    def gap(x: Array, y: Array) -> float:
        return float(x.mean() - y.mean())

    blind = statistic_interval(gap, a, b, kind="signed")
    seeing = statistic_interval(gap, a, b, None, np.arange(64) // 4, kind="signed")
    assert seeing.error > 1.3 * blind.error


def test_ends_stay_where_the_statistic_can_be() -> None:
    random = np.random.default_rng(17)
    a, b = random.standard_normal((2, 20, 1))

    def share(x: Array, y: Array) -> float:
        return float((x > y.min() - 9).mean())

    low, high = statistic_interval(share, a, b, kind="share").interval
    # All hit: no error can be seen, yet it is not certain that all others would.
    assert 0.7 < low < 0.9 and high == 1
    low, high = statistic_interval(lambda x, y: float(x.mean() ** 2), a, b).interval
    assert 0 <= low < high
    assert statistic_interval(lambda x, y: 2.0, a, b).interval == (2.0, 2.0)


def test_one_owner_is_too_few() -> None:
    with pytest.raises(ValueError, match="two or more owners"):
        statistic_interval(lambda x, y: 0.0, np.zeros((4, 1)), np.zeros((4, 1)), None, [1] * 4)
