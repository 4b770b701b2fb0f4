"""Batches as a pure function of (seed, step): no order is remembered, so none can be lost."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from ..core import chance
from ..core.clips import Batch, to_float
from ..core.config import Count, NotNegative, Positive, Section
from ..core.errors import DataError, RecipeError
from ..core.progress import say
from .augment import AS_IT_IS, Draw, Said, apply, draw, fitted
from .augment import Config as Augment
from .guides import Room
from .store import REAL, Clip, Dataset
from .tasks import Config as Tasks
from .tasks import mask

Places = npt.NDArray[np.int64]
_LONG = 60.0
"""Seconds after which it is said what a batch waits for."""


class Config(Section):
    """What a training clip is."""

    folder: str = ""
    """The dataset, as `muybridge prepare` made it; `--data` sets it."""
    digest: str = ""
    """Of the dataset, written by `train`: a run goes on only with the data it began with."""
    frames: Count = 16
    """Frames in a clip."""
    fps: Positive = 8.0
    """Frames per second of a clip; at most what the dataset stores."""
    size: tuple[Count, Count] = (64, 64)
    """Height and width in pixels: the dataset's, its base one if it has several."""
    invented: NotNegative = 0.0
    """How much a frame that was repeated or interpolated in repair counts in the loss; a real one
    counts 1."""
    normalise: Literal["statistics", "range"] = "statistics"
    """What a model works on: clips less the mean and over the deviation of each channel, both of
    the training split; or as they are, in [-1, 1]."""
    augment: Augment = Augment()
    """How training clips are varied."""
    tasks: Tasks = Tasks()
    """What is given of a clip, from which the rest is to be made."""


@dataclass(frozen=True)
class Cut:
    """One clip of a batch: which stored frames, and what is done to them.

    Attributes:
        clip: the stored clip.
        places: of the frames in it, int64 (frames,).
        seed: the clip's own source of chance.
        draw: how it is changed.
        said: its words, fitting the change.
    """

    clip: Clip
    places: Places
    seed: int
    draw: Draw
    said: Said

    def name(self, fps: float) -> str:
        """The clip's name and where in it this begins; `fps` is what the dataset stores."""
        return f"{self.clip.name}@{self.places[0] / fps:.2f}s"


