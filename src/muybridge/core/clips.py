"""What a batch of clips is: float32 (batch, time, channel, height, width), RGB, in [-1, 1]."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

# What a network can look at beside a clip, and its channels: where pixels are known; lines drawn,
# and where there is a drawing; a small or damaged video, and where there is one.
GUIDES = {"known": 1, "sketch": 2, "video": 4}


@dataclass(frozen=True)
class Batch:
    """Clips and what is known of them.

    Attributes:
        clips: float32 (batch, time, 3, height, width) in [-1, 1].
        times: presentation time of each frame in seconds, float32 (batch, time).
        frame_weight: how much a frame counts, float32 (batch, time): 1, and 0 where it was invented
            in repair, unless asked otherwise.
        seeds: each clip's own source of chance, int64 (batch,).
        names: what each clip is called in the dataset.
        text: captions, or None where the data has none.
        label: class numbers, int64 (batch,), or None.
        objects: 1 where an object is named to be seen, else 0, float32 (batch, objects of the
            dataset), or None where the data names none.
        index: places of the clips in training's endless row of them, int64 (batch,), or None.
        known: where `known_mask` is 1, what is given of a clip, float32 as `clips`, or None.
        known_mask: float32 (batch, time, 1, height, width).
        guides: pictures that guide, by their names in `GUIDES`, float32 (batch, time, channels,
            height, width) each, or None.
        latents: what a tokenizer made of the clips, float32 (batch, t, channels, h, w), where that
            is kept; or None.
    """

    clips: Tensor
    times: Tensor
    frame_weight: Tensor
    seeds: Tensor
    names: tuple[str, ...] = ()
    text: tuple[str, ...] | None = None
    label: Tensor | None = None
    objects: Tensor | None = None
    index: Tensor | None = None
    known: Tensor | None = None
    known_mask: Tensor | None = None
    latents: Tensor | None = None
    guides: Mapping[str, Tensor] | None = None

    def __len__(self) -> int:
        return len(self.clips)

    def part(self, begin: int, end: int) -> Batch:
        """Clips `begin` up to `end`."""
        cut: dict[str, Any] = {
            name: None if value is None else value[begin:end]
            for name, value in self._all()
            if name != "guides"
        }
        return dataclasses.replace(self, guides=part_of(self.guides, begin, end), **cut)

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        moved: dict[str, Any] = {
            name: v.to(device) for name, v in self._all() if isinstance(v, Tensor)
        }
        return dataclasses.replace(self, guides=moved_to(self.guides, device), **moved)

    def tensors(self) -> dict[str, Tensor]:
        """Those there are, by name; guides as "guides/name"."""
        guides = {f"guides/{name}": one for name, one in (self.guides or {}).items()}
        return {name: v for name, v in self._all() if isinstance(v, Tensor)} | guides

    def _all(self) -> list[tuple[str, Any]]:
        return [(field.name, getattr(self, field.name)) for field in dataclasses.fields(self)]


Guides = Mapping[str, Tensor] | None


def part_of(guides: Guides, begin: int, end: int) -> Guides:
    """Those of clips `begin` up to `end`."""
    return None if guides is None else {name: one[begin:end] for name, one in guides.items()}


def moved_to(guides: Guides, device: torch.device) -> Guides:
    """The same on another device."""
    return None if guides is None else {name: one.to(device) for name, one in guides.items()}


def to_float(
    frames: npt.NDArray[np.uint8], out: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """uint8 (..., height, width, 3) to float32 (..., 3, height, width) in [-1, 1].

    Written into `out` where that is given.

    In numpy, since loaders call it from a thread of their own: torch would start a second team of
    OpenMP threads there, and the two would wait for each other: half as much time again for a step
    on an idle machine, several times as much on a busy one (`benchmarks/loader.py`).
    """
    first = range(frames.ndim - 3)
    moved = frames.transpose(*first, -1, -3, -2)
    made = np.empty(moved.shape, np.float32) if out is None else out
    np.divide(moved, np.float32(127.5), out=made)
    made -= 1
    return made
