"""Draws quality against budget from the committed rows of `flow_quality.py`: `docs/budget.png`.

python benchmarks/flow_quality.py --out FOLDER --data actions --minutes 1 default   # and 2, 4 ...
python benchmarks/budget.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from muybridge.core import files

HERE = Path(__file__).parent


def main() -> None:
    """Distances over their floor and the share recognised, of the default."""
    rows = files.read_json(HERE / "results" / "flow_quality_actions.json")["rows"]
    rows = sorted((r for r in rows if r["variant"] == "default"), key=lambda r: r["minutes"])
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
    figure.savefig(HERE.parent / "docs" / "budget.png", dpi=100)


if __name__ == "__main__":
    main()
