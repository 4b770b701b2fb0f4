"""What the tests of evaluation share: a small dataset of moving squares, and clips of the stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from muybridge.core.clips import to_float
from muybridge.core.video import Frames
from muybridge.data import stage
from muybridge.data.loader import Config, Loader
from muybridge.data.store import Clip, Dataset
from muybridge.evaluation.clip_sets import ClipSet, of_tensor

SIDE, FRAMES = 24, 12
Squares = Callable[..., Callable[[str], Loader]]


class Memory:
    """Squares that walk or blink and grow brighter; frames of a forbidden split cannot be read."""

    kind = "rgb"

    def __init__(self, forbidden: str) -> None:
        self.forbidden = forbidden

    def frames(self, clip: Clip, indices: np.ndarray[Any, np.dtype[np.int64]]) -> Frames:
        assert clip.split != self.forbidden, f"the {clip.split} split was read"
        draw = np.random.default_rng(clip.group)
        made = np.full((len(indices), SIDE, SIDE, 3), draw.integers(60, 90), np.uint8)
        made += draw.integers(0, 9, made.shape[1:], np.uint8)
        start, lane = draw.integers(0, 6), draw.integers(0, 16)
        for frame, index in zip(made, indices, strict=True):
            place = start + (index if clip.label == "walk" else 0)
            if clip.label == "blink" and index % 2:
                continue
            colour = [100 + 14 * int(index)] * 3
            for name, channel in (("red", 0), ("blue", 2)):
                if name in clip.objects:
                    colour = [c if i == channel else 30 for i, c in enumerate(colour)]
            frame[lane : lane + 8, place : place + 8] = colour
        return made


@pytest.fixture
def squares() -> Squares:
    """Makes a dataset and gives its loaders by the name of a split."""

    def make(
        train: int = 24,
        digest: str = "one",
        forbidden: str = "test",
        labelled: bool = True,
        objects: bool = False,
    ) -> Callable[[str], Loader]:
        clips = [
            Clip(
                f"{split}{i}.mp4", f"{split}/{i}.mp4", split, base + i, FRAMES, SIDE, SIDE,
                label=("walk", "blink")[i % 2],
                objects=(("red",), ("blue",))[i // 2 % 2] if objects else (),
                kinds=bytes(FRAMES),
            )
            for split, count, base in (("train", train, 0), ("validation", 8, 99), ("test", 8, 200))
            for i in range(count)
        ]  # fmt: skip
        size = [SIDE, SIDE]
        facts = {"fps": 8.0, "size": size, "sizes": [size], "captioned": 0, "digest": digest}
        facts["labels"] = ["blink", "walk"] if labelled else []
        dataset = Dataset(Path("squares"), facts, tuple(clips), Memory(forbidden))
        config = Config(frames=8, fps=8, size=(SIDE, SIDE))
        return lambda split: Loader(dataset, split, config)

    return make


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
