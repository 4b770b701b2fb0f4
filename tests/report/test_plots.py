"""Plots of an evaluation: what is drawn are the numbers, and anything may be in the file."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from muybridge.report import axes, plots
from muybridge.report.scores_file import Figure, Series

Points = list[tuple[float, float]]


def figure(*series: Series, **more: str) -> Figure:
    words = {"title": "T", "x": "seconds", "y": "SSIM", "note": ""} | more
    return Figure(**words, series=series)


def line(name: str, y: Any, x: Any = None, low: Any = (), high: Any = ()) -> Series:
    return Series(name, tuple(range(len(y)) if x is None else x), tuple(y), tuple(low), tuple(high))


def paths(plot: plots.Plot, what: str) -> list[Points]:
    """The points of each path whose style or attributes have `what` in them."""
    found = []
    for path in ElementTree.fromstring(plot.svg).iter("path"):
        if what in f"{path.attrib}":
            pairs = re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path.attrib["d"])
            found.append([(float(x), float(y)) for x, y in pairs])
    return found


def scales(plot: plots.Plot, foot: float) -> tuple[Any, Any]:
    """From places in the picture to values, by the labels of the axes alone."""
    across, up = [], []
    for one in ElementTree.fromstring(plot.svg).iter("text"):
        x, y, words = float(one.attrib["x"]), float(one.attrib["y"]), str(one.text)
        if not re.fullmatch(r"-?[\d.,e-]+", words):
            continue
        if one.attrib["text-anchor"] == "end":
            up.append((y - axes.TEXT / 3, float(words)))
        elif y == foot + 5 + axes.TEXT:
            across.append((x, float(words)))
    assert len(across) > 1 and len(up) > 1
    return tuple(np.polynomial.Polynomial.fit(*zip(*ends, strict=True), 1) for ends in (across, up))


def test_lines_and_bands_are_where_their_numbers_are() -> None:
    y = [0.9, 0.7, 0.8, 0.75]
    low, high = [v - 0.1 for v in y], [v + 0.05 for v in y]
    plot = plots.lines(figure(line("generated", y, [0, 0.5, 1, 2], low, high)))
    across, up = scales(plot, axes.BOTTOM)
    ((*points,),) = paths(plot, "stroke-width")
    assert [across(x) for x, _ in points] == pytest.approx([0, 0.5, 1, 2], abs=0.01)
    assert [up(v) for _, v in points] == pytest.approx(y, abs=0.004)
    ((*band,),) = paths(plot, "fill-opacity")
    assert [up(v) for _, v in band] == pytest.approx(high + low[::-1], abs=0.004)


def test_a_missing_value_is_a_gap_and_a_lone_point_a_dot() -> None:
    plot = plots.lines(figure(line("a", [1.0, 2.0, None, 3.0, None, 4.0, 5.0])))
    assert [len(run) for run in paths(plot, "stroke-width")] == [2, 2]
    assert sum(map(len, paths(plot, "fill:var(--series-0)"))) == 5  # each point is marked


def test_a_long_line_is_thinned_and_keeps_its_shape() -> None:
    x = np.linspace(0, 10, 5000)
    plot = plots.lines(figure(line("a", np.sin(x).tolist(), x.tolist())))
    ((*points,),) = paths(plot, "stroke-width")
    assert len(points) <= plots.POINTS
    across, up = scales(plot, axes.BOTTOM)
    drawn = [(across(a), up(b)) for a, b in points]
    assert max(abs(math.sin(a) - b) for a, b in drawn) < 0.03
    assert len(plot.svg) < 8000


def test_lines_are_told_apart_without_their_colours() -> None:
    many = [line(f"line {i}", [i, i + 1.0]) for i in range(plots.LINES + 3)]
    plot = plots.lines(figure(*many))
    drawn = re.findall(r'fill="none"([^/]*) stroke-width="1.8"/', plot.svg)
    assert len(drawn) == len(set(drawn)) == plots.LINES
    dashes = [re.sub(r"style=.*", "", one) for one in drawn[: axes.COLOURS]]
    assert len(set(dashes)) == axes.COLOURS
    assert [name for _, name in plot.legend] == [f"line {i}" for i in range(plots.LINES)]
    assert "3 more are not drawn" in plot.words


@pytest.mark.parametrize(
    "y", [[2.0], [0.0, 0.0], [1e99, -1e99], [1e300, 1.0], [1e-300, 2e-300], [1.0, 1.0 + 1e-15]]
)
def test_any_span_of_values_is_drawn_inside_the_picture(y: list[float]) -> None:
    plot = plots.lines(figure(line("a", y)))
    places = [place for one in paths(plot, "series") for place in one]
    assert places
    assert all(axes.LEFT - 1 <= x <= axes.RIGHT + 1 for x, _ in places)
    assert all(axes.TOP - 1 <= v <= axes.BOTTOM + 1 for _, v in places)


def test_the_words_say_what_the_lines_do() -> None:
    plot = plots.lines(figure(line("made", [0.94, 0.5]), line("real", [0.95, 0.9])))
    assert plot.words == "From first to last, made: 0.94 to 0.5; real: 0.95 to 0.9."
    picture = ElementTree.fromstring(plot.svg)
    assert picture.attrib["role"] == "img" and picture[0].text == f"T. {plot.words}"


@pytest.mark.parametrize("draw", [plots.lines, plots.clouds, plots.spread])
@pytest.mark.parametrize("y", [[], [None, None]])
def test_nothing_measured_is_said(draw: Any, y: list[None]) -> None:
    for one in (figure(), figure(line("a", y))):
        assert "nothing measured" in draw(one).svg


@pytest.mark.parametrize("draw", [plots.lines, plots.clouds, plots.spread])
def test_names_are_words_and_never_markup(draw: Any) -> None:
    evil = "</title><script>&\"'"
    more = dict.fromkeys(("title", "x", "y"), evil)
    picture = ElementTree.fromstring(draw(figure(line(evil, [1.0, 2.0]), **more)).svg)
    assert {one.tag for one in picture.iter()} <= {"svg", "title", "g", "rect", "path", "text"}


def test_clouds_have_one_unit_in_both_directions() -> None:
    draw = np.random.default_rng(0)
    x, y = draw.normal(5, 3, 60).round(2), draw.normal(-1, 0.2, 60).round(2)
    plot = plots.clouds(figure(line("a", y.tolist(), x.tolist())))
    foot = axes.TOP - 18 + axes.RIGHT - axes.LEFT
    across, up = scales(plot, foot)
    assert across.convert().coef[1] == pytest.approx(-up.convert().coef[1], rel=0.01)
    ((*points,),) = paths(plot, "fill-opacity")
    assert [across(a) for a, _ in points] == pytest.approx(x.tolist(), abs=0.05)
    assert [up(b) for _, b in points] == pytest.approx(y.tolist(), abs=0.05)


def test_a_large_cloud_is_thinned_and_the_first_group_lies_on_top() -> None:
    draw = np.random.default_rng(0)
    many = draw.normal(0, 1, (2, 4000)).tolist()
    plot = plots.clouds(figure(line("made", *many), line("real", [0.0, None, 1.0])))
    drawn = [len(one) for one in paths(plot, "fill-opacity")]
    assert drawn == [2, plots.DOTS]
    assert plot.words == f"Points: made 4,000, of which {plots.DOTS} are drawn; real 2."


def test_a_spread_is_the_share_of_each_group() -> None:
    draw = np.random.default_rng(0)
    groups = {"made": draw.normal(0, 1, 500), "real": draw.normal(1, 1, 90)}
    plot = plots.spread(figure(*(line(n, v.tolist()) for n, v in groups.items()), x="motion"))
    bars = [
        [(float(b.attrib["x"]), float(b.attrib["height"])) for b in group]
        for group in ElementTree.fromstring(plot.svg).iter("g")
    ]
    values = np.concatenate(list(groups.values()))
    bins = round(math.sqrt(90))
    counts = [np.histogram(v, bins, (values.min(), values.max()))[0] for v in groups.values()]
    shares = [one / one.sum() for one in counts]
    unit = (axes.BOTTOM - axes.TOP) / max(one.max() for one in shares)
    for drawn, share in zip(bars, shares, strict=True):
        assert [high for _, high in drawn] == pytest.approx(
            (unit * share[share > 0]).tolist(), abs=0.02
        )
    boxes = sorted(x for group in bars for x, _ in group)
    assert all(a < b for a, b in pairwise(boxes))
    assert f"made {np.sort(groups['made'])[250]:.3g} (500 values)" in plot.words
    assert plot.svg.count("tspan") == 0  # the legend is the page's


def test_a_few_values_far_off_do_not_press_all_others_into_one_bin() -> None:
    values = [*np.linspace(0, 1, 200).tolist(), 1e6]
    plot = plots.spread(figure(line("a", values)))
    assert len(re.findall("<rect", plot.svg)) > 10
    assert "beyond the axis are counted at its ends" in plot.words


def test_values_that_are_all_alike_are_one_bar() -> None:
    assert len(re.findall("<rect", plots.spread(figure(line("a", [0.3] * 50))).svg)) == 1
