"""Parts of a loss on pixels, against cases whose answer is known."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from muybridge.core.errors import RecipeError
from muybridge.objectives import losses
from muybridge.objectives.losses import Config, compare

ONE = torch.ones(2, 4)


def clips(seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    rough = torch.randn(2, 3, 16, 20, generator=draw)
    smooth = F.interpolate(rough, scale_factor=4, mode="bicubic").clamp(-2, 2) / 2
    # A wall that slides two pixels to the right a frame.
    return torch.stack([smooth[..., :64, 12 - 2 * t : 76 - 2 * t] for t in range(4)], 1)


def only(name: str, made: torch.Tensor, real: torch.Tensor, weight: torch.Tensor = ONE) -> float:
    return float(compare(made, real, weight, Config(**{name: 1.0}))[name].sum() / weight.sum())


@pytest.mark.parametrize("name", ["mse", "l1", "huber", "gradient", "motion"])
def test_a_part_left_out_is_not_computed_and_one_in_use_is_least_at_the_truth(name: str) -> None:
    real = clips()
    assert compare(real, real, ONE, Config()) == {}
    assert only(name, real, real) < 0.02
    assert only(name, real + 0.3 * torch.randn_like(real), real) > 0.05


def test_errors_of_pixels_have_the_values_of_their_formulas() -> None:
    real = clips()
    assert only("mse", real + 0.5, real) == pytest.approx(0.25, rel=1e-5)
    assert only("l1", real + 0.5, real) == pytest.approx(0.5, rel=1e-5)
    # Beyond the knee d the slope is that of the absolute error: |e| - d / 2.
    assert only("huber", real + 0.5, real) == pytest.approx(0.5 - 0.05, rel=1e-5)
    assert only("huber", real + 0.05, real) == pytest.approx(0.05**2 / 2 / 0.1, rel=1e-4)


def test_gradient_does_not_see_brightness_and_sees_blur() -> None:
    real = clips()
    blurred = F.avg_pool2d(real.flatten(0, 1), 5, 1, 2).unflatten(0, (2, 4))
    assert only("gradient", real + 0.3, real) == pytest.approx(0, abs=1e-6)
    assert only("gradient", blurred, real) > 0.003


def test_motion_does_not_see_a_change_that_stays_and_sees_flicker() -> None:
    real = clips()
    steady = real * 0.5
    flicker = real + 0.3 * torch.tensor([1, -1, 1, -1]).view(1, 4, 1, 1, 1)
    assert only("motion", steady, real) < 0.02
    assert only("motion", flicker, real) > 0.3


def test_frames_that_do_not_count_do_not_count() -> None:
    real, weight = clips(), torch.tensor([[1.0, 1, 1, 0]]).expand(2, -1)
    spoiled = real.clone()
    spoiled[:, 3] = 0.9
    assert only("mse", spoiled, real, weight) == 0


def test_flow_says_where_a_pixel_was() -> None:
    flow = losses.optical_flow(clips())[..., 16:48, 16:48]
    assert float(flow[:, :, 0].median()) == pytest.approx(-2, abs=0.2)
    assert float(flow[:, :, 1].median()) == pytest.approx(0, abs=0.2)


def test_the_perceptual_part_is_what_the_network_says() -> None:
    real = clips()
    said = torch.arange(8.0).view(2, 4)
    config = Config(perceptual=2.0)
    found = compare(real, real, ONE, config, lambda made, real: said)
    assert found["perceptual"].tolist() == [6.0, 22.0]
    with pytest.raises(RecipeError, match="names no network"):
        compare(real, real, ONE, config)
