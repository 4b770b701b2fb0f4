"""Memory and time that `muybridge check` foretells for a training, and what it then took.

    python benchmarks/memory.py --data DATASET [--steps 40] [recipe ...]

Ten recipes as they ship, or those that are named; the training judges, shows samples and saves as
it does, by a process of its own. One that trains a tokenizer first is measured with one that was
trained for a few steps. Time is the median of updates that follow one another.
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
from typing import Any

from common import report

import muybridge as mb
from muybridge import probe
from muybridge.core import progress

RECIPES = (
    "flow-small", "flow-any", "flow-few", "flow-latent", "gan3d", "gan-progressive", "vae", "gru",
    "simvp", "transformer-ar",
)  # fmt: skip
FEW = ("training.minutes=null", "training.loggers=[]", "training.log_every=1")


def measured(name: str, data: Path, place: Path, steps: int) -> dict[str, Any]:
    """What was foretold, and what it took."""
    recipe = mb.Recipe.load(name, (*FEW, f"training.steps={steps}")).with_(data=data)
    more = []
    if recipe.tokenizer is not None:
        inner = recipe.first_stage().with_("training.steps=4")
        more = [f"tokenizer={{run: {inner.train(place / f'{name}-tokenizer').folder}}}"]
    needs = probe.measure(recipe.with_(*more))
    settings = [x for one in (*FEW, f"training.steps={steps}", *more) for x in ("--set", one)]
    out = place / name
    command = [sys.executable, "-m", "muybridge", "train", name, "--data", str(data)]
    subprocess.run([*command, "--out", str(out), *settings], check=True, capture_output=True)
    text = (out / "log.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    took = max(line["peak_memory_gib"] for line in lines if line["kind"] in ("train", "end"))
    step = statistics.median(
        (two["seconds"] - one["seconds"]) / (two["step"] - one["step"])
        for one, two in pairwise(lines)
        if one["kind"] == two["kind"] == "train"
    )
    return {
        "recipe": name, "foretold GiB": needs.memory_gib, "took GiB": took,
        "off %": 100 * (needs.memory_gib / took - 1),
        "foretold s a step": needs.step_seconds, "took": step,
        "off %, s": 100 * (needs.step_seconds / step - 1),
    }  # fmt: skip


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", default=RECIPES)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=40)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            measured(name, args.data, Path(folder), args.steps)
            for name in progress.track(args.recipes, "memory")
        ]
    report("memory", rows, steps=args.steps)


if __name__ == "__main__":
    main()
