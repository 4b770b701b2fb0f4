"""The stage: short clips of things moving by known physics, captioned, with their truth.

Lengths are fractions of the picture's height, from its top left corner, x to the right and y down;
speeds are per second, accelerations per second squared. Every clip is a function of the settings
and its index alone: more clips can be added later, and any number of workers write the same bytes.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.errors import MuybridgeError
from ..core.files import read_json, sweep, write_bytes, write_json, write_text
from ..core.progress import track
from ..core.video import Frames, encode
from .casting import (
    COLOURS,
    HELD_OUT,
    USUAL,
    caption_of,
    combination_at,
    combinations,
    motions_of,
    phrasings,
    row_at,
    seconds_of,
    things_at,
)
from .physics import GRAVITY, MOTIONS, TOGETHER, Movement, Room
from .scenery import Thing, paint, pillar_cover
from .shapes import AREAS, PERIODS, SHAPES, coverage

__all__ = [
    "COLOURS",
    "GRAVITY",
    "HELD_OUT",
    "MOTIONS",
    "PERIODS",
    "SHAPES",
    "TOGETHER",
    "USUAL",
    "Settings",
    "caption_of",
    "combination_at",
    "combinations",
    "coverage",
    "make_stage",
    "mask_of",
    "motions_of",
    "phrasings",
    "render",
    "seconds_of",
    "things_at",
]

FORMAT = 2
UNITS = (
    "lengths in picture heights from the top left corner, x right, y down; seconds; radians, "
    "clockwise as seen; masses as areas; position: the centre of a thing's box when upright; "
    "masks as run lengths over rows, first outside, then inside, and so on in turn"
)


def mask_of(truth: Mapping[str, Any], frame: int, thing: int = 0) -> npt.NDArray[np.bool_]:
    """The visible part of one thing in one frame, from a clip's truth: (height, width)."""
    height, width = truth["size"]
    runs = truth["frames"][frame]["objects"][thing]["mask"]
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)


def _runs(mask: npt.NDArray[np.bool_]) -> list[int]:
    edges = np.flatnonzero(np.diff(mask.ravel(), prepend=False)).tolist()
    return [end - begin for begin, end in pairwise([0, *edges, mask.size])]


@dataclass(frozen=True)
class Settings:
    """All that decides what a clip shows, beside its index."""

    size: tuple[int, int]
    fps: float
    seconds: float
    seed: int
    motions: tuple[str, ...] = USUAL

    def check(self) -> None:
        """Raises MuybridgeError for a value that no clip can have."""
        height, width = self.size
        if min(height, width) < 32:
            raise MuybridgeError(
                f"size is {height}x{width}, but the stage needs at least 32x32 pixels",
                "64x64 is usual",
            )
        if width * 8 < height:
            raise MuybridgeError(
                f"size is {height}x{width}, but the stage needs an eighth of the height in width",
                f"{height}x{math.ceil(height / 16) * 2} is the narrowest",
            )
        if height % 2 or width % 2:
            raise MuybridgeError(
                f"size is {height}x{width}, but H.264 needs even numbers",
                f"{height + height % 2}x{width + width % 2} is the next",
            )
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise MuybridgeError(f"fps is {self.fps:g}; it must be above 0", "24 is usual")
        if not (math.isfinite(self.seconds) and self.seconds > 0):
            raise MuybridgeError(f"seconds is {self.seconds:g}; it must be above 0", "2 is usual")
        if round(self.seconds * self.fps) < 1:
            raise MuybridgeError(
                f"{self.seconds:g} seconds at {self.fps:g} fps hold no frame", "raise either"
            )
        if self.seed < 0:
            raise MuybridgeError(f"seed is {self.seed}; it must be 0 or above", "give --seed 0")


def render(settings: Settings, index: int) -> tuple[Frames, dict[str, Any]]:
    """Draws clip `index`.

    Returns:
        Frames (time, height, width, 3) uint8, and its truth, ready for JSON: `objects` holds each
        thing's colour, shape, own motion, mass and constants, `physics` those of the first and of
        the place, `frames` the time of each frame and in `objects` each thing's `position`,
        `velocity`, `radius`, `angle`, `visibility` (share of it in sight, 0 to 1) and `mask` (see
        `mask_of`).
    """
    seed, size = settings.seed, settings.size
    motion = combination_at(seed, index, settings.motions)[2]
    looks = things_at(seed, index, settings.motions)
    rng = np.random.default_rng([seed, index, 2])
    times = np.arange(round(settings.seconds * settings.fps)) / settings.fps
    room = Room(size[1] / size[0], settings.seconds, times)
    movements = MOTIONS[motion](rng, room, tuple(shape for _, shape in looks))
    things = []
    for (colour, shape), movement in zip(looks, movements, strict=True):
        radius = movement.radius if movement.sizes is None else movement.sizes
        cover = coverage(shape, movement.position, radius, size, movement.angles)
        things.append(Thing(COLOURS[colour], shape, movement, cover))
    frames = paint(rng, things)
    told = [_in_frames(thing, size) for thing in things]
    rows = [
        {"time": round(float(time), 6), "objects": [thing[i] for thing in told]}
        for i, time in enumerate(times)
    ]
    first = movements[0]
    truth = {
        "format": FORMAT,
        "units": UNITS,
        "size": list(size),
        "fps": settings.fps,
        "colour": looks[0][0],
        "shape": looks[0][1],
        "motion": motion,
        "physics": {
            "gravity": GRAVITY,
            **_constants(first),
            "floor": first.floor,
            "pillar": first.pillar,
        },
        "objects": [
            {
                "colour": colour,
                "shape": shape,
                "motion": movement.motion,
                "mass": AREAS[shape] * movement.radius**2,
                **_constants(movement),
            }
            for (colour, shape), movement in zip(looks, movements, strict=True)
        ],
        "frames": rows,
    }
    return frames, truth


