"""A long run: does its memory stay, and what of its time is not training?

python benchmarks/steady.py [--steps 5000] [--recipe flow-nano] [--size 32]

A step is the median time between two lines of the log, of those that nothing but steps lies
between; all the rest of the time, that in which others had the machine among it, is what is not
training.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

from common import report

import muybridge as mb
from muybridge.data.prepare import Config


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="flow-nano")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--size", type=int, default=32)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        size = (args.size, args.size)
        mb.make_stage(place / "footage", 200, size=size, seed=6)
        mb.prepare(place / "footage", place / "data", config=Config(size=size))
        command = [sys.executable, "-m", "muybridge", "train", args.recipe, "--data"]
        command += [str(place / "data"), "--out", str(place / "run"), "--steps", str(args.steps)]
        command += ["--set", f"data.size=[{args.size},{args.size}]"]
        subprocess.run(command, check=True)
        text = (place / "run" / "log.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    train = [line for line in lines if line["kind"] == "train"]
    step = statistics.median(
        (two["seconds"] - one["seconds"]) / (two["step"] - one["step"])
        for one, two in pairwise(lines)
        if one["kind"] == two["kind"] == "train"
    )
    total = next(line["seconds"] for line in lines if line["kind"] == "end")
    peaks = [train[len(train) * share // 100 - 1]["peak_memory_gib"] for share in (25, 50, 75, 100)]
    row = {
        "recipe": args.recipe, "steps": args.steps, "s a step": step,
        "peak GiB after 25 %": peaks[0], "50": peaks[1], "75": peaks[2], "100": peaks[3],
        "data wait %": 100 * statistics.mean(line["data_wait"] for line in train[1:]),
        "judging, previews, saving, logging %": 100 * (1 - step * args.steps / total),
    }  # fmt: skip
    report("steady", [row], size=args.size)


if __name__ == "__main__":
    main()
