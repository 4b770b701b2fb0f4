"""Footage at a constant rate: which frame is shown when, what is missing, where to cut."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .store import INTERPOLATED, REAL, REPEATED

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Neighbouring frames further apart than this many periods have a missing frame between them.
_MISSING = 1.5


@dataclass(frozen=True)
class Grid:
    """What to show at the moments 0, 1/fps, 2/fps, ... after the first frame.

    Attributes:
        before, after: places of the frames to show, or to show something between (n,).
        share: 0 for `before` as it is, 0.5 for the middle between the two (n,).
        kinds: REAL, REPEATED or INTERPOLATED (n,).
    """

    before: Ints
    after: Ints
    share: Floats
    kinds: npt.NDArray[np.uint8]


def period(times: Floats) -> float:
    """Usual seconds from a frame to the next; 1/25 where there is only one."""
    return float(np.median(np.diff(times))) if len(times) > 1 else 1 / 25


def align(times: Floats, fps: float, invent: bool = False) -> Grid:
    """Puts frames on a constant rate by their presentation times.

    Each moment gets the frame nearest in time. A frame that several moments get is REAL at the
    nearest of them and REPEATED at the others. In a hole of missing frames, moments further than
    half a period (the footage's or the grid's, whichever is longer) from both its ends are
    INTERPOLATED.

    Args:
        times: seconds of the frames, rising (m,).
        fps: moments per second.
        invent: interpolate also where footage is slower than `fps`, in place of repeating.
    """
    usual = period(times)
    last = times[-1] - times[0] + usual / 2 - 1e-9
    moments = times[0] + np.arange(max(1, int(np.ceil(last * fps)))) / fps
    before = np.clip(np.searchsorted(times, moments + 1e-9, "right") - 1, 0, len(times) - 1)
    after = np.minimum(before + 1, len(times) - 1)
    hole = times[after] - times[before]
    nearest = np.where(moments - times[before] <= times[after] - moments + 1e-9, before, after)
    away = np.abs(times[nearest] - moments)
    missing = (hole > _MISSING * usual) & (away > max(usual, 1 / fps) / 2 + 1e-6)
    share = np.where(missing, (moments - times[before]) / np.maximum(hole, 1e-9), 0.0)
    kinds = np.where(missing, INTERPOLATED, REAL).astype(np.uint8)
    order = np.lexsort((np.arange(len(moments)), away, nearest))
    taken = nearest[order]
    again = np.zeros(len(moments), bool)
    again[order[1:]] = (taken[1:] == taken[:-1]) & ~missing[order[1:]] & ~missing[order[:-1]]
    kinds[again] = REPEATED
    if invent:
        between = again & (after > before) & (away > 1e-6)
        share[between] = ((moments - times[before]) / np.maximum(hole, 1e-9))[between]
        kinds[between] = INTERPOLATED
        missing = missing | between
    return Grid(np.where(missing, before, nearest), after, share, kinds)


def segments(
    times: Floats, usable: npt.NDArray[np.bool_], cuts: Sequence[int], max_gap: float
) -> list[Ints]:
    """Runs of usable frames without a cut, or a hole too long to repair, between them.

    Args:
        times: seconds of all frames (n,).
        usable: which of them are good (n,).
        cuts: places of first frames of new shots.
        max_gap: seconds that may be missing between two usable frames.

    Returns:
        Places of the frames of each run.
    """
    places = np.flatnonzero(usable)
    if not len(places):
        return []
    limit = max_gap + period(times[places]) + 1e-6
    shot = np.searchsorted(np.sort(np.asarray(cuts, np.int64)), places, "right")
    ends = (np.diff(times[places]) > limit) | (np.diff(shot) > 0)
    return [run.astype(np.int64) for run in np.split(places, np.flatnonzero(ends) + 1)]


def pieces(times: Floats, run: Ints, longest: float) -> list[Ints]:
    """Cuts a run into equal pieces of `longest` seconds at most."""
    length = times[run[-1]] - times[run[0]] + period(times[run])
    count = int(np.ceil(length / longest - 0.02))
    if count < 2:
        return [run]
    edges = times[run[0]] + length * np.arange(1, count) / count
    return [p for p in np.split(run, np.searchsorted(times[run], edges - 1e-6)) if len(p)]


def spans(times: Floats, names: Sequence[str], end: float) -> list[tuple[float, float, str]]:
    """Joins frames of equal name into (start, end, name); each frame lasts until the next."""
    edges = [*times.tolist(), end]
    found = []
    for name, group in itertools.groupby(range(len(times)), key=lambda i: names[i]):
        of = list(group)
        found.append((edges[of[0]], edges[of[-1] + 1], name))
    return found
