"""The course of one thing through a clip, and which of the stage's motions it shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data.stage import PERIODS
from .fits import circle, even, meeting
from .segments import Exact, Masks


@dataclass(frozen=True)
class Track:
    """One thing as it was found in a clip; lengths in picture heights from the top left corner.

    `times` (time,) in seconds. `position` (time, 2) is the centre of the visible area, x and y, and
    `box` (time, 4) its left, top, right and bottom edge, NaN where nothing is visible. `area`
    (time,) is in picture heights squared. `visible` (time,), and `whole` (time,): no part of it is
    hidden. `likeness` (time, shapes), 0 to 1, as `segments.likeness`, NaN where it is not visible.
    `radius` (time,) is half the height of the shape standing upright, and `angle` (time,) how far
    it is turned, in radians clockwise; NaN where it is not whole, and `angle` for a ball that moves
    or has no bar across it. Words that could not be told are None.
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


def still(position: Exact) -> bool:
    """Whether a thing stays in its place."""
    return bool(len(position) > 0 and np.ptp(position, axis=0).max() < 0.05)


def grows(course: Track) -> bool:
    """Whether the thing's size changes evenly, in sight all the time and never cut."""
    if not course.visible.all() or len(course.times) < 4:
        return False
    size = even(course.times, np.sqrt(course.area))
    larger = abs(size.rate) * np.ptp(course.times) > 0.15 * np.sqrt(course.area.max())
    return bool(larger and size.unevenness < 0.1 and course.likeness.max(1).min() > 0.6)


def motion_of(course: Track) -> str | None:
    """The motion of one thing that a course shows, or None."""
    if grows(course):
        return "grow" if course.area[-1] > course.area[0] else None
    share = course.area / usual(course.area[course.visible])
    # A thing hardly larger than what counts as seen may be full and unseen: it has no place then.
    full = np.flatnonzero((share > 0.75) & course.visible)
    if len(full) < 2:
        return None
    x, y = course.position[full].T
    between = slice(full[0], full[-1] + 1)
    lost = full[0] + int(np.argmin(share[between]))
    before, after = full[full < lost], full[full > lost]
    if share[lost] < 0.4 and len(before) and len(after):
        crossed = abs(course.position[after[0], 0] - course.position[before[-1], 0])
        return "hide" if crossed > 0.15 and np.ptp(y) < 0.12 else None
    if _circles(course.times[full], course.position[full]):
        return "circle"
    # y grows downwards: at a landing it is well above its least before, and its least after.
    fallen = y - np.minimum.accumulate(y)
    rising = y - np.minimum.accumulate(y[::-1])[::-1]
    if np.minimum(fallen, rising).max() > 0.06:
        return "bounce"
    if still(course.position[full]):
        return "spin" if _spins(course) else None
    return "slide" if np.ptp(x) > 0.12 and np.ptp(y) < 0.08 else None


def _circles(times: Exact, position: Exact) -> bool:
    """Goes round one way, by half a turn at least, at nearly one distance from a middle."""
    path = circle(times, position)
    turned = abs(path.speed) * np.ptp(times) > np.pi
    return bool(turned and 0.08 < path.radius < 0.6 and path.spread < 0.1 and path.unevenness < 0.1)


def _spins(course: Track) -> bool:
    """Turns one way, by a fifth of its period at least."""
    known = np.isfinite(course.angle)
    if known.sum() < 4:
        return False
    turn = even(course.times[known], course.angle[known])
    least = 0.2 * PERIODS[course.shape or "ball"]
    return bool(abs(turn.rate) * np.ptp(course.times) > least and turn.unevenness < 0.15)


def meet(one: Track, other: Track) -> bool:
    """Whether two things come together on the floor and part again, without changing sides."""
    if max(np.ptp(course.position[course.visible, 1]) for course in (one, other)) > 0.08:
        return False
    both = one.visible & other.visible
    contact = meeting(one.times[both], one.position[both, 0], other.position[both, 0])
    return bool(contact.closing > 0.05 and contact.parting > 0.05)


def together(tracks: tuple[Track, ...]) -> tuple[Track, ...]:
    """The one or two things of a clip: the first track, and a second seen beside it.

    The second is in sight in most of the frames in which the first is.
    """
    first, *others = tracks
    for other in others:
        beside = (first.visible & other.visible).sum()
        if beside > 0.5 * max(first.visible.sum(), other.visible.sum(), 1):
            return first, other
    return (first,)


def motion_together(tracks: tuple[Track, ...]) -> str | None:
    """The motion that a whole clip shows, of the one or two things in it, or None."""
    things = together(tracks)
    if len(things) == 1:
        return things[0].motion
    if meet(*things):
        return "collide"
    return "pair" if {thing.motion for thing in things} == {"bounce", "slide"} else None
