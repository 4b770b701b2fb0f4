"""Histograms of footage as inline SVG: by split, and with a threshold through them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any, NamedTuple

from .curves import Curve
from .run_folder import number

# In units of the picture, which is about as wide as a phone shows it in pixels.
WIDTH, HEIGHT = 340, 194
LEFT, RIGHT, TOP, BOTTOM = 48, 312, 36, 150  # of the field with the bars
TEXT = 12
LETTER = 0.6 * TEXT  # the width of a character; few fonts have wider digits
COLOURS = 4  # that the style sheet has for series

Rows = Mapping[str, Sequence[float]]  # a number for each bin, by the row's name


class Axis(NamedTuple):
    """Values from `low` to `high`, drawn from `start` to `end`; `most` is the most ticks."""

    low: float
    high: float
    start: float
    end: float
    most: int
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """Where a value is drawn; one outside the axis is drawn at its end."""
        ends = (self.low, self.high, min(max(value, self.low), self.high))
        low, high, here = (math.log(v) for v in ends) if self.logarithmic else ends
        return self.start + (here - low) / (high - low) * (self.end - self.start)

    def room(self, label: str) -> float:
        """How much of the axis a label takes."""
        return 1.5 * TEXT if self.start > self.end else LETTER * (len(label) + 1)


def by_split(distribution: Mapping[str, Any]) -> Curve:
    """A figure's spread over the clips of each split, as shares so that splits compare.

    Raises:
        ValueError: the edges do not rise, or a count is negative, missing or not finite.
    """
    title, medians = str(distribution["title"]), distribution["medians"].items()
    words = "Median: " + ", ".join(f"{_short(value)} in {name}" for name, value in medians)
    words = words.removesuffix(" in kept")  # all of them, where nothing was split yet
    shares = {
        name: [100 * count / max(sum(counts), 1) for count in _finite(counts)]
        for name, counts in distribution["splits"].items()
    }
    svg = _svg(distribution, shares, "% of clips", f"{title}, {distribution['unit']}. {words}")
    return Curve(title, words, svg)


def with_threshold(threshold: Mapping[str, Any]) -> Curve:
    """A figure's spread over all the footage by seconds, and where the threshold stands in it.

    Raises:
        ValueError: the edges do not rise, or a number is missing or not finite.
    """
    (value,) = _finite([threshold["value"]])
    title = f"{threshold['title']}: {threshold['name']} = {_short(value)}"
    whole = number(threshold["seconds"]) or 1.0
    side = "Below" if threshold["side"] == "min" else "Above"
    shares = {word: f"{seconds / whole:.1%}" for word, seconds in threshold["beyond"].items()}
    words = f"{side} the line: {shares['set']} of the seconds measured."
    if value:
        words += f" At half of it {shares['half']}, at twice {shares['twice']}."
    seconds = {"kept": threshold["kept"], "set aside": threshold["aside"]}
    return Curve(title, words, _svg(threshold, seconds, "seconds", f"{title}. {words}", value))


def _svg(
    table: Mapping[str, Any], rows: Rows, label: str, words: str, threshold: float | None = None
) -> str:
    """The picture: a row's bars stand beside the other rows', or on them under a threshold."""
    edges, stacked = _finite(table["edges"]), threshold is not None
    heights = [_finite(row) for row in rows.values()]
    bins = list(zip(*heights, strict=True))
    rising = all(a < b for a, b in pairwise(edges))
    if not rising or len(bins) != max(len(edges) - 1, 0) or any(min(b) < 0 for b in bins):
        raise ValueError("a histogram has rising edges, and between each two a count of 0 or more")
    (highest,) = _finite([max((sum(b) if stacked else max(b) for b in bins), default=0)])
    parts = [_text(WIDTH / 2, HEIGHT / 2, "nothing measured")]
    if highest:
        x = Axis(edges[0], edges[-1], LEFT, RIGHT, 7, table["logarithmic"] and edges[0] > 0)
        y = Axis(0, highest, BOTTOM, TOP, 5)
        parts = [*_rulers(x, y), *_bars(x, y, edges, rows, stacked)]
        parts += [_text(0, 13, label, "start"), _legend(rows)]
        parts += [_mark(x, threshold)] if threshold is not None else []
    parts.append(_text(WIDTH / 2, HEIGHT - 9, str(table["unit"])))
    style = f'font-size="{TEXT}" style="max-width:27rem;fill:var(--soft)"'
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" {style}><title>{escape(words)}</title>'
    return f"{head}{''.join(parts)}</svg>"


def _rulers(x: Axis, y: Axis) -> Iterator[str]:
    for value, label in _ticks(y):
        yield f'<path d="M{LEFT} {y.at(value):.2f}H{RIGHT}" style="stroke:var(--line)"/>'
        yield _text(LEFT - 5, y.at(value) + TEXT / 3, label, "end")
    for value, label in _ticks(x):
        yield f'<path d="M{x.at(value):.2f} {BOTTOM}v4" style="stroke:var(--line)"/>'
        yield _text(x.at(value), BOTTOM + 5 + TEXT, label)


def _bars(x: Axis, y: Axis, edges: Sequence[float], rows: Rows, stacked: bool) -> Iterator[str]:
    foot = [0.0] * (len(edges) - 1)
    for place, row in enumerate(rows.values()):
        yield f'<g style="fill:var(--series-{place % COLOURS})">'
        for i, (left, right) in enumerate(pairwise(x.at(edge) for edge in edges)):
            width = max(0.9 * (right - left), right - left - 2) / (1 if stacked else len(rows))
            start, top = left + (0 if stacked else place * width), y.at(foot[i] + row[i])
            if row[i]:
                size = f'width="{width:.2f}" height="{y.at(foot[i]) - top:.2f}"'
                yield f'<rect x="{start:.2f}" y="{top:.2f}" {size}/>'
            foot[i] += row[i] if stacked else 0
        yield "</g>"


def _mark(x: Axis, value: float) -> str:
    """The threshold's line with its value; off the axis only words, at the end it lies beyond."""
    place, label = x.at(value), _short(value)
    anchor, gap = ("start", 4) if place < (LEFT + RIGHT) / 2 else ("end", -4)
    if not x.low <= value <= x.high:
        side = "below" if value < x.low else "above"
        return _text(place, TOP - 6, f"threshold {label}, {side} this axis", anchor)
    path = f'<path d="M{place:.2f} {TOP - 16}V{BOTTOM}" stroke-dasharray="4 2"'
    return f'{path} style="stroke:var(--ink)"/>{_text(place + gap, TOP - 6, label, anchor)}'


