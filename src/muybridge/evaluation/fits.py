"""Fits of the stage's laws to courses: how fast things fall, rebound, slow down.

Each takes times (n,) in seconds and places (n,) in picture heights, and gives NaN where the course
has too little to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from .segments import Exact

Frames = npt.NDArray[np.intp]

# A landing lies this much below what comes before and after it, and a flight spans as much: about
# three pixels of 64.
DROP = 0.045
# A place further than this from its law's curve is no error of tracking: a pixel of 64.
STRAY = 0.016


@dataclass(frozen=True)
class Flights:
    """`gravity` in heights per second squared; `gains` (landings,) of energy, -1 to 1."""

    gravity: float
    gains: Exact


def flights(times: Exact, down: Exact) -> Flights:
    """Gravity from the parabolas between landings, and the energy gained at each landing.

    All flights share one gravity; each has a height and speed of its own. A gain is the change of
    the energy of the vertical motion over the larger of the two: (after - before) / max(before,
    after). Physical landings lose energy; backwards, gravity is the same, each gain the opposite.

    Args:
        times: (n,) seconds, rising.
        down: (n,) how far down the thing is.

    Returns:
        NaN gravity where no flight has 4 frames; a gain for each landing between two flights.
    """
    nothing = Flights(np.nan, np.empty(0))
    landings = _landings(down)
    pieces = [np.arange(a + 1, b) for a, b in pairwise([-1, *landings, len(down)])]
    pieces = [p if len(p) >= 3 and np.ptp(down[p]) > DROP else p[:0] for p in pieces]
    if max(map(len, pieces)) < 4:
        return nothing
    gravity, starts = _shared_gravity(times, down, pieces)

    def stray(frame: int | np.intp, piece: int) -> float:
        height, speed = starts[piece]
        time = times[frame]
        return float(abs(height + speed * time + gravity * time**2 / 2 - down[frame]))

    # The frame of a landing belongs to either side: to the one whose curve it lies on.
    for before, frame in enumerate(landings):
        near = [k for k in (before, before + 1) if len(pieces[k])]
        side = min(near, key=lambda k: stray(frame, k), default=None)
        if side is not None:
            pieces[side] = np.sort(np.append(pieces[side], frame))
    for limit in (STRAY, STRAY / 2):
        pieces = [
            np.array([i for i in piece if stray(i, k) < limit], np.intp)
            for k, piece in enumerate(pieces)
        ]
        if max(map(len, pieces)) < 4:
            return nothing
        gravity, starts = _shared_gravity(times, down, pieces)
    return Flights(gravity, _rebounds(times, landings, pieces, gravity, starts))


def _rebounds(
    times: Exact, landings: list[int], pieces: list[Frames], gravity: float, starts: Exact
) -> Exact:
    """The gain at each landing, where the curves before and after it meet."""
    gains = []
    for k, frame in enumerate(landings):
        if min(len(pieces[k]), len(pieces[k + 1])) < 2:
            continue
        (a, u), (b, v) = starts[k], starts[k + 1]
        meet = (b - a) / (u - v) if u != v else np.inf
        if abs(meet - times[frame]) < 1.5 * np.diff(times).max():
            gains.append(gain((u + gravity * meet) ** 2, (v + gravity * meet) ** 2))
    return np.array(gains)


def gain(before: float, after: float) -> float:
    """Of energy, as a share of the larger: -1 to 1, and the opposite where time runs backwards."""
    return (after - before) / max(before, after)


def _landings(down: Exact) -> list[int]:
    """Frames where the thing turns back up, by `DROP` at least, after coming down as much.

    At either end of the clip a pixel on the far side of a landing is enough.
    """
    found: list[int] = []
    high = low = 0
    falling: bool | None = None
    for i in range(len(down)):
        if down[i] >= down[low]:
            low = i
        if down[i] <= down[high]:
            high = i
        if falling is not False and down[low] - down[i] > DROP:
            if falling or down[low] - down[0] > STRAY / 2:
                found.append(low)
            falling, high = False, i
        elif falling is not True and down[i] - down[high] > DROP:
            falling, low = True, i
    if falling and down[low] - down[-1] > STRAY / 2:
        found.append(low)
    return found


def _shared_gravity(times: Exact, down: Exact, pieces: list[Frames]) -> tuple[float, Exact]:
    """Least squares of down = a_k + v_k t + g t^2 / 2 over pieces k: g, and (a_k, v_k)."""
    count = sum(map(len, pieces))
    rows, places, row = np.zeros((count, 1 + 2 * len(pieces))), np.empty(count), 0
    for k, piece in enumerate(pieces):
        part = slice(row, row + len(piece))
        rows[part, 0], rows[part, 1 + 2 * k] = times[piece] ** 2 / 2, 1
        rows[part, 2 + 2 * k], places[part] = times[piece], down[piece]
        row += len(piece)
    answer = np.linalg.lstsq(rows, places, rcond=None)[0]
    return float(answer[0]), np.asarray(answer[1:].reshape(-1, 2), np.float64)


@dataclass(frozen=True)
class Slide:
    """`acceleration` along the way, in heights per second squared: below 0 it slows down.

    `unevenness`: root mean square distance from the even course, as a share of the way.
    """

    acceleration: float
    unevenness: float


def slide(times: Exact, across: Exact) -> Slide:
    """Even acceleration of a course that may come to rest, or begin from it, within the clip.

    The best of x = c + a (t - s)^2 / 2 over all t, for t below s alone (then at rest), and for t
    above s alone (at rest before), and of x = c + v t + a t^2 / 2.

    Args:
        times: (n,) seconds, rising.
        across: (n,) place along the way.

    Returns:
        NaN below 5 frames, or where the way is shorter than 0.05.
    """
    way = across[-1] - across[0] if len(across) else 0.0
    if len(times) < 5 or abs(way) < 0.05:
        return Slide(np.nan, np.nan)
    curve = np.polynomial.Polynomial.fit(times, across, 2)
    least, best = float(np.sum((curve(times) - across) ** 2)), 2 * curve.convert().coef[-1]
    stops = np.linspace(times[0], times[-1], 8 * len(times))[:, None]
    x = across - across.mean()
    for part in (np.maximum(stops - times, 0), np.maximum(times - stops, 0)):
        bend = part**2 / 2
        bend -= bend.mean(1, keepdims=True)
        # At rest for all but two frames any two places would fit.
        fits = ((part > 0).sum(1) >= 4) & ((bend**2).sum(1) > 0)
        slope = np.where(fits, bend @ x / np.maximum((bend**2).sum(1), 1e-12), 0)
        error = np.where(fits, ((x - slope[:, None] * bend) ** 2).sum(1), np.inf)
        if error.min() < least:
            least, best = float(error.min()), float(slope[error.argmin()])
    return Slide(float(best * np.sign(way)), float(np.sqrt(least / len(times)) / abs(way)))


@dataclass(frozen=True)
class Even:
    """`rate` per second, and `unevenness`: root mean square distance from the even course, as a
    share of the range of values.
    """

    rate: float
    unevenness: float


def even(times: Exact, values: Exact) -> Even:
    """Even change of a value (least squares); NaN below 4 frames, or where it does not change."""
    if len(times) < 4 or np.ptp(values) == 0:
        return Even(np.nan, np.nan)
    since = times - times.mean()
    rate = float(since @ values / (since @ since))
    off = float(np.std(values - rate * since))
    return Even(rate, off / float(np.ptp(values)))


@dataclass(frozen=True)
class Circle:
    """A way round: `radius` in heights, `spread` of the distance to the middle as a share of it,
    `speed` in radians per second, clockwise as seen, and its `unevenness` (see `Even`).
    """

    radius: float
    spread: float
    speed: float
    unevenness: float


def circle(times: Exact, position: Exact) -> Circle:
    """The circle of a course, position (n, 2), and how evenly it is gone round.

    Least squares of x^2 + y^2 = 2 a x + 2 b y + c (Kasa 1976); NaN below 5 frames, or where the
    places lie on a line.
    """
    nothing = Circle(np.nan, np.nan, np.nan, np.nan)
    if len(times) < 5:
        return nothing
    away = position - position.mean(0)
    rows = np.column_stack([2 * away, np.ones(len(away))])
    answer, _, rank, _ = np.linalg.lstsq(rows, (away**2).sum(1), rcond=1e-6)
    if rank < 3:
        return nothing
    out = away - answer[:2]
    distance = np.hypot(*out.T)
    turn = even(times, np.unwrap(np.arctan2(out[:, 1], out[:, 0])))
    radius = float(distance.mean())
    return Circle(radius, float(distance.std()) / radius, turn.rate, turn.unevenness)


@dataclass(frozen=True)
class Meeting:
    """Two things on one line that come together at `time`, in seconds.

    `before` and `after` are the velocities of both, in heights per second; `closing` and `parting`
    the speeds at which the distance between them falls and then rises, in their order before.
    """

    time: float
    before: tuple[float, float]
    after: tuple[float, float]
    closing: float
    parting: float


def meeting(times: Exact, one: Exact, other: Exact) -> Meeting:
    """The moment at which both velocities change at once, each constant before and after.

    Least squares over both courses, for each of eight moments a frame that leave 3 frames on either
    side; NaN where there are too few.
    """
    best, least = Meeting(np.nan, (np.nan, np.nan), (np.nan, np.nan), np.nan, np.nan), np.inf
    if len(times) < 6:
        return best
    places = np.column_stack([one, other])
    way = np.sign(other[0] - one[0])
    for moment in np.linspace(times[2], times[-3], 8 * (len(times) - 5) + 1):
        since = times - moment
        rows = np.column_stack([np.ones(len(times)), np.minimum(since, 0), np.maximum(since, 0)])
        answer = np.linalg.lstsq(rows, places, rcond=None)[0]
        error = float(((rows @ answer - places) ** 2).sum())
        if error < least:
            (u, v), (p, q), least = answer[1].tolist(), answer[2].tolist(), error
            best = Meeting(
                float(moment), (u, v), (p, q), float(way * (u - v)), float(way * (q - p))
            )
    return best
