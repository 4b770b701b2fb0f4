"""All measures of a set of generated clips against a dataset's held-out footage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ..core.config import Section
from ..core.progress import track
from ..data.loader import Loader
from . import copying, distances, following
from .manifest import Score


class Config(Section):
    """How a run is judged."""

    samples: int = Field(128, ge=2)
    """Clips generated, with the conditions of the test split in turn."""
    held_out: int = Field(32, ge=1)
    """Clips judged for the held-out loss during training, from each of two splits."""
    shown: int = 12
    """Samples shown beside real clips in the report."""
    seed: int = 0
    """Of the samples."""


@dataclass(frozen=True)
class Result:
    """Scores, the real clips judged against, and the training clip nearest to each sample; clips
    are (n, time, 3, height, width), in the order of the samples."""

    scores: tuple[Score, ...]
    real: Tensor
    nearest: Tensor


def evaluate(
    generated: Tensor,
    captions: Sequence[str],
    test: Loader,
    train: Loader,
    manifest: dict[str, Any],
) -> Result:
    """Judges clips.

    Args:
        generated: (n, time, 3, height, width) in [-1, 1].
        captions: what was asked for, one a clip; "" for nothing.
        test: the split they are judged against.
        train: the split they were trained on.
        manifest: facts of how the clips were made.
    """
    real, other = test.fixed(len(generated)), train.fixed(len(generated))
    sources = [name.rpartition("@")[0] for name in real.names]
    common = manifest | {
        "split": test.split,
        "split_clips": len(test.clips),
        "real_windows": len(real),
        "generated": len(generated),
        "frames": generated.shape[1],
        "fps": test.config.fps,
        "size": list(generated.shape[-2:]),
        "resize": "none",
        "range": "[-1, 1]",
        "conditioning_frames": 0,
        "floor": "the train split",
        "dataset": test.dataset.facts["digest"],
    }
    measures: list[tuple[str, Callable[[Tensor], distances.Features], dict[str, Any]]] = [
        (
            "appearance distance",
            distances.appearance,
            {"extractor_sha256": distances.extractor_digest()},
        ),
        (
            "motion distance",
            distances.motion,
            {"extractor": "log temporal differences, 4 x 4 cells"},
        ),
    ]
    scores = [
        distances.score(
            name, extract, generated, real.clips, other.clips, common | more, sources=sources
        )
        for name, extract, more in track(measures, "distances")
    ]
    copied, nearest = _copying(generated, real.clips, train, common)
    scores += copied
    scores += following.scores(
        generated, captions, real.clips, real.text or (), test.config.fps, common
    )
    return Result(tuple(scores), real.clips, nearest)


def _copying(
    generated: Tensor, real: Tensor, train: Loader, manifest: dict[str, Any]
) -> tuple[list[Score], Tensor]:
    # Several moments of each training clip, since a copy can begin anywhere in it.
    moments = max(len(train.clips), min(4000, 8 * len(train.clips)))
    small, groups = _training(train, moments)
    made = copying.nearest(copying.thumbnails(generated), small, groups)
    true = copying.nearest(copying.thumbnails(real), small, groups)
    more = manifest | {
        "thumbnail": "every second frame, 16 x 16",
        "training_windows": moments,
        "mirrored": True,
    }
    ratio = float(np.median(made.distance) / max(np.median(true.distance), 1e-9))
    scores = [
        Score(
            "copies", 100 * made.share, "lower", 
            more | {"rule": "nearest under a third of second nearest"},
            floor=100 * true.share, unit="%", note="share of samples that repeat a training clip",
        ),
        Score(
            "distance to training clips", ratio, "near", more, target=1.0,
            note="median distance of samples to their nearest training clip, over that of real "
            "held-out clips; far below 1 is memorising",
        ),
    ]  # fmt: skip
    shown = [train.fixed(moments, int(i), int(i) + 1).clips for i in made.nearest]
    return scores, torch.cat(shown)


def _training(train: Loader, count: int) -> tuple[Tensor, Tensor]:
    """Thumbnails of the training windows `train.fixed(count)`, and the group of each."""
    group_of = {clip.name: clip.group for clip in train.clips}
    small, groups = [], []
    for begin in track(range(0, count, 64), "training clips"):
        batch = train.fixed(count, begin, begin + 64)
        small.append(copying.thumbnails(batch.clips))
        groups += [group_of[name.rpartition("@")[0]] for name in batch.names]
    return torch.cat(small), torch.tensor(groups)
