"""Whether one system is better than another, or whether chance would do.

Every difference is first minus second. Of several measures in one table some would seem to differ
by chance, so the words "better" and "worse" are said by p values after Holm's (1979) correction
over all rows: where equal systems are compared, any such word stands in 5 % of tables. Intervals
are each measure's own, without that correction: one may leave zero out and be "not told apart".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from . import intervals, jackknife, student
from .intervals import Owners, Statistic
from .manifest import Score, unlike

Array = npt.NDArray[np.float64]
Verdict = Literal["better", "worse", "not told apart"]

LEVEL = 0.05
_NORMAL = 1.959963984540054
# Manifest fields that say which clips or conditions, in order, `values` belong to.
_PAIRED_BY = ("names_digest", "conditions", "run_conditions")
_FLIPS = 9999


@dataclass(frozen=True)
class Difference:
    """First minus second, of one measure.

    Attributes:
        name: of the measure.
        values: of the first and of the second.
        better: as in `Score`.
        difference: first minus second; of the distances to the target where `better` is "near".
        interval: 95 %, of `difference`; None where a score has none.
        p: how often equal systems would differ as much, or None.
        corrected: p after Holm's correction over the table; the verdict goes by it.
        verdict: of the first.
        method: how `interval` and `p` were found.
    """

    name: str
    values: tuple[float, float]
    better: Literal["lower", "higher", "near"]
    difference: float
    interval: tuple[float, float] | None
    p: float | None
    corrected: float | None = None
    verdict: Verdict = "not told apart"
    method: str = ""


@dataclass(frozen=True)
class Refused:
    """A measure that was not compared: the field in which the two differ, and both values."""

    name: str
    field: str
    values: tuple[str, str]


@dataclass(frozen=True)
class Comparison:
    """All measures that two systems have in common, and why others are not compared."""

    rows: tuple[Difference, ...]
    refused: tuple[Refused, ...]

    def as_json(self, against: str) -> dict[str, Any]:
        """Plain values for `scores.json`; `against` names the second system."""
        rows = [
            {
                "name": row.name, "values": list(row.values), "difference": row.difference,
                "interval": list(row.interval) if row.interval else None, "p": row.p,
                "p_corrected": row.corrected, "verdict": row.verdict, "better": row.better,
                "method": row.method,
            }
            for row in self.rows
        ]  # fmt: skip
        refused = [
            {"name": r.name, "field": r.field, "values": list(r.values)} for r in self.refused
        ]
        return {"against": against, "rows": rows, "refused": refused}


def compare(
    first: Sequence[Score],
    second: Sequence[Score],
    owners: Owners = None,
    *,
    told: Sequence[Difference] = (),
    seed: int = 0,
) -> Comparison:
    """Compares the scores of two systems, name by name.

    Where both have the values of each clip and their manifests name the same clips or conditions
    (`names_digest` or `conditions`), the test is paired: p by changing the two systems' places at
    random, condition by condition (exact for equal systems), the interval by t of the differences.
    Otherwise the difference is judged by both scores' own intervals (Zou and Donner 2008), as if
    the two were independent; distances of two systems to the same real clips are not, and for them
    this is too cautious: see `compare_statistic`.

    Args:
        first: scores of the one system.
        second: of the other.
        owners: of the clips of `Score.values`: what each belongs to, (n,); clips of one owner
            change places together.
        told: differences that were found otherwise, as by `compare_statistic`; each takes the
            place of the row of its name.
        seed: of the changes of places.
    """
    others = {score.name: score for score in second}
    ready = {row.name: row for row in told}
    rows, refused = [], []
    for score in first:
        other = others.pop(score.name, None)
        if other is None:
            refused.append(Refused(score.name, "score", (f"{score.value:g}", "absent")))
        elif reasons := _reasons(score, other):
            refused += reasons
        else:
            rows.append(ready.get(score.name) or _difference(score, other, owners, seed))
    refused += [Refused(s.name, "score", ("absent", f"{s.value:g}")) for s in others.values()]
    return Comparison(corrected(rows), tuple(refused))


def compare_statistic(
    name: str,
    statistic: Statistic,
    first: Array,
    second: Array,
    real: Array,
    owners_real: Owners = None,
    *,
    better: Literal["lower", "higher"] = "lower",
    paired: bool = False,
    groups: int = 16,
    seed: int = 0,
) -> Difference:
    """The difference of a statistic of two systems against the same real clips.

    The real clips that are left out by the jackknife are left out for both, so that what chance
    brought into the real side does not count against telling them apart. The interval is of the
    difference that these estimates have on average at these numbers of clips; with as many clips of
    both systems their biases are alike, and the difference has little of them.

    Args:
        name: of the measure.
        statistic: (generated, real) -> number.
        first: features of the one system, (n, d).
        second: features of the other, (k, d).
        real: features (m, d).
        owners_real: the footage that each real clip was cut from, (m,).
        better: which values are.
        paired: the two systems' clips were made for the same conditions, in the same order.
        groups: the most groups on a side.
        seed: of the grouping.

    Raises:
        ValueError: as `intervals.statistic_interval`; unlike numbers of clips that are paired.
    """
    if paired and len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} clips cannot be paired")
    sides = [jackknife.side(len(first), None, groups, seed)]
    if not paired:
        sides.append(jackknife.side(len(second), None, groups, seed + 1))
    sides.append(jackknife.side(len(real), owners_real, groups, seed + 2))

    def difference(kept: list[jackknife.Index]) -> float:
        judged = real[kept[-1]]
        other = kept[0] if paired else kept[1]
        return statistic(first[kept[0]], judged) - statistic(second[other], judged)

    found = jackknife.variance(difference, sides)
    interval, p = _by_t(found.value, found.error, found.freedom)
    values = statistic(first, real), statistic(second, real)
    method = "jackknife, real clips left out for both" + (", clips paired" if paired else "")
    return corrected([Difference(name, values, better, found.value, interval, p, method=method)])[0]


def corrected(rows: Sequence[Difference]) -> tuple[Difference, ...]:
    """Rows with p corrected over all of them (Holm 1979), and verdicts by that."""
    known = sorted((row.p, i) for i, row in enumerate(rows) if row.p is not None)
    found, least = list(rows), 0.0
    for rank, (p, i) in enumerate(known):
        least = max(least, min(1.0, p * (len(known) - rank)))
        found[i] = replace(rows[i], corrected=least, verdict=_verdict(rows[i], least))
    return tuple(found)


def _verdict(row: Difference, p: float) -> Verdict:
    if p >= LEVEL or row.difference == 0:
        return "not told apart"
    return "better" if (row.difference > 0) == (row.better == "higher") else "worse"


def _reasons(score: Score, other: Score) -> list[Refused]:
    bare = not score.manifest, not other.manifest
    if any(bare):
        told = ["absent" if missing else "present" for missing in bare]
        return [Refused(score.name, "manifest", (told[0], told[1]))]
    return [Refused(score.name, name, (one, two)) for name, one, two in unlike(score, other)]


def _difference(score: Score, other: Score, owners: Owners, seed: int) -> Difference:
    values = score.value, other.value
    bare = Difference(score.name, values, score.better, values[0] - values[1], None, None)
    if score.better == "near" and score.target is None:
        return replace(bare, method="near to no target")
    if not np.isfinite(values).all():
        return replace(bare, method="a value is not finite")
    pair = _pairs(score, other)
    if pair is not None:
        return _paired(bare, score.target, *pair, owners, seed)
    ends = _nearness(score), _nearness(other)
    bare = replace(bare, difference=ends[0][0] - ends[1][0])
    if ends[0][1] is None or ends[1][1] is None:
        return replace(bare, method="no intervals")
    # An interval of each, combined on the side on which each matters.
    (low, high), (other_low, other_high) = ends[0][1], ends[1][1]
    below = float(np.hypot(ends[0][0] - low, other_high - ends[1][0]))
    above = float(np.hypot(high - ends[0][0], ends[1][0] - other_low))
    difference = bare.difference
    toward = below if difference > 0 else above
    z = _NORMAL * abs(difference) / toward if toward else (np.inf if difference else 0.0)
    p = student.two_sided(z, 1e7) if np.isfinite(z) else 0.0
    interval = difference - below, difference + above
    return replace(bare, interval=interval, p=p, method="two intervals, as if independent")


def _nearness(score: Score) -> tuple[float, tuple[float, float] | None]:
    """A score's value and interval; as distances to the target where better is near."""
    if score.better != "near" or score.target is None:
        return score.value, score.interval
    distance = abs(score.value - score.target)
    if score.interval is None:
        return distance, None
    ends = [end - score.target for end in score.interval]
    low = 0.0 if ends[0] <= 0 <= ends[1] else min(abs(end) for end in ends)
    return distance, (low, max(abs(end) for end in ends))


