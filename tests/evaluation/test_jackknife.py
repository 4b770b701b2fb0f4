from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from muybridge.evaluation.jackknife import Index, numbered, side, variance


@given(st.lists(st.integers(0, 9), min_size=2, max_size=60), st.integers(2, 16), st.integers(0, 5))
def test_owners_stay_together_in_groups(owners: list[int], groups: int, seed: int) -> None:
    if len(set(owners)) < 2:
        with pytest.raises(ValueError, match="two or more owners"):
            side(len(owners), owners, groups, seed)
        return
    found = side(len(owners), owners, groups, seed)
    assert found.groups == min(groups, len(set(owners)))
    homes = {owner: {int(g) for g, o in zip(found.group, owners, strict=True) if o == owner}
             for owner in owners}  # fmt: skip
    assert all(len(home) == 1 for home in homes.values())
    assert found.shares.sum() == pytest.approx(1) and found.shares.min() > 0
    for g in range(found.groups):
        assert sorted([*found.without(g), *np.flatnonzero(found.group == g)]) == list(
            range(len(owners))
        )
    # The largest and smallest group differ by no more than one owner's clips.
    largest = max(owners.count(o) for o in owners)
    assert np.ptp(found.shares) * len(owners) <= largest + 1e-9


def test_without_owners_groups_are_of_like_size_and_drawn_by_seed() -> None:
    one, again, other = side(70, None, 16, 3), side(70, None, 16, 3), side(70, None, 16, 4)
    assert set(np.bincount(one.group)) == {4, 5}
    assert np.array_equal(one.group, again.group) and not np.array_equal(one.group, other.group)


def test_owners_may_be_anything_but_too_few() -> None:
    assert numbered(["b", "a", "b", None], 4).tolist() == [0, 1, 0, 2]
    with pytest.raises(ValueError, match="3 owners of 4 clips"):
        numbered([1, 2, 3], 4)


def test_the_error_of_means_is_the_textbook_one() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=20), random.exponential(size=30)

    def difference(kept: list[Index]) -> float:
        return float(x[kept[0]].mean() - y[kept[1]].mean())

    found = variance(difference, [side(20, None, 99, 0), side(30, None, 99, 1)])
    parts = x.var(ddof=1) / 20, y.var(ddof=1) / 30
    assert found.value == x.mean() - y.mean()
    assert found.error**2 == pytest.approx(sum(parts))
    # Welch's degrees of freedom, fewer for tails heavier than the normal distribution's.
    freedoms = [
        1 / (1 / (len(z) - 1) + max(0, stats.kurtosis(z, bias=False)) / len(z)) for z in (x, y)
    ]
    assert freedoms[1] < 25
    assert found.freedom == pytest.approx(
        sum(parts) ** 2 / (parts[0] ** 2 / freedoms[0] + parts[1] ** 2 / freedoms[1])
    )
    assert found.bias == pytest.approx(0, abs=1e-12)


def test_bias_of_order_one_over_n_is_found() -> None:
    x = np.random.default_rng(1).normal(size=25)
    found = variance(lambda kept: float(x[kept[0]].var()), [side(25, None, 99, 0)])
    assert found.value - found.bias == pytest.approx(x.var(ddof=1))


def test_groups_of_unlike_sizes_do_not_spoil_the_error() -> None:
    """Owners of 1 to 7 clips that are alike: the error is that of owners, not of clips."""
    random = np.random.default_rng(2)
    owners = np.repeat(np.arange(24), np.tile([1, 3, 7], 8))
    drawn = random.normal(size=(400, 24))[:, owners]
    squares = [
        variance(lambda kept, x=x: float(x[kept[0]].mean()), [side(len(x), owners, 99, 0)]).error
        ** 2
        for x in drawn
    ]
    assert np.mean(squares) == pytest.approx((np.bincount(owners) ** 2).sum() / 88**2, rel=0.15)


def test_what_pairs_of_clips_add_is_not_counted_twice() -> None:
    """Of products of mean-zero clips all variance comes of pairs; left to itself the jackknife
    would have it doubled."""
    random = np.random.default_rng(3)
    values, squares = [], []
    for _ in range(400):
        x = random.normal(size=(32, 6))

        def inner(kept: list[Index], x: np.ndarray = x) -> float:
            y, n = x[kept[0]], len(kept[0])
            return float((np.square(y.sum(0)).sum() - np.square(y).sum()) / n / (n - 1))

        found = variance(inner, [side(32, None, 32, 0)])
        values.append(found.value)
        squares.append(found.error**2)
    assert 1 < np.mean(squares) / np.var(values) < 1.6


def test_a_statistic_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[4, 5\] clips is nan"):
        variance(
            lambda kept: float("nan") if len(kept[0]) < 5 else 1.0,
            [side(5, None, 5, 0), side(5, None, 5, 0)],
        )
