"""Which clips show the same footage: copies, mirror images, reversals, and overlapping excerpts.

Candidates come from products of a few low frequencies of sampled pictures; each is then compared
with the other clip at every alignment, over the whole of their overlap: clips hold no cut, so two
excerpts of one footage agree from where the later begins to where the earlier ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Signature = npt.NDArray[np.uint8]
Float = npt.NDArray[np.float32]
RATE, SIDE = 8, 16

# Samples that two clips must share: a second. Shorter clips must lie within the other.
LEAST_OVERLAP = 8
# TODO measured
STILL_LIKENESS = 0.95
MOVING_LIKENESS, CHANCE = 0.80, 0.80
SECOND_LIKENESS = 0.97
STATIC_LIKENESS = 0.995
# Change below this (rms, in grey levels of 255) is noise, and says nothing about likeness.
MOVING_FLOOR = 0.8

# Candidates: every fourth sample of one clip against every second of the other, so that an overlap
# of a second is met twice, by samples an eighth of a second apart at most.
_ASKED, _HELD = 4, 2
_FREQUENCIES = 7
_CANDIDATE_STILL, _CANDIDATE_CHANGE = 0.94, 0.83
# Pictures of less contrast than a grey level have nothing to compare.
_FLAT = float(SIDE)
# A pair this far off at whole samples is none between them either.
_HOPELESS = -0.3
_BLOCK, _ROWS, _COLUMNS = 64, 256, 2048


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
        frames: (time, height, width, 3) uint8 RGB.
        fps: frames per second.

    Returns:
        (samples, 16, 16) uint8 grey levels, `RATE` samples a second, at least one.
    """
    import cv2

    small = np.stack(
        [
            cv2.resize(
                cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_AREA
            )
            for frame in frames
        ]
    )
    ends = np.arange(len(frames) + 1) * (RATE / fps)
    centres = np.arange(max(1, int(ends[-1] + 1e-6))) + 0.5
    away = np.clip(ends - centres[:, None], -1, 1)
    # The triangle's integral up to each frame's end: differences are the frames' shares in it.
    weights = np.diff(away - away * np.abs(away) / 2, axis=1)
    weights /= weights.sum(1, keepdims=True)
    mean = weights @ small.reshape(len(small), -1).astype(np.float64)
    return np.rint(mean).astype(np.uint8).reshape(-1, SIDE, SIDE)


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


def _join(group: npt.NDArray[Any], i: int, j: int) -> None:
    """Makes two groups one, under the lower number."""
    low, high = sorted((group[i], group[j]))
    if low != high:
        group[group == high] = low


def _found(signatures: Sequence[Signature], group: npt.NDArray[Any]) -> Iterator[Pair]:
    """Pairs across groups; it joins them in `group` as it goes."""
    sketch = _Sketch.of(signatures)
    for first, mirrored, others in _candidates(sketch):
        others = others[group[others] != group[first]]
        if not len(others):
            continue
        for second in others[_moving_alike(sketch, first, others, mirrored)].tolist():
            if group[first] == group[second]:
                continue
            pair = _compared(signatures, first, second, mirrored)
            if pair is not None:
                _join(group, first, second)
                yield pair


