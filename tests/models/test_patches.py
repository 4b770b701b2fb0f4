"""Patches, plain and lapped: undone exactly, orthonormal, and what each of them reaches."""

from __future__ import annotations

import math

import numpy
import pytest
import scipy.fft
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from muybridge.models.patches import Patch, from_patches, lapping, to_patches, waves

Grid = tuple[int, int, int]

PATCHES = st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))
GRIDS = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))


def clips(
    grid: Grid, patch: Patch, channels: int = 3, batch: int = 2, dtype: torch.dtype = torch.float64
) -> Tensor:
    time, height, width = (count * step for count, step in zip(grid, patch, strict=True))
    draw = torch.Generator().manual_seed(1)
    return torch.randn(batch, time, channels, height, width, generator=draw, dtype=dtype)


@given(GRIDS, PATCHES, st.integers(1, 4))
def test_plain_patches_are_undone_exactly(grid: Grid, patch: Patch, channels: int) -> None:
    x = clips(grid, patch, channels)
    tokens = to_patches(x, patch)
    assert tokens.shape == (2, math.prod(grid), channels * math.prod(patch))
    assert torch.equal(from_patches(tokens, grid, patch, channels), x)


@given(GRIDS, PATCHES, st.integers(1, 4))
def test_lapped_patches_are_undone(grid: Grid, patch: Patch, channels: int) -> None:
    x = clips(grid, patch, channels)
    tokens = to_patches(x, patch, lapped=True)
    assert tokens.shape == (2, math.prod(grid), channels * math.prod(patch))
    made = from_patches(tokens, grid, patch, channels, lapped=True)
    torch.testing.assert_close(made, x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("lapped", [False, True])
@pytest.mark.parametrize(
    ("grid", "patch"), [((2, 3, 2), (1, 2, 4)), ((1, 2, 3), (2, 5, 3)), ((1, 1, 4), (1, 4, 2))]
)
def test_the_change_is_orthonormal_so_white_noise_stays_white(
    grid: Grid, patch: Patch, lapped: bool
) -> None:
    shape = clips(grid, patch, 2, 1).shape[1:]
    count = math.prod(shape)
    tokens = to_patches(torch.eye(count).double().view(count, *shape), patch, lapped).flatten(1)
    torch.testing.assert_close(tokens.T @ tokens, torch.eye(count).double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("lapped", [False, True])
def test_the_kind_of_number_stays(dtype: torch.dtype, lapped: bool) -> None:
    tokens = to_patches(clips((1, 2, 2), (2, 4, 4), dtype=dtype), (2, 4, 4), lapped)
    assert tokens.dtype == dtype
    assert from_patches(tokens, (1, 2, 2), (2, 4, 4), 3, lapped).dtype == dtype


def test_a_plain_patch_holds_neighbours_in_space_and_time() -> None:
    x = torch.zeros(1, 4, 3, 8, 8)
    x[0, 2:, :, :4, 4:] = 1
    tokens = to_patches(x, (2, 4, 4))
    assert [i for i in range(8) if tokens[0, i].all()] == [5]
    assert tokens.sum() == x.sum()


def test_a_lapped_patch_holds_most_of_its_own_middle() -> None:
    grid, patch = (2, 3, 2), (2, 8, 6)
    for place, (t, h, w) in enumerate(torch.cartesian_prod(*map(torch.arange, grid)).tolist()):
        x = torch.zeros(1, 4, 3, 24, 12)
        x[:, 2 * t : 2 * t + 2, :, 8 * h + 3 : 8 * h + 5, 6 * w + 2 : 6 * w + 4] = 1
        energy = to_patches(x, patch, lapped=True)[0].square().sum(-1)
        assert energy[place] > 0.9 * energy.sum()


def reach(grid: Grid, patch: Patch, place: Grid, lapped: bool, channels: int = 2) -> Tensor:
    """How much a token at `place` moves each pixel: energy of all its units, (t, c, h, w)."""
    size = channels * math.prod(patch)
    units = torch.zeros(size, *grid, size, dtype=torch.float64)
    units[(slice(None), *place)] = torch.eye(size).double()
    made = from_patches(units.flatten(1, 3), grid, patch, channels, lapped)
    return made.square().sum(0)


def test_a_plain_patch_is_cut() -> None:
    expected = torch.zeros(4, 2, 12, 24).double()
    expected[2:, :, 4:8, 16:] = 1
    assert torch.equal(reach((2, 3, 3), (2, 4, 8), (1, 1, 2), lapped=False), expected)


@pytest.mark.parametrize("step", [4, 5, 8, 16])
def test_a_lapped_patch_reaches_half_a_patch_into_its_neighbours(step: int) -> None:
    half = step // 2
    for patch, sides in (((1, step, 1), (step * 3, 2)), ((1, 1, step), (2, step * 3))):
        grid = (1, sides[0] // patch[1], sides[1] // patch[2])
        middle = (0, 1, 0) if patch[1] == step else (0, 0, 1)
        energy = reach(grid, patch, middle, lapped=True)[0, 0]
        along = energy[:, 0] if patch[1] == step else energy[0]
        reached = (along > 1e-9).nonzero().flatten().tolist()
        assert reached == list(range(step - half, 2 * step + half))
        torch.testing.assert_close(along, along.flip(0), atol=1e-6, rtol=0)


def test_a_flat_picture_gives_flat_patches() -> None:
    for step in (2, 3, 4, 8, 16):
        flat = torch.full((1, 2, 3, 3 * step, 2 * step), 0.7, dtype=torch.float64)
        tokens = to_patches(flat, (2, step, step), lapped=True)
        torch.testing.assert_close(tokens, torch.full_like(tokens, 0.7), atol=1e-6, rtol=0)


@pytest.mark.parametrize("step", [4, 8, 16])
def test_a_patch_that_is_too_bright_fades_into_its_neighbours(step: int) -> None:
    tokens = torch.zeros(1, 3, step, dtype=torch.float64)
    tokens[:, 1] = 1
    made = from_patches(tokens, (1, 1, 3), (1, 1, step), 1, lapped=True).flatten()
    steps = made.diff().abs()
    # All at once where it is cut; spread over the whole border here.
    assert float(steps.max()) < 0.6
    assert float(steps[step - 1]) < 2.6 / step


def test_lapped_patches_gain_what_a_lapped_transform_gains() -> None:
    # Coding gain for a first-order process of correlation .95, patches of 8: 8.83 dB for the
    # cosine transform of plain patches, 9.2 for the lapped orthogonal transform, as is well known.
    step, count = 8, 9
    place = torch.arange(step * count)
    covariance = 0.95 ** (place[:, None] - place).abs().double()
    waves = torch.cos(math.pi / step * torch.arange(step)[:, None] * (torch.arange(step) + 0.5))
    waves = waves.double() * (2 / step) ** 0.5
    waves[0] /= 2**0.5

    def gain(matrix: Tensor) -> float:
        middle = matrix.double()[step * 4 : step * 5]
        variance = torch.diagonal(waves @ middle @ covariance @ middle.T @ waves.T)
        return float(-10 * variance.log10().mean())

    assert gain(torch.eye(step * count)) == pytest.approx(8.83, abs=0.01)
    assert gain(lapping(step * count, step)) == pytest.approx(9.2, abs=0.03)


def test_lapped_patches_share_each_pixel_and_leave_the_outer_borders() -> None:
    grid, patch = (1, 2, 3), (1, 4, 6)
    places = torch.cartesian_prod(*map(torch.arange, grid)).tolist()
    energies = [reach(grid, patch, (t, h, w), lapped=True) for t, h, w in places]
    total = torch.stack(energies).sum(0)
    torch.testing.assert_close(total, torch.ones_like(total), atol=1e-6, rtol=0)
    corner = energies[0][0, 0, :2, :3]
    torch.testing.assert_close(corner, torch.ones_like(corner), atol=1e-6, rtol=0)


def test_time_and_channels_are_never_lapped() -> None:
    energy = reach((3, 2, 2), (2, 4, 4), (1, 0, 1), lapped=True)
    assert not energy[:2].any() and not energy[4:].any()
    one = torch.zeros(1, 8, 2 * 3 * 4 * 4).double()
    one.view(1, 8, 2, 3, 4, 4)[:, :, :, 1] = 1
    made = from_patches(one, (2, 2, 2), (2, 4, 4), 3, lapped=True)
    assert made[:, :, 1].any() and not made[:, :, ::2].any()


def test_single_frames_can_be_given() -> None:
    x = clips((3, 2, 2), (2, 4, 4))
    tokens = to_patches(x, (2, 4, 4), lapped=True).view(2, 3, -1)
    first = to_patches(x[:, :2], (2, 4, 4), lapped=True).view(2, 1, -1)
    torch.testing.assert_close(first, tokens[:, :1], atol=1e-9, rtol=0)


@pytest.mark.parametrize("step", [8, 16])
def test_errors_of_whole_tokens_leave_a_grid_plain_and_little_of_one_lapped(step: int) -> None:
    # Each token errs by its own share of what it holds of a plain wall.
    grid, patch = (1, 6, 6), (1, step, step)
    wall = torch.ones(64, 1, 1, 6 * step, 6 * step)
    share = torch.randn(64, 36, 1, generator=torch.Generator().manual_seed(3))

    def steps(lapped: bool) -> tuple[Tensor, Tensor]:
        """Root mean squares of steps between columns: across borders, and the largest elsewhere."""
        tokens = to_patches(wall, patch, lapped) * share
        error = from_patches(tokens, grid, patch, 1, lapped)
        rms = error.diff(dim=-1).square().mean((0, 1, 2, 3)).sqrt()
        across = torch.zeros_like(rms, dtype=torch.bool)
        across[step - 1 :: step] = True
        return rms[across].mean(), rms[~across].max()

    (plain, inside), (lapped, beside) = steps(False), steps(True)
    assert not inside
    assert lapped < 2.6 / step * plain
    assert lapped < 1.2 * beside


@given(PATCHES, st.integers(1, 3))
def test_waves_are_the_cosine_transforms_and_orthonormal(patch: Patch, channels: int) -> None:
    p, q, r = patch
    pixels = channels * p * q * r
    every = waves(patch, channels, pixels + 5)
    assert every.shape == (pixels, pixels)
    torch.testing.assert_close(every @ every.T, torch.eye(pixels), atol=1e-5, rtol=0)
    x = clips((1, 1, 1), patch, channels, 1)
    expected = scipy.fft.dctn(x[0].numpy(), norm="ortho", axes=(0, 2, 3)).ravel()
    found = every.double() @ to_patches(x, patch)[0, 0]
    numpy.testing.assert_allclose(sorted(found.tolist()), sorted(expected), atol=1e-5)


def test_the_first_waves_are_the_slowest() -> None:
    found = waves((4, 8, 8), 3, 60).view(60, 4, 3, 8, 8)
    flat = found[:3].flatten(3)
    torch.testing.assert_close(flat, flat[..., :1].expand_as(flat), atol=1e-6, rtol=0)
    # How much pixels differ from the next ones in rows and columns.
    rough = sum(found.diff(dim=axis).square().sum((1, 2, 3, 4)) for axis in (3, 4))
    assert isinstance(rough, torch.Tensor)
    assert float(rough[:30].mean()) < float(rough[30:].mean())
    assert torch.equal(waves((4, 8, 8), 3, 7), waves((4, 8, 8), 3, 60)[:7])


@given(st.integers(1, 9), st.integers(1, 6))
def test_lapping_is_orthogonal_and_mixes_about_borders_only(step: int, count: int) -> None:
    side = step * count
    matrix = lapping(side, step).double()
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(side).double(), atol=1e-6, rtol=0)
    for row, column in (matrix.abs() > 1e-7).nonzero().tolist():
        border = round((row + column + 1) / 2 / step) * step
        near = range(border - step // 2, border + step // 2)
        assert row == column or (row in near and column in near)


def test_one_patch_is_left_as_it_is() -> None:
    assert torch.equal(lapping(8, 8), torch.eye(8))
    x = clips((2, 1, 1), (2, 4, 4))
    assert torch.equal(to_patches(x, (2, 4, 4), lapped=True), to_patches(x, (2, 4, 4)))


def test_patches_made_in_inference_do_not_keep_others_from_training() -> None:
    lapping.cache_clear()
    x = clips((1, 2, 2), (2, 4, 4), dtype=torch.float32)
    with torch.inference_mode():
        to_patches(x, (2, 4, 4), lapped=True)
    x.requires_grad_()
    try:
        to_patches(x, (2, 4, 4), lapped=True).square().sum().backward()
    finally:
        lapping.cache_clear()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, 2 * x.detach(), atol=1e-5, rtol=0)
