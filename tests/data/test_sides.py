from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muybridge.data.sides import mirrored, mirrored_name, names_height, names_side

SURE = [
    ("a man waves his left hand", "a man waves his right hand"),
    ("The car moves to the right.", "The car moves to the left."),
    ("from left to right", "from right to left"),
    ("Left-to-right pan", "Right-to-left pan"),
    ("walking LEFT, then turning Right", "walking RIGHT, then turning Left"),
    ("on the far left of the picture", "on the far right of the picture"),
    ("drifts leftwards", "drifts rightwards"),
    ("the rightmost dog", "the leftmost dog"),
    ("a left-handed player", "a right-handed player"),
    ("she looks left and he looks right", "she looks right and he looks left"),
    ("the man's left shoulder", "the man's right shoulder"),
    ("turn_left", "turn_right"),
    ("to the left, two people", "to the right, two people"),
]
UNSURE = [
    "she left the room",
    "he has left",
    "it is all right",
    "what he does right now",
    "a right angle",
    "runs right behind the bus",
    "the right person",
    "two biscuits are left",
    "on the right track",
    "turns clockwise",
    "spins counter-clockwise",
    "throws two lefts",
    "TurnLeft",
    "the dog that was left at home",
]


@pytest.mark.parametrize(("text", "other"), SURE)
def test_sides_are_swapped_and_swapped_back(text: str, other: str) -> None:
    assert mirrored(text) == other
    assert mirrored(other) == text


@pytest.mark.parametrize("text", UNSURE)
def test_what_may_mean_something_else_is_not_touched(text: str) -> None:
    assert mirrored(text) is None


def test_one_unsure_word_is_enough() -> None:
    assert mirrored("his left hand waves") is not None
    assert mirrored("his left hand waves right now") is None


@pytest.mark.parametrize(
    "text", ["", "a bright, upright copyright", "leftovers alright", "a righteous bird", "ein Ball"]
)
def test_words_that_only_contain_a_side_stay(text: str) -> None:
    assert mirrored(text) == text
    assert not names_side(text)


@given(st.lists(st.sampled_from([*"abc,.-_ '", "left", "right", " to the ", "hand", "Left"])))
def test_no_side_is_overlooked_and_nothing_else_is_changed(pieces: list[str]) -> None:
    text = "".join(pieces)
    other = mirrored(text)
    if other is None:
        return
    assert mirrored(other) in (text, None)
    swap = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}
    # Whatever is not a side is the same, and every word that is one is swapped.
    for one, two in zip(words(text), words(other), strict=True):
        assert two == swap.get(one, one)


def words(text: str) -> list[str]:
    for mark in ",.-_'":
        text = text.replace(mark, f" {mark} ")
    return text.split()


def test_a_name_is_mirrored_only_into_a_known_one() -> None:
    known = ["turn_left", "turn_right", "TurnLeft", "TurnRight", "swipe left", "jump", "LEFT"]
    assert mirrored_name("turn_left", known) == "turn_right"
    assert mirrored_name("TurnRight", known) == "TurnLeft"
    assert mirrored_name("jump", known) == "jump"
    assert mirrored_name("", known) == ""
    assert mirrored_name("swipe left", known) is None
    assert mirrored_name("LEFT", known) is None
    assert mirrored_name("clockwise", ["clockwise", "counterclockwise"]) is None
    assert mirrored_name("bright light", known) == "bright light"


@pytest.mark.parametrize("text", ["swipe_up", "a ball falls", "UPWARDS", "under the table"])
def test_words_of_height_are_known(text: str) -> None:
    assert names_height(text)


@pytest.mark.parametrize("text", ["a cup", "a group of ducks", "", "the left hand"])
def test_other_words_are_not_of_height(text: str) -> None:
    assert not names_height(text)
