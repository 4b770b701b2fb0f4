"""Every family that ships, on the same clips for the same minutes, judged alike.

    python benchmarks/families.py --out FOLDER --data stage --minutes 10
    python benchmarks/families.py --out FOLDER --data actions --minutes 5 gan3d gru

What is trained and judged is not made again, so that it can be spread over days. The page is
FOLDER/DATA/leaderboard.html, with samples in FOLDER/DATA/wall.jpg; the table here is a part of it.
Distances and the rest are divided by their floor where there is one: the same of real clips.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import numpy as np
from common import SHARED, report

import muybridge as mb
from muybridge.compare import compare
from muybridge.core import files, video
from muybridge.core.video import Frames
from muybridge.recipe import shipped

SAMPLES = {"stage": 500, "actions": 128}
# `flow-base` is for a GPU, `flow-nano` is flow-small's network made smaller, `fsq` makes no clips.
LEFT_OUT = ("flow-base", "flow-nano", "fsq")
SHOWN = (1, 4, 6)
COLUMNS = {
    "appearance / floor": "appearance distance",
    "motion / floor": "motion distance",
    "recall": "recall",
    "copies %": "copies",
    "variety / floor": "variety within labels",
    "all as asked %": "all as asked",
    "recognised %": "label as asked",
    "PSNR, last held": "PSNR of continuations",
    "SSIM, last held": "SSIM of continuations",
    "s a clip": "time of a clip",
    "real-time factor": "real-time factor",
    "MiB": "peak memory",
    "M parameters": "parameters",
}


def dataset(data: str, out: Path) -> Path:
    """Made where it is not there; of the stage, a quarter is kept for judging."""
    folder = out / f"{data}-dataset"
    if not (folder / "dataset.json").exists():
        footage = SHARED / "clips" / data
        config = mb.Recipe.load("flow-small").prepare
        if data == "stage":
            footage = out / "stage-footage"
            if not footage.exists():
                mb.make_stage(footage, 2000, seed=1)
            config = config.with_values(ratios=(0.7, 0.05, 0.25))
        mb.prepare(footage, folder, config=config)
    return folder


def row(run: Path) -> dict[str, Any]:
    """What a run's `scores.json` says."""
    judged = files.read_json(run / "scores.json")
    scores = {score["name"]: score for score in judged["scores"]}
    found: dict[str, Any] = {"recipe": run.name, "steps": int(judged["checkpoint"][5:])}
    for column, name in COLUMNS.items():
        score = scores.get(name)
        if score is None:
            found[column] = ""
        elif column.endswith("/ floor"):
            found[column] = score["value"] / score["floor"]
        elif column.endswith("last held"):
            beaten = re.search(r"beaten at (\d+ of \d+)", score.get("note", ""))
            told = f", better at {beaten[1]}" if beaten else ""
            found[column] = f"{score['value']:.3g}, {score['floor']:.3g}{told}"
        else:
            found[column] = score["value"]
    return found


def wall(runs: list[Path]) -> Frames:
    """The same three judged clips of each run, a row a run, beneath the real ones beside them."""

    def sheet(place: int) -> Frames:
        paths = {"real": runs[0] / f"samples/evaluation/real-{place:03d}.mp4"}
        paths |= {run.name: run / f"samples/evaluation/made-{place:03d}.mp4" for run in runs}
        clips = [np.stack([frame for _, frame in video.decode(path)]) for path in paths.values()]
        return video.contact_sheet(clips, list(paths), frames=5)

    return np.concatenate([sheet(place) for place in SHOWN], 1)


def main() -> None:
    """Trains and judges what is not there yet, then shows all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*")
    parser.add_argument("--data", choices=list(SAMPLES), default="stage")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    args = parser.parse_args()
    every = [name for name in shipped() if name not in LEFT_OUT]
    folder = args.out / args.data
    changes = (f"evaluation.samples={SAMPLES[args.data]}",)
    compare(dataset(args.data, args.out), args.recipes or every, args.minutes, folder, changes)
    runs = [folder / name for name in every if (folder / name / "scores.json").exists()]
    rows = [row(run) for run in runs]
    (folder / "wall.jpg").write_bytes(video.jpeg(wall(runs)))
    report(f"families_{args.data}", rows, minutes=args.minutes, samples=SAMPLES[args.data])


if __name__ == "__main__":
    main()
