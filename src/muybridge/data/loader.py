"""Batches as a pure function of (seed, step): no order is remembered, so none can be lost."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch

from ..core import chance
from ..core.clips import Batch, to_float
from ..core.config import Count, Positive, Section
from ..core.errors import DataError, RecipeError
from .store import Clip, Dataset


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
    """Height and width in pixels; the dataset must store this size."""
    flip: bool = False
    """Mirror half of the training clips left to right; wrong where words or labels name a side."""


@dataclass(frozen=True)
class Loader:
    """Clips of one split, cut to the recipe's length and rate.

    Raises:
        DataError: the split has no clip that is long enough.
        RecipeError: the recipe asks for a rate or a size that the dataset does not hold.
    """

    dataset: Dataset
    split: str
    config: Config
    seed: int = 0

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
            raise DataError(
                f"no clip of the {self.split} split is long enough: data.frames = "
                f"{self.config.frames} at data.fps = {self.config.fps:g} needs "
                f"{self.span / self.dataset.fps:.2f} s, the longest has "
                f"{longest / self.dataset.fps:.2f} s",
                "lower data.frames, or add footage",
            )

    @cached_property
    def offsets(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Places of a clip's frames in the stored footage, from its first: int64 (frames,)."""
        steps = np.arange(self.config.frames) * (self.dataset.fps / self.config.fps)
        return np.asarray(np.rint(steps), np.int64)

    @property
    def span(self) -> int:
        """Stored frames that a clip reaches over."""
        return int(self.offsets[-1]) + 1

    @cached_property
    def clips(self) -> list[Clip]:
        """The stored clips that are long enough."""
        return [clip for clip in self.dataset.of(self.split) if clip.frames >= self.span]

    def batch(self, step: int, size: int, rank: int = 0, world: int = 1) -> Batch:
        """The batch of one step: each epoch goes through all clips once, in an order of its own.

        `size` is the global batch; this rank's consecutive share of it is given.
        """
        share = size // world
        first = step * size + rank * share
        return self._collate([self._draw(place) for place in range(first, first + share)])

    def iterate(self, step: int, size: int, rank: int = 0, world: int = 1) -> Generator[Batch]:
        """Batches from `step` on, without end, the next two made ahead in a thread."""
        with ThreadPoolExecutor(1) as pool:
            ahead: list[Future[Batch]] = []
            try:
                while True:
                    while len(ahead) < 3:
                        ahead.append(pool.submit(self.batch, step, size, rank, world))
                        step += 1
                    yield ahead.pop(0).result()
            finally:
                for future in ahead:
                    future.cancel()

    def fixed(self, count: int, begin: int = 0, end: int | None = None) -> Batch:
        """The same `count` clips every time, spread evenly over the split and each clip's length.

        `begin` and `end` give a part of them.
        """
        clips = self.clips
        rounds = -(-count // len(clips))
        places = []
        for index in range(begin, count if end is None else min(end, count)):
            turn, which = divmod(index, len(clips))
            if turn == rounds - 1 and rounds == 1:
                which = index * len(clips) // count
            clip = clips[which]
            start = round((clip.frames - self.span) * (turn + 0.5) / rounds)
            places.append((clip, start, chance.mix(self.seed, "fixed", index), False))
        return self._collate(places)

    def _draw(self, place: int) -> tuple[Clip, int, int, bool]:
        clips = self.clips
        epoch, position = divmod(place, len(clips))
        clip = clips[int(_order(len(clips), self.seed, epoch)[position])]
        seed = chance.mix(self.seed, "clip", place)
        start = chance.mix(seed, "start") % (clip.frames - self.span + 1)
        return clip, start, seed, self.config.flip and chance.mix(seed, "flip") % 2 == 1

    def _collate(self, places: list[tuple[Clip, int, int, bool]]) -> Batch:
        offsets, labels = self.offsets, self.dataset.labels
        pixels = np.empty((len(places), len(offsets), *self.config.size, 3), np.uint8)
        for row, (clip, start, _, flip) in enumerate(places):
            frames = self.dataset.frames(clip, start + offsets)
            pixels[row] = frames[:, :, ::-1] if flip else frames
        clips = [clip for clip, *_ in places]
        label = None
        if labels:
            # A clip without a label in labelled data gets the number one past the last: "not said".
            numbers = [labels.index(c.label) if c.label else len(labels) for c in clips]
            label = torch.tensor(numbers)
        times = torch.from_numpy(offsets / self.dataset.fps).float().expand(len(places), -1)
        return Batch(
            clips=torch.from_numpy(to_float(pixels)),
            times=times,
            frame_weight=torch.ones_like(times),
            seeds=torch.tensor([seed for *_, seed, _ in places]),
            names=tuple(f"{c.name}@{start / self.dataset.fps:.2f}s" for c, start, *_ in places),
            text=tuple(c.caption for c in clips) if self.dataset.facts["captioned"] else None,
            label=label,
        )


@lru_cache(maxsize=4)
def _order(count: int, seed: int, epoch: int) -> torch.Tensor:
    return chance.permutation(count, seed, "epoch", epoch)
