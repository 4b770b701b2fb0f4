"""Plots of an evaluation as inline SVG: lines with bands, clouds of points, spreads of values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from . import histograms
from .axes import BOTTOM, COLOURS, LEFT, RIGHT, TOP, WIDTH, Axis, picture, rulers, text
from .curves import Curve
from .scores_file import Figure, Series
from .values import short

LINES, POINTS, DOTS, BINS = 8, 120, 250, 20  # the most of a plot, a line, a cloud, a histogram
FEW = 16  # points of a line that are marked one by one
LARGEST = 1e100  # of what is drawn, so that differences stay finite
DASHES = ("", "7 3", "2 3", "8 3 2 3")
# Marks around a point, so that clouds are told apart without their colours.
MARKS = (
    "m-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0",
    "m-2-2h4v4h-4z",
    "m0-2.6 2.4 4.4h-4.8z",
    "m0-3 3 3-3 3-3-3z",
)

Point = tuple[float, float]


@dataclass(frozen=True)
class Plot(Curve):
    """A plot, each series of its legend as (sample of how it is drawn, name), and a note."""

    legend: tuple[tuple[str, str], ...] = ()
    note: str = ""


@dataclass(frozen=True)
class _Spot:
    """A point of a line; `low` and `high` are None where it has no band."""

    x: float
    y: float
    low: float | None
    high: float | None


def lines(figure: Figure) -> Plot:
    """Lines over a common axis, with a band where they have one. A missing value is a gap."""
    runs = [_runs(series) for series in figure.series[:LINES]]
    spots = [spot for parts in runs for part in parts for spot in part]
    words = _ends(figure.series[:LINES], runs)
    if not spots:
        return _nothing(figure)
    heights = [v for spot in spots for v in (spot.y, spot.low, spot.high) if v is not None]
    x = Axis(*_range([spot.x for spot in spots], 0.0), LEFT, RIGHT, 7)
    y = Axis(*_range(heights, 0.05), BOTTOM, TOP, 5)
    parts = [*rulers(x, y)]
    for band in (True, False):  # a band never covers a line
        for place, found in enumerate(runs):
            for run in found:
                parts += _band(run, x, y, place) if band else _line(run, x, y, place)
    return _plot(figure, words, parts, [_swatch(place) for place in range(len(runs))])


def clouds(figure: Figure) -> Plot:
    """Points in a plane, one unit being as long in both directions."""
    groups = [_pairs(series) for series in figure.series[:COLOURS]]
    points = [point for group in groups for point in group]
    if not points:
        return _nothing(figure)
    foot = TOP - 18 + RIGHT - LEFT  # a square field
    x, y = _square(points, foot)
    parts = [*rulers(x, y)]
    for place in reversed(range(len(groups))):  # the first group lies on top
        path = "".join(
            f"M{x.at(a):.1f} {y.at(b):.1f}{MARKS[place]}" for a, b in _some(groups[place], DOTS)
        )
        parts.append(f'<path d="{path}" fill-opacity=".65" style="fill:var(--series-{place})"/>')
    said = [
        f"{series.name} {len(group):,}"
        + (f", of which {DOTS} are drawn" if len(group) > DOTS else "")
        for group, series in zip(groups, figure.series, strict=False)
    ]
    words = f"Points: {'; '.join(said)}."
    swatches = [_mark(place) for place in range(len(groups))]
    return _plot(figure, words, parts, swatches, foot + 44)


def spread(figure: Figure) -> Plot:
    """How values are spread in each group, as shares of it so that groups compare.

    What lies far outside all else is counted in the outermost bin, and said.
    """
    groups = {
        series.name: sorted(v for v in series.y if v is not None and abs(v) < LARGEST)
        for series in figure.series[:COLOURS]
    }
    groups = {name: values for name, values in groups.items() if values}
    if not groups:
        return _nothing(figure)
    low, high = _core(sorted(v for values in groups.values() for v in values))
    bins = min(max(round(math.sqrt(min(map(len, groups.values())))), 5), BINS)
    edges = [low + (high - low) * i / bins for i in range(bins + 1)]
    shares = {name: _shares(values, edges) for name, values in groups.items()}
    beyond = sum(not low <= v <= high for values in groups.values() for v in values)
    words = "Median: " + "; ".join(
        f"{name} {short(values[len(values) // 2])} ({len(values):,} values)"
        for name, values in groups.items()
    )
    words += f". {beyond:,} beyond the axis are counted at its ends." if beyond else "."
    svg = histograms.by_group(edges, shares, figure.x, f"{figure.title}. {words}")
    swatches = [_block(place) for place in range(len(groups))]
    legend = tuple(zip(swatches, groups, strict=True))
    return Plot(figure.title, words, svg, legend, figure.note)


def _plot(
    figure: Figure, words: str, parts: list[str], swatches: list[str], height: float = 194
) -> Plot:
    parts.append(text(0, 13, _clipped(figure.y), "start"))
    parts.append(text(WIDTH / 2, height - 9, _clipped(figure.x)))
    names = [series.name for series in figure.series]
    legend = tuple(zip(swatches, names, strict=False))
    more = len(names) - len(swatches)
    words += f" {more} more are not drawn." if more else ""
    svg = picture(f"{figure.title}. {words}", parts, height)
    return Plot(figure.title, words, svg, legend, figure.note)


def _nothing(figure: Figure) -> Plot:
    words = "Nothing measured."
    svg = picture(f"{figure.title}. {words}", [text(WIDTH / 2, 97, "nothing measured")])
    return Plot(figure.title, words, svg, (), figure.note)


def _runs(series: Series) -> list[list[_Spot]]:
    """The stretches of a line without a gap, thinned so that the line has at most `POINTS`."""
    bands = (series.low or (None,) * len(series.y), series.high or (None,) * len(series.y))
    rows = [tuple(map(_drawn, row)) for row in zip(series.x, series.y, *bands, strict=True)]
    rows = sorted((row for row in rows if row[0] is not None), key=lambda row: row[0] or 0.0)
    size = math.ceil(len(rows) / POINTS)
    runs: list[list[_Spot]] = [[]]
    for begin in range(0, len(rows), max(size, 1)):
        x, y, low, high = (
            _mean(column) for column in zip(*rows[begin : begin + size], strict=True)
        )
        if x is not None and y is not None:
            runs[-1].append(_Spot(x, y, low, high))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _drawn(value: float | None) -> float | None:
    return value if value is not None and abs(value) < LARGEST else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _ends(named: Sequence[Series], runs: Sequence[list[list[_Spot]]]) -> str:
    said = [
        f"{series.name}: {short(parts[0][0].y)} to {short(parts[-1][-1].y)}"
        for series, parts in zip(named, runs, strict=True)
        if parts
    ]
    return f"From first to last, {'; '.join(said)}."


def _band(run: list[_Spot], x: Axis, y: Axis, place: int) -> Iterator[str]:
    whole = [(s.x, s.low, s.high) for s in run if s.low is not None and s.high is not None]
    if len(whole) < 2:
        return
    edge = [(at, high) for at, _, high in whole] + [(at, low) for at, low, _ in reversed(whole)]
    fill = f'fill-opacity=".18" style="fill:var(--series-{place % COLOURS})"'
    yield f'<path d="{_path(edge, x, y)}Z" {fill}/>'


def _line(run: list[_Spot], x: Axis, y: Axis, place: int) -> Iterator[str]:
    points = [(spot.x, spot.y) for spot in run]
    if len(points) > 1:
        yield f'<path d="{_path(points, x, y)}" {_ink(place)} stroke-width="1.8"/>'
    if len(points) <= FEW:
        dots = "".join(f"M{x.at(a):.1f} {y.at(b):.1f}{MARKS[0]}" for a, b in points)
        yield f'<path d="{dots}" style="fill:var(--series-{place % COLOURS})"/>'


def _path(points: Sequence[Point], x: Axis, y: Axis) -> str:
    return "M" + "L".join(f"{x.at(a):.1f} {y.at(b):.1f}" for a, b in points)


def _ink(place: int) -> str:
    dash = DASHES[(place + place // COLOURS) % len(DASHES)]
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'fill="none"{dashes} style="stroke:var(--series-{place % COLOURS})"'


def _swatch(place: int) -> str:
    return _sample(28, f'<path d="M1 5h26" {_ink(place)} stroke-width="2"/>')


def _mark(place: int) -> str:
    return _sample(
        10,
        f'<path d="M0 0{MARKS[place]}" transform="translate(5 5)scale(1.8)" '
        f'style="fill:var(--series-{place})"/>',
    )


def _block(place: int) -> str:
    return _sample(10, f'<path d="M1 1h8v8h-8z" style="fill:var(--series-{place})"/>')


def _sample(width: int, drawn: str) -> str:
    size = f'viewBox="0 0 {width} 10" width="{width}" height="10"'
    return f'<svg class="swatch" {size} aria-hidden="true">{drawn}</svg>'


def _pairs(series: Series) -> list[Point]:
    both = zip(map(_drawn, series.x), map(_drawn, series.y), strict=True)
    return [(x, y) for x, y in both if x is not None and y is not None]


def _some(points: list[Point], most: int) -> list[Point]:
    """At most `most` points, evenly taken in the order in which they came."""
    if len(points) <= most:
        return points
    return [points[i * len(points) // most] for i in range(most)]


def _square(points: Sequence[Point], foot: float) -> tuple[Axis, Axis]:
    ends = [_range(side, 0.04) for side in zip(*points, strict=True)]
    half = max(high - low for low, high in ends) / 2
    (left, right), (bottom, top) = (((a + b) / 2 - half, (a + b) / 2 + half) for a, b in ends)
    return Axis(left, right, LEFT, RIGHT, 5), Axis(bottom, top, foot, TOP - 18, 6)


def _range(values: Sequence[float], margin: float) -> tuple[float, float]:
    """The span of values with a margin; down to zero where they come near it, never empty."""
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        slack = 0.1 * abs(high) or 1.0
        return low - slack, high + slack
    slack = margin * (high - low)
    near = margin and 0 <= low < 0.5 * high
    return (0.0 if near else low - slack), high + slack


def _core(values: Sequence[float]) -> tuple[float, float]:
    """The span of sorted values, cut where a few of them would press all others into one bin."""
    low, high = values[0], values[-1]
    inner = values[len(values) // 50], values[-1 - len(values) // 50]
    if high - low > 4 * (inner[1] - inner[0]) > 0:
        low, high = inner
    return _range((low, high), 0.0)


def _shares(values: Sequence[float], edges: Sequence[float]) -> list[float]:
    counts = [0] * (len(edges) - 1)
    for value in values:
        place = (value - edges[0]) / (edges[-1] - edges[0]) * len(counts)
        counts[min(max(int(place), 0), len(counts) - 1)] += 1
    return [100 * count / len(values) for count in counts]


def _clipped(words: str) -> str:
    return words if len(words) <= 46 else words[:45] + "…"
