"""The whole offline suite on many clips: how long, and in how much memory?

    python benchmarks/evaluation.py --out FOLDER [--clips 256]

Clips of the stage, 16 frames of 64x64, from a dataset on disk: as many of each side are judged as
said. Everything that needs no trained network is measured; training the learned extractor and the
classifier is apart. Memory is the peak of the process above what it held before, for the clips
asked for and for twice as many: features grow with the clips, pictures must not.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import report

import muybridge as mb
from muybridge.core.device import cores
from muybridge.data.loader import Config, Loader
from muybridge.evaluation import clip_sets, suite, tools
from muybridge.evaluation.measured import measure

METRICS = ("appearance", "motion", "manifold", "time", "stage", "copying")


def memory(what: str) -> float:
    """MiB of this process: "VmRSS" now, "VmHWM" at its peak since the last `forget`."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{what}:")[1].split()[0]) / 1024


def timed(run: Callable[[], Any]) -> tuple[float, float]:
    """Seconds, and MiB above what was held before."""
    Path("/proc/self/clear_refs").write_text("5")
    before, begun = memory("VmRSS"), time.perf_counter()
    run()
    return time.perf_counter() - begun, memory("VmHWM") - before


def ground(loaders: dict[str, Loader], count: int) -> suite.Ground:
    return suite.Ground(
        clip_sets.of_split(loaders["test"], count, "real"),
        clip_sets.of_split(loaders["train"], count, "other"),
        clip_sets.of_split(loaders["train"], 1000, "training clips"),
    )


def main() -> None:
    """Times the parts, then the whole, then the whole with more clips."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=256)
    args = parser.parse_args()
    if not (args.out / "dataset" / "dataset.json").exists():
        mb.make_stage(args.out / "stage", 400)
        mb.prepare(args.out / "stage", args.out / "dataset")
    dataset = mb.Dataset.open(args.out / "dataset")
    settings = Config(folder=str(dataset.folder))
    loaders = {s: Loader(dataset, s, settings) for s in ("train", "validation", "test")}
    config, rows = suite.Config(), []
    for name in ("appearance", "motion", "time", "stage"):
        base = ground(loaders, args.clips)
        kit = tools.choose(config, base, names=(name,))
        measure(base.real, kit.extractors, kit.gauges_of(base.real), range(8))  # what is done once

        def pass_over(base: suite.Ground = base, kit: tools.Tools = kit) -> None:
            measure(base.real, kit.extractors, kit.gauges_of(base.real))

        seconds, mib = timed(pass_over)
        rows.append({"part": f"{name}, one pass", "clips": args.clips, "seconds": round(seconds, 2),
                     "MiB": round(mib)})  # fmt: skip
    for count in (args.clips, 2 * args.clips):

        def whole(count: int = count) -> None:
            base = ground(loaders, count)
            bench = suite.Bench(base, tools.choose(config, base, names=METRICS), config)
            bench.judge(clip_sets.of_split(loaders["validation"], count, "generated"), {})

        seconds, mib = timed(whole)
        rows.append({"part": "whole suite, real clips measured too", "clips": count,
                     "seconds": round(seconds, 2), "MiB": round(mib)})  # fmt: skip
    pixels = args.clips * 16 * 64 * 64 * 3 * 4 / 2**20
    report("evaluation", rows, metrics=METRICS, threads=cores(), pixels_of_the_clips_mib=pixels)


if __name__ == "__main__":
    main()
