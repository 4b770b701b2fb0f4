"""Which clips show the same footage: copies, mirror images, reversals, and overlapping excerpts.

Candidates come from products of a few low frequencies of sampled pictures; each is then compared
with the other clip at every alignment, over the whole of their overlap: clips hold no cut, so two
excerpts of one footage agree from where the later begins to where the earlier ends.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Signature = npt.NDArray[np.uint8]
Float = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
RATE, SIDE = 8, 16

# Fine detail is where two clips of one place differ. Frequencies are raised by this power of
# themselves: half of what would make natural pictures, which fall as 1 / f, equal in all.
RAISED = 0.5
# Samples that two clips must share: a second. Shorter clips must lie within the other.
LEAST_OVERLAP = 8
# Correlations of the mean pictures and of the change from them, over the whole overlap of n samples
# (change: the second + the third / n**2, 0.82 at a second). Measured at every alignment:
# - 630 pairs of different clips of nine people before one background, and 55 of signers: where the
#   pictures are above 0.94, change is at most 0.25 and 0.63 (unraised, it would be 0.84);
# - excerpts of 1.1 to 3.2 s of other clips, at 12 to 30 frames a second, encoded again at quality
#   28 to 35, or at half size: pictures from 0.96, change mostly from 0.82 to 0.99.
# Two halves of one repeated movement of one person can reach 0.95; they are of one source.
STILL_LIKENESS, MOVING_LIKENESS, CHANCE = 0.94, 0.77, 3.2
# Enough for one second alone, where the rest is damaged (others: at most 0.76).
SECOND_LIKENESS = 0.97
# Of clips in which nothing moves (other clips of one place: at most 0.986; encoded again: 0.997).
STATIC_LIKENESS = 0.993
# Change below this (rms, in grey levels of 255) is noise, and says nothing about likeness.
MOVING_FLOOR = 0.8

# Candidates: every fourth sample of one clip against every second of the other, so that an overlap
# of a second is met twice, by samples an eighth of a second apart at most.
_ASKED, _HELD = 4, 2
_LOW = 7
_CANDIDATE_STILL, _CANDIDATE_CHANGE = 0.90, 0.80
# Pictures of less contrast than a grey level have nothing to compare.
_FLAT = float(SIDE)
_NOISE = SIDE * MOVING_FLOOR
# A pair this far off at whole samples is none between them either.
_HOPELESS = -1.5
_BLOCK, _ROWS, _COLUMNS = 64, 256, 512
_SEGMENTS = 2**18


@dataclass(frozen=True)
class Pair:
    """Two clips, by index, that show the same footage.

    Attributes:
        first: the lower index.
        second: the higher one.
        how: "copy", "mirrored", "reversed" or "mirrored and reversed".
        likeness: correlation of what changes over the overlap, or of the pictures where nothing
            moves; at most 1.
        overlap: seconds that both show.
    """

    first: int
    second: int
    how: str
    likeness: float
    overlap: float


def signature(frames: npt.NDArray[np.uint8], fps: float) -> Signature:
    """What is left of a clip for comparing: area averages in space and in time.

    Each sample is the mean over a quarter of a second, weighted by a triangle, so that samples of
    one movement taken at other moments differ little, and can be interpolated.

    Args:
        frames: (time, height, width, 3) uint8 RGB of any shape: best the whole picture, without
            black bars, since copies may be stretched or cropped in another way.
        fps: frames per second.

    Returns:
        (samples, 16, 16) uint8 grey levels, `RATE` samples a second, at least one.
    """
    import cv2

    greys = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames)
    small = np.stack([cv2.resize(g, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for g in greys])
    ends = np.arange(len(frames) + 1) * (RATE / fps)
    centres = np.arange(max(1, int(ends[-1] + 1e-6))) + 0.5
    away = np.clip(ends - centres[:, None], -1, 1)
    # The triangle's integral up to each frame's end: differences are the frames' shares in it.
    weights = np.diff(away - away * np.abs(away) / 2, axis=1)
    weights /= weights.sum(1, keepdims=True)
    mean: Double = np.tensordot(weights, small.astype(np.float64), 1)
    return np.rint(mean).astype(np.uint8)


def groups(
    signatures: Sequence[Signature],
    digests: Sequence[str],
    sources: Sequence[str],
    found: Sequence[Pair] | None = None,
) -> list[int]:
    """Gives each clip a group number; clips that may not be parted share one.

    Args:
        signatures: one a clip, see `signature`.
        digests: of the files' bytes; equal ones are copies whatever the signatures say.
        sources: what each clip was taken from; equal names are kept together, "" is none.
        found: what `pairs` gave for these signatures; looked for here where None.

    Returns:
        For each clip the lowest index among its group.
    """
    group = np.arange(len(signatures))
    for names in (digests, sources):
        seen: dict[str, int] = {}
        for index, name in enumerate(names):
            if name:
                _join(group, seen.setdefault(name, index), index)
    for pair in _found(signatures, group) if found is None else found:
        _join(group, pair.first, pair.second)
    return [int(number) for number in group]


def pairs(signatures: Sequence[Signature]) -> list[Pair]:
    """Finds clips that show the same footage.

    Of many copies of one clip there are n (n - 1) / 2 pairs; only those are looked for that join
    clips not yet joined by pairs before them, so that there are fewer pairs than clips.

    Args:
        signatures: one a clip, see `signature`.

    Returns:
        Pairs in order of their first clip.
    """
    return list(_found(signatures, np.arange(len(signatures))))


def _join(group: Index, i: int, j: int) -> None:
    """Makes two groups one, under the lower number."""
    low, high = sorted((group[i], group[j]))
    if low != high:
        group[group == high] = low


def _found(signatures: Sequence[Signature], group: Index) -> Iterator[Pair]:
    """Pairs across groups; it joins them in `group` as it goes."""
    sketch = _Sketch.of(signatures)
    for first, mirrored, others in _candidates(sketch):
        others = others[group[others] != group[first]]
        clip = _waves(signatures[first]) * (_MIRROR if mirrored else 1)
        for second in _moving_alike(sketch, first, others, mirrored).tolist():
            if group[first] == group[second]:
                continue
            found = _compared(clip, _waves(signatures[second]))
            if found is not None:
                _join(group, first, second)
                words = ["mirrored"] * mirrored + ["reversed"] * found.backwards
                how = " and ".join(words) or "copy"
                yield Pair(first, second, how, min(found.likeness, 1.0), found.overlap / RATE)


@dataclass(frozen=True)
class _Sketch:
    """The lower frequencies of every sample of every clip, each sample of unit length.

    Attributes:
        starts: (clips + 1,) first sample of each clip.
        still: (samples, frequencies) of the pictures.
        change: (samples, frequencies) of the difference between half a second's ends.
        movement: (clips,) of each, see `_movement`.
    """

    starts: Index
    still: Float
    change: Float
    movement: Double

    @classmethod
    def of(cls, signatures: Sequence[Signature]) -> _Sketch:
        starts = np.cumsum([0, *map(len, signatures)])
        still, change = np.zeros((2, starts[-1], len(_SKETCHED)), np.float32)
        movement = np.zeros(len(signatures))
        for index, made in enumerate(signatures):
            waves = _waves(made)
            low, here = waves[:, _SKETCHED], slice(starts[index], starts[index + 1])
            still[here] = _unit(low, _FLAT)
            half = min(2, (len(low) - 1) // 2)
            if half:
                ends = low[2 * half :] - low[: -2 * half]
                change[here][half:-half] = _unit(ends, _NOISE)
            movement[index] = _movement(waves)
        return cls(starts, still, change, movement)


def _candidates(sketch: _Sketch) -> Iterator[tuple[int, bool, Index]]:
    """For each clip, as it is and mirrored, the later ones with a picture like one of its own."""
    count = len(sketch.starts) - 1
    clip_of = np.repeat(np.arange(count), np.diff(sketch.starts))
    within = np.arange(len(clip_of)) - sketch.starts[clip_of]
    asked, held = np.flatnonzero(within % _ASKED == 0), np.flatnonzero(within % _HELD == 0)
    for begin in range(0, count, _BLOCK):
        rows = asked[(clip_of[asked] >= begin) & (clip_of[asked] < begin + _BLOCK)]
        columns = held[clip_of[held] > begin]
        # A table of clips by clips, not of samples by samples: that is what bounds the memory.
        alike = np.zeros((2, _BLOCK, count), bool)
        corners = itertools.product(range(0, len(rows), _ROWS), range(0, len(columns), _COLUMNS))
        for top, left in corners:
            some, others = rows[top : top + _ROWS], columns[left : left + _COLUMNS]
            even, odd = _products(sketch.still[some], sketch.still[others])
            hits = np.flatnonzero(even + np.abs(odd) > _CANDIDATE_STILL)
            even, odd = even.ravel()[hits], odd.ravel()[hits]
            y = clip_of[some[hits // len(others)]] - begin
            x = clip_of[others[hits % len(others)]]
            for mirrored, likeness in enumerate((even + odd, even - odd)):
                near = likeness > _CANDIDATE_STILL
                alike[mirrored, y[near], x[near]] = True
        for first in range(begin, min(begin + _BLOCK, count)):
            for mirrored in (False, True):
                later = np.flatnonzero(alike[int(mirrored), first - begin, first + 1 :])
                if len(later):
                    yield first, mirrored, later + first + 1


def _products(a: Float, b: Float) -> tuple[Float, Float]:
    """Products of sketches over even and over odd frequencies.

    Mirroring changes the sign of odd horizontal frequencies and nothing else, so that the sum of
    the two is the likeness to a clip, and their difference that to its mirror image.
    """
    return a[:, :_EVEN] @ b[:, :_EVEN].T, a[:, _EVEN:] @ b[:, _EVEN:].T


def _moving_alike(sketch: _Sketch, first: int, others: Index, mirrored: bool) -> Index:
    """Those that change somewhere as the first does, forwards or backwards.

    Without this all clips of one place would be compared at every alignment.
    """
    if not len(others):
        return others
    starts = sketch.starts
    asked = np.arange(starts[first], starts[first + 1])[:: _ASKED // 2]
    lengths = starts[others + 1] - starts[others]
    firsts = np.cumsum(lengths) - lengths
    held = np.repeat(starts[others] - firsts, lengths) + np.arange(lengths.sum())
    even, odd = _products(sketch.change[asked], sketch.change[held])
    most = np.maximum.reduceat(np.abs(even - odd if mirrored else even + odd).max(0), firsts)
    static = _static(sketch.movement[first], sketch.movement[others])
    return others[static | (most > _CANDIDATE_CHANGE)]


class _Match(NamedTuple):
    """How far above what makes a pair two clips are, their likeness there, samples they share."""

    margin: float
    likeness: float
    overlap: int
    backwards: bool


def _compared(a: Float, b: Float) -> _Match | None:
    """The best alignment of two clips, if they make a pair at it."""
    if _static(_movement(a), _movement(b)):
        still = float(_unit(a.mean(0), _FLAT) @ _unit(b.mean(0), _FLAT))
        margin = still - STATIC_LIKENESS
        return _Match(margin, still, min(len(a), len(b)), False) if margin > 0 else None
    # All that follows needs no more than the products of any two samples.
    own_a, own_b, across = (x.astype(np.float64) for x in (a @ a.T, b @ b.T, a @ b.T))
    matches: list[_Match] = []
    for part in (0, 0.25, 0.5, 0.75):
        rows, own = _later(across, part), _later(_later(own_a, part).T, part)
        if len(rows):
            matches.append(_best(own, own_b, rows, False))
            matches.append(_best(own, own_b[::-1, ::-1], rows[:, ::-1], True))
        if max(matches).margin < _HOPELESS:
            break
    best = max(matches)
    return best if best.margin > 0 else None


def _best(own_a: Double, own_b: Double, across: Double, backwards: bool) -> _Match:
    """The best of all alignments to a whole sample, from products of samples."""
    n, m = across.shape
    lags = np.arange(1 - m, n)
    begin = np.maximum(lags, 0)
    length = np.minimum(lags + m, n) - begin
    whole = length >= min(LEAST_OVERLAP, n, m)
    begin, lags, length = begin[whole], lags[whole], length[whole]
    least = MOVING_LIKENESS + CHANCE / length**2
    if min(n, m) >= LEAST_OVERLAP:
        apart = max(2, n * m // _SEGMENTS)
        i, j = np.mgrid[: n - LEAST_OVERLAP + 1 : apart, : m - LEAST_OVERLAP + 1]
        begin, lags = np.append(begin, i), np.append(lags, i - j)
        length = np.append(length, np.full(i.size, LEAST_OVERLAP))
        least = np.append(least, np.full(i.size, SECOND_LIKENESS))
    still, moving = _likeness(own_a, own_b, across, begin, begin - lags, length)
    # As shares of what is possible: either may be what decides between two alignments.
    margin = (moving - least) / np.maximum(1 - least, 0.01)
    margin = np.minimum(margin, (still - STILL_LIKENESS) / (1 - STILL_LIKENESS))
    k = int(margin.argmax())
    overlap = min(n, m + int(lags[k])) - max(0, int(lags[k]))
    return _Match(float(margin[k]), float(moving[k]), overlap, backwards)


def _likeness(
    own_a: Double, own_b: Double, across: Double, begin_a: Index, begin_b: Index, length: Index
) -> tuple[Double, Double]:
    """Correlation of two clips' mean pictures, and of the change from them, over some stretches."""
    a, b = (begin_a, begin_a + length), (begin_b, begin_b + length)
    places = (across, a, b), (own_a, a, a), (own_b, b, b)
    common, level_a, level_b = (_block(*place) / length**2 for place in places)
    both, square_a, square_b = (_diagonal(*place) / length for place in places)
    change = (square_a - level_a) * (square_b - level_b)
    return (
        common / np.sqrt(np.maximum(level_a * level_b, _FLAT**4)),
        (both - common) / np.sqrt(np.maximum(change, _NOISE**4)),
    )


