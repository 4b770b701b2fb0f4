"""Which clips show the same footage: copies, re-encodings and mirror images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Signature = npt.NDArray[np.float32]
MOMENTS, SIDE = 12, 16

# Two clips of one person doing one thing in one place can look alike frame for frame, so likeness
# of the still part is not enough: what changes over time has to agree as well.
STILL_LIKENESS = 0.945
MOVING_LIKENESS = 0.80
# Change below this (a grey level of 255) is noise, and says nothing about likeness.
MOVING_FLOOR = 0.6


def signature(frames: npt.NDArray[np.uint8]) -> Signature:
    """What is left of a clip (time, height, width, 3) uint8 for comparing: (12, 16, 16) grey levels
    at moments spread evenly over it."""
    import cv2

    chosen = np.linspace(0, len(frames) - 1, MOMENTS).round().astype(int)
    return np.stack(
        [
            cv2.resize(
                cv2.cvtColor(frames[i], cv2.COLOR_RGB2GRAY),
                (SIDE, SIDE),
                interpolation=cv2.INTER_AREA,
            )
            for i in chosen
        ]
    ).astype(np.float32)


def groups(signatures: list[Signature], digests: list[str]) -> list[int]:
    """Gives each clip a group number; clips that show the same footage share one.

    Args:
        signatures: one a clip, see `signature`.
        digests: of the files' bytes; equal ones are copies whatever the signatures say.

    Returns:
        For each clip the lowest index among its group.
    """
    parent = list(range(len(signatures)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    seen: dict[str, int] = {}
    for i, value in enumerate(digests):
        parent[root(i)] = root(seen.setdefault(value, i))
    for i, j in _pairs(signatures):
        first, second = sorted((root(i), root(j)))
        parent[second] = first
    return [root(i) for i in range(len(signatures))]


def _pairs(signatures: list[Signature]) -> list[tuple[int, int]]:
    if not signatures:
        return []
    clips = np.stack(signatures)
    mean = clips.mean(1, keepdims=True)
    change = clips - mean
    alive = np.sqrt((change**2).mean((1, 2, 3))) > MOVING_FLOOR
    still, moving = _unit(mean - mean.mean((2, 3), keepdims=True)), _unit(change)
    found = []
    for mirrored in (False, True):
        other_still, other_moving = still, moving
        if mirrored:
            other_still = _unit((mean - mean.mean((2, 3), keepdims=True))[..., ::-1])
            other_moving = _unit(change[..., ::-1])
        for begin in range(0, len(clips), 512):  # bounds the table of likenesses, not the answer
            rows = slice(begin, begin + 512)
            alike = still[rows] @ other_still.T > STILL_LIKENESS
            both = alive[rows, None] & alive[None, :]
            neither = ~alive[rows, None] & ~alive[None, :]
            alike &= (both & (moving[rows] @ other_moving.T > MOVING_LIKENESS)) | neither
            found += [(begin + int(i), int(j)) for i, j in np.argwhere(alike) if begin + i < j]
    return found


def _unit(values: Signature) -> Signature:
    flat = values.reshape(len(values), -1)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(norms, 1e-6), np.float32)
