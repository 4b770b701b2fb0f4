"""Sharpness and grid of single pictures."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from muybridge.evaluation.distortions import blur, noise
from muybridge.evaluation.pictures import BLOCKS, grid, sharpness

SIZE = 64


def smooth(count: int = 4, seed: int = 0) -> Tensor:
    """Clouds without edges, one frame each."""
    draw = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        cloud = cv2.GaussianBlur(draw.normal(size=(SIZE, SIZE, 3)), (0, 0), 3)
        made.append(cloud / np.abs(cloud).max() * 0.8)
    return torch.from_numpy(np.stack(made)).float().movedim(-1, 1)[:, None]


def shifted(clips: Tensor, side: int, by: float, seed: int = 0) -> Tensor:
    """Each block brighter or darker, as of a network that draws patch by patch."""
    draw = torch.Generator().manual_seed(seed)
    cells = torch.randn(len(clips), 1, 1, SIZE // side, SIZE // side, generator=draw)
    return clips + by * cells.repeat_interleave(side, -1).repeat_interleave(side, -2)


def test_sharpness_of_a_ramp_is_known() -> None:
    """A slope of s a pixel across, none down: over a deviation of s sqrt((n^2 - 1) / 12)."""
    ramp = torch.linspace(-0.7, 0.7, SIZE).expand(1, 2, 3, SIZE, SIZE)
    expected = (0.5 * 12 / (SIZE**2 - 1)) ** 0.5
    assert sharpness(ramp)[0] == pytest.approx(expected, rel=1e-5)


def test_sharpness_falls_with_blur_and_rises_with_noise() -> None:
    clips = smooth()
    levels = [sharpness(clips)] + [sharpness(blur(clips, level)) for level in (1, 2, 3)]
    assert all((after < before).all() for before, after in pairwise(levels))
    assert (sharpness(noise(clips, 1)) > levels[0]).all()


def test_sharpness_does_not_depend_on_contrast_or_brightness() -> None:
    clips = smooth()
    np.testing.assert_allclose(sharpness(0.4 * clips + 0.2), sharpness(clips), rtol=1e-5)


def test_sharpness_of_a_clip_is_the_mean_of_its_frames() -> None:
    one, other = smooth(1, 0), smooth(1, 1)
    both = float(sharpness(torch.cat([one, other], 1))[0])
    assert both == pytest.approx((sharpness(one)[0] + sharpness(other)[0]) / 2)


@pytest.mark.parametrize("side", BLOCKS)
def test_a_grid_grows_with_the_steps_between_blocks(side: int) -> None:
    clips = smooth()
    found = [grid(shifted(clips, side, by)) for by in (0, 0.02, 0.05, 0.1)]
    assert all((after > before).all() for before, after in pairwise(found))
    assert np.abs(found[0]).max() < 0.2
    assert found[2].min() > 1


@pytest.mark.parametrize("level", [1, 2, 3])
def test_noise_is_no_grid(level: int) -> None:
    found = grid(noise(smooth(8), level))
    assert np.abs(found).max() < 0.1


@pytest.mark.parametrize("at", [31, 32, 33])  # on a border of blocks, and beside it
def test_a_sharp_edge_is_no_grid(at: int) -> None:
    """One that goes from top to bottom is on one border of many."""
    clips = smooth()
    step = (torch.arange(SIZE) >= at).float()
    plain = (clips + 0.5 * step).clamp(-1, 1)
    assert np.abs(grid(plain)).max() < 0.25


def test_a_slope_is_no_grid() -> None:
    """Not even where it is steepest at the borders of blocks."""
    ramp = torch.linspace(-0.7, 0.7, SIZE).expand(1, 2, 3, SIZE, SIZE)
    assert grid(ramp)[0] == pytest.approx(0, abs=0.01)


def test_flat_pictures_have_no_grid() -> None:
    assert grid(torch.full((1, 2, 3, SIZE, SIZE), -1.0))[0] == 0


def test_pictures_too_small_for_blocks_have_no_grid() -> None:
    assert grid(torch.rand(2, 1, 3, 6, 6)).tolist() == [0, 0]
