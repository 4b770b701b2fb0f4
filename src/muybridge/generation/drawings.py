"""Lines of a drawing made by hand, or of a photograph, as a model was taught to see them."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from ..core.video import Frames

Lines = npt.NDArray[np.bool_]

FINER = 4
"""How many times finer than a run's pixels a drawing is looked at: thin lines must not vanish."""
_INK = 0.35
_MOST_INK = 0.3


def lines(drawing: Frames) -> tuple[Lines, str]:
    """Where lines are.

    Args:
        drawing: uint8 RGB, `FINER` times as high and wide as what is wanted; lines may be dark on
            light or light on dark.

    Returns:
        bool (height, width), and what was done, in words; "" for a drawing that is only made
        smaller.
    """
    grey = cv2.cvtColor(drawing, cv2.COLOR_RGB2GRAY).astype(np.float32)
    paper = float(np.median(grey))
    apart = np.abs(grey - paper)
    strongest = float(np.percentile(apart, 99.8))
    ink = apart > _INK * strongest
    if strongest < 16:
        return np.zeros((grey.shape[0] // FINER, grey.shape[1] // FINER), bool), "nothing is drawn"
    broad = _breadth(ink)
    if ink.mean() > _MOST_INK or broad > min(ink.shape) / 10:
        return _edges(drawing), "no drawing but a photograph: its edges are taken"
    light = float(grey[ink].mean()) > paper
    return _smaller(ink, broad), "light lines on dark" if light else ""


def _breadth(ink: Lines) -> float:
    """How broad lines are, in pixels."""
    inner = cv2.erode(ink.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    return max(1.0, 2 * float(ink.sum()) / max(1.0, float((ink & ~inner).sum())) - 1)


def _smaller(ink: Lines, broad: float) -> Lines:
    """Lines at a run's own size, as broad as they are or one pixel."""
    height, width = ink.shape[0] // FINER, ink.shape[1] // FINER
    share = ink.reshape(height, FINER, width, FINER).mean((1, 3))
    return np.asarray(share >= 0.45 * min(1.0, broad / FINER) ** 1.5)


def _edges(photograph: Frames) -> Lines:
    height, width = photograph.shape[0] // FINER, photograph.shape[1] // FINER
    small = cv2.resize(photograph, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.Canny(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), 60, 150) > 0)
