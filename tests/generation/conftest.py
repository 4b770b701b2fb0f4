"""A run that was trained, barely, to be given all that can be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import muybridge as mb
from muybridge.core import video
from muybridge.core.video import Frames

SMALL = (
    "data.size=[32,32]", "data.frames=8", "data.tasks.given=6", "model.patch=[2,8,8]",
    "model.width=16", "model.depth=1", "model.heads=1", "model.text.width=16",
    "model.text.depth=1", "training.batch=4", "training.minutes=null", "training.steps=2",
    "training.validations=1", "training.previews=1", "training.measures=0",
    "training.precision=fp32", "training.threads=1", "training.loggers=[]",
    "evaluation.held_out=4", "sampling.steps=2",
)  # fmt: skip


@pytest.fixture(scope="session")
def dataset(small_stage: Path) -> Path:
    return small_stage


@pytest.fixture(scope="session")
def run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> mb.Run:
    """Takes everything."""
    recipe = mb.Recipe.load("flow-any", SMALL).with_(data=dataset)
    return recipe.train(tmp_path_factory.mktemp("runs") / "any")


@pytest.fixture(scope="session")
def plain(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> mb.Run:
    """Takes words alone."""
    settings = [one for one in SMALL if "tasks" not in one]
    recipe = mb.Recipe.load("flow-small", settings).with_(data=dataset)
    return recipe.train(tmp_path_factory.mktemp("runs") / "plain")


@pytest.fixture(scope="session")
def frames() -> Frames:
    """Twelve frames of a square that moves over a gradient, (12, 32, 32, 3)."""
    made = np.zeros((12, 32, 32, 3), np.uint8)
    made[..., 0] = np.arange(32, dtype=np.uint8) * 6
    made[..., 1] = 90
    for at, frame in enumerate(made):
        frame[10:18, 2 * at : 2 * at + 8] = (250, 240, 20)
    return made


@pytest.fixture(scope="session")
def film(frames: Frames, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a video at 8 frames a second."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    video.write_video(frames, path, fps=8, quality=0)
    return path