def _legend(rows: Rows) -> str:
    spans = [
        f'<tspan style="fill:var(--series-{place % COLOURS})">■</tspan> {escape(name)}'
        for place, (name, row) in enumerate(rows.items())
        if any(row) and len(rows) > 1
    ]
    return f'<text x="{WIDTH}" y="13" text-anchor="end">{"&#8195;".join(spans)}</text>'


def _ticks(axis: Axis) -> list[tuple[float, str]]:
    """Round values on an axis, as many as there is room for, with their labels."""
    found: list[tuple[float, str]] = []
    for ticks in _scales(axis):
        found = [(value, _label(value, *rest)) for value, *rest in ticks] or found
        places = [(axis.at(value), axis.room(label)) for value, label in found]
        apart = all(2 * abs(b - a) >= one + other for (a, one), (b, other) in pairwise(places))
        inside = all(size / 2 <= place <= WIDTH - size / 2 for place, size in places)
        if found and len(found) <= axis.most and apart and inside:
            return found
    return found[:1]


def _scales(axis: Axis) -> Iterator[list[tuple[float, float, float]]]:
    """Ticks from fine to coarse: value, step to the next, and largest value labelled alike."""
    low, high, slack = axis.low, axis.high, 1e-9
    if axis.logarithmic and high >= 10 * low:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        for digits, stride in (((1, 2, 5), 1), ((1,), 1), ((1,), 2), ((1,), 4), ((1,), 20)):
            powers = [10.0**power for power in range(first, last + 1) if power % stride == 0]
            yield [(d * p, p, d * p) for p in powers for d in digits if low <= d * p <= high]
        return
    power = math.floor(math.log10(high - low)) - 1
    for step in (digit * 10.0**p for p in range(power, power + 3) for digit in (1, 2, 5)):
        count = range(math.ceil(low / step - slack), math.floor(high / step + slack) + 1)
        yield [(i * step, step, max(abs(low), abs(high))) for i in count]


def _label(value: float, step: float, largest: float) -> str:
    """A value with the decimals that its step needs, and thousands, millions as k, M."""
    if not 1e-3 <= largest < 1e10 or not value:
        return f"{value:.6g}"
    size, letter = (1e3, "k") if largest >= 1e4 and step >= 100 else (1.0, "")
    size, letter = (1e6, "M") if largest >= 1e6 and step >= 1e5 else (size, letter)
    decimals = max(0, -math.floor(math.log10(step / size) + 1e-9))
    return f"{value / size:,.{decimals}f}{letter}"


def _text(x: float, y: float, words: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.2f}" y="{y:.2f}" text-anchor="{anchor}">{escape(words)}</text>'


def _finite(values: Sequence[object]) -> list[float]:
    """The numbers as they are; a ValueError where one is none."""
    found = [known for value in values if (known := number(value)) is not None]
    if len(found) < len(values):
        raise ValueError("a histogram of what is not a finite number")
    return found


def _short(value: object) -> str:
    found = number(value)
    return "unknown" if found is None else f"{found:,.0f}" if abs(found) >= 1000 else f"{found:.3g}"
