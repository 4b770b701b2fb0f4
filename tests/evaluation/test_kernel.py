from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from muybridge.evaluation import kernel
from muybridge.evaluation.kernel import kernel_distance, kernel_distance_of_subsets

Array = npt.NDArray[np.float64]


def by_loops(first: Array, second: Array) -> float:
    def k(x: Array, y: Array) -> float:
        return float((sum(a * b for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3)

    def within(rows: Array) -> float:
        pairs = [k(rows[i], rows[j]) for i in range(len(rows)) for j in range(len(rows)) if i != j]
        return sum(pairs) / len(pairs)

    across = [k(x, y) for x in first for y in second]
    return within(first) + within(second) - 2 * sum(across) / len(across)


@pytest.fixture
def draws() -> tuple[Array, Array]:
    random = np.random.default_rng(0)
    return random.normal(size=(11, 4)), 1.5 * random.normal(size=(7, 4)) + 0.4


@pytest.mark.parametrize("block", [1, 15, 1 << 22])
def test_it_is_the_double_loop_whatever_the_chunks(
    draws: tuple[Array, Array], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "_BLOCK", block)
    assert kernel_distance(*draws) == pytest.approx(by_loops(*draws), rel=1e-12)


def test_by_hand() -> None:
    # k(1, 1) = 8, k(0, 0) = k(0, 1) = 1, k(1, 2) = 27, k(0, 2) = 1: pairs (0, 1) and (2, 2).
    # Within: 1 and 5^3; across: (1 + 1 + 27 + 27) / 4.
    assert kernel_distance([[0.0], [1.0]], [[2.0], [2.0]]) == pytest.approx(1 + 125 - 2 * 14)


def test_it_is_symmetric_and_blind_to_order(draws: tuple[Array, Array]) -> None:
    first, second = draws
    value = kernel_distance(first, second)
    assert kernel_distance(second, first) == pytest.approx(value, rel=1e-12)
    assert kernel_distance(first[::-1], second) == pytest.approx(value, rel=1e-12)


def test_it_is_unbiased_for_clips_of_one_source_of_few_and_unlike_numbers() -> None:
    random = np.random.default_rng(1)
    found = [
        kernel_distance(random.normal(size=(9, 6)), random.normal(size=(14, 6)))
        for _ in range(4000)
    ]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 3 * error
    # Were the pairs of a clip with itself counted, the mean would be above this: E k(x, x) is 8 or
    # more, by Jensen's inequality, and E k(x, y) is 1.5.
    assert 20 * error < (8 - 1.5) * (1 / 9 + 1 / 14)
    assert min(found) < 0


def test_it_is_unbiased_where_the_distance_is_known() -> None:
    # One feature, N(0, 1) and N(1, 1): E k = 1 + 3 E xy + 3 E x^2 E y^2 + E x^3 E y^3.
    truth = (1 + 3) + (1 + 3 + 3 * 4 + 16) - 2 * (1 + 3 * 2)
    random = np.random.default_rng(2)
    found = [
        kernel_distance(random.normal(size=(30, 1)), random.normal(size=(30, 1)) + 1)
        for _ in range(3000)
    ]
    assert np.mean(found) == pytest.approx(truth, abs=3 * np.std(found) / np.sqrt(len(found)))


@pytest.mark.parametrize("change", [lambda x: x + 0.3, lambda x: 1.4 * x, lambda x: abs(x)])
def test_shift_spread_and_skew_are_seen(change: object) -> None:
    random = np.random.default_rng(3)
    real, other, made = random.normal(size=(3, 300, 8))
    floor = abs(kernel_distance(other, real))
    assert kernel_distance(change(made), real) > 10 * floor  # type: ignore[operator]


def test_subsets() -> None:
    random = np.random.default_rng(4)
    made, real = random.normal(size=(60, 3)) + 0.5, random.normal(size=(50, 3))
    mean, deviation = kernel_distance_of_subsets(made, real, size=20, count=200)
    whole = kernel_distance(made, real)
    # One subset's deviation is that of the distance; their mean is the distance over all pairs.
    assert mean == pytest.approx(whole, abs=4 * deviation / np.sqrt(200))
    assert 0.05 * whole < deviation < whole
    assert (mean, deviation) == kernel_distance_of_subsets(made, real, size=20, count=200)
    assert (mean, deviation) != kernel_distance_of_subsets(made, real, size=20, count=200, seed=1)
    # A subset of all clips, whatever their order, is all of them.
    alike = kernel_distance_of_subsets(made[:50], real, size=50, count=3)
    assert alike == pytest.approx((kernel_distance(made[:50], real), 0), abs=1e-12)


@pytest.mark.parametrize(("size", "count"), [(1, 5), (51, 5), (20, 0)])
def test_subsets_that_cannot_be_drawn(size: int, count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} subsets of {size} clips"):
        kernel_distance_of_subsets(np.zeros((60, 3)), np.zeros((50, 3)), size, count)


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (np.zeros((3, 2)), np.zeros((3, 4)), "widths 2 and 4"),
        (np.zeros((1, 2)), np.zeros((3, 2)), "generated clips are needed, not 1"),
        (np.zeros((3, 1)), np.array([[np.nan], [0], [np.inf]]), "2 of 3 rows of real"),
    ],
)
def test_features_that_cannot_be_compared(first: Array, second: Array, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        kernel_distance(first, second)
