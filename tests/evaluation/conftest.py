"""Sets of clips, as the tests of what judges them need."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from muybridge.core.clips import to_float
from muybridge.data import stage
from muybridge.evaluation.clip_sets import ClipSet, of_tensor


def of_stage(seed: int, indices: Sequence[int], name: str = "clips") -> ClipSet:
    """Fresh clips of the stage, 16 frames of 64x64 at 8 a second, with their captions."""
    settings = stage.Settings((64, 64), 8, 2.0, seed)
    made = [stage.render(settings, index) for index in indices]
    captions = [
        stage.caption_of(truth["colour"], truth["shape"], truth["motion"], index)
        for index, (_, truth) in zip(indices, made, strict=True)
    ]
    clips = torch.from_numpy(to_float(np.stack([clip for clip, _ in made])))
    return of_tensor(clips, 8, name, captions)


@pytest.fixture(scope="session")
def drawn() -> Callable[..., ClipSet]:
    """`of_stage`: clips of the stage."""
    return of_stage
