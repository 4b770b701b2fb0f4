"""`muybridge quickstart`: from footage to a judged model, in one command."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Seed

if TYPE_CHECKING:
    from ..data.store import Dataset
    from ..run import Run

# Share of the budget; what is left of it goes to footage, samples, scores and the page.
TRAINING_SHARE = 0.75
STAGE_CLIPS = 400
# TFLOP/s of matrix products below which the small model gets too few steps to learn anything.
SLOW = 0.25
# Measures for the minutes that training leaves: none trains a network first or wants published
# weights, and baselines, which cost as much again four times, are left to `muybridge evaluate`.
SCORES = (
    "evaluation.metrics=[appearance,motion,manifold,time,stage,copying,speed]",
    "evaluation.samples=64", "evaluation.timed=5",
)  # fmt: skip


def quickstart(
    footage: Annotated[
        Path | None,
        typer.Argument(help="Your videos; test footage is made when left out.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("quickstart"),
    minutes: Annotated[float, typer.Option(help="Minutes for all of it.")] = 9.0,
    seed: Seed = 0,
) -> None:
    """Footage, dataset, trained model, samples, scores, report. Run it again to go on."""
    from ..core import progress
    from ..core.errors import MuybridgeError

    if not minutes > 0:
        raise MuybridgeError(f"--minutes {minutes:g}: more than 0 is needed")
    begun = time.monotonic()
    source = footage or out / "footage"
    if footage is None:
        from ..data.stage import make_stage

        progress.say(f"1/5 footage: {STAGE_CLIPS} clips with known physics")
        make_stage(source, STAGE_CLIPS, seed=seed)
    progress.say("2/5 dataset: decode, group copies, split without leaks")
    dataset = _dataset(source, out / "dataset")
    progress.say("3/5 training")
    run = _train(out, dataset, TRAINING_SHARE * minutes, seed)
    progress.say("4/5 scores: on clips the model never saw")
    scores = run.evaluate()
    progress.say("5/5 report")
    from ..generation import making, writing
    from ..generation.asked import Asked
    from ..report import write_report
    from .evaluate import table

    asked = Asked(seed=seed)
    writing.write(making.plan(run, asked), asked, out / "samples")
    page = write_report([run.folder], out / "report.html")
    progress.say(f"\ndone in {(time.monotonic() - begun) / 60:.1f} minutes\n\n{table(scores)}\n")
    known = run.conditions["known"][0]
    how = (
        f'--text "{known["text"]}"'
        if known["text"]
        else f"--label {known['label']}"
        if known["label"]
        else ""
    )
    progress.say(
        f"look:     {page}\n"
        f"generate: muybridge generate {run.folder} --out samples {how}\n"
        f"go on:    muybridge train {run.folder}/recipe.yaml --data {out / 'dataset'} "
        f"--out {run.folder} --minutes 30"
    )


def _dataset(footage: Path, folder: Path) -> Dataset:
    """Prepares the footage, or opens what an earlier call prepared."""
    from ..core.errors import MuybridgeError
    from ..data.store import Dataset
    from .prepare import make

    done = (folder / "dataset.json").is_file()
    dataset = Dataset.open(folder) if done else make(footage, folder)
    if dataset.facts["footage"] != str(footage.resolve()):
        raise MuybridgeError(
            f"{folder} was made of {dataset.facts['footage']}, not of {footage}",
            "give another --out",
        )
    return dataset


def _train(out: Path, dataset: Dataset, minutes: float, seed: int) -> Run:
    """Trains what this machine can train well in the time."""
    from ..assembly import assemble
    from ..core import device
    from ..core.progress import say
    from ..recipe import Recipe

    machine = device.examine(out)
    name, changes = "flow-small", [f"seed={seed}", *SCORES]
    if machine.gpu:
        changes += ["training.batch=64", "model.width=384", "model.heads=6", "model.depth=8"]
    elif max(machine.fp32_rate, machine.bf16_rate) < SLOW:
        name = "flow-nano"
    if (begun := out / "run" / "recipe.yaml").is_file():
        # What was chosen once stays, or a busy moment of the machine could choose otherwise.
        name, changes = str(begun), changes[:1]
    recipe = Recipe.load(name, tuple(changes)).with_(data=dataset.folder, minutes=minutes)
    say(
        f"    {name}, {minutes:.1f} minutes in {machine.precision} on "
        f"{machine.gpu or machine.processor}"
    )
    run = assemble(recipe, out / "run")
    run.train()
    return run
