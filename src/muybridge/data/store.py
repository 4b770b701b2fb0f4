"""A dataset on disk: `dataset.json`, `clips.parquet`, `catalogue.parquet`, `frames.u8`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.errors import DataError
from ..core.files import read_json
from ..core.video import Frames

FORMAT = 1


@dataclass(frozen=True)
class Clip:
    """One stored clip: rows `start` up to `start + frames` of the frame file."""

    name: str
    split: str
    group: int
    start: int
    frames: int
    label: str
    caption: str


@dataclass(frozen=True)
class Dataset:
    """A prepared dataset.

    Attributes:
        folder: where it lies.
        facts: what `dataset.json` says: fps, size (height, width), labels, mean and std of the
            training split per channel in [-1, 1], counts, digest.
        clips: all clips of all splits.
        pixels: memory-mapped uint8 (all frames, height, width, 3).
    """

    folder: Path
    facts: dict[str, Any]
    clips: tuple[Clip, ...]
    pixels: Frames

    @classmethod
    def open(cls, folder: str | Path) -> Dataset:
        """Opens what `prepare` wrote.

        Raises:
            DataError: the folder is no dataset, a newer format, or its parts do not fit together.
        """
        import pandas as pd

        folder = Path(folder)
        if not (folder / "dataset.json").is_file():
            raise DataError(
                f"data {str(folder)!r} is not a dataset: it has no dataset.json",
                f"make one with: muybridge prepare FOOTAGE --out {folder}",
            )
        facts = read_json(folder / "dataset.json", "dataset")
        if facts.get("format") != FORMAT:
            raise DataError(
                f"dataset {folder} has format {facts.get('format')}, this version reads {FORMAT}",
                "prepare it again with this version",
            )
        height, width = facts["size"]
        try:
            table = pd.read_parquet(folder / "clips.parquet")
            stored = np.memmap(folder / "frames.u8", np.uint8, "r")
            pixels = stored.reshape(-1, height, width, 3)
        except (OSError, ValueError) as error:
            raise DataError(f"dataset {folder} is damaged ({error})", "prepare it again") from error
        columns = list(Clip.__dataclass_fields__)
        clips = tuple(Clip(*row) for row in table[columns].itertuples(index=False))
        if sum(clip.frames for clip in clips) != len(pixels):
            raise DataError(
                f"dataset {folder}: frames.u8 is not the size its index says", "prepare it again"
            )
        return cls(folder, facts, clips, pixels)

    @property
    def fps(self) -> float:
        """Stored frames per second."""
        return float(self.facts["fps"])

    @property
    def labels(self) -> list[str]:
        """Names of the classes; a class's number is its place here. Empty where there are none."""
        return list(self.facts["labels"])

    def of(self, split: str) -> list[Clip]:
        """The clips of one split."""
        return [clip for clip in self.clips if clip.split == split]

    def frames(self, clip: Clip, indices: npt.NDArray[np.int64]) -> Frames:
        """Frames of a clip by their place in it: uint8 (len(indices), height, width, 3)."""
        return self.pixels[clip.start + indices]
