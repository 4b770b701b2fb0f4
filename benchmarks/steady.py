"""A long run: does its memory stay, and what of its time is not training?

python benchmarks/steady.py [--steps 5000] [--recipe flow-nano]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from common import report

import muybridge as mb


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="flow-nano")
    parser.add_argument("--steps", type=int, default=5000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        mb.make_stage(place / "footage", 200, seed=6)
        mb.prepare(place / "footage", place / "data")
        command = [sys.executable, "-m", "muybridge", "train", args.recipe, "--data"]
        command += [str(place / "data"), "--out", str(place / "run"), "--steps", str(args.steps)]
        subprocess.run(command, check=True)
        text = (place / "run" / "log.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    train = [line for line in lines if line["kind"] == "train"]
    batch = mb.Recipe.load(args.recipe).training.batch
    step = statistics.mean(batch / line["clips_per_second"] for line in train[1:])
    total = next(line["seconds"] for line in lines if line["kind"] == "end")
    peaks = [line["peak_memory_gib"] for line in train]
    # Sampling a preview takes memory of its own: from the first one on it must stay.
    first = next(line["step"] for line in lines if line["kind"] == "preview")
    early = max(peak for line, peak in zip(train, peaks, strict=True) if line["step"] <= first + 50)
    row = {
        "recipe": args.recipe, "steps": args.steps, "s a step": step,
        "peak GiB after the first preview": early, "at the end": peaks[-1],
        "data wait %": 100 * statistics.mean(line["data_wait"] for line in train[1:]),
        "judging, previews, saving, logging %": 100 * (1 - step * args.steps / total),
    }  # fmt: skip
    report("steady", [row])


if __name__ == "__main__":
    main()