@dataclass(frozen=True)
class _Sketch:
    """Low frequencies (DCT-II) of every sample of every clip, each of unit length.

    Mirroring a picture changes the sign of its odd horizontal frequencies and nothing else, so
    that products over even and odd ones give the likeness to a clip and to its mirror image.

    Attributes:
        starts: (clips + 1,) first sample of each clip.
        still: (samples, frequencies) of the pictures.
        change: (samples, frequencies) of the difference between half a second's ends.
        moves: (clips,) whether anything does.
    """

    starts: npt.NDArray[np.int64]
    still: Float
    change: Float
    moves: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, signatures: Sequence[Signature]) -> _Sketch:
        stills, changes, moves = [], [], []
        for made in signatures:
            waves = _vectors(made) @ _WAVES
            half = min(2, (len(waves) - 1) // 2)
            change = np.zeros_like(waves)
            if half:
                change[half:-half] = waves[2 * half :] - waves[: -2 * half]
            stills.append(_unit(waves, _FLAT))
            changes.append(_unit(change, SIDE * MOVING_FLOOR))
            moves.append(_movement(_vectors(made)) > MOVING_FLOOR)
        none = np.zeros((0, _WAVES.shape[1]), np.float32)
        return cls(
            np.cumsum([0, *map(len, signatures)]),
            np.concatenate([none, *stills]),
            np.concatenate([none, *changes]),
            np.array(moves, bool),
        )


def _candidates(sketch: _Sketch) -> Iterator[tuple[int, bool, npt.NDArray[np.int64]]]:
    """For each clip, as it is and mirrored, the later ones with a picture like one of its own."""
    count = len(sketch.starts) - 1
    clip_of = np.repeat(np.arange(count), np.diff(sketch.starts))
    within = np.arange(len(clip_of)) - sketch.starts[clip_of]
    asked, held = np.flatnonzero(within % _ASKED == 0), np.flatnonzero(within % _HELD == 0)
    for begin in range(0, count, _BLOCK):
        rows = asked[(clip_of[asked] >= begin) & (clip_of[asked] < begin + _BLOCK)]
        columns = held[clip_of[held] >= begin]
        # A table of clips by clips, not of samples by samples: that is what bounds the memory.
        alike = np.zeros((_BLOCK, 2, count), bool)
        for some in _chunks(rows, _ROWS):
            for others in _chunks(columns, _COLUMNS):
                for mirrored, likeness in enumerate(
                    _both(sketch.still[some], sketch.still[others])
                ):
                    y, x = np.nonzero(likeness > _CANDIDATE_STILL)
                    alike[clip_of[some[y]] - begin, mirrored, clip_of[others[x]]] = True
        for first in range(begin, min(begin + _BLOCK, count)):
            for mirrored in (False, True):
                later = np.flatnonzero(alike[first - begin, int(mirrored), first + 1 :])
                if len(later):
                    yield first, mirrored, later + first + 1


def _chunks(values: npt.NDArray[np.int64], size: int) -> Iterator[npt.NDArray[np.int64]]:
    for begin in range(0, len(values), size):
        yield values[begin : begin + size]


def _both(a: Float, b: Float) -> tuple[Float, Float]:
    """Products of two sets of sketches, and of the first with the second's mirror images."""
    even, odd = a[:, :_EVEN] @ b[:, :_EVEN].T, a[:, _EVEN:] @ b[:, _EVEN:].T
    return even + odd, even - odd


def _moving_alike(
    sketch: _Sketch, first: int, others: npt.NDArray[np.int64], mirrored: bool
) -> npt.NDArray[np.bool_]:
    """Which of the others change somewhere as the first does, forwards or backwards.

    Without it all clips of one place would be compared at every alignment.
    """
    starts = sketch.starts
    asked = np.arange(starts[first], starts[first + 1])[:: _ASKED // 2]
    lengths = starts[others + 1] - starts[others]
    firsts = np.cumsum(lengths) - lengths
    held = np.repeat(starts[others] - firsts, lengths) + np.arange(lengths.sum())
    likeness = _both(sketch.change[asked], sketch.change[held])[int(mirrored)]
    most = np.maximum.reduceat(np.abs(likeness).max(0), firsts)
    still = ~sketch.moves[first] & ~sketch.moves[others]
    return np.asarray(still | (most > _CANDIDATE_CHANGE))


def _compared(
    signatures: Sequence[Signature], first: int, second: int, mirrored: bool
) -> Pair | None:
    """The pair that two clips make at their best alignment, if they make one."""
    a, b = _vectors(signatures[first]), _vectors(signatures[second][:, :, :: -1 if mirrored else 1])
    if _movement(a) <= MOVING_FLOOR and _movement(b) <= MOVING_FLOOR:
        likeness = float(_unit(a.mean(0), _FLAT) @ _unit(b.mean(0), _FLAT))
        if likeness <= STATIC_LIKENESS:
            return None
        how = "mirrored" if mirrored else "copy"
        return Pair(first, second, how, likeness, min(len(a), len(b)) / RATE)
    best = _Match(-1.0, 0.0, 0)
    reverse = False
    for place, shifted in enumerate(_between(a)):
        for backwards in (False, True):
            match = _best(shifted, b[::-1] if backwards else b)
            if match.margin > best.margin:
                best, reverse = match, backwards
        if place == 0 and best.margin < _HOPELESS:
            return None
    if best.margin <= 0:
        return None
    names = [name for name, so in (("mirrored", mirrored), ("reversed", reverse)) if so]
    how = " and ".join(names) or "copy"
    return Pair(first, second, how, min(best.likeness, 1.0), best.overlap / RATE)


class _Match(NamedTuple):
    """How far two clips are above what makes a pair, likeness there, and overlap in samples."""

    margin: float
    likeness: float
    overlap: int


def _best(a: Float, b: Float) -> _Match:
    """The best of all alignments of two clips to a whole sample."""
    overlap, still, moving = _at_every_lag(a, b)
    margin = np.minimum(still - STILL_LIKENESS, moving - MOVING_LIKENESS - CHANCE / overlap)
    margin[overlap < min(LEAST_OVERLAP, len(a), len(b))] = -1
    lag = int(margin.argmax())
    whole = _Match(float(margin[lag]), float(moving[lag]), int(overlap[lag]))
    if min(len(a), len(b)) < LEAST_OVERLAP:
        return whole
    still, moving = _every_second(a, b)
    margin = np.minimum(still - STILL_LIKENESS, moving - SECOND_LIKENESS)
    i, j = np.unravel_index(int(margin.argmax()), margin.shape)
    shared = min(len(a), len(b) + int(i - j)) - max(0, int(i - j))
    second = _Match(float(margin[i, j]), float(moving[i, j]), shared)
    return max(whole, second)


def _at_every_lag(a: Float, b: Float) -> tuple[npt.NDArray[np.int64], Float, Float]:
    """Overlap in samples, and likeness over it of the mean pictures and of the change from them.

    Entry k is for b's first sample lying k - (len(b) - 1) samples after a's first.
    """
    n, m = len(a), len(b)
    lags = np.arange(1 - m, n)
    begin, end = np.maximum(lags, 0), np.minimum(lags + m, n)
    overlap = end - begin
    # Row i of the products a[i] b[j], last j first, moved i to the right: column i - j + m - 1.
    table = np.zeros((n, n + m), np.float32)
    table[:, :m] = a @ b[::-1].T
    products = table.reshape(-1)[:-n].reshape(n, n + m - 1).sum(0) / overlap
    mean_a, square_a = _over(a, begin, end)
    mean_b, square_b = _over(b, begin - lags, end - lags)
    common = (mean_a * mean_b).sum(1)
    level_a, level_b = (mean_a**2).sum(1), (mean_b**2).sum(1)
    still = _correlation(common, level_a * level_b, _FLAT)
    change = (square_a - level_a) * (square_b - level_b)
    return overlap, still, _correlation(products - common, change, SIDE * MOVING_FLOOR)


def _every_second(a: Float, b: Float) -> tuple[Float, Float]:
    """The same two likenesses of each second of one clip and each second of the other."""
    n, m = len(a) - LEAST_OVERLAP + 1, len(b) - LEAST_OVERLAP + 1
    table = a @ b.T
    products = sum(table[k : k + n, k : k + m] for k in range(LEAST_OVERLAP)) / LEAST_OVERLAP
    mean_a, square_a = _over(a, np.arange(n), np.arange(n) + LEAST_OVERLAP)
    mean_b, square_b = _over(b, np.arange(m), np.arange(m) + LEAST_OVERLAP)
    common = mean_a @ mean_b.T
    level_a, level_b = (mean_a**2).sum(1), (mean_b**2).sum(1)
    still = _correlation(common, np.outer(level_a, level_b), _FLAT)
    change = np.outer(square_a - level_a, square_b - level_b)
    return still, _correlation(products - common, change, SIDE * MOVING_FLOOR)


def _correlation(product: Float, squares: Float, least: float) -> Float:
    """Products over lengths, of which `squares` is the product's square; each at least `least`."""
    return product / np.sqrt(np.maximum(squares, least**4))


def _over(
    clip: Float, begin: npt.NDArray[np.int64], end: npt.NDArray[np.int64]
) -> tuple[Float, Float]:
    """Mean picture, and mean square of the pictures, from each beginning to each end."""
    sums = np.concatenate([np.zeros_like(clip[:1]), clip.cumsum(0)])
    squares = np.concatenate([[0], (clip**2).sum(1).cumsum()])
    length = end - begin
    return (sums[end] - sums[begin]) / length[:, None], (squares[end] - squares[begin]) / length


def _between(clip: Float) -> Iterator[Float]:
    """The clip, and what it shows a quarter, a half and three quarters of a sample later."""
    yield clip
    longer = np.concatenate([clip[:1], clip, clip[-1:]])
    for t in (0.25, 0.5, 0.75):  # Catmull and Rom's cubic through four samples
        before, here = t * (t * (2 - t) - 1) / 2, t * t * (3 * t - 5) / 2 + 1
        after, beyond = t * (t * (4 - 3 * t) + 1) / 2, t * t * (t - 1) / 2
        yield (
            before * longer[:-3] + here * longer[1:-2] + after * longer[2:-1] + beyond * longer[3:]
        )


def _vectors(made: Signature) -> Float:
    """Samples as vectors without their mean, so that a change of exposure is no change."""
    flat = made.reshape(len(made), -1).astype(np.float32)
    return flat - flat.mean(1, keepdims=True)


def _movement(vectors: Float) -> float:
    """How far the pixels are from their mean over time, rms, in grey levels."""
    return float(np.sqrt(vectors.var(0).mean()))


def _unit(vectors: Float, least: float) -> Float:
    """Vectors of length 1; shorter ones where they are shorter than `least`."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), least)


def _waves() -> tuple[Float, int]:
    """Low frequencies as columns (pixels, frequencies), and how many of them are even."""
    at = np.arange(_FREQUENCIES)
    wave = np.cos(np.pi * (np.arange(SIDE)[:, None] + 0.5) * at / SIDE) * np.sqrt(2 / SIDE)
    wave[:, 0] /= np.sqrt(2)
    every = np.einsum("ya,xb->yxba", wave, wave).reshape(SIDE * SIDE, len(at), len(at))
    even, odd = every[:, ::2].reshape(SIDE**2, -1)[:, 1:], every[:, 1::2].reshape(SIDE**2, -1)
    return np.concatenate([even, odd], 1).astype(np.float32), even.shape[1]


_WAVES, _EVEN = _waves()
