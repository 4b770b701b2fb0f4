"""Do the measures see what they are meant to see? Known faults in real clips, at three levels.

    python benchmarks/distortions.py --out FOLDER [--clips 96]

For each fault the score that is meant to catch it was named beforehand (evaluation/distortions.py).
It must move one way as the fault grows, and by the second level leave the interval that real clips
have. Real clips are judged against other real clips: of the stage, drawn here, and of
../shared/clips/actions, where classes are dropped (mode loss) and training clips replayed.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import SHARED, report
from torch import Tensor

import muybridge as mb
from muybridge.core.clips import to_float
from muybridge.data import stage
from muybridge.data.loader import Config, Loader
from muybridge.evaluation import clip_sets, suite, tools
from muybridge.evaluation.clip_sets import ClipSet, Form
from muybridge.evaluation.distortions import DISTORTIONS, LEVELS
from muybridge.evaluation.manifest import Score


def of_stage(count: int, seed: int, name: str) -> ClipSet:
    """Fresh clips of the stage, 16 frames at 8 a second."""
    settings = stage.Settings((64, 64), 8, 2.0, seed)
    frames, captions = [], []
    for index in range(count):
        clip, truth = stage.render(settings, index)
        frames.append(clip)
        captions.append(stage.caption_of(truth["colour"], truth["shape"], truth["motion"], index))
    clips = torch.from_numpy(to_float(np.stack(frames)))
    return in_memory(clips, name, tuple(captions), ("",) * count)


def in_memory(
    clips: Tensor, name: str, captions: tuple[str, ...], labels: tuple[str, ...]
) -> ClipSet:
    names = tuple(f"{name} {index}" for index in range(len(clips)))
    form = Form(clips.shape[1], 8.0, (clips.shape[3], clips.shape[4]))
    return ClipSet(name, form, names, names, captions, labels, lambda b, e: clips[b:e])


def halves(folder: Path, count: int) -> tuple[ClipSet, ClipSet]:
    """Windows of the actions' training clips, of half of the footage each."""
    dataset = mb.Dataset.open(folder)
    loader = Loader(dataset, "train", Config(folder=str(folder)))
    every = clip_sets.of_split(loader, 4 * count, "actions")
    owners = list(dict.fromkeys(every.owners))
    sides = []
    for side in (0, 1):
        mine = [i for i, owner in enumerate(every.owners) if owners.index(owner) % 2 == side]
        mine = mine[:: max(1, len(mine) // count)][:count]
        one = in_memory(
            every.some(mine), f"half {side}", ("",) * len(mine),
            tuple(every.labels[i] for i in mine),
        )  # fmt: skip
        sides.append(one)
    return sides[0], sides[1]


def judged(bench: suite.Bench, clips: ClipSet, measure: str) -> Score:
    scores = {score.name: score for score in bench.judge(clips, {}).scores}
    return scores[measure]


def changed(clips: ClipSet, pixels: Tensor) -> ClipSet:
    return in_memory(pixels, clips.name, clips.captions[: len(pixels)], clips.labels[: len(pixels)])


def row(
    name: str, on: str, measure: str, moves: str, first: Score, found: list[float]
) -> dict[str, Any]:
    way = 1 if moves == "up" else -1
    values = [first.value, *found]
    steps = [way * (b - a) for a, b in pairwise(values)]
    low, high = first.interval or (first.value, first.value)
    out = found[1] > high if moves == "up" else found[1] < low
    return {
        "fault": name, "on": on, "caught by": measure, "real": first.value,
        "interval": f"{low:.3g} to {high:.3g}",
        **{f"level {k + 1}": value for k, value in enumerate(found)},
        "one way": "not meant to move" if moves == "stay"
        else "yes" if all(step >= 0 for step in steps) and sum(steps) > 0 else "NO",
        "out by level 2": "yes" if out else "no" if moves == "stay" else "NO",
    }  # fmt: skip


def main() -> None:
    """Judges real clips with each fault in them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=96)
    args = parser.parse_args()
    sets = {"stage": (of_stage(args.clips, 0, "one"), of_stage(args.clips, 1, "other"))}
    folder = args.out / "actions"
    if (SHARED / "clips" / "actions").is_dir():
        if not (folder / "dataset.json").exists():
            mb.prepare(SHARED / "clips" / "actions", folder)
        sets["actions"] = halves(folder, args.clips)
    config = suite.Config()
    rows, benches = [], {}
    for on, (clips, real) in sets.items():
        pixels = clips.read(0, len(clips))
        for name, fault in DISTORTIONS.items():
            if fault.stage and on != "stage":
                continue
            if (on, fault.metric) not in benches:
                ground = suite.Ground(real)
                kit = tools.choose(config, ground, names=(fault.metric,))
                benches[on, fault.metric] = suite.Bench(ground, kit, config)
            bench = benches[on, fault.metric]
            first = judged(bench, clips, fault.measure)
            found = [
                judged(bench, changed(clips, fault.apply(pixels, level)), fault.measure).value
                for level in range(1, LEVELS + 1)
            ]
            rows.append(row(name, on, fault.measure, fault.moves, first, found))
            print(rows[-1], flush=True)
    for on, (clips, _) in sets.items():
        # Classes are dropped one after another: actions, or colours two at a time.
        classes = clips.labels if on == "actions" else tuple(c.split() for c in clips.captions)
        told = np.array(
            [c if isinstance(c, str) else next(w for w in c if w in stage.COLOURS) for c in classes]
        )
        names = sorted(set(told.tolist()))
        pixels, bench = clips.read(0, len(clips)), benches[on, "manifold"]
        for measure in ("recall", "coverage", "precision"):
            first = judged(bench, clips, measure)
            found = []
            for level in range(1, LEVELS + 1):
                dropped = max(1, round(len(names) * level / 4))
                kept = np.flatnonzero(np.isin(told, names[dropped:]))
                again = np.resize(kept, len(clips))
                found.append(judged(bench, changed(clips, pixels[again]), measure).value)
            moves = "stay" if measure == "precision" else "down"
            rows.append(row("mode loss", on, measure, moves, first, found))
            print(rows[-1], flush=True)
    report("distortions", rows, clips=args.clips)


if __name__ == "__main__":
    main()
