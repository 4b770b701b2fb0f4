"""Draws, from committed rows, quality against budget and against the strength of guidance:
`docs/budget.png`, `docs/guidance.png`.

python benchmarks/flow_quality.py --out FOLDER --data actions --minutes 1 default   # and 2, 4 ...
python benchmarks/asked.py RUN
python benchmarks/plots.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from muybridge.core import files

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"


def rows_of(name: str) -> list[dict[str, Any]]:
    """The rows that a benchmark left."""
    return list(files.read_json(HERE / "results" / f"{name}.json")["rows"])


def budget() -> None:
    """Distances over their floor and the share recognised, of the default."""
    rows = [row for row in rows_of("flow_quality_actions") if row["variant"] == "default"]
    rows = sorted(rows, key=lambda row: row["minutes"])
    minutes = [row["minutes"] for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for name, mark in (("appearance", "o"), ("motion", "s"), ("learned", "^")):
        ratios = [row[f"{name}, train"] / row[f"{name} floor, train"] for row in rows]
        left.plot(minutes, ratios, marker=mark, label=name)
    left.axhline(1, color="grey", linewidth=0.8)
    left.set(yscale="log", ylabel="distance over its floor", xlabel="minutes on two cores")
    left.set_yticks(ticks := [0.5, 1, 2, 4, 8], [f"{t:g}" for t in ticks])
    left.minorticks_off()
    left.legend()
    right.plot(minutes, [row["recognised"] for row in rows], marker="o", color="black")
    right.set(ylabel="recognised as asked, %", xlabel="minutes on two cores", ylim=(0, 100))
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(minutes, [f"{m:g}" for m in minutes])
    figure.savefig(DOCS / "budget.png", dpi=100)


def guidance() -> None:
    """What is right in clips from words alone, and their distances, of `flow-any` on the stage."""
    rows = [row for row in rows_of("asked") if row["task"] == "words, seen"]
    scales = [row["guidance"] for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for name in ("colour", "motion", "shape", "all"):
        left.plot(scales, [row[name] for row in rows], marker="o", label=name)
    left.axhline(100 / 3, color="grey", linewidth=0.8, linestyle=":", label="shape by guessing")
    left.set(ylabel="right, %", xlabel="guidance", ylim=(0, 100))
    for name in ("appearance", "motion"):
        right.plot(scales, [row[f"{name} distance"] for row in rows], marker="o", label=name)
    right.set(yscale="log", ylabel="distance", xlabel="guidance")
    right.set_yticks(ticks := [20, 50, 100, 200, 500], [f"{t:g}" for t in ticks])
    right.minorticks_off()
    for axes in (left, right):  # above, since lines may be anywhere
        axes.legend(fontsize="x-small", ncol=5, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    figure.savefig(DOCS / "guidance.png", dpi=100)


if __name__ == "__main__":
    budget()
    guidance()
