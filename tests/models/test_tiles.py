"""Tiles: of what looks at single places they give the whole; borders do not show."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from muybridge.models import vae
from muybridge.models.tiles import tiled


@pytest.mark.parametrize("side", [(32, 32), (40, 72), (24, 33), (100, 16)])
@pytest.mark.parametrize("overlap", [(0, 0), (4, 8), (16, 16)])
def test_what_sees_single_places_gives_the_same_in_tiles(
    side: tuple[int, int], overlap: tuple[int, int]
) -> None:
    x = torch.randn(2, 3, *side, generator=torch.Generator().manual_seed(0))
    seen: list[torch.Size] = []

    def make(tile: Tensor) -> Tensor:
        seen.append(tile.shape)
        return tile.sin().repeat_interleave(2, -2).repeat_interleave(2, -1)

    made = tiled(make, x, (32, 32), overlap, 2)
    torch.testing.assert_close(made, x.sin().repeat_interleave(2, -2).repeat_interleave(2, -1))
    assert all(shape[-2] <= 32 and shape[-1] <= 32 for shape in seen)


def test_down_in_scale() -> None:
    x = torch.randn(1, 48, 80)
    made = tiled(lambda tile: F.avg_pool2d(tile, 8), x, (32, 32), (16, 8), 1 / 8)
    torch.testing.assert_close(made, F.avg_pool2d(x, 8))


def test_a_step_at_a_border_becomes_a_slope() -> None:
    x, turn = torch.zeros(1, 8, 56), iter((0.0, 1.0))
    made = tiled(lambda tile: torch.full_like(tile, next(turn)), x, (8, 32), (0, 8), 1)[0, 0]
    assert float(made[:24].max()) == 0
    assert float(made[32:].min()) == 1
    torch.testing.assert_close(made[24:32].diff(), torch.full((7,), 1 / 8))


def test_an_overlap_of_more_than_half_is_refused() -> None:
    with pytest.raises(ValueError, match="at most half"):
        tiled(lambda tile: tile, torch.zeros(1, 64, 64), (32, 32), (17, 0), 1)


def test_an_autoencoder_in_tiles_is_near_to_the_whole() -> None:
    torch.manual_seed(0)
    shape = vae.Config(widths=(8, 12), depth=(1, 1), channels=4, text=None, prior=None)
    made = vae.build(shape).eval()
    clips = torch.rand(1, 4, 3, 96, 96) * 2 - 1
    with torch.no_grad():
        whole = made.encode(clips)
        parts = tiled(made.encode, clips, (64, 64), (32, 32), 1 / 8)
        assert float((parts - whole).square().mean()) < 0.02 * float(whole.square().mean())
        back = tiled(made.decode, whole, (8, 8), (4, 4), 8)
        straight = made.decode(whole)
        assert float((back - straight).square().mean()) < 0.02 * float(straight.square().mean())
