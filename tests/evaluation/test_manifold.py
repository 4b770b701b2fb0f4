from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from muybridge.evaluation import manifold as module
from muybridge.evaluation.manifold import Manifold, manifold

Array = npt.NDArray[np.float64]


def column(*values: float) -> Array:
    return np.array(values, np.float64)[:, None]


def by_loops(generated: Array, real: Array, k: int) -> Manifold:
    def distance(x: Array, y: Array) -> float:
        return math.dist(x.tolist(), y.tolist())

    def radii(rows: Array) -> list[float]:
        return [
            sorted(distance(rows[i], rows[j]) for j in range(len(rows)) if j != i)[k - 1]
            for i in range(len(rows))
        ]

    made, true = radii(generated), radii(real)
    n, m = range(len(generated)), range(len(real))
    balls = [sum(distance(generated[i], real[j]) <= true[j] for j in m) for i in n]
    reached = [any(distance(generated[i], real[j]) <= made[i] for i in n) for j in m]
    held = [any(distance(generated[i], real[j]) <= true[j] for i in n) for j in m]
    return Manifold(np.array(balls) > 0, np.array(balls) / k, np.array(reached), np.array(held))


def assert_same(found: Manifold, expected: Manifold) -> None:
    np.testing.assert_array_equal(found.inside, expected.inside)
    np.testing.assert_array_equal(found.densities, expected.densities)
    np.testing.assert_array_equal(found.recalled, expected.recalled)
    np.testing.assert_array_equal(found.covered, expected.covered)


def shares(found: Manifold) -> tuple[float, float, float, float]:
    return found.precision, found.recall, found.density, found.coverage


