"""Whether what goes behind a pillar comes out again: at all, in time, and as the same thing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .course import Track, usual
from .segments import SMALLEST, Exact, Masks, shape_of

# A pillar of the stage is at most this many radii of the thing wide.
PILLAR = 2.6
# Less than this share of the most that was seen so far: it is going out of sight.
HIDDEN = 0.4


@dataclass(frozen=True)
class Passage:
    """What became of a thing that went out of sight; NaN where it cannot be told.

    `emerged`: 1 where it came out at the other side, 0 where it did not, though the clip went on
    for long enough. `late`: seconds by which it came out later than its speed before foretold.
    `colour`, `shape`: 1 where they are the same as before, else 0. `size`: its radius over that
    before, less 1.
    """

    emerged: float = np.nan
    late: float = np.nan
    colour: float = np.nan
    shape: float = np.nan
    size: float = np.nan


@dataclass(frozen=True)
class _Side:
    """What is seen on one side of the pillar: frames in which it is in sight."""

    times: Exact
    box: Exact
    area: Exact
    likeness: Exact
    colour: str | None

    @property
    def whole(self) -> Masks:
        width, height = self.box[:, 2] - self.box[:, 0], self.box[:, 3] - self.box[:, 1]
        return (self.area > 0.92 * usual(self.area)) & (abs(width / height - 1) < 0.16)

    @property
    def half(self) -> float:
        """Half the width when seen whole; NaN if it never is."""
        width = (self.box[:, 2] - self.box[:, 0])[self.whole]
        return float(np.median(width)) / 2 if len(width) else np.nan

    def edge(self, way: float) -> Exact:
        return np.asarray(self.box[:, 2 if way > 0 else 0])


def passage(tracks: tuple[Track, ...]) -> Passage:
    """What became of the thing that goes out of sight in a clip.

    It may come out in another colour, and is then another of the tracks. While it is partly hidden
    the edge that is in sight tells its place.
    """
    sides = _sides(tracks)
    if sides is None:
        return Passage()
    before, after = sides
    way = float(np.sign(np.polyfit(before.times, before.box[:, 0] + before.box[:, 2], 1)[0]))
    if np.isnan(before.half):
        return Passage()
    entry = before.edge(-way) + way * before.half
    speed, start = np.polyfit(before.times, entry, 1)
    if speed * way < 0.02:
        return Passage()
    if after is None:
        # The pillar hides it from its front edge on: when would all of it have been seen again?
        out = way * before.edge(way).max() if way > 0 else -before.edge(way).min()
        due = (out + (PILLAR + 1) * before.half - way * start) / abs(speed)
        return Passage(emerged=0.0 if tracks[0].times[-1] > due else np.nan)
    half = before.half if np.isnan(after.half) else after.half
    exits = after.edge(way) - way * half
    if way * (exits[-1] - entry[-1]) < before.half:
        return Passage(emerged=0.0)
    late = float(np.mean(after.times - (exits - start) / speed))
    colour = float(before.colour == after.colour)
    if not after.whole.any():
        return Passage(1.0, late, colour)
    shapes = [shape_of(side.likeness[side.whole]) for side in (before, after)]
    size = np.sqrt(usual(after.area) / usual(before.area)) - 1
    return Passage(1.0, late, colour, float(shapes[0] == shapes[1]), float(size))


def _sides(tracks: tuple[Track, ...]) -> tuple[_Side, _Side | None] | None:
    """What is seen before something goes out of sight, and after; None if nothing does."""
    areas = np.stack([track.area for track in tracks])
    leader, area = areas.argmax(0), areas.max(0)
    hidden = np.flatnonzero(area < HIDDEN * np.maximum.accumulate(area))
    if not len(hidden):
        return None
    # Until it has grown again to as much as it was when it began to go out of sight.
    back = np.flatnonzero(area[hidden[0] :] > HIDDEN * area[: hidden[0]].max())
    end = hidden[0] + back[0] if len(back) else len(area)
    gone = hidden[0] + int(area[hidden[0] : end].argmin())
    seen, frames = area >= SMALLEST, np.arange(len(area))

    def side(part: Masks) -> _Side | None:
        if part.sum() < 3:
            return None
        of = leader[part]
        box, alike = (
            np.stack([getattr(track, name) for track in tracks])[of, frames[part]]
            for name in ("box", "likeness")
        )
        colour = tracks[int(np.bincount(of).argmax())].colour
        return _Side(tracks[0].times[part], box, area[part], alike, colour)

    before = side(seen & (frames < gone))
    return None if before is None else (before, side(seen & (frames > gone)))
