"""Scores of what was measured: value, floor, interval, and what few clips cannot say."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch

from muybridge.core.errors import MuybridgeError
from muybridge.evaluation import comparison, intervals, scoring
from muybridge.evaluation.clip_sets import of_tensor
from muybridge.evaluation.frechet import frechet
from muybridge.evaluation.kernel import kernel_distance
from muybridge.evaluation.manifold import manifold
from muybridge.evaluation.measured import Extractor, Measured
from muybridge.evaluation.scoring import Meaning, of_features, of_figures, of_kernel, of_manifold

Array = npt.NDArray[np.float64]
PLAIN = Extractor("x", lambda clips: np.zeros((len(clips), 2)), {"weights": "w"}, False)
SCALED = dataclasses.replace(PLAIN, standardised=True)


def measured(
    features: Array | None = None,
    figures: dict[str, Array] | None = None,
    owners: Sequence[str] = (),
) -> Measured:
    """What would have been measured of so many clips."""
    figures = figures or {}
    count = len(features) if features is not None else len(next(iter(figures.values())))
    clips = of_tensor(torch.zeros(count, 4, 3, 8, 8), 8, "made")
    if owners:
        clips = dataclasses.replace(clips, owners=tuple(owners))
    rows = {} if features is None else {"x": features.astype(np.float32)}
    return Measured(clips, rows, figures, torch.zeros(count, 1))


def normal(count: int, seed: int, mean: float = 0.0, width: int = 2) -> Array:
    # Rounded to what float32 holds, so that formulas see the same numbers.
    rows = np.random.default_rng(seed).normal(mean, 1 + np.arange(width), (count, width))
    return rows.astype(np.float32).astype(np.float64)


def scaled(rows: Array, real: Array) -> Array:
    return np.asarray((rows - real.mean(0)) / real.std(0))


# --- means over clips ----------------------------------------------------------------------------


def test_a_mean_has_value_floor_interval_and_values() -> None:
    made, real = np.array([1.0, 2.0, 4.0, np.nan]), np.array([3.0, 5.0, np.nan])
    (score,) = of_figures(
        measured(figures={"a": made}), measured(figures={"a": real}),
        {"a": Meaning("near", "s", "note", {"how": "so"}), "b": Meaning("lower")}, {"frames": 4},
    )  # fmt: skip
    assert (score.name, score.better, score.unit, score.note) == ("a", "near", "s", "note")
    assert score.value == pytest.approx(7 / 3)
    assert score.floor == score.target == 4
    assert score.interval == pytest.approx(intervals.mean_interval([1.0, 2.0, 4.0]))
    assert score.interval_of
    assert score.manifest == {"frames": 4, "how": "so", "subject_measured_clips": 3}
    np.testing.assert_array_equal(score.values, made)


def test_of_figures_by_frame_each_clip_counts_once_and_only_frames_that_have_one() -> None:
    rows = np.array([[np.nan, 1, 3], [np.nan, np.nan, 6], [np.nan, np.nan, np.nan]])
    (score,) = of_figures(
        measured(figures={"a": rows}), measured(figures={"a": rows}), {"a": Meaning("lower")}, {}
    )
    assert score.value == 4
    assert score.manifest["subject_measured_clips"] == 2


def test_shares_are_percent_with_wilsons_interval() -> None:
    hits = np.array([1.0, 0, 0, 1, 0, 0, 0, 0])
    (score,) = of_figures(
        measured(figures={"a": hits}), measured(figures={"a": np.ones(4)}),
        {"a": Meaning("higher", "%", share=True)}, {},
    )  # fmt: skip
    assert score.value == 25
    assert score.floor == 100
    assert score.target is None
    low, high = intervals.share_interval(hits, owners=range(8))
    assert score.interval == (100 * low, 100 * high)
    assert np.mean(score.values) == score.value


def test_clips_of_one_piece_of_footage_make_an_interval_wider() -> None:
    values = np.repeat(np.arange(6.0), 4)
    apart, together = (
        of_figures(
            measured(figures={"a": values}, owners=owners), measured(figures={"a": values}),
            {"a": Meaning("lower")}, {},
        )[0].interval
        for owners in ((), [f"video {int(v)}" for v in values])
    )  # fmt: skip
    assert apart is not None
    assert together is not None
    assert together[1] - together[0] > 1.5 * (apart[1] - apart[0])


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("owners", [["v"], ["v", "v", "v"]])
def test_one_owner_has_a_value_without_an_interval(owners: list[str], share: bool) -> None:
    made = measured(figures={"a": np.ones(len(owners))}, owners=owners)
    (score,) = of_figures(made, made, {"a": Meaning("lower", share=share)}, {})
    assert score.value == 1
    assert score.interval is None


def test_a_figure_that_no_clip_has_is_no_score() -> None:
    none = measured(figures={"a": np.full(3, np.nan)})
    assert of_figures(none, none, {"a": Meaning("lower")}, {}) == []
    (score,) = of_figures(measured(figures={"a": np.ones(3)}), none, {"a": Meaning("near")}, {})
    assert score.floor is score.target is None


# --- statistics of two sets ----------------------------------------------------------------------


def test_a_distance_is_the_formula_on_the_features() -> None:
    a, b, c = normal(40, 0, 0.5), normal(50, 1), normal(60, 2)
    made, real, other = (measured(rows) for rows in (a, b, c))
    plain = of_features(PLAIN, "FD", made, real, other, {"frames": 4}, "note")[0]
    assert plain.value == frechet(a, b)
    assert plain.floor == frechet(c[:40], b)  # as many clips as are judged
    assert (plain.better, plain.note) == ("lower", "note")
    found = intervals.statistic_interval(
        frechet, a, b, made.clips.owners, real.clips.owners, kind="distance"
    )
    assert plain.interval == found.interval
    assert plain.interval_of == found.INTERVAL_OF
    assert {"frames": 4, "weights": "w", "features": 2, "standardised": "no"}.items() <= (
        plain.manifest.items()
    )
    own = of_features(SCALED, "FD", made, real, other, {}, "note")[0]
    assert own.value == pytest.approx(frechet(scaled(a, b), scaled(b, b)), rel=1e-6)
    assert own.floor == pytest.approx(frechet(scaled(c[:40], b), scaled(b, b)), rel=1e-6)


def test_without_other_clips_the_floor_is_half_against_half() -> None:
    b = normal(50, 1)
    score = of_features(PLAIN, "FD", measured(normal(40, 0)), measured(b), None, {})[0]
    assert score.floor == frechet(b[::2], b[1::2])


def test_generated_and_real_are_not_swapped() -> None:
    """Narrow samples are precise and recall little."""
    narrow, wide = normal(60, 0) / 10, normal(60, 1)
    sides = measured(narrow), measured(wide), None
    found = {s.name: s for s in of_manifold(["x"], {"space": "x"}, *sides, 3, {})}
    a, b = scaled(narrow, wide), scaled(wide, wide)
    expected = manifold(a, b, 3)
    for name, score in found.items():
        assert score.value == pytest.approx(float(getattr(expected, name)), rel=1e-6)
    assert found["precision"].value > 0.9 > 0.3 > found["recall"].value
    assert found["recall"].better == "higher"
    assert found["density"].better == "near"
    assert found["density"].target == found["density"].floor
    assert found["coverage"].manifest["neighbours"] == 3
    interval = found["precision"].interval
    assert interval is not None
    assert 0 <= interval[0] <= interval[1] <= 1


def test_a_kernel_distance_is_the_formula_and_may_be_below_zero() -> None:
    a, b = normal(40, 0), normal(40, 1)
    (score,) = of_kernel(PLAIN, "KD", measured(a), measured(b), None, {})
    assert score.value == kernel_distance(a, b)
    assert score.interval is not None
    assert score.interval[0] < 0


def test_frames_are_rows_and_those_of_a_clip_one_owner() -> None:
    a, b = (normal(30 * 4, seed).reshape(30, 4, 2) for seed in (0, 1))
    score = of_features(PLAIN, "FD", measured(a), measured(b), None, {})[0]
    assert score.value == frechet(a.reshape(-1, 2), b.reshape(-1, 2))
    names = [str(i) for i in range(30) for _ in range(4)]
    found = intervals.statistic_interval(
        frechet, a.reshape(-1, 2), b.reshape(-1, 2), names, names, kind="distance"
    )
    assert score.interval == pytest.approx(found.interval)


def test_with_many_clips_the_distance_is_extrapolated_too() -> None:
    one = of_features(PLAIN, "FD", measured(normal(40, 0)), measured(normal(40, 1)), None, {})
    few = of_features(PLAIN, "FD", measured(normal(7, 0)), measured(normal(40, 1)), None, {})
    assert [s.name for s in one] == ["FD", "FD, of any number of clips"]
    assert "extrapolated" in one[1].manifest
    assert [s.name for s in few] == ["FD"]


# --- too few -------------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [(1, 9), (9, 1)])
def test_one_clip_has_no_distance(counts: tuple[int, int]) -> None:
    made, real = (measured(normal(count, 0)) for count in counts)
    told = rf"FD needs two .*{counts[0]} and {counts[1]}"
    with pytest.raises(MuybridgeError, match=told):
        of_features(PLAIN, "FD", made, real, None, {})
    with pytest.raises(MuybridgeError, match=told):
        of_kernel(PLAIN, "FD", made, real, None, {})


def test_two_clips_have_a_distance_without_interval() -> None:
    a, b = normal(2, 0), normal(2, 1)
    score = of_features(PLAIN, "FD", measured(a), measured(b), None, {}, "note")[0]
    assert score.value == frechet(a, b)
    assert score.interval is None
    assert score.floor is None
    assert score.note.startswith("note; no interval: ")


def test_clips_of_one_piece_of_footage_have_a_distance_without_interval() -> None:
    real = measured(normal(20, 1), owners=["one video"] * 20)
    score = of_features(PLAIN, "FD", measured(normal(20, 0)), real, None, {}, "")[0]
    assert score.interval is None
    assert score.note.startswith("no interval: ")
    assert "two or more owners" in score.note


def test_no_more_clips_than_neighbours_is_an_error_that_says_so() -> None:
    made, real = measured(normal(5, 0)), measured(normal(20, 1))
    with pytest.raises(MuybridgeError, match=r"precision cannot be had: 6 or more generated"):
        of_manifold(["x"], {}, made, real, None, 5, {})
    some = of_manifold(["x"], {}, measured(normal(6, 0)), measured(normal(9, 1)), None, 5, {})
    assert [s.name for s in some] == ["precision", "recall", "density", "coverage"]
    assert all(s.interval is None and s.floor is None for s in some)


def test_means_of_frames_ignore_warnings_of_empty_rows() -> None:
    with np.errstate(all="raise"):
        found = scoring.per_clip(np.array([[np.nan, np.nan], [1.0, np.nan]]))
    np.testing.assert_array_equal(found, [np.nan, 1.0])


def test_scores_of_clips_with_the_same_conditions_are_compared_in_pairs() -> None:
    """Also where they are percent, and where some clips have no value."""
    one, two = np.array([1.0, 1, 0, 1, 1, np.nan, 1, 1]), np.array([0.0, 0, 0, 1, np.nan, 1, 0, 0])
    scores = [
        of_figures(
            measured(figures={"a": hits}), measured(figures={"a": one}),
            {"a": Meaning("higher", "%", share=True)}, {"conditions": "same"},
        )
        for hits in (one, two)
    ]  # fmt: skip
    found = comparison.compare(*scores)
    assert not found.refused
    assert found.rows[0].method == "paired, 6 clips"
    assert found.rows[0].difference == pytest.approx(100 * 4 / 6)
