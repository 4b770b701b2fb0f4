from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from muybridge.evaluation.flow import motion, settings, warped

SHIFTS = [(0, 0), (1, 0), (0, -1), (2, 1), (-3, 2), (-1, -3)]


def texture(seed: int, side: int = 160, sigma: float = 2) -> npt.NDArray[np.float32]:
    """(side, side, 3) in [-1, 1]."""
    noise = np.random.default_rng(seed).uniform(-1, 1, (side, side, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), sigma)
    return (smooth / smooth.std() * 0.35).clip(-1, 1).astype(np.float32)


def panned(right: int, down: int, seed: int = 0, time: int = 4, side: int = 64) -> Tensor:
    """One clip in which all moves by whole pixels a frame, and new things come in at the edges."""
    wall, left = texture(seed), 48
    frames = [
        wall[left - i * down : left - i * down + side, left - i * right : left - i * right + side]
        for i in range(time)
    ]
    return torch.from_numpy(np.stack(frames)).movedim(-1, 1)[None]


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_shift_by_whole_pixels_is_found(shift: tuple[int, int]) -> None:
    found = motion(panned(*shift))
    inner = (slice(None), slice(None), slice(6, -6), slice(6, -6))
    assert (found.forward[inner] == shift).all()
    assert (found.backward[inner] == np.negative(shift)).all()
    assert found.ahead[inner].all() and found.behind[inner].all()


def test_a_shift_by_parts_of_a_pixel_is_found() -> None:
    wall = texture(1, 256, 6)
    frames = [
        cv2.resize(wall[:240, 8 - i : 248 - i], (80, 80), interpolation=cv2.INTER_AREA)
        for i in range(3)
    ]
    clip = torch.from_numpy(np.stack(frames)).movedim(-1, 1)[None]
    flow = motion(clip).forward[0, :, 8:-8, 8:-8]
    assert abs(flow[..., 0].mean() - 1 / 3) < 0.05
    assert abs(flow[..., 1].mean()) < 0.05


def test_what_leaves_the_picture_is_not_seen() -> None:
    found = motion(panned(3, 0))
    assert not found.ahead[..., -3:].any()
    assert not found.behind[..., :3].any()
    assert found.ahead[..., :-6].mean() > 0.98


def test_what_is_covered_is_not_seen() -> None:
    # A square goes 6 pixels to the right over a wall that stands still.
    wall, thing = texture(2, 64), texture(3, 64)[:20, :20]
    frames = np.stack([wall, wall])
    for frame, left in zip(frames, (16, 22), strict=True):
        frame[20:40, left : left + 20] = thing
    found = motion(torch.from_numpy(frames).movedim(-1, 1)[None])
    covered, shown = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
    covered[20:40, 36:42] = True
    shown[20:40, 16:22] = True
    assert found.ahead[0, 0][covered].mean() < 1 / 3
    assert found.behind[0, 0][shown].mean() < 1 / 3
    still = np.ones((64, 64), bool)
    still[12:48, 8:50] = False
    assert found.ahead[0, 0][still].all()
    assert (found.forward[0, 0][still] == 0).all()
    assert (found.forward[0, 0, 26:34, 20:30] == (6, 0)).mean() > 0.9


def test_pictures_are_drawn_where_flow_starts() -> None:
    picture = np.random.default_rng(0).random((12, 16, 3), np.float32)
    flow = np.zeros((12, 16, 2), np.float32)
    np.testing.assert_array_equal(warped(picture, flow), picture)
    flow[...] = (2, -1)
    np.testing.assert_array_equal(warped(picture, flow)[1:, :-2], picture[:-1, 2:])
    flow[...] = (0.25, 0.5)
    rows = (picture[:-1] + picture[1:]) / 2
    expected = 0.75 * rows[:, :-1] + 0.25 * rows[:, 1:]
    np.testing.assert_allclose(warped(picture, flow)[:-1, :-1], expected, atol=1e-6)
    np.testing.assert_array_equal(warped(picture[..., 0], flow), warped(picture, flow)[..., 0])


def test_each_clip_is_judged_alone_on_any_number_of_threads() -> None:
    clips = torch.cat([panned(*shift, seed=seed) for seed, shift in enumerate(SHIFTS)])
    whole, threads = motion(clips), torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        again = motion(clips)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(again.forward, whole.forward)
    for k in (0, 5):
        alone = motion(clips[k : k + 1])
        np.testing.assert_array_equal(alone.forward[0], whole.forward[k])
        np.testing.assert_array_equal(alone.backward[0], whole.backward[k])
        np.testing.assert_array_equal(alone.ahead[0], whole.ahead[k])
        np.testing.assert_array_equal(alone.behind[0], whole.behind[k])
    np.testing.assert_allclose(whole.frames, ((clips + 1) / 2).movedim(2, -1), atol=1e-7)


def test_backwards_the_flows_change_places() -> None:
    clips = panned(2, 1)
    there, back = motion(clips), motion(clips.flip(1))
    np.testing.assert_array_equal(back.forward, there.backward[:, ::-1])
    np.testing.assert_array_equal(back.ahead, there.behind[:, ::-1])


def test_larger_and_oblong_pictures() -> None:
    wall = texture(4, 200)
    frames = np.stack([wall[10:150, 20 - 4 * i : 190 - 4 * i] for i in range(3)])
    found = motion(torch.from_numpy(frames).movedim(-1, 1)[None])
    assert found.forward.shape == (1, 2, 140, 170, 2)
    off = np.abs(found.forward[:, :, 16:-16, 16:-16] - (4, 0))
    assert off.mean() < 0.02
    assert settings(140, 170) != settings(64, 170)


def test_clips_that_have_no_flow() -> None:
    for shape in ((1, 1, 3, 32, 32), (2, 3, 32, 32), (1, 4, 1, 32, 32)):
        with pytest.raises(ValueError, match="flow is of clips"):
            motion(torch.zeros(shape))
    with pytest.raises(ValueError, match="16 x 16"):
        motion(torch.zeros(1, 2, 3, 15, 40))
    with pytest.raises(ValueError, match="finite"):
        motion(torch.full((1, 2, 3, 16, 16), torch.nan))
