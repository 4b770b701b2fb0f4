"""The stage: short clips of one moving thing, drawn by known physics, captioned, with their truth.

Lengths are fractions of the picture's height, from its top left corner, x to the right and y down;
speeds are per second, accelerations per second squared. Every clip is a function of the settings
and its index alone: more clips can be added later, and any number of workers write the same bytes.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.errors import MuybridgeError, nearest
from ..core.files import read_json, sweep, write_bytes, write_json, write_text
from ..core.progress import track
from ..core.video import Frames, encode
from .physics import GRAVITY, MOTIONS, Exact
from .scenery import grid, paint, pillar_cover

__all__ = [
    "COLOURS",
    "GRAVITY",
    "HELD_OUT",
    "MOTIONS",
    "SHAPES",
    "Settings",
    "caption_of",
    "combination_at",
    "combinations",
    "coverage",
    "make_stage",
    "mask_of",
    "phrasings",
    "render",
]

Array = npt.NDArray[np.floating[Any]]
Combination = tuple[str, str, str]

FORMAT = 1
UNITS = (
    "lengths in picture heights from the top left corner, x right, y down; seconds; "
    "masks as run lengths over rows, first outside, then inside, and so on in turn"
)

COLOURS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "red": (226, 30, 34),
        "yellow": (242, 208, 18),
        "green": (28, 178, 48),
        "cyan": (18, 204, 208),
        "blue": (38, 56, 230),
        "purple": (186, 36, 208),
    }
)

# Signed distance to the outline, in radii: a shape fills the box from -1 to 1 and stands on y = 1.
SHAPES: Mapping[str, Callable[[Array, Array], Array]] = MappingProxyType(
    {
        "ball": lambda x, y: np.hypot(x, y) - 1,
        "square": lambda x, y: np.maximum(np.abs(x), np.abs(y)) - 1,
        "triangle": lambda x, y: np.maximum(y - 1, (2 * np.abs(x) - y - 1) / math.sqrt(5)),
    }
)

# Pairs of colour and shape that no training clip shows, to ask whether a model can put the two
# together by itself. Each of these colours and shapes is seen in other pairs.
HELD_OUT: tuple[tuple[str, str], ...] = (("red", "triangle"), ("green", "ball"), ("blue", "square"))

_PHRASINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "bounce": (
            "a {colour} {shape} bouncing",
            "a bouncing {colour} {shape}",
            "a {colour} {shape} bounces on the floor",
            "a {colour} {shape} drops to the floor and bounces",
        ),
        "slide": (
            "a {colour} {shape} sliding",
            "a sliding {colour} {shape}",
            "a {colour} {shape} slides across the floor",
            "a {colour} {shape} slides along the floor and slows down",
        ),
        "hide": (
            "a {colour} {shape} passing behind a pillar",
            "a {colour} {shape} passes behind a pillar",
            "a {colour} {shape} moves behind a pillar and comes out again",
            "a {colour} {shape} hidden by a pillar for a moment",
        ),
    }
)


def _known(word: str, words: Mapping[str, Any], what: str) -> None:
    if word not in words:
        near = nearest(word, words)
        raise MuybridgeError(
            f"{what}: the stage has no {word!r}" + (f"; did you mean {near!r}?" if near else ""),
            f"choose from {', '.join(words)}",
        )


def phrasings(motion: str) -> tuple[str, ...]:
    """The ways of saying `motion`, each with `{colour}` and `{shape}` to be filled in.

    Raises:
        MuybridgeError: a motion that the stage does not have.
    """
    _known(motion, _PHRASINGS, "motion")
    return _PHRASINGS[motion]


def caption_of(colour: str, shape: str, motion: str, phrasing: int = 0) -> str:
    """The caption of a clip; `phrasing` counts through `phrasings(motion)` and begins again.

    Raises:
        MuybridgeError: a colour, shape or motion that the stage does not have.
    """
    _known(colour, COLOURS, "colour")
    _known(shape, SHAPES, "shape")
    forms = phrasings(motion)
    return forms[phrasing % len(forms)].format(colour=colour, shape=shape)


def combinations(held_out: bool) -> list[Combination]:
    """All (colour, shape, motion) that only test clips show, or all that the others show."""
    return [
        (colour, shape, motion)
        for colour in COLOURS
        for shape in SHAPES
        if ((colour, shape) in HELD_OUT) == held_out
        for motion in MOTIONS
    ]


def combination_at(seed: int, index: int) -> Combination:
    """What clip `index` shows.

    Clips come in blocks: each training combination once, with one clip of each held-out pair, in an
    order of its own. So the counts are even and do not depend on how many clips are made.
    """
    seen, unseen = combinations(held_out=False), combinations(held_out=True)
    pairs, motions = len(HELD_OUT), len(MOTIONS)
    block, place = divmod(index, len(seen) + pairs)
    cards = seen + [unseen[pair * motions + (pair + block) % motions] for pair in range(pairs)]
    order = np.random.default_rng([seed, block, 1]).permutation(len(cards))
    return cards[int(order[place])]


def coverage(shape: str, position: Exact, radius: float, size: tuple[int, int]) -> Array:
    """How much of each pixel a shape covers, 0 to 1.

    Args:
        shape: a key of `SHAPES`.
        position: (time, 2), the centre of its box.
        radius: half the height of its box.
        size: (height, width) in pixels.

    Returns:
        (time, height, width) float32.
    """
    x, y = grid(size)
    at = position.astype(np.float32)[:, :, None, None]
    distance = SHAPES[shape]((x - at[:, 0]) / radius, (y - at[:, 1]) / radius)
    return np.asarray(np.clip(0.5 - distance * (radius * size[0]), 0, 1), np.float32)


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

    def check(self) -> None:
        """Raises MuybridgeError for a value that no clip can have."""
        height, width = self.size
        if min(height, width) < 32:
            raise MuybridgeError(
                f"size is {height}x{width}, but the stage needs at least 32x32 pixels",
                "64x64 is usual",
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
        Frames (time, height, width, 3) uint8, and its truth, ready for JSON: `physics` holds the
        constants, `frames` the time of each frame and in `objects` each thing's `position`,
        `velocity`, `visibility` (share of it in sight, 0 to 1) and `mask` (see `mask_of`).
    """
    colour, shape, motion = combination_at(settings.seed, index)
    rng = np.random.default_rng([settings.seed, index, 2])
    size = settings.size
    times = np.arange(round(settings.seconds * settings.fps)) / settings.fps
    movement = MOTIONS[motion](rng, size[1] / size[0], settings.seconds, times)
    cover = coverage(shape, movement.position, movement.radius, size)
    seen = cover * (1 - pillar_cover(movement, size))
    visibility = seen.sum((1, 2)) / cover.sum((1, 2))
    frames = paint(rng, COLOURS[colour], cover, movement, glossy=shape == "ball")
    rows = [
        {
            "time": round(float(time), 6),
            "objects": [
                {
                    "position": movement.position[i].round(6).tolist(),
                    "velocity": movement.velocity[i].round(6).tolist(),
                    "visibility": round(float(visibility[i]), 4),
                    "mask": _runs(seen[i] >= 0.5),
                }
            ],
        }
        for i, time in enumerate(times)
    ]
    truth = {
        "format": FORMAT,
        "units": UNITS,
        "size": list(size),
        "fps": settings.fps,
        "colour": colour,
        "shape": shape,
        "motion": motion,
        "physics": {
            "gravity": GRAVITY,
            "restitution": movement.restitution,
            "friction": movement.friction,
            "landings": movement.landings,
            "position": movement.position[0].tolist(),
            "velocity": movement.velocity[0].tolist(),
            "radius": movement.radius,
            "floor": movement.floor,
            "pillar": movement.pillar,
        },
        "frames": rows,
    }
    return frames, truth


