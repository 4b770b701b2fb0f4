"""Histograms as inline SVG: by split, by group, and with a threshold through them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

from .axes import (
    BOTTOM,
    COLOURS,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Axis,
    finite,
    picture,
    rulers,
    text,
)
from .curves import Curve
from .values import number, short

Rows = Mapping[str, Sequence[float]]  # a number for each bin, by the row's name


def by_split(distribution: Mapping[str, Any]) -> Curve:
    """A figure's spread over the clips of each split, as shares so that splits compare.

    Raises:
        ValueError: the edges do not rise, or a count is negative, missing or not finite.
    """
    title, medians = str(distribution["title"]), distribution["medians"].items()
    words = "Median: " + ", ".join(f"{short(value)} in {name}" for name, value in medians)
    words = words.removesuffix(" in kept")  # all of them, where nothing was split yet
    shares = {
        name: [100 * count / max(sum(counts), 1) for count in finite(counts)]
        for name, counts in distribution["splits"].items()
    }
    svg = _svg(distribution, shares, "% of clips", f"{title}, {distribution['unit']}. {words}")
    return Curve(title, words, svg)


def with_threshold(threshold: Mapping[str, Any]) -> Curve:
    """A figure's spread over all the footage by seconds, and where the threshold stands in it.

    Raises:
        ValueError: the edges do not rise, or a number is missing or not finite.
    """
    (value,) = finite([threshold["value"]])
    title = f"{threshold['title']}: {threshold['name']} = {short(value)}"
    whole = number(threshold["seconds"]) or 1.0
    side = "Below" if threshold["side"] == "min" else "Above"
    shares = {word: f"{seconds / whole:.1%}" for word, seconds in threshold["beyond"].items()}
    words = f"{side} the line: {shares['set']} of the seconds measured."
    if value:
        words += f" At half of it {shares['half']}, at twice {shares['twice']}."
    seconds = {"kept": threshold["kept"], "set aside": threshold["aside"]}
    return Curve(title, words, _svg(threshold, seconds, "seconds", f"{title}. {words}", value))


def by_group(edges: Sequence[float], shares: Rows, unit: str, words: str) -> str:
    """The picture of shares in percent, one row a group; the legend is the page's.

    Raises:
        ValueError: the edges do not rise, or a share is negative or not finite.
    """
    table = {"edges": edges, "logarithmic": False, "unit": unit}
    return _svg(table, shares, "% of each", words, legend=False)


def _svg(
    table: Mapping[str, Any],
    rows: Rows,
    label: str,
    words: str,
    threshold: float | None = None,
    legend: bool = True,
) -> str:
    """The picture: a row's bars stand beside the other rows', or on them under a threshold."""
    edges, stacked = finite(table["edges"]), threshold is not None
    heights = [finite(row) for row in rows.values()]
    bins = list(zip(*heights, strict=True))
    rising = all(a < b for a, b in pairwise(edges))
    if not rising or len(bins) != max(len(edges) - 1, 0) or any(min(b) < 0 for b in bins):
        raise ValueError("a histogram has rising edges, and between each two a count of 0 or more")
    (highest,) = finite([max((sum(b) if stacked else max(b) for b in bins), default=0)])
    parts = [text(WIDTH / 2, HEIGHT / 2, "nothing measured")]
    if highest:
        x = Axis(edges[0], edges[-1], LEFT, RIGHT, 7, table["logarithmic"] and edges[0] > 0)
        y = Axis(0, highest, BOTTOM, TOP, 5)
        parts = [*rulers(x, y), *_bars(x, y, edges, rows, stacked)]
        parts += [text(0, 13, label, "start"), *([_legend(rows)] if legend else [])]
        parts += [_mark(x, threshold)] if threshold is not None else []
    parts.append(text(WIDTH / 2, HEIGHT - 9, str(table["unit"])))
    return picture(words, parts)


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
    place, label = x.at(value), short(value)
    anchor, gap = ("start", 4) if place < (LEFT + RIGHT) / 2 else ("end", -4)
    if not x.low <= value <= x.high:
        side = "below" if value < x.low else "above"
        return text(place, TOP - 6, f"threshold {label}, {side} this axis", anchor)
    path = f'<path d="M{place:.2f} {TOP - 16}V{BOTTOM}" stroke-dasharray="4 2"'
    return f'{path} style="stroke:var(--ink)"/>{text(place + gap, TOP - 6, label, anchor)}'


def _legend(rows: Rows) -> str:
    spans = [
        f'<tspan style="fill:var(--series-{place % COLOURS})">■</tspan> {escape(name)}'
        for place, (name, row) in enumerate(rows.items())
        if any(row) and len(rows) > 1
    ]
    return f'<text x="{WIDTH}" y="13" text-anchor="end">{"&#8195;".join(spans)}</text>'
