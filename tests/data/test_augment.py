from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muybridge.core.config import parse
from muybridge.core.errors import RecipeError
from muybridge.core.video import Frames
from muybridge.data.augment import AS_IT_IS, Config, Draw, Said, apply, draw, fitted

SEEDS = st.integers(0, 2**63 - 1)
EVERYTHING = Config(
    flip=0.5, flip_vertical=0.5, rotate=30, zoom=0.5, brightness=0.2, contrast=0.3, saturation=0.5,
    hue=40, noise=8, speed=0.4, rate=0.5,
)  # fmt: skip
NAMES = tuple(Config.model_fields)


def footage(time: int = 5, height: int = 24, width: int = 20, seed: int = 0) -> Frames:
    """Smooth noise, so that places between pixels mean something."""
    chance = np.random.default_rng(seed)
    rough = chance.integers(0, 256, (time, height, width, 3), np.uint8)
    smooth = [cv2.GaussianBlur(frame, (0, 0), 2) for frame in rough]
    return np.stack([cv2.normalize(frame, None, 0, 255, cv2.NORM_MINMAX) for frame in smooth])


def off(one: Frames, other: Any) -> float:
    """The largest difference in grey levels."""
    assert one.dtype == np.uint8
    return float(np.abs(one.astype(float) - other).max())


# --- draws ---------------------------------------------------------------------------------------


@given(SEEDS)
def test_a_draw_is_a_function_of_the_seed(seed: int) -> None:
    first = draw(EVERYTHING, seed)
    draw(EVERYTHING, seed + 1)
    np.random.seed(seed % 1000)
    assert draw(Config(**EVERYTHING.model_dump()), seed) == first
    clip = footage()
    assert np.array_equal(apply(clip, first), apply(clip, draw(EVERYTHING, seed)))


@given(SEEDS)
def test_nothing_asked_nothing_done(seed: int) -> None:
    assert draw(Config(), seed) == AS_IT_IS
    clip = footage()
    assert np.array_equal(apply(clip, draw(Config(), seed)), clip)


@given(SEEDS, st.sampled_from(NAMES))
def test_each_setting_is_drawn_by_itself(seed: int, name: str) -> None:
    """Alone it gives what it gives among all others, and touches nothing else."""
    alone, among = draw(Config(**{name: getattr(EVERYTHING, name)}), seed), draw(EVERYTHING, seed)
    own = {"rotate": ["angle"], "zoom": ["zoom", "shift"], "noise": ["noise", "seed"],
           "rate": ["every"]}.get(name, [name])  # fmt: skip
    for one in Draw.__dataclass_fields__:
        wanted = among if one in own else AS_IT_IS
        assert getattr(alone, one) == getattr(wanted, one)


def test_draws_fill_their_limits_and_keep_them() -> None:
    draws = [draw(EVERYTHING, seed) for seed in range(2000)]
    limits = {
        "angle": (-30, 30), "zoom": (1, 1.5), "brightness": (-0.2, 0.2), "contrast": (0.7, 1.3),
        "saturation": (0.5, 1.5), "hue": (-40, 40), "noise": (0, 8), "speed": (0.6, 1 / 0.6),
        "every": (1, 2),
    }  # fmt: skip
    for name, (least, most) in limits.items():
        values = np.array([getattr(one, name) for one in draws])
        slack = 0.01 * (most - least)
        assert least <= values.min() <= least + slack and most - slack <= values.max() <= most
    shifts = np.array([one.shift for one in draws])
    assert np.abs(shifts).max() <= 1 and shifts.max() > 0.99 and shifts.min() < -0.99
    for name in ("flip", "flip_vertical"):
        count = sum(getattr(one, name) for one in draws)
        assert abs(count - 1000) < 5 * 500**0.5
    assert abs(sum(one.every == 2 for one in draws) - 1000) < 5 * 500**0.5
    # As many faster as slower.
    assert abs(sum(one.speed > 1 for one in draws) - 1000) < 5 * 500**0.5


# --- pixels --------------------------------------------------------------------------------------


@given(SEEDS, st.integers(2, 70))
def test_a_still_clip_stays_still(seed: int, time: int) -> None:
    still = np.repeat(footage(1), time, axis=0)
    made = apply(still, draw(EVERYTHING, seed))
    assert made.shape == still.shape and made.dtype == np.uint8
    assert (made == made[0]).all()


@given(SEEDS, st.integers(2, 40))
def test_all_frames_are_changed_alike(seed: int, time: int) -> None:
    clip, wanted = footage(time), draw(EVERYTHING, seed)
    made = apply(clip, wanted)
    assert np.array_equal(apply(clip[::-1], wanted), made[::-1])
    assert off(apply(clip[:1], wanted), made[:1]) <= 8  # rounded otherwise


