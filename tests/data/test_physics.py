from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muybridge.data.physics import GRAVITY, MOTIONS, TOGETHER, Movement, Room
from muybridge.data.shapes import BELOW, PERIODS, SHAPES, touching

FINE = 2000
seeds = st.integers(0, 2**31)
aspects = st.sampled_from([0.125, 0.5, 2 / 3, 1.0, 1.75, 10.0])
lengths = st.sampled_from([0.5, 2.0, 5.0])
shape = st.sampled_from(list(SHAPES))
alike = st.tuples(shape, shape)


def made(
    motion: str, seed: int, shapes: tuple[str, str], aspect: float = 1.0, seconds: float = 2.0
) -> tuple[np.ndarray, tuple[Movement, ...]]:
    """The moments and movements of one clip, moment by moment."""
    times = np.arange(FINE) / FINE * seconds
    kept = shapes if motion in TOGETHER else shapes[:1]
    room = Room(aspect, seconds, times)
    return times, MOTIONS[motion](np.random.default_rng(seed), room, kept)


def sizes_of(movement: Movement) -> np.ndarray:
    return movement.radius + np.zeros(FINE) if movement.sizes is None else movement.sizes


@pytest.mark.parametrize("motion", MOTIONS)
@settings(max_examples=30)
@given(seed=seeds, shapes=alike, aspect=aspects, seconds=lengths)
def test_speeds_are_those_of_the_places_but_for_landings_and_contacts(
    motion: str, seed: int, shapes: tuple[str, str], aspect: float, seconds: float
) -> None:
    times, movements = made(motion, seed, shapes, aspect, seconds)
    step = times[1]
    assert len(movements) == (2 if motion in TOGETHER else 1)
    for movement in movements:
        # The mean of the speeds at both ends is exact for even acceleration; a circle's is not.
        mean = (movement.velocity[1:] + movement.velocity[:-1]) / 2
        found = np.diff(movement.position, axis=0) / step
        speed = np.abs(movement.velocity).max()
        free = np.abs(found - mean).max(1) < 1e-4 * speed + 1e-9
        # Each landing breaks one step, each stop (of a slide, of a bounce) or contact one more.
        assert (~free).sum() <= len(movement.landings) + 2


@pytest.mark.parametrize("motion", MOTIONS)
@settings(max_examples=30)
@given(seed=seeds, shapes=alike, aspect=aspects, seconds=lengths)
def test_things_stay_in_the_picture_above_the_floor_and_apart(
    motion: str, seed: int, shapes: tuple[str, str], aspect: float, seconds: float
) -> None:
    _, movements = made(motion, seed, shapes, aspect, seconds)
    for form, movement in zip(shapes, movements, strict=False):
        size, centre = sizes_of(movement), movement.position.copy()
        reach = size
        if movement.angles is not None:
            centre[:, 1] += BELOW[form] * size
            reach = size * {"ball": 1, "square": math.sqrt(2), "triangle": 4 / 3}[form]
        assert (centre - reach[:, None]).min() > 0
        assert (centre[:, 0] + reach).max() < aspect
        assert (centre[:, 1] + reach).max() < movement.floor + 1e-9 < 1
        assert movement.floor == movements[0].floor
    if len(movements) == 2:
        radii = (movements[0].radius, movements[1].radius)
        apart = np.abs(movements[0].position[:, 0] - movements[1].position[:, 0])
        least = touching((shapes[0], shapes[1]), radii) if motion == "collide" else sum(radii)
        assert apart.min() > least - 1e-9
        # Nor does either get past the other.
        assert len(set(np.sign(movements[0].position[:, 0] - movements[1].position[:, 0]))) == 1


@settings(max_examples=50)
@given(seeds, alike, aspects, lengths)
def test_a_collision_keeps_momentum_and_loses_energy_by_its_restitution(
    seed: int, shapes: tuple[str, str], aspect: float, seconds: float
) -> None:
    times, (one, two) = made("collide", seed, shapes, aspect, seconds)
    masses = np.array(one.constants["masses"])
    areas = {"ball": math.pi, "square": 4, "triangle": 2}
    assert masses[0] == pytest.approx(areas[shapes[0]] * one.radius**2)
    assert masses[1] == pytest.approx(areas[shapes[1]] * two.radius**2)
    x = np.stack([one.position[:, 0], two.position[:, 0]], 1)
    contact = one.constants["contact"]
    assert contact == two.constants["contact"]
    assert seconds / 4 <= contact <= 3 * seconds / 4
    begin, end = np.searchsorted(times, contact) + np.array([-1, 0])
    # From where they are, not from the speeds that are said.
    before = (x[begin] - x[0]) / (times[begin] - times[0])
    after = (x[-1] - x[end]) / (times[-1] - times[end])
    scale = np.abs(before).max()
    assert masses @ before == pytest.approx(masses @ after, abs=1e-9 * scale)
    assert 0.6 <= one.restitution == two.restitution <= 0.95
    met, left = before[0] - before[1], after[1] - after[0]
    assert left / met == pytest.approx(one.restitution, rel=1e-9)
    lost = (masses @ before**2 - masses @ after**2) / 2
    reduced = masses.prod() / masses.sum()
    assert lost == pytest.approx(reduced * met**2 * (1 - one.restitution**2) / 2, rel=1e-6)
    # They touch at the moment of contact, and nowhere else.
    radii = (one.radius, two.radius)
    at = x[begin] + before * (contact - times[begin])
    apart = np.abs(at[0] - at[1])
    assert apart == pytest.approx(touching((shapes[0], shapes[1]), radii), abs=1e-9)
    assert apart == pytest.approx(one.constants["apart"])
    gap = np.abs(x[:, 0] - x[:, 1]) - apart
    assert gap.min() > -1e-9 and gap[0] > 0.05 * min(1, aspect) < 20 * gap[-1]
    # The first is always the one that moves.
    assert abs(before[0]) >= abs(before[1]) and abs(before[0]) * seconds > 0.2 * min(1, aspect)


