from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from muybridge.models import encoder3d

SMALL = encoder3d.Config(widths=(4, 6), depth=2)


def network(**settings: object) -> encoder3d.Encoder3d:
    torch.manual_seed(0)
    made = encoder3d.network(SMALL.with_values(**settings))
    for block in made.modules():
        if isinstance(block, encoder3d.Block):
            torch.nn.init.normal_(block.second.weight, std=0.1)
    return made


def clips(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("extent", [(4, 16, 16), (5, 17, 19), (7, 16, 30), (16, 64, 48)])
@pytest.mark.parametrize("cells", [0, 3])
def test_any_extent_from_the_least_up_gives_as_many_features_as_told(
    extent: tuple[int, int, int], cells: int
) -> None:
    made = network(cells=cells)
    time, height, width = extent
    found = made(clips(2, time, 3, height, width))
    assert found.shape == (2, made.features)
    assert found.isfinite().all()


def test_folding_keeps_every_pixel_once() -> None:
    made = network(patch=(2, 4, 4))
    given = clips(1, 4, 3, 16, 16)
    folded = made._folded(given)
    assert folded.shape == (1, 96, 2, 4, 4)
    assert torch.equal(folded.flatten().sort().values, given.flatten().sort().values)
    # One place holds one block of the clip.
    block = given[0, 2:4, :, 4:8, 12:16]
    assert torch.equal(folded[0, :, 1, 1, 3].sort().values, block.flatten().sort().values)


def test_a_clip_that_does_not_fit_the_patch_is_as_if_its_edge_went_on() -> None:
    made = network()
    given = clips(1, 5, 3, 18, 16)
    longer = torch.cat([given, given[:, -1:]], 1)
    whole = torch.cat([longer, longer[..., -1:, :].expand(-1, -1, -1, 2, -1)], 3)
    assert torch.equal(made(given), made(whole))


def test_a_block_begins_as_the_identity() -> None:
    block = encoder3d.Block(4, 4, 1)
    x = clips(1, 4, 4, 8, 8)
    assert torch.allclose(block(x), x, atol=1e-6)


def test_energies_are_logs_of_sizes_cell_by_cell() -> None:
    given = clips(1, 6, 3, 16, 16)
    grey = given[0].mean(1).double().numpy()
    change = np.abs(np.diff(grey, axis=0))[:, 8:, :8].mean((1, 2))
    padded = np.pad(grey, ((0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    detail = np.abs(grey - np.nanmean(windows, (3, 4)))[:, 8:, :8].mean((1, 2))
    again = np.abs(np.diff(grey, 2, axis=0))[:, 8:, :8].mean((1, 2))
    found = encoder3d.energies(given, 2)[0].view(9, 4)[:, 2]
    expected = []
    for sizes in (change, again, detail):
        growth = np.cov(sizes, np.linspace(-1, 1, len(sizes)), ddof=0)[0, 1]
        expected += [np.log(sizes.mean() + 1e-3), np.log(sizes.std() + 1e-3)]
        expected += [growth / (sizes.mean() + 1e-3)]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def test_backwards_only_growth_is_turned() -> None:
    given = clips(2, 6, 3, 16, 16)
    found = encoder3d.energies(given, 2).view(2, 3, 3, 4)
    turned = encoder3d.energies(given.flip(1), 2).view(2, 3, 3, 4)
    assert torch.allclose(turned[:, :, :2], found[:, :, :2], atol=1e-5)
    assert torch.allclose(turned[:, :, 2], -found[:, :, 2], atol=1e-5)


def test_a_still_clip_has_no_change_and_a_flat_one_no_detail() -> None:
    still = encoder3d.energies(clips(1, 1, 3, 16, 16).expand(-1, 5, -1, -1, -1), 1)[0]
    flat = encoder3d.energies(clips(1, 5, 3, 1, 1).expand(-1, -1, -1, 16, 16), 1)[0]
    nothing = math.log(1e-3)
    assert still[:6].tolist() == pytest.approx([nothing, nothing, 0] * 2, abs=1e-2)
    assert flat[6:].tolist() == pytest.approx([nothing, nothing, 0], abs=1e-2)
    assert still[6] > nothing + 3
    assert flat[0] > nothing + 3


def test_order_in_time_is_seen() -> None:
    made, given = network(), clips(2, 8, 3, 16, 16)
    assert not torch.allclose(made(given), made(given.flip(1)), atol=1e-4)


def test_blank_clips_have_finite_slopes() -> None:
    made = network()
    given = torch.zeros(1, 4, 3, 16, 16, requires_grad=True)
    made(given).sum().backward()
    assert given.grad is not None
    assert given.grad.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in made.parameters())


@pytest.mark.parametrize(
    "shape", [(1, 3, 3, 16, 16), (1, 4, 3, 15, 16), (1, 4, 1, 16, 16), (4, 3, 16, 16)]
)
def test_other_forms_are_refused_with_the_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=str(shape[-1])):
        network()(clips(*shape))
