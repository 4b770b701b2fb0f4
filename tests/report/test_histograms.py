"""Histograms: the bars are the data, the labels can be read, and what is no number is refused."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest

from muybridge.report import axes, histograms
from muybridge.report.curves import Curve

Box = tuple[float, float, float, float]  # x, y, width, height
PLACES = {"start": 0.0, "middle": 0.5, "end": 1.0}


def table(edges: list[float], logarithmic: bool = False, **more: Any) -> dict[str, Any]:
    return {"title": "T", "unit": "pixels", "logarithmic": logarithmic, "edges": edges} | more


def split(edges: list[float], **splits: list[Any]) -> Curve:
    medians = dict.fromkeys(splits, 1.0)
    return histograms.by_split(table(edges, splits=splits, medians=medians))


def threshold(value: Any, edges: list[float], kept: Any, aside: Any, log: bool = False) -> Curve:
    shares = {"set": 1.0, "half": 0.0, "twice": 2.0}
    return histograms.with_threshold(
        table(
            edges, log, name="min_t", side="min", value=value, kept=kept, aside=aside,
            seconds=10.0, beyond=shares,
        )
    )  # fmt: skip


def bars(curve: Curve) -> list[list[Box]]:
    """Of each row its bars."""

    def box(bar: ElementTree.Element) -> Box:
        x, y, width, height = (float(bar.attrib[k]) for k in ("x", "y", "width", "height"))
        return x, y, width, height

    groups = ElementTree.fromstring(curve.svg).iter("g")
    return [[box(bar) for bar in group] for group in groups]


def texts(curve: Curve) -> list[tuple[str, float, float, float]]:
    """What is written: words, left end, right end, height on the page; letters are 0.55 em."""
    found = []
    for one in ElementTree.fromstring(curve.svg).iter("text"):
        words = "".join(one.itertext())
        wide, x = 0.55 * axes.TEXT * len(words), float(one.attrib["x"])
        left = x - wide * PLACES[one.attrib["text-anchor"]]
        found.append((words, left, left + wide, float(one.attrib["y"])))
    return found


def ticks(curve: Curve) -> list[tuple[str, float]]:
    """Labels under the horizontal axis and where their middles are."""
    line = axes.BOTTOM + 5 + axes.TEXT
    return [(words, (a + b) / 2) for words, a, b, y in texts(curve) if y == line]


def value(label: str) -> float:
    size = {"k": 1e3, "M": 1e6}.get(label[-1], 1.0)
    return size * float(label.rstrip("kM").replace(",", ""))


def test_splits_stand_side_by_side_as_shares() -> None:
    rows = bars(split([0.0, 1.0, 2.0, 3.0, 4.0], train=[6, 3, 0, 1], test=[0, 1, 1, 0]))
    unit = (axes.BOTTOM - axes.TOP) / 0.6  # train's 60 % is the highest bar
    assert [round(box[3], 1) for box in rows[0]] == [round(unit * s, 1) for s in (0.6, 0.3, 0.1)]
    assert [round(box[3], 1) for box in rows[1]] == [round(unit * s, 1) for s in (0.5, 0.5)]
    boxes = sorted(box for row in rows for box in row)
    assert all(a[0] + a[2] <= b[0] + 0.02 for a, b in pairwise(boxes))  # none covers another
    assert all(y + high == pytest.approx(axes.BOTTOM, abs=0.02) for _, y, _, high in boxes)
    bin_ = (axes.RIGHT - axes.LEFT) / 4
    assert [int((box[0] - axes.LEFT) / bin_) for box in rows[0]] == [0, 1, 3]
    assert [int((box[0] - axes.LEFT) / bin_) for box in rows[1]] == [1, 2]


def test_set_aside_stands_on_kept() -> None:
    kept, aside = [4.0, 0.0, 2.5], [1.0, 2.0, 0.0]
    below, above = bars(threshold(1.0, [0.0, 1.0, 2.0, 3.0], kept, aside))
    unit = (axes.BOTTOM - axes.TOP) / 5.0
    assert [box[3] for box in below] == pytest.approx([4 * unit, 2.5 * unit], abs=0.02)
    assert [box[3] for box in above] == pytest.approx([unit, 2 * unit], abs=0.02)
    assert above[0][:2] == pytest.approx((below[0][0], below[0][1] - unit), abs=0.02)
    assert above[1][1] + above[1][3] == pytest.approx(axes.BOTTOM, abs=0.02)


@pytest.mark.parametrize(
    ("low", "high", "logarithmic"),
    [
        (0, 1, False), (0.31, 0.57, False), (-0.4, 0.6, False), (324, 396, False),
        (0, 123456, False), (1e6, 1e6 + 3, False), (0, 4e9, False), (1e8 - 300, 1e8 + 900, False),
        (0.7, 4.1, True), (1e-4, 1.05, True), (0.00098, 9.9, True), (95, 1.2e6, True),
        (1.05, 1.3, True), (2.0, 19, True), (1e-30, 1e30, True), (0, 8, True),
    ],
)  # fmt: skip
def test_labels_are_where_their_values_are_and_apart(
    low: float, high: float, logarithmic: bool
) -> None:
    middle = (low * high) ** 0.5 if logarithmic and low > 0 else (low + high) / 2
    curve = threshold(middle, [float(low), middle, float(high)], [1, 2], [3, 0], logarithmic)
    found = ticks(curve)
    assert 2 <= len(found) <= 7
    values = [value(label) for label, _ in found]
    assert all(low * (1 - 1e-9) <= v <= high * (1 + 1e-9) for v in values if v > 0)
    assert values == sorted(set(values))
    way = math.log if logarithmic and low > 0 else float
    wide = axes.RIGHT - axes.LEFT
    for v, (label, place) in zip(values, found, strict=True):
        share = (way(v) - way(low)) / (way(high) - way(low))
        assert place == pytest.approx(axes.LEFT + share * wide, abs=0.1), label
    _, _, _, last = max(texts(curve), key=lambda one: one[3])
    for line in {y for *_, y in texts(curve)}:
        ends = sorted((left, right) for _, left, right, y in texts(curve) if y == line)
        assert all(a[1] + 2 <= b[0] for a, b in pairwise(ends)), (line, texts(curve))
        assert ends[0][0] >= -1 and ends[-1][1] <= axes.WIDTH + 1
    assert last < axes.HEIGHT


@pytest.mark.parametrize("most", [1, 3, 60, 9999, 12345, 10**7, 10**18, 1e300, 0.02])
def test_the_height_of_any_count_is_told(most: float) -> None:
    curve = threshold(1.0, [0.0, 1.0, 2.0], [most, most / 2], [0, 0])
    (high, low), _ = bars(curve)
    assert high[3] == pytest.approx(2 * low[3], abs=0.02)
    assert high[3] == axes.BOTTOM - axes.TOP
    upright = [(words, left, y) for words, left, right, y in texts(curve) if right < high[0]]
    told = [(value(words), y) for words, _, y in upright if words != "seconds"]
    assert 2 <= len(told) <= 5
    for count, y in told:
        place = axes.BOTTOM - count / most * (axes.BOTTOM - axes.TOP)
        assert y == pytest.approx(place + axes.TEXT / 3, abs=0.05)
    assert all(a[1] - b[1] > axes.TEXT for a, b in pairwise(sorted(told)))
    assert all(left >= 0 for _, left, _ in upright)


def test_a_threshold_is_a_line_with_its_value() -> None:
    curve = threshold(10.0, [1.0, 10.0, 100.0], [1, 1], [0, 0], log=True)
    assert f"M{(axes.LEFT + axes.RIGHT) / 2:.2f} " in curve.svg
    assert curve.svg.count("stroke-dasharray") == 1
    assert "10" in [words for words, *_, y in texts(curve) if y == axes.TOP - 6]


@pytest.mark.parametrize(
    ("at", "words"),
    [(0.0, "threshold 0, below this axis"), (5e3, "threshold 5,000, above this axis")],
)
def test_a_threshold_off_the_axis_is_told_at_the_edge(at: float, words: str) -> None:
    curve = threshold(at, [1.0, 10.0, 100.0], [1, 1], [0, 0], log=True)
    assert "stroke-dasharray" not in curve.svg
    ((left, right),) = [(a, b) for said, a, b, _ in texts(curve) if said == words]
    assert left == axes.LEFT if at == 0 else right == pytest.approx(axes.RIGHT)


def test_one_bin_fills_the_field() -> None:
    ((box,),) = bars(split([2.0, 3.0], kept=[7]))
    assert box[0] == axes.LEFT and box[3] == axes.BOTTOM - axes.TOP
    assert 0.98 < box[2] / (axes.RIGHT - axes.LEFT) <= 1


@pytest.mark.parametrize(("edges", "counts"), [([], []), ([1.0], []), ([0.0, 1.0], [0])])
def test_no_data_is_said(edges: list[float], counts: list[int]) -> None:
    for curve in (split(edges, train=counts), threshold(1.0, edges, counts, counts)):
        assert [words for words, *_ in texts(curve)] == ["nothing measured", "pixels"]
    assert "nothing measured" in split([]).svg


@pytest.mark.parametrize("wrong", [math.nan, math.inf, None, "3", -1])
def test_what_is_no_count_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="histogram"):
        split([0.0, 1.0, 2.0], train=[wrong, 0])
    with pytest.raises(ValueError, match="histogram"):
        threshold(1.0, [0.0, 1.0, 2.0], [1, 1], [wrong, 2])
    if wrong != -1:
        with pytest.raises(ValueError, match="histogram"):
            threshold(wrong, [0.0, 1.0, 2.0], [1, 1], [1, 1])


@pytest.mark.parametrize(
    "edges", [[0.0, math.nan, 2.0], [0.0, 0.0, 1.0], [2.0, 1.0, 0.0], [0.0, 1.0], []]
)
def test_edges_that_do_not_hold_the_counts_are_refused(edges: list[float]) -> None:
    with pytest.raises(ValueError, match="histogram"):
        split(edges, train=[1, 2])


def test_words_are_for_readers_of_screens_and_never_markup() -> None:
    evil = "</title><script>&\"'"
    counts = {evil: [1], "test": [1]}
    given = table([0.0, 1.0], splits=counts, medians={evil: 0.5, "test": 0.25})
    picture = ElementTree.fromstring(histograms.by_split(given | {"title": evil, "unit": evil}).svg)
    assert picture.attrib["role"] == "img" and picture[0].tag == "title"
    assert picture[0].text == f"{evil}, {evil}. Median: 0.5 in {evil}, 0.25 in test"
    assert {one.tag for one in picture.iter()} <= {
        "svg", "title", "g", "rect", "path", "text", "tspan"
    }  # fmt: skip


def test_a_legend_tells_rows_apart_by_the_colours_of_their_bars() -> None:
    picture = ElementTree.fromstring(split([0.0, 1.0], train=[1], validation=[0], test=[2]).svg)
    (legend,) = [text for text in picture.iter("text") if list(text)]
    named = {str(one.tail).strip(): one.attrib["style"] for one in legend}
    drawn = [group.attrib["style"] for group in picture.iter("g") if list(group)]
    assert list(named) == ["train", "test"]  # nothing is drawn of the third
    assert list(named.values()) == drawn and len(set(drawn)) == 2
    assert "tspan" not in split([0.0, 1.0], kept=[3]).svg


def test_the_page_on_footage_needs_no_plotting_library() -> None:
    code = (
        "import sys; from muybridge.report import footage, histograms;"
        "histograms.by_split({'title': '', 'unit': '', 'logarithmic': False, 'edges': [0, 1],"
        " 'splits': {'kept': [1]}, 'medians': {}}); sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
