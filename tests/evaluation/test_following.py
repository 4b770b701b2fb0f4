from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from muybridge.core.clips import to_float
from muybridge.data.stage import (
    COLOURS,
    MOTIONS,
    SHAPES,
    Settings,
    caption_of,
    combination_at,
    phrasings,
    render,
)
from muybridge.evaluation.following import scores, wanted, wilson

COUNT = 24


@pytest.fixture(scope="module")
def clips() -> Tensor:
    made = [render(Settings((64, 64), 8, 2.0, 6), index)[0] for index in range(COUNT)]
    return torch.from_numpy(to_float(np.stack(made)))


@pytest.fixture(scope="module")
def captions() -> list[str]:
    return [caption_of(*combination_at(6, index), index) for index in range(COUNT)]


def test_every_caption_of_the_stage_is_understood() -> None:
    told = {}
    for colour, shape, motion in itertools.product(COLOURS, SHAPES, MOTIONS):
        for phrasing in range(len(phrasings(motion))):
            caption = caption_of(colour, shape, motion, phrasing)
            assert wanted(caption) == {"colour": colour, "shape": shape, "motion": motion}
            told[caption] = (colour, shape, motion)
    # No caption can mean two things.
    assert len(told) == sum(len(phrasings(motion)) for motion in MOTIONS) * len(COLOURS) * len(
        SHAPES
    )


@pytest.mark.parametrize(
    "caption", ["", "a dog", "a red ball", "a pink ball bouncing", "A red ball bouncing"]
)
def test_another_caption_is_not(caption: str) -> None:
    assert wanted(caption) is None


# Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(81, 263, 25.53, 36.62), (15, 148, 6.24, 16.05), (0, 20, 0, 16.11), (1, 29, 0.61, 17.18)],
)
def test_intervals_of_shares_are_the_published_ones(
    hits: int, count: int, low: float, high: float
) -> None:
    assert wilson(hits / count, count) == pytest.approx((low, high), abs=0.006)
    assert wilson(1 - hits / count, count) == pytest.approx((100 - high, 100 - low), abs=0.006)


@given(st.integers(1, 500), st.data())
def test_an_interval_holds_its_share_within_bounds(count: int, data: st.DataObject) -> None:
    share = data.draw(st.integers(0, count)) / count
    low, high = wilson(share, count)
    assert -1e-9 <= low <= 100 * share + 1e-9
    assert 100 * share - 1e-9 <= high <= 100 + 1e-9
    wider = wilson(share, max(1, count // 2))
    assert wider[1] - wider[0] >= high - low


def test_real_clips_follow_their_captions_as_far_as_can_be(
    clips: Tensor, captions: list[str]
) -> None:
    found = {score.name: score for score in scores(clips, captions, clips, captions, 8, {"fps": 8})}
    assert set(found) == {"colour as asked", "shape as asked", "motion as asked", "all as asked"}
    for score in found.values():
        assert score.value == score.floor and score.value > 70
        assert score.interval == wilson(score.value / 100, COUNT)
        assert score.manifest["fps"] == 8 and "tracker" in score.manifest
        assert (score.better, score.unit) == ("higher", "%")
    assert found["all as asked"].value <= min(score.value for score in found.values())


def test_clips_of_another_colour_fail_by_their_colour_alone(
    clips: Tensor, captions: list[str]
) -> None:
    true = {s.name: s.value for s in scores(clips, captions, clips, captions, 8, {})}
    following = dict(zip(COLOURS, [*list(COLOURS)[1:], next(iter(COLOURS))], strict=True))
    asked = [
        caption_of(following[colour], shape, motion)
        for colour, shape, motion in (combination_at(6, index) for index in range(COUNT))
    ]
    found = {s.name: s for s in scores(clips, asked, clips, captions, 8, {})}
    assert found["colour as asked"].value < 10
    assert found["all as asked"].value < 10
    for name in ("shape as asked", "motion as asked"):
        assert found[name].value == true[name]
    for name, value in true.items():
        assert found[name].floor == value


def test_nothing_is_said_where_a_caption_is_not_the_stages(
    clips: Tensor, captions: list[str]
) -> None:
    few, said = clips[:2], captions[:2]
    assert scores(few, ["", said[1]], few, said, 8, {}) == []
    assert scores(few, said, few, [said[0], "a dog"], 8, {}) == []
    assert scores(few, said, few, [], 8, {}) == []
    assert scores(few[:0], [], few, said, 8, {}) == []
