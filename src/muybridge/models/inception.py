"""The Inception network of FID and the Inception Score: TensorFlow's graph of 2015-12-05.

Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision", as trained by
Google with 1008 outputs, which Salimans et al. 2016 (IS) and Heusel et al. 2017 (FID) use. It
differs from later releases: averages over 3 x 3 leave the padding out, and the last block takes the
maximum there instead. Parameters are named as in pytorch-fid's
`pt_inception-2015-12-05-6726825d.pth`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 299
"""Height and width of the pictures it was trained on."""

Kernel = int | tuple[int, int]


class _Wire(NamedTuple):
    """A unit of a block: what it reads ("" the block's input, "pool" that input pooled), its output
    channels, kernel and stride."""

    name: str
    source: str
    outputs: int
    kernel: Kernel = 1
    stride: int = 1


def _chain(name: str, *steps: tuple[int, Kernel], source: str = "", last: int = 1) -> list[_Wire]:
    """Units one after another: `name`, or `name_1`, `name_2`...; `last` is the last's stride."""
    wires = []
    for number, (outputs, kernel) in enumerate(steps, 1):
        here = name if len(steps) == 1 else f"{name}_{number}"
        stride = last if number == len(steps) else 1
        wires.append(_Wire(here, source, outputs, kernel, stride))
        source = here
    return wires


def _fork(name: str, source: str) -> list[_Wire]:
    """A 1 x 3 and a 3 x 1 unit side by side."""
    return [_Wire(f"{name}a", source, 384, (1, 3)), _Wire(f"{name}b", source, 384, (3, 1))]


def _square(pooled: int) -> list[_Wire]:
    """The blocks at 35 x 35."""
    return [
        *_chain("branch1x1", (64, 1)),
        *_chain("branch5x5", (48, 1), (64, 5)),
        *_chain("branch3x3dbl", (64, 1), (96, 3), (96, 3)),
        *_chain("branch_pool", (pooled, 1), source="pool"),
    ]


def _long(inner: int) -> list[_Wire]:
    """The blocks at 17 x 17."""
    row, column = (1, 7), (7, 1)
    return [
        *_chain("branch1x1", (192, 1)),
        *_chain("branch7x7", (inner, 1), (inner, row), (192, column)),
        *_chain(
            "branch7x7dbl", (inner, 1), (inner, column), (inner, row), (inner, column), (192, row)
        ),
        *_chain("branch_pool", (192, 1), source="pool"),
    ]


_WIDE = [
    *_chain("branch1x1", (320, 1)),
    _Wire("branch3x3_1", "", 384),
    *_fork("branch3x3_2", "branch3x3_1"),
    _Wire("branch3x3dbl_1", "", 448),
    _Wire("branch3x3dbl_2", "branch3x3dbl_1", 384, 3),
    *_fork("branch3x3dbl_3", "branch3x3dbl_2"),
    *_chain("branch_pool", (192, 1), source="pool"),
]
_HALVE_35 = [
    *_chain("branch3x3", (384, 3), last=2),
    *_chain("branch3x3dbl", (64, 1), (96, 3), (96, 3), last=2),
]
_HALVE_17 = [
    *_chain("branch3x3", (192, 1), (320, 3), last=2),
    *_chain("branch7x7x3", (192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3), last=2),
]
# Name, kind of pooling, units. "halve" is a maximum of stride 2, with no unit after it.
_BLOCKS = (
    ("Mixed_5b", "average", _square(32)),
    ("Mixed_5c", "average", _square(64)),
    ("Mixed_5d", "average", _square(64)),
    ("Mixed_6a", "halve", _HALVE_35),
    ("Mixed_6b", "average", _long(128)),
    ("Mixed_6c", "average", _long(160)),
    ("Mixed_6d", "average", _long(160)),
    ("Mixed_6e", "average", _long(192)),
    ("Mixed_7a", "halve", _HALVE_17),
    ("Mixed_7b", "average", _WIDE),
    ("Mixed_7c", "maximum", _WIDE),
)


class _Unit(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Kernel, stride: int = 1, padded: bool = True
    ) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (height // 2, width // 2) if padded and stride == 1 else 0
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Block(nn.Module):
    """Units side by side and one after another; what no unit reads is the output."""

    def __init__(self, inputs: int, pooling: str, wires: list[_Wire]) -> None:
        super().__init__()
        self.pooling = pooling
        self.sources = {wire.name: wire.source for wire in wires}
        widths = {"": inputs, "pool": inputs}
        for wire in wires:
            unit = _Unit(widths[wire.source], wire.outputs, wire.kernel, wire.stride)
            self.add_module(wire.name, unit)
            widths[wire.name] = wire.outputs
        read = set(self.sources.values())
        self.leaves = [name for name in (*self.sources, "pool") if name not in read]
        self.outputs = sum(widths[name] for name in self.leaves)

    def forward(self, x: Tensor) -> Tensor:
        values = {"": x, "pool": self._pooled(x)}
        for name, source in self.sources.items():
            values[name] = self.get_submodule(name)(values[source])
        return torch.cat([values[name] for name in self.leaves], 1)

    def _pooled(self, x: Tensor) -> Tensor:
        if self.pooling == "halve":
            return F.max_pool2d(x, 3, 2)
        if self.pooling == "maximum":
            return F.max_pool2d(x, 3, 1, 1)
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class Inception(nn.Module):
    """The network, to be read in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Unit(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Unit(32, 32, 3, padded=False)
        self.Conv2d_2b_3x3 = _Unit(32, 64, 3)
        self.Conv2d_3b_1x1 = _Unit(64, 80, 1)
        self.Conv2d_4a_3x3 = _Unit(80, 192, 3, padded=False)
        width = 192
        for name, pooling, wires in _BLOCKS:
            block = _Block(width, pooling, wires)
            self.add_module(name, block)
            width = block.outputs
        self.fc = nn.Linear(width, 1008)

    def forward(self, pictures: Tensor) -> Tensor:
        """Features of the last average over space.

        Args:
            pictures: float32 (n, 3, 299, 299), RGB, (0 to 255 - 128) / 128.

        Returns:
            (n, 2048).
        """
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(pictures)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = F.max_pool2d(x, 3, 2)
        for name, _, _ in _BLOCKS:
            x = self.get_submodule(name)(x)
        features: Tensor = x.mean((2, 3))
        return features

    def logits(self, features: Tensor) -> Tensor:
        """Scores of the 1008 outputs, (n, 1008), from `forward`'s features.

        Without the bias, as the Inception Score has been computed from its beginning.
        """
        return F.linear(features, self.fc.weight)


def network() -> Inception:
    """The network with weights yet to be loaded."""
    return Inception()
