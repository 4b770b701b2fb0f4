"""LPIPS against torchvision's names of its backbones, and equation 1 written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from muybridge.models import lpips

# torchvision's `alexnet().features` and `vgg16().features`: place, outputs, inputs, side.
ALEX = [(0, 64, 3, 11), (3, 192, 64, 5), (6, 384, 192, 3), (8, 256, 384, 3), (10, 256, 256, 3)]
VGG = [
    (0, 64, 3, 3), (2, 64, 64, 3), (5, 128, 64, 3), (7, 128, 128, 3), (10, 256, 128, 3),
    (12, 256, 256, 3), (14, 256, 256, 3), (17, 512, 256, 3), (19, 512, 512, 3), (21, 512, 512, 3),
    (24, 512, 512, 3), (26, 512, 512, 3), (28, 512, 512, 3),
]  # fmt: skip
# Channels of lpips/weights/v0.1's lin0 to lin4.
HEADS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}
# (stride, padding) of AlexNet's convolutions; a 3 x 3 maximum of stride 2 stands before these.
STEPS = {0: (4, 2), 3: (1, 2), 6: (1, 1), 8: (1, 1), 10: (1, 1)}
POOLED = {"alex": {3, 6}, "vgg": {5, 10, 17, 24}}
# VGG's features are compared after relu1_2, relu2_2, relu3_3, relu4_3, relu5_3.
COMPARED = {"alex": {0, 3, 6, 8, 10}, "vgg": {2, 7, 14, 21, 28}}


def network(backbone: str) -> lpips.LPIPS:
    torch.manual_seed(0)
    made = lpips.network(backbone).eval().requires_grad_(False)
    for head in made.heads:
        head.copy_(torch.rand(head.shape))
    return made


def by_hand(backbone: str, state: dict[str, Tensor], one: Tensor, two: Tensor) -> float:
    """Equation 1 for one pair, in float64."""
    mean, deviation = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    pictures = np.stack([one.double().numpy(), two.double().numpy()])
    x = torch.from_numpy((pictures - mean[:, None, None]) / deviation[:, None, None])
    total, number = 0.0, 0
    for place, *_ in {"alex": ALEX, "vgg": VGG}[backbone]:
        if place in POOLED[backbone]:
            x = F.max_pool2d(x, 3, 2) if backbone == "alex" else F.max_pool2d(x, 2, 2)
        stride, padding = STEPS[place] if backbone == "alex" else (1, 1)
        weight, bias = state[f"features.{place}.weight"], state[f"features.{place}.bias"]
        x = F.conv2d(x, weight.double(), bias.double(), stride, padding).clamp(min=0)
        if place in COMPARED[backbone]:
            length = np.sqrt((x.numpy() ** 2).sum(1, keepdims=True)) + 1e-10
            unit = x.numpy() / length
            head = state[f"heads.{number}"].double().numpy()[0]
            total += float(((unit[0] - unit[1]) ** 2 * head).sum(0).mean())
            number += 1
    return total


@pytest.mark.parametrize("backbone", ["alex", "vgg"])
def test_names_and_shapes_are_the_published_ones(backbone: str) -> None:
    expected = {f"heads.{i}": (1, width, 1, 1) for i, width in enumerate(HEADS[backbone])}
    for place, outputs, inputs, side in {"alex": ALEX, "vgg": VGG}[backbone]:
        expected[f"features.{place}.weight"] = (outputs, inputs, side, side)
        expected[f"features.{place}.bias"] = (outputs,)  # type: ignore[assignment]
    with torch.device("meta"):
        state = lpips.network(backbone).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == expected


@pytest.mark.parametrize(("backbone", "size"), [("alex", (64, 47)), ("vgg", (16, 20))])
def test_distances_are_those_of_the_equation(backbone: str, size: tuple[int, int]) -> None:
    made = network(backbone)
    first, second = torch.rand(2, 2, 3, *size) * 2 - 1
    found = made(first, second)
    state = made.state_dict()
    expected = [by_hand(backbone, state, *pair) for pair in zip(first, second, strict=True)]
    assert found.tolist() == pytest.approx(expected, rel=1e-4)
    assert torch.equal(found, made(second, first))
    assert made(first, first).tolist() == [0, 0]


@pytest.mark.parametrize("backbone", ["alex", "vgg"])
def test_the_least_side_is_the_least_that_passes(backbone: str) -> None:
    with torch.device("meta"):
        made = lpips.network(backbone)
        side = made.least_side
        assert made(*torch.zeros(2, 1, 3, side, side)).shape == (1,)
        with pytest.raises(RuntimeError, match="small"):
            made(*torch.zeros(2, 1, 3, side - 1, side))