def test_collisions_are_of_all_kinds() -> None:
    rest, ways, masses = 0, set(), []
    for seed in range(200):
        _, (one, two) = made("collide", seed, ("ball", "square"))
        rest += two.velocity[0, 0] == 0
        ways.add(np.sign(one.velocity[0, 0]))
        masses.append(two.constants["masses"][0] / two.constants["masses"][1])
    assert 50 < rest < 110 and ways == {-1, 1} and max(masses) > 1 > min(masses)


@settings(max_examples=50)
@given(seeds, shape, aspects, lengths)
def test_a_circle_is_gone_round_evenly(seed: int, form: str, aspect: float, seconds: float) -> None:
    times, (thing,) = made("circle", seed, (form, form), aspect, seconds)
    out = thing.position - thing.constants["centre"]
    assert np.allclose(np.hypot(*out.T), thing.constants["path_radius"], atol=1e-12)
    assert thing.constants["path_radius"] > 0.2 * min(1, aspect)
    angle = np.unwrap(np.arctan2(out[:, 1], out[:, 0]))
    assert np.allclose(np.diff(angle) / times[1], thing.constants["angular_speed"], rtol=1e-6)
    # At 8 frames a second the last is an eighth of a second before the end.
    turns = abs(thing.constants["angular_speed"]) / 2 / math.pi
    assert turns * (seconds - seconds / 16) >= 0.75
    assert turns * seconds < 1.5


@settings(max_examples=50)
@given(seeds, shape, aspects, lengths)
def test_growth_is_even_and_from_the_floor(
    seed: int, form: str, aspect: float, seconds: float
) -> None:
    times, (thing,) = made("grow", seed, (form, form), aspect, seconds)
    size = sizes_of(thing)
    assert size[0] == thing.radius
    assert np.allclose(np.diff(size) / times[1], thing.constants["growth"], rtol=1e-6)
    assert size[np.searchsorted(times, seconds - seconds / 16)] > 1.6 * size[0]
    assert np.allclose(thing.position[:, 1] + size, thing.floor)
    assert np.ptp(thing.position[:, 0]) == 0


@settings(max_examples=50)
@given(seeds, shape, aspects, lengths)
def test_spinning_is_even_and_slow_enough_for_eight_frames_a_second(
    seed: int, form: str, aspect: float, seconds: float
) -> None:
    times, (thing,) = made("spin", seed, (form, form), aspect, seconds)
    speed = thing.constants["angular_speed"]
    assert np.allclose(np.diff(thing.angles) / times[1], speed, rtol=1e-6)
    assert thing.constants["period"] == PERIODS[form]
    assert PERIODS[form] / 20 < abs(speed) / 8 < PERIODS[form] / 8
    assert np.ptp(thing.position, axis=0).max() == np.abs(thing.velocity).max() == 0


def test_turns_are_either_way() -> None:
    for motion in ("circle", "spin"):
        ways = [made(motion, seed, ("ball", "ball"))[1][0] for seed in range(40)]
        clockwise = sum(way.constants["angular_speed"] > 0 for way in ways)
        assert 8 < clockwise < 32


@settings(max_examples=50)
@given(seeds, alike, st.sampled_from([0.5, 1.0, 1.75]))
def test_a_pair_is_a_bounce_and_a_slide_that_can_be_seen(
    seed: int, shapes: tuple[str, str], aspect: float
) -> None:
    times, (one, two) = made("pair", seed, shapes, aspect)
    assert (one.motion, two.motion) == ("bounce", "slide")
    step, rise = times[1], one.velocity[:, 1]
    free = np.abs(np.diff(rise) / step - GRAVITY) < 1e-6
    assert one.landings and (~free).sum() <= len(one.landings) + 1
    assert np.ptp(one.position[:, 1]) > 0.2
    moving = np.abs(two.velocity[1:, 0]) > 0
    slowing = -np.diff(np.abs(two.velocity[:, 0]))[moving] / step
    assert np.allclose(slowing[:-1], two.friction, rtol=1e-6)
    assert np.ptp(two.position[:, 0]) > 0.15 * min(1, aspect)


def test_either_of_a_pair_may_be_on_the_left() -> None:
    left = [made("pair", seed, ("ball", "square"))[1] for seed in range(40)]
    assert 8 < sum(one.position[0, 0] < two.position[0, 0] for one, two in left) < 32
