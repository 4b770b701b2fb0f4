"""Clips that a run makes to be judged: kept in the run, so that none is made twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .core import files, progress, video
from .core.clips import to_float
from .evaluation import clip_sets, suite
from .evaluation.clip_sets import ClipSet
from .objectives.base import SampleRequest
from .run import Run
from .training import checkpoint as checkpoints


@dataclass(frozen=True)
class Subject:
    """What is judged: its clips, and how they came to be."""

    name: str
    folder: Path
    clips: ClipSet
    manifest: dict[str, Any]
    run: Run | None = None
    checkpoint: str = ""


def generated(run: Run, real: ClipSet, config: suite.Config, checkpoint: str) -> Subject:
    """Clips made by a run with the conditions of real ones, one by one.

    They are kept in the run, 8 bits a colour as a file would hold them, until others are asked
    for: a call that was cut off goes on where it was.
    """
    path = checkpoints.find(run.folder, checkpoint)
    state = files.read_json(path / "state.json", "checkpoint")
    request = request_like(run, real, config.seed)
    sampling = run.recipe.sampling.model_dump(mode="json")
    key = files.digest_of(
        state["sha256"]["average"], sampling, config.seed, len(real), real.captions, real.labels,
        real.form,
    )[:16]  # fmt: skip
    folder = run.folder / "evaluation" / key
    begins = range(0, len(real), clip_sets.CHUNK)
    absent = [begin for begin in begins if not _chunk(folder, begin).is_file()]
    if absent:
        objective, _ = run.trained(checkpoint)
        for begin in progress.track(absent, "generate"):
            made = run.sample(objective, request.part(begin, begin + clip_sets.CHUNK))
            _keep(_chunk(folder, begin), made)
    for other in folder.parent.iterdir():
        if other != folder:
            files.remove(other)
    clips = of_model(real, lambda begin, end: _kept(folder, begin, end))
    manifest = {
        "run": run.folder.resolve().name, "checkpoint": checkpoint,
        "checkpoint_step": state["step"], "seed": config.seed, "run_sampling": sampling,
    }  # fmt: skip
    name = run.folder.resolve().name
    return Subject(name, run.folder, clips, manifest, run, f"step-{state['step']:08d}")


def request_like(run: Run, real: ClipSet, seed: int) -> SampleRequest:
    """Clips with the conditions of real ones, as far as the model knows them; where there are none,
    with those it was trained on, in turn."""
    classes, captioned = run.conditions["labels"], run.conditions["captioned"]
    text = real.captions if captioned and any(real.captions) else None
    known = [label if label in classes else "" for label in real.labels]
    return run.request(text, known if any(known) else None, len(real), seed=seed)


def _chunk(folder: Path, begin: int) -> Path:
    return folder / f"{begin:06d}.npy"


def _keep(path: Path, clips: Tensor) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.stack([video.to_uint8(clip) for clip in clips])
    with files.atomic(path) as place, place.open("wb") as stream:
        np.save(stream, pixels, allow_pickle=False)


def _kept(folder: Path, begin: int, end: int) -> Tensor:
    """Clips `begin` up to `end` of those kept in chunks."""
    found = []
    for first in range(begin - begin % clip_sets.CHUNK, end, clip_sets.CHUNK):
        chunk = np.load(_chunk(folder, first), mmap_mode="r", allow_pickle=False)
        found.append(chunk[max(begin - first, 0) : end - first])
    return torch.from_numpy(to_float(np.concatenate(found)))


def of_model(real: ClipSet, read: Callable[[int, int], Tensor]) -> ClipSet:
    """Clips made with the conditions of real ones, one by one."""
    names = tuple(f"sample {index}" for index in range(len(real)))
    return dataclasses.replace(
        real, name="generated", names=names, owners=names, read=read, warnings=(),
        facts={"resize": "none"},
    )  # fmt: skip
