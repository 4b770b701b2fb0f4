from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from muybridge.evaluation.comparison import Difference, compare, compare_statistic, corrected
from muybridge.evaluation.manifest import Score

Array = npt.NDArray[np.float64]


def score(
    values: Array | None = None, name: str = "sharpness", facts: Any = None, **more: Any
) -> Score:
    """A mean over clips that are named; or what is given."""
    found = () if values is None else tuple(map(float, values))
    given: dict[str, Any] = {"better": "higher", "value": float(np.mean(found or 0))}
    manifest = {"frames": 16, "names_digest": "abc"} if facts is None else facts
    return Score(name, manifest=manifest, values=found, **(given | more))


def test_paired_values_are_judged_by_their_differences() -> None:
    random = np.random.default_rng(0)
    common = random.normal(0, 5, 40)
    first, second = common + random.normal(0.6, 0.5, 40), common + random.normal(0, 0.5, 40)
    (row,) = compare([score(first)], [score(second)]).rows
    expected = stats.ttest_rel(first, second)
    assert row.difference == pytest.approx((first - second).mean())
    assert row.interval == pytest.approx(tuple(expected.confidence_interval()))
    assert row.verdict == "better" and "paired, 40 clips" in row.method
    # The same values of unlike clips, with their own intervals, are far too wide to tell.
    ends = [stats.t.interval(0.95, 39, x.mean(), stats.sem(x)) for x in (first, second)]
    apart = [
        score(x, facts={"frames": 16}, interval=end)
        for x, end in zip((first, second), ends, strict=True)
    ]
    (row,) = compare([apart[0]], [apart[1]]).rows
    assert row.verdict == "not told apart" and "independent" in row.method


def test_p_is_that_of_all_changes_of_places() -> None:
    random = np.random.default_rng(1)
    first, second = random.normal(0.5, 1, (2, 9)) * [[1], [2]]
    (row,) = compare([score(first)], [score(second)]).rows
    expected = stats.permutation_test(
        (first, second), lambda x, y: x.mean() - y.mean(), permutation_type="samples",
        n_resamples=np.inf,
    )  # fmt: skip
    assert row.p == pytest.approx(expected.pvalue)


def test_clips_of_one_owner_change_places_together() -> None:
    random = np.random.default_rng(2)
    gap = np.repeat(random.normal(0.3, 1, 8), 5)
    second = random.normal(size=40)
    owners = np.repeat(np.arange(8), 5)
    blind = compare([score(second + gap)], [score(second)]).rows[0]
    (row,) = compare([score(second + gap)], [score(second)], owners).rows
    expected = stats.ttest_1samp(gap[::5], 0)
    assert row.interval == pytest.approx(tuple(expected.confidence_interval()))
    assert blind.p is not None and row.p is not None and row.p > 2 * blind.p
    assert row.p * 2**8 == pytest.approx(round(row.p * 2**8))


def test_intervals_of_two_scores_are_combined() -> None:
    first = score(value=10.0, interval=(8.0, 13.0))
    second = score(value=4.0, interval=(3.0, 6.0))
    (row,) = compare([first], [second]).rows
    assert row.difference == 6
    assert row.interval == pytest.approx((6 - 8**0.5, 6 + 10**0.5))
    assert row.p == pytest.approx(2 * stats.norm.sf(stats.norm.ppf(0.975) * 6 / 8**0.5), rel=1e-5)
    (other,) = compare([second], [first]).rows
    assert other.interval == pytest.approx((-6 - 10**0.5, -6 + 8**0.5))
    assert (row.verdict, other.verdict) == ("better", "worse")
    (bare,) = compare([replace(first, interval=None)], [second]).rows
    assert (bare.p, bare.interval, bare.verdict) == (None, None, "not told apart")


@pytest.mark.parametrize(
    ("better", "verdict"), [("lower", "worse"), ("higher", "better"), ("near", "better")]
)
def test_verdicts_go_by_what_is_better(better: str, verdict: str) -> None:
    first = score(value=0.9, interval=(0.85, 0.95), better=better, target=1.0)
    second = score(value=0.5, interval=(0.45, 0.55), better=better, target=1.0)
    assert compare([first], [second]).rows[0].verdict == verdict


