from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from muybridge.core.clips import to_float
from muybridge.core.video import read_video
from muybridge.data.stage import Settings, render
from muybridge.evaluation import temporal
from muybridge.evaluation.flow import Motion, motion

Measure = Callable[[Tensor | Motion], npt.NDArray[np.float64]]
FPS = 8.0


def texture(seed: int, height: int = 160, width: int = 260) -> npt.NDArray[np.float32]:
    """(height, width, 3) in [-0.9, 0.9]."""
    noise = np.random.default_rng(seed).uniform(-1, 1, (height, width, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return (smooth / smooth.std() * 0.3).clip(-0.9, 0.9).astype(np.float32)


def panned(right: float, down: float, seed: int = 0, time: int = 8, side: int = 64) -> Tensor:
    """One clip in which all moves by whole pixels a frame, and new things come in at the edges."""
    return seen_at([(right * i, down * i) for i in range(time)], seed, side)


def seen_at(places: list[tuple[float, float]], seed: int = 0, side: int = 64) -> Tensor:
    """One clip of a texture that was moved to these places, in pixels."""
    wall, frames = texture(seed), []
    for x, y in places:
        left, top = round(98 - x), round(48 - y)
        frames.append(wall[top : top + side, left : left + side])
    return torch.from_numpy(np.stack(frames)).movedim(-1, 1)[None]


def stage(count: int = 6, seconds: float = 2.0) -> Tensor:
    """Clips of the stage, 8 frames a second."""
    clips = [render(Settings((64, 64), 8, seconds, 0), index)[0] for index in range(count)]
    return torch.from_numpy(to_float(np.stack(clips)))


@pytest.fixture(scope="module")
def real(shared: Path) -> Tensor:
    """Eight clips of people, about 8 frames a second, two of each action."""
    files = sorted((shared / "clips" / "actions").glob("*.mp4"))[::9]
    clips = [read_video(file)[0][:48:3] for file in files]
    return torch.from_numpy(to_float(np.stack(clips)))


def held(clip: Tensor, time: int = 8) -> Tensor:
    return clip[:, :1].repeat(1, time, 1, 1, 1)


# --- what is zero --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shift", [(0, 0), (1, 0), (0, -1), (2, 1), (-2, -2), (3, 0), (-1, 4), (5, -3)]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_an_exact_shift_leaves_nothing_unexplained(shift: tuple[int, int], seed: int) -> None:
    # Single precision up to a sixteenth of the picture's height; real clips have 1e-2 and more.
    limit = 1e-6 if max(map(abs, shift)) <= 4 else 2e-3
    found = motion(panned(*shift, seed=seed))
    assert temporal.warping_error(found)[0] < limit
    assert temporal.unevenness(found)[0] < limit
    assert temporal.flicker(found)[0] < limit
    assert temporal.jump_cuts(found)[0] == 0
    expected = np.hypot(*shift) * FPS / 64
    assert temporal.motion_amount(found, FPS)[0] == pytest.approx(expected, rel=0.01, abs=1e-9)
    whole = (64 - abs(shift[0])) * (64 - abs(shift[1])) / 64**2
    assert temporal.seen(found)[0] == pytest.approx(whole, abs=0.01)


def test_a_still_clip_has_nothing_at_all() -> None:
    clip = held(panned(0, 0), 16)
    for name, values in temporal.measure(clip, FPS).items():
        expected = 1 if name in ("seen", "freeze") else 0
        assert values == pytest.approx(expected, abs=1e-12), name


def test_clips_of_one_colour_have_nothing_either() -> None:
    for name, values in temporal.measure(torch.full((1, 16, 3, 32, 32), 0.3), FPS).items():
        expected = 1 if name in ("seen", "freeze") else 0
        assert values == pytest.approx(expected, abs=1e-12), name


# --- each measure and what it is for -------------------------------------------------------------


def test_warping_error_is_of_the_pixels_own_size() -> None:
    clip = held(panned(0, 0))
    # The same for all pixels, so that flow has nothing to follow; a tenth of the range.
    clip[:, 1::2] += 0.1 * 2
    assert temporal.warping_error(clip)[0] == pytest.approx(0.1, rel=1e-3)


def test_warping_error_grows_with_noise() -> None:
    clip, draw = panned(2, 1), torch.Generator().manual_seed(0)
    noise = torch.randn(clip.shape, generator=draw)
    values = [temporal.warping_error(clip + s * noise)[0] for s in (0, 0.02, 0.05, 0.1, 0.2)]
    assert all(a < b for a, b in itertools.pairwise(values))


def test_no_pixel_seen_twice_is_no_warping_error() -> None:
    found = motion(panned(1, 0))
    none = np.zeros_like(found.ahead)
    blind = Motion(found.frames, found.forward, found.backward, none, none)
    assert np.isnan(temporal.warping_error(blind)[0])
    for measure in (temporal.seen, temporal.unevenness, temporal.flicker, temporal.jump_cuts):
        assert measure(blind)[0] == 0
    assert temporal.motion_amount(blind, FPS)[0] == 0


def test_unevenness_by_hand() -> None:
    def of(steps: list[int]) -> float:
        places = [(float(x), 0.0) for x in itertools.accumulate(steps, initial=0)]
        return float(temporal.unevenness(seen_at(places))[0])

    assert of([2] * 6) == pytest.approx(0, abs=1e-6)
    # |1 - 2| / (1 + 2), and the same back.
    assert of([1, 2, 1, 2, 1, 2]) == pytest.approx(1 / 3, abs=0.01)
    assert of([2, 0, 2, 0, 2, 0]) == pytest.approx(1, abs=0.01)
    assert of([2, -2, 2, -2, 2, -2]) == pytest.approx(1, abs=0.01)
    # One of five changes is of two pixels, in ten flows of one pixel.
    assert of([1, 1, 1, -1, -1, -1]) == pytest.approx(0.2, abs=0.01)


def test_flicker_is_the_amplitude_of_an_alternation() -> None:
    clip, sign = panned(1, 1), torch.tensor([1.0, -1.0] * 4).view(8, 1, 1, 1)
    for amplitude in (0.01, 0.05):
        made = temporal.flicker(clip + 2 * amplitude * sign)[0]
        assert made == pytest.approx(amplitude, rel=0.02)
    # Red alone is a third of the squares.
    red = torch.tensor([1.0, 0, 0]).view(3, 1, 1)
    made = temporal.flicker(clip + 2 * 0.03 * sign * red)[0]
    assert made == pytest.approx(0.03 / 3**0.5, rel=0.05)
    # So is a quarter of the picture.
    part = torch.zeros(64, 64)
    part[:32, :32] = 1
    made = temporal.flicker(held(clip) + 2 * 0.03 * sign * part)[0]
    assert made == pytest.approx(0.03 / 2, rel=0.1)


def test_flicker_is_not_taken_for_motion() -> None:
    clip, sign = panned(1, 1), torch.tensor([1.0, -1.0] * 4).view(8, 1, 1, 1)
    made = motion(clip + 0.05 * sign)
    assert temporal.unevenness(made)[0] < 0.01
    assert temporal.motion_amount(made, FPS)[0] == pytest.approx(2**0.5 * FPS / 64, rel=0.01)


def test_a_fade_is_no_flicker() -> None:
    clip, ramp = panned(1, 0), torch.linspace(0.4, 1, 8).view(8, 1, 1, 1)
    for still in (clip, held(clip)):
        faded = (still + 1) * ramp - 1
        alternating = (still + 1) * ramp[[0, 7, 0, 7, 0, 7, 0, 7]] - 1
        assert temporal.flicker(faded)[0] < 0.02 * temporal.flicker(alternating)[0]


def test_noise_is_little_flicker() -> None:
    clip, draw = held(panned(0, 0)), torch.Generator().manual_seed(0)
    noisy = clip + 0.1 * torch.randn(clip.shape, generator=draw)
    assert temporal.flicker(noisy)[0] < 0.1 * temporal.warping_error(noisy)[0]


def test_motion_is_in_heights_a_second() -> None:
    assert temporal.motion_amount(panned(2, 0), 8)[0] == pytest.approx(2 / 64 * 8, rel=1e-3)
    assert temporal.motion_amount(panned(2, 0), 24)[0] == pytest.approx(2 / 64 * 24, rel=1e-3)
    small = temporal.motion_amount(panned(2, 0, side=32), 8)[0]
    assert small == pytest.approx(2 / 32 * 8, rel=0.01)


def test_luma_change_by_hand() -> None:
    clip = held(panned(0, 0), 4)
    clip[:, 2:, 1] += 0.3
    assert temporal.luma_change(clip)[0] == pytest.approx(0.587 * 0.15 / 3, rel=1e-5)


@pytest.mark.parametrize("at", [1, 4, 7, 11, 15])
def test_a_cut_is_found(at: int) -> None:
    first, second = panned(1, 0, 0, 16), panned(0, 1, 5, 16)
    spliced = torch.cat([first[:, :at], second[:, at:]], 1)
    assert temporal.jump_cuts(spliced)[0] == 1
    assert temporal.jump_cuts(spliced.flip(1))[0] == 1


def test_two_cuts_are_two() -> None:
    parts = [panned(1, 0, seed, 16)[:, at : at + 5] for seed, at in ((0, 0), (4, 5), (6, 10))]
    assert temporal.jump_cuts(torch.cat(parts, 1))[0] == 2


def test_no_cut_is_found_in_the_stages_clips_and_each_that_is_made() -> None:
    clips = stage(5)
    assert (temporal.jump_cuts(clips) == 0).all()
    assert (
        temporal.jump_cuts(clips * 0.8 + 0.1 * (torch.arange(16) % 2).view(16, 1, 1, 1)) == 0
    ).all()
    assert (temporal.jump_cuts(torch.cat([clips[:, :9], clips.roll(1, 0)[:, 9:]], 1)) == 1).all()


def test_no_cut_is_found_in_real_clips_and_most_that_are_made(real: Tensor) -> None:
    assert (temporal.jump_cuts(real) == 0).all()
    # Before one and the same wall.
    spliced = torch.cat([real[:, :6], real.roll(1, 0)[:, 6:]], 1)
    assert temporal.jump_cuts(spliced).mean() > 0.8


def test_freezing_by_hand() -> None:
    clip = panned(1, 0, time=9)
    assert temporal.freeze(clip)[0] == 0
    assert temporal.freeze(clip[:, [0, 0, 1, 1, 2, 2, 3, 3, 4]])[0] == 0.5
    assert temporal.freeze(clip[:, [0, 1, 2, 3, 4, 5, 6, 6, 6]])[0] == 0.25
    # What rounding to uint8 and a codec leave is one picture still.
    held_still = held(clip, 9) + 0.001 * torch.randn(1, 9, 3, 64, 64)
    assert temporal.freeze(held_still)[0] == 1


def test_frames_in_each_others_place_are_found() -> None:
    clip = panned(1, 0, time=16)
    swapped = clip[:, [0, 1, 2, 3, 5, 4, *range(6, 16)]]
    assert temporal.disorder(clip)[0] == 0
    assert temporal.disorder(clip.flip(1))[0] == 0
    assert temporal.disorder(swapped)[0] == pytest.approx(1 / 13)
    every = clip[:, torch.arange(16).view(-1, 2).flip(1).flatten()]
    assert temporal.disorder(every)[0] == pytest.approx(6 / 13)
    light = clip + 0.2 * (torch.arange(16) % 2).view(16, 1, 1, 1)
    assert temporal.disorder(light)[0] == 0


def test_drift_is_of_the_first_and_the_last_second() -> None:
    clip = held(panned(0, 0), 24)
    middle = clip.clone()
    middle[:, 8:16] = 0
    assert temporal.drift(middle, 8)[0] == pytest.approx(0, abs=1e-9)
    # Of 1.5 seconds the last 3 of 12 frames.
    short = clip[:, :12].clone()
    short[:, 3:9] = 0
    assert temporal.drift(short, 8)[0] == pytest.approx(0, abs=1e-9)
    short[:, 9:] *= 0.5
    assert temporal.drift(short, 8)[0] > 0.1


def test_parts_of_drift_by_hand() -> None:
    clip = held(panned(0, 0), 16)
    deviation = float(temporal._luma(clip[:, :1]).std()) + 1 / 255
    tinted = clip.clone()
    tinted[:, 8:, 0] += 0.06
    tinted[:, 8:, 2] += 0.08
    parts = temporal.drift_parts(tinted, 8)
    assert parts["colour"][0] == pytest.approx(0.05 / deviation, rel=1e-4)
    assert parts["contrast"][0] == pytest.approx(0, abs=1e-4)
    flat = clip.clone()
    flat[:, 8:] = 0.5 * (clip[:, 8:] - clip.mean()) + clip.mean()
    parts = temporal.drift_parts(flat, 8)
    assert parts["contrast"][0] == pytest.approx(np.log(2), abs=0.05)
    assert parts["sharpness"][0] < 0.1
    blurred = clip.clone()
    for frame in blurred[0, 8:]:
        soft = cv2.GaussianBlur(frame.movedim(0, -1).numpy(), (0, 0), 2)
        frame[:] = torch.from_numpy(soft).movedim(-1, 0)
    parts = temporal.drift_parts(blurred, 8)
    assert parts["sharpness"][0] > 0.2
    expected = np.sqrt(np.mean([np.square(part[0]) for part in parts.values()]))
    assert temporal.drift(blurred, 8)[0] == pytest.approx(expected)


def test_more_of_each_fault_is_a_higher_number(real: Tensor) -> None:
    draw, many, real = torch.Generator().manual_seed(0), real, real[::3]
    noise, sign = torch.randn(real.shape, generator=draw), (torch.arange(16) % 2 * 2.0 - 1)
    tint = torch.linspace(0, 1, 16).view(16, 1, 1, 1) * torch.tensor([1.0, 0, -1]).view(3, 1, 1)

    def rising(measure: Measure, made: Callable[[float], Tensor]) -> None:
        values = [measure(made(size)).mean() for size in (0.0, 0.05, 0.1, 0.2)]
        assert all(a < b for a, b in itertools.pairwise(values)), values

    def frozen(share: float) -> Tensor:
        last = 15 - round(60 * share)
        return real[:, torch.arange(16).clamp(max=last)]

    def swapped(share: float, clips: Tensor = real) -> Tensor:
        order = torch.arange(16)
        for pair in range(1, 1 + round(30 * share)):
            order[2 * pair : 2 * pair + 2] = torch.tensor([2 * pair + 1, 2 * pair])
        return clips[:, order]

    rising(temporal.warping_error, lambda size: real + size * noise)
    rising(temporal.flicker, lambda size: real + size * sign.view(16, 1, 1, 1))
    rising(lambda c: temporal.drift(c, FPS), lambda size: real + size * tint)  # type: ignore[arg-type]
    rising(temporal.freeze, frozen)  # type: ignore[arg-type]
    rising(temporal.disorder, lambda share: swapped(share, many))  # type: ignore[arg-type]
    rising(temporal.unevenness, lambda share: swapped(share, stage(4)))


# --- the whole of it -----------------------------------------------------------------------------


def test_all_at_once_is_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clips = stage(3)
    whole = temporal.measure(clips, FPS)
    monkeypatch.setattr(temporal, "_CHUNK", 2 * 16 * 64 * 64)
    few = temporal.measure(clips, FPS)
    assert whole.keys() == few.keys()
    for name, values in whole.items():
        assert values.shape == (3,)
        assert values.dtype == np.float64
        np.testing.assert_allclose(few[name], values, rtol=1e-12, atol=1e-12, err_msg=name)
    for name in ("warping_error", "motion_amount", "drift"):
        alone = getattr(temporal, name)(clips, *([] if name == "warping_error" else [FPS]))
        np.testing.assert_allclose(alone, whole[name], rtol=1e-12, err_msg=name)


def test_reversal_changes_none_but_little(real: Tensor) -> None:
    # It is not for these: a bounce backwards is as smooth as one forwards.
    there, back = (temporal.measure(clips, FPS) for clips in (real[::2], real[::2].flip(1)))
    for name, values in there.items():
        assert back[name].mean() == pytest.approx(values.mean(), rel=0.1, abs=1e-3), name


def test_clips_that_have_no_such_measure() -> None:
    clips = panned(1, 0)
    for fps in (0, -1, float("nan")):
        for measure in (temporal.motion_amount, temporal.drift, temporal.measure):
            with pytest.raises(ValueError, match="fps"):
                measure(clips, fps)
    with pytest.raises(ValueError, match=r"not \(0, 8, 3, 64, 64\)"):
        temporal.measure(clips[:0], FPS)
    for name in ("unevenness", "flicker"):
        with pytest.raises(ValueError, match="3 frames"):
            getattr(temporal, name)(clips[:, :2])
    with pytest.raises(ValueError, match="4 frames"):
        temporal.disorder(clips[:, :3])
    for name in ("freeze", "luma_change"):
        with pytest.raises(ValueError, match="2 frames"):
            getattr(temporal, name)(clips[:, :1])
    clips[0, 3, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        temporal.measure(clips, FPS)