@dataclass(frozen=True)
class Loader:
    """Clips of one split, cut to the recipe's length and rate.

    A clip starts where the most of its frames are real: footage of 8 frames a second that is stored
    at 24 starts at a frame that is no repetition of the one before.

    Clips of several sizes: a batch is of one size, and which one follows from seed and step. The
    clips of a size come in turn, each once before any comes again. At the end of epoch e each clip
    has come e times, and beyond that fewer of each size than make a batch. With one size an epoch
    is exactly once through all clips, and need not end with a batch.

    Raises:
        DataError: the split has no clip that is long enough.
        RecipeError: the recipe asks for a rate or a size that the dataset does not hold.
    """

    dataset: Dataset
    split: str
    config: Config
    seed: int = 0
    _known: dict[str, Places] = field(default_factory=dict, init=False, repr=False, compare=False)
    _reading: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.config.fps > self.dataset.fps:
            raise RecipeError(
                f"data.fps = {self.config.fps:g}, but dataset {self.dataset.folder} stores "
                f"{self.dataset.fps:g} frames per second",
                f"lower data.fps, or prepare again with --set prepare.fps={self.config.fps:g}",
            )
        if tuple(self.dataset.facts["size"]) != self.config.size:
            size = list(self.config.size)
            raise RecipeError(
                f"data.size = {size}, but dataset {self.dataset.folder} stores "
                f"{self.dataset.facts['size']}",
                f"prepare again with --set 'prepare.size={size}', or set data.size",
            )
        if not self.clips:
            longest = max((clip.frames for clip in self.dataset.of(self.split)), default=0)
            if longest >= self.span:
                raise DataError(
                    f"no clip of the {self.split} split has a frame that was not repeated or "
                    "interpolated in repair, and data.invented = 0",
                    "add footage, or let invented frames count: data.invented=1",
                )
            raise DataError(
                f"no clip of the {self.split} split is long enough: data.frames = "
                f"{self.config.frames} at data.fps = {self.config.fps:g} needs "
                f"{self.span / self.dataset.fps:.2f} s, the longest has "
                f"{longest / self.dataset.fps:.2f} s",
                "lower data.frames, or add footage",
            )

    @cached_property
    def offsets(self) -> Places:
        """Places of a clip's frames in the stored footage, from its first: int64 (frames,)."""
        return self._offsets(AS_IT_IS)

    @property
    def span(self) -> int:
        """Stored frames that a clip reaches over."""
        return int(self.offsets[-1]) + 1

    @cached_property
    def clips(self) -> list[Clip]:
        """The stored clips that are long enough, and have a frame to learn from."""
        long = [clip for clip in self.dataset.of(self.split) if clip.frames >= self.span]
        if self.config.invented:
            return long
        return [clip for clip in long if not _invented(clip, self._fixed(clip, 0.5).places).all()]

    @cached_property
    def by_size(self) -> list[list[Clip]]:
        """The clips of each size, those of least height first."""
        found: dict[tuple[int, int], list[Clip]] = {}
        for clip in self.clips:
            found.setdefault((clip.height, clip.width), []).append(clip)
        return [found[size] for size in sorted(found)]

    def batch(self, step: int, size: int, rank: int = 0, world: int = 1) -> Batch:
        """The batch of one step: each epoch goes through all clips, in an order of its own.

        `size` is the global batch; this rank's consecutive share of it is given.
        """
        share = size // world
        which, turn = self._turn(step, size)
        clips, cuts = self.by_size[which], []
        for place in range(rank * share, (rank + 1) * share):
            epoch, position = divmod(turn * size + place, len(clips))
            clip = clips[int(_order(len(clips), self.seed, "epoch", epoch)[position])]
            cuts.append(self._drawn(clip, chance.mix(self.seed, "clip", step * size + place)))
        index = torch.arange(step * size + rank * share, step * size + (rank + 1) * share)
        return replace(self._collate(cuts), index=index)

    def iterate(self, step: int, size: int, rank: int = 0, world: int = 1) -> Generator[Batch]:
        """Batches from `step` on, without end, the next two made ahead in a thread."""
        with ThreadPoolExecutor(1, initializer=_no_threads_of_opencv) as pool:
            ahead: list[Future[Batch]] = []
            try:
                while True:
                    while len(ahead) < 3:
                        ahead.append(pool.submit(self.batch, step, size, rank, world))
                        step += 1
                    yield self._waited(ahead.pop(0))
            finally:
                for future in ahead:
                    future.cancel()

    def _waited(self, future: Future[Batch]) -> Batch:
        """What is made ahead; where that takes long, it is said now and then what it waits for."""
        waited = 0.0
        while not wait([future], _LONG).done:
            waited += _LONG
            say(
                f"waiting for {waited:.0f} s now for {self._reading.get('file', 'clips')} to be "
                "read: is the disk still there that holds the dataset?"
            )
        return future.result()

    def fixed(self, count: int, begin: int = 0, end: int | None = None) -> Batch:
        """The same `count` clips every time, spread evenly over the split and each clip's length.

        They are as they are stored, never varied. `begin` and `end` give a part of them. Of clips
        of several sizes only those of `data.size`, or if there are none, of the commonest size.
        """
        return self._collate(self.windows(count, begin, end))

    def windows(self, count: int, begin: int = 0, end: int | None = None) -> list[Cut]:
        """Where the clips of `fixed` are cut, without reading them."""
        base = self.config.size
        clips = max(self.by_size, key=lambda c: ((c[0].height, c[0].width) == base, len(c)))
        rounds = -(-count // len(clips))
        cuts = []
        for index in range(begin, count if end is None else min(end, count)):
            turn, which = divmod(index, len(clips))
            if turn == rounds - 1 and rounds == 1:
                which = index * len(clips) // count
            cut = self._fixed(clips[which], (turn + 0.5) / rounds)
            cuts.append(replace(cut, seed=chance.mix(self.seed, "fixed", index)))
        return cuts

    def all_windows(self, clip: str) -> list[Cut]:
        """Every cut that training may make of the stored clip of this name, as it is stored."""
        stored = self._by_name[clip]
        starts = self._starts(stored, self.offsets)
        told = _said(stored)
        return [Cut(stored, int(start) + self.offsets, 0, AS_IT_IS, told) for start in starts]

    def read(self, cuts: Sequence[Cut]) -> Batch:
        """The clips that are cut so."""
        return self._collate(list(cuts))

    @cached_property
    def _by_name(self) -> dict[str, Clip]:
        return {clip.name: clip for clip in self.clips}

    def _turn(self, step: int, size: int) -> tuple[int, int]:
        """Which of `by_size` a step has, and how many batches of that size came before it."""
        counts = [len(clips) for clips in self.by_size]
        if len(counts) == 1:
            return 0, step

        def done(epoch: int) -> list[int]:
            """Batches of each size before an epoch."""
            return [-(-epoch * count // size) for count in counts]

        # An epoch begins at most one batch of each size later than if batches could be cut.
        epoch = step * size // sum(counts)
        while sum(done(epoch)) > step:
            epoch -= 1
        before, after = done(epoch), done(epoch + 1)
        order = _sizes(tuple(b - a for a, b in zip(before, after, strict=True)), self.seed, epoch)
        position = step - sum(before)
        which = int(order[position])
        return which, before[which] + int((order[:position] == which).sum())

    def _offsets(self, draw: Draw) -> Places:
        step = self.dataset.fps / self.config.fps * (draw.every * draw.speed)
        return np.asarray(np.rint(np.arange(self.config.frames) * step), np.int64)

    def _fixed(self, clip: Clip, share: float) -> Cut:
        """A clip as it is stored, from `share` of the way through its starts."""
        starts = self._starts(clip, self.offsets)
        start = int(starts[round((len(starts) - 1) * share)])
        return Cut(clip, start + self.offsets, 0, AS_IT_IS, _said(clip))

    def _drawn(self, clip: Clip, seed: int) -> Cut:
        wanted, said = AS_IT_IS, _said(clip)
        if self._varied:
            wanted = self._timed(draw(self.config.augment, seed), clip)
            wanted, said = fitted(wanted, said, *self._numbers)
        as_stored = (wanted.every, wanted.speed) == (1, 1.0)
        offsets = self.offsets if as_stored else self._offsets(wanted)
        starts = self._starts(clip, offsets)
        start = int(starts[chance.mix(seed, "start") % len(starts)])
        return Cut(clip, start + offsets, seed, wanted, said)

    @cached_property
    def _varied(self) -> bool:
        return self.config.augment != Augment()

    def _timed(self, draw: Draw, clip: Clip) -> Draw:
        """The draw at a rate and a speed that the clip has, without more invented frames."""
        if draw.every > 1 and self._offsets(Draw(every=draw.every))[-1] >= clip.frames:
            draw = replace(draw, every=1)
        if draw.speed != 1:
            step = self.dataset.fps / self.config.fps * draw.every
            fastest = (clip.frames - 1) / (max(1, self.config.frames - 1) * step)
            speed = min(draw.speed, max(1.0, fastest))
            draw = replace(draw, speed=max(speed, min(1.0, 1 / step)))
        if not _all_real(clip) and (draw.every, draw.speed) != (1, 1.0):
            offsets = self._offsets(draw), self.offsets
            first, second = (int(self._starts(clip, one)[0]) + one for one in offsets)
            if _invented(clip, first).sum() > _invented(clip, second).sum():
                draw = replace(draw, every=1, speed=1.0)
        return draw

    def _starts(self, clip: Clip, offsets: Places) -> Places | range:
        """Where in a clip as many frames as can be are real."""
        count = clip.frames - int(offsets[-1])
        if _all_real(clip):
            return range(count)
        if offsets is self.offsets and clip.file in self._known:
            return self._known[clip.file]
        real = np.frombuffer(clip.kinds, np.uint8) == REAL
        found = np.zeros(count, np.int32)
        for offset in offsets.tolist():
            found += real[offset : offset + count]
        starts = np.flatnonzero(found == found.max())
        if offsets is self.offsets:
            self._known[clip.file] = starts
        return starts

    def _collate(self, cuts: list[Cut]) -> Batch:
        clips, frames = [cut.clip for cut in cuts], self.config.frames
        fps = self.dataset.fps
        pixels = np.empty((len(cuts), frames, 3, clips[0].height, clips[0].width), np.float32)
        times = np.empty((len(cuts), frames), np.float32)
        weights = np.ones((len(cuts), frames), np.float32)
        room = Room(self.config.tasks, (len(cuts), frames, clips[0].height, clips[0].width))
        for row, cut in enumerate(cuts):
            # Clip by clip, while its bytes are in the processor's cache.
            self._reading["file"] = str(self.dataset.folder / cut.clip.file)
            shown = apply(self.dataset.frames(cut.clip, cut.places), cut.draw)
            to_float(shown, pixels[row])
            room.draw(row, shown, cut.seed)
            # When a frame would be seen if the footage were played at the clip's speed.
            times[row] = (cut.places - cut.places[0]) / (fps * cut.draw.speed)
            weights[row, _invented(cut.clip, cut.places)] = self.config.invented
        seeds = torch.tensor([cut.seed for cut in cuts])
        known = mask(seeds, frames, (clips[0].height, clips[0].width), self.config.tasks)
        return Batch(
            clips=torch.from_numpy(pixels),
            times=torch.from_numpy(times),
            frame_weight=torch.from_numpy(weights),
            seeds=seeds,
            names=tuple(cut.name(fps) for cut in cuts),
            text=tuple(c.said.caption for c in cuts) if self.dataset.facts["captioned"] else None,
            label=self._label(cut.said.label for cut in cuts),
            objects=self._objects([cut.said.objects for cut in cuts]),
            known=None if known is None else torch.from_numpy(pixels),
            known_mask=known,
            guides=room.guides,
        )

    def _label(self, labels: Iterable[str]) -> torch.Tensor | None:
        """A clip without a label in labelled data has the number one past the last: "not said"."""
        numbers = self._numbers[0]
        return torch.tensor([numbers.get(x, len(numbers)) for x in labels]) if numbers else None

    def _objects(self, objects: Sequence[tuple[str, ...]]) -> torch.Tensor | None:
        numbers = self._numbers[1]
        if not numbers:
            return None
        found = np.zeros((len(objects), len(numbers)), np.float32)
        for row, names in zip(found, objects, strict=True):
            row[[numbers[name] for name in names]] = 1
        return torch.from_numpy(found)

    @cached_property
    def _numbers(self) -> tuple[dict[str, int], dict[str, int]]:
        """Places of labels, and of objects, in the dataset's lists."""
        lists = self.dataset.labels, self.dataset.objects
        labels, objects = ({name: place for place, name in enumerate(names)} for names in lists)
        return labels, objects


def _no_threads_of_opencv() -> None:
    """For the whole process: on pictures of 512 pixels they and the training's would wait for each
    other, and a step would take half as long again and more (`benchmarks/loader.py`)."""
    import cv2

    cv2.setNumThreads(1)


def _said(clip: Clip) -> Said:
    return Said(clip.caption, clip.label, clip.objects)


def _all_real(clip: Clip) -> bool:
    return clip.kinds.count(REAL) == len(clip.kinds)


def _invented(clip: Clip, places: Places) -> npt.NDArray[np.bool_]:
    """Which of these frames were repeated or interpolated in repair."""
    if _all_real(clip):
        return np.zeros(len(places), np.bool_)
    return np.asarray(np.frombuffer(clip.kinds, np.uint8)[places] != REAL)


@lru_cache(maxsize=8)
def _order(count: int, seed: int, use: str, epoch: int) -> npt.NDArray[np.int64]:
    return np.asarray(chance.permutation(count, seed, use, epoch).numpy())


@lru_cache(maxsize=4)
def _sizes(counts: tuple[int, ...], seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Which size each step of an epoch has, as numbers; so many steps of each."""
    return np.repeat(np.arange(len(counts)), counts)[_order(sum(counts), seed, "sizes", epoch)]
