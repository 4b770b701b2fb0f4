from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muybridge.data.shapes import AREAS, BELOW, PERIODS, SHAPES, coverage, touching

SIZE = (160, 200)
MIDDLE = np.array([[0.62, 0.49]])
CORNERS = {
    "square": np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], float),
    "triangle": np.array([[0, -1], [1, 1], [-1, 1]], float),
}


def outline(shape: str, points: int = 1200) -> np.ndarray:
    """Points on the outline of a shape of radius 1, corners included: (points, 2)."""
    if shape == "ball":
        angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
        return np.stack([np.cos(angle), np.sin(angle)], 1)
    corners = CORNERS[shape]
    along = np.linspace(0, 1, points // len(corners), endpoint=False)[:, None]
    sides = np.roll(corners, -1, 0) - corners
    return (corners[:, None] + along * sides[:, None]).reshape(-1, 2)


def centre_of(cover: np.ndarray) -> np.ndarray:
    """Centre of area of each picture, in picture heights: (time, 2)."""
    x, y = (np.arange(SIZE[1]) + 0.5) / SIZE[0], (np.arange(SIZE[0]) + 0.5) / SIZE[0]
    whole = cover.sum((1, 2))
    across, down = (cover.sum(1) * x).sum(1) / whole, (cover.sum(2) * y).sum(1) / whole
    return np.stack([across, down], 1)


@pytest.mark.parametrize("shape", SHAPES)
def test_outlines_are_where_the_distance_is_nothing(shape: str) -> None:
    x, y = outline(shape).T
    assert np.abs(SHAPES[shape](x, y)).max() < 1e-9
    assert (SHAPES[shape](0.9 * x, 0.9 * y) < 0).all()
    assert max(np.ptp(x), np.ptp(y)) == pytest.approx(2) and y.max() == pytest.approx(1)


@pytest.mark.parametrize("shape", SHAPES)
def test_areas_and_centres_are_those_of_the_outline(shape: str) -> None:
    x, y = outline(shape, 30000).T
    turn = x * np.roll(y, -1) - y * np.roll(x, -1)
    area = turn.sum() / 2
    assert AREAS[shape] == pytest.approx(area, rel=1e-6)
    assert BELOW[shape] == pytest.approx(((y + np.roll(y, -1)) * turn).sum() / 6 / area, abs=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=25)
@given(angle=st.floats(-10, 10), radius=st.floats(0.15, 0.3))
def test_a_turn_moves_neither_area_nor_its_centre(shape: str, angle: float, radius: float) -> None:
    cover = coverage(shape, MIDDLE, np.array([radius]), SIZE, np.array([angle]))
    assert cover.sum() / SIZE[0] ** 2 == pytest.approx(AREAS[shape] * radius**2, rel=0.01)
    centre = centre_of(cover)[0] - MIDDLE[0]
    assert np.allclose(centre, [0, BELOW[shape] * radius], atol=0.001)


@pytest.mark.parametrize("shape", CORNERS)
@settings(max_examples=25)
@given(angle=st.floats(-4, 4))
def test_a_turn_is_clockwise_as_seen(shape: str, angle: float) -> None:
    cover = coverage(shape, MIDDLE, 0.25, SIZE, np.array([angle]))[0]
    about = np.array([0, BELOW[shape]])
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    for corner in CORNERS[shape] - about:
        # A little within each corner is covered, a little beyond it is not.
        for share, covered in ((0.85, True), (1.15, False)):
            x, y = MIDDLE[0] + 0.25 * (about + share * turn @ corner)
            assert (cover[int(y * SIZE[0]), int(x * SIZE[0])] > 0.5) == covered


def test_a_square_looks_the_same_after_its_period_and_not_before() -> None:
    def at(shape: str, angle: float) -> np.ndarray:
        return coverage(shape, MIDDLE, 0.3, SIZE, np.array([angle]))

    period = PERIODS["square"]
    assert np.abs(at("square", 0.3) - at("square", 0.3 + period)).max() < 1e-3
    for share in (0.25, 0.5, 0.75):
        assert np.abs(at("square", 0.3) - at("square", 0.3 + share * period)).max() == 1
    # A triangle is nearly the same, and that near-miss is no nearer at any smaller turn.
    third = PERIODS["triangle"]
    apart = [
        np.abs(at("triangle", 0) - at("triangle", turn)).mean()
        for turn in np.linspace(0.1, 1.0, 10) * third
    ]
    assert min(apart[1:]) == apart[-1] < max(apart) / 3


def test_each_frame_has_its_own_radius_and_turn() -> None:
    radii, angles = np.array([0.1, 0.2, 0.3]), np.array([0.0, 0.4, 2.0])
    together = coverage("triangle", np.repeat(MIDDLE, 3, 0), radii, SIZE, angles)
    for i in range(3):
        alone = coverage("triangle", MIDDLE, float(radii[i]), SIZE, angles[i : i + 1])
        assert np.allclose(together[i], alone[0], atol=1e-5)
    upright = coverage("triangle", MIDDLE, 0.2, SIZE)
    assert np.allclose(upright, coverage("triangle", MIDDLE, 0.2, SIZE, np.zeros(1)), atol=1e-5)


@pytest.mark.parametrize("shapes", list(itertools.product(SHAPES, SHAPES)))
@settings(max_examples=25)
@given(radii=st.tuples(st.floats(0.1, 0.135), st.floats(0.1, 0.135)))
def test_things_touch_where_their_outlines_first_meet(
    shapes: tuple[str, str], radii: tuple[float, float]
) -> None:
    one, two = outline(shapes[0]) * radii[0], SHAPES[shapes[1]]
    # Both on one floor, the second to the right: signed distance of the first's outline to it.
    right = one - [touching(shapes, radii), radii[0] - radii[1]]
    gap = (two(*(right / radii[1]).T)).min() * radii[1]
    assert abs(gap) < 1e-3 * radii[0]
    nearer, farther = ((right + np.array([step, 0])) / radii[1] for step in (0.002, -0.002))
    assert two(*nearer.T).min() < 0 < two(*farther.T).min()
