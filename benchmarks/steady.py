"""A long run: does its memory stay, and what of its time is not training?

    python benchmarks/steady.py [--steps 5000] [--recipe flow-nano] [--size 32]

What is not training is timed where it is called: judging with samples shown, saving, logging.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import report

import muybridge as mb
from muybridge.data.prepare import Config
from muybridge.training import checkpoint, loop, monitor

SPENT: Counter[str] = Counter()
WITHIN: list[str] = []


def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """The same, whose seconds are counted; those of what it calls itself are its own."""

    def called(*given: Any, **more: Any) -> Any:
        WITHIN.append(name)
        began = time.perf_counter()
        try:
            return call(*given, **more)
        finally:
            WITHIN.pop()
            if not WITHIN:
                SPENT[name] += time.perf_counter() - began

    return called


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="flow-nano")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--size", type=int, default=32)
    args = parser.parse_args()
    loop._look = timed("judging", loop._look)
    checkpoint.save = timed("saving", checkpoint.save)
    monitor.Monitor.write = timed("logging", monitor.Monitor.write)  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        place, size = Path(folder), (args.size, args.size)
        mb.make_stage(place / "footage", 200, size=size, seed=6)
        mb.prepare(place / "footage", place / "data", config=Config(size=size))
        settings = (f"data.size=[{args.size},{args.size}]", "training.minutes=null")
        recipe = mb.Recipe.load(args.recipe, (*settings, f"training.steps={args.steps}"))
        run = recipe.with_(data=place / "data").train(place / "run")
        text = (run.folder / "log.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    train = [line for line in lines if line["kind"] == "train"]
    total = lines[-1]["seconds"]
    peaks = [train[len(train) * share // 100 - 1]["peak_memory_gib"] for share in (25, 50, 75, 100)]
    row = {
        "recipe": args.recipe, "steps": args.steps, "s a step": total / args.steps,
        "peak GiB after 25 %": peaks[0], "50": peaks[1], "75": peaks[2], "100": peaks[3],
        "data wait %": 100 * statistics.mean(line["data_wait"] for line in train[1:]),
        **{f"{name} %": 100 * seconds / total for name, seconds in SPENT.items()},
    }  # fmt: skip
    report("steady", [row], size=args.size)


if __name__ == "__main__":
    main()
