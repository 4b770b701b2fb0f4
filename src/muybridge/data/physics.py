"""How things move on the stage: each motion in closed form, with the constants behind it.

Lengths are fractions of the picture's height, from its top left corner, x to the right and y down;
speeds are per second, accelerations per second squared, angles in radians, clockwise as seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from .shapes import AREAS, BELOW, PERIODS, Exact, touching

GRAVITY = 2.4
MARGIN = 0.01


@dataclass(frozen=True)
class Room:
    """What a movement has to fit: the picture's width over its height, and the clip's moments.

    `seconds` is the length of the clip and `times` (time,) the seconds of its frames.
    """

    aspect: float
    seconds: float
    times: Exact


@dataclass(frozen=True)
class Movement:
    """How one thing moves, and the constants behind it.

    `position` and `velocity` are (time, 2) as x, y of the centre of its box when upright; `radius`
    is half the height of that box, at the start; `floor` is where it stands. `friction` is the
    deceleration it causes. `pillar` is the left and right edge of what stands in front. `landings`
    are seconds. `sizes` and `angles` (time,) are its radius and turn, where they change.
    `constants` are those that this motion alone has, ready for JSON.
    """

    motion: str
    position: Exact
    velocity: Exact
    radius: float
    floor: float
    restitution: float | None = None
    friction: float = 0.0
    pillar: tuple[float, float] | None = None
    landings: tuple[float, ...] = ()
    sizes: Exact | None = None
    angles: Exact | None = None
    constants: Mapping[str, object] = field(default_factory=dict)


Motion = Callable[[np.random.Generator, Room, tuple[str, ...]], tuple[Movement, ...]]


def _stand(
    rng: np.random.Generator, room: Room, smallest: float, largest: float
) -> tuple[float, float]:
    """A radius, less in a narrow picture, and a floor."""
    return rng.uniform(smallest, largest) * min(1.0, room.aspect), rng.uniform(0.84, 0.92)


def bounce(rng: np.random.Generator, room: Room, shapes: tuple[str, ...]) -> tuple[Movement, ...]:
    """Falls under `GRAVITY`, loses a fixed share of its speed at each landing, drifts sideways.

    Args:
        rng: chance.
        room: what it has to fit; the first landing comes in the first half of its time.
        shapes: of the things, keys of `SHAPES`.

    Returns:
        One movement for each thing.
    """
    return (_bounce(rng, room, *_stand(rng, room, 0.14, 0.18)),)


def _bounce(rng: np.random.Generator, room: Room, radius: float, floor: float) -> Movement:
    aspect, seconds, times = room.aspect, room.seconds, room.times
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
        "bounce", position, velocity, radius, floor,
        restitution=restitution, landings=tuple(landings),
    )  # fmt: skip


def slide(rng: np.random.Generator, room: Room, shapes: tuple[str, ...]) -> tuple[Movement, ...]:
    """Slides on the floor, slowed evenly by friction, and stops late in the clip or soon after it.

    Arguments and result as for `bounce`.
    """
    return (_slide(rng, room, *_stand(rng, room, 0.14, 0.18)),)


def _slide(rng: np.random.Generator, room: Room, radius: float, floor: float) -> Movement:
    seconds, times = room.seconds, room.times
    spare = room.aspect - 2 * (radius + MARGIN)
    distance = spare * rng.uniform(0.65, 1.0)
    stop = seconds * rng.uniform(0.6, 1.3)
    moving = min(stop, seconds)
    speed = distance / (moving - moving**2 / (2 * stop))
    elapsed = np.minimum(times, stop)
    way = 1.0 if rng.random() < 0.5 else -1.0
    start = rng.uniform(0, spare - distance)
    x = start + speed * elapsed - speed / stop * elapsed**2 / 2
    x = (x if way > 0 else spare - x) + radius + MARGIN
    velocity = way * speed * (1 - elapsed / stop)
    return Movement(
        "slide",
        np.stack([x, np.full_like(x, floor - radius)], 1),
        np.stack([velocity, np.zeros_like(x)], 1),
        radius,
        floor,
        friction=speed / stop,
    )


def hide(rng: np.random.Generator, room: Room, shapes: tuple[str, ...]) -> tuple[Movement, ...]:
    """Crosses the picture at constant speed and is wholly out of sight behind a pillar on its way.

    Arguments and result as for `bounce`.
    """
    radius, floor = _stand(rng, room, 0.125, 0.142)
    aspect, seconds, times = room.aspect, room.seconds, room.times
    half = radius * rng.uniform(1.2, 1.3)
    # Whatever room is left over once the thing can be seen whole at either side.
    spare = aspect / 2 - half - 2 * radius - MARGIN
    middle = aspect / 2 + rng.uniform(-1, 1) * min(spare / 2, aspect / 8)
    x, speed = _across(rng, aspect - 2 * (radius + MARGIN), 1.0, seconds, times)
    movement = Movement(
        "hide",
        np.stack([x + radius + MARGIN, np.full_like(x, floor - radius)], 1),
        np.stack([np.full_like(x, speed), np.zeros_like(x)], 1),
        radius,
        floor,
        pillar=(middle - half, middle + half),
    )
    return (movement,)


def _across(
    rng: np.random.Generator, room: float, share: float, seconds: float, times: Exact
) -> tuple[Exact, float]:
    """Even movement over `share` of `room`, either way: x from 0 to `room`, and the speed."""
    speed = room * share / seconds
    x = rng.uniform(0, room * (1 - share)) + speed * times
    return (x, speed) if rng.random() < 0.5 else (room - x, -speed)


def collide(rng: np.random.Generator, room: Room, shapes: tuple[str, ...]) -> tuple[Movement, ...]:
    """The first thing runs into the second, at rest or on its way to it, in the middle of the clip.

    The floor has no friction. Masses are areas in squared picture heights. Contact is where the
    outlines meet (see `touching`); momentum across is kept, and the speed at which they part is
    `restitution` times that at which they met. Arguments and result as for `bounce`.
    """
    radius, floor = _stand(rng, room, 0.1, 0.135)
    radii = (radius, rng.uniform(0.1, 0.135) * min(1.0, room.aspect))
    masses = [AREAS[shape] * r**2 for shape, r in zip(shapes, radii, strict=True)]
    restitution = rng.uniform(0.6, 0.95)
    contact = room.seconds * rng.uniform(0.35, 0.65)
    before = np.array([1.0, 0.0 if rng.random() < 0.4 else -rng.uniform(0.3, 1.0)])
    common = float(np.dot(masses, before)) / sum(masses)
    # In the frame of the common centre of mass each speed turns round, less what restitution takes.
    after = common - restitution * (before - common)
    # How far they reach to either side of the place of contact, at this speed and then at the most.
    left = min(-before[0] * contact, after[0] * (room.seconds - contact), 0.0)
    right = max(-before[1] * contact, after[1] * (room.seconds - contact), 0.0)
    apart = touching((shapes[0], shapes[1]), radii)
    spare = room.aspect - 2 * MARGIN - sum(radii) - apart
    scale = spare * rng.uniform(0.85, 1.0) / (right - left)
    first = MARGIN + radius - scale * left + rng.uniform(0, spare - scale * (right - left))
    mirrored = rng.random() < 0.5
    since = (room.times - contact)[:, None]
    speed = scale * np.where(since < 0, before, after)
    x = np.array([first, first + apart]) + speed * since
    x, speed = (room.aspect - x, -speed) if mirrored else (x, speed)
    return tuple(
        Movement(
            "collide",
            np.stack([x[:, i], np.full(len(x), floor - radii[i])], 1),
            np.stack([speed[:, i], np.zeros(len(x))], 1),
            radii[i],
            floor,
            restitution=restitution,
            constants={"contact": contact, "masses": masses, "apart": apart},
        )
        for i in range(2)
    )


def circle(rng: np.random.Generator, room: Room, shapes: tuple[str, ...]) -> tuple[Movement, ...]:
    """Goes round in the plane of the picture, upright, at constant speed: from 0.85 to 1.4 turns.

    Arguments and result as for `bounce`.
    """
    radius, floor = _stand(rng, room, 0.11, 0.14)
    most = min(room.aspect - 2 * (radius + MARGIN), floor - 2 * radius - MARGIN) / 2
    path = most * rng.uniform(0.8, 1.0)
    edge = MARGIN + radius + path
    centre = np.array(
        [rng.uniform(edge, room.aspect - edge), rng.uniform(edge, floor - radius - path)]
    )
    speed = _either(rng) * 2 * math.pi * rng.uniform(0.85, 1.4) / room.seconds
    angle = rng.uniform(0, 2 * math.pi) + speed * room.times
    out = path * np.stack([np.cos(angle), np.sin(angle)], 1)
    return (
        Movement(
            "circle",
            centre + out,
            speed * np.stack([-out[:, 1], out[:, 0]], 1),
            radius,
            floor,
            constants={"centre": centre.tolist(), "path_radius": path, "angular_speed": speed},
        ),
    )


def grow(rng: np.random.Generator, room: Room, shapes: tuple[str, ...]) -> tuple[Movement, ...]:
    """Stands on the floor and grows evenly, to about twice its size.

    It never shrinks, so that a clip played backwards can be told. Arguments and result as for
    `bounce`.
    """
    radius, floor = _stand(rng, room, 0.085, 0.105)
    largest = radius * rng.uniform(1.9, 2.4)
    growth = (largest - radius) / room.seconds
    x = rng.uniform(largest + MARGIN, room.aspect - largest - MARGIN)
    sizes = radius + growth * room.times
    return (
        Movement(
            "grow",
            np.stack([np.full_like(sizes, x), floor - sizes], 1),
            np.stack([np.zeros_like(sizes), np.full_like(sizes, -growth)], 1),
            radius,
            floor,
            sizes=sizes,
            constants={"growth": growth},
        ),
    )


def spin(rng: np.random.Generator, room: Room, shapes: tuple[str, ...]) -> tuple[Movement, ...]:
    """Hangs in the air and turns about its centre of area at constant speed, either way.

    At 8 frames a second it turns by less than an eighth of its period (see `PERIODS`) from one to
    the next. Arguments and result as for `bounce`.
    """
    radius, floor = _stand(rng, room, 0.16, 0.2)
    below, period = BELOW[shapes[0]] * radius, PERIODS[shapes[0]]
    # From the centre of area to the farthest corner.
    reach = math.sqrt(2) * radius + MARGIN
    x = rng.uniform(reach, room.aspect - reach)
    y = rng.uniform(reach, floor - reach) - below
    speed = _either(rng) * period * rng.uniform(0.5, 0.9)
    still = np.zeros((len(room.times), 2))
    return (
        Movement(
            "spin",
            still + np.array([x, y]),
            still,
            radius,
            floor,
            angles=rng.uniform(0, period) + speed * room.times,
            constants={"angular_speed": speed, "period": period},
        ),
    )


def pair(rng: np.random.Generator, room: Room, shapes: tuple[str, ...]) -> tuple[Movement, ...]:
    """The first thing bounces, the second slides, each on a side of its own.

    Arguments and result as for `bounce`.
    """
    radius, floor = _stand(rng, room, 0.1, 0.125)
    # A slide needs the wider side to be seen as one.
    share = rng.uniform(0.42, 0.48)
    narrow = replace(room, aspect=room.aspect * share)
    wide = replace(room, aspect=room.aspect * (1 - share))
    one = _bounce(rng, narrow, radius, floor)
    two = _slide(rng, wide, rng.uniform(0.1, 0.125) * min(1.0, room.aspect), floor)
    if rng.random() < 0.5:
        return one, _shifted(two, narrow.aspect)
    return _shifted(one, wide.aspect), two


def _shifted(movement: Movement, across: float) -> Movement:
    return replace(movement, position=movement.position + np.array([across, 0.0]))


def _either(rng: np.random.Generator) -> float:
    return 1.0 if rng.random() < 0.5 else -1.0


MOTIONS: Mapping[str, Motion] = MappingProxyType(
    {
        "bounce": bounce,
        "slide": slide,
        "hide": hide,
        "collide": collide,
        "circle": circle,
        "grow": grow,
        "spin": spin,
        "pair": pair,
    }
)
# Those of two things.
TOGETHER = frozenset({"collide", "pair"})