def _constants(movement: Movement) -> dict[str, Any]:
    """What decides a movement: where it begins, and the constants behind it."""
    return {
        "restitution": movement.restitution,
        "friction": movement.friction,
        "landings": movement.landings,
        "position": movement.position[0].tolist(),
        "velocity": movement.velocity[0].tolist(),
        "radius": movement.radius,
        **movement.constants,
    }


def _in_frames(thing: Thing, size: tuple[int, int]) -> list[dict[str, Any]]:
    """Where one thing is and what is seen of it, a dictionary a frame."""
    movement = thing.movement
    seen = thing.cover * (1 - pillar_cover(movement, size))
    visibility = seen.sum((1, 2)) / thing.cover.sum((1, 2))
    still = np.zeros(len(seen))
    sizes = still + movement.radius if movement.sizes is None else movement.sizes
    angles = still if movement.angles is None else movement.angles
    return [
        {
            "position": movement.position[i].round(6).tolist(),
            "velocity": movement.velocity[i].round(6).tolist(),
            "radius": round(float(sizes[i]), 6),
            "angle": round(float(angles[i]), 6),
            "visibility": round(float(visibility[i]), 4),
            "mask": _runs(seen[i] >= 0.5),
        }
        for i in range(len(seen))
    ]


def _write(out: Path, settings: Settings, index: int) -> None:
    """Writes clip `index` and its truth, whichever is not there."""
    video, sidecar = out / f"clip-{index:05d}.mp4", out / "truth" / f"clip-{index:05d}.json"
    if video.exists() and sidecar.exists():
        return
    frames, truth = render(settings, index)
    if not video.exists():
        write_bytes(video, encode(frames, settings.fps, quality=14))
    write_text(sidecar, json.dumps({"file_name": video.name} | truth) + "\n")


def make_stage(
    out: Path,
    count: int,
    size: tuple[int, int] = (64, 64),
    fps: float = 24,
    seconds: float = 2.0,
    seed: int = 0,
    workers: int | None = None,
    motions: str | Sequence[str] = USUAL,
) -> None:
    """Makes test footage with known physics.

    Writes `clip-00000.mp4` and so on, `metadata.jsonl` (a caption a clip, and `split: test` where
    colour and shape are a held-out pair), `truth/clip-00000.json` (see `render`) and `stage.json`
    (the settings). The same call again finishes what was interrupted; a larger count adds clips.

    Args:
        out: folder to make.
        count: how many clips, from 1.
        size: height and width in pixels, from 32, even.
        fps: frames per second.
        seconds: length of a clip; it has round(seconds * fps) frames.
        seed: chance; the same seed gives the same bytes, however many workers.
        workers: clips drawn at once; None is one for each core.
        motions: keys of `MOTIONS`, in any order; "all" is every one.

    Raises:
        MuybridgeError: a setting out of its range, or a folder that holds something else.
    """
    settings = Settings((size[0], size[1]), fps, seconds, seed, motions_of(motions))
    if count < 1:
        raise MuybridgeError(f"count is {count}; it must be at least 1", "give --count 200")
    if workers is not None and workers < 1:
        raise MuybridgeError(f"workers is {workers}; it must be at least 1", "leave it out")
    settings.check()
    _claim(out, count, settings)
    threads = workers or min(os.cpu_count() or 1, 16)
    # Threads, for drawing and encoding both let go of the interpreter: no second start of Python,
    # and nothing to go wrong in a script without a main guard or a process that holds torch.
    with ThreadPoolExecutor(threads) as pool:
        done = pool.map(partial(_write, out, settings), range(count))
        try:
            for _ in track(done, "stage", total=count):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    rows = [json.dumps(row_at(seed, index, settings.motions)) for index in range(count)]
    write_text(out / "metadata.jsonl", "\n".join(rows) + "\n")


def _claim(out: Path, count: int, settings: Settings) -> None:
    """Makes sure that `out` is new, or the same stage with no more clips than `count`."""
    record = {"format": FORMAT} | asdict(settings)
    record |= {"size": list(settings.size), "motions": list(settings.motions)}
    path = out / "stage.json"
    if path.exists():
        # A stage of before motions could be chosen; its clips are the same, its truth said less.
        found = {"motions": list(USUAL)} | read_json(path, "the stage's settings")
        old = found.get("format") == 1
        found |= {"format": FORMAT} if old else {}
        if found.get("count", 0) > count:
            record["count"] = count
        other = [name for name in record if found.get(name) != record[name]]
        if other:
            told = ", ".join(f"{name} {found.get(name)} (asked: {record[name]})" for name in other)
            raise MuybridgeError(
                f"{out} holds another stage: {told}", "give another --out, or the same settings"
            )
        for sidecar in (out / "truth").glob("clip-*.json") if old else ():
            sidecar.unlink()
        sweep(out)
        sweep(out / "truth")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise MuybridgeError(
            f"{out} exists and is no stage", "give --out a folder that is new or empty"
        )
    write_json(path, record | {"count": count})
