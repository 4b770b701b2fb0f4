"""Offline distances: appearance and motion, with no pretrained network.

Neither is FID or FVD, and neither is comparable to numbers in papers. Random features see what
clips look like and are blind to frozen or shuffled frames; the motion statistics see both. Neither
sees a lost mode.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.errors import MuybridgeError
from .frechet import frechet, standard_error
from .manifest import Score

Features = npt.NDArray[np.float64]
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


def distance(generated: Features, real: Features) -> float:
    """Frechet distance after z-scoring both on the real features."""
    mean, std = real.mean(0), real.std(0)
    # A feature that never varies among real clips has no deviation to be measured in; it is left
    # as it is, or the smallest change of it would outweigh all others.
    std = np.where(std < 1e-4, 1.0, std)
    return frechet((generated - mean) / std, (real - mean) / std)


def score(
    name: str,
    extract: Callable[[Tensor], Features],
    generated: Tensor,
    real: Tensor,
    other_real: Tensor,
    manifest: dict[str, Any],
    draws: int = 50,
    sources: Sequence[str] = (),
) -> Score:
    """One distance with its floor (`other_real` in place of `generated`) and interval.

    The interval is the value and 1.96 standard errors by bootstrap: over samples on one side, and
    on the other over the clips, named in `sources`, that the real windows were cut from (each its
    own where none are named), since windows of one clip are not independent.

    Raises:
        MuybridgeError: fewer than two clips on a side.
    """
    if min(len(generated), len(real)) < 2:
        raise MuybridgeError(
            f"{name} needs two or more clips on each side, not {len(generated)} and {len(real)}",
            "generate more, or add footage",
        )
    made, true, floor = extract(generated), extract(real), extract(other_real[: len(generated)])
    random = np.random.Generator(np.random.PCG64(0))

    def again(features: Features) -> Features:
        return features[random.integers(len(features), size=len(features))]

    owners = np.asarray(sources or range(len(true)))
    rows = [np.flatnonzero(owners == owner) for owner in np.unique(owners)]

    def again_real() -> Features:
        drawn = random.integers(len(rows), size=len(rows))
        chosen = np.concatenate([rows[i] for i in drawn])
        return np.asarray(true[chosen])

    value = distance(made, true)
    half = 1.96 * standard_error([distance(again(made), again_real()) for _ in range(draws)])
    return Score(
        name=name,
        value=value,
        better="lower",
        interval=(max(0.0, value - half), value + half),
        floor=distance(floor, true) if len(floor) > 1 else None,
        note="an offline distance of this tool's own; not FID or FVD, not comparable to papers",
        manifest=manifest
        | {"measure": extract.__name__, "features": made.shape[1], "covariance_divisor": "n-1"},
    )