def test_near_is_the_distance_to_the_target() -> None:
    random = np.random.default_rng(3)
    noise = random.normal(0, 0.1, (2, 30))
    near: dict[str, Any] = {"better": "near", "target": 1.0}
    # 0.9 and 1.4: the lower is the nearer; 0.9 and 1.1: neither is.
    (row,) = compare([score(0.9 + noise[0], **near)], [score(1.4 + noise[1], **near)]).rows
    assert row.difference == pytest.approx(-0.3, abs=0.1) and row.verdict == "better"
    (row,) = compare([score(0.9 + noise[0], **near)], [score(1.1 - noise[0], **near)]).rows
    assert row.difference == pytest.approx(0, abs=1e-9) and row.verdict == "not told apart"
    wide = score(value=1.05, interval=(0.9, 1.2), **near)
    off = score(value=1.5, interval=(1.3, 1.7), **near)
    (row,) = compare([wide], [off]).rows
    # Distances 0.05 in (0, 0.2) and 0.5 in (0.3, 0.7).
    assert row.difference == pytest.approx(-0.45)
    assert row.interval == pytest.approx((-0.45 - np.hypot(0.05, 0.2), -0.45 + np.hypot(0.15, 0.2)))
    assert compare([replace(wide, target=None)], [replace(off, target=None)]).rows[0].p is None


def test_a_score_that_is_no_mean_of_its_values_is_not_paired() -> None:
    x = np.linspace(0, 1, 20)
    first = score(x, value=50.0, interval=(49.0, 51.0))
    second = score(x, value=40.0, interval=(39.0, 41.0))
    (row,) = compare([first], [second]).rows
    assert row.difference == 10 and "independent" in row.method


def test_clips_that_one_has_no_value_of_are_left_out_for_both() -> None:
    first, second = np.arange(12.0), np.arange(12.0)[::-1] / 2
    first[3], second[7] = np.nan, np.nan
    kept = np.isfinite(first) & np.isfinite(second)
    pair = [score(x, value=float(np.nanmean(x))) for x in (first, second)]
    (row,) = compare([pair[0]], [pair[1]]).rows
    assert row.difference == pytest.approx((first - second)[kept].mean())
    assert "10 clips" in row.method


def test_what_is_not_finite_is_not_judged() -> None:
    holes = score(value=float("nan"), interval=(0.0, 1.0))
    (row,) = compare([holes], [score(value=5.0, interval=(4.0, 6.0))]).rows
    assert (row.p, row.interval, row.verdict) == (None, None, "not told apart")


def test_unlike_manifests_are_refused_by_field() -> None:
    first = [score(value=1.0), score(value=2.0, name="mine"), score(name="bare", facts={})]
    second = [score(value=1.0, facts={"frames": 8, "names_digest": "abc"}),
              score(name="bare"), score(value=3.0, name="theirs")]  # fmt: skip
    found = compare(first, second)
    assert found.rows == ()
    assert {(r.name, r.field, r.values) for r in found.refused} == {
        ("sharpness", "frames", ("16", "8")), ("mine", "score", ("2", "absent")),
        ("bare", "manifest", ("absent", "present")), ("theirs", "score", ("absent", "3")),
    }  # fmt: skip
    plain = found.as_json("theirs")
    assert json.loads(json.dumps(plain)) == plain and plain["against"] == "theirs"


def test_the_table_goes_to_json() -> None:
    first = score(value=10.0, interval=(8.0, 13.0), better="lower")
    second = score(value=4.0, interval=(3.0, 6.0), better="lower")
    plain = compare([first], [second]).as_json("second")
    (row,) = plain["rows"]
    assert row["values"] == [10, 4] and row["difference"] == 6 and row["better"] == "lower"
    assert row["verdict"] == "worse" and row["p"] <= row["p_corrected"] < 0.05
    assert json.loads(json.dumps(plain)) == plain


