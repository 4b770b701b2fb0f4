"""What a page draws: plain values that JSON holds, the same each time."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pytest
import torch

from muybridge.evaluation import plots
from muybridge.evaluation.clip_sets import of_tensor
from muybridge.evaluation.measured import Measured

Array = npt.NDArray[np.float64]


def measured(name: str, rows: Array) -> Measured:
    clips = of_tensor(torch.zeros(len(rows), 4, 3, 8, 8), 8, name)
    return Measured(clips, {"x": rows.astype(np.float32)}, {}, torch.zeros(len(rows), 1))


def strict(plot: object) -> None:
    """Raises where JSON could not hold it."""
    json.dumps(plot, allow_nan=False)


def test_a_curve_is_the_mean_of_the_clips_that_have_the_frame() -> None:
    rows = np.array([[np.nan, 1.0, 4.0], [np.nan, 3.0, np.nan]])
    found = plots.curve("title", "unit", np.arange(3) / 8, [("made", rows)])
    strict(found)
    (line,) = found["lines"]
    assert line["name"] == "made"
    assert line["x"] == [0.125, 0.25]
    assert line["y"] == [2, 4]
    half = 1.96 / 2**0.5
    assert line["low"] == pytest.approx([2 - half, 4], rel=1e-4)
    assert line["high"] == pytest.approx([2 + half, 4], rel=1e-4)
    assert (found["title"], found["x"], found["y"]) == ("title", "seconds", "unit")


def test_a_curve_of_nothing_is_empty() -> None:
    found = plots.curve("t", "u", np.arange(3) / 8, [("made", np.full((2, 3), np.nan))])
    assert found["lines"] == [{"name": "made", "x": [], "y": [], "low": [], "high": []}]


def test_a_histogram_leaves_out_what_is_no_number() -> None:
    found = plots.histogram("t", "u", [("made", np.array([1.0, np.nan, np.inf, 2.0]))], "note")
    strict(found)
    assert found["groups"] == [{"name": "made", "values": [1, 2]}]
    assert found["note"] == "note"


def test_a_cloud_shows_the_directions_in_which_real_clips_vary() -> None:
    random = np.random.default_rng(0)
    real = random.normal(size=(200, 1)) @ np.ones((1, 5)) + 0.1 * random.normal(size=(200, 5))
    real *= [1, 10, 100, 1000, 1]  # of whatever unit
    made = real[:50] + real.std(0) * 3
    found = plots.cloud("t", "x", [measured("made", made), measured("real", real)])
    strict(found)
    groups = {group["name"]: group for group in found["groups"]}
    assert np.std(groups["real"]["x"]) > 5 * np.std(groups["real"]["y"])
    assert np.mean(groups["real"]["x"]) == pytest.approx(0, abs=1e-3)
    gap = np.mean(groups["made"]["x"]) - np.mean(groups["real"]["x"][:50])
    assert gap == pytest.approx(3 * 5**0.5, rel=0.02)
    again = plots.cloud("t", "x", [measured("made", made), measured("real", real)])
    assert again == found


@pytest.mark.parametrize("shape", [(1, 3), (2, 3), (4, 1), (3, 2, 4)])
def test_few_clips_one_feature_and_features_of_frames_are_drawn_too(
    shape: tuple[int, ...],
) -> None:
    rows = np.random.default_rng(0).normal(size=shape)
    found = plots.cloud("t", "x", [measured("made", rows), measured("real", rows)])
    strict(found)
    assert all(len(g["x"]) == len(g["y"]) == shape[0] for g in found["groups"])


def test_a_feature_that_real_clips_do_not_vary_in_is_not_blown_up() -> None:
    real = np.random.default_rng(0).normal(size=(20, 3))
    real[:, 1] = 0.5
    made = real + np.array([0, 1e-3, 0])
    found = plots.cloud("t", "x", [measured("made", made), measured("real", real)])
    one, other = (np.array(g["x"]) for g in found["groups"])
    assert np.abs(one - other).max() < 0.01


def test_a_network_s_accuracy_is_drawn_on_both_splits() -> None:
    found = plots.learning("t", [(0, 0.5, 0.25), (10, 1.0, 0.75)])
    strict(found)
    assert [(line["name"], line["x"], line["y"]) for line in found["lines"]] == [
        ("training clips", [0, 10], [0.5, 1.0]),
        ("validation clips", [0, 10], [0.25, 0.75]),
    ]
