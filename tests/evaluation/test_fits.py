from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muybridge.evaluation.fits import circle, even, flights, gain, meeting, slide

TIMES = np.arange(16) / 8


def bouncing(gravity: float, restitution: float, times: np.ndarray = TIMES) -> np.ndarray:
    """How far down a thing is that falls from 0.2 to 0.8, stepped in fine time."""
    place, speed, step, now = 0.2, 0.0, 1e-4, 0.0
    found = []
    for time in times:
        while now < time - step / 2:
            speed += gravity * step
            place += speed * step - gravity * step**2 / 2
            if place > 0.8 and speed > 0:
                place, speed = 1.6 - place, -restitution * speed
            now += step
        found.append(place)
    return np.array(found)


def test_gravity_of_a_throw_is_that_of_its_parabola() -> None:
    found = flights(TIMES, 0.7 - 1.1 * TIMES + 1.3 * TIMES**2 / 2)
    assert found.gravity == pytest.approx(1.3, abs=1e-9)
    assert not len(found.gains)


@pytest.mark.parametrize("restitution", [0.7, 0.8, 0.9])
@pytest.mark.parametrize("gravity", [1.6, 2.4, 4.0])
def test_gravity_and_rebounds_of_a_bounce(gravity: float, restitution: float) -> None:
    down = bouncing(gravity, restitution)
    found = flights(TIMES, down)
    assert found.gravity == pytest.approx(gravity, rel=0.04)
    assert len(found.gains)
    assert found.gains == pytest.approx(restitution**2 - 1, abs=0.06)
    back = flights(TIMES, down[::-1])
    assert back.gravity == pytest.approx(found.gravity)
    assert back.gains == pytest.approx(-found.gains[::-1])


def test_gravity_stands_noise_of_a_third_of_a_pixel_and_one_bad_frame() -> None:
    off = []
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(0, 0.005, 16)
        noise[seed % 16] += 0.02
        off.append(flights(TIMES, bouncing(2.4, 0.8) + noise).gravity / 2.4 - 1)
    assert np.median(np.abs(off)) < 0.03 and np.abs(off).max() < 0.12


@pytest.mark.parametrize(
    "down", [np.full(16, 0.5), np.linspace(0.5, 0.53, 16), np.array([0.2, 0.5, 0.8]), np.empty(0)]
)
def test_no_flight_has_no_gravity(down: np.ndarray) -> None:
    found = flights(TIMES[: len(down)], down)
    assert np.isnan(found.gravity) and not len(found.gains)


@given(st.floats(0.01, 5), st.floats(0.01, 5))
def test_a_gain_is_the_opposite_backwards(before: float, after: float) -> None:
    assert -1 <= gain(before, after) <= 1
    assert gain(after, before) == -gain(before, after)
    assert (gain(before, after) > 0) == (after > before)


@given(st.floats(0.3, 1), st.floats(0.8, 3), st.sampled_from([-1, 1]))
def test_a_slide_that_stops_or_not_slows_as_it_does(friction: float, stop: float, way: int) -> None:
    left = np.maximum(stop - TIMES, 0)
    x = 0.5 - way * friction * left**2 / 2
    found = slide(TIMES, x)
    assert found.acceleration == pytest.approx(-friction, rel=0.03, abs=1e-6)
    assert found.unevenness < 0.005
    back = slide(TIMES, x[::-1])
    assert back.acceleration == pytest.approx(-found.acceleration, rel=1e-6)


def test_a_slide_at_one_speed_neither_slows_nor_gains() -> None:
    found = slide(TIMES, 0.1 + 0.3 * TIMES)
    assert found.acceleration == pytest.approx(0, abs=1e-9)
    assert found.unevenness == pytest.approx(0, abs=1e-9)


def test_a_slide_with_a_halt_is_uneven() -> None:
    x = 0.1 + 0.5 * TIMES - 0.1 * TIMES**2
    halting = x.copy()
    halting[5:9] = x[5]
    assert slide(TIMES, halting).unevenness > 20 * max(slide(TIMES, x).unevenness, 1e-4)


def test_what_does_not_go_anywhere_does_not_slide() -> None:
    for x in (np.full(16, 0.4), 0.4 + 0.001 * TIMES, np.array([0.1, 0.9])):
        assert np.isnan(slide(TIMES[: len(x)], x).acceleration)


def test_even_change_is_the_least_squares_line() -> None:
    values = np.random.default_rng(0).normal(0, 1, 16)
    line = np.polyfit(TIMES, values, 1)
    found = even(TIMES, values)
    assert found.rate == pytest.approx(line[0])
    off = np.sqrt(np.mean((np.polyval(line, TIMES) - values) ** 2))
    assert found.unevenness == pytest.approx(off / (values.max() - values.min()))
    assert np.isnan(even(TIMES[:3], values[:3]).rate)
    assert np.isnan(even(TIMES, np.ones(16)).unevenness)


@given(st.floats(0.1, 0.4), st.floats(1.5, 5), st.sampled_from([-1, 1]), st.floats(0, 6))
def test_a_circle_is_found(radius: float, speed: float, way: int, begin: float) -> None:
    angle = begin + way * speed * TIMES
    found = circle(TIMES, np.column_stack([0.5 + radius * np.cos(angle), radius * np.sin(angle)]))
    assert found.radius == pytest.approx(radius)
    assert found.speed == pytest.approx(way * speed)
    assert found.spread == pytest.approx(0, abs=1e-6)
    assert found.unevenness == pytest.approx(0, abs=1e-6)


def test_an_ellipse_and_a_halt_are_no_even_circle() -> None:
    angle = 3.5 * TIMES
    ellipse = np.column_stack([0.3 * np.cos(angle), 0.2 * np.sin(angle)])
    assert circle(TIMES, ellipse).spread > 0.1
    angle[6:10] = angle[6]
    halting = 0.3 * np.column_stack([np.cos(angle), np.sin(angle)])
    assert circle(TIMES, halting).unevenness > 0.03
    assert circle(TIMES, halting).spread < 1e-6
    line = np.column_stack([TIMES, 2 * TIMES])
    assert np.isnan(circle(TIMES, line).radius)


@given(st.floats(0.5, 1.4), st.floats(-0.4, 0.4), st.floats(-0.4, 0.4), st.booleans())
def test_a_meeting_is_found(contact: float, fast: float, slow: float, mirrored: bool) -> None:
    before, after = np.array([0.6, slow / 2]), np.array([fast - 0.45, fast + 0.1])
    since = (TIMES - contact)[:, None]
    x = np.array([0.4, 0.6]) + np.where(since < 0, before, after) * since
    x = 1 - x if mirrored else x
    found, way = meeting(TIMES, *x.T), -1 if mirrored else 1
    assert found.time == pytest.approx(contact, abs=0.02)
    assert found.before == pytest.approx(tuple(way * before), abs=0.03)
    assert found.after == pytest.approx(tuple(way * after), abs=0.03)
    assert found.closing == pytest.approx(0.6 - slow / 2, abs=0.04)
    assert found.parting == pytest.approx(0.55, abs=0.04)


def test_too_few_frames_have_no_meeting() -> None:
    assert np.isnan(meeting(TIMES[:5], TIMES[:5], 1 - TIMES[:5]).closing)
