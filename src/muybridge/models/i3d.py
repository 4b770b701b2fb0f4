"""I3D on RGB with the 400 classes of Kinetics: the network of the Frechet Video Distance.

Carreira and Zisserman 2017, "Quo Vadis, Action Recognition?", Inception-v1 with each square kernel
made a cube; Unterthiner et al. 2018, "Towards Accurate Generative Models of Video", for FVD.
Parameters are named as in the PyTorch port of DeepMind's graph (hassony2/kinetics_i3d_pytorch),
from which `i3d_torchscript.pt` was made.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 224
"""Height and width of its frames."""
LEAST_FRAMES = 10
"""Fewer leave nothing to average over in some of the published ports."""
CLASSES = 400

Sides = tuple[int, int, int]

# Output channels of a block's branches: 1 x 1; 1 x 1 then 3 x 3; 1 x 1 then 3 x 3; pool then 1 x 1.
_BLOCKS = {
    "mixed_3b": (64, 96, 128, 16, 32, 32),
    "mixed_3c": (128, 128, 192, 32, 96, 64),
    "mixed_4b": (192, 96, 208, 16, 48, 64),
    "mixed_4c": (160, 112, 224, 24, 64, 64),
    "mixed_4d": (128, 128, 256, 24, 64, 64),
    "mixed_4e": (112, 144, 288, 32, 64, 64),
    "mixed_4f": (256, 160, 320, 32, 128, 128),
    "mixed_5b": (256, 160, 320, 32, 128, 128),
    "mixed_5c": (384, 192, 384, 48, 128, 128),
}
# The pooling before a block.
_POOLS = {"mixed_4b": ((3, 3, 3), (2, 2, 2)), "mixed_5b": ((2, 2, 2), (2, 2, 2))}


def _pad(x: Tensor, kernel: Sides, stride: Sides) -> Tensor:
    """Zeros around (n, c, time, height, width) as TensorFlow's "SAME": an odd one goes last."""
    sides: list[int] = []
    for size, width, step in zip(x.shape[2:], kernel, stride, strict=True):
        missing = max((-(-size // step) - 1) * step + width - size, 0)
        sides = [missing // 2, missing - missing // 2, *sides]
    return F.pad(x, sides) if any(sides) else x


class _Unit(nn.Module):
    """Convolution, batch norm, ReLU; or a convolution with a bias alone."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Sides,
        stride: Sides = (1, 1, 1),
        last: bool = False,
    ) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=last)
        self.batch3d = None if last else nn.BatchNorm3d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv3d(_pad(x, self.kernel, self.stride))
        return x if self.batch3d is None else F.relu(self.batch3d(x))


class _Pool(nn.Module):
    """Maximum with "SAME" padding; zeros never win there, since all values are >= 0."""

    def __init__(self, kernel: Sides, stride: Sides) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool3d(_pad(x, self.kernel, self.stride), self.kernel, self.stride)


class _Block(nn.Module):
    """Four branches side by side."""

    def __init__(self, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        point, cube = (1, 1, 1), (3, 3, 3)
        alone, first, one, second, two, pooled = widths
        self.branch_0 = _Unit(inputs, alone, point)
        self.branch_1 = nn.Sequential(_Unit(inputs, first, point), _Unit(first, one, cube))
        self.branch_2 = nn.Sequential(_Unit(inputs, second, point), _Unit(second, two, cube))
        self.branch_3 = nn.Sequential(_Pool(cube, point), _Unit(inputs, pooled, point))
        self.outputs = alone + one + two + pooled

    def forward(self, x: Tensor) -> Tensor:
        branches = (self.branch_0, self.branch_1, self.branch_2, self.branch_3)
        return torch.cat([branch(x) for branch in branches], 1)


class I3D(nn.Module):
    """The network, to be read in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.conv3d_1a_7x7 = _Unit(3, 64, (7, 7, 7), (2, 2, 2))
        self.conv3d_2b_1x1 = _Unit(64, 64, (1, 1, 1))
        self.conv3d_2c_3x3 = _Unit(64, 192, (3, 3, 3))
        self.flat = _Pool((1, 3, 3), (1, 2, 2))
        width = 192
        for name, widths in _BLOCKS.items():
            block = _Block(width, widths)
            self.add_module(name, block)
            width = block.outputs
        self.conv3d_0c_1x1 = _Unit(width, CLASSES, (1, 1, 1), last=True)

    def forward(self, clips: Tensor) -> Tensor:
        """Scores of the 400 classes, averaged over time.

        Args:
            clips: float32 (n, 3, time, 224, 224), RGB, in [-1, 1]; ten frames or more.

        Returns:
            (n, 400).
        """
        x = self.flat(self.conv3d_1a_7x7(clips))
        x = self.flat(self.conv3d_2c_3x3(self.conv3d_2b_1x1(x)))
        for name in _BLOCKS:
            if name in _POOLS:
                x = _Pool(*_POOLS[name])(x)
            x = self.get_submodule(name)(x)
        x = F.avg_pool3d(x, (2, 7, 7), 1)
        scores: Tensor = self.conv3d_0c_1x1(x)
        return scores.mean((2, 3, 4))


def network() -> I3D:
    """The network with weights yet to be loaded."""
    return I3D()
