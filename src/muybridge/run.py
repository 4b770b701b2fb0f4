"""A run folder: train, generate and evaluate in it."""

from __future__ import annotations

import contextlib
import datetime
import platform
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import prefixes
from .core import chance, config, device, distributed, files, progress, video
from .core.clips import Batch
from .core.errors import DataError, MuybridgeError, RunError, nearest
from .data.loader import Loader
from .data.store import Dataset
from .models import text as text_module
from .objectives.base import Objective, Parts, SampleRequest
from .recipe import Recipe
from .training import checkpoint as checkpoints
from .training import loop

Judged = Callable[[Mapping[str, Any]], None]

FORMAT = 1
CHUNK = 16
_PREVIEW_STEPS = 12
_HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Run:
    """A run folder, whole by itself: it generates without the dataset it was trained on."""

    folder: Path
    recipe: Recipe

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """Opens a run.

        Raises:
            RunError: the folder is not a run.
        """
        folder = Path(folder)
        if not (folder / "recipe.yaml").is_file():
            raise RunError(
                f"{folder} is not a run: it has no recipe.yaml",
                f"make one with: muybridge train flow-small --data DATASET --out {folder}",
            )
        return cls(folder, Recipe.stored(folder))

    @cached_property
    def conditions(self) -> dict[str, Any]:
        """What the model can be asked for, and what it must know of its data: `conditions.json`."""
        return dict(files.read_json(self.folder / "conditions.json", "conditions"))

    def objective(self) -> Objective:
        """The objective with fresh weights, the same for the same seed."""
        model = self.recipe.model
        torch.manual_seed(chance.mix(self.recipe.seed, "weights"))
        encoder = None
        if (settings := getattr(model.config, "text", None)) is not None:
            vocabulary = (self.folder / "vocabulary.json").read_text(encoding="utf-8")
            encoder = text_module.TextEncoder(settings, vocabulary)
        network = model.module.build(model.config)
        mean, std = self.conditions["mean"], self.conditions["std"]
        if self.recipe.data.normalise == "range":
            mean, std = [0.0] * 3, [1.0] * 3
        tokenizer = None
        if self.recipe.tokenizer is not None:
            from .stages import loaded

            tokenizer, mean, std = loaded(self)
        part = self.recipe.objective
        distance = None
        if self.recipe.perceptual is not None:
            from .perceptual import Distance

            distance = Distance(self.recipe.perceptual, self.folder)
        sampling = self.recipe.sampling
        critic = None
        if (judge := self.recipe.critic) is not None:
            critic = judge.module.build(judge.config)
        parts = Parts(network, encoder, mean, std, sampling, tokenizer, distance, critic)
        made: Objective = part.module.build(part.config, parts)
        return made

    def train(self, judged: Judged | None = None) -> checkpoints.Position:
        """Trains, or goes on, until the budget is spent. Only one process may.

        `judged` is given the figures of held-out clips each time; what it raises ends training.
        """
        device.settle(self.recipe.training.threads, self.recipe.training.precision == "tf32")
        dataset = Dataset.open(self.recipe.data.folder)
        check_dataset(dataset, self.recipe)
        from . import starting
        from .perceptual import copied
        from .stages import first, left

        with self._lock():
            first(self, dataset)
            copied(self.recipe, self.folder)
            objective = self.objective()
            starting.begin(objective, self.folder)
            # Weights, their average and two moments, in each checkpoint kept and one on its way.
            size = 16 * sum(p.numel() for p in objective.parameters())
            more = self.recipe.training.keep + 2 - len(checkpoints.newest(self.folder))
            files.need_room(self.folder, size * max(more, 1), "training")
            if distributed.rank() == 0:
                self._write_environment(dataset, objective)
            return loop.train(
                objective,
                left(self),
                self.folder,
                device.pick(),
                self._hooks(objective, dataset, judged),
            )

    def _lock(self) -> contextlib.AbstractContextManager[None]:
        return (
            files.locked(self.folder, "run")
            if distributed.rank() == 0
            else contextlib.nullcontext()
        )

    def loader(self, dataset: Dataset, split: str) -> Loader:
        """Clips of one split, as this run cuts them."""
        return Loader(dataset, split, self.recipe.data, chance.mix(self.recipe.seed, split))

    def _hooks(self, objective: Objective, dataset: Dataset, judged: Judged | None) -> loop.Hooks:
        from .stages import cached

        train, held_out = self.loader(dataset, "train"), self.loader(dataset, "validation")
        count, where = self.recipe.evaluation.held_out, device.pick()
        fixed = {"loss": held_out.fixed(count), "train_loss": train.fixed(count)}
        shown = held_out.fixed(8)

        filled = cached(self, train, objective)

        def batches(step: int) -> Generator[Batch]:
            size = self.recipe.training.batch
            drawn = train.iterate(step, size, distributed.rank(), distributed.world())
            with contextlib.closing(drawn):
                yield from map(filled, drawn)

        def validate() -> dict[str, Any]:
            with torch.no_grad(), self.autocast():
                figures = {n: objective.held_out(batch.to(where)) for n, batch in fixed.items()}
            found = {name: loss for name, (loss, _) in figures.items()} | figures["loss"][1]
            if "by_time" in (own := figures["train_loss"][1]):
                found["train_by_time"] = own["by_time"]
            if judged is not None:
                judged(found | {"progress": objective.progress})
            return found

        def raw() -> float:
            with torch.no_grad(), self.autocast():
                return objective.held_out(fixed["loss"].to(where))[0]

        def preview(step: int) -> dict[str, Any]:
            usual = getattr(self.recipe.sampling, "steps", None)
            steps = None if usual is None else min(_PREVIEW_STEPS, usual)
            made = self.sample(objective, self._request(shown, seed=0, steps=steps))
            name = f"previews/step-{step:08d}"
            (self.folder / "previews").mkdir(exist_ok=True)
            captions = captions_of(shown, dataset.labels)
            video.write_video(made, self.folder / f"{name}.mp4", self.recipe.data.fps)
            sheet = video.contact_sheet([video.to_uint8(clip) for clip in made], captions)
            files.write_bytes(self.folder / f"{name}.png", video.png(sheet))
            return {"video": f"{name}.mp4", "sheet": f"{name}.png", "captions": captions}

        from .watch import watch

        measure = watch(self, objective, train, held_out)
        return loop.Hooks(batches, len(train.clips), validate, preview, self.autocast, measure, raw)

    def autocast(self) -> torch.autocast:
        """The context in which the network computes, by the recipe's precision."""
        half = _HALVES.get(self.recipe.training.precision)
        return torch.autocast(device.pick().type, half, enabled=half is not None)

    def _request(self, batch: Batch, seed: int, **settings: Any) -> SampleRequest:
        """Clips like those of `batch`: the same times, size and conditions."""
        seeds = torch.tensor([chance.mix(seed, "sample", i) for i in range(len(batch))])
        size = (batch.clips.shape[-2], batch.clips.shape[-1])
        given = {n: getattr(batch, n) for n in ("text", "label", "known", "known_mask")}
        return SampleRequest(batch.times, size, seeds, **given, **settings)

    def sample(self, objective: Objective, request: SampleRequest, what: str = "") -> Tensor:
        """Samples a few clips at a time, on the device, and gives them on the CPU."""
        made = []
        most = min(CHUNK, self.recipe.training.micro_batch or CHUNK)
        chunks = range(0, len(request), most)
        for begin in progress.track(chunks, what) if what else chunks:
            with torch.no_grad(), self.autocast():
                made.append(
                    objective.sample(request.part(begin, begin + most).to(device.pick())).cpu()
                )
        return torch.cat(made)

    def stream(self, objective: Objective, request: SampleRequest) -> Iterator[Tensor] | None:
        """Frames one after another, (count, 3, height, width) each on the CPU, as soon as they are
        made; None for a model that makes all of a clip at once."""
        make = getattr(objective, "frames", None)
        return None if make is None else self._streamed(make(request.to(device.pick())))

    def _streamed(self, frames: Iterator[Tensor]) -> Iterator[Tensor]:
        while True:
            with torch.no_grad(), self.autocast():
                frame = next(frames, None)
            if frame is None:
                return
            yield frame.cpu()

    def trained(self, name: str = "last") -> tuple[Objective, checkpoints.Position]:
        """The objective with the averaged weights of a checkpoint: "last", "best", or a step."""
        found = self.restored(name)
        torch.set_num_threads(min(self.recipe.training.threads, device.cores()))
        return found

    def restored(self, name: str = "last") -> tuple[Objective, checkpoints.Position]:
        """The same, and threads stay as they are."""
        path = checkpoints.find(self.folder, name)
        position, parts = checkpoints.load(path, ("average",))
        objective = self.objective().to(device.pick()).eval()
        objective.progress = position.progress
        checkpoints.put(parts["average"], objective.generator, path)
        return objective, position

    def generate(self, checkpoint: str = "last", **asked: Any) -> Tensor:
        """Makes clips.

        Args:
            checkpoint: "last", "best", or a step's number.
            asked: what is to be made, as `generation.asked.Asked` describes it: `text`, `label`,
                `count`, `seconds`, `seed`, `steps`, `guidance`; and of a run that was trained for
                it `image`, `prefix`, `sketch`, `video` and the rest.

        Without text, label and anything given the conditions of the training clips are gone through
        in turn.

        Returns:
            float32 (count, time, 3, height, width) in [-1, 1].

        Raises:
            MuybridgeError: something that the run was not trained for, or a bad value.
        """
        from .generation.asked import Asked
        from .generation.making import made, plan

        return made(plan(self, config.parse(Asked, asked, "")), checkpoint)

    def make(
        self, request: SampleRequest, checkpoint: str = "last"
    ) -> tuple[Tensor, checkpoints.Position]:
        """Makes the clips of a request, and says from where in training their weights are."""
        objective, position = self.trained(checkpoint)
        return self.sample(objective, request, "generate"), position

    def request(
        self,
        text: str | Sequence[str] | None = None,
        label: str | Sequence[str] | None = None,
        count: int = 8,
        seconds: float | None = None,
        seed: int = 0,
        steps: int | None = None,
        guidance: float | None = None,
        prefix: str | Path | None = None,
        begun: bool = True,
        said: Sequence[dict[str, str]] | None = None,
    ) -> SampleRequest:
        """What is asked of the objective for clips made in one piece, checked.

        Several texts and labels are gone through in turn, "" for none; where there are none, what
        is `said`, or else the conditions of the training clips. Where it is not `begun`, no frames
        are given.
        """
        if count < 1:
            raise MuybridgeError(f"--count {count}: at least one clip is made")
        if steps is not None and steps < 1:
            raise MuybridgeError(f"--steps {steps}: at least one step is taken")
        for name, value in {"steps": steps, "guidance": guidance}.items():
            if value is not None and name not in type(self.recipe.sampling).model_fields:
                raise MuybridgeError(
                    f"--{name} {value:g}: the {self.recipe.model.kind} of {self.folder} is sampled "
                    f"without {name}",
                    f"leave --{name} out",
                )
        data = self.recipe.data
        span = self.recipe.multiple[0]
        frames = data.frames if seconds is None else round(seconds * data.fps / span) * span
        if frames < 1:
            raise MuybridgeError(
                f"--seconds {seconds}: a clip of this run has {span / data.fps:g} s or more"
            )
        start = prefixes.start(self.folder, data, prefix) if begun else None
        known = said or (self.conditions["known"] if start is None else start.said)
        captions, labels = self._conditions(text, label, count, known)
        times = (torch.arange(frames) / data.fps).expand(count, -1)
        seeds = torch.tensor([chance.mix(seed, "sample", i) for i in range(count)])
        request = SampleRequest(
            times, data.size, seeds, captions, labels, steps=steps, guidance=guidance
        )
        return request if start is None else prefixes.given(request, start.frames)

    def _conditions(
        self,
        text: str | Sequence[str] | None,
        label: str | Sequence[str] | None,
        count: int,
        known: Sequence[dict[str, str]],
    ) -> tuple[tuple[str, ...] | None, Tensor | None]:
        classes = self.conditions["labels"]
        if text is not None and not self.conditions["captioned"]:
            raise MuybridgeError(
                f"--text: {self.folder} was trained without captions",
                f"ask for --label {'|'.join(classes)}" if classes else "leave --text out",
            )
        names = [label or ""] if isinstance(label, str | None) else list(label)
        unknown = next((name for name in names if name and name not in classes), None)
        if unknown or label == "":
            close = nearest(unknown or "", classes)
            listed = (
                f"known labels: {', '.join(classes)}"
                if classes
                else "it was trained without labels"
            )
            raise MuybridgeError(
                f"--label {unknown or ''!r} is unknown to {self.folder}",
                f"did you mean {close}?" if close else listed,
            )
        if text is None and label is None:
            turn = [known[i % len(known)] for i in range(count)]
        else:
            said = [text] if isinstance(text, str) else list(text or [""])
            turn = [
                {"text": said[i % len(said)], "label": names[i % len(names)]} for i in range(count)
            ]
        captions = tuple(one["text"] for one in turn) if self.conditions["captioned"] else None
        if not classes:
            return captions, None
        numbers = [classes.index(one["label"]) if one["label"] else len(classes) for one in turn]
        return captions, torch.tensor(numbers)

    def evaluate(self, **settings: Any) -> dict[str, Any]:
        """Judges the run on its dataset's test split; writes `scores.json` and the clips shown.

        `settings` are those of `muybridge.evaluate`, such as `metrics`, `real` and `against`.
        """
        from .judge import evaluate

        return evaluate(self.folder, **settings)

    def _write_environment(self, dataset: Dataset, objective: Objective) -> None:
        from . import __version__

        machine = device.examine(self.folder)
        facts = dataset.facts
        about = {n: facts[n] for n in ("digest", "clips", "seconds", "fps", "size", "labels")}
        files.write_json(
            self.folder / "environment.json",
            {
                "format": FORMAT, "created": _now(), "muybridge": __version__,
                "python": platform.python_version(), "torch": torch.__version__,
                "platform": platform.platform(), "processor": machine.processor,
                "cores": machine.cores, "amx": machine.amx, "gpu": machine.gpu,
                "memory_gib": round(machine.memory_gib, 1),
                "dataset": {"folder": str(dataset.folder), **about},
                "parameters": sum(p.numel() for p in objective.generator.parameters()),
            },
        )  # fmt: skip


def captions_of(batch: Batch, labels: Sequence[str]) -> list[str]:
    """What each clip is, in words: its caption, else its label, else ""."""
    said = list(batch.text or [""] * len(batch))
    names = [*labels, ""]
    numbers = batch.label.tolist() if batch.label is not None else [len(labels)] * len(batch)
    return [words or names[number] for words, number in zip(said, numbers, strict=True)]


def check_dataset(dataset: Dataset, recipe: Recipe) -> None:
    """Raises DataError where a dataset is not the one that a run began with."""
    if dataset.facts["digest"] != recipe.data.digest:
        raise DataError(
            f"dataset {dataset.folder} has changed since the run began",
            "prepare it as it was, or start a new run",
        )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
