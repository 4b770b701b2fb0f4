"""How things move on the stage: each motion in closed form, with the constants behind it.

Lengths are fractions of the picture's height, from its top left corner, x to the right and y down;
speeds are per second, accelerations per second squared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

Exact = npt.NDArray[np.float64]

GRAVITY = 2.4
MARGIN = 0.01


@dataclass(frozen=True)
class Movement:
    """How one thing moves, and the constants behind it.

    `position` and `velocity` are (time, 2) as x, y of the centre of its box; `radius` is half the
    height of that box; `floor` is where it stands. `friction` is the deceleration it causes.
    `pillar` is the left and right edge of what stands in front. `landings` are seconds.
    """

    position: Exact
    velocity: Exact
    radius: float
    floor: float
    restitution: float | None = None
    friction: float = 0.0
    pillar: tuple[float, float] | None = None
    landings: tuple[float, ...] = ()


def bounce(rng: np.random.Generator, aspect: float, seconds: float, times: Exact) -> Movement:
    """Falls under `GRAVITY`, loses a fixed share of its speed at each landing, drifts sideways.

    Args:
        rng: chance.
        aspect: width of the picture over its height.
        seconds: length of the clip; the first landing comes in its first half.
        times: (time,) seconds of the frames.
    """
    radius = rng.uniform(0.14, 0.18) * min(1.0, aspect)
    floor = rng.uniform(0.84, 0.92)
    drop = rng.uniform(0.8, 1.0) * (floor - 2 * radius - MARGIN)
    restitution = rng.uniform(0.72, 0.9)
    fall = math.sqrt(2 * drop / GRAVITY)
    # Already under way at the first frame, so that clips do not all begin at rest.
    landing = min(fall * rng.uniform(0.4, 1.0), seconds / 2)
    begun = fall - landing
    height = drop - GRAVITY * (times + begun) ** 2 / 2
    rise = -GRAVITY * (times + begun)
    landings, speed = [], GRAVITY * fall * restitution
    while landing <= seconds and speed > 0.02:
        after = times >= landing
        since = times[after] - landing
        height[after], rise[after] = speed * since - GRAVITY * since**2 / 2, speed - GRAVITY * since
        landings.append(landing)
        landing, speed = landing + 2 * speed / GRAVITY, speed * restitution
    rest = times >= landing
    height[rest], rise[rest] = 0.0, 0.0
    x, speed_x = _across(
        rng, aspect - 2 * (radius + MARGIN), rng.uniform(0.35, 0.9), seconds, times
    )
    position = np.stack([x + radius + MARGIN, floor - radius - height], 1)
    velocity = np.stack([np.full_like(x, speed_x), -rise], 1)
    return Movement(
        position, velocity, radius, floor, restitution=restitution, landings=tuple(landings)
    )


def slide(rng: np.random.Generator, aspect: float, seconds: float, times: Exact) -> Movement:
    """Slides on the floor, slowed evenly by friction, and stops late in the clip or soon after it.

    Arguments as for `bounce`.
    """
    radius = rng.uniform(0.14, 0.18) * min(1.0, aspect)
    floor = rng.uniform(0.84, 0.92)
    room = aspect - 2 * (radius + MARGIN)
    distance = room * rng.uniform(0.65, 1.0)
    stop = seconds * rng.uniform(0.6, 1.3)
    moving = min(stop, seconds)
    speed = distance / (moving - moving**2 / (2 * stop))
    elapsed = np.minimum(times, stop)
    way = 1.0 if rng.random() < 0.5 else -1.0
    start = rng.uniform(0, room - distance)
    x = start + speed * elapsed - speed / stop * elapsed**2 / 2
    x = (x if way > 0 else room - x) + radius + MARGIN
    velocity = way * speed * (1 - elapsed / stop)
    return Movement(
        np.stack([x, np.full_like(x, floor - radius)], 1),
        np.stack([velocity, np.zeros_like(x)], 1),
        radius,
        floor,
        friction=speed / stop,
    )


def hide(rng: np.random.Generator, aspect: float, seconds: float, times: Exact) -> Movement:
    """Crosses the picture at constant speed and is wholly out of sight behind a pillar on its way.

    Arguments as for `bounce`.
    """
    radius = rng.uniform(0.125, 0.142) * min(1.0, aspect)
    floor = rng.uniform(0.84, 0.92)
    half = radius * rng.uniform(1.2, 1.3)
    # Whatever room is left over once the thing can be seen whole at either side.
    spare = aspect / 2 - half - 2 * radius - MARGIN
    middle = aspect / 2 + rng.uniform(-1, 1) * min(spare / 2, aspect / 8)
    x, speed = _across(rng, aspect - 2 * (radius + MARGIN), 1.0, seconds, times)
    return Movement(
        np.stack([x + radius + MARGIN, np.full_like(x, floor - radius)], 1),
        np.stack([np.full_like(x, speed), np.zeros_like(x)], 1),
        radius,
        floor,
        pillar=(middle - half, middle + half),
    )


def _across(
    rng: np.random.Generator, room: float, share: float, seconds: float, times: Exact
) -> tuple[Exact, float]:
    """Even movement over `share` of `room`, either way: x from 0 to `room`, and the speed."""
    speed = room * share / seconds
    x = rng.uniform(0, room * (1 - share)) + speed * times
    return (x, speed) if rng.random() < 0.5 else (room - x, -speed)


MOTIONS: Mapping[str, Callable[[np.random.Generator, float, float, Exact], Movement]] = (
    MappingProxyType({"bounce": bounce, "slide": slide, "hide": hide})
)
