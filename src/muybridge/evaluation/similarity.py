"""How near clips are to the truth, frame by frame: PSNR, SSIM, MS-SSIM, LPIPS over time.

Every function gives a value for each frame, (n, time), with NaN for the frames that were given as
conditions, so that means over clips are curves over time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..core import measures
from ..core.measures import Variant

Array = npt.NDArray[np.float64]
Measure = Callable[[Tensor, Tensor], Tensor]

# dB of a frame that equals the truth, and the most that any frame has; without it one such frame
# would make every mean infinite. One grey level in one value of a 64 x 64 picture is 89 dB.
PSNR_CAP = 100.0
# Pixels taken in one go: so few that all stays in the processor's cache.
_PIXELS = 2**16


def psnr(generated: Tensor, truth: Tensor, given: int | Tensor = 0) -> Array:
    """Peak signal-to-noise ratio of each frame in dB, at most `PSNR_CAP`. See `over_time`."""
    made = over_time(lambda a, b: measures.psnr(a.double(), b.double()), generated, truth, given)
    return np.asarray(np.minimum(made, PSNR_CAP))


def ssim(
    generated: Tensor, truth: Tensor, given: int | Tensor = 0, variant: Variant = "wang"
) -> Array:
    """Structural similarity of each frame; `core.measures.ssim` says which. See `over_time`."""
    return over_time(
        lambda a, b: measures.ssim(a.double(), b.double(), variant), generated, truth, given
    )


def ms_ssim(
    generated: Tensor, truth: Tensor, given: int | Tensor = 0, variant: Variant = "wang"
) -> Array:
    """Multi-scale structural similarity of each frame. See `over_time`.

    It is of as many scales as `core.measures.ms_ssim_scales` tells for the frames' size.
    """
    return over_time(
        lambda a, b: measures.ms_ssim(a.double(), b.double(), variant), generated, truth, given
    )


def successive_ssim(clips: Tensor, variant: Variant = "wang") -> Array:
    """SSIM of each frame and the one before it, (n, time - 1).

    Neither high nor low is good: it is to be near real footage's own.

    Args:
        clips: (n, time, 3, height, width) in [-1, 1], two frames or more.
        variant: of SSIM.

    Raises:
        ValueError: other shapes, or values that are not finite.
    """
    if clips.ndim != 5 or clips.shape[1] < 2:
        raise ValueError(f"clips of shape {tuple(clips.shape)} have no successive frames")
    return ssim(clips[:, 1:], clips[:, :-1], variant=variant)


@torch.no_grad()
def over_time(
    measure: Measure, generated: Tensor, truth: Tensor, given: int | Tensor = 0, chunk: int = 0
) -> Array:
    """Any measure of pairs of pictures, over the frames of clips.

    Args:
        measure: `measure(generated, truth)`, both (m, 3, height, width) in [-1, 1], gives (m,);
            LPIPS as `models.lpips` has it is one.
        generated: (n, time, 3, height, width) in [-1, 1].
        truth: the same shape.
        given: how many frames at the beginning the model was given, or which: bool (time,) or
            (n, time). The measure does not see them.
        chunk: pictures in one call; 0 for as many as make 65,536 pixels.

    Returns:
        (n, time), NaN where a frame was given.

    Raises:
        ValueError: other shapes, no frame left, or values that are not finite.
    """
    if generated.ndim != 5 or generated.shape != truth.shape or not generated.numel():
        raise ValueError(
            f"clips of shapes {tuple(generated.shape)} and {tuple(truth.shape)} cannot be compared"
        )
    judged = _judged(given, *generated.shape[:2])
    size = chunk or max(1, _PIXELS // (generated.shape[-2] * generated.shape[-1]))
    places = torch.split(judged.nonzero(), size)
    parts = []
    for clip, frame in (place.unbind(1) for place in places):
        made, true = generated[clip, frame], truth[clip, frame]
        if not (made.isfinite().all() and true.isfinite().all()):
            raise ValueError("clips hold values that are not finite")
        parts.append(measure(made, true).double().cpu().reshape(len(clip)))
    table = np.full(judged.shape, np.nan)
    table[judged.numpy()] = torch.cat(parts).numpy()
    return table


def _judged(given: int | Tensor, count: int, time: int) -> Tensor:
    """Which frames are judged, bool (count, time)."""
    if isinstance(given, Tensor):
        if given.dtype != torch.bool or given.shape not in ((time,), (count, time)):
            raise ValueError(
                f"given is {given.dtype} of shape {tuple(given.shape)}: it must be bool, ({time},) "
                f"or ({count}, {time})"
            )
        judged = ~given.cpu().expand(count, time)
    else:
        if not 0 <= given <= time:
            raise ValueError(f"{given} frames of clips of {time} cannot have been given")
        judged = (torch.arange(time) >= given).expand(count, time)
    if not judged.any():
        raise ValueError("every frame was given, so that none is left to judge")
    return judged.clone()
