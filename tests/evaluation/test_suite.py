"""All measures of sets of clips against real ones."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

from muybridge.core.errors import MuybridgeError
from muybridge.evaluation import comparison, suite, tools
from muybridge.evaluation.clip_sets import ClipSet, of_tensor
from muybridge.evaluation.distortions import DISTORTIONS
from muybridge.evaluation.manifest import Score, comparable

Drawn = Callable[..., ClipSet]
COUNT = 8
OFFLINE = ("appearance", "motion", "manifold", "kernel", "time", "stage", "copying", "baselines")
QUICK = ("appearance", "motion", "manifold", "stage", "copying")


def bench_of(
    ground: suite.Ground, metrics: tuple[str, ...] = OFFLINE, **settings: Any
) -> suite.Bench:
    config = suite.Config(metrics=metrics, **settings)
    return suite.Bench(ground, tools.choose(config, ground), config)


def named(scores: tuple[Score, ...]) -> dict[str, Score]:
    found = {score.name: score for score in scores}
    assert len(found) == len(scores)
    return found


@pytest.fixture(scope="module")
def ground(drawn: Drawn) -> suite.Ground:
    return suite.Ground(
        drawn(0, range(COUNT), "real"),
        drawn(1, range(COUNT), "other"),
        drawn(2, range(COUNT), "training"),
        drawn(3, range(COUNT), "unseen"),
    )


@pytest.fixture(scope="module")
def bench(ground: suite.Ground) -> suite.Bench:
    return bench_of(ground)


@pytest.fixture(scope="module")
def result(bench: suite.Bench, drawn: Drawn) -> suite.Result:
    return bench.judge(drawn(4, range(COUNT), "generated"), {"run": "mine", "seed": 0})


@pytest.fixture(scope="module")
def others(bench: suite.Bench) -> Mapping[str, dict[str, Score]]:
    """Scores of the baselines, by name."""
    return {name: named(scores) for name, scores in bench.baselines({"run": "mine", "seed": 0})}


def test_every_score_has_floor_interval_and_manifest(result: suite.Result) -> None:
    found = named(result.scores)
    without = {name for name, score in found.items() if score.floor is None}
    assert not without
    # Measures that too few clips have, such as those of one motion, may lack one.
    clips = {
        name: score.manifest.get("subject_measured_clips", COUNT) for name, score in found.items()
    }
    lacking = {n for n, s in found.items() if s.interval is None and clips[n] > 1}
    assert lacking == {n for n in found if n.endswith(", of any number of clips")}
    for name, score in found.items():
        assert math.isfinite(score.value)
        assert score.note
        assert score.interval_of or score.interval is None
        assert (score.target is not None) == (score.better == "near")
        if score.interval and "distance" not in name:
            assert score.interval[0] <= score.value <= score.interval[1]
        facts = {"generated", "frames", "fps", "size", "floor", "generated_resize"}
        assert facts <= score.manifest.keys()
        json.dumps(score.as_json(), allow_nan=False)


def test_what_faults_are_named_for_is_measured(result: suite.Result) -> None:
    assert {fault.measure for fault in DISTORTIONS.values()} <= {s.name for s in result.scores}


def test_the_same_call_gives_the_same_numbers(ground: suite.Ground, drawn: Drawn) -> None:
    made = drawn(4, range(COUNT), "generated")
    one, other = (bench_of(ground, QUICK).judge(made, {"run": "mine"}) for _ in range(2))
    assert [s.as_json() for s in one.scores] == [s.as_json() for s in other.scores]
    assert one.plots == other.plots


def test_one_metric_alone_gives_what_it_gives_beside_others(
    ground: suite.Ground, drawn: Drawn, result: suite.Result
) -> None:
    made, every = drawn(4, range(COUNT), "generated"), named(result.scores)
    for metric in QUICK:
        alone = bench_of(ground, (metric,)).judge(made, {"run": "mine", "seed": 0})
        assert alone.scores
        for score in alone.scores:
            assert score.value == pytest.approx(every[score.name].value, rel=1e-5)


def test_plots_are_plain_and_without_holes(result: suite.Result) -> None:
    json.dumps(result.plots, allow_nan=False)
    assert result.plots["histograms"][0]["title"] == "Distance to the nearest training clip"
    for curve in result.plots["curves"]:
        assert [line["name"] for line in curve["lines"]] == ["generated", "real, held out"]
        assert all(len(line["x"]) == len(line["y"]) > 0 for line in curve["lines"])
    assert len(result.plots["scatter"]) == 2


def test_the_nearest_training_clips_are_two_for_each(result: suite.Result) -> None:
    assert result.nearest is not None
    assert result.nearest.shape == (COUNT, 2)
    assert (result.nearest[:, 0] != result.nearest[:, 1]).all()


def test_few_clips_are_warned_of_with_the_bias_to_expect(result: suite.Result) -> None:
    (told,) = (w for w in result.warnings if w.startswith("motion distance"))
    assert f"{COUNT} clips" in told
    expected = re.search(r"expected to score ([0-9.]+)", told)
    floor = named(result.scores)["motion distance"].floor
    assert expected is not None and floor is not None
    # What as many other real clips do score, to within chance.
    assert floor / 3 < float(expected[1]) < 3 * floor


# --- baselines -----------------------------------------------------------------------------------


def test_a_still_frame_has_perfect_pictures_and_no_motion(
    others: Mapping[str, dict[str, Score]],
) -> None:
    still = others["one frame held still"]
    assert still["frozen frames"].value == 1
    assert still["amount of motion"].value == pytest.approx(0, abs=1e-3)
    assert still["warping error"].value == pytest.approx(0, abs=1e-3)
    assert still["flicker"].value == pytest.approx(0, abs=1e-3)
    interval = still["sharpness"].interval
    assert interval is not None
    assert still["sharpness"].floor is not None
    assert interval[0] < still["sharpness"].floor < interval[1]
    assert still["motion as asked"].value == 0
    assert still["motion distance"].value > 3 * (still["motion distance"].floor or 0)


def test_replay_is_called_out_and_the_ceiling_is_not(
    others: Mapping[str, dict[str, Score]],
) -> None:
    assert others["nearest training clip"]["copies"].value == 100
    # Its clips are real ones, so that no distance tells.
    still, replayed = others["one frame held still"], others["nearest training clip"]
    assert replayed["motion distance"].value < still["motion distance"].value / 2
    assert others["unseen"]["copies"].value == 0


def test_a_mean_clip_has_no_variety(others: Mapping[str, dict[str, Score]]) -> None:
    assert others["mean clip"]["recall"].value == 0
    assert others["mean clip"]["coverage"].value <= 5 / COUNT


def test_baselines_are_compared_with_what_is_judged(ground: suite.Ground, drawn: Drawn) -> None:
    # A run makes its clips with the real ones' captions.
    made = dataclasses.replace(drawn(4, range(COUNT), "generated"), captions=ground.real.captions)
    only = bench_of(ground, ("motion", "manifold", "copying"))
    scores = only.judge(made, {"run": "mine", "seed": 0}).scores
    baselines = dict(only.baselines({"run": "mine", "seed": 0}))
    for name in ("one frame held still", "mean clip", "nearest training clip"):
        found = comparison.compare(scores, baselines[name])
        assert not found.refused
        assert {row.name for row in found.rows} >= {"motion distance", "recall", "copies"}


# --- what cannot be compared, or said ------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("seed", {"seed": 1}),
        ("generated_resize", {}),
    ],
)
def test_scores_made_differently_are_refused_by_field(
    bench: suite.Bench, drawn: Drawn, field: str, changed: dict[str, Any]
) -> None:
    made = drawn(4, range(COUNT), "generated")
    other = made if changed else dataclasses.replace(made, facts={"resize": "stretched to 64x64"})
    config = {"run": "mine", "seed": 0}
    only = bench_of(suite.Ground(bench.ground.real), ("motion",))
    one = only.judge(made, config).scores[0]
    two = only.judge(other, config | {"run": "yours"} | changed).scores[0]
    with pytest.raises(MuybridgeError, match=field):
        comparable(one, two)
    comparable(one, only.judge(made, config | {"run": "yours", "run_sampling": 3}).scores[0])


def test_how_many_clips_and_against_which_is_in_the_manifest(
    ground: suite.Ground, drawn: Drawn
) -> None:
    made = drawn(4, range(COUNT), "generated")
    whole = bench_of(suite.Ground(ground.real), ("motion",))
    first = whole.judge(made, {}).scores[0]
    fewer = whole.judge(drawn(4, range(6), "generated"), {}).scores[0]
    with_floor = bench_of(suite.Ground(ground.real, ground.other), ("motion",))
    with pytest.raises(MuybridgeError, match="generated"):
        comparable(first, fewer)
    with pytest.raises(MuybridgeError, match="floor"):
        comparable(first, with_floor.judge(made, {}).scores[0])


def test_one_clip_has_what_can_be_had_and_the_rest_is_told(
    bench: suite.Bench, drawn: Drawn, result: suite.Result
) -> None:
    found = bench.judge(drawn(4, range(1), "generated"), {})
    scores = named(found.scores)
    assert {"sharpness", "copies", "colour as asked"} <= scores.keys()
    assert not {"motion distance", "appearance distance", "recall"} & scores.keys()
    assert all(score.interval is None for score in found.scores)
    for name in ("appearance distance", "motion kernel distance", "precision"):
        assert any(w.startswith(f"left out: {name} needs two") for w in found.warnings)
    json.dumps(found.plots, allow_nan=False)


def test_one_clip_of_which_nothing_can_be_said_is_an_error(
    ground: suite.Ground, drawn: Drawn
) -> None:
    only = bench_of(suite.Ground(ground.real), ("motion", "manifold"))
    with pytest.raises(MuybridgeError, match="motion distance needs two or more clips"):
        only.judge(drawn(4, range(1), "generated"), {})


def test_fewer_clips_than_neighbours_leave_out_the_manifold_alone(
    ground: suite.Ground, drawn: Drawn
) -> None:
    only = bench_of(suite.Ground(ground.real), ("motion", "manifold"))
    found = only.judge(drawn(4, range(4), "generated"), {})
    assert {score.name for score in found.scores} == {"motion distance"}
    assert any("precision cannot be had: 6 or more generated" in w for w in found.warnings)


@pytest.mark.parametrize("what", ["frames", "size", "fps"])
def test_sets_that_are_not_alike_are_refused(ground: suite.Ground, drawn: Drawn, what: str) -> None:
    pixels = drawn(4, range(2), "generated").read(0, 2)
    unlike = {
        "frames": of_tensor(pixels[:, :8], 8, "made"),
        "size": of_tensor(pixels[..., :32], 8, "made"),
        "fps": of_tensor(pixels, 12, "made"),
    }[what]
    only = bench_of(suite.Ground(ground.real), ("motion",))
    with pytest.raises(MuybridgeError, match=f"{what} is .* in made, .* in real") as caught:
        only.judge(unlike, {})
    assert f"--{what}" in caught.value.hint
    with pytest.raises(MuybridgeError, match=what):
        bench_of(suite.Ground(ground.real, training=unlike), ("motion",))


def test_clips_that_hold_no_numbers_are_refused(ground: suite.Ground, drawn: Drawn) -> None:
    pixels = drawn(4, range(2), "generated").read(0, 2)
    pixels[1, 3] = torch.nan
    with pytest.raises(MuybridgeError, match="made 1 cannot be judged"):
        bench_of(suite.Ground(ground.real), ("motion",)).judge(of_tensor(pixels, 8, "made"), {})


def test_a_measure_that_there_is_not_is_named_with_the_nearest(ground: suite.Ground) -> None:
    with pytest.raises(MuybridgeError, match="there is no measure 'motoin'") as caught:
        tools.choose(suite.Config(metrics=("motoin",)), ground)
    assert "motion" in caught.value.hint


def test_what_is_against_the_truth_is_of_clips_of_the_same_name(ground: suite.Ground) -> None:
    real = dataclasses.replace(ground.real, facts={})
    pixels = real.read(0, COUNT)
    made = dataclasses.replace(real, name="made", read=lambda begin, end: pixels[begin:end] * 0.98)
    pixels_of_given = pixels.clone()
    pixels_of_given[:, :3] = -pixels[:, :3]
    found = bench_of(suite.Ground(real, given=3), ("truth",))
    plain = named(found.judge(made, {}).scores)
    worse_at_first = dataclasses.replace(
        made, read=lambda b, e: torch.cat([pixels_of_given[b:e, :3], made.read(b, e)[:, 3:]], 1)
    )
    again = named(found.judge(worse_at_first, {}).scores)
    assert {"PSNR", "SSIM", "MS-SSIM"} <= plain.keys()
    for name in ("PSNR", "SSIM", "MS-SSIM"):
        assert again[name].value == pytest.approx(plain[name].value)  # given frames left out
        assert plain[name].manifest["conditioning_frames"] == 3
    assert plain["PSNR"].value > 30
