"""`muybridge check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Json, Set

if TYPE_CHECKING:
    from ..recipe import Recipe

SAMPLED = 40  # files that are read, so that a look at a large folder takes a minute


def check(
    subject: Annotated[
        str | None, typer.Argument(help="A folder of footage, or a recipe.", show_default=False)
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Dataset: a recipe's memory and time are measured on it."),
    ] = None,
    json: Json = False,
    changes: Set = [],  # noqa: B006
) -> None:
    """Say what this machine can do, what a folder of footage holds, what a recipe trains."""
    facts = machine()
    if subject is not None and Path(subject).is_dir():
        facts["footage"] = footage(Path(subject))
    elif subject is not None:
        facts["recipe"] = recipe(subject, tuple(changes))
        if data is not None:
            facts["measured"] = needs(subject, data, tuple(changes))
    if json:
        import json as writer

        print(writer.dumps(facts))
        return
    for title, lines in facts.items():
        print(title)
        for name, value in lines.items():
            print(f"  {name:<24}{value}")
    if "footage" in facts:
        print(sample(Path(str(subject))))


def machine() -> dict[str, dict[str, object]]:
    """Hardware, versions, and what training will use."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from ..core import device

    found = device.examine()
    versions: dict[str, object] = {"python": platform.python_version()}
    for package in (
        "muybridge",
        "torch",
        "av",
        "opencv-python-headless",
        "safetensors",
        "tokenizers",
    ):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    gpu = f"{found.gpu}, {found.gpu_memory_gib:.0f} GiB" if found.gpu else "none"
    return {
        "machine": {
            "processor": found.processor,
            "cores": found.cores,
            "AMX": "yes" if found.amx else "no",
            "memory": f"{found.memory_gib:.1f} GiB",
            "disk free": f"{found.disk_free_gib:.1f} GiB here",
            "GPU": gpu,
            "fp32 rate": f"{found.fp32_rate:.2f} TFLOP/s, measured",
            "bf16 rate": f"{found.bf16_rate:.2f} TFLOP/s, measured",
        },
        "versions": versions,
        "will be used": {
            "device": str(device.pick()),
            "precision": found.precision,
            "threads": found.cores,
        },
    }


def footage(folder: Path) -> dict[str, object]:
    """What a folder of videos holds, by their headers."""
    from collections import Counter

    from ..core import decoding
    from ..core.errors import DataError
    from ..core.progress import track
    from ..data import collect, labels

    found, broken, seconds = collect.scan(folder), 0, 0.0
    sizes: Counter[str] = Counter()
    for path in track(found, "probe"):
        try:
            probe = decoding.probe(path)
        except (DataError, OSError):
            broken += 1
            continue
        sizes[f"{probe.width}x{probe.height}"] += 1
        seconds += probe.seconds or 0.0
    notes = labels.gather(found, folder)
    classes = sorted({note.label for own in notes.values() for note in own} - {""})
    shown = ", ".join(classes[:8]) + (f" and {len(classes) - 8} more" if classes[8:] else "")
    return {
        "files": len(found),
        "cannot be opened": broken,
        "minutes": round(seconds / 60, 1),
        "sizes": ", ".join(f"{size} ({count})" for size, count in sizes.most_common(4)),
        "labels": shown or "none found",
    }


def sample(folder: Path) -> str:
    """What would become of the footage, in some lines: of all of it, or of files spread over it."""
    import tempfile

    from ..core.progress import say
    from ..data import collect
    from ..data.prepare import Config, dry_run
    from ..report.footage import short

    found = collect.scan(folder)
    chosen = found[:: -(-len(found) // SAMPLED)]
    with tempfile.TemporaryDirectory() as place:
        linked = Path(place) / "footage"
        for path in chosen:
            link = linked / path.relative_to(folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.absolute())
        say(f"reading {len(chosen)} of {len(found)} files")
        _, overview = dry_run(linked, Path(place) / "dataset", config=Config())
    return short(overview)


def needs(name: str, data: Path, changes: tuple[str, ...]) -> dict[str, object]:
    """What a recipe takes of this machine, by its first updates."""
    from ..core.progress import say
    from ..probe import measure
    from ..recipe import Recipe

    say("taking a few updates")
    asked = Recipe.load(name, changes).with_(data=data)
    found = measure(asked)
    told: dict[str, object] = {
        "memory": f"{found.memory_gib:.1f} of {found.free_gib:.1f} GiB",
        "an update": f"{found.step_seconds:.3g} s",
        "the budget": f"{found.steps} updates, {found.minutes:.3g} minutes",
    }
    if found.micro_batch is not None:
        told["too much memory"] = "; or ".join(_ways(asked, found.micro_batch))
    return told


def _ways(recipe: Recipe, micro_batch: int) -> list[str]:
    """What takes less memory, in the order in which it is to be tried."""
    from ..core import device

    ways = [f"--set training.micro_batch={micro_batch} (the batch stays)"]
    if getattr(recipe.model.config, "recompute", None) is False:
        ways.append("--set model.recompute=true (a third more time)")
    machine = device.examine()
    if recipe.training.precision == "fp32" and machine.precision != "fp32":
        ways.append(f"--set training.precision={machine.precision}")
    if machine.gpu and recipe.training.shard == "none":
        ways.append("several GPUs and --set training.shard=full")
    return ways


def recipe(name: str, changes: tuple[str, ...] = ()) -> dict[str, object]:
    """What a recipe trains."""
    from ..recipe import Recipe

    loaded = Recipe.load(name, changes)
    data, training = loaded.data, loaded.training
    budget = {n: getattr(training, n) for n in ("steps", "minutes", "epochs")}
    return {
        "model": loaded.model.kind,
        "objective": loaded.objective.kind,
        "clip": f"{data.frames} frames at {data.fps:g}/s, {data.size[0]}x{data.size[1]}",
        "batch": training.batch,
        "budget": ", ".join(f"{value:g} {n}" for n, value in budget.items() if value is not None),
    }
