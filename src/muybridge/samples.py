"""What is judged: the clips of a folder, or those that a run makes, which are kept in the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import prefixes
from .core import files, progress, video
from .core.clips import to_float
from .core.errors import MuybridgeError
from .evaluation import clip_sets, suite
from .evaluation.clip_sets import ClipSet, Form, Wanted
from .objectives.base import SampleRequest
from .run import Run
from .training import checkpoint as checkpoints


@dataclass(frozen=True)
class Subject:
    """What is judged: its clips, and how they came to be; `kept` is where a run keeps them."""

    name: str
    folder: Path
    clips: ClipSet
    manifest: dict[str, Any]
    checkpoint: str = ""
    kept: Path | None = None


@dataclass(frozen=True)
class Entrant:
    """What is to be judged: a run, or a folder whose videos are read by `read`."""

    folder: Path
    checkpoint: str
    run: Run | None = None
    clips: ClipSet | None = None

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.folder.resolve().name

    @property
    def form(self) -> Form:
        """Of its clips; those of a folder are known once they were read."""
        if self.run is not None:
            data = self.run.recipe.data
            return Form(data.frames, data.fps, data.size)
        assert self.clips is not None
        return self.clips.form

    def count(self, real: ClipSet) -> int:
        """How many clips are judged: a run makes one for each real one."""
        return len(real) if self.clips is None else len(self.clips)

    def read(self, wanted: Wanted) -> Entrant:
        """Finds out what the videos of a folder are."""
        if self.run is not None:
            return self
        return dataclasses.replace(
            self, clips=clip_sets.of_folder(self.folder, "generated", wanted)
        )

    def subject(self, real: ClipSet, config: suite.Config) -> Subject:
        """Its clips: those of a folder, or those that a run makes now."""
        if self.run is not None:
            return generated(self.run, real, config, self.checkpoint)
        assert self.clips is not None
        return Subject(self.name, self.folder, self.clips, {"run": self.name})


def opened(folder: Path, checkpoint: str) -> Entrant:
    """A run, where the folder holds one, else a folder taken for videos.

    Raises:
        MuybridgeError: there is no such folder, or the run has no such checkpoint.
    """
    if (folder / "recipe.yaml").is_file():
        checkpoints.find(folder, checkpoint)
        return Entrant(folder, checkpoint, Run.open(folder))
    if not folder.is_dir():
        raise MuybridgeError(
            f"{folder} is neither a run nor a folder of videos",
            "give the --out folder of muybridge train, or a folder of clips",
        )
    if (folder / "dataset.json").is_file():
        raise MuybridgeError(
            f"{folder} is a dataset: it is what others are judged against",
            f"give a run, or a folder of videos, and --real {folder}",
        )
    return Entrant(folder, checkpoint)


def generated(run: Run, real: ClipSet, config: suite.Config, checkpoint: str) -> Subject:
    """Clips made by a run with the conditions of real ones, one by one.

    They are kept in the run, 8 bits a colour as a file would hold them, until `forget_others`: a
    call that was cut off goes on where it was.

    Raises:
        MuybridgeError: there is no such checkpoint, or it makes clips that are not finite.
    """
    path = checkpoints.find(run.folder, checkpoint)
    state = files.read_json(path / "state.json", "checkpoint")
    request = request_like(run, real, config.seed)
    sampling = run.recipe.sampling.model_dump(mode="json")
    given = run.recipe.data.tasks.judged
    begun = (given, real.names, real.facts) if given else ()
    key = files.digest_of(
        state["sha256"]["average"], sampling, config.seed, len(real), real.captions, real.labels,
        real.form, *begun,
    )[:16]  # fmt: skip
    folder = run.folder / "evaluation" / key
    shape = (real.form.frames, *real.form.size, 3)
    ends = {b: min(b + clip_sets.CHUNK, len(real)) for b in range(0, len(real), clip_sets.CHUNK)}
    absent = [b for b, end in ends.items() if not _whole(_chunk(folder, b), (end - b, *shape))]
    if absent:
        objective, _ = run.trained(checkpoint)
        for begin in progress.track(absent, "generate"):
            made = run.sample(objective, part_like(run, request, real, begin, ends[begin]))
            if broken := not_finite(made):
                raise MuybridgeError(
                    f"{run.folder}: sample {begin + broken[0]} of {path.name} holds numbers that "
                    "are not finite",
                    "a model that makes such clips has diverged; judge an earlier --checkpoint",
                )
            _keep(_chunk(folder, begin), made)
    clips = of_model(real, lambda begin, end: _kept(folder, begin, end))
    manifest = {
        "run": run.folder.resolve().name, "checkpoint": checkpoint,
        "checkpoint_step": state["step"], "run_seed": config.seed, "run_sampling": sampling,
    }  # fmt: skip
    if given:
        manifest["given_frames"] = given
    name = run.folder.resolve().name
    return Subject(name, run.folder, clips, manifest, f"step-{state['step']:08d}", folder)


def forget_others(subjects: Sequence[Subject]) -> None:
    """Removes from runs the clips that were kept for earlier calls; those of `subjects` stay."""
    used = {subject.kept.resolve() for subject in subjects if subject.kept}
    for folder in {path.parent for path in used}:
        for other in folder.iterdir():
            if other.resolve() not in used:
                files.remove(other)


def request_like(run: Run, real: ClipSet, seed: int) -> SampleRequest:
    """Clips with the conditions of real ones, as far as the model knows them; where there are none,
    with those it was trained on, in turn. No frames are given yet: see `part_like`."""
    classes, captioned = run.conditions["labels"], run.conditions["captioned"]
    text = real.captions if captioned and any(real.captions) else None
    known = [label if label in classes else "" for label in real.labels]
    return run.request(text, known if any(known) else None, len(real), seed=seed, begun=False)


def part_like(
    run: Run, request: SampleRequest, real: ClipSet, begin: int, end: int
) -> SampleRequest:
    """Clips `begin` up to `end` of a request; where the run has mostly learned to go on from given
    frames, those are the first ones of the real clips."""
    part, given = request.part(begin, end), run.recipe.data.tasks.judged
    return prefixes.given(part, real.read(begin, end)[:, :given]) if given else part


def _chunk(folder: Path, begin: int) -> Path:
    return folder / f"{begin:06d}.npy"


def not_finite(clips: Tensor) -> list[int]:
    """Places of the clips that hold a number that is not finite: 8 bits a colour would hide it."""
    places: list[int] = (~clips.flatten(1).isfinite()).any(1).nonzero().flatten().tolist()
    return places


def _whole(path: Path, shape: tuple[int, ...]) -> bool:
    """Whether a chunk is there and can be read; one that is damaged is made again."""
    try:
        chunk = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return False
    return bool(chunk.shape == shape and chunk.dtype == np.uint8)


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
        facts=dict(clip_sets.WHOLE),
    )  # fmt: skip


def asked_for(
    run: Run,
    config: suite.Config,
    checkpoint: str = "last",
    real: str | Path | None = None,
    given: int = 0,
) -> str:
    """What a run's scores follow from: its weights, how clips are made, what is measured, and the
    real clips."""
    state = files.read_json(checkpoints.find(run.folder, checkpoint) / "state.json", "checkpoint")
    settings = [one.model_dump(mode="json") for one in (config, run.recipe.sampling)]
    beside = run.recipe.data.digest if real is None else str(Path(real).resolve())
    return files.digest_of(state["sha256"], settings, beside, given)
