"""What a change to the default model is worth at the same wall-clock: one change at a time.

    python benchmarks/flow_quality.py --out FOLDER --data actions --minutes 8 plain prototype ...
    python benchmarks/flow_quality.py --out FOLDER --data stage --minutes 5 default

Each name is a row of `VARIANTS`: the recipe `flow-small` with some settings changed. A row that is
there is not made again, a training that was cut off goes on. `prototype` is the baseline of
`prototype.py`. Distances are to other moments of the training footage ("train", floor: two halves
of its moments) and to held-out footage ("test", floor: training footage).
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import stage
import torch
from common import SHARED, report
from prototype import Trainer
from torch import Tensor

import muybridge as mb
from muybridge.assembly import assemble
from muybridge.core import files, video
from muybridge.data import loader
from muybridge.evaluation import clip_sets, scoring, suite, tools
from muybridge.evaluation.measured import Measured

VARIANTS: dict[str, tuple[str, ...]] = {
    "default": (),
    "times nearer to the clip": ("objective.time_mean=2", "sampling.shift=5"),
    "plain patches": ("model.lapped=false",),
    "d256 L6": ("model.size=medium",),
    "batch 8": ("training.batch=8",),
    "AdamW .006": ("training.optimizer.learning_rate=0.006",),
    "four long steps": ("model.jumps=true", "objective.kind=shortcut"),
    "Muon .05": ("training.optimizer.muon_rate=0.05",),
}
METRICS = ("appearance", "motion", "learned", "time", "labels", "copying")
SAMPLES = 128


class Judge:
    """Judges clips of labelled footage; what is real is measured once."""

    def __init__(self, dataset: mb.Dataset) -> None:
        self.labels = dataset.labels
        settings = mb.Recipe.load("flow-small").data.with_values(folder=str(dataset.folder))
        train, test, validation = (
            loader.Loader(dataset, split, settings) for split in ("train", "test", "validation")
        )
        windows = clip_sets.of_split(train, 8 * len(train.clips), "training clips")
        ground = suite.Ground(clip_sets.of_split(test, SAMPLES, "real"), windows, windows)
        config = suite.Config(samples=SAMPLES, metrics=METRICS)
        kit = tools.choose(config, ground, train, validation)
        self.bench = suite.Bench(ground, kit, config)
        self.halves = [_part(self.bench.other, np.arange(half, len(windows), 2)) for half in (0, 1)]
        self.spread = self._diversity(self.bench.training.thumbnails, windows.labels)

    def row(self, clips: Tensor, labels: list[str]) -> dict[str, float]:
        """Figures of clips whose labels are known."""
        made = clip_sets.of_tensor(clips, 8, "made", labels=labels)
        result = self.bench.judge(made, {})
        row: dict[str, float] = {}
        for title, extractor, note in self.bench.tools.distances:
            name = title.split()[0]
            own = scoring.of_features(extractor, title, result.measured, *self.halves, {}, note)[0]
            row[f"{name}, train"], row[f"{name} floor, train"] = own.value, own.floor
        for score in result.scores:
            if score.name.endswith("distance"):
                name = score.name.split()[0]
                row[f"{name}, test"], row[f"{name} floor, test"] = score.value, score.floor
            elif score.name in ("sharpness", "grid", "amount of motion", "copies"):
                row[score.name] = score.value
                row[f"{score.name}, real"] = score.floor
            elif score.name == "label as asked":
                row["recognised"] = score.value
        row["diversity"] = min(
            self._diversity(result.measured.thumbnails, made.labels)[one] / self.spread[one]
            for one in self.labels
        )
        return row

    def _diversity(self, thumbnails: Any, labels: Any) -> dict[str, float]:
        """Mean distance between clips of each label."""
        found = {}
        for label in self.labels:
            rows = np.asarray(thumbnails)[[one == label for one in labels]]
            flat = torch.from_numpy(rows.reshape(len(rows), -1)).float()[::3]
            found[label] = float(torch.pdist(flat).mean())
        return found


def _part(measured: Measured, rows: Any) -> Measured:
    """The same of some of the clips."""
    old = measured.clips
    clips = dataclasses.replace(
        old,
        names=tuple(old.names[i] for i in rows),
        owners=tuple(old.owners[i] for i in rows),
    )
    features = {name: values[rows] for name, values in measured.features.items()}
    return dataclasses.replace(measured, clips=clips, features=features)


def as_asked(run: mb.Run, out: Path) -> dict[str, float]:
    """Figures of the stage: shares in percent of clips that show the words, by the tracker."""
    row: dict[str, float] = {}
    for name, held_out, count in (("seen", False, 200), ("kept out", True, 90)):
        wanted = stage.asked(held_out, count)
        clips = run.generate(text=[caption for _, caption in wanted], count=count, seed=3)
        judged = stage.judged(clips, [words for words, _ in wanted], name)
        row |= {f"{key}, {name}": float(str(judged[key])) for key in ("colour", "shape", "motion",
                                                                     "all")}  # fmt: skip
        write_sheet(clips, [caption for _, caption in wanted], out / f"{name}.png")
    return row


def write_sheet(clips: Tensor, captions: list[str], path: Path) -> None:
    """The first dozen, to be looked at."""
    sheet = video.contact_sheet([video.to_uint8(c) for c in clips[:12]], captions[:12], scale=2)
    files.write_bytes(path, video.png(sheet))


def prototype(dataset: mb.Dataset, minutes: float, seed: int) -> tuple[int, Callable[[], Tensor]]:
    """Trains the baseline; gives its steps, and what makes its clips."""
    settings = mb.Recipe.load("flow-small").data.with_values(folder=str(dataset.folder))
    train = loader.Loader(dataset, "train", settings, seed)
    mean, std = (torch.tensor(dataset.facts[name]) for name in ("mean", "std"))
    trainer = Trainer(len(dataset.labels), mean, std, seed)
    steps = trainer.train(train.iterate(0, 16), minutes)
    numbers = torch.arange(SAMPLES) % len(dataset.labels)
    return steps, lambda: trainer.sample(numbers, seed)


def ours(
    dataset: mb.Dataset, minutes: float, seed: int, out: Path, changes: tuple[str, ...]
) -> tuple[int, mb.Run]:
    """Trains the recipe with these changes; gives its steps, and the run."""
    usual = ("training.validations=2", "training.previews=0", "training.loggers=[]")
    recipe = mb.Recipe.load("flow-small", (*usual, *changes))
    run = assemble(recipe.with_(f"seed={seed}", data=dataset.folder, minutes=minutes), out)
    return run.train().step, run


def main() -> None:
    """Trains and judges what is not there yet, then shows all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--data", choices=["actions", "stage"], default="actions")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    dataset, judge = prepared(args.data, args.out), None
    for seed in args.seeds:
        for name in args.names:
            place = args.out / f"{args.data}: {name}, {args.minutes:g} min, seed {seed}"
            if (place / "row.json").exists():
                continue
            steal, row = stolen(), {"variant": name, "minutes": args.minutes, "seed": seed}
            if name == "prototype":
                row["steps"], make = prototype(dataset, args.minutes, seed)
            else:
                row["steps"], run = ours(dataset, args.minutes, seed, place, VARIANTS[name])
                make = partial(sampled, run, dataset)
            row["stolen seconds"] = stolen() - steal
            if args.data == "stage":
                row |= as_asked(run, place)
            else:
                judge, begun = judge or Judge(dataset), time.perf_counter()
                clips = make()
                row["seconds a clip"] = (time.perf_counter() - begun) / SAMPLES
                labels = [dataset.labels[i % len(dataset.labels)] for i in range(SAMPLES)]
                row |= judge.row(clips, labels)
                write_sheet(clips, labels, place / "samples.png")
            files.write_json(place / "row.json", row)
            print(
                {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}, flush=True
            )
    rows = [files.read_json(path) for path in sorted(args.out.glob(f"{args.data}: */row.json"))]
    if rows:
        report(f"flow_quality_{args.data}", rows)


def sampled(run: mb.Run, dataset: mb.Dataset) -> Tensor:
    """Clips of all labels in turn."""
    return run.make(run.request(label=dataset.labels, count=SAMPLES, seed=1))[0]


def prepared(data: str, out: Path) -> mb.Dataset:
    """The dataset, made where it is not there."""
    folder = out / data
    if not (folder / "dataset.json").exists():
        if data == "stage":
            mb.make_stage(out / "footage", 400)
        mb.prepare(out / "footage" if data == "stage" else SHARED / "clips" / data, folder)
    return mb.Dataset.open(folder)


def stolen() -> float:
    """Seconds that the host took from this machine's cores so far."""
    found = Path("/proc/stat")
    return int(found.read_text().split()[8]) / 100 if found.exists() else 0.0


if __name__ == "__main__":
    main()
