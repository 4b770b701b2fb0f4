"""Early stopping, judged by clips that it never saw.

    python benchmarks/stopping.py [--steps 300 1500] [flow-nano simvp ...]

Each recipe is trained on a few clips of the stage for a whole budget, and judged at twenty marks on
its validation clips, as training does, and on 200 others. Then the rule is applied: the checkpoint
of least held-out loss, and an end where three marks in turn brought none better. What it chose is
compared with the best checkpoint by the others; both by their loss under averaged weights.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from common import report

import muybridge as mb
from muybridge.assembly import assemble
from muybridge.core import device
from muybridge.data.prepare import Config
from muybridge.data.store import Dataset
from muybridge.objectives.base import Objective
from muybridge.training import loop

MARKS, PATIENCE, JUDGES = 20, 3, 200


class Judged(mb.Run):
    """A run that also looks at other clips whenever it looks at its held-out ones."""

    def _hooks(self, objective: Objective, dataset: Dataset, judged: Any) -> loop.Hooks:
        hooks, seen = super()._hooks(objective, dataset, judged), []
        others = self.loader(dataset, "test").fixed(JUDGES)

        def validate() -> dict[str, Any]:
            figures = hooks.validate()
            with torch.no_grad(), self.autocast():
                losses = [
                    objective.held_out(others.part(n, n + 40).to(device.pick()))[0]
                    for n in range(0, len(others), 40)
                ]
            seen.append((figures["loss"], sum(losses) / len(losses), figures["train_loss"]))
            return figures

        object.__setattr__(self, "seen", seen)
        return replace(hooks, validate=validate)


def measured(name: str, data: Path, out: Path, steps: int) -> dict[str, Any]:
    """One recipe."""
    recipe = mb.Recipe.load(
        name,
        (
            "training.minutes=null", f"training.steps={steps}", f"training.validations={MARKS}",
            "training.previews=0", "training.measures=0", "training.loggers=[]",
            "evaluation.held_out=24",
        ),
    ).with_(data=data)  # fmt: skip
    run = assemble(recipe, out)
    judged = Judged(run.folder, run.recipe)
    judged.train()
    marks = judged.seen[1:]  # type: ignore[attr-defined]  # the first comes before training
    held, others = [one[0] for one in marks], [one[1] for one in marks]
    best, end = 0, len(marks) - 1
    for at, loss in enumerate(held):
        if loss < held[best]:
            best = at
        if at - best >= PATIENCE:
            end = at
            break
    return {
        "recipe": name, "steps": steps,
        "train clips": len(run.loader(Dataset.open(data), "train").clips),
        "chosen at %": 100 * (best + 1) / len(marks), "stopped at %": 100 * (end + 1) / len(marks),
        "best by others at %": 100 * (others.index(min(others)) + 1) / len(marks),
        "chosen over best": others[best] / min(others), "last over best": others[-1] / min(others),
        "train loss at last": marks[-1][2], "held-out loss at last": held[-1],
    }  # fmt: skip


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", default=["flow-nano", "simvp"])
    parser.add_argument("--steps", type=int, nargs="*", default=[300, 1500])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        mb.make_stage(place / "footage", 250, seed=5)
        split = Config(ratios=(0.035, 0.105, 0.86))
        mb.prepare(place / "footage", place / "data", config=split)
        rows = [
            measured(name, place / "data", place / f"{name}-{steps}", steps)
            for steps in args.steps
            for name in args.recipes
        ]
    report("stopping", rows, marks=MARKS, patience=PATIENCE)


if __name__ == "__main__":
    main()
