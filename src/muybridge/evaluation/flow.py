"""Optical flow of clips, forwards and backwards, and where it can be trusted.

Dense inverse search (Kroeger et al. 2016) on luma, by OpenCV, in its preset "medium" but down to
whole pixels, since clips are small, and without the variational refinement at the end: that doubles
the time, smooths away small things that move, and told distortions of real clips apart no better.
Motion of up to about a tenth of the picture from frame to frame is found. It is computed once for
some clips, and every measure of `temporal` is read from it.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..core.video import to_uint8

Real = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Picture = npt.NDArray[np.uint8]

# Pictures of less than this are searched down to whole pixels, larger ones down to pairs of them.
_SMALL = 128
# The search's own patches are of 8 pixels.
SMALLEST = 16
# Flows are compared by how well they fit 5 x 5 pixels; within 0.001 grey levels they are equal.
_AROUND, _EQUAL = 5, 1e-3
_local = threading.local()


@dataclass(frozen=True)
class Motion:
    """Clips with the flow between their successive frames.

    Flow is in pixels, x then y. `forward[:, i]` leads from frame i to i + 1: what is at p in frame
    i is at p + forward[:, i, p] in frame i + 1. `backward[:, i]` leads from frame i + 1 to i.

    Attributes:
        frames: float32 (n, time, height, width, 3) in [0, 1].
        forward: float32 (n, time - 1, height, width, 2).
        backward: the same shape.
        ahead: bool (n, time - 1, height, width): what frame i shows there is seen in frame i + 1.
        behind: what frame i + 1 shows there is seen in frame i.
    """

    frames: Real
    forward: Real
    backward: Real
    ahead: Mask
    behind: Mask


def motion(clips: Tensor) -> Motion:
    """Flow of clips, of each pair of frames alone.

    A pixel counts as seen where its flow leads into the picture and the flow back from there leads
    home: |f + b|^2 < 0.01 (|f|^2 + |b|^2) + 0.5 (Sundaram et al. 2010, eq. 5).

    Args:
        clips: (n, time, 3, height, width) in [-1, 1], at least two frames of 16 x 16. Values
            beyond the range are clipped for the search, as they would be in a file.

    Raises:
        ValueError: other shapes, or values that are not finite.
    """
    if clips.ndim != 5 or clips.shape[1] < 2 or clips.shape[2] != 3:
        raise ValueError(f"flow is of clips (n, time, 3, height, width), not {tuple(clips.shape)}")
    if min(clips.shape[-2:]) < SMALLEST:
        raise ValueError(f"flow needs {SMALLEST} x {SMALLEST} pixels, not {clips.shape[-2:]}")
    if not clips.isfinite().all():
        raise ValueError("clips hold values that are not finite")
    frames = ((clips.detach().cpu().float() + 1) / 2).movedim(2, -1).contiguous().numpy()
    count, time, height, width = frames.shape[:4]
    forward = np.empty((count, time - 1, height, width, 2), np.float32)
    backward = np.empty_like(forward)
    ahead = np.empty(forward.shape[:-1], np.bool_)
    behind = np.empty_like(ahead)

    def one(index: int) -> None:
        lumas = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in to_uint8(clips[index])]
        for i in range(time - 1):
            f, b = _search(lumas[i], lumas[i + 1]), _search(lumas[i + 1], lumas[i])
            f, b = _settled(f, lumas[i], lumas[i + 1]), _settled(b, lumas[i + 1], lumas[i])
            forward[index, i], backward[index, i] = f, b
            ahead[index, i], behind[index, i] = _returns(f, b), _returns(b, f)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(one, range(count)))
    return Motion(frames, forward, backward, ahead, behind)


def settings(height: int, width: int) -> dict[str, Any]:
    """What a manifest must say of the flow."""
    return {
        "flow": "OpenCV DIS medium on luma, no refinement",
        "flow_finest_scale": _finest(height, width),
        "flow_settled": "in whole pixels or the picture's median where 5 x 5 pixels fit as well",
        "occlusion": "|f + b|^2 < 0.01 (|f|^2 + |b|^2) + 0.5",
    }


def warped(picture: Real, flow: Real) -> Real:
    """What `flow` leads to, drawn where it starts: picture(p + flow(p)), between pixels bilinear.

    Beyond the picture its border goes on.

    Args:
        picture: float32 (height, width) or (height, width, channels).
        flow: float32 (height, width, 2).
    """
    return _drawn(picture, *_targets(flow))


def _drawn(picture: Real, x: Real, y: Real) -> Real:
    made = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(made, np.float32)


def _targets(flow: Real) -> tuple[Real, Real]:
    rows, columns = _grid(*flow.shape[:2])
    x, y = np.asarray(flow[..., 0] + columns), np.asarray(flow[..., 1] + rows)
    return x, y


@cache
def _grid(height: int, width: int) -> Real:
    return np.indices((height, width), np.float32)


def _inside(x: Real, y: Real) -> Mask:
    height, width = x.shape
    return np.asarray((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1))


def _returns(flow: Real, back: Real) -> Mask:
    x, y = _targets(flow)
    inside = _inside(x, y)
    home = warped(back, flow)
    size = _power(flow) + _power(home)
    return np.asarray(inside & (_power(flow + home) < 0.01 * size + 0.5))


def _power(flow: Real) -> Real:
    return np.asarray(flow[..., 0] ** 2 + flow[..., 1] ** 2)


def _finest(height: int, width: int) -> int:
    return 0 if min(height, width) < _SMALL else 1


def _search(first: Picture, second: Picture) -> Real:
    # A searcher keeps its buffers from call to call, so that each thread has its own.
    searchers: dict[Any, Any] = _local.__dict__
    finest = _finest(*first.shape)
    if finest not in searchers:
        made = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        made.setFinestScale(finest)
        made.setVariationalRefinementIterations(0)
        searchers[finest] = made
    return np.asarray(searchers[finest].calc(first, second, None), np.float32)


def _settled(flow: Real, first: Picture, second: Picture) -> Real:
    """The flow, but in whole pixels, or that of the whole picture, where these fit as well.

    Patches say little at the edges, where the camera's motion goes on. A shift by whole pixels
    mixes no neighbours, and what stands still has a flow of 0.
    """
    there = second.astype(np.float32)
    # Less a change of all light, in whole grey levels so that where there is none it stays 0.
    here = first + np.rint(np.median(warped(there, flow) - first))
    common = np.empty_like(flow)
    common[...] = [np.median(flow[..., 0].ravel()), np.median(flow[..., 1].ravel())]
    best, least = flow.copy(), _misfit(flow, here, there)
    for other in (flow, common):
        whole = np.asarray(np.rint(other), np.float32)
        misfit = _misfit(whole, here, there)
        better = misfit <= least + _EQUAL
        best[better] = whole[better]
        least[better] = misfit[better]
    return best


def _misfit(flow: Real, here: Real, there: Real) -> Real:
    """Mean difference around each pixel, of what stays in the picture; infinite for what leaves."""
    x, y = _targets(flow)
    inside, size = _inside(x, y), (_AROUND, _AROUND)
    gap = np.abs(_drawn(there, x, y) - here)
    if inside.all():
        return np.asarray(cv2.blur(gap, size))
    share = cv2.blur(inside.astype(np.float32), size)
    return np.where(inside, cv2.blur(gap * inside, size) / np.maximum(share, 0.01), np.inf)
