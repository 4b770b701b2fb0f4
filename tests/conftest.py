"""What several tests share."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import settings

import muybridge as mb
from muybridge.core import video
from muybridge.data.prepare import Config as Preparing

# No deadline: others may use the machine. No stored examples: the same ones on every machine.
settings.register_profile("muybridge", deadline=None, derandomize=True, database=None)
settings.load_profile("muybridge")

# Where tests run side by side, each keeps to a core, and so do the processes it starts.
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real footage and clips, beside the checkout."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("../shared is absent")
    return folder


@pytest.fixture(scope="session")
def environment() -> Mapping[str, str]:
    """For a child process: it finds the same packages and takes one core."""
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture(scope="session")
def small_stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of forty short clips of the stage, 32 x 32 at 8 frames a second."""
    folder = tmp_path_factory.mktemp("stage")
    mb.make_stage(folder / "footage", 40, size=(32, 32), fps=8, seconds=1.5)
    mb.prepare(folder / "footage", folder / "dataset", config=Preparing(size=(32, 32), fps=8))
    return folder / "dataset"


class Footage:
    """Files as `prepare` leaves them after reading: `items`, their `folders`, and `clips`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.items: list[dict[str, Any]] = []
        self.folders: list[Path] = []
        self.rows: list[dict[str, Any]] = []

    @property
    def clips(self) -> pd.DataFrame:
        """The catalogue's rows of clips."""
        return pd.DataFrame(self.rows)

    def add(
        self, name: str, parts: Sequence[tuple[str, float]] = (), reason: str = "", **row: Any
    ) -> None:
        """A file of parts, each (reason, or "" where it is kept; seconds), drawn from its number.

        `row` holds what the catalogue says of its clips: split, group, label and more.
        """
        number, end = len(self.items), 0.0
        folder = self.folder / f"{number:03d}"
        folder.mkdir(parents=True)
        clips: list[dict[str, Any]] = []
        made, arrays = [], {}
        for place, (why, seconds) in enumerate(parts):
            frames = scene(row.get("group", number), round(24 * seconds))
            start, end = end, end + seconds
            figures = figures_of(frames)
            part = {"start": start, "end": end, "fate": "set aside" if why else "kept"}
            part |= {"reason": why, "clip": None if why else len(clips), "strip": None}
            made.append(part | {"figures": figures})
            if why:
                made[-1]["strip"] = f"part_{place:03d}.jpg"
                strip = np.concatenate(list(frames[:: max(len(frames) // 6, 1)][:6]), axis=1)
                cv2.imwrite(str(folder / f"part_{place:03d}.jpg"), strip[..., ::-1])
                continue
            file = f"clip_{len(clips):03d}.mp4"
            (folder / file).write_bytes(video.encode(frames, 24))
            small = [cv2.resize(f, (16, 16), interpolation=cv2.INTER_AREA) for f in frames[::3]]
            arrays[f"signature_{len(clips)}"] = np.stack(small).mean(-1).astype(np.uint8)
            self.rows.append(
                {"kind": "clip", "file": name, "clip": len(clips), "start": start, "end": end}
                | {"seconds": seconds, "fate": "kept", "reason": "", "split": "", "group": number}
                | {"label": "", "caption": "", "source": "", "licence": ""}
                | row
            )
            clips.append(
                {"video": file, "start": start, "end": end, "frames": len(frames), "height": 48}
                | {"width": 64, "fps": 24.0, "figures": figures}
            )
        np.savez(folder / "arrays.npz", **arrays)
        facts = {"width": 640, "height": 360, "fps": 25.0, "codec": "h264", "seconds": end}
        record = {"name": name, "digest": f"{number:064x}", "facts": facts if parts else {}}
        record |= {"reason": reason, "figures": {}, "parts": made, "clips": clips}
        self.items.append(record)
        self.folders.append(folder)


def scene(seed: int, count: int) -> video.Frames:
    """A blurred picture that moves to one side, uint8 (count, 48, 64, 3); its own for each seed."""
    draw = np.random.default_rng(seed)
    wall = cv2.GaussianBlur(draw.uniform(0, 255, (60, 128, 3)), (0, 0), 4)
    wall = (wall - wall.mean()) * 4 + draw.uniform(70, 190)
    wall += draw.normal(0, 3, wall.shape)
    step = draw.uniform(0.1, 2)
    lefts = [round(step * frame) % 60 for frame in range(count)]
    return np.stack([wall[6:54, left : left + 64] for left in lefts]).clip(0, 255).astype(np.uint8)


def figures_of(frames: video.Frames) -> dict[str, Any]:
    """Some figures, near enough to what `prepare` measures."""
    luma = frames.astype(np.float64).mean(-1)
    colour = frames.reshape(-1, 3).mean(0) / 255
    motion = float(np.abs(np.diff(luma, axis=0)).mean()) if len(luma) > 1 else 0.0
    return {
        "brightness": luma.mean() / 255,
        "contrast": luma.std() / 255,
        "sharpness": float(cv2.Laplacian(luma[0], cv2.CV_64F).var()),
        "noise": 3.0,
        "motion": motion,
        "camera": motion / 20,
        "flat": 0.1,
        "colour": colour.tolist(),
    }


@pytest.fixture
def footage(footage_once: Footage) -> Footage:
    """Ten files of ten fates; a test may change its records, but not the files in its folders."""
    return copy.deepcopy(footage_once)


@pytest.fixture(scope="session")
def footage_once(tmp_path_factory: pytest.TempPathFactory) -> Footage:
    """What `footage` copies."""
    made = Footage(tmp_path_factory.mktemp("footage") / "items")
    made.add("dogs/a.mp4", [("", 1.5), ("transition: dissolve", 0.25), ("", 1.0)], split="train",
             group=0, label="dog")  # fmt: skip
    made.add("dogs/copy of a.mp4", [("", 1.5)], split="train", group=0, label="dog")
    made.add("cats/b.mp4", [("", 1.0), ("black: 8 frames", 0.5), ("", 2.0)], split="train",
             group=2, label="cat")  # fmt: skip
    made.add("cats/c.mp4", [("", 1.25)], split="validation", group=3, label="cat")
    made.add("dogs/d.mp4", [("frozen: 1.1 s", 1.125), ("", 1.0)], split="test", group=4,
             label="dog")  # fmt: skip
    made.add("dogs/e.mp4", [("", 2.0)], split="train", group=5)
    made.add("blurred.mp4", [("blurred: sharpness 2.1, prepare.min_sharpness = 8", 4.0)])
    made.add("two ways.mp4", [("black: all of it", 1.0), ("static: no motion", 3.0)])
    made.add("short.mp4", [("too short: 0.3 s", 0.25)])
    made.add("empty.mp4", reason="cannot be opened: /films/of/mine/empty.mp4 is empty (0 bytes)")
    return made
