from __future__ import annotations

import numpy as np
import pytest

from muybridge.data.physics import Movement
from muybridge.data.scenery import Thing, paint
from muybridge.data.shapes import coverage

SIZE, FLOOR = (64, 96), 0.86


def thing(shape: str, x: float, radius: float, lift: float = 0.0) -> Thing:
    """A still thing on the floor or above it, in one frame."""
    place = np.array([[x, FLOOR - radius - lift]])
    movement = Movement("still", place, 0 * place, radius, FLOOR)
    return Thing((226, 30, 34), shape, movement, coverage(shape, place, radius, SIZE))


def painted(*things: Thing) -> np.ndarray:
    return paint(np.random.default_rng(3), things).astype(int)


def unseen(one: Thing) -> Thing:
    """The same, but for its shadow of nothing that can be seen."""
    return Thing(one.rgb, one.shape, one.movement, np.zeros_like(one.cover))


@pytest.mark.parametrize("shape", ["ball", "square", "triangle"])
def test_each_of_two_things_looks_as_it_does_alone(shape: str) -> None:
    one, two = thing(shape, 0.3, 0.13), thing("ball", 1.2, 0.11)
    both, left, right = painted(one, two)[0], painted(one)[0], painted(two)[0]
    # Far from the other, which throws no shadow so wide.
    assert np.abs(both[:, :36] - left[:, :36]).max() <= 1
    assert np.abs(both[:, -30:] - right[:, -30:]).max() <= 1
    # The floor at its foot is darker than where nothing stands there.
    foot = (slice(int(FLOOR * 64), int(FLOOR * 64) + 3), slice(75, 79))
    assert both[foot].mean() < 0.8 * left[foot].mean()
    seen = two.cover[0] > 0.99
    assert np.ptp(both[seen].max(-1)) > 40


def test_a_shadow_never_falls_on_a_thing() -> None:
    one, two = thing("square", 0.6, 0.13), thing("square", 0.87, 0.13)
    both, alone = painted(one, two)[0], painted(one)[0]
    seen = one.cover[0] == 1
    assert (both[seen] == alone[seen]).all()
    assert (painted(one, unseen(two))[0][~seen] <= alone[~seen]).all()


def test_light_and_shadow_keep_to_a_size_that_changes() -> None:
    sizes = np.linspace(0.09, 0.22, 5)
    places = np.stack([np.full(5, 0.7), FLOOR - sizes], 1)
    movement = Movement("grow", places, 0 * places, sizes[0], FLOOR, sizes=sizes)
    cover = coverage("ball", places, sizes, SIZE)
    frames = painted(Thing((226, 30, 34), "ball", movement, cover))
    for i, size in enumerate(sizes):
        assert np.abs(frames[i] - painted(thing("ball", 0.7, size))[0]).max() <= 1


def test_only_a_ball_that_turns_has_a_bar() -> None:
    angles = np.array([0.0, np.pi / 2])
    place = np.full((2, 2), 0.5)
    cover = coverage("ball", place, 0.2, SIZE)
    turns = Movement("spin", place, 0 * place, 0.2, FLOOR, angles=angles)
    rests = Movement("still", place, 0 * place, 0.2, FLOOR)
    marked = painted(Thing((226, 30, 34), "ball", turns, cover))[..., 0]
    plain = painted(Thing((226, 30, 34), "ball", rests, cover))[..., 0]
    changed = marked != plain
    for i, axis in enumerate((1, 0)):
        rows, columns = np.nonzero(changed[i])
        long, short = np.ptp(columns if axis else rows), np.ptp(rows if axis else columns)
        assert long > 2 * short > 0
        # It stays within the outline, and is darker.
        assert (cover[i][changed[i]] == 1).all() and (marked[i] <= plain[i]).all()
    square = coverage("square", place, 0.2, SIZE)
    same = painted(Thing((226, 30, 34), "square", turns, square))
    assert (same == painted(Thing((226, 30, 34), "square", rests, square))).all()
