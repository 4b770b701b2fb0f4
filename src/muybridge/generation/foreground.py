"""What moves before a background that does not: where it is, and another background behind it.

A model of the background alone, which needs no training: each pixel's median over time, or where
things pass by, of those moments that go best with what is around. What never moves away from its
place belongs to the background, and a camera that moves leaves none.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from ..core.errors import DataError
from ..core.video import Frames

Share = npt.NDArray[np.float32]
Exact = npt.NDArray[np.float32]
_LEAST, _NOISE, _MOST_NOISE = 10.0, 4.0, 5.0
"""A difference that counts, in steps of CIE Lab, and in deviations of the noise; the most that is
taken for noise."""
_STILL = 0.5
_MOST = 128


def spread(frames: Sequence[Frames]) -> list[Frames]:
    """Frames that stand for all of them where something is told by every frame of a shot: as many
    as memory has room for, however long it is."""
    return list(frames[:: -(-len(frames) // _MOST)])


def foreground(frames: Sequence[Frames]) -> list[Share]:
    """Share of each pixel that is before the background.

    Args:
        frames: uint8 (height, width, 3) each, of one shot by a camera that stands still.

    Returns:
        float32 (height, width) in [0, 1] each.

    Raises:
        DataError: fewer than three frames, or nothing that stands still or nothing that moves.
    """
    if len(frames) < 3:
        raise DataError(
            f"{len(frames)} frames tell no background from what is before it", "give a longer video"
        )
    some = spread(frames)
    lab = np.stack([_lab(frame) for frame in some])
    behind = _behind(some, lab)
    noise = min(_MOST_NOISE, 1.4826 * float(np.median(np.linalg.norm(lab - behind, axis=-1))))
    weak, strong = max(_LEAST, _NOISE * noise), max(2 * _LEAST, 2 * _NOISE * noise)
    found = []
    for frame in frames:
        apart = np.linalg.norm(_lab(frame) - behind, axis=-1)
        found.append(_share(apart > weak, apart > strong))
    covered = float(np.mean([one.mean() for one in found]))
    if covered > _STILL:
        raise DataError(
            f"{covered:.0%} of the picture moves: the camera does, or the picture changes",
            "give a shot by a camera that stands still, or a --mask of your own",
        )
    if covered == 0:
        raise DataError("nothing moves in the video", "give a --mask of your own")
    return found


def before(
    frames: Sequence[Frames], shares: Sequence[Share], behind: Sequence[Frames]
) -> list[Frames]:
    """What is before the background, on others (the last of which stays)."""
    made = []
    for at, (frame, share) in enumerate(zip(frames, shares, strict=True)):
        other = behind[min(at, len(behind) - 1)].astype(np.float32)
        mixed = share[..., None] * frame + (1 - share[..., None]) * other
        made.append(mixed.round().astype(np.uint8))
    return made


def _lab(frame: Frames) -> Exact:
    return np.asarray(cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)


def _behind(frames: Sequence[Frames], lab: Exact) -> Exact:
    """The background (height, width, 3) in Lab. A thing that stays for most of the time where it
    is would be its median; its surroundings say what is likely to be behind it."""
    usual = np.median(lab, 0)
    passed = np.linalg.norm(lab - usual, axis=-1).max(0) > 2 * _LEAST
    passed = cv2.dilate(passed.astype(np.uint8), np.ones((3, 3), np.uint8))
    picture = np.median(np.stack(frames), 0).astype(np.uint8)
    filled = cv2.inpaint(picture, passed, 3, cv2.INPAINT_TELEA)
    likely = _lab(np.asarray(filled, np.uint8))
    order = np.linalg.norm(lab - likely, axis=-1).argsort(0)[: max(1, len(lab) // 4), ..., None]
    nearest = np.median(np.take_along_axis(lab, order, 0), 0)
    return np.asarray(np.where(passed[..., None] > 0, nearest, usual), np.float32)


def _share(weak: npt.NDArray[np.bool_], strong: npt.NDArray[np.bool_]) -> Share:
    """Weak differences that hang together with strong ones, without specks and holes."""
    _, parts, figures, _ = cv2.connectedComponentsWithStats(weak.astype(np.uint8), connectivity=4)
    least = weak.size / 1000
    wanted = [n for n in np.unique(parts[strong]) if n and figures[n, cv2.CC_STAT_AREA] > least]
    seen = np.isin(parts, wanted).astype(np.uint8)
    kept = cv2.morphologyEx(seen, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    outlines, _ = cv2.findContours(kept, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    whole = cv2.drawContours(np.zeros_like(kept), outlines, -1, 1, cv2.FILLED)
    # The outermost pixels of a thing are mixed with what is behind it.
    whole = cv2.erode(whole, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))
    return np.asarray(cv2.GaussianBlur(whole.astype(np.float32), (3, 3), 0), np.float32)
