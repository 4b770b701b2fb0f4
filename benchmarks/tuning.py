"""A search of settings, against drawing them at random for as long, and against the recipe as is.

    python benchmarks/tuning.py --data DATASET --out FOLDER [--trials 20] [--minutes 0.25]

Three studies, of other seeds. Each search is followed by trials drawn evenly from the same space,
none of them ended early, until as many seconds are spent; what either chose is compared by its
least held-out loss, as is the recipe's own, which is a search's first trial. Called again, it goes
on.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import optuna
from common import report

import muybridge as mb
from muybridge.assembly import assemble
from muybridge.core import chance, files
from muybridge.tuning import search
from muybridge.tuning.space import Space, usual_space

STUDIES = 3


def drawn(recipe: mb.Recipe, space: Space, seconds: float, out: Path) -> dict[str, Any]:
    """The best of as many trials as there is time for; the last one is let end."""
    path = out / "drawn.json"
    known = files.read_json(path) if path.exists() else {"losses": [], "seconds": 0.0}
    sampler = optuna.samplers.RandomSampler(seed=chance.mix(recipe.seed, "drawn") % 2**32)
    study = optuna.create_study(sampler=sampler)
    for number in range(10**6):
        trial = study.ask()
        values = {name: one.draw(trial, name) for name, one in space.items()}
        if number < len(known["losses"]):
            continue
        if known["seconds"] >= seconds:
            return known
        began, place = time.monotonic(), out / f"drawn-{number:04d}"
        changed = recipe.with_(*(search._change(name, value) for name, value in values.items()))
        assemble(changed, place).train()
        known["losses"].append(search._least(place))
        known["seconds"] += time.monotonic() - began
        files.write_json(path, known)
    raise AssertionError


def studied(recipe: mb.Recipe, space: Space, trials: int, minutes: float, out: Path) -> Any:
    """One study, and what was drawn in as much time."""
    study = search.tune(recipe, space, trials, minutes, out)
    seconds = sum(one.seconds for one in study.trials)
    whole = sum(one.state == "complete" for one in study.trials)
    each = max(one.seconds for one in study.trials)
    other = drawn(recipe.with_(minutes=minutes), space, seconds, out)
    return {
        "seed": recipe.seed, "searched": study.best.loss, "drawn": min(other["losses"]),
        "the recipe's": study.trials[0].loss, "trials": trials, "whole": whole,
        "drawn trials": len(other["losses"]), "seconds": seconds,
        "saved by ending early %": 100 * (1 - seconds / (each * trials)),
    }  # fmt: skip


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", default="flow-nano")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=0.25)
    args = parser.parse_args()
    rows = []
    for seed in range(STUDIES):
        recipe = mb.Recipe.load(
            args.recipe,
            (
                "training.previews=0", "training.measures=0", "training.loggers=[]",
                "training.save_seconds=1e9", "training.validations=8", f"seed={seed}",
            ),
        ).with_(data=args.data)  # fmt: skip
        place = args.out / str(seed)
        rows.append(studied(recipe, usual_space(recipe), args.trials, args.minutes, place))
    report("tuning", rows, recipe=args.recipe, minutes=args.minutes)


if __name__ == "__main__":
    main()
