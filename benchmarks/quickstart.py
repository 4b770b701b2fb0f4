"""The whole of `muybridge quickstart`: how long, how much memory, how good.

python benchmarks/quickstart.py --out FOLDER [--minutes 9]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

from common import report


def main() -> None:
    """Runs it as a person would, and reads what it left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=9)
    args = parser.parse_args()
    begun = time.perf_counter()
    command = [sys.executable, "-m", "muybridge", "quickstart"]
    settings = ["--out", str(args.out), "--minutes", str(args.minutes)]
    subprocess.run([*command, *settings], check=True)
    minutes = (time.perf_counter() - begun) / 60
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    scores = json.loads((args.out / "run" / "scores.json").read_text())
    rows = [
        {"score": s["name"], "generated": s["value"], "real": s["floor"], "unit": s["unit"]}
        for s in scores["scores"]
    ]
    report(
        "quickstart",
        rows,
        minutes=round(minutes, 2),
        memory_gib=round(memory, 2),
        steps=int(scores["checkpoint"].removeprefix("step-")),
    )


if __name__ == "__main__":
    main()
