"""Runs, folders and baselines in one table. Numbers are compared only where made alike."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..core import manifests
from .run_folder import Subject
from .scores_file import Baseline, Score
from .scores_table import better, group, grouped, named
from .tables import Table
from .values import between, figure

WIDEST = 8  # scores beside one another in a table to copy


@dataclass(frozen=True)
class Difference:
    """A field of manifests that is not the same in all runs, and its value in each of them."""

    field: str
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Entry:
    """A row: a run or a folder, `subject` being its number; or a baseline, which has none.

    `kind` is "run", "folder", "baseline", or "ceiling" for real clips.
    """

    name: str
    kind: str
    scores: tuple[Score, ...]
    subject: int | None = None


@dataclass(frozen=True)
class Column:
    """A score in all entries (None where one lacks it), and what may be said of them.

    Attributes:
        best: the best entries among runs and folders whose numbers were made alike: of those that
            are most.
        beaten: baselines that are better than the best.
        apart: entries whose numbers were made in another way, with the first field that differs.
    """

    name: str
    scores: tuple[Score | None, ...]
    best: frozenset[int] = frozenset()
    differences: tuple[Difference, ...] = ()
    remark: str = ""
    beaten: frozenset[int] = frozenset()
    apart: tuple[tuple[int, str], ...] = ()

    @property
    def first(self) -> Score:
        """The first entry's score that is there; it speaks for the unit and for what is better."""
        return next(score for score in self.scores if score)

    @property
    def group(self) -> str:
        """What kind of measure it is."""
        return group(self.name)


def entries(subjects: Sequence[Subject], names: Sequence[str]) -> list[Entry]:
    """A row for each subject, then one for each baseline; the same baseline is there once."""
    rows = [
        Entry(name, subject.kind, subject.evaluation.scores, number)
        for number, (subject, name) in enumerate(zip(subjects, names, strict=True))
    ]
    found: dict[str, list[tuple[str, Baseline]]] = {}
    for subject, owner in zip(subjects, names, strict=True):
        for baseline in subject.evaluation.baselines:
            same = found.setdefault(baseline.name, [])
            if not any(_same(baseline, other) for _, other in same):
                same.append((owner, baseline))
    for title, members in found.items():
        for owner, baseline in members:
            name = title if len(members) == 1 else f"{title} (beside {owner})"
            kind = "ceiling" if baseline.is_real else "baseline"
            rows.append(Entry(name, kind, baseline.scores))
    return rows


def columns(rows: Sequence[Entry]) -> list[Column]:
    """The score columns of a leaderboard, group by group, in the order of first appearance."""
    firsts = {s.name: s for row in rows if row.subject is not None for s in row.scores}
    titles = [score.name for _, members in grouped(list(firsts.values())) for score in members]
    return [
        _column(title, tuple(named(row.scores, title) for row in rows), rows) for title in titles
    ]


def order(rows: Sequence[Entry], table: Sequence[Column]) -> list[int]:
    """Rows of the table: best first by the first score that can be compared; else as given."""
    column = next((column for column in table if column.best), None)
    numbers = list(range(len(rows)))
    if column is None:
        return numbers
    apart = dict(column.apart)
    ranks = [
        rank(score) if score and number not in apart else None
        for number, score in enumerate(column.scores)
    ]
    return sorted(numbers, key=lambda row: (ranks[row] is None, ranks[row] or 0.0))


def reasons(table: Sequence[Column]) -> dict[Difference, list[str]]:
    """Why columns are not compared: each difference with the names of the columns it concerns."""
    found: dict[Difference, list[str]] = {}
    for column in table:
        for difference in column.differences:
            found.setdefault(difference, []).append(column.name)
    return found


def copy(rows: Sequence[Entry], table: Sequence[Column], placed: Sequence[int]) -> Table:
    """The leaderboard as a table to copy; `placed` is the order of its rows.

    With more scores than fit beside one another, the scores are its rows.
    """
    heads = [f"{column.name}, {better(column.first)}".removesuffix(", ") for column in table]
    lines = [
        [rows[number].name, rows[number].kind, *(_words(column, number) for column in table)]
        for number in placed
    ]
    lines = [["name", "kind", *heads], *lines]
    if len(table) > WIDEST:
        lines = [list(line) for line in zip(*lines, strict=True)]
    head, *body = map(tuple, lines)
    return Table("Leaderboard", head, tuple(body))


def _words(column: Column, number: int) -> str:
    score = column.scores[number]
    if score is None:
        return ""
    value, ends = figure(score.value, score.unit), between(score.interval)
    best = " (best)" if number in column.best else ""
    return f"{value} [{ends}]{best}" if ends else f"{value}{best}"


