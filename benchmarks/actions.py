"""Ten minutes of training on real clips of four actions: recognised, and copied, how often?

    python benchmarks/actions.py --out FOLDER [--minutes 10]

Needs ../shared/clips/actions. A judge that the generator never sees, a linear classifier of where
and how things move, is trained on the real training clips; its hit rate on real held-out clips
stands beside that on samples. Contact sheets, one an action, are left in FOLDER to be looked at.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from common import SHARED, report
from torch import Tensor

import muybridge as mb
from muybridge.assembly import assemble
from muybridge.core import video

PER_ACTION = 16


def features(clips: Tensor) -> Tensor:
    """Where and when brightness changes: (n, 7 x 64), of clips (n, 16, 3, height, width)."""
    grey = clips.mean(2)
    change = F.adaptive_avg_pool2d((grey[:, 2::2] - grey[:, :-2:2]).abs(), 8)
    return torch.log(change.flatten(1) + 0.02)


def judge(clips: Tensor, labels: Tensor, classes: int) -> torch.nn.Module:
    """A linear classifier of features, with weight decay, on standardised columns."""
    torch.manual_seed(0)
    x = features(clips)
    mean, std = x.mean(0), x.std(0)
    linear = torch.nn.Linear(x.shape[1], classes)
    optimizer = torch.optim.AdamW(linear.parameters(), lr=0.01, weight_decay=0.3)
    for _ in range(400):
        loss = F.cross_entropy(linear((x - mean) / std), labels, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    class Judge(torch.nn.Module):
        @torch.no_grad()
        def forward(self, clips: Tensor) -> Tensor:
            return linear((features(clips) - mean) / std).argmax(1)

    return Judge()


def main() -> None:
    """Prepares, trains, samples, judges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    dataset_folder = args.out / "dataset"
    if not (dataset_folder / "dataset.json").exists():
        mb.prepare(SHARED / "clips" / "actions", dataset_folder)
    recipe = mb.Recipe.load("flow-small", tuple(args.set))
    run = assemble(recipe.with_(data=dataset_folder, minutes=args.minutes), args.out / "run")
    position = run.train()
    scores = {s["name"]: s for s in run.evaluate()["scores"]}

    dataset = mb.Dataset.open(dataset_folder)
    train, test = run.loader(dataset, "train").fixed(600), run.loader(dataset, "test").fixed(160)
    assert train.label is not None
    assert test.label is not None
    decide = judge(train.clips, train.label, len(dataset.labels))
    real = float((decide(test.clips) == test.label).float().mean())
    rows = []
    for number, label in enumerate(dataset.labels):
        clips = run.generate(label=label, count=PER_ACTION, seed=1)
        hit = float((decide(clips) == number).float().mean())
        rows.append({"action": label, "recognised": hit})
        sheet = video.contact_sheet([video.to_uint8(c) for c in clips[:6]], scale=2)
        (args.out / f"{label}.png").write_bytes(video.png(sheet))
    mean = sum(row["recognised"] for row in rows) / len(rows)
    rows += [
        {"action": "all", "recognised": mean},
        {"action": "real, held out", "recognised": real},
    ]
    figures = {name: round(s["value"], 3) for name, s in scores.items()}
    floors = {f"{name}, real": s["floor"] and round(s["floor"], 3) for name, s in scores.items()}
    report("actions", rows, steps=position.step, minutes=args.minutes, **figures, **floors)


if __name__ == "__main__":
    main()