@given(SEEDS)
def test_the_source_is_left_as_it_is_and_may_be_any_view(seed: int) -> None:
    whole = footage(9, 30, 30)
    view = whole[1::2, 3:27, 5:25]
    before, wanted = view.copy(), draw(EVERYTHING, seed)
    whole.flags.writeable = False
    made = apply(view, wanted)
    assert np.array_equal(view, before)
    assert np.array_equal(made, apply(before, wanted))


@given(st.booleans(), st.booleans())
def test_flips_are_flips_and_twice_is_as_before(across: bool, down: bool) -> None:
    clip, wanted = footage(), Draw(flip=across, flip_vertical=down)
    made = apply(clip, wanted)
    assert np.array_equal(made, clip[:, :: -1 if down else 1, :: -1 if across else 1])
    assert np.array_equal(apply(made, wanted), clip)


@pytest.mark.parametrize("quarters", [-1, 0, 1, 2])
def test_angles_are_counterclockwise(quarters: int) -> None:
    clip = footage(3, 24, 24)
    made = apply(clip, Draw(angle=90.0 * quarters, hue=1e-9))
    assert off(made, np.rot90(clip, quarters, (1, 2))) <= 1


@given(
    st.floats(-180, 180), st.floats(1, 4), st.floats(-1, 1), st.floats(-1, 1), st.integers(1, 17)
)  # fmt: skip
def test_turning_and_zooming_take_each_pixel_from_its_place(
    angle: float, zoom: float, across: float, down: float, time: int
) -> None:
    clip = footage(time)
    made = apply(clip, Draw(angle=angle, zoom=zoom, shift=(across, down)))
    _, height, width, _ = clip.shape
    y, x = np.mgrid[:height, :width]
    # In pictures: back from the middle, turned, smaller, to the middle of the cut.
    middle = np.array([width / 2, height / 2])
    cut = middle + (middle - middle / zoom) * (across, down)
    away = (x + 0.5 - middle[0] + 1j * (y + 0.5 - middle[1])) * np.exp(1j * np.radians(angle))
    assert off(made, sampled(clip, cut[0] + away.real / zoom - 0.5,
                             cut[1] + away.imag / zoom - 0.5)) <= 5  # fmt: skip


def sampled(clip: Frames, x: Any, y: Any) -> Any:
    """Bilinear in float64; beyond the edge a reflection."""
    _, height, width, _ = clip.shape
    made: Any = 0.0
    for right in (0, 1):
        for low in (0, 1):
            column, row = np.floor(x).astype(int) + right, np.floor(y).astype(int) + low
            weight = (1 - np.abs(x - column)) * (1 - np.abs(y - row))
            made = made + weight[..., None] * clip[:, within(row, height), within(column, width)]
    return made


def within(place: Any, size: int) -> Any:
    place = np.abs(place) % (2 * size - 2)
    return np.where(place >= size, 2 * size - 2 - place, place)


@given(st.floats(1, 9), st.floats(-1, 1), st.floats(-1, 1))
def test_a_cut_shows_nothing_from_outside(zoom: float, across: float, down: float) -> None:
    """The picture's frame is white and wide: only a cut inside it is free of what lies beyond."""
    from muybridge.data.augment import matrix

    x, y = matrix(Draw(zoom=zoom, shift=(across, down)), 24, 20) @ [[0, 19], [0, 23], [1, 1]]
    half = 0.5 / zoom  # of a pixel, at either end
    assert x[0] - half >= -0.5 - 1e-6 and x[1] + half <= 19.5 + 1e-6
    assert y[0] - half >= -0.5 - 1e-6 and y[1] + half <= 23.5 + 1e-6


@given(st.floats(-1, 1), st.floats(0, 2))
def test_brightness_and_contrast_are_a_line_through_mid_grey(
    brightness: float, contrast: float
) -> None:
    clip = footage()
    made = apply(clip, Draw(brightness=brightness, contrast=contrast))
    wanted = (clip - 127.5) * contrast + 127.5 + 255 * brightness
    assert off(made, np.clip(wanted, 0, 255)) <= 1


def luma(clip: Any) -> Any:
    return clip @ np.array([0.299, 0.587, 0.114])


