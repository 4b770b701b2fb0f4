from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
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
from muybridge.evaluation.following import hits, wanted
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
    found = {key: rows.mean() for key, rows in hits(clips, captions, 8).items()}
    assert set(found) == {"colour", "shape", "motion", "all"}
    assert min(found.values()) > 0.9
    assert found["all"] <= min(found.values())


def test_clips_of_another_colour_fail_by_their_colour_alone(
    clips: Tensor, captions: list[str]
) -> None:
    true = hits(clips, captions, 8)
    following = dict(zip(COLOURS, [*list(COLOURS)[1:], next(iter(COLOURS))], strict=True))
    asked = [
        caption_of(following[colour], shape, motion)
        for colour, shape, motion in (combination_at(6, index) for index in range(COUNT))
    ]
    found = hits(clips, asked, 8)
    assert found["colour"].mean() < 0.1 and found["all"].mean() < 0.1
    for name in ("shape", "motion"):
        assert (found[name] == true[name]).all()


def test_nothing_is_said_where_a_caption_is_not_the_stages(
    clips: Tensor, captions: list[str]
) -> None:
    found = hits(clips[:2], ["a dog", captions[1]], 8)
    for rows in found.values():
        assert np.isnan(rows[0]) and np.isfinite(rows[1])
