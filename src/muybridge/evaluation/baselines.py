"""Baselines that cost nothing: what a model must beat before its scores mean anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from .clip_sets import ClipSet


def still(real: ClipSet, given: int = 1) -> ClipSet:
    """Each real clip's `given`-th frame held to the end: copying the last known frame.

    Every single frame is real, so that measures of single pictures find nothing wrong.
    """
    return dataclasses.replace(
        real,
        name="one frame held still",
        read=lambda begin, end: real.read(begin, end)[:, given - 1 : given].expand(
            -1, real.form.frames, -1, -1, -1
        ),
    )


def mean_clip(training: ClipSet, like: ClipSet) -> ClipSet:
    """The mean of the training clips, for every clip: best by squared error, worst by diversity."""
    total, count = torch.zeros(1, dtype=torch.float64), 0
    for clips in training.chunks("mean clip"):
        total = total + clips.double().sum(0)
        count += len(clips)
    mean = (total / count).float()
    return dataclasses.replace(
        like,
        name="mean clip",
        read=lambda begin, end: mean.expand(end - begin, *mean.shape),
    )


def replay(training: ClipSet, nearest: Sequence[int], like: ClipSet) -> ClipSet:
    """For each clip of `like`, the training clip nearest to it: memory without invention.

    `nearest` holds the places of those clips in `training`, one for each clip of `like`.
    """
    return dataclasses.replace(
        like,
        name="nearest training clip",
        read=lambda begin, end: training.some(nearest[begin:end]),
    )
