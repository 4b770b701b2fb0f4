"""Where one shot ends and the next begins: hard cuts, dissolves and fades, from small pictures.

Two frames are linked if half of one is found in the other at any shift, whatever its brightness. A
cut is a large change that links nothing just before it with anything just after it, so that whip
pans, flashes and passers-by are none. The frames of a dissolve lie on the straight line, in the
space of pictures, between two ends that are not linked, and lose detail as mixtures do: motion
bends that line.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

Thumbs = npt.NDArray[np.uint8]
Times = npt.NDArray[np.float64]
Real = npt.NDArray[np.float32]
Index = npt.NDArray[np.intp]

# Grey levels. Frames nearer to each other than REPEATED are one picture; a picture of less contrast
# than BLANK, or than a share DIM of the footage's usual contrast, shows nothing, as black does; a
# smaller change than CHANGED is never a cut.
REPEATED, BLANK, DIM, CHANGED = 0.25, 4.0, 0.1, 4.0
# Correlations from which two frames are linked, see `_Frames.linked`. A change that stands out
# `ALONE` times above those beside it is a cut even where chance makes the shots rather alike.
LIKE_AMID_CHANGE, LIKE_ALONE, ALONE = 0.62, 0.76, 4.0
# Of a dissolve: how straight its way is, how much of its steps leads on, how much of the detail is
# lost that mixing costs, all 1 for still pictures; how far it leads, grey levels.
STRAIGHT, STEADY, FAINT, FAR = 0.45, 0.75, 0.65, 10.0
# Seconds: slower dissolves are not looked for; shorter blank stretches inside a shot are flicker.
LONGEST, FLICKER = 2.8, 0.75
PIECE, MARGIN = 4000, 400  # frames looked at in one go, and beyond them on both sides
# For disorder: grey levels from one frame to the next, and the share of the way that is left.
MOVING, SMOOTHER = 1.0, 0.9


@dataclass(frozen=True)
class Boundary:
    """Where a shot ends. Frames `first` to `last - 1` belong to neither shot.

    A hard cut has no such frames: first == last, the index of the new shot's first frame. A fade,
    in or out, and black between two shots are of the kind "dissolve"; at the footage's own ends one
    of the shots is empty, with first == 0 or last == the number of frames.
    """

    first: int
    last: int
    kind: Literal["cut", "dissolve"]


def boundaries(thumbs: Thumbs, times: Times) -> list[Boundary]:
    """Finds the cuts, dissolves and fades of one piece of footage.

    Blank frames (black, white) are looked through: eight black frames inside one shot are no
    boundary, and black between two shots is one boundary that holds the black. Shots shorter than
    about a quarter of a second between two halves of one shot count as flashes.

    Args:
        thumbs: (n, 36, 64, 3) RGB, each whole frame scaled by area, whatever its shape.
        times: (n,) seconds, rising. A gap in them is not a boundary by itself.

    Returns:
        In order, not overlapping.

    Raises:
        ValueError: shapes other than these.
    """
    _check(thumbs)
    if times.shape != thumbs.shape[:1]:
        raise ValueError(f"{len(thumbs)} frames have times of shape {times.shape}")
    kept, waits = _distinct(thumbs), np.diff(times, prepend=times[:1])
    found: list[Boundary] = []
    # Piece by piece, so that an hour of footage takes no more memory than some minutes do.
    for begin in range(0, len(kept), PIECE):
        low, high = max(0, begin - MARGIN), min(len(kept), begin + PIECE + MARGIN)
        piece = kept[low:high]
        frames = _Frames(thumbs[piece], times[piece], waits[piece])
        cuts = list(_cuts(frames))
        for b in _joined([*cuts, *_gradual(frames, cuts)]):
            if begin <= low + (b.first + b.last) / 2 < begin + PIECE:
                found.append(Boundary(low + b.first, low + b.last, b.kind))
    ends = np.append(kept, len(thumbs))
    return [Boundary(int(ends[b.first]), int(ends[b.last]), b.kind) for b in _joined(found)]


def disorder(thumbs: Thumbs) -> float:
    """Share of the moving places where two neighbours in each other's place move more smoothly.

    Repeats are left out. About 0 for footage in order, forwards or backwards, and about 0.5 where
    the frames of each pair have changed places. 0 for footage with less than six moving places.

    Args:
        thumbs: (n, 36, 64, 3) RGB.

    Raises:
        ValueError: another shape.
    """
    _check(thumbs)
    small = _halved(thumbs[_distinct(thumbs)])
    one, two = (np.abs(small[gap:] - small[:-gap]).mean((1, 2, 3)) for gap in (1, 2))
    as_is, swapped = one[:-2] + one[2:], two[:-1] + two[1:]
    moving = as_is + swapped > 4 * MOVING
    if moving.sum() < 6:
        return 0.0
    return float((swapped < SMOOTHER * as_is)[moving].mean())


def _check(thumbs: Thumbs) -> None:
    if thumbs.ndim != 4 or thumbs.shape[1:] != (36, 64, 3) or thumbs.dtype != np.uint8:
        raise ValueError(f"thumbnails are uint8 (n, 36, 64, 3), not {thumbs.dtype} {thumbs.shape}")


def _apart(first: Thumbs, second: Thumbs) -> float:
    """Mean absolute difference, grey levels."""
    return float(cv2.norm(first, second, cv2.NORM_L1)) / first.size


def _distinct(thumbs: Thumbs) -> Index:
    """Which frames differ from the last one that did."""
    kept = [0] if len(thumbs) else []
    for index in range(1, len(thumbs)):
        if _apart(thumbs[index], thumbs[kept[-1]]) > REPEATED:
            kept.append(index)
    return np.array(kept, np.intp)


def _halved(thumbs: Thumbs) -> Real:
    """At half the size, (n, 18, 32, 3)."""
    small = np.empty((len(thumbs), 18, 32, 3), np.float32)
    for thumb, place in zip(thumbs, small, strict=True):
        cv2.resize(thumb.astype(np.float32), (32, 18), place, interpolation=cv2.INTER_AREA)
    return small


class _Frames:
    """Distinct frames, and what is asked of them more than once."""

    def __init__(self, thumbs: Thumbs, times: Times, waits: Times) -> None:
        self.thumbs, self.times, self.waits = thumbs, times, waits
        self.small = _halved(thumbs)
        self.contrast = self.small.mean(3).reshape(len(thumbs), -1).std(1)
        self.blank = self.contrast < max(BLANK, DIM * float(np.median(self.contrast)))
        self.pace = float(np.median(np.diff(times))) if len(times) > 1 else 1.0

    def __len__(self) -> int:
        return len(self.thumbs)

    @functools.cached_property
    def detail(self) -> Real:
        """What a blur takes away, (n, values)."""
        blurred = np.stack([cv2.GaussianBlur(picture, (0, 0), 1.5) for picture in self.small])
        return np.asarray((self.small - blurred).reshape(len(self), -1), np.float32)

    @functools.cached_property
    def power(self) -> Times:
        """Of the detail, (n,)."""
        return np.asarray(np.square(self.detail).sum(1), np.float64)

    def linked(self, first: int, second: int, like: float) -> bool:
        """Whether two frames show one scene.

        Half of one picture has to be found anywhere in the other with a correlation above `like`; a
        half, since a fast pan leaves no more. More or less light changes nothing.
        """
        if self.blank[first] or self.blank[second]:
            return False
        whole = self.small[second]
        for left in (0, 8, 16):
            piece = np.ascontiguousarray(self.small[first][2:16, left : left + 16])
            if float(cv2.matchTemplate(whole, piece, cv2.TM_CCOEFF_NORMED).max()) > like:
                return True
        return False

    def bridged(self, before: Index, after: Index, like: float) -> bool:
        """Whether any frame of `before` is linked with any of `after`."""
        return any(self.linked(i, j, like) for i in before for j in after)


# --- cuts ----------------------------------------------------------------------------------------


def _cuts(frames: _Frames) -> Iterator[Boundary]:
    """Large changes over which nothing is linked."""
    shown = np.flatnonzero(~frames.blank)
    pairs = itertools.pairwise(shown)
    change = np.array([0.0] + [_apart(frames.thumbs[i], frames.thumbs[j]) for i, j in pairs])
    beside = np.pad(change, 2)
    beside = np.max([beside[:-4], beside[1:-3], beside[3:-1], beside[4:]], axis=0)
    alone = change / (1 + beside)
    for k in np.flatnonzero((change > CHANGED) & (alone > 0.4)):
        like = LIKE_AMID_CHANGE
        # Across a gap in time any motion stands out.
        if frames.waits[shown[k]] < 2.5 * frames.pace:
            share = math.log(max(1.0, alone[k])) / math.log(ALONE)
            like += (LIKE_ALONE - LIKE_AMID_CHANGE) * min(1.0, share)
        # A flash hides the link between the frames beside it; the nearest are tried first.
        before = shown[[i for i in (k - 1, k - 2, k - 4) if i >= 0]]
        after = shown[[i for i in (k, k + 1, k + 3, k + 6) if i < len(shown)]]
        if not frames.bridged(before, after, like):
            first, last = int(shown[k - 1]) + 1, int(shown[k])
            yield Boundary(first, last, "cut" if first == last else "dissolve")


# --- dissolves and fades -------------------------------------------------------------------------


def _gradual(frames: _Frames, cuts: list[Boundary]) -> Iterator[Boundary]:
    """Dissolves and fades in every stretch between cuts."""
    begin = 0
    for cut in [*cuts, Boundary(len(frames), len(frames), "cut")]:
        end = cut.last  # with the blank frames of this boundary, which the next stretch has too
        taken: list[tuple[int, int]] = []
        for first, last in _straight(frames, begin, end):
            middle = (first + last) / 2
            if any(a <= middle <= b or first <= (a + b) / 2 <= last for a, b in taken):
                continue
            if not _mixes(frames, first, last) or _one_scene(frames, first, last, begin, end):
                continue
            first, last = _fitted(frames, first, last, begin, end)
            while first > 0 and frames.blank[first - 1]:
                first -= 1
            while last < len(frames) and frames.blank[last]:
                last += 1
            taken.append((first, last))
            yield Boundary(first, last, "dissolve")
        begin = cut.first


def _straight(frames: _Frames, begin: int, end: int) -> list[tuple[int, int]]:
    """Stretches of `begin` to `end` that run straight, first and last frame, the best first.

    For a frame j on the line from a to b, |b - a|^2 - |j - a|^2 - |b - j|^2 is twice the product of
    its parts; the sum over j is compared with a steady mixture's. Where pictures move it is small.
    """
    pictures = frames.small[begin:end].reshape(end - begin, -1)
    found: list[tuple[float, int, int]] = []
    stride = 1
    while len(pictures) >= 4 * stride and 4 * stride * frames.pace < LONGEST:
        count = len(pictures) // stride
        means = pictures[: count * stride].reshape(count, stride, -1).mean(1)
        apart = _squared(means, 8)
        for width in range(2 if stride == 1 else 4, min(9, count)):
            whole = apart[width][: count - width]
            bend = np.zeros_like(whole)
            for j in range(1, width):
                bend += whole - apart[j][: count - width] - apart[width - j][j : count - width + j]
            share = np.arange(1, width) / width
            straight = bend / (2 * (share * (1 - share)).sum() * (whole + 4))
            for a in np.flatnonzero((straight > STRAIGHT) & (whole > FAR**2)).tolist():
                first, last = begin + a * stride, min(begin + (a + width + 1) * stride, end) - 1
                # The first frame may have been held for long.
                if frames.times[last] - frames.times[first + 1] < LONGEST:
                    found.append((float(straight[a] * whole[a]), first, last))
        stride *= 2
    return [(first, last) for _, first, last in sorted(found, reverse=True)]


def _squared(pictures: Real, reach: int) -> list[Real]:
    """Mean squared differences of pictures (n, values): row g has those g apart, n - g of them."""
    pictures = pictures - pictures.mean(0)
    power, rows = np.square(pictures).sum(1), 32
    apart = [np.empty(max(0, len(pictures) - gap), np.float32) for gap in range(reach + 1)]
    for begin in range(0, len(pictures), rows):
        near = slice(begin, begin + rows + reach)
        table = power[begin : begin + rows, None] + power[near]
        table -= 2 * pictures[begin : begin + rows] @ pictures[near].T
        for gap, row in enumerate(apart):
            line = np.diagonal(table, gap)[: max(0, len(row) - begin)]
            row[begin : begin + len(line)] = line / pictures.shape[1]
    return apart


def _mixes(frames: _Frames, first: int, last: int) -> bool:
    """Whether one picture gives way to the other steadily, and detail is lost on the way.

    Of unlike pictures mixed in shares s and 1 - s, s^2 and (1 - s)^2 of the detail's power is left,
    whatever moves in them; on the way of a camera nearly all is.
    """
    one, other = frames.power[first], frames.power[last]
    common = float(frames.detail[first] @ frames.detail[last])
    share = np.arange(1, last - first) / (last - first)
    lost = (1 - share) * one + share * other - frames.power[first + 1 : last]
    if lost.sum() < FAINT * (share * (1 - share)).sum() * (one + other - 2 * common):
        return False
    way = (frames.small[first : last + 1] - frames.small[first]).reshape(last + 1 - first, -1)
    done = way @ way[-1]
    return bool(np.abs(np.diff(done)).sum() * STEADY < done[-1])


def _one_scene(frames: _Frames, first: int, last: int, begin: int, end: int) -> bool:
    """Whether the two ends of a straight way, or frames just beyond them, are linked."""
    if frames.blank[first] and frames.blank[last]:
        return True
    if frames.blank[first] or frames.blank[last]:
        return _flickers(frames, first, last)
    # A short fade may skip black itself: its darkest frame is beside the next shot's.
    dim = frames.contrast[first] / frames.contrast[last]
    begun, ended = 0 < begin >= first - 1, len(frames) > end <= last + 2
    if (begun and dim < 0.3) or (ended and 1 / dim < 0.3):
        return False
    reach = max(1, last - first) // 4 + 1
    before = np.array([i for i in (first, first - 2, first - reach) if i >= begin])
    after = np.array([i for i in (last, last + 2, last + reach) if i < end])
    return frames.bridged(before, after, LIKE_ALONE)


def _flickers(frames: _Frames, first: int, last: int) -> bool:
    """Whether a way out of or into blank frames has its own shot close beyond them."""
    step, edge, shown = (-1, first, last) if frames.blank[first] else (1, last, first)
    other = edge
    while 0 <= other < len(frames) and frames.blank[other]:
        other += step
    close = 0 <= other < len(frames) and abs(frames.times[other] - frames.times[edge]) <= FLICKER
    return bool(close and frames.linked(shown, other, LIKE_ALONE))


def _fitted(frames: _Frames, first: int, last: int, begin: int, end: int) -> tuple[int, int]:
    """The stretch, first frame and the one after it, where share and detail go as in a mixture.

    Two rounds, the second with the ends that the first has found. Of all stretches that explain
    nearly as much as the best one the longest is taken, and a frame more at each end: a mixed frame
    in a clip is worse than one frame less.
    """
    room = max(4, last - first)
    low, high = max(begin, first - room), min(end, last + room + 1)
    # Beyond black there is another fade.
    while frames.blank[first] and not frames.blank[low:first].all():
        low += 1
    while frames.blank[last] and not frames.blank[last:high].all():
        high -= 1
    pictures = frames.small[low:high].reshape(high - low, -1)
    power = frames.power[low:high] / frames.power[low:high].mean()
    for slack in (1.0, 1.1):
        way = pictures[last - low] - pictures[first - low]
        share = np.asarray(
            (pictures - pictures[first - low]) @ way / (way @ way + 1e-3), np.float64
        )
        fits = _ramps(share, power)
        good = fits[
            fits[:, 0] <= slack * fits[:, 0].min() + (slack - 1) * 1e-3 / (share.var() + 1e-9)
        ]
        _, begun, length = good[good[:, 2].argmax()].astype(int)
        first, last = low + int(begun), low + int(begun + length)
    return max(begin, first), min(end, last + 1)


def _ramps(share: Times, power: Times) -> Times:
    """Every ramp from one shot to the next: (what it leaves unexplained, its begin, its length).

    With the ramp r, `share` should be a + b r and `power` c (1 - r)^2 + d r^2.
    """
    count, step = len(share), max(1, len(share) // 64)
    place, fits = np.arange(count), []
    spread = count * (share.var() + 1e-9), count * (power.var() + 1e-9)
    for begun in range(0, count - 1, step):
        lengths = np.arange(1, count - begun, step)
        ramp = np.clip((place - begun) / lengths[:, None], 0, 1)
        rise = ramp - ramp.mean(1, keepdims=True)
        left = spread[0] - np.square(rise @ share) / np.square(rise).sum(1)
        out, new = (1 - ramp) ** 2, ramp**2
        oo, nn, on = np.square(out).sum(1), np.square(new).sum(1), (out * new).sum(1)
        op, np_ = out @ power, new @ power
        told = (nn * op**2 - 2 * on * op * np_ + oo * np_**2) / (oo * nn - on**2)
        left = left / spread[0] + (power @ power - told) / spread[1]
        fits.append(np.stack([left, np.full(len(lengths), begun), lengths], 1))
    return np.concatenate(fits)


def _joined(found: list[Boundary]) -> list[Boundary]:
    """Boundaries in order; those that touch are one."""
    joined: list[Boundary] = []
    for boundary in sorted(found, key=lambda b: (b.first, b.last)):
        if joined and boundary.first <= joined[-1].last:
            first, last = joined[-1].first, max(boundary.last, joined.pop().last)
            boundary = Boundary(first, last, "cut" if first == last else "dissolve")
        joined.append(boundary)
    return joined
