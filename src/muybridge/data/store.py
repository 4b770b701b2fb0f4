"""A dataset on disk: a folder of videos a split, each with its `metadata.jsonl`, and facts.

    dataset.json  clips.parquet  README.md
    train/ validation/ test/     metadata.jsonl and one mp4 a clip (a Hugging Face VideoFolder)
    cache/                       derived from the videos, see `caches`; may be deleted

The videos and `metadata.jsonl` are the truth; `clips.parquet` is the same table for pandas.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from ..core import files
from ..core.errors import DataError
from ..core.video import Frames
from . import caches
from .splits import NAMES

FORMAT = 2

REAL, REPEATED, INTERPOLATED = 0, 1, 2
KINDS = ("real", "repeated", "interpolated")

Cache = Literal["auto", "rgb", "yuv", "mp4"]


@dataclass(frozen=True)
class Clip:
    """One stored clip.

    Attributes:
        name: what it is called, everywhere.
        file: its mp4, relative to the dataset: `train/....mp4`.
        split: `train`, `validation` or `test`.
        group: clips of one group are of one source or alike, and share a split.
        frames: how many.
        height: in pixels.
        width: in pixels.
        label: its class, or "".
        caption: what is to be seen, or "".
        objects: what objects are to be seen.
        source: where the footage is from, or "".
        licence: of the footage, or "".
        original: the footage file, relative to the footage folder.
        start: where it begins there, in seconds.
        end: and ends.
        kinds: how each frame came to be, one byte a frame: REAL, REPEATED or INTERPOLATED.
        content: SHA-256 of the mp4.
    """

    name: str
    file: str
    split: str
    group: int
    frames: int
    height: int
    width: int
    label: str = ""
    caption: str = ""
    objects: tuple[str, ...] = ()
    source: str = ""
    licence: str = ""
    original: str = ""
    start: float = 0.0
    end: float = 0.0
    kinds: bytes = b""
    content: str = ""


class Source(Protocol):
    """Gives the frames of clips; several threads may ask at once."""

    @property
    def kind(self) -> str:
        """`rgb`, `yuv` or `mp4`."""
        ...

    def frames(self, clip: Clip, indices: npt.NDArray[np.int64]) -> Frames:
        """Frames of a clip by their place in it: uint8 (len(indices), height, width, 3)."""
        ...


@dataclass(frozen=True)
class Dataset:
    """A prepared dataset.

    Attributes:
        folder: where it lies.
        facts: what `dataset.json` says: fps, size (height, width) and all sizes, labels, mean and
            std of the training split per channel in [-1, 1], counts, digest.
        clips: all clips: those of train, of validation, of test, each in their lasting order.
        source: where frames come from: a cache, or the videos themselves.
    """

    folder: Path
    facts: dict[str, Any]
    clips: tuple[Clip, ...]
    source: Source

    @classmethod
    def open(cls, folder: str | Path, cache: Cache = "auto") -> Dataset:
        """Opens what `prepare` wrote, and builds its cache if that is not there.

        Args:
            folder: the dataset.
            cache: where frames are to come from, see `caches.open_source`; `mp4` builds nothing.

        Raises:
            DataError: the folder is no dataset, one of another format, or its parts are damaged or
                do not fit together.
        """
        raise NotImplementedError

    @property
    def fps(self) -> float:
        """Stored frames per second."""
        return float(self.facts["fps"])

    @property
    def labels(self) -> list[str]:
        """Names of the classes; a class's number is its place here. Empty where there are none."""
        return list(self.facts["labels"])

    @cached_property
    def objects(self) -> list[str]:
        """Names of all objects that clips name, sorted."""
        return sorted({name for clip in self.clips for name in clip.objects})

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Heights and widths that clips have; the first is the base one."""
        return [(height, width) for height, width in self.facts["sizes"]]

    def of(self, split: str) -> list[Clip]:
        """The clips of one split."""
        return [clip for clip in self.clips if clip.split == split]

    def frames(self, clip: Clip, indices: npt.NDArray[np.int64]) -> Frames:
        """Frames of a clip by their place in it: uint8 (len(indices), height, width, 3).

        They may be a read-only view of the cache.
        """
        return self.source.frames(clip, indices)


def write(folder: Path, clips: Sequence[tuple[Clip, Path]], facts: dict[str, Any]) -> None:
    """Makes a dataset of clips that lie ready as mp4 files.

    Args:
        folder: an existing folder; what it holds beside the dataset's own files stays.
        clips: each clip and its video, which is linked (or else copied) to `clip.file`. Their order
            within a split is kept, and is part of the content.
        facts: what `dataset.json` is to say; `format` is added.

    Raises:
        DataError: two clips of one name or file, or a clip's file is not in its split's folder.
        MuybridgeError: the disk is full, or the folder cannot be written.
    """
    raise NotImplementedError
