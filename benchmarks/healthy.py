"""Healthy trainings, on seeds and clips that no threshold was set by: is anything said to go wrong?

    python benchmarks/healthy.py [--minutes 1] [--runs 10]

Every family in turn at its smallest size, as its recipe is otherwise, each run with a seed and a
stage of its own.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from itertools import cycle, islice
from pathlib import Path

from common import report

import muybridge as mb
from muybridge.core import progress
from muybridge.data.prepare import Config

FAMILIES = (
    "flow-nano", "vae", "simvp", "gan3d", "gru", "fsq", "flow-any", "gan-progressive", "lstm",
    "flow-few",
)  # fmt: skip
# Thresholds were set by runs before; those of 9001 to 9010 were among them.
FIRST = 9101


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--runs", type=int, default=10)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        asked = list(enumerate(islice(cycle(FAMILIES), args.runs)))
        for number, name in progress.track(asked, "healthy"):
            place = Path(folder) / str(number)
            mb.make_stage(place / "footage", 300, size=(32, 32), fps=8, seed=FIRST + number)
            small = Config(size=(32, 32), fps=8)
            mb.prepare(place / "footage", place / "data", config=small)
            recipe = mb.Recipe.load(
                name,
                (
                    "model.size=nano", "data.size=[32,32]", "data.fps=8", "training.previews=0",
                    "training.validations=16", "training.loggers=[]", f"seed={FIRST + number}",
                    *(("model.frames=4", "data.frames=8") if name == "simvp" else ()),
                ),
            ).with_(data=place / "data", minutes=args.minutes)  # fmt: skip
            run = recipe.train(place / "run")
            text = (run.folder / "log.jsonl").read_text(encoding="utf-8")
            lines = [json.loads(line) for line in text.splitlines()]
            said = [line["name"] for line in lines if line["kind"] == "health"]
            rows.append({
                "recipe": name, "seed": FIRST + number, "steps": lines[-1]["step"],
                "said": ", ".join(said) or "nothing",
            })  # fmt: skip
    report("healthy", rows, minutes=args.minutes)


if __name__ == "__main__":
    main()
