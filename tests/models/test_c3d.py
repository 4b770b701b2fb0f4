"""C3D against the layers that TGAN publishes: pfnet-research/tgan2, `c3d_ucf101.py`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from muybridge.models import c3d

# Outputs and inputs of its 3 x 3 x 3 convolutions, and of its dense layers.
CONVOLUTIONS = {
    "conv1a": (64, 3), "conv2a": (128, 64), "conv3a": (256, 128), "conv3b": (256, 256),
    "conv4a": (512, 256), "conv4b": (512, 512), "conv5a": (512, 512), "conv5b": (512, 512),
}  # fmt: skip
DENSE = {"fc6": (4096, 512 * 4 * 4), "fc7": (4096, 4096), "fc8": (101, 4096)}


def published() -> dict[str, tuple[int, ...]]:
    """Names as ours: chainer's "conv1a/W" is "conv1a.weight"; and `mean2.npz`."""
    made: dict[str, tuple[int, ...]] = {"mean": (3, 16, 128, 171)}
    for name, shape in CONVOLUTIONS.items():
        made |= {f"{name}.weight": (*shape, 3, 3, 3), f"{name}.bias": shape[:1]}
    for name, shape in DENSE.items():
        made |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return made


def test_names_and_shapes_are_the_published_ones() -> None:
    with torch.device("meta"):
        state = c3d.network().state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == published()


class Seen(Exception):
    """What the first layer was given."""


def test_the_first_layer_sees_blue_first_and_the_corner_of_the_mean_taken_off() -> None:
    with torch.device("meta"):
        network = c3d.network()
    torch.manual_seed(0)
    network.mean = torch.rand(3, 16, 128, 171) * 255

    def stop(_: object, given: tuple[Tensor, ...]) -> None:
        raise Seen(given[0])

    network.get_submodule("conv1a").register_forward_pre_hook(stop)
    clips = torch.rand(2, 3, 16, 112, 112) * 2 - 1
    with pytest.raises(Seen) as caught:
        network(clips)
    seen = caught.value.args[0]
    for place, colour in enumerate((2, 1, 0)):
        for row, column in ((0, 0), (111, 111), (3, 70)):
            mean = network.mean[place, 5, row + 8, column + 8]
            expected = 128 * clips[1, colour, 5, row, column] + 128 - mean
            assert seen[1, place, 5, row, column] == pytest.approx(float(expected), abs=1e-4)


def test_space_and_time_shrink_as_published() -> None:
    with torch.device("meta"):
        network = c3d.network()
        shapes: dict[str, tuple[int, ...]] = {}
        for name in (*CONVOLUTIONS, "fc6"):
            network.get_submodule(name).register_forward_pre_hook(
                lambda _, given, name=name: shapes.update({name: tuple(given[0].shape[1:])})
            )
        made = network(torch.zeros(1, 3, 16, 112, 112))
    # Tran et al., section 3.3: 1 x 2 x 2 pooling at first, then 2 x 2 x 2; fc6 takes 8192.
    assert [shapes[name][1:] for name in ("conv1a", "conv2a", "conv3a", "conv4a", "conv5a")] == [
        (16, 112, 112), (16, 56, 56), (8, 28, 28), (4, 14, 14), (2, 7, 7),
    ]  # fmt: skip
    assert shapes["fc6"] == (8192,)
    assert made.shape == (1, 101)