def _pairs(score: Score, other: Score) -> tuple[Array, Array] | None:
    """The values of each clip where the two can be paired: same clips, and the score their mean."""
    if len(score.values) != len(other.values) or len(score.values) < 2:
        return None
    named = [name for name in _PAIRED_BY if name in score.manifest]
    if not any(score.manifest[name] == other.manifest.get(name) for name in named):
        return None
    found = np.asarray(score.values, np.float64), np.asarray(other.values, np.float64)
    for values, whole in zip(found, (score.value, other.value), strict=True):
        if not np.isclose(np.nanmean(values), whole, rtol=1e-5, atol=1e-9):
            return None
    return found


def _paired(
    bare: Difference, target: float | None, first: Array, second: Array, owners: Owners, seed: int
) -> Difference:
    """Of clips that both systems have a value of."""
    kept = np.flatnonzero(np.isfinite(first) & np.isfinite(second))
    x, y = first[kept], second[kept]
    owner = jackknife.numbered(owners, len(first))[kept]
    if len(np.unique(owner)) < 2:
        return replace(bare, method="too few clips that both have a value of")
    each = x - y
    if bare.better == "near" and target is not None:
        each = np.sign(x.mean() - target) * (x - target) - np.sign(y.mean() - target) * (y - target)
    mean = intervals.mean_of(each, owner)
    interval, _ = _by_t(mean.value, mean.error, mean.freedom)
    p = _change_places(x, y, owner, target if bare.better == "near" else None, seed)
    method = f"paired, {len(kept)} clips"
    return replace(bare, difference=mean.value, interval=interval, p=p, method=method)


