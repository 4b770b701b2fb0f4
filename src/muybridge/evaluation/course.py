"""The course of one thing through a clip, and which of the stage's motions it shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .segments import Exact, Masks


@dataclass(frozen=True)
class Track:
    """One thing as it was found in a clip; lengths in picture heights from the top left corner.

    `times` (time,) in seconds. `position` (time, 2) is the centre of the visible area, x and y, and
    `box` (time, 4) its left, top, right and bottom edge, NaN where nothing is visible. `area`
    (time,) is in picture heights squared. `visible` (time,), and `whole` (time,): no part of it is
    hidden. `likeness` (time, shapes), 0 to 1, as `segments.likeness`, NaN where it is not visible.
    `radius` (time,) is half the height of the shape standing upright, and `angle` (time,) how far
    it is turned, in radians clockwise; NaN where it is not whole, and all of `angle` for a ball.
    Words that could not be told are None.
    """

    times: Exact
    position: Exact
    box: Exact
    area: Exact
    visible: Masks
    whole: Masks
    likeness: Exact
    radius: Exact
    angle: Exact
    colour: str | None = None
    shape: str | None = None
    motion: str | None = None


def usual(area: Exact) -> float:
    """The area when seen whole; a high quantile, for one bad frame may be larger."""
    return float(np.quantile(area, 0.9))


def grows(course: Track) -> bool:
    """Whether the thing's size changes evenly, in sight all the time and never cut."""
    if not course.visible.all() or len(course.times) < 4:
        return False
    size = np.sqrt(course.area)
    slope, middle = np.polyfit(course.times, size, 1)
    change = abs(slope) * np.ptp(course.times)
    off = float(np.std(size - middle - slope * course.times))
    return bool(
        change > 0.15 * size.max() and off < 0.1 * change and course.likeness.max(1).min() > 0.75
    )


def motion_of(course: Track) -> str | None:
    """The motion that a course shows, forwards or backwards, or None."""
    if grows(course):
        return "grow"
    share = course.area / usual(course.area[course.visible])
    full = np.flatnonzero(share > 0.75)
    if len(full) < 2:
        return None
    x, y = course.position[full].T
    between = slice(full[0], full[-1] + 1)
    lost = full[0] + int(np.argmin(share[between]))
    before, after = full[full < lost], full[full > lost]
    if share[lost] < 0.4 and len(before) and len(after):
        crossed = abs(course.position[after[0], 0] - course.position[before[-1], 0])
        return "hide" if crossed > 0.15 and np.ptp(y) < 0.12 else None
    # y grows downwards: at a landing it is well above its least before, and its least after.
    fallen = y - np.minimum.accumulate(y)
    rising = y - np.minimum.accumulate(y[::-1])[::-1]
    if np.minimum(fallen, rising).max() > 0.06:
        return "bounce"
    return "slide" if np.ptp(x) > 0.12 and np.ptp(y) < 0.08 else None