def test_p_values_are_corrected_over_the_table() -> None:
    rows = [Difference("x", (1, 0), "higher", 1.0, None, p) for p in (0.01, 0.04, None, 0.03)]
    found = corrected(rows)
    assert [row.corrected for row in found] == pytest.approx([0.03, 0.06, None, 0.06])
    assert [row.verdict for row in found] == ["better", *["not told apart"] * 3]
    assert corrected([replace(rows[0], p=0.7)] * 2)[0].corrected == 1


@pytest.mark.parametrize("better", ["higher", "near"])
def test_equal_systems_are_seldom_told_apart_and_others_often(better: str) -> None:
    random = np.random.default_rng(4)
    more: dict[str, Any] = {"better": better, "target": 0.0}
    tries = {0.0: 2000, 0.8: 200}
    told = dict.fromkeys(tries, 0)
    for gap, count in tries.items():
        for _ in range(count):
            common = random.normal(1.5, 1, 10)
            first, second = common + random.exponential(0.5, (2, 10)) + [[gap], [0]]
            (row,) = compare([score(first, **more)], [score(second, **more)]).rows
            told[gap] += row.verdict != "not told apart"
    # Binomial bounds of 5 % in 2000 tries are 4 and 6 %; places of ten can change in 1024 ways.
    assert 0.035 < told[0.0] / 2000 < 0.065
    assert told[0.8] / 200 > 0.8


def test_any_of_many_equal_measures_is_seldom_told_apart() -> None:
    random = np.random.default_rng(5)
    wrong = 0
    for _ in range(400):
        values = random.normal(size=(2, 5, 10))
        first, second = ([score(x, str(i)) for i, x in enumerate(side)] for side in values)
        wrong += any(row.verdict != "not told apart" for row in compare(first, second).rows)
    assert wrong / 400 < 0.085


def gap(generated: Array, real: Array) -> float:
    """A distance whose noise is mostly of the real side."""
    return float(np.square(generated.mean(0) - real.mean(0)).sum())


def test_real_clips_that_both_are_judged_by_do_not_hide_a_difference() -> None:
    random = np.random.default_rng(6)
    told = {0.0: 0, 0.5: 0}
    alone = 0
    for shift in told:
        for _ in range(150):
            first, second = random.normal([[[2 + shift]], [[2]]], 0.3, (2, 40, 1))
            real = random.normal(0, 1, (12, 1))
            found = compare_statistic("gap", gap, first, second, real, groups=8)
            told[shift] += found.verdict != "not told apart"
            alone += shift > 0 and found.interval is not None and np.diff(found.interval)[0] > 4
    assert told[0.0] / 150 < 0.1
    assert told[0.5] / 150 > 0.9 and not alone


def test_statistics_of_pairs_lose_what_pairs_have_in_common() -> None:
    random = np.random.default_rng(7)
    common = random.normal(3, 1, (40, 1))
    first, second = common + random.normal(0, 0.1, (2, 40, 1)) + [[[0.2]], [[0]]]
    real = random.normal(0, 1, (40, 1))
    loose = compare_statistic("gap", gap, first, second, real)
    tight = compare_statistic("gap", gap, first, second, real, paired=True)
    assert tight.difference == loose.difference == gap(first, real) - gap(second, real)
    assert tight.values == (gap(first, real), gap(second, real))
    assert tight.verdict == "worse" and loose.verdict == "not told apart"
    with pytest.raises(ValueError, match="cannot be paired"):
        compare_statistic("gap", gap, first[:9], second, real, paired=True)
    same = compare_statistic("gap", gap, first, first, real, paired=True)
    assert same.p == pytest.approx(1) and same.verdict == "not told apart"


def test_a_difference_found_otherwise_takes_its_row() -> None:
    ready = Difference("sharpness", (1, 0), "higher", 1.0, (0.5, 1.5), 1e-4, method="jackknife")
    first = [score(value=1.0), score(value=1.0, name="other", interval=(0.0, 2.0))]
    second = [score(value=0.0), score(value=1.0, name="other", interval=(0.0, 2.0))]
    rows = compare(first, second, told=[ready]).rows
    assert [row.method for row in rows] == ["jackknife", "two intervals, as if independent"]
    assert rows[0].corrected == pytest.approx(2e-4) and rows[0].verdict == "better"
