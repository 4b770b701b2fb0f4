"""LPIPS v0.1: how different two pictures look, by the features of AlexNet or VGG16.

Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
equation 1. Layers of the backbone are named as in torchvision's files; `heads` are the weights of
channels that were fitted to people's judgements, one for each of five layers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Mean and deviation of ImageNet, for pictures in [-1, 1].
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
# A convolution is (outputs, kernel, stride, padding) and its ReLU; else a pooling (kernel, stride).
_ALEX: tuple[tuple[int, ...], ...] = (
    (64, 11, 4, 2), (3, 2), (192, 5, 1, 2), (3, 2),
    (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1),
)  # fmt: skip
_VGG: tuple[tuple[int, ...], ...] = tuple(
    layer
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
    for layer in (*[(width, 3, 1, 1)] * count, (2, 2))
)[:-1]
# Layers, and the places in them of the five ReLUs that are compared.
_BACKBONES = {"alex": (_ALEX, (1, 4, 7, 9, 11)), "vgg": (_VGG, (3, 8, 15, 22, 29))}
LEAST_SIDE = {"alex": 31, "vgg": 16}
"""The smallest height and width that reach the last layer."""


class LPIPS(nn.Module):
    """The network, to be read in eval mode.

    Args:
        backbone: "alex" or "vgg".
    """

    def __init__(self, backbone: str) -> None:
        super().__init__()
        layers, self.compared = _BACKBONES[backbone]
        self.least_side = LEAST_SIDE[backbone]
        made: list[nn.Module] = []
        width, widths = 3, []
        for layer in layers:
            if len(layer) == 2:
                made.append(nn.MaxPool2d(*layer))
                continue
            outputs, kernel, stride, padding = layer
            made += [nn.Conv2d(width, outputs, kernel, stride, padding), nn.ReLU()]
            width = outputs
            if len(made) - 1 in self.compared:
                widths.append(width)
        self.features = nn.Sequential(*made)
        self.heads = nn.ParameterList(torch.full((1, each, 1, 1), 1 / each) for each in widths)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Distances of pairs of pictures.

        Args:
            first: float32 (n, 3, height, width), RGB, in [-1, 1].
            second: the same shape.

        Returns:
            (n,), zero for equal pictures.
        """
        total = first.new_zeros(len(first))
        pairs = zip(self._compared(first), self._compared(second), self.heads, strict=True)
        for one, other, head in pairs:
            total = total + ((one - other) ** 2 * head).sum(1).mean((1, 2))
        return total

    def _compared(self, pictures: Tensor) -> list[Tensor]:
        """Features of the five layers, each place's channels made one long."""
        shift = pictures.new_tensor(_SHIFT).view(3, 1, 1)
        x = (pictures - shift) / pictures.new_tensor(_SCALE).view(3, 1, 1)
        found = []
        for place, layer in enumerate(self.features):
            x = layer(x)
            if place in self.compared:
                found.append(x / (x.norm(dim=1, keepdim=True) + 1e-10))
        return found


def network(backbone: str) -> LPIPS:
    """The network with weights yet to be loaded.

    Args:
        backbone: "alex" or "vgg".
    """
    return LPIPS(backbone)