@pytest.mark.parametrize("block", [1, 50, 1 << 22])
@pytest.mark.parametrize(("n", "m", "k"), [(12, 20, 1), (31, 17, 3), (20, 20, 5), (6, 6, 5)])
def test_it_is_what_loops_say_whatever_the_chunks(
    n: int, m: int, k: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BLOCK", block)
    random = np.random.default_rng(n)
    generated, real = random.normal(size=(n, 3)) + 2, 1.3 * random.normal(size=(m, 3))
    found = manifold(generated, real, k)
    assert_same(found, by_loops(generated, real, k))
    assert 0 < found.densities.sum() < n * m / k and found.covered.any()
    assert found.inside.shape == found.densities.shape == (n,)
    assert found.recalled.shape == found.covered.shape == (m,)


def test_whole_numbers_with_many_ties() -> None:
    for seed in range(20):
        random = np.random.default_rng(seed)
        generated = random.integers(0, 4, (15, 2)).astype(float)
        real = random.integers(1, 5, (12, 2)).astype(float)
        assert_same(manifold(generated, real, 2), by_loops(generated, real, 2))


def test_few_generated_clips_in_the_middle_of_real_ones() -> None:
    # Real balls reach 1, on 0, 1, 2, 3, 10, 11; generated ones 0.25.
    found = manifold(column(1.5, 1.75), column(0, 1, 2, 3, 10, 11), k=1)
    assert found.inside.tolist() == [True, True]
    assert found.densities.tolist() == [2, 2]  # the balls of 1 and 2
    assert found.recalled.tolist() == [False, False, True, False, False, False]  # 2 - 1.75 <= 0.25
    assert found.covered.tolist() == [False, True, True, False, False, False]
    assert shares(found) == pytest.approx((1, 1 / 6, 2, 1 / 3))


def test_the_same_with_sides_exchanged() -> None:
    found = manifold(column(0, 1, 2, 3, 10, 11), column(1.5, 1.75), k=1)
    assert shares(found) == pytest.approx((1 / 6, 1, 1 / 6, 1 / 2))


def test_a_generated_outlier_raises_recall_and_not_coverage() -> None:
    real = column(0, 1, 2, 3, 4)
    near = manifold(column(0, 0.1), real, k=1)
    far = manifold(column(0, 0.1, 100), real, k=1)
    assert near.recall == pytest.approx(1 / 5)
    assert far.recall == 1  # the outlier's ball reaches back to 0.1
    assert near.coverage == far.coverage == pytest.approx(2 / 5)
    assert far.precision == pytest.approx(2 / 3)


def test_a_real_outlier_raises_precision_more_than_density() -> None:
    made, real = column(20, 21, 22, 23), column(0, 1, 2, 3, 50)
    found = manifold(made, real, k=2)  # the ball of 50 reaches 48, those of the others 2
    assert found.precision == 1
    assert found.density == pytest.approx(1 / 2)
    assert found.coverage == pytest.approx(1 / 5)


def test_an_edge_belongs_to_its_ball() -> None:
    assert manifold(column(2, 2.5), column(0, 1), k=1).inside.tolist() == [True, False]


def test_copies_lie_in_balls_without_radius() -> None:
    # Decimals that have no exact binary form, after a rotation: rounding is not to decide.
    random = np.random.default_rng(6)
    rows = random.normal(size=(30, 50)) @ random.normal(size=(50, 50)) + 1000
    real = np.repeat(rows, 3, 0)
    found = manifold(rows, real, k=2)
    assert found.inside.all()
    assert (found.densities == 1.5).all()  # the three balls of its copies, over k
    assert found.covered.all()
    replayed = manifold(np.repeat(rows[:10], 4, 0), rows, k=3)
    assert replayed.recalled.tolist() == [True] * 10 + [False] * 20


def test_float32_features_far_from_zero() -> None:
    random = np.random.default_rng(7)
    generated = (random.normal(size=(25, 40)) + 1000).astype(np.float32)
    real = (random.normal(size=(35, 40)) + 1000).astype(np.float32)
    assert_same(manifold(generated, real, 3), by_loops(generated, real, 3))


def modes(count: int, seed: int, spread: float = 1.0) -> Array:
    """Four far groups in eight dimensions, `count` clips in each."""
    random = np.random.default_rng(seed)
    centres = 20 * np.eye(8)[:4]
    return (centres[:, None] + spread * random.normal(size=(4, count, 8))).reshape(-1, 8)


def test_lost_modes_show_in_recall_and_coverage_and_not_in_precision() -> None:
    real, whole = modes(50, 0), manifold(modes(50, 1), modes(50, 0))
    one = np.concatenate([modes(50, seed)[:50] for seed in (1, 2, 3, 4)])
    lost = manifold(one, real)
    assert whole.recall > 0.8 and whole.coverage > 0.9
    assert lost.recall <= 0.25 and lost.coverage <= 0.25
    assert lost.precision == pytest.approx(whole.precision, abs=0.1)
    assert lost.density == pytest.approx(whole.density, abs=0.25)


def test_clips_away_from_the_real_ones_show_in_precision_and_density() -> None:
    real = modes(50, 0)
    found = manifold(np.concatenate([modes(25, 1), modes(25, 2) + 100]), real)
    assert 0.4 < found.precision <= 0.5
    assert not found.inside[100:].any() and not found.densities[100:].any()
    assert found.coverage > 0.7


def test_clips_of_one_source_have_the_density_and_coverage_that_are_expected() -> None:
    # Of n + m - 1 others in random order, a real clip is not covered if the first k are all real.
    n, m, k, random = 40, 60, 5, np.random.default_rng(8)
    densities, coverages = [], []
    for _ in range(200):
        found = manifold(random.normal(size=(n, 4)), random.normal(size=(m, 4)), k)
        densities.append(found.density)
        coverages.append(found.coverage)
    missed = math.prod((m - 1 - i) / (n + m - 1 - i) for i in range(k))
    assert np.mean(coverages) == pytest.approx(1 - missed, abs=4 * np.std(coverages) / 200**0.5)
    assert np.mean(densities) == pytest.approx(m / (m - 1), abs=5 * np.std(densities) / 200**0.5)


@pytest.mark.parametrize(
    ("first", "second", "k", "told"),
    [
        (np.zeros((9, 2)), np.zeros((9, 4)), 3, "widths 2 and 4"),
        (np.zeros((3, 2)), np.zeros((9, 2)), 3, "4 or more generated clips are needed, not 3"),
        (np.zeros((9, 2)), np.zeros((5, 2)), 5, "6 or more real clips are needed, not 5"),
        (np.zeros((9, 2)), np.zeros((9, 2)), 0, "k is 1 or more"),
        (np.full((9, 1), np.nan), np.zeros((9, 1)), 3, "9 of 9 rows of generated"),
    ],
)
def test_features_that_cannot_be_compared(first: Array, second: Array, k: int, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        manifold(first, second, k)
