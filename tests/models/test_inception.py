"""FID's Inception against the parameters that pytorch-fid publishes and strictly loads.

Names, channels and kernels are written down from torchvision's `models/inception.py`, whose names
pytorch-fid's `fid_inception_v3` keeps, with 1008 outputs and no auxiliary head.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from muybridge.models import inception

Shape = tuple[int, int, int, int]


def square(i: int, pooled: int) -> dict[str, Shape]:
    return {
        "branch1x1": (64, i, 1, 1),
        "branch5x5_1": (48, i, 1, 1), "branch5x5_2": (64, 48, 5, 5),
        "branch3x3dbl_1": (64, i, 1, 1), "branch3x3dbl_2": (96, 64, 3, 3),
        "branch3x3dbl_3": (96, 96, 3, 3), "branch_pool": (pooled, i, 1, 1),
    }  # fmt: skip


def long(c: int) -> dict[str, Shape]:
    return {
        "branch1x1": (192, 768, 1, 1),
        "branch7x7_1": (c, 768, 1, 1), "branch7x7_2": (c, c, 1, 7), "branch7x7_3": (192, c, 7, 1),
        "branch7x7dbl_1": (c, 768, 1, 1), "branch7x7dbl_2": (c, c, 7, 1),
        "branch7x7dbl_3": (c, c, 1, 7), "branch7x7dbl_4": (c, c, 7, 1),
        "branch7x7dbl_5": (192, c, 1, 7), "branch_pool": (192, 768, 1, 1),
    }  # fmt: skip


def wide(i: int) -> dict[str, Shape]:
    return {
        "branch1x1": (320, i, 1, 1), "branch3x3_1": (384, i, 1, 1),
        "branch3x3_2a": (384, 384, 1, 3), "branch3x3_2b": (384, 384, 3, 1),
        "branch3x3dbl_1": (448, i, 1, 1), "branch3x3dbl_2": (384, 448, 3, 3),
        "branch3x3dbl_3a": (384, 384, 1, 3), "branch3x3dbl_3b": (384, 384, 3, 1),
        "branch_pool": (192, i, 1, 1),
    }  # fmt: skip


BLOCKS: dict[str, dict[str, Shape]] = {
    "Mixed_5b": square(192, 32), "Mixed_5c": square(256, 64), "Mixed_5d": square(288, 64),
    "Mixed_6a": {
        "branch3x3": (384, 288, 3, 3), "branch3x3dbl_1": (64, 288, 1, 1),
        "branch3x3dbl_2": (96, 64, 3, 3), "branch3x3dbl_3": (96, 96, 3, 3),
    },
    "Mixed_6b": long(128), "Mixed_6c": long(160), "Mixed_6d": long(160), "Mixed_6e": long(192),
    "Mixed_7a": {
        "branch3x3_1": (192, 768, 1, 1), "branch3x3_2": (320, 192, 3, 3),
        "branch7x7x3_1": (192, 768, 1, 1), "branch7x7x3_2": (192, 192, 1, 7),
        "branch7x7x3_3": (192, 192, 7, 1), "branch7x7x3_4": (192, 192, 3, 3),
    },
    "Mixed_7b": wide(1280), "Mixed_7c": wide(2048),
}  # fmt: skip
STEM: dict[str, Shape] = {
    "Conv2d_1a_3x3": (32, 3, 3, 3), "Conv2d_2a_3x3": (32, 32, 3, 3),
    "Conv2d_2b_3x3": (64, 32, 3, 3), "Conv2d_3b_1x1": (80, 64, 1, 1),
    "Conv2d_4a_3x3": (192, 80, 3, 3),
}  # fmt: skip
# The order in which a block's outputs stand side by side; "" is its input, pooled.
SQUARE = ("branch1x1", "branch5x5_2", "branch3x3dbl_3", "branch_pool")
WIDE = ("branch1x1", "branch3x3_2a", "branch3x3_2b", "branch3x3dbl_3a", "branch3x3dbl_3b",
        "branch_pool")  # fmt: skip
ORDER = {
    "Mixed_5b": SQUARE,
    "Mixed_6a": ("branch3x3", "branch3x3dbl_3", ""),
    "Mixed_6b": ("branch1x1", "branch7x7_3", "branch7x7dbl_5", "branch_pool"),
    "Mixed_7a": ("branch3x3_2", "branch7x7x3_4", ""),
    "Mixed_7b": WIDE,
    "Mixed_7c": WIDE,
}


def published() -> dict[str, tuple[int, ...]]:
    """Every name and shape of the file, batch norm's counters left out."""
    units = {f"{block}.{name}": s for block, each in BLOCKS.items() for name, s in each.items()}
    made: dict[str, tuple[int, ...]] = {"fc.weight": (1008, 2048), "fc.bias": (1008,)}
    for name, shape in (STEM | units).items():
        made[f"{name}.conv.weight"] = shape
        for part in ("weight", "bias", "running_mean", "running_var"):
            made[f"{name}.bn.{part}"] = shape[:1]
    return made