def _row(seed: int, index: int) -> dict[str, Any]:
    """What `metadata.jsonl` says of clip `index`."""
    colour, shape, motion = combination_at(seed, index)
    phrasing = int(np.random.default_rng([seed, index, 3]).integers(len(phrasings(motion))))
    row: dict[str, Any] = {
        "file_name": f"clip-{index:05d}.mp4",
        "caption": caption_of(colour, shape, motion, phrasing),
        "colour": colour,
        "shape": shape,
        "motion": motion,
        "seed": seed,
    }
    return row | {"split": "test"} if (colour, shape) in HELD_OUT else row


def _write(out: Path, settings: Settings, index: int) -> None:
    """Writes clip `index` and its truth, unless both are there."""
    video, sidecar = out / f"clip-{index:05d}.mp4", out / "truth" / f"clip-{index:05d}.json"
    if video.exists() and sidecar.exists():
        return
    frames, truth = render(settings, index)
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

    Raises:
        MuybridgeError: a setting out of its range, or a folder that holds something else.
    """
    settings = Settings((size[0], size[1]), fps, seconds, seed)
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
    rows = [json.dumps(_row(seed, index)) for index in range(count)]
    write_text(out / "metadata.jsonl", "\n".join(rows) + "\n")


def _claim(out: Path, count: int, settings: Settings) -> None:
    """Makes sure that `out` is new, or the same stage with no more clips than `count`."""
    record = {"format": FORMAT} | asdict(settings) | {"size": list(settings.size)}
    path = out / "stage.json"
    if path.exists():
        found = read_json(path, "the stage's settings")
        if found.get("count", 0) > count:
            record["count"] = count
        other = [name for name in record if found.get(name) != record[name]]
        if other:
            told = ", ".join(f"{name} {found.get(name)} (asked: {record[name]})" for name in other)
            raise MuybridgeError(
                f"{out} holds another stage: {told}", "give another --out, or the same settings"
            )
        sweep(out)
        sweep(out / "truth")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise MuybridgeError(
            f"{out} exists and is no stage", "give --out a folder that is new or empty"
        )
    write_json(path, record | {"count": count})