def _block(table: Double, rows: tuple[Index, Index], columns: tuple[Index, Index]) -> Double:
    """Sums over rectangles of a table, from (first, first) to before (last, last)."""
    (top, bottom), (left, right) = rows, columns
    sums = np.zeros((table.shape[0] + 1, table.shape[1] + 1))
    np.cumsum(table.cumsum(0), axis=1, out=sums[1:, 1:])
    return np.asarray(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left])


def _diagonal(table: Double, rows: tuple[Index, Index], columns: tuple[Index, Index]) -> Double:
    """Sums along the diagonals of such rectangles, which are squares."""
    n, m = table.shape
    # Row i moved i to the right, the last column first: a column holds what lies on a diagonal.
    skew = np.zeros((n, n + m))
    skew[:, :m] = table[:, ::-1]
    sums = np.zeros((n + 1, n + m - 1))
    np.cumsum(skew.reshape(-1)[:-n].reshape(n, n + m - 1), axis=0, out=sums[1:])
    along = rows[0] - columns[0] + m - 1
    return np.asarray(sums[rows[1], along] - sums[rows[0], along])


def _later(table: Double, t: float) -> Double:
    """Rows between the rows, `t` of a sample later, by Catmull and Rom's cubic; one row less."""
    if t == 0:
        return table
    longer = np.concatenate([table[:1], table, table[-1:]])
    before, beyond = t * (t * (2 - t) - 1) / 2, t * t * (t - 1) / 2
    here, after = t * t * (3 * t - 5) / 2 + 1, t * (t * (4 - 3 * t) + 1) / 2
    return before * longer[:-3] + here * longer[1:-2] + after * longer[2:-1] + beyond * longer[3:]