@pytest.fixture(scope="module")
def network() -> inception.Inception:
    torch.manual_seed(0)
    return inception.network().eval()


def test_names_and_shapes_are_the_published_ones(network: inception.Inception) -> None:
    found = {n: tuple(v.shape) for n, v in network.state_dict().items() if "num_batches" not in n}
    assert found == published()
    # torchvision's 27,161,264 less its auxiliary head's 3,326,696, and 8 more outputs of 2049.
    assert sum(p.numel() for p in network.parameters()) == 27_161_264 - 3_326_696 + 8 * 2049


@pytest.mark.parametrize("name", ORDER)
def test_branches_stand_side_by_side_in_the_published_order(
    network: inception.Inception, name: str
) -> None:
    """Each branch is made to say its own number."""
    block = network.get_submodule(name)
    saved = {k: v.clone() for k, v in block.state_dict().items()}
    expected: list[float] = []
    inputs = next(iter(BLOCKS[name].values()))[1]
    for number, branch in enumerate(ORDER[name], 1):
        if branch:
            norm = block.get_submodule(f"{branch}.bn")
            assert isinstance(norm, nn.BatchNorm2d)
            nn.init.zeros_(norm.weight)
            nn.init.constant_(norm.bias, number)
        width = BLOCKS[name][branch][0] if branch else inputs
        expected += [number if branch else 0.5] * width
    with torch.no_grad():
        made = block(torch.full((1, inputs, 9, 9), 0.5))[0, :, 0, 0]
    block.load_state_dict(saved)
    assert made.tolist() == expected


def pooled(network: inception.Inception, name: str, x: Tensor) -> Tensor:
    seen: list[Tensor] = []
    unit = network.get_submodule(f"{name}.branch_pool")
    hook = unit.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        network.get_submodule(name)(x)
    hook.remove()
    return seen[0]


def test_averages_leave_the_padding_out(network: inception.Inception) -> None:
    for name, inputs in (("Mixed_5c", 256), ("Mixed_6d", 768), ("Mixed_7b", 1280)):
        x = torch.ones(1, inputs, 5, 5)
        x[0, :, 0, 0] = 5.0
        made = pooled(network, name, x)[0, 0]
        assert made[-1, -1] == 1.0
        assert made[0, 0] == (5 + 1 + 1 + 1) / 4
        assert made[1, 1] == pytest.approx((5 + 8) / 9)


def test_the_last_block_takes_the_maximum(network: inception.Inception) -> None:
    x = torch.arange(25.0).view(1, 1, 5, 5).expand(1, 2048, 5, 5)
    made = pooled(network, "Mixed_7c", x)[0, 7]
    assert made[0].tolist() == [6, 7, 8, 9, 9]
    assert made[4, 4] == 24


def test_a_picture_makes_features_and_logits_without_bias(network: inception.Inception) -> None:
    shapes: list[tuple[int, ...]] = []
    hooks = [
        network.get_submodule(name).register_forward_hook(
            lambda _, __, made: shapes.append(tuple(made.shape[1:]))
        )
        for name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c")
    ]
    with torch.no_grad():
        features = network(torch.rand(1, 3, 299, 299) * 2 - 1)
        logits = network.logits(features)
    for hook in hooks:
        hook.remove()
    # Szegedy et al. 2016, table 1, with this graph's unpadded stem.
    assert shapes == [(64, 147, 147), (192, 71, 71), (288, 35, 35), (768, 17, 17), (2048, 8, 8)]
    assert features.shape == (1, 2048)
    assert (features >= 0).all()
    assert torch.allclose(logits + network.fc.bias, network.fc(features), atol=1e-5)
