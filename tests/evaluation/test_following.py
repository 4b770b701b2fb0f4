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
    seconds_of,
    things_at,
)
from muybridge.evaluation.following import hits, scores, wanted, wilson
from muybridge.evaluation.tracker import observe

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
    for first in itertools.product(COLOURS, SHAPES, MOTIONS):
        keys = ("colour", "shape", "motion", "colour2", "shape2")
        for second in seconds_of(*first) or [()]:
            for phrasing in range(len(phrasings(first[2]))):
                caption = caption_of(*first, phrasing, second or None)
                assert wanted(caption) == dict(zip(keys, first + second, strict=False))
                # No caption can mean two things.
                assert told.setdefault(caption, (first, second)) == (first, second)


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


def test_hits_of_each_clip_are_its_own(clips: Tensor, captions: list[str]) -> None:
    asked = [*captions[:3], "a dog", captions[5], captions[4]]
    found = hits(clips[:6], asked, 8)
    assert set(found) == {"colour", "shape", "motion", "all"}
    truth = [combination_at(6, index) for index in range(6)]
    for place, key in enumerate(("colour", "shape", "motion")):
        swapped = float(truth[4][place] == truth[5][place])
        np.testing.assert_array_equal(found[key], [1, 1, 1, np.nan, swapped, swapped])
    same = float(truth[4] == truth[5])
    np.testing.assert_array_equal(found["all"], [1, 1, 1, np.nan, same, same])
    again = hits([], asked, 8, observe(clips[:6], 8))
    for key in found:
        np.testing.assert_array_equal(found[key], again[key])


def test_hits_count_both_of_two_things() -> None:
    motions, settings = ("collide", "pair"), Settings((64, 64), 8, 2.0, 1, ("collide", "pair"))
    pictures = [render(settings, index)[0] for index in range(8)]
    looks = [things_at(1, index, motions) for index in range(8)]
    said = [combination_at(1, index, motions)[2] for index in range(8)]
    true = [caption_of(*a, m, 0, b) for (a, b), m in zip(looks, said, strict=True)]
    assert all((values == 1).all() for values in hits(pictures, true, 8).values())
    # The second of another colour.
    false = []
    for (a, b), motion in zip(looks, said, strict=True):
        other = next(look for look in seconds_of(*a, motion) if look[0] != b[0] and look[1] == b[1])
        false.append(caption_of(*a, motion, 0, other))
    found = hits(pictures, false, 8)
    assert (found["colour"] == 0).all() and (found["all"] == 0).all()
    assert (found["shape"] == 1).all() and (found["motion"] == 1).all()


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
