"""Convolutions of volumes against torch's own, to the second gradient."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from muybridge.models.volumes import Conv3d, folded


@pytest.mark.parametrize("stride", [1, 2])
def test_values_and_gradients_to_the_second_are_those_of_torch(stride: int) -> None:
    torch.manual_seed(0)
    layer = Conv3d(2, 3, 3, stride, 1).double()
    x = torch.randn(2, 2, 4, 4, 4, dtype=torch.float64, requires_grad=True)

    def penalty(ours: bool) -> list[torch.Tensor]:
        """Gradients of a penalty on the gradient, for what is given and for the weights."""
        made = layer(x * 1) if ours else F.conv3d(x, layer.weight, layer.bias, stride, 1)
        (slope,) = torch.autograd.grad(made.pow(3).sum(), x, create_graph=True)
        x.grad = None
        layer.zero_grad()
        slope.square().sum().backward()
        assert x.grad is not None and layer.weight.grad is not None
        return [made, slope, x.grad.clone(), layer.weight.grad.clone()]

    for a, b in zip(penalty(True), penalty(False), strict=True):
        torch.testing.assert_close(a, b)


def test_folding_gathers_each_patch_in_one_place() -> None:
    clips = torch.arange(4 * 3 * 8 * 8.0).view(1, 4, 3, 8, 8)
    places = folded(clips, (2, 4, 4))
    assert places.shape == (1, 96, 2, 2, 2)
    patch = clips[0, 2:4, :, 4:8, 0:4]
    assert sorted(places[0, :, 1, 1, 0].tolist()) == sorted(patch.flatten().tolist())
