"""What clips are shown under in an adversarial game."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from muybridge.core import chance
from muybridge.objectives.augment import Config, augmented

KINDS = ("brightness", "contrast", "saturation", "shift", "hole")
NONE: dict[str, float] = dict.fromkeys(KINDS, 0)


def seeds(count: int) -> Tensor:
    return torch.tensor([chance.mix(3, i) for i in range(count)])


def clips(count: int = 6, side: int = 16) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(count, 4, 3, side, side)


def test_at_probability_0_clips_are_as_they_were() -> None:
    data = clips()
    assert torch.equal(augmented(data, seeds(6), ["real"], Config(probability=0)), data)


def test_clips_that_are_not_drawn_stay_as_they_were() -> None:
    data = clips(64)
    made = augmented(data, seeds(64), ["real"], Config(probability=0.3))
    same = (made - data).abs().amax((1, 2, 3, 4)) < 1e-5
    assert float(same.float().mean()) == pytest.approx(0.7**5, abs=0.13)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_changes_clips_and_is_the_same_for_all_frames(kind: str) -> None:
    picture = clips()[:, :1]
    config = Config(**{**NONE, kind: 0.4, "probability": 0.99})  # type: ignore[arg-type]
    made = augmented(picture.expand(-1, 4, -1, -1, -1), seeds(6), ["real"], config)
    torch.testing.assert_close(made, made[:, :1].expand_as(made))
    assert (made[:, :1] - picture).abs().amax((1, 2, 3, 4)).gt(1e-3).sum() >= 4


def test_clips_are_mirrored_only_when_asked() -> None:
    data = clips(32)
    made = augmented(data, seeds(32), ["real"], Config(**NONE, probability=0.5, flip=True))
    mirrored = (made - data.flip(-1)).abs().amax((1, 2, 3, 4)) < 1e-5
    same = (made - data).abs().amax((1, 2, 3, 4)) < 1e-5
    assert bool((mirrored ^ same).all())
    assert 6 < int(mirrored.sum()) < 26
    left = augmented(data, seeds(32), ["real"], Config(**NONE, probability=0.5))
    torch.testing.assert_close(left, data)


def test_a_move_is_by_whole_pixels_and_lets_the_mean_colour_in() -> None:
    picture = torch.zeros(40, 1, 3, 16, 16)
    picture[..., 8, 8] = 1
    made = augmented(
        picture, seeds(40), ["real"], Config(**{**NONE, "shift": 0.25}, probability=0.9)
    )  # type: ignore[arg-type]
    assert torch.equal(made.unique(), torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(made.sum((1, 2, 3, 4)), torch.full((40,), 3.0))
    where = made[:, 0, 0].flatten(1).argmax(1)
    rows, columns = where // 16 - 8, where % 16 - 8
    for moved in (rows, columns):
        assert moved.abs().max() <= 4
        assert moved.min() < -1
        assert moved.max() > 1


def test_colour_is_changed_about_its_own_grey() -> None:
    grey = clips(20).mean(2, keepdim=True).expand(-1, -1, 3, -1, -1)
    config = Config(**{**NONE, "saturation": 0.5}, probability=0.9)  # type: ignore[arg-type]
    torch.testing.assert_close(augmented(grey, seeds(20), ["real"], config), grey)


def test_both_sides_draw_alike_but_not_the_same() -> None:
    picture = torch.ones(600, 1, 3, 8, 8)
    both = torch.cat([picture, picture])
    made = augmented(both, seeds(600), ["real", "made"], Config())
    real, fake = made.chunk(2)
    assert (real - fake).abs().amax((1, 2, 3, 4)).gt(1e-3).float().mean() > 0.5
    for figure in (lambda x: x.mean((1, 2, 3, 4)), lambda x: x.std((1, 2, 3, 4))):
        one, other = figure(real), figure(fake)
        apart = (one.mean() - other.mean()).abs()
        assert apart < 4 * (one.var() / 600 + other.var() / 600).sqrt()
    alone = augmented(picture, seeds(600), ["made"], Config())
    torch.testing.assert_close(alone, fake)


def test_a_draw_is_the_clips_own() -> None:
    data = clips()
    whole = augmented(data, seeds(6), ["real"], Config(probability=0.8))
    part = augmented(data[2:4], seeds(6)[2:4], ["real"], Config(probability=0.8))
    torch.testing.assert_close(part, whole[2:4])


def test_gradients_and_their_gradients_pass_through() -> None:
    data = clips(3, 4).double().requires_grad_()
    config = Config(probability=0.8)

    def change(x: Tensor) -> Tensor:
        return augmented(x.float(), seeds(3), ["real"], config).double()

    (slope,) = torch.autograd.grad(change(data).square().sum(), data, create_graph=True)
    assert slope.abs().amax((1, 2, 3, 4)).min() > 0
    (second,) = torch.autograd.grad(slope.square().sum(), data)
    assert second.isfinite().all()
    # It is affine in a clip: its slope along a line is the same all along it.
    one, other = clips(3, 4), torch.randn(3, 4, 3, 4, 4)
    with torch.no_grad():
        middle = change((one + other) / 2)
        torch.testing.assert_close(middle, (change(one) + change(other)) / 2, atol=1e-5, rtol=1e-5)
