"""The windows in which a canvas is filled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muybridge.core.errors import MuybridgeError
from muybridge.generation.canvas import Canvas, Known, Scene, Window, windows

ALL = Known(np.zeros((2, 2, 3), np.uint8))
PART = Known(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), bool))
LENGTH, SPAN = 16, 4


def of(canvas: Canvas) -> list[Window]:
    return list(windows(canvas, LENGTH, SPAN))


def spans(canvas: Canvas) -> list[tuple[int, int, int]]:
    return [(w.begin, w.end, w.kept) for w in of(canvas)]


def known(*places: int) -> dict[int, Known]:
    return dict.fromkeys(places, ALL)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_each_frame_is_made_once_and_goes_on_from_what_is_there(data: st.DataObject) -> None:
    frames = data.draw(st.integers(1, 90))
    there = data.draw(st.sets(st.integers(0, frames - 1)))
    partly = data.draw(st.sets(st.integers(0, frames - 1)))
    cuts = sorted(data.draw(st.sets(st.integers(1, 89), max_size=4)))
    scenes = [Scene(0), *(Scene(at, "x", data.draw(st.booleans())) for at in cuts if at < frames)]
    loop = frames >= LENGTH and data.draw(st.booleans())
    whole = dict.fromkeys(partly, PART) | known(*there)
    canvas = Canvas(frames, 8, known=whole, scenes=scenes, loop=loop)
    made: set[int] = set()
    for window in of(canvas):
        new = {at for at in range(window.begin, window.kept)} - made - there
        assert new, "a window that makes nothing"
        assert 0 <= window.begin < window.kept <= min(window.end, window.limit)
        assert window.end - window.begin in (LENGTH, -(-frames // SPAN) * SPAN)
        # All before the first new frame are there, within the scene.
        assert all(at in made | there for at in range(window.begin, min(new)))
        begun = max((s.begin for s in scenes if s.cut and s.begin <= min(new)), default=0)
        assert window.begin >= begun
        assert window.scene.begin <= min(new)
        made |= new
    assert made | there == set(range(frames))


def test_a_short_clip_is_one_window() -> None:
    assert spans(Canvas(16, 8)) == [(0, 16, 16)]
    assert spans(Canvas(10, 8)) == [(0, 12, 10)]
    assert spans(Canvas(16, 8, known=known(0, 15))) == [(0, 16, 16)]


def test_a_long_one_goes_on_from_half_of_each_window() -> None:
    halves = [(0, 16, 16), (8, 24, 24), (16, 32, 32), (24, 40, 40)]
    assert spans(Canvas(40, 8)) == halves
    assert spans(Canvas(40, 8, known=known(*range(8)))) == halves


def test_a_passage_is_in_the_middle_of_its_window() -> None:
    canvas = Canvas(40, 8, known=known(*range(16), *range(24, 40)))
    assert spans(canvas) == [(12, 28, 28)]


def test_the_last_window_of_a_loop_leads_to_its_beginning() -> None:
    assert spans(Canvas(16, 8, loop=True)) == [(0, 16, 8), (4, 20, 16)]
    assert spans(Canvas(40, 8, loop=True))[-1] == (28, 44, 40)
    assert spans(Canvas(24, 8, known=known(*range(16)), loop=True)) == [(12, 28, 24)]
    with pytest.raises(MuybridgeError, match="fewer than the 16") as caught:
        of(Canvas(15, 8, loop=True))
    assert "2 s" in caught.value.hint


def test_frames_between_known_ones_are_not_made_beyond_the_last() -> None:
    for every in (2, 4, 8):
        there = known(*range(0, 81, every))
        for window in of(Canvas(81, 16, known=there, every=every)):
            assert window.begin % every == 0 and (window.kept - 1) % every == 0


@pytest.mark.parametrize(
    ("length", "every"), [(n, k) for n in (8, 12, 16) for k in (2, 4, 8) if k < n]
)
def test_frames_between_known_ones_end(length: int, every: int) -> None:
    canvas = Canvas(41, 16, known=known(*range(0, 41, every)), every=every)
    made = {at for w in windows(canvas, length, SPAN) for at in range(w.begin, w.kept)}
    assert made == set(range(41))


def test_a_known_frame_just_beyond_a_window_is_led_to_by_the_next() -> None:
    assert spans(Canvas(20, 8, known=known(0, 16))) == [(0, 16, 8), (4, 20, 20)]
    assert spans(Canvas(18, 8, known=known(0, 17))) == [(0, 16, 9), (5, 21, 18)]
    canvas = Canvas(25, 8, known=known(*range(8), *range(17, 25)))
    assert spans(canvas) == [(0, 16, 9), (5, 21, 21)]
    # Where there is none near, all that was made is kept.
    assert spans(Canvas(40, 8, known=known(0, 39)))[:2] == [(0, 16, 16), (8, 24, 24)]


def test_a_model_that_sees_no_two_sides_makes_no_loop() -> None:
    with pytest.raises(MuybridgeError, match="4 to a token"):
        list(windows(Canvas(16, 8, loop=True), 8, 4))


def test_a_scene_that_is_cut_knows_nothing_of_the_others() -> None:
    scenes = [Scene(0, "a"), Scene(12, "b", cut=True), Scene(30, "c")]
    found = of(Canvas(40, 8, scenes=scenes))
    assert [(w.begin, w.kept, w.limit, w.scene.text) for w in found] == [
        (0, 12, 12, "a"), (12, 28, 40, "b"), (20, 30, 40, "b"), (22, 38, 40, "c"), (30, 40, 40, "c")
    ]  # fmt: skip
