"""Latents of training clips, kept beside the dataset: each is made once by a fixed tokenizer."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .core import files
from .core.clips import Batch
from .data.loader import Loader

Latents = npt.NDArray[np.float16]
# Windows of a stored clip from which on keeping them all would fill disks; encoded as they come.
MOST = 256
_CHUNK = 16


def place_of(loader: Loader, key: str, instead: Path) -> Path:
    """The folder of the latents of a loader's clips: what a `LatentCache` of these settings has."""
    form = loader.config.model_dump(include={"frames", "fps", "size", "invented"})
    place = loader.dataset.folder if os.access(loader.dataset.folder, os.W_OK) else instead
    name = files.digest_of(key, form, loader.dataset.facts["digest"])[:16]
    return place / "latents" / name


class LatentCache:
    """Gives batches of a loader their latents.

    All windows of a stored clip are encoded together when the first of them is needed, so that
    what a window's latents are, to the last bit, does not depend on which batch asked for them.

    Args:
        loader: of training clips that are not varied.
        key: of the tokenizer: another one has latents of its own.
        encode: clips (n, time, 3, height, width) to latents (n, t, channels, h, w).
        instead: folder to keep them in where the dataset's cannot be written.
    """

    def __init__(
        self, loader: Loader, key: str, encode: Callable[[Tensor], Tensor], instead: Path
    ) -> None:
        self.loader, self.encode = loader, encode
        self.folder = place_of(loader, key, instead)
        self._read = lru_cache(maxsize=4096)(self._latents_of)

    def filled(self, batch: Batch) -> Batch:
        """The batch with its latents; without where a clip has more than `MOST` windows."""
        rows = []
        for name in batch.names:
            found = self._read(name.rpartition("@")[0])
            if found is None:
                return batch
            places, latents = found
            rows.append(latents[places[name]])
        return replace(batch, latents=torch.from_numpy(np.stack(rows)).float())

    def _latents_of(self, clip: str) -> tuple[dict[str, int], Latents] | None:
        """Places of a stored clip's windows by name, and the latents of each."""
        cuts = self.loader.all_windows(clip)
        if len(cuts) > MOST:
            return None
        path = self.folder / f"{files.digest_of(clip)[:24]}.npy"
        if not path.exists():
            parts = range(0, len(cuts), _CHUNK)
            made = [self.encode(self.loader.read(cuts[a : a + _CHUNK]).clips) for a in parts]
            with files.atomic(path) as place, place.open("wb") as stream:
                np.save(stream, torch.cat(made).half().cpu().numpy(), allow_pickle=False)
        latents = np.load(path, mmap_mode="r", allow_pickle=False)
        fps = self.loader.dataset.fps
        return {cut.name(fps): place for place, cut in enumerate(cuts)}, latents
