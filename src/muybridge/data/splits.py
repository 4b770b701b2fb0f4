"""Train, validation and test without leaks: what belongs together stays on one side."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from ..core.errors import DataError
from ..core.progress import say

NAMES = ("train", "validation", "test")

# What moving a group away from where its own chance puts it costs, in squared standard deviations
# of the counts that a split by chance alone would have: below it, imbalance is left as it is. More
# keeps more groups where they were when footage is added; less makes the shares more even.
STAY = 0.05
# Pairs of groups tried for an exchange, nearest first.
EXCHANGED = 48
# A gain below this is rounding.
LEAST = 1e-9
# Of a split without a share, from any group: no sum of draws comes near.
FAR = 1e9

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def split(
    keys: Sequence[str],
    groups: Sequence[int],
    labels: Sequence[Sequence[str]],
    wanted: Sequence[str],
    ratios: tuple[float, float, float],
    seed: int,
    before: Mapping[str, str] | None = None,
) -> list[str]:
    """Chooses a split for each clip: groups whole, labels in proportion, old footage in its place.

    Each group has a place of its own, drawn from the seed and its key alone (weighted rendezvous
    hashing; Thaler & Ravishankar 1998, "Using name-based mappings to increase hit rates"). That
    gives the ratios but for chance. Then groups are moved, those first that are nearest to another
    split by their own draw, until the clips and each label's clips are in proportion as well as
    whole groups allow (the aim of Sechidis, Tsoumakas & Vlahavas 2011, "On the stratification of
    multi-label data", for groups in place of single examples, and by descent in place of dealing,
    which would deal all anew for one more clip). So:

    - The order of the clips is of no matter, nor is where the files lie.
    - With `before`, a group seen before stays in its split, always, unless the labels file asks for
      another. A group that was on two sides, or is asked for on two, goes to the side that must
      stay unseen: test before validation before train.
    - Without it, groups move only where the balance needs it. When a tenth is added, 2 of a hundred
      move where 300 groups have one label, 8 where they have ten, 5 where 1000 have twenty (means
      over seeds); iterative stratification anew moves 26 to 35.

    Args:
        keys: what identifies each clip's content wherever its file lies and whatever the settings
            are (the digest of the file and the time in it).
        groups: clips of one number show the same footage.
        labels: of each clip, all that each split should hold in proportion: action, objects.
        wanted: a split that the labels file asks for, or "". A split that nobody asks for takes its
            share from those who ask for train when there are no others.
        ratios: shares of train, validation and test, in any unit; 0 leaves a split empty.
        seed: of the places.
        before: the split of each key in an earlier dataset.

    Returns:
        "train", "validation" or "test" for each clip.

    Raises:
        DataError: ratios that are none, fewer groups than splits, or none left to train on.
    """
    shares = _shares(ratios)
    pieces = _pieces(keys, groups, labels, shares, seed)
    needed = int((shares > 0).sum())
    if len(pieces.names) < needed:
        raise DataError(
            f"{len(keys)} clips come from {len(pieces.names)} independent pieces of footage; "
            f"train, validation and test need at least one each, so {needed}",
            "add footage: copies, re-encodings and mirror images count as one piece; or set a "
            "ratio to 0 to do without that split",
        )
    asked = _sides(pieces, wanted, "asked for in")
    earlier = _sides(pieces, [(before or {}).get(key, "") for key in keys], "earlier in")
    fixed = np.where(asked >= 0, asked, earlier)
    side = np.where(fixed >= 0, fixed, pieces.cost.argmin(1))
    _balance(_Counts(pieces, side, shares, fixed < 0))
    _take_from_train(pieces, side, shares, asked, earlier)
    _fill(pieces, side, shares, fixed)
    chosen = {group: NAMES[number] for group, number in zip(pieces.names, side, strict=True)}
    return [chosen[group] for group in groups]


def check(groups: Sequence[int], splits: Sequence[str]) -> None:
    """Raises DataError if any group is on two sides."""
    sides: dict[int, set[str]] = defaultdict(set)
    for group, name in zip(groups, splits, strict=True):
        sides[group].add(name)
    torn = [group for group, names in sides.items() if len(names) > 1]
    if torn:
        raise DataError(
            f"groups {torn[:5]} are on two sides of the split", "prepare the dataset again"
        )


def _shares(ratios: tuple[float, float, float]) -> Floats:
    shares = np.asarray(ratios, np.float64)
    if not (np.isfinite(shares).all() and (shares >= 0).all() and shares[0] > 0):
        raise DataError(
            f"ratios of train, validation and test are {', '.join(map(str, ratios))}",
            "give three numbers from 0, as 0.8, 0.1, 0.1; that of train must be above 0",
        )
    return np.asarray(shares / shares.sum())


@dataclass(frozen=True)
class _Pieces:
    """The groups, in an order of their own, and what each holds, as a sparse table."""

    names: list[int]
    members: list[list[int]]  # indices of clips
    cost: Floats  # (groups, 3): of being in each split, the least 0
    row: Integers  # of each entry of the table: its group,
    column: Integers  # its label, with 0 for any clip at all,
    count: Floats  # and how many clips of the group have the label
    width: int  # labels, and one

    def table(self, rows: Integers) -> Floats:
        """Those rows of the table in full, float64 (rows, width)."""
        full = np.zeros((len(rows), self.width))
        for i, row in enumerate(rows):
            entries = slice(*np.searchsorted(self.row, (row, row + 1)))
            full[i, self.column[entries]] = self.count[entries]
        return full


def _pieces(
    keys: Sequence[str],
    groups: Sequence[int],
    labels: Sequence[Sequence[str]],
    shares: Floats,
    seed: int,
) -> _Pieces:
    members: dict[int, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    # A group's chance is that of its least key's hash, so that one more copy seldom changes it.
    chances = [hashlib.sha256(f"{seed}:{key}".encode()).digest() for key in keys]
    order = {
        group: sorted((chances[i], keys[i], sorted(labels[i])) for i in own)
        for group, own in members.items()
    }
    names = sorted(members, key=order.__getitem__)
    cost = np.array([_places(order[group][0][0], shares) for group in names])
    columns = {label: i for i, label in enumerate(sorted({n for own in labels for n in own}), 1)}
    entries = []
    for row, group in enumerate(names):
        held = Counter(columns[label] for i in members[group] for label in set(labels[i]))
        entries += [(row, 0, len(members[group]))] + [(row, c, n) for c, n in sorted(held.items())]
    table = np.array(entries, np.int64)
    return _Pieces(
        names, [members[group] for group in names], cost, table[:, 0], table[:, 1],
        table[:, 2].astype(np.float64), len(columns) + 1,
    )  # fmt: skip


def _places(chance: bytes, shares: Floats) -> list[float]:
    """How far each split is from a group: exponential draws over the shares, less the least, which
    is that of each split as often as its share says."""
    chance = hashlib.sha256(chance).digest()  # anew, for the least of several is no longer even
    draws = [int.from_bytes(chance[8 * i : 8 * i + 8], "big") for i in range(3)]
    times = [
        -math.log((draw + 1) / 2**64) / share if share > 0 else FAR
        for draw, share in zip(draws, shares, strict=True)
    ]
    return [time - min(times) for time in times]


def _sides(pieces: _Pieces, said: Sequence[str], how: str) -> Integers:
    """The split said of each group, -1 where none is; of several that which must stay unseen."""
    found = [[NAMES.index(said[i]) for i in own if said[i]] for own in pieces.members]
    torn = [set(sides) for sides in found if len(set(sides)) > 1]
    if torn:
        moved = ", ".join(
            f"{count} to {NAMES[side]}" for side, count in sorted(Counter(map(max, torn)).items())
        )
        say(
            f"pieces of footage {how} more than one split: {len(torn)}; each goes to the side "
            f"that must stay unseen ({moved})"
        )
    return np.array([max(sides, default=-1) for sides in found], np.int64)


class _Counts:
    """Where all groups stand: how far each split's counts of clips are from what they should be.

    Args:
        pieces: the groups.
        side: the split of each; kept, and changed by `move`.
        shares: of each split, in any unit; 0 for one that takes no more groups.
        free: the groups that may move. Where those that may not are too many for a split already,
            the other splits share what is left in their proportions.
    """

    def __init__(
        self, pieces: _Pieces, side: Integers, shares: Floats, free: npt.NDArray[np.bool_]
    ) -> None:
        self.pieces, self.side, self.open = pieces, side, np.flatnonzero(shares > 0)
        self.free = np.flatnonzero(free)
        part, now = shares / shares.sum(), self._count(np.ones_like(free))
        self.over = now - _shared_out(self._count(~free), now.sum(0), part)
        # One over the variance of a split by chance, so that each label weighs the same, and all
        # clips together as much as all labels.
        spread = np.bincount(pieces.column, pieces.count**2, pieces.width)
        self.weight = (part > 0)[:, None] / np.maximum(part * (1 - part), 1e-9)[:, None] / spread
        self.weight[:, 0] *= max(pieces.width - 1, 1)
        among = free[pieces.row]
        row = (np.cumsum(free) - 1)[pieces.row[among]]
        self.entries = row, pieces.column[among], pieces.count[among]
        squares = [
            np.bincount(row, self.entries[2] ** 2 * own[self.entries[1]], len(self.free))
            for own in self.weight
        ]
        self.own = np.stack(squares, 1)

    def _count(self, among: npt.NDArray[np.bool_]) -> Floats:
        """Clips of those groups in each split of each label, (3, width)."""
        pieces = self.pieces
        places = self.side[pieces.row] * pieces.width + pieces.column
        weights = pieces.count * among[pieces.row]
        return np.asarray(np.bincount(places, weights, 3 * pieces.width).reshape(3, -1), np.float64)

    def gains(self) -> Floats:
        """What moving each free group to each split takes off the imbalance, (free, 3)."""
        row, column, count = self.entries
        here = np.arange(len(self.free)), self.side[self.free]
        # The change of weight * over**2 is 2 * over * count and the square's own part.
        pull = np.empty_like(self.own)
        for to, force in enumerate(2 * self.weight * self.over):
            pull[:, to] = np.bincount(row, count * force[column], len(self.free))
        cost = STAY * self.pieces.cost[self.free]
        gain = (pull[here] - self.own[here] + cost[here])[:, None] - pull - self.own - cost
        gain[here] = 0.0
        return np.asarray(gain)

    def move(self, group: int, to: int) -> None:
        """Moves one group."""
        held = self.pieces.table(np.array([group]))[0]
        self.over[self.side[group]] -= held
        self.over[to] += held
        self.side[group] = to


def _shared_out(fixed: Floats, totals: Floats, part: Floats) -> Floats:
    """Clips that each split should have of each label (3, width), no fewer than are fixed there."""
    full = np.broadcast_to((part <= 0)[:, None], fixed.shape)
    for _ in NAMES:
        rest = totals - (fixed * full).sum(0)
        portion = np.where(full, 0.0, part[:, None])
        wanted = np.where(full, fixed, portion / np.maximum(portion.sum(0), 1e-9) * rest)
        full = full | (fixed > wanted)
    return wanted


def _balance(counts: _Counts) -> None:
    """Moves and exchanges free groups, the best first, while that makes the shares more even."""
    while len(counts.free) and len(counts.open) > 1:
        gains = counts.gains()
        allowed = gains[:, counts.open]
        row, column = np.unravel_index(int(allowed.argmax()), allowed.shape)
        if allowed[row, column] > LEAST:
            counts.move(int(counts.free[row]), int(counts.open[column]))
        elif not _exchange(counts, gains):
            return


def _exchange(counts: _Counts, gains: Floats) -> bool:
    """Exchanges the two groups for which that is best, if it is good at all."""
    best, pair = LEAST, None
    for first, second in combinations(counts.open, 2):
        there = _promising(gains[:, second], counts.side[counts.free] == first)
        back = _promising(gains[:, first], counts.side[counts.free] == second)
        if not len(there) or not len(back):
            continue
        goes, comes = counts.free[there], counts.free[back]
        weight = counts.weight[first] + counts.weight[second]
        both = 2 * (counts.pieces.table(goes) * weight) @ counts.pieces.table(comes).T
        total = gains[there, second][:, None] + gains[back, first][None] + both
        if total.max() > best:
            best = float(total.max())
            i, j = np.unravel_index(int(total.argmax()), total.shape)
            pair = (int(goes[i]), int(second)), (int(comes[j]), int(first))
    for group, to in pair or ():
        counts.move(group, to)
    return pair is not None


def _promising(gain: Floats, own: npt.NDArray[np.bool_]) -> Integers:
    among = np.flatnonzero(own)
    return among[np.argsort(-gain[among], kind="stable")[:EXCHANGED]]


def _take_from_train(
    pieces: _Pieces, side: Integers, shares: Floats, asked: Integers, earlier: Integers
) -> None:
    """Gives a split that nobody asks for its share of those who asked for train, where there are no
    others: lists as UCF's have no validation. Those it took earlier it keeps."""
    empty = [i for i in (1, 2) if shares[i] > 0 and not (side == i).any()]
    givers = asked == 0
    if not empty or not givers.any() or ((asked < 0) & (earlier < 0)).any():
        return
    among = np.where([i == 0 or i in empty for i in range(3)], shares, 0.0)
    known = givers & np.isin(earlier, [0, *empty])
    side[known] = earlier[known]
    new = givers & ~known
    side[new] = np.where(among > 0, pieces.cost[new], math.inf).argmin(1)
    _balance(_Counts(pieces, side, among, new))
    taken = ", ".join(f"{int((side[givers] == i).sum())} to {NAMES[i]}" for i in empty)
    say(f"nothing is asked for in {' or '.join(NAMES[i] for i in empty)}; of train's go {taken}")


def _fill(pieces: _Pieces, side: Integers, shares: Floats, fixed: Integers) -> None:
    """Moves one group into each split that got none: a free one, else one that was to be trained
    on, never one that must stay unseen."""
    for to in range(3):
        if shares[to] == 0 or (side == to).any():
            continue
        counts = np.bincount(side, minlength=3)
        for may in ((fixed < 0) & (counts[side] > 1), (side == 0) & (counts[side] > 1)):
            if may.any():
                gains = _Counts(pieces, side, shares, may).gains()[:, to]
                side[np.flatnonzero(may)[int(gains.argmax())]] = to
                break
        else:
            others = " and ".join(NAMES[i] for i in np.flatnonzero(counts))
            raise DataError(
                f"no footage is left for {NAMES[to]}: all of it is asked for, or was earlier, in "
                f"{others}",
                "change the split column or folders, prepare into a new folder"
                + (f", or set the ratio of {NAMES[to]} to 0" if to else ""),
            )
