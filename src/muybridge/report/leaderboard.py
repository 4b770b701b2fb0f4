"""Several runs in one table. Numbers are compared only where they were made alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .run_folder import Run, Score

ABSENT = "absent"


@dataclass(frozen=True)
class Difference:
    """A field of manifests that is not the same in all runs, and its value in each of them."""

    field: str
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Column:
    """A score in all runs (None where a run lacks it), the best ones, or why there are none."""

    name: str
    scores: tuple[Score | None, ...]
    best: frozenset[int]
    differences: tuple[Difference, ...]
    remark: str

    @property
    def first(self) -> Score:
        """The first run's score that is there; it speaks for the unit and for what is better."""
        return next(score for score in self.scores if score)


def columns(runs: Sequence[Run], names: Sequence[str]) -> list[Column]:
    """The score columns of a leaderboard, in the order in which the scores first appear."""
    titles = dict.fromkeys(score.name for run in runs for score in run.scores)
    found = []
    for title in titles:
        scores = tuple(next((s for s in run.scores if s.name == title), None) for run in runs)
        found.append(_column(title, scores, names))
    return found


def order(runs: Sequence[Run], table: Sequence[Column]) -> list[int]:
    """Rows of the table: best first by the first score that can be compared; else as given."""
    column = next((column for column in table if column.best), None)
    rows = list(range(len(runs)))
    if column is None:
        return rows
    ranks = [_rank(score) if score else None for score in column.scores]
    return sorted(rows, key=lambda row: (ranks[row] is None, ranks[row] or 0.0))


def reasons(table: Sequence[Column]) -> dict[Difference, list[str]]:
    """Why columns are not compared: each difference with the names of the columns it concerns."""
    found: dict[Difference, list[str]] = {}
    for column in table:
        for difference in column.differences:
            found.setdefault(difference, []).append(column.name)
    return found


def _column(title: str, scores: tuple[Score | None, ...], names: Sequence[str]) -> Column:
    present = [(names[i], score) for i, score in enumerate(scores) if score]
    differences = _differences(present) if len(present) > 1 else ()
    ranks = {i: rank for i, s in enumerate(scores) if s and (rank := _rank(s)) is not None}
    bare = any(not score.manifest for _, score in present)
    if differences or bare or len(ranks) < 2:
        remark = "not compared: a score has no manifest" if bare and len(present) > 1 else ""
        return Column(title, scores, frozenset(), differences, remark)
    least = min(ranks.values())
    best = frozenset(i for i, rank in ranks.items() if rank == least)
    if len(best) == len(ranks):
        return Column(title, scores, frozenset(), (), "all runs are equal")
    return Column(title, scores, best, (), _chance(scores, best, names))


def _differences(present: Sequence[tuple[str, Score]]) -> tuple[Difference, ...]:
    tables = [(name, _comparable(score)) for name, score in present]
    fields = dict.fromkeys(field for _, table in tables for field in table)
    return tuple(
        Difference(field, tuple((name, _shown(table, field)) for name, table in tables))
        for field in fields
        if len({_shown(table, field) for _, table in tables}) > 1
    )


def _comparable(score: Score) -> dict[str, Any]:
    """All that must agree. Fields on which run and checkpoint it was are what differs by intent."""
    own = ("run", "checkpoint")
    fields = {k: v for k, v in score.manifest.items() if k.split("_")[0] not in own}
    return fields | {"better": score.better, "target": score.target, "unit": score.unit}


def _shown(table: dict[str, Any], field: str) -> str:
    value = table.get(field, ABSENT)
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True, default=str)


def _rank(score: Score) -> float | None:
    """A number that is smaller for the better score; None where there is none."""
    if score.value is None:
        return None
    if score.better == "near" and score.target is not None:
        return abs(score.value - score.target)
    return {"lower": score.value, "higher": -score.value}.get(score.better)


def _chance(scores: Sequence[Score | None], best: frozenset[int], names: Sequence[str]) -> str:
    """Says where the best is not clearly the best: its interval meets another's."""
    top = scores[min(best)]
    if top is None or top.interval is None:
        return ""
    low, high = top.interval
    near = [
        names[i]
        for i, score in enumerate(scores)
        if i not in best
        and score
        and score.interval
        and score.interval[0] <= high
        and low <= score.interval[1]
    ]
    if not near:
        return ""
    return f"the interval of the best meets that of {', '.join(near)}: it may be chance"
