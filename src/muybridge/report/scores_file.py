"""`scores.json` as values to show: each is of the type that it says, or the file is damaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .values import number

FORMATS = (1, 2)

Numbers = tuple[float | None, ...]


@dataclass(frozen=True)
class Score:
    """A number; `manifest` says how it was made, `better` is lower, higher or near (`target`)."""

    name: str
    value: float | None
    interval: tuple[float, float] | None = None
    interval_of: str = ""
    floor: float | None = None
    better: str = ""
    target: float | None = None
    unit: str = ""
    note: str = ""
    manifest: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """Videos of one caption, a path inside the run (or None) for each column of a wall."""

    caption: str
    videos: tuple[str | None, ...]


@dataclass(frozen=True)
class Wall:
    """Samples in rows, what they are compared with beside them."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Series:
    """Numbers of one name in a plot; `low` and `high` bound `y` where they are there."""

    name: str
    x: Numbers = ()
    y: Numbers = ()
    low: Numbers = ()
    high: Numbers = ()


@dataclass(frozen=True)
class Figure:
    """A plot before it is drawn: what it shows, what its axes are, and its series."""

    title: str
    x: str
    y: str
    note: str
    series: tuple[Series, ...]


@dataclass(frozen=True)
class Missing:
    """A measure that could not be taken, why, and what to do about it."""

    name: str
    why: str
    hint: str


@dataclass(frozen=True)
class Baseline:
    """The scores of what costs nothing to make, or of real clips."""

    name: str
    note: str
    scores: tuple[Score, ...]

    @property
    def is_real(self) -> bool:
        """Whether it is real clips, by its name: what is aimed at, and no shame to be behind."""
        return self.name.lower().startswith("real")


@dataclass(frozen=True)
class Contrast:
    """A score of both sides of a comparison; `verdict` is of the first side.

    `corrected` is `p` corrected for the number of measures compared, where the verdict goes by it.
    """

    name: str
    values: Numbers
    difference: float | None
    interval: tuple[float, float] | None
    p: float | None
    corrected: float | None
    verdict: str
    better: str
    method: str


@dataclass(frozen=True)
class Refusal:
    """A score that is not compared, since its manifests differ in `field`."""

    name: str
    field: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """One side against a rival, score by score."""

    against: str
    rows: tuple[Contrast, ...]
    refused: tuple[Refusal, ...]


@dataclass(frozen=True)
class Evaluation:
    """All that `scores.json` says. Whatever is not in it is empty."""

    subject: str = ""
    checkpoint: str = ""
    created: str = ""
    scores: tuple[Score, ...] = ()
    missing: tuple[Missing, ...] = ()
    warnings: tuple[str, ...] = ()
    curves: tuple[Figure, ...] = ()
    histograms: tuple[Figure, ...] = ()
    scatter: tuple[Figure, ...] = ()
    walls: tuple[Wall, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    comparison: Comparison | None = None


def parse(document: Mapping[str, Any]) -> Evaluation:
    """Reads what `muybridge evaluate` wrote, of format 1 or 2.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: the document is not of that shape.
    """
    comparison = document.get("comparison")
    return Evaluation(
        subject=_text(document, "subject"),
        checkpoint=_text(document, "checkpoint"),
        created=_text(document, "created"),
        scores=_scores(document),
        missing=tuple(
            Missing(str(entry["name"]), _text(entry, "why"), _text(entry, "hint"))
            for entry in _list(document, "missing")
        ),
        warnings=tuple(map(str, _list(document, "warnings"))),
        curves=tuple(_figure(entry, "lines") for entry in _list(document, "curves")),
        histograms=tuple(_figure(entry, "groups") for entry in _list(document, "histograms")),
        scatter=tuple(_figure(entry, "groups") for entry in _list(document, "scatter")),
        walls=tuple(map(_wall, _list(document, "walls"))),
        baselines=tuple(
            Baseline(str(entry["name"]), _text(entry, "note"), _scores(entry))
            for entry in _list(document, "baselines")
        ),
        comparison=None if comparison is None else _comparison(comparison),
    )


def _list(entry: Mapping[str, Any], key: str) -> Sequence[Any]:
    found = entry.get(key)
    if found is None:
        return ()
    if not isinstance(found, list | tuple):
        raise TypeError(f"{key} is no list")
    return found


def _text(entry: Mapping[str, Any], key: str) -> str:
    found = entry.get(key)
    return "" if found is None else str(found)


def _interval(entry: Mapping[str, Any]) -> tuple[float, float] | None:
    ends = [number(end) for end in _list(entry, "interval")]
    if len(ends) == 2 and ends[0] is not None and ends[1] is not None:
        return (ends[0], ends[1])
    return None


def _scores(entry: Mapping[str, Any]) -> tuple[Score, ...]:
    return tuple(map(_score, _list(entry, "scores")))


def _score(entry: Mapping[str, Any]) -> Score:
    return Score(
        name=str(entry["name"]),
        value=number(entry.get("value")),
        interval=_interval(entry),
        interval_of=_text(entry, "interval_of"),
        floor=number(entry.get("floor")),
        better=_text(entry, "better"),
        target=number(entry.get("target")),
        unit=_text(entry, "unit"),
        note=_text(entry, "note"),
        manifest=dict(entry.get("manifest") or {}),
    )


def _figure(entry: Mapping[str, Any], key: str) -> Figure:
    series = tuple(map(_series, _list(entry, key)))
    title, x, y, note = (_text(entry, name) for name in ("title", "x", "y", "note"))
    return Figure(title, x, y, note, series)


def _series(entry: Mapping[str, Any]) -> Series:
    """A line, a cloud, or the values of a histogram, which become its `y`."""
    key = "values" if "values" in entry else "y"
    x, y, low, high = (tuple(map(number, _list(entry, k))) for k in ("x", key, "low", "high"))
    if any(row and len(row) != len(y) for row in (x, low, high)) or (
        key == "y" and len(x) < len(y)
    ):
        raise ValueError(f"{entry['name']} has lists of different lengths")
    return Series(str(entry["name"]), x, y, low, high)


def _wall(entry: Mapping[str, Any]) -> Wall:
    rows = tuple(
        Row(
            _text(row, "caption"),
            tuple(None if name is None else str(name) for name in _list(row, "videos")),
        )
        for row in _list(entry, "rows")
    )
    columns = tuple(map(str, _list(entry, "columns")))
    return Wall(_text(entry, "title") or "Samples", columns, rows)


def _comparison(entry: Mapping[str, Any]) -> Comparison:
    rows = tuple(
        Contrast(
            name=str(row["name"]),
            values=tuple(map(number, _list(row, "values"))),
            difference=number(row.get("difference")),
            interval=_interval(row),
            p=number(row.get("p")),
            corrected=number(row.get("p_corrected")),
            verdict=_text(row, "verdict"),
            better=_text(row, "better"),
            method=_text(row, "method"),
        )
        for row in _list(entry, "rows")
    )
    refused = tuple(
        Refusal(str(row["name"]), _text(row, "field"), tuple(map(str, _list(row, "values"))))
        for row in _list(entry, "refused")
    )
    return Comparison(_text(entry, "against"), rows, refused)