@given(st.floats(0, 1), st.floats(-180, 180))
def test_saturation_and_hue_keep_brightness_and_greys(saturation: float, hue: float) -> None:
    wanted = Draw(saturation=saturation, hue=hue)
    grey = np.repeat(footage()[..., :1], 3, -1)
    assert off(apply(grey, wanted), grey) <= 1
    muted = (footage() // 8 + 112).astype(np.uint8)  # so that no colour is cut off
    assert np.abs(luma(apply(muted, wanted)) - luma(muted)).max() <= 1.5


def test_saturation_is_the_distance_from_grey() -> None:
    clip = footage()
    assert np.ptp(apply(clip, Draw(saturation=0.0)).astype(int), axis=-1).max() <= 1
    half = apply(clip, Draw(saturation=0.5))
    grey = luma(clip)[..., None]
    assert off(half, grey + (clip - grey) / 2) <= 1.5


def test_hue_goes_round_the_circle() -> None:
    muted = (footage() // 4 + 96).astype(np.uint8)
    there = apply(muted, Draw(hue=70.0))
    assert off(there, muted) > 10
    assert off(apply(there, Draw(hue=-70.0)), muted) <= 2.5
    assert off(apply(muted, Draw(hue=360.0)), muted) <= 1


@given(SEEDS, st.floats(0.3, 30))
def test_grain_is_as_strong_as_asked(seed: int, noise: float) -> None:
    grey = np.full((2, 96, 96, 3), 128, np.uint8)
    grain = apply(grey, Draw(noise=noise, seed=seed))[0].astype(float) - 128
    spread = (noise**2 + 1 / 12) ** 0.5 if noise > 0.7 else grain.std()
    assert abs(grain.mean()) < 6 * spread / grain.size**0.5 + 0.02
    assert grain.std() == pytest.approx(spread, rel=0.04)
    # Each pixel's is its own.
    assert abs(np.corrcoef(grain[:, 1:].ravel(), grain[:, :-1].ravel())[0, 1]) < 0.05


def test_grain_stops_at_black_and_white_and_is_another_for_another_seed() -> None:
    for level in (0, 255):
        made = apply(np.full((2, 64, 64, 3), level, np.uint8), Draw(noise=20, seed=1))
        assert (np.abs(made.astype(int) - level) < 90).all()
        assert 0.4 < (made == level).mean() < 0.6
    clip = footage()
    one, other = (apply(clip, Draw(noise=9, seed=seed)) for seed in (1, 2))
    assert (one != other).mean() > 0.5


# --- words ---------------------------------------------------------------------------------------

LABELS, OBJECTS = ["turn_left", "turn_right", "wave_left", "swipe_up"], ["left shoe", "hat"]
ALL = Draw(flip=True, flip_vertical=True, angle=60.0, zoom=1.2)


@pytest.mark.parametrize(
    ("said", "fits", "then"),
    [
        (Said(), ALL, Said()),
        (Said("a ball rolls", "", ("hat",)), ALL, Said("a ball rolls", "", ("hat",))),
        (
            Said("turns left", "turn_left"),
            Draw(flip=True, flip_vertical=True, zoom=1.2),
            Said("turns right", "turn_right"),
        ),
        (
            Said("waves", "wave_left"),
            Draw(flip_vertical=True, zoom=1.2),
            Said("waves", "wave_left"),
        ),
        (Said("", "", ("left shoe",)), Draw(flip_vertical=True, zoom=1.2), None),
        (Said("he left right now"), Draw(flip_vertical=True, zoom=1.2), None),
        (Said("a ball falls"), Draw(flip=True, zoom=1.2), Said("a ball falls")),
        (Said("", "swipe_up"), Draw(flip=True, zoom=1.2), Said("", "swipe_up")),
    ],
)
def test_a_clip_is_not_changed_so_that_its_words_are_wrong(
    said: Said, fits: Draw, then: Said | None
) -> None:
    assert fitted(ALL, said, LABELS, OBJECTS) == (fits, then or said)


def test_small_turns_and_colours_leave_words_alone() -> None:
    said, wanted = Said("falls to the left", "turn_left"), Draw(angle=44.0, hue=9.0, zoom=1.1)
    assert fitted(wanted, said, LABELS, OBJECTS) == (wanted, said)


@given(SEEDS)
def test_words_change_exactly_where_the_clip_is_mirrored(seed: int) -> None:
    said = Said("looks to the left", "turn_left", ("hat",))
    wanted, then = fitted(draw(EVERYTHING, seed), said, LABELS, OBJECTS)
    assert wanted.flip == draw(EVERYTHING, seed).flip
    assert then == (Said("looks to the right", "turn_right", ("hat",)) if wanted.flip else said)


@pytest.mark.parametrize(
    "values",
    [
        {"flip": -0.1}, {"flip": 1.5}, {"rotate": 181}, {"zoom": -1}, {"speed": 1.0},
        {"noise": float("inf")}, {"hue": float("nan")}, {"rate": 2},
    ],
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused(values: dict[str, float]) -> None:
    (name,) = values
    with pytest.raises(RecipeError, match=f"augment.{name}"):
        parse(Config, values, "augment")
