"""Scores in groups, what they say in words, and as tables to copy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .scores_file import Comparison, Evaluation, Score, parse
from .tables import Table
from .values import between, figure

BETTER = {"lower": "lower is better", "higher": "higher is better", "near": "nearest is best"}
OTHER = "Other measures"
# Which group a score stands in, by words of its name; the first that fits. For the layout alone.
_GROUPS = {
    "Copying": r"\bcop(y|ies|ied)|training clips|memori|nearest train",
    "Speed": r"time of a|time to|real-time|memory|parameters|operations|flops|latency",
    "Over time": r"warp|flicker|drift|jump|motion$|successive|frozen|out of order|over time|"
    r"unevenness of motion",
    "Against ground truth": r"psnr|ssim|lpips|ground truth",
    "Single pictures": r"sharpness|\bgrid\b",
    "Physics and occlusion": r"gravity|energy gain|slide|momentum|apart|circle|growth|spin|emerge|"
    r"\bkept\b|size change|permanence",
    "What was asked for": r"as asked|recogni|accuracy|followed",
    "Distributions": r"\bfid\b|\bfvd\b|\bkid\b|\bkvd\b|\bis\b|inception|distance|precision|recall|"
    r"density|coverage|fr[eé]chet",
}
_ORDER = (
    "Distributions", "Against ground truth", "Single pictures", "Over time",
    "Physics and occlusion", "What was asked for", "Copying", "Speed", OTHER,
)  # fmt: skip


def markdown(document: Mapping[str, Any]) -> str:
    """`scores.json` as Markdown: its scores, its baselines and its comparison, a table each.

    Args:
        document: what `scores.json` holds, of format 1 or 2.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: the document is not of that shape.
    """
    return "\n\n".join(
        f"**{table.caption}**\n\n{table.markdown()}" for table in tables(parse(document))
    )


def latex(document: Mapping[str, Any]) -> str:
    """`scores.json` as LaTeX, as `markdown` gives it in Markdown."""
    return "\n\n".join(table.latex() for table in tables(parse(document)))


def tables(evaluation: Evaluation, name: str = "") -> list[Table]:
    """The tables that an evaluation has numbers for; `name` is what they are of."""
    name = name or evaluation.subject or "this run"
    found = []
    if evaluation.scores:
        found.append(of_scores(evaluation.scores, f"Scores of {name}"))
    if evaluation.baselines:
        found.append(of_baselines(evaluation, name))
    if evaluation.comparison and evaluation.comparison.rows:
        found.append(of_comparison(evaluation.comparison, name))
    return found


def of_scores(scores: Sequence[Score], caption: str) -> Table:
    """Scores with their intervals, and the same numbers for real clips."""
    rows = tuple(
        (
            f"{score.name} ({score.note})" if score.note else score.name,
            figure(score.value, score.unit),
            between(score.interval),
            "" if score.floor is None else figure(score.floor),
            better(score),
        )
        for _, members in grouped(scores)
        for score in members
    )
    return Table(caption, ("score", "value", "interval", "real against real", "better"), rows)


def of_baselines(evaluation: Evaluation, name: str) -> Table:
    """A score a row, the baselines beside what is judged."""
    baselines = evaluation.baselines
    rows = []
    for _, members in grouped(evaluation.scores):
        for score in members:
            others = [named(baseline.scores, score.name) for baseline in baselines]
            if any(others):
                values = [figure(one.value, one.unit) if one else "" for one in (score, *others)]
                rows.append((score.name, *values, better(score)))
    heads = ("score", name, *(baseline.name for baseline in baselines), "better")
    return Table(f"{name} and baselines", heads, tuple(rows))


def of_comparison(comparison: Comparison, name: str) -> Table:
    """Differences from a rival, with what may be concluded from them."""
    rows = tuple(
        (
            row.name,
            *(figure(value) for value in (*row.values, None, None)[:2]),
            "" if row.difference is None else figure(row.difference),
            between(row.interval),
            chance(row.p),
            chance(row.corrected),
            row.verdict,
        )
        for row in comparison.rows
    )
    heads = (
        "score", name, comparison.against, "difference", "interval", "p", "p corrected", "verdict"
    )  # fmt: skip
    return Table(f"{name} against {comparison.against}", heads, rows)


def grouped(scores: Sequence[Score]) -> list[tuple[str, list[Score]]]:
    """Groups with their scores, both in an order that does not change from run to run."""
    found: dict[str, list[Score]] = {}
    for score in scores:
        found.setdefault(group(score.name), []).append(score)
    return [(title, found[title]) for title in _ORDER if title in found]


def group(name: str) -> str:
    """What kind of measure a score is, by its name."""
    fits = (title for title, words in _GROUPS.items() if re.search(words, name, re.IGNORECASE))
    return next(fits, OTHER)


def named(scores: Sequence[Score], name: str) -> Score | None:
    """The score of a name; None where it is absent."""
    return next((score for score in scores if score.name == name), None)


def leading(scores: Sequence[Score], most: int) -> list[Score]:
    """The scores to be seen first, group by group; of each group the first ones, in turn."""
    groups = [members for _, members in grouped([s for s in scores if s.value is not None])]
    turns = range(max(map(len, groups), default=0))
    chosen = [(turn, place) for turn in turns for place, m in enumerate(groups) if turn < len(m)]
    return [groups[place][turn] for place, turn in sorted((p, t) for t, p in chosen[:most])]


def chance(p: float | None) -> str:
    """A p-value, with as many digits as matter."""
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def better(score: Score) -> str:
    """Which values of a score are the better ones, in words."""
    if score.better == "near" and score.target is not None:
        return f"nearest to {figure(score.target, score.unit)} is best"
    return BETTER.get(score.better, "")


def verdict(score: Score) -> str:
    """What a score says beside its floor or target, in plain words; "" where it says nothing."""
    value, floor, ends = score.value, score.floor, score.interval
    if value is None:
        return ""
    if score.better == "near" and score.target is not None:
        if ends is None:
            return ""
        met = ends[0] <= score.target <= ends[1]
        return "the target lies in the interval" if met else "the target lies outside the interval"
    if floor is None or score.better not in ("lower", "higher"):
        return ""
    sign = 1 if score.better == "lower" else -1
    nearest = min(sign * end for end in ends or (value,))
    if nearest <= sign * floor:
        return "not told apart from real clips"
    ratio = value / floor if floor else 0.0
    return f"{ratio:.3g} times what real clips score" if ratio > 0 else "not yet like real clips"


def scale(score: Score) -> dict[str, float]:
    """Where value, interval, floor and target stand on a line, in percent; {} for a lone value."""
    low, high = score.interval or (None, None)
    marks = {
        "value": score.value,
        "low": low,
        "high": high,
        "floor": score.floor,
        "target": score.target,
    }
    known = {name: mark for name, mark in marks.items() if mark is not None}
    least, most = min(known.values(), default=0.0), max(known.values(), default=0.0)
    if score.value is None or least == most:
        return {}
    return {name: round(4 + 92 * (m - least) / (most - least), 2) for name, m in known.items()}
