"""Curves of a training run as inline SVG that takes its colours from the page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .run_folder import Record
from .values import mapping, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = npt.NDArray[np.float64]

# Matplotlib draws with these; the page's style sheet says what they are, by day and by night.
INK, GRID = "#010101", "#010102"
SERIES = tuple(f"#0102{i:02x}" for i in range(4))
RAMP = tuple(f"#0103{i:02x}" for i in range(6))
COLOURS = (
    {INK: "var(--soft)", GRID: "var(--line)"}
    | {colour: f"var(--series-{i})" for i, colour in enumerate(SERIES)}
    | {colour: f"var(--ramp-{i})" for i, colour in enumerate(RAMP)}
)
SCORES = 8  # plots of scores; the log holds all
FINE, COARSE = 400, 40  # points of a faint line, and of the calm line through it


@dataclass(frozen=True)
class Curve:
    """A plot: `svg` is markup made here, `words` say what it shows to who cannot see it."""

    title: str
    words: str
    svg: str


@dataclass(frozen=True)
class Line:
    """Points (n, 2) of step and value, and how they are drawn."""

    label: str
    points: Points
    colour: str
    calm: bool = False


def draw_curves(log: Mapping[str, Sequence[Record]]) -> list[Curve]:
    """The plots that a log has numbers for: loss, its parts, by noise, rate, gradient, speed, and
    scores of samples."""
    train, validation = log.get("train", ()), log.get("validation", ())
    resumes = [step for r in log.get("resume", ()) if (step := number(r.get("step"))) is not None]
    loss = [
        Line("training batches", _points(train, "loss"), SERIES[3], calm=True),
        Line("training clips", _points(validation, "train_loss"), SERIES[0]),
        Line("held-out clips", _points(validation, "loss"), SERIES[1]),
    ]
    parts = _family(train, "losses", SERIES)
    plots = [
        ("Loss", loss, _loss_words(loss)),
        ("Parts of the loss", parts if len(parts) > 1 else [], ""),
        ("Held-out loss by share of noise", _family(validation, "by_time", RAMP), ""),
        ("Training clips' loss by share of noise", _family(validation, "train_by_time", RAMP), ""),
        ("Learning rate", _one(train, "learning_rate"), ""),
        ("Gradient norm", _family(train, "gradient_norms", SERIES, calm=True), ""),
        ("Speed, clips per second", _one(train, "clips_per_second", calm=True), ""),
        *_scores(log.get("scores", ())),
    ]
    curves = []
    for title, lines, words in plots:
        lines = [line for line in lines if len(line.points)]
        if lines:
            words = words or _words(lines)
            # A schedule that ends at nothing is a line to zero, not a fall through ten decades.
            logarithmic = title != "Learning rate"
            svg = _svg(lines, resumes, f"{title}: {words}", logarithmic)
            curves.append(Curve(title, words, svg))
    return curves


def _points(records: Iterable[Record], *keys: str) -> Points:
    """(step, value) of the records that have a finite value under `keys`, one inside the other."""
    found = []
    for record in records:
        value: Any = record
        for key in keys:
            value = mapping(value).get(key)
        step, value = number(record.get("step")), number(value)
        if step is not None and value is not None:
            found.append((step, value))
    return np.array(sorted(found, key=lambda pair: pair[0])).reshape(-1, 2)


def _scores(records: Sequence[Record]) -> list[tuple[str, list[Line], str]]:
    """A plot for each of the first scores that samples got during training."""
    own = ("kind", "step", "seconds")
    names = dict.fromkeys(name for record in records for name in record if name not in own)
    return [(f"Samples: {name}", _one(records, name), "") for name in list(names)[:SCORES]]


def _one(records: Sequence[Record], key: str, calm: bool = False) -> list[Line]:
    return [Line("", _points(records, key), SERIES[0], calm)]


def _family(
    records: Sequence[Record], key: str, colours: Sequence[str], calm: bool = False
) -> list[Line]:
    """A line for each name under `key`; one alone needs none."""
    names = dict.fromkeys(str(name) for record in records for name in mapping(record.get(key)))
    chosen = sorted(names)[: len(colours)]
    # A ramp is spread over its whole length, so that few lines are still told apart.
    last = max(len(chosen) - 1, 1)
    spread = [round(i * (len(colours) - 1) / last) for i in range(len(chosen))]
    places = spread if colours is RAMP else range(len(chosen))
    return [
        Line(name if len(chosen) > 1 else "", _points(records, key, name), colours[place], calm)
        for name, place in zip(chosen, places, strict=True)
    ]


def _thin(points: Points, most: int) -> Points:
    """At most `most` points, each the mean of its neighbours."""
    if len(points) <= most:
        return points
    return np.array([part.mean(axis=0) for part in np.array_split(points, most)])


def _svg(lines: Sequence[Line], resumes: Sequence[float], words: str, logarithmic: bool) -> str:
    def draw(axes: Axes) -> None:
        for line in lines:
            _plot(axes, line)
        for step in resumes:
            axes.axvline(step, color=INK, linewidth=0.7, linestyle=(0, (2, 3)))
        values = np.concatenate([line.points[:, 1] for line in lines])
        if logarithmic and values.min() > 0 and values.max() > 30 * values.min():
            axes.set_yscale("log")
        dress(axes, "step", legend=any(line.label for line in lines))

    return to_svg(draw, words)


def to_svg(draw: Callable[[Axes], None], words: str) -> str:
    """A plot as markup for a page; `draw` fills the axes, in `INK`, `GRID`, `SERIES` and `RAMP`."""
    import matplotlib
    from matplotlib.figure import Figure

    # Text stays text, so that the page's font is used; the salt makes equal runs equal pages.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "muybridge"}):
        figure = Figure(figsize=(5.0, 2.7))
        # Margins that fit any tick label: to let matplotlib find them takes longer than to draw.
        figure.subplots_adjust(left=0.11, right=0.98, bottom=0.17, top=0.88)
        draw(figure.add_subplot())
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return _inline(stream.getvalue(), words)


def _plot(axes: Axes, line: Line) -> None:
    fine = _thin(line.points, FINE)
    label = line.label.replace("$", r"\$") or "_"
    marker = "o" if len(fine) <= 24 else ""
    if line.calm and len(fine) > 2 * COARSE:
        axes.plot(*fine.T, color=line.colour, linewidth=0.8, alpha=0.3)
        fine, marker = _thin(line.points, COARSE), ""
    axes.plot(*fine.T, color=line.colour, linewidth=1.6, marker=marker, markersize=3, label=label)


def dress(axes: Axes, label: str, legend: bool) -> None:
    """The page's look: a base line, a faint grid, the label of the horizontal axis, a legend."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, colors=INK, labelsize=9)
    axes.set_xlabel(label, color=INK, fontsize=9)
    if legend:
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            ncols=len(axes.get_legend_handles_labels()[0]),
            frameon=False,
            fontsize=9,
            labelcolor=INK,
            handlelength=1.2,
            columnspacing=1.2,
        )


def _inline(svg: str, words: str) -> str:
    """Matplotlib's file as part of a page: no prologue, no ids of groups, the page's colours."""
    from markupsafe import escape

    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img">', svg, count=1
    )
    for drawn, shown in COLOURS.items():
        svg = svg.replace(drawn, shown)
    return svg.replace('role="img">', f'role="img" aria-label="{escape(words)}">', 1).strip()


def _words(lines: Sequence[Line]) -> str:
    parts = []
    for line in lines:
        first, last = line.points[0, 1], line.points[-1, 1]
        name = f"{line.label}: " if line.label else ""
        parts.append(f"{name}{first:.3g} to {last:.3g}")
    return f"From first to last, {'; '.join(parts)}."


def _loss_words(lines: Sequence[Line]) -> str:
    held_out = lines[-1].points
    if not len(held_out):
        return ""
    step, value = held_out[held_out[:, 1].argmin()]
    words = f"On held-out clips it is lowest at step {int(step)}: {value:.4g}"
    last = held_out[-1]
    if last[0] > step and last[1] > 1.05 * value:
        return f"{words}. Since then it rose to {last[1]:.4g}: clips may be learnt by heart."
    return f"{words}."
