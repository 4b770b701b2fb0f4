"""Sets of clips, as the tests of what judges them need."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from muybridge.core.clips import to_float
from muybridge.data import stage
from muybridge.evaluation.clip_sets import ClipSet, Form

Held = Callable[..., ClipSet]
Drawn = Callable[..., ClipSet]
FPS = 8.0


def in_memory(
    clips: Tensor, name: str = "clips", captions: Sequence[str] = (), owners: Sequence[str] = ()
) -> ClipSet:
    """Clips (n, time, 3, height, width) as a set, each of footage of its own unless `owners` say
    otherwise."""
    names = tuple(f"{name} {index}" for index in range(len(clips)))
    return ClipSet(
        name,
        Form(clips.shape[1], FPS, (clips.shape[3], clips.shape[4])),
        names,
        tuple(owners) or names,
        tuple(captions) or ("",) * len(clips),
        ("",) * len(clips),
        lambda begin, end: clips[begin:end],
    )


def of_stage(
    seed: int, indices: Sequence[int], name: str = "clips", size: tuple[int, int] = (64, 64)
) -> ClipSet:
    """Fresh clips of the stage, 16 frames at 8 a second, with their captions."""
    settings = stage.Settings(size, FPS, 2.0, seed)
    made = [stage.render(settings, index) for index in indices]
    captions = [
        stage.caption_of(truth["colour"], truth["shape"], truth["motion"], index)
        for index, (_, truth) in zip(indices, made, strict=True)
    ]
    return in_memory(
        torch.from_numpy(to_float(np.stack([clip for clip, _ in made]))), name, captions
    )


@pytest.fixture(scope="session")
def held() -> Held:
    """`in_memory`: clips as a set."""
    return in_memory


@pytest.fixture(scope="session")
def drawn() -> Drawn:
    """`of_stage`: clips of the stage."""
    return of_stage
