"""Histograms of footage as inline SVG: by split, and with a threshold through them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .curves import INK, SERIES, Curve, dress, to_svg
from .run_folder import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def by_split(distribution: Mapping[str, Any]) -> Curve:
    """A figure's spread over the clips of each split, as shares so that splits compare."""
    title, unit = str(distribution["title"]), str(distribution["unit"])
    medians = distribution["medians"]
    words = "Median: " + ", ".join(f"{_short(value)} in {name}" for name, value in medians.items())
    if list(medians) == ["kept"]:
        words = f"Median: {_short(medians['kept'])}"

    def draw(axes: Axes) -> None:
        edges = distribution["edges"]
        for place, (name, counts) in enumerate(distribution["splits"].items()):
            total = sum(counts)
            if total:
                shares = [100 * count / total for count in counts]
                colour = SERIES[place % len(SERIES)]
                # Splits lie over one another, so only the first is filled.
                if place == 0:
                    axes.stairs(shares, edges, fill=True, color=colour, alpha=0.25)
                axes.stairs(shares, edges, color=colour, linewidth=1.6, label=name)
        _scale(axes, distribution)
        dress(axes, unit, legend=len(medians) > 1)
        axes.set_ylabel("% of clips", color=INK, fontsize=9)

    return Curve(title, words, to_svg(draw, f"{title}, {unit}. {words}"))


def with_threshold(threshold: Mapping[str, Any]) -> Curve:
    """A figure's spread over all the footage by seconds, and where the threshold stands in it."""
    title = f"{threshold['title']}: {threshold['name']} = {_short(threshold['value'])}"
    words = _beyond(threshold)

    def draw(axes: Axes) -> None:
        edges, kept = threshold["edges"], np.array(threshold["kept"])
        all_of_it = kept + np.array(threshold["aside"])
        axes.stairs(all_of_it, edges, fill=True, color=SERIES[1], alpha=0.8, label="set aside")
        axes.stairs(kept, edges, fill=True, color=SERIES[0], label="kept")
        _scale(axes, threshold)
        if threshold["value"] > 0 or not threshold["logarithmic"]:
            axes.axvline(threshold["value"], color=INK, linewidth=1.4, linestyle=(0, (4, 2)))
        dress(axes, str(threshold["unit"]), legend=True)
        axes.set_ylabel("seconds", color=INK, fontsize=9)

    return Curve(title, words, to_svg(draw, f"{title}. {words}"))


def _beyond(threshold: Mapping[str, Any]) -> str:
    whole = number(threshold["seconds"]) or 1.0
    side = "Below" if threshold["side"] == "min" else "Above"
    shares = {word: f"{seconds / whole:.1%}" for word, seconds in threshold["beyond"].items()}
    words = f"{side} the line: {shares['set']} of the seconds measured."
    if not threshold["value"]:
        return words
    return f"{words} At half of it {shares['half']}, at twice {shares['twice']}."


def _scale(axes: Axes, table: Mapping[str, Any]) -> None:
    edges = table["edges"]
    if table["logarithmic"] and edges[0] > 0:
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        axes.set_xscale("log")
        # Within two decades powers of ten alone would leave one tick or none.
        near = edges[-1] < 100 * edges[0]
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if near else (1,), numticks=8))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0)


def _short(value: object) -> str:
    found = number(value)
    return "unknown" if found is None else f"{found:,.0f}" if abs(found) >= 1000 else f"{found:.3g}"