def _waves(made: Signature) -> Float:
    """Samples as frequencies; without the mean, so that a change of exposure is no change."""
    return made.reshape(len(made), -1).astype(np.float32) @ _BASIS


def _movement(waves: Float) -> float:
    """How far the samples are from their mean, rms, in grey levels."""
    return float(np.sqrt(waves.var(0).sum()) / SIDE)


def _static(a: Double | float, b: Double | float) -> npt.NDArray[np.bool_]:
    """Whether nothing moves in both; a poor encoding may make one of them flicker a little."""
    return (np.minimum(a, b) < MOVING_FLOOR) & (np.maximum(a, b) < 2 * MOVING_FLOOR)


def _unit(vectors: Float, least: float) -> Float:
    """Vectors of length 1; shorter ones where they are shorter than `least`."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, least), np.float32)


def _basis() -> tuple[Float, Float, Index, int]:
    """The DCT-II (pixels, frequencies) with its frequencies raised; signs of the mirror image.

    Also the columns that sketches are of, first the even horizontal frequencies, and their number.
    """
    at = np.arange(SIDE)
    wave = np.cos(np.pi * (at[:, None] + 0.5) * at / SIDE) * np.sqrt(2 / SIDE)
    wave[:, 0] /= np.sqrt(2)
    down, right = (grid.ravel()[1:] for grid in np.mgrid[:SIDE, :SIDE])
    gain = np.hypot(down, right) ** RAISED
    basis = np.einsum("ya,xb->yxab", wave, wave).reshape(SIDE**2, -1)[:, 1:] * gain
    basis /= np.sqrt((gain**2).mean())
    low = (down < _LOW) & (right < _LOW)
    even, odd = np.flatnonzero(low & (right % 2 == 0)), np.flatnonzero(low & (right % 2 == 1))
    signs = np.where(right % 2, -1, 1).astype(np.float32)
    return basis.astype(np.float32), signs, np.concatenate([even, odd]), len(even)


_BASIS, _MIRROR, _SKETCHED, _EVEN = _basis()
