from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muybridge.core.errors import MuybridgeError
from muybridge.data.casting import (
    COLOURS,
    HELD_OUT,
    USUAL,
    caption_of,
    combination_at,
    combinations,
    motions_of,
    phrasings,
    row_at,
    seconds_of,
    things_at,
)
from muybridge.data.physics import MOTIONS, TOGETHER
from muybridge.data.shapes import SHAPES

some_motions = st.lists(st.sampled_from(list(MOTIONS)), min_size=1, unique=True)


def captions_of(motion: str) -> list[str]:
    """Every caption that a clip of this motion may have."""
    return [
        caption_of(colour, shape, motion, phrasing, second)
        for colour, shape in itertools.product(COLOURS, SHAPES)
        for second in seconds_of(colour, shape, motion) or [None]
        for phrasing in range(len(phrasings(motion)))
    ]


@pytest.mark.parametrize("motions", [USUAL, tuple(MOTIONS), ("spin",), ("collide", "pair")])
def test_combinations_are_even_and_all_come(motions: tuple[str, ...]) -> None:
    seen, unseen = combinations(False, motions), combinations(True, motions)
    assert len(seen) + len(unseen) == len(COLOURS) * len(SHAPES) * len(motions)
    assert not set(seen) & set(unseen)
    block, blocks = len(seen) + len(HELD_OUT), len(motions)
    made = [combination_at(9, index, motions) for index in range(block * blocks)]
    for begin in range(0, len(made), block):
        part = made[begin : begin + block]
        assert sorted(one for one in part if one[:2] not in HELD_OUT) == sorted(seen)
    assert {made.count(one) for one in unseen} == {1}
    assert made[:block] != sorted(made[:block])


@settings(max_examples=40)
@given(some_motions, st.integers(0, 2**31), st.integers(0, 10**6))
def test_the_order_in_which_motions_are_named_is_nothing(
    motions: list[str], seed: int, index: int
) -> None:
    row = row_at(seed, index, motions)
    motions.reverse()
    assert row_at(seed, index, ",".join(motions)) == row
    assert row["motion"] in motions


def test_motions_left_out_are_the_first_three() -> None:
    assert USUAL == ("bounce", "slide", "hide") == tuple(MOTIONS)[:3]
    for index in range(100):
        assert combination_at(2, index) == combination_at(2, index, USUAL)
    assert {motion for _, _, motion in combinations(False)} == set(USUAL)


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(0, 10**6))
def test_a_second_thing_is_of_another_colour_and_never_held_out(seed: int, index: int) -> None:
    motion = combination_at(seed, index, "all")[2]
    first, *others = things_at(seed, index, "all")
    assert len(others) == (motion in TOGETHER)
    for second in others:
        assert second[0] != first[0] and second not in HELD_OUT
        assert motion != "pair" or second[1] != first[1]


def test_every_second_thing_comes() -> None:
    for motion in TOGETHER:
        made = {things_at(3, index, (motion,)) for index in range(2500)}
        every = {
            ((colour, shape), second)
            for colour, shape, _ in combinations(False, (motion,))
            for second in seconds_of(colour, shape, motion)
        }
        assert every <= made


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.integers(0, 10**6))
def test_rows_and_captions_say_what_a_clip_shows(seed: int, index: int) -> None:
    row = row_at(seed, index, "all")
    things = things_at(seed, index, "all")
    assert (row["colour"], row["shape"]) == things[0]
    assert ("colour2" in row) == ("shape2" in row) == (len(things) == 2)
    if len(things) == 2:
        assert (row["colour2"], row["shape2"]) == things[1]
    assert (things[0] in HELD_OUT) == (row.get("split") == "test")
    assert {word for thing in things for word in thing} <= set(row["caption"].split())


def test_no_caption_can_mean_two_things() -> None:
    every = [caption for motion in MOTIONS for caption in captions_of(motion)]
    assert len(every) == len(set(every)) > 1000
    assert all("{" not in caption for caption in every)
    assert all(len(phrasings(motion)) >= 3 for motion in MOTIONS)


def test_two_things_are_named_in_the_caption_and_one_is_not_named_twice() -> None:
    assert caption_of("red", "ball", "collide", 0, ("blue", "triangle")) == (
        "a red ball hits a blue triangle"
    )
    assert caption_of("yellow", "ball", "pair", 1, ("green", "square")) == (
        "a green square slides while a yellow ball bounces"
    )
    with pytest.raises(MuybridgeError, match="two things"):
        caption_of("red", "ball", "collide")
    with pytest.raises(MuybridgeError, match="one thing"):
        caption_of("red", "ball", "spin", 0, ("blue", "triangle"))


def test_unknown_words_are_named_with_the_nearest() -> None:
    with pytest.raises(MuybridgeError, match="did you mean 'purple'"):
        caption_of("purpel", "ball", "slide")
    with pytest.raises(MuybridgeError, match=r"shape: .*did you mean 'square'"):
        caption_of("red", "ball", "pair", 0, ("blue", "sqare"))
    with pytest.raises(MuybridgeError, match="motion"):
        phrasings("fly")


@pytest.mark.parametrize(
    ("words", "motions"),
    [
        ("all", tuple(MOTIONS)),
        (["all"], tuple(MOTIONS)),
        ("spin", ("spin",)),
        ("spin, bounce", ("bounce", "spin")),
        (("pair", "pair", "slide"), ("slide", "pair")),
    ],
)
def test_motions_are_read_from_words(words: str | list[str], motions: tuple[str, ...]) -> None:
    assert motions_of(words) == motions


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("spinn,bounce", "'spinn'; did you mean 'spin'"),
        (["all", "bounce"], "'all'"),
        ("", "''"),
        ([], "none is given"),
    ],
)
def test_motions_that_cannot_be_are_named(words: str | list[str], named: str) -> None:
    with pytest.raises(MuybridgeError, match=named) as caught:
        motions_of(words)
    assert "bounce" in caught.value.hint
