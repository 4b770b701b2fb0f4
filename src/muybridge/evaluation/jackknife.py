"""Standard errors of any statistic of one or more sets of clips, by leaving groups of clips out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

# How much of the second-order part of the variance, which a jackknife counts twice, is taken off.
# All of it would be right on average; intervals cover a little more evenly with this much.
_TAKEN_OFF = 0.8


@dataclass(frozen=True)
class Side:
    """One set of clips in groups that are left out together.

    Attributes:
        group: of each clip, 0 to `groups` - 1, (n,).
        groups: how many.
        owners: how many.
    """

    group: Index
    groups: int
    owners: int

    def without(self, *left_out: int) -> Index:
        """Indices of the clips that are kept."""
        kept = np.ones(self.groups, bool)
        kept[list(left_out)] = False
        return np.flatnonzero(kept[self.group])

    @property
    def shares(self) -> Array:
        """Share of the clips in each group, (groups,)."""
        return np.bincount(self.group, minlength=self.groups) / len(self.group)


@dataclass(frozen=True)
class Jackknife:
    """A statistic, its standard error with degrees of freedom, and its bias to first order."""

    value: float
    error: float
    freedom: float
    bias: float


def numbered(owners: Sequence[object] | npt.NDArray[np.generic] | None, count: int) -> Index:
    """Owners as numbers from 0, (count,); every clip its own where there are none.

    Raises:
        ValueError: not as many owners as clips.
    """
    if owners is None:
        return np.arange(count)
    if len(owners) != count:
        raise ValueError(f"{len(owners)} owners of {count} clips")
    numbers = {owner: i for i, owner in enumerate(dict.fromkeys(owners))}
    return np.array([numbers[owner] for owner in owners], np.int64)


def side(
    count: int,
    owners: Sequence[object] | npt.NDArray[np.generic] | None,
    groups: int,
    seed: int,
) -> Side:
    """Clips in up to `groups` groups of like size, those of one owner together.

    Raises:
        ValueError: fewer than two owners.
    """
    owner = numbered(owners, count)
    sizes = np.bincount(owner)
    if len(sizes) < 2:
        raise ValueError(f"an interval needs two or more owners of clips, not {len(sizes)}")
    random = np.random.Generator(np.random.PCG64(seed))
    groups = min(groups, len(sizes))
    order = random.permutation(len(sizes))
    filled, home = np.zeros(groups), np.empty(len(sizes), np.int64)
    if np.ptp(sizes) == 0:
        home[order] = np.arange(len(sizes)) % groups
        return Side(home[owner], groups, len(sizes))
    # Largest first, each into the emptiest group: sizes differ as little as can be had cheaply.
    for number in order[np.argsort(-sizes[order], kind="stable")]:
        home[number] = filled.argmin()
        filled[home[number]] += sizes[number]
    return Side(home[owner], groups, len(sizes))


def variance(statistic: Callable[[list[Index]], float], sides: Sequence[Side]) -> Jackknife:
    """Leaves groups out in turn, on each side apart.

    The variance is the sum over sides of that of what each group adds to the statistic (`spread`).
    A jackknife counts twice the part of the variance that comes of pairs of clips (Efron and Stein
    1981), which is most of it where generated and real clips are distributed alike: that part is
    estimated from pairs of groups left out together, within a side and across, and a share of it is
    taken off.

    Args:
        statistic: of the clips that are kept, given by index on each side.
        sides: the sets of clips.

    Raises:
        ValueError: the statistic is not finite; or as it raises itself.
    """
    whole = [s.without() for s in sides]

    def at(changed: dict[int, Index]) -> float:
        kept = [changed.get(i, every) for i, every in enumerate(whole)]
        found = float(statistic(kept))
        if not math.isfinite(found):
            raise ValueError(f"a statistic of {[len(k) for k in kept]} clips is {found}")
        return found

    value = at({})
    single = [
        np.array([at({i: s.without(g)}) for g in range(s.groups)]) for i, s in enumerate(sides)
    ]
    added = [(1 - s.shares) * (value - found) for s, found in zip(sides, single, strict=True)]
    spreads = []
    for s, more in zip(sides, added, strict=True):
        part, freedom = spread(more, s.shares)
        spreads.append((part, _lessened(freedom, more)))
    twice = sum(_within(at, value, i, s, single[i]) for i, s in enumerate(sides))
    for i, k in combinations(range(len(sides)), 2):
        twice += _across(at, value, (i, k), (sides[i], sides[k]), (single[i], single[k]))
    total = sum(part for part, _ in spreads)
    once = total - _TAKEN_OFF * min(twice, total / 2)
    # Welch's and Satterthwaite's, of a sum of variances.
    squares = sum(part * part / freedom for part, freedom in spreads)
    freedom = total * total / squares if squares else sum(freedom for _, freedom in spreads)
    return Jackknife(value, float(np.sqrt(once)), freedom, -float(sum(a.sum() for a in added)))


def spread(added: Array, shares: Array) -> tuple[float, float]:
    """Variance of a sum, and its degrees of freedom, from what each group or owner adds to it.

    Each square is taken over the share of its variance that is left after the mean is taken off;
    the degrees of freedom are Satterthwaite's. Both are for groups whose means vary alike (Bell
    and McCaffrey 2002); of groups of one size they are the textbook's.

    Args:
        added: by each group: a mean's is its share times its own mean less the whole mean.
        shares: of the clips, summing to 1.
    """
    added = added - shares * added.sum()
    left = 1 - 2 * shares + np.square(shares).sum()
    found = float((np.square(added) / left).sum())
    if np.ptp(shares) == 0:
        return found, float(len(shares) - 1)
    # Trace(M)^2 / trace(M M) of the quadratic form that it is of the groups' means.
    form = np.square(shares).sum() - np.add.outer(shares, shares)
    np.fill_diagonal(form, left)
    form *= np.outer(shares, shares) / np.sqrt(np.outer(left, left))
    return found, max(1.0, float(np.trace(form) ** 2 / np.square(form).sum()))


def _lessened(freedom: float, added: Array) -> float:
    """Degrees of freedom where some groups add far more than others: of heavy tails.

    A variance of n values of excess kurtosis k varies as if of 1 / (1 / freedom + k / 2n) degrees.
    So few groups show too little of k: by simulation twice as much makes intervals cover.
    """
    n, squares = len(added), np.square(added - added.mean())
    if n < 4 or not squares.any():
        return freedom
    excess = n * np.square(squares).sum() / squares.sum() ** 2 - 3
    unbiased = ((n + 1) * excess + 6) * (n - 1) / ((n - 2) * (n - 3))
    return max(1.0, 1 / (1 / freedom + max(0.0, float(unbiased)) / n))


def _within(
    at: Callable[[dict[int, Index]], float], value: float, i: int, s: Side, single: Array
) -> float:
    """Variance from pairs of clips of one side: second differences of neighbouring groups."""
    if s.groups < 4:
        return 0.0
    after = np.roll(np.arange(s.groups), -1)
    both = np.array([at({i: s.without(g, h)}) for g, h in enumerate(after.tolist())])
    # Weighted so that nothing is left of a mean over clips.
    kept, kept_after = 1 - s.shares, 1 - s.shares[after]
    second = value - kept * single - kept_after * single[after] + (kept + kept_after - 1) * both
    factor = s.groups * (s.groups - 3) ** 2 / (2 * (s.groups - 1))
    return float(second.var(ddof=1)) * factor


def _across(
    at: Callable[[dict[int, Index]], float],
    value: float,
    numbers: tuple[int, int],
    pair: tuple[Side, Side],
    single: tuple[Array, Array],
) -> float:
    """Variance from pairs of clips of two sides."""
    (i, k), (one, other) = numbers, pair
    count = max(one.groups, other.groups)
    first, second = np.arange(count) % one.groups, np.arange(count) % other.groups
    places = zip(first.tolist(), second.tolist(), strict=True)
    both = [at({i: one.without(g), k: other.without(h)}) for g, h in places]
    difference = value - single[0][first] - single[1][second] + np.array(both)
    return float(difference.var(ddof=1)) * (one.groups - 1) * (other.groups - 1)
