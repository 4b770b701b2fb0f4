"""Offline distances: appearance and motion, with no pretrained network.

Neither is FID or FVD, and neither is comparable to numbers in papers. Random features see what
clips look like and are blind to frozen or shuffled frames; the motion statistics see both. Neither
sees a lost mode.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from .frechet import frechet

Features = npt.NDArray[np.float64]
Statistic = Callable[[Features, Features], float]
_LAYERS = (
    (3, 32, (3, 5, 5), (1, 2, 2)),
    (32, 64, (3, 3, 3), (2, 2, 2)),
    (64, 64, (3, 3, 3), (2, 2, 2)),
)
_SEED = 1878


def _kernels() -> list[Tensor]:
    # numpy's PCG64 stream is fixed by its documentation; torch's may change between releases.
    random = np.random.Generator(np.random.PCG64(_SEED))
    kernels = []
    for inputs, outputs, size, _ in _LAYERS:
        shape = (outputs, inputs, *size)
        fan = inputs * size[0] * size[1] * size[2]
        kernels.append(torch.from_numpy(random.standard_normal(shape) * np.sqrt(2 / fan)).float())
    return kernels


def extractor_digest() -> str:
    """SHA-256 of the random network's weights."""
    return hashlib.sha256(b"".join(k.numpy().tobytes() for k in _kernels())).hexdigest()


@torch.no_grad()
def appearance(clips: Tensor) -> Features:
    """Fixed-seed random 3D convolutions, their means and deviations over space and time.

    Args:
        clips: float32 (n, time, 3, height, width) in [-1, 1].

    Returns:
        (n, 128) float64.
    """
    kernels, rows = _kernels(), []
    for chunk in torch.split(clips, 16):
        x = chunk.movedim(2, 1)
        for kernel, (_, _, size, stride) in zip(kernels, _LAYERS, strict=True):
            padding = tuple(side // 2 for side in size)
            x = F.leaky_relu(F.conv3d(x, kernel, stride=stride, padding=padding), 0.1)
        rows.append(torch.cat([x.mean((2, 3, 4)), x.flatten(2).std(-1)], 1))
    return torch.cat(rows).double().numpy()


@torch.no_grad()
def motion(clips: Tensor) -> Features:
    """First and second differences over time of brightness, log of their size in 4 x 4 cells, mean
    and deviation over time.

    Args:
        clips: float32 (n, time, 3, height, width) in [-1, 1]; three frames or more.

    Returns:
        (n, 64) float64.
    """
    brightness = (clips * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(2)
    first = brightness.diff(dim=1)
    rows = []
    for change in (first, first.diff(dim=1)):
        cells = F.adaptive_avg_pool2d(change.abs(), 4).flatten(2)  # (n, time, 16)
        size = torch.log(cells + 1e-3)
        rows += [size.mean(1), size.std(1, correction=0)]
    return torch.cat(rows, 1).double().numpy()


# A feature that never varies among real clips has no deviation to be measured in; it is left as it
# is, or the smallest change of it would outweigh all others.
LEAST = 1e-4


def standardised(statistic: Statistic) -> Statistic:
    """A statistic of (generated, real) features after z-scoring both on the real ones."""

    def of_scaled(generated: Features, real: Features) -> float:
        mean, std = real.mean(0), real.std(0)
        std = np.where(std < LEAST, 1.0, std)
        return statistic((generated - mean) / std, (real - mean) / std)

    return of_scaled


def distance(generated: Features, real: Features) -> float:
    """Frechet distance after z-scoring both on the real features."""
    return standardised(frechet)(generated, real)
