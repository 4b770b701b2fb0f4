"""Solvers, steps and guidance on one trained run: seconds a clip, and distance.

    python benchmarks/sampling.py --out FOLDER --run RUN [--rows "50 Heun,20 multistep"]

What a row does not name is as in the run's own recipe. FOLDER is that of `flow_quality.py`, whose
dataset and judge are used. All rows are of the same noise. Seconds are those of eight clips made at
once, the best of three. A comma inside a row's name is written as a semicolon.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

from common import report
from flow_quality import SAMPLES, Judge, prepared

import muybridge as mb

ROWS: dict[str, dict[str, Any]] = {
    "50 Heun": {"solver": "heun", "steps": 50},
    "25 Euler": {"solver": "euler", "steps": 25},
    "10 Euler": {"solver": "euler", "steps": 10},
    "20 multistep": {"steps": 20},
    "20, guidance 2": {"guidance": 2.0},
    "20, guidance 3": {"guidance": 3.0},
    "20, guidance 4": {"guidance": 4.0},
    "10 multistep": {"steps": 10},
    "8 multistep": {"steps": 8},
    "6 multistep": {"steps": 6},
    "10, shift 3": {"steps": 10, "shift": 3.0},
    "10, shift 8": {"steps": 10, "shift": 8.0},
    "10, guidance 1": {"steps": 10, "guidance": 1.0},
    "10, guidance 1.5": {"steps": 10, "guidance": 1.5},
    "10, guidance 3": {"steps": 10, "guidance": 3.0},
    "10, guided above .5": {"steps": 10, "guided": (0.5, 1.0)},
    "10, guided above .8": {"steps": 10, "guided": (0.8, 1.0)},
}


def main() -> None:
    """Samples and judges each row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--rows", default=",".join(ROWS).replace(", ", "; "))
    args = parser.parse_args()
    dataset = prepared("actions", args.out)
    judge, rows = Judge(dataset), []
    for name in args.rows.split(","):
        name = name.replace("; ", ", ")
        opened = mb.Run.open(args.run)
        sampling = opened.recipe.sampling.with_values(**ROWS[name])
        run = dataclasses.replace(
            opened, recipe=dataclasses.replace(opened.recipe, sampling=sampling)
        )
        objective, _ = run.trained()
        labels = [dataset.labels[i % len(dataset.labels)] for i in range(SAMPLES)]
        clips = run.sample(objective, run.request(label=labels, count=SAMPLES, seed=1))
        eight, best = run.request(label=labels[:8], count=8, seed=1), float("inf")
        for _ in range(3):
            begun = time.perf_counter()
            run.sample(objective, eight)
            best = min(best, time.perf_counter() - begun)
        found = judge.row(clips, labels)
        shown = {k: v for k, v in found.items() if ", test" not in k and ", real" not in k}
        told = {"sampling": name, "guidance": sampling.guidance, "seconds a clip": best / 8}
        rows.append(told | shown)
        print(rows[-1], flush=True)
    report("sampling", rows, run_minutes=mb.Run.open(args.run).recipe.training.minutes)


if __name__ == "__main__":
    main()
