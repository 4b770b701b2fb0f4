"""What is judged beside baselines that cost nothing, and beside a rival."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .leaderboard import differing, meet, rank
from .scores_file import Baseline, Contrast, Evaluation, Score
from .scores_table import grouped, named

VERDICTS = {"better": "better", "worse": "worse"}


@dataclass(frozen=True)
class Cell:
    """A baseline's score beside the run's own.

    Attributes:
        score: None where the baseline lacks it.
        state: "ahead", "near" (ahead, yet the intervals meet), "behind", "apart" (made in another
            way) or "" where there is nothing to compare.
        words: the same for a reader.
    """

    score: Score | None
    state: str = ""
    words: str = ""


@dataclass(frozen=True)
class Line:
    """A score of the run, and the baselines' in their order."""

    score: Score
    cells: tuple[Cell, ...]


def beside_baselines(evaluation: Evaluation) -> list[tuple[str, list[Line]]]:
    """Groups of scores that a baseline has as well."""
    found = []
    for title, members in grouped(evaluation.scores):
        lines = [
            Line(score, tuple(_cell(score, baseline) for baseline in evaluation.baselines))
            for score in members
        ]
        lines = [line for line in lines if any(cell.score for cell in line.cells)]
        if lines:
            found.append((title, lines))
    return found


def beaten_by(evaluation: Evaluation) -> list[tuple[str, list[str], int]]:
    """Baselines that beat the run: name, in which scores, of how many that could be compared.

    Real clips are no baseline to be beaten by: they are what is aimed at.
    """
    found = []
    for baseline in evaluation.baselines:
        cells = [(score.name, _cell(score, baseline)) for score in evaluation.scores]
        ahead = [name for name, cell in cells if cell.state == "ahead"]
        compared = sum(cell.state in ("ahead", "near", "behind") for _, cell in cells)
        if ahead and not baseline.is_real:
            found.append((baseline.name, ahead, compared))
    return found


def signs(row: Contrast) -> Mapping[str, str]:
    """How a verdict is shown: its class in the style sheet, and a sign beside the word."""
    kind = VERDICTS.get(row.verdict, "even")
    return {"kind": kind, "sign": {"better": "▲", "worse": "▼"}.get(kind, "≈")}


def _cell(score: Score, baseline: Baseline) -> Cell:
    other = named(baseline.scores, score.name)
    if other is None:
        return Cell(None)
    if found := differing(score, other):
        field, own, its = found
        return Cell(other, "apart", f"not compared: {field} is {own} here, {its} there")
    mine, theirs = rank(score), rank(other)
    if mine is None or theirs is None:
        return Cell(other)
    if theirs >= mine:
        return Cell(other, "behind")
    if baseline.is_real:
        return Cell(other, "behind")
    if meet(score, other):
        return Cell(other, "near", "ahead, but the intervals meet")
    return Cell(other, "ahead", "beats it")