def differing(first: Score, second: Score) -> tuple[str, str, str] | None:
    """The first field that keeps two scores from being compared, and its values; else None."""
    found = _differences([("", first), ("", second)])
    return (found[0].field, found[0].values[0][1], found[0].values[1][1]) if found else None


def rank(score: Score) -> float | None:
    """A number that is smaller for the better score; None where there is none."""
    if score.value is None:
        return None
    if score.better == "near" and score.target is not None:
        return abs(score.value - score.target)
    return {"lower": score.value, "higher": -score.value}.get(score.better)


def _same(first: Baseline, second: Baseline) -> bool:
    def content(baseline: Baseline) -> list[tuple[Any, ...]]:
        return [(s.name, s.value, json.dumps(comparable(s), default=str)) for s in baseline.scores]

    return content(first) == content(second)


def _column(title: str, scores: tuple[Score | None, ...], rows: Sequence[Entry]) -> Column:
    own = [i for i, row in enumerate(rows) if row.subject is not None and scores[i]]
    alike = _alike({i: score for i in own if (score := scores[i])})
    present = [(rows[i].name, score) for i in own if (score := scores[i])]
    # Where no two were made alike, nothing is compared; else those that were, beside the others.
    differences = _differences(present) if len(alike) < min(2, len(own)) else ()
    ranks = {i: place for i, s in enumerate(scores) if s and (place := rank(s)) is not None}
    bare = any(not score.manifest for _, score in present)
    first = scores[alike[0]]
    assert first is not None
    column = _beside(Column(title, scores, differences=differences), first, rows, alike)
    if differences or bare:
        remark = "not compared: a score has no manifest" if bare and len(present) > 1 else ""
        return replace(column, remark=remark)
    apart = dict(column.apart)
    mine = {i: place for i, place in ranks.items() if i in alike}
    if not mine:
        return column
    least = min(mine.values())
    best = frozenset(i for i, place in mine.items() if place == least)
    beaten = frozenset(
        i for i in ranks if rows[i].kind == "baseline" and i not in apart and ranks[i] < least
    )
    column = replace(column, beaten=beaten)
    if len(mine) < 2:
        return column
    if len(best) == len(mine):
        return replace(column, remark="all runs are equal")
    return replace(column, best=best, remark=_chance(scores, best, rows, alike))


def _alike(scores: Mapping[int, Score]) -> list[int]:
    """The entries whose numbers were made alike; of several such groups the largest."""
    groups: dict[str, list[int]] = {}
    for number, score in scores.items():
        groups.setdefault(json.dumps(comparable(score), default=str), []).append(number)
    return max(groups.values(), key=len)


def _beside(column: Column, first: Score, rows: Sequence[Entry], alike: Sequence[int]) -> Column:
    """The column with those that were not judged as most of the subjects were."""
    apart = []
    for number, (row, score) in enumerate(zip(rows, column.scores, strict=True)):
        other = row.subject is None or (not column.differences and number not in alike)
        if score and other and (found := differing(first, score)):
            apart.append((number, found[0]))
    return replace(column, apart=tuple(apart))


def _differences(present: Sequence[tuple[str, Score]]) -> tuple[Difference, ...]:
    tables = [(name, comparable(score)) for name, score in present]
    fields = dict.fromkeys(field for _, table in tables for field in table)
    return tuple(
        Difference(field, tuple((name, manifests.as_text(table, field)) for name, table in tables))
        for field in fields
        if len({manifests.as_text(table, field) for _, table in tables}) > 1
    )


def comparable(score: Score) -> dict[str, Any]:
    """All that must agree."""
    own = {"better": score.better, "target": score.target, "unit": score.unit}
    return manifests.judged(score.manifest) | own


def _chance(
    scores: Sequence[Score | None],
    best: frozenset[int],
    rows: Sequence[Entry],
    alike: Sequence[int],
) -> str:
    """Says where the best is not clearly the best: its interval meets another's."""
    top = scores[min(best)]
    if top is None or top.interval is None:
        return ""
    near = [
        rows[i].name
        for i, score in enumerate(scores)
        if i in alike and i not in best and score and meet(top, score)
    ]
    if not near:
        return ""
    return f"the interval of the best meets that of {', '.join(near)}: it may be chance"


def meet(first: Score, second: Score) -> bool:
    """Whether the intervals of two scores have a value in common."""
    if first.interval is None or second.interval is None:
        return False
    return first.interval[0] <= second.interval[1] and second.interval[0] <= first.interval[1]
