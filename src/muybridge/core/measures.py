"""Formulas that more than one part needs: likeness of pictures, for losses and for evaluation.

Pictures are float tensors (..., 3, height, width) in [-1, 1], RGB; values are (...), one a picture.
All are differentiable, in the pictures' own precision: evaluation passes float64. SSIM is computed
of pictures moved to [0, 1], since its first factor changes when all brightness is shifted: so it is
what uint8 pictures with a range of 255 give.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

Array = npt.NDArray[np.float64]
Variant = Literal["wang", "luma"]

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
# Wang et al. 2003, section 3.2: the exponents of the five scales, finest first.
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
LUMA = (0.299, 0.587, 0.114)


def luma(pictures: Tensor) -> Tensor:
    """Y' of ITU-R BT.601, (..., 3, height, width) to (..., height, width), in the same range."""
    red, green, blue = pictures.unbind(-3)
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def psnr(first: Tensor, second: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, 10 log10(2^2 / mean squared difference), (...).

    It is of each picture: a mean over pictures is a mean of decibels, which is another number than
    the ratio of their mean squared difference. Identical pictures have an infinite one, and then
    there is no gradient.

    Raises:
        ValueError: pictures that cannot be compared.
    """
    _check(first, second)
    return 10 * torch.log10(4 / (first - second).square().mean((-3, -2, -1)))


def ssim(first: Tensor, second: Tensor, variant: Variant = "wang") -> Tensor:
    """Structural similarity of Wang et al. (2004, eq. 13), (...), 1 for identical pictures.

    A Gaussian window of 11 x 11 and sigma 1.5 where it lies wholly inside the picture, variances
    over n, K1 = 0.01, K2 = 0.03, mean over pixels. Other choices give other numbers, so the variant
    belongs beside them.

    Args:
        first: (..., 3, height, width) in [-1, 1], at least 11 pixels high and wide.
        second: the same shape.
        variant: "wang", of each colour channel, then their mean; "luma", of Y' alone.

    Raises:
        ValueError: pictures that cannot be compared, or are too small.
    """
    x, y = _planes(first, second, variant)
    return _terms(x, y)[0].mean(-1)


def ms_ssim(
    first: Tensor, second: Tensor, variant: Variant = "wang", scales: int | None = None
) -> Tensor:
    """Multi-scale structural similarity of Wang et al. (2003, eq. 7), (...).

    Contrast and structure at every scale, luminance at the coarsest, to the published exponents;
    each scale is the one before averaged over 2 x 2 pixels. A channel whose contrast term is
    negative at any scale, as it is for a negative of the picture, has the value 0.

    Args:
        first: (..., 3, height, width) in [-1, 1].
        second: the same shape.
        variant: as in `ssim`.
        scales: 1 to 5; with fewer than 5 the exponents of the finest ones are kept and divided by
            their sum. None takes as many as the picture holds, `ms_ssim_scales`.

    Raises:
        ValueError: pictures that cannot be compared, or are too small for that many scales.
    """
    x, y = _planes(first, second, variant)
    most = ms_ssim_scales(*x.shape[-2:])
    count = most if scales is None else scales
    if not 1 <= count <= most:
        raise ValueError(f"pictures of {tuple(x.shape[-2:])} have 1 to {most} scales, not {count}")
    exponents = torch.tensor(SCALES[:count], dtype=x.dtype, device=x.device)
    exponents = exponents / exponents.sum()
    terms = []
    for scale in range(count):
        if scale:
            x, y = _halved(x), _halved(y)
        whole, contrast = _terms(x, y)
        terms.append(whole if scale == count - 1 else contrast)
    table = torch.stack(terms, -1)
    # The power of 0 to a small exponent has no gradient, and of less no value.
    positive = table > 0
    powers = torch.where(positive, table, 1.0) ** exponents
    return torch.where(positive, powers, 0.0).prod(-1).mean(-1)


def ms_ssim_scales(height: int, width: int) -> int:
    """How many of the five scales a picture holds: the window must fit into the coarsest."""
    side, count = min(height, width), 0
    while side >= WINDOW and count < len(SCALES):
        side, count = (side + 1) // 2, count + 1
    return count


def _check(first: Tensor, second: Tensor) -> None:
    if first.shape != second.shape or first.ndim < 3 or first.shape[-3] != 3:
        raise ValueError(
            f"pictures of shapes {tuple(first.shape)} and {tuple(second.shape)} cannot be compared:"
            " both must be (..., 3, height, width)"
        )
    if not (first.is_floating_point() and second.is_floating_point()):
        raise ValueError(f"pictures are floats in [-1, 1], not {first.dtype} and {second.dtype}")


def _planes(first: Tensor, second: Tensor, variant: str) -> tuple[Tensor, Tensor]:
    """Both in [0, 1] as planes (..., channels, height, width)."""
    _check(first, second)
    if variant not in ("wang", "luma"):
        raise ValueError(f"the variant of SSIM is wang or luma, not {variant!r}")
    if min(first.shape[-2:]) < WINDOW:
        raise ValueError(f"SSIM needs {WINDOW} x {WINDOW} pixels, not {tuple(first.shape[-2:])}")
    if variant == "luma":
        first, second = luma(first).unsqueeze(-3), luma(second).unsqueeze(-3)
    return (first + 1) / 2, (second + 1) / 2


def _terms(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM and its factor of contrast and structure, of planes (..., channels, height, width),
    means over pixels: (..., channels)."""
    mean_x, mean_y = _blurred(x), _blurred(y)
    product, power = mean_x * mean_y, mean_x**2 + mean_y**2
    contrast = (2 * (_blurred(x * y) - product) + C2) / (_blurred(x * x + y * y) - power + C2)
    whole = contrast * (2 * product + C1) / (power + C1)
    return whole.mean((-2, -1)), contrast.mean((-2, -1))


def _blurred(planes: Tensor) -> Tensor:
    """Gaussian window over the last two axes, only where it lies inside."""
    # Products with band matrices: in float64 four times as fast as a convolution.
    height, width = planes.shape[-2:]
    return planes.new_tensor(_band(height)) @ planes @ planes.new_tensor(_band(width)).T


@cache
def _band(side: int) -> Array:
    """The window at each place that it has along `side` pixels, (side - 10, side)."""
    places = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(places**2) / (2 * SIGMA**2))
    band = np.zeros((side - WINDOW + 1, side))
    for row in range(len(band)):
        band[row, row : row + WINDOW] = weights / weights.sum()
    return band


def _halved(planes: Tensor) -> Tensor:
    """Averages over 2 x 2 pixels; the last row or column of an odd number stands for two."""
    height, width = planes.shape[-2:]
    flat = planes.reshape(-1, 1, height, width)
    flat = F.avg_pool2d(F.pad(flat, (0, width % 2, 0, height % 2), mode="replicate"), 2)
    return flat.view(*planes.shape[:-2], *flat.shape[-2:])
