"""What augmentation costs, in shares of what turning the same clip into floats costs.

    python benchmarks/augment.py

The cost is that of both together less that of the latter alone, turn by turn in one run, so that a
flip, which is only another way of reading the frames, is charged what it costs there.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
from common import report

from muybridge.core.clips import to_float
from muybridge.core.video import Frames
from muybridge.data.augment import Config, Draw, apply, draw

ROUNDS = 40
USUAL = Config(flip=0.5, rotate=10, zoom=0.2, brightness=0.1, contrast=0.2)
KINDS = {
    "both flips": Draw(flip=True, flip_vertical=True),
    "brightness and contrast": Draw(brightness=0.05, contrast=1.1),
    "flips, brightness, contrast": Draw(flip=True, flip_vertical=True, contrast=1.1),
    "turn, zoom and cut": Draw(angle=7.0, zoom=1.15, shift=(0.3, -0.6)),
    "all geometry and colour": Draw(flip=True, angle=7.0, zoom=1.15, contrast=1.1, saturation=0.9),
    "hue": Draw(hue=10.0),
    "noise": Draw(noise=4.0, seed=1),
}


def clip(side: int) -> Frames:
    """16 frames of smooth noise."""
    rough = np.random.default_rng(0).integers(0, 256, (16, side, side, 3), np.uint8)
    return np.stack([cv2.GaussianBlur(frame, (0, 0), 2) for frame in rough])


def seconds(work: Callable[[], object]) -> float:
    """Of the processor: others may use the machine."""
    begun = time.thread_time()
    work()
    return time.thread_time() - begun


def shares(side: int) -> dict[str, float]:
    """The cost of each kind, over that of the conversion to floats."""
    frames = clip(side)
    made = np.empty((16, 3, side, side), np.float32)
    taken: dict[str, list[float]] = {name: [] for name in ["", "usual", *KINDS]}
    for turn in range(ROUNDS + 3):
        wanted = {"": Draw(), "usual": draw(USUAL, turn), **KINDS}
        for name, one in wanted.items():
            taken[name].append(seconds(lambda one=one: to_float(apply(frames, one), made)))
    for values in taken.values():
        del values[:3]
    alone = statistics.median(taken.pop(""))
    # Of the usual settings each draw is another one: what counts is the mean.
    usual = statistics.mean(taken.pop("usual"))
    costs = {"a draw of the usual settings": usual} | {
        name: statistics.median(values) for name, values in taken.items()
    }
    return {name: cost / alone - 1 for name, cost in costs.items()}


def main() -> None:
    """Prints the shares for clips of three sizes."""
    cv2.setNumThreads(1)
    sides = {f"{side} pixels": shares(side) for side in (64, 128, 256)}
    names = list(next(iter(sides.values())))
    rows = [
        {"what": name} | {side: round(found[name], 3) for side, found in sides.items()}
        for name in names
    ]
    report("augment", rows, usual=USUAL.model_dump())


if __name__ == "__main__":
    main()
