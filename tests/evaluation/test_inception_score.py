from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from muybridge.evaluation.inception_score import inception_score

Array = npt.NDArray[np.float64]


def test_every_clip_unsure_or_all_sure_of_one_class_scores_one() -> None:
    assert inception_score(np.full((30, 7), 1 / 7)) == pytest.approx((1, 0))
    assert inception_score(np.eye(7)[[3] * 30]) == pytest.approx((1, 0))
    assert inception_score(np.tile([0.1, 0.2, 0.7], (30, 1))) == pytest.approx((1, 0))


@pytest.mark.parametrize("classes", [1, 2, 10, 400])
def test_sure_clips_evenly_over_classes_score_their_number(classes: int) -> None:
    p = np.tile(np.eye(classes), (3, 1))
    assert inception_score(p, splits=1) == pytest.approx((classes, 0))


def test_sure_clips_unevenly_over_classes() -> None:
    # exp of the entropy of (3/4, 1/4).
    expected = 1 / (0.75**0.75 * 0.25**0.25)
    assert inception_score(np.eye(3)[[0, 0, 0, 1]], splits=1)[0] == pytest.approx(expected)


def test_two_clips_by_hand() -> None:
    p = [[0.9, 0.1], [0.1, 0.9]]
    expected = np.exp(0.9 * np.log(0.9 / 0.5) + 0.1 * np.log(0.1 / 0.5))
    assert inception_score(p, splits=1)[0] == pytest.approx(expected)


def test_the_mean_divergence_is_the_difference_of_two_entropies() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(6), 50)

    def entropy(q: Array) -> Array:
        return np.asarray(-(q * np.log(q)).sum(-1))

    expected = np.exp(entropy(p.mean(0)) - entropy(p).mean())
    assert inception_score(p, splits=1)[0] == pytest.approx(expected)
    assert 1 < expected < 6


def test_mean_and_deviation_over_parts() -> None:
    # Parts of one clip score 1 each; no part scores above its clips.
    p = np.eye(20)
    assert inception_score(p, splits=20) == pytest.approx((1, 0))
    assert inception_score(p, splits=10) == pytest.approx((2, 0))
    # Two parts of two of these four: {a, a} and {b, b} score 1 and 1, {a, b} twice 2 and 2.
    pairs = [inception_score(np.eye(2)[[0, 0, 1, 1]], splits=2, seed=seed) for seed in range(40)]
    assert {round(mean, 9) for mean, _ in pairs} == {1.0, 2.0}
    # {a, b} and {a, a}: 2 and 1.
    uneven = inception_score(np.eye(2)[[0, 0, 0, 1]], splits=2)
    assert uneven == pytest.approx((1.5, 0.5))


def test_parts_do_not_depend_on_the_order_that_clips_were_made_in() -> None:
    # In the order made, each of ten parts would hold one class and score 1.
    p = np.eye(10)[np.repeat(np.arange(10), 20)]
    mean, _ = inception_score(p)
    assert mean > 5
    assert inception_score(p) == inception_score(p)
    assert inception_score(p) != inception_score(p, seed=1)


def test_logits() -> None:
    logits = 3 * np.random.default_rng(1).normal(size=(40, 5))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = inception_score(p)
    assert inception_score(logits, logits=True) == pytest.approx(expected)
    assert inception_score(logits + 1e4, logits=True) == pytest.approx(expected)
    assert inception_score(np.log(p), logits=True) == pytest.approx(expected)


@pytest.mark.parametrize("gap", [700.0, 740.0, 745.0, 1e6])
def test_probabilities_that_underflow(gap: float) -> None:
    logits = gap * np.eye(4)[np.arange(40) % 4]
    assert inception_score(logits, logits=True, splits=1) == pytest.approx((4, 0))
    one = np.zeros((40, 2))
    one[:, 1] = -1e6
    one[0, 1] = -gap  # so small, the mean over clips is 0
    assert inception_score(one, logits=True, splits=1) == pytest.approx((1, 0))


def test_single_precision_sums_are_near_enough_to_one() -> None:
    p = np.random.default_rng(2).dirichlet(np.ones(1000), 40)
    assert inception_score(p.astype(np.float32)) == pytest.approx(inception_score(p), rel=1e-6)


@pytest.mark.parametrize(
    ("predictions", "splits", "told"),
    [
        (np.ones((4, 3)) / 3, 5, "4 clips cannot be split into 5"),
        (np.ones((4, 3)) / 3, 0, "into 0 parts"),
        (np.ones((4, 3)), 2, "4 of 4 rows are no probabilities"),
        (np.array([[0.5, 0.5], [1.5, -0.5]]), 1, "1 of 2 rows are no probabilities"),
        (np.array([[0.5, 0.5], [np.nan, 0.5]]), 1, "1 of 2 rows of predicted"),
        (np.zeros((0, 3)), 1, "not 0"),
    ],
)
def test_what_is_no_prediction(predictions: Array, splits: int, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        inception_score(predictions, splits=splits)