def _by_t(value: float, error: float, freedom: float) -> tuple[tuple[float, float], float]:
    half = student.quantile(round(freedom, 2)) * error
    t = abs(value) / error if error else (np.inf if value else 0.0)
    p = student.two_sided(t, round(freedom, 2)) if np.isfinite(t) else 0.0
    return (value - half, value + half), p


def _change_places(
    x: Array, y: Array, owner: jackknife.Index, target: float | None, seed: int
) -> float:
    """How often the difference is as large when owners' two values change places at random.

    All ways where they are no more than are drawn; else drawn ones, and the one found among them.
    """
    numbers = jackknife.numbered(owner, len(owner))
    parts = np.bincount(numbers, x - y) / (2 * len(x))
    count = len(parts)
    if 2**count <= _FLIPS:
        signs = 1.0 - 2 * (np.arange(2**count)[:, None] >> np.arange(count) & 1)
    else:
        random = np.random.Generator(np.random.PCG64(seed))
        signs = np.where(random.random((_FLIPS, count)) < 0.5, -1.0, 1.0)
        signs[0] = 1.0
    # With the middle of both means kept, a mean is the middle plus or minus this.
    apart = signs @ parts
    size = np.abs(apart)
    found = abs(float(parts.sum()))
    if target is not None:
        middle = abs((x.mean() + y.mean()) / 2 - target)
        size, found = np.minimum(size, middle), min(found, middle)
    return float((size >= found * (1 - 1e-9) - 1e-15).mean())
