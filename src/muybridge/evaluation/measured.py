"""One pass over a set of clips: features and figures of each clip are kept, the clips are not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..core import distributed
from ..core.errors import MuybridgeError
from ..core.progress import track
from . import copying
from .clip_sets import CHUNK, ClipSet

Array = npt.NDArray[np.float64]
Features = npt.NDArray[np.floating[Any]]

# Figures of clips `begin` up to `end` of a set, given those clips: (n,), or (n, time) for what is
# to be seen as a curve. NaN where a clip has none.
Gauge = Callable[[Tensor, int, int], dict[str, Array]]


@dataclass(frozen=True)
class Extractor:
    """What turns clips into features.

    Attributes:
        name: "appearance".
        extract: clips (n, time, 3, height, width) in [-1, 1] to (n, features), or to
            (n, frames, features) where each frame counts by itself.
        facts: how, for the manifest.
        standardised: features are divided by their deviation among the real clips first; not those
            of the published networks, whose distances are taken as they are.
    """

    name: str
    extract: Callable[[Tensor], Features]
    facts: dict[str, Any] = field(default_factory=dict)
    standardised: bool = True


@dataclass(frozen=True)
class Measured:
    """What is kept of a set of clips.

    Attributes:
        clips: the set.
        features: by extractor, float32 (n, features) or (n, frames, features).
        figures: by name, float64 (n,) or (n, time).
        thumbnails: for finding copies, float32 (n, features).
    """

    clips: ClipSet
    features: dict[str, Features]
    figures: dict[str, Array]
    thumbnails: Tensor

    def __len__(self) -> int:
        return len(self.clips)


def measure(
    clips: ClipSet,
    extractors: Sequence[Extractor],
    gauges: Sequence[Gauge] = (),
    part: range | None = None,
) -> Measured:
    """Measures all clips of a set, a few at a time, or of them those in `part`.

    Raises:
        MuybridgeError: no clips, or a clip or its features hold a number that is not finite; names
            the clip.
    """
    part = range(len(clips)) if part is None else part
    if not part:
        raise MuybridgeError(f"{clips.name}: there are no clips to be measured", "give some")
    features: dict[str, list[Features]] = {extractor.name: [] for extractor in extractors}
    figures: dict[str, list[Array]] = {}
    small = []
    begins = range(part.start, part.stop, CHUNK)
    for begin in track(begins, clips.name):
        end = min(begin + CHUNK, part.stop)
        chunk = clips.read(begin, end)
        _check(chunk.flatten(1), clips, begin, "its pixels")
        small.append(copying.thumbnails(chunk))
        with _told_of(clips):
            for extractor in extractors:
                found = extractor.extract(chunk).astype(np.float32)
                what = f"{extractor.name} features"
                _check(torch.from_numpy(found).flatten(1), clips, begin, what)
                features[extractor.name].append(found)
            for gauge in gauges:
                for name, values in gauge(chunk, begin, end).items():
                    figures.setdefault(name, []).append(values)
    return Measured(
        clips,
        {name: np.concatenate(rows) for name, rows in features.items()},
        {name: np.concatenate(rows) for name, rows in figures.items()},
        torch.cat(small),
    )


def of_all_ranks(measured: Measured) -> Measured:
    """Puts together what the ranks measured, each its own part of the set, on every rank."""

    def together(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.asarray(distributed.joined(torch.from_numpy(rows)).numpy())

    return Measured(
        measured.clips,
        {name: together(rows) for name, rows in measured.features.items()},
        {name: together(rows) for name, rows in measured.figures.items()},
        distributed.joined(measured.thumbnails),
    )


@contextlib.contextmanager
def _told_of(clips: ClipSet) -> Iterator[None]:
    """What a formula cannot do with clips, such as with too few frames, as a person's error."""
    try:
        yield
    except ValueError as error:
        form = clips.form
        raise MuybridgeError(
            f"{clips.name}: clips of {form.frames} frames of {form.size[0]}x{form.size[1]} cannot "
            f"be judged so: {error}",
            "leave the measure out with --metrics, or give other clips",
        ) from error


def _check(rows: Tensor, clips: ClipSet, begin: int, what: str) -> None:
    bad = (~rows.isfinite()).any(1).nonzero().flatten().tolist()
    if bad:
        raise MuybridgeError(
            f"{clips.name}: {clips.names[begin + bad[0]]} cannot be judged: {what} hold numbers "
            "that are not finite",
            "look at the clip; a model that makes such clips has diverged",
        )
