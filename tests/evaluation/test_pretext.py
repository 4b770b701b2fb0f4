from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from muybridge.evaluation import pretext


def clip(time: int = 8, height: int = 32, width: int = 40) -> Tensor:
    """Smooth in space, moving evenly in time, with some texture."""
    across = torch.linspace(0, 6, width)[None, None, None, :]
    down = torch.linspace(0, 4, height)[None, None, :, None]
    when = torch.arange(time)[:, None, None, None]
    phase = torch.tensor([0.0, 1.0, 2.0])[None, :, None, None]
    return 0.6 * torch.sin(across + down + phase + 0.3 * when) + 0.1 * torch.sin(9 * across)


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("flaw", pretext.FLAWS)
@given(
    extent=st.tuples(st.integers(4, 9), st.integers(16, 41), st.integers(16, 41)),
    much=st.floats(0.05, 1),
)
def test_flaws_keep_shape_and_range_and_leave_the_clip_as_it_was(
    flaw: str, extent: tuple[int, int, int], much: float
) -> None:
    real = clip(*extent)
    before = real.clone()
    made = pretext.apply(real, flaw, much, chance())
    assert made.shape == real.shape
    assert made.isfinite().all()
    assert made.abs().max() <= 1
    assert torch.equal(real, before)
    assert torch.equal(made, pretext.apply(real, flaw, much, chance()))


@pytest.mark.parametrize("flaw", sorted(pretext.FLAWS.keys() - {"reversal"}))
def test_more_of_a_flaw_is_farther_from_the_clip(flaw: str) -> None:
    real = clip(16)
    far = [
        sum(
            float((pretext.apply(real, flaw, much, chance(seed)) - real).square().mean())
            for seed in range(30)
        )
        for much in (0.1, 0.5, 1.0)
    ]
    assert 0 < far[0] < far[1] < far[2]


@pytest.mark.parametrize("flaw", ["reversal", "disorder", "freeze"])
def test_flaws_of_order_make_no_new_frames(flaw: str) -> None:
    real = clip()
    made = pretext.apply(real, flaw, 1.0, chance())
    assert all(any(torch.equal(frame, one) for one in real) for frame in made)
    assert len({tuple(frame.flatten().tolist()) for frame in made}) == (
        1 if flaw == "freeze" else 8
    )


def test_scrambling_moves_cells_alike_in_all_frames() -> None:
    real = clip(4, 32, 32)
    made = pretext.apply(real, "scramble", 1.0, chance())
    assert torch.equal(made.flatten(2).sort(2).values, real.flatten(2).sort(2).values)
    still = real[:1].expand(4, -1, -1, -1)
    moved = pretext.apply(still, "scramble", 1.0, chance())
    assert torch.equal(moved, moved[:1].expand(4, -1, -1, -1))


def test_blur_keeps_the_mean_and_takes_detail() -> None:
    real = torch.randn(2, 3, 64, 64, generator=chance()) * 0.2
    made = pretext.blur(real, 0.5, chance())
    assert float((made.mean() - real.mean()).abs()) < 5e-3
    assert made.std() < 0.2 * real.std()


def test_ghosts_and_flicker_and_tint_are_of_the_form_they_say() -> None:
    real = clip() * 0.3
    ghost = pretext.ghost(real, 1.0, chance())
    assert any(torch.allclose(ghost, (real + real.roll(k, 0)) / 2, atol=1e-6) for k in (1, 2, 3))
    offsets = pretext.flicker(real, 0.5, chance()) - real
    assert torch.allclose(offsets, offsets[:, :1, :1, :1].expand_as(offsets), atol=1e-6)
    assert len(set(offsets[:, 0, 0, 0].tolist())) == len(real)
    tinted = pretext.tint(real, 1.0, chance())
    for channel in range(3):
        x, y = real[:, channel].flatten(), tinted[:, channel].flatten()
        assert float(torch.corrcoef(torch.stack([x, y]))[0, 1]) > 1 - 1e-5
