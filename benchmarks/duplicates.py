"""How finding duplicates grows with the number of clips: time, memory, and what is found.

    python benchmarks/duplicates.py [--largest 10000]

Made signatures of clips of four seconds, of two kinds: each clip of a place of its own, and
hundred clips in every place with other movements, where pictures alone cannot tell clips apart.
One in fifty is an excerpt of another clip, overlapping it by two seconds or more, every second of
these mirrored.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import numpy as np
from common import report

from muybridge.data.duplicates import RATE, SIDE, Signature, groups

LENGTH = 4 * RATE
NOISE = 0.5  # grey levels, of another encoding


def scene(random: np.random.Generator, place: np.random.Generator, samples: int) -> Signature:
    """A still texture and two soft things that wander before it."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    picture = np.full((samples, SIDE, SIDE), 128.0)
    for _ in range(6):
        down, right, phase = place.normal(0, 1.5), place.normal(0, 1.5), place.uniform(0, 6.3)
        picture += 20 * np.cos(6.3 * (down * y + right * x) + phase)
    seconds = np.arange(samples)[:, None, None] / RATE
    for _ in range(2):
        centre, reach = random.uniform(0.2, 0.8, 2), random.uniform(0.1, 0.4, 2)
        pace, phase = random.uniform(0.5, 4, 2), random.uniform(0, 6.3, 2)
        at_y, at_x = (centre[i] + reach[i] * np.sin(pace[i] * seconds + phase[i]) for i in range(2))
        picture += random.choice([-50, 50]) * np.exp(-((y - at_y) ** 2 + (x - at_x) ** 2) / 0.02)
    return np.asarray(picture, np.float32)


def made(count: int, a_place: int) -> tuple[list[Signature], int]:
    """Signatures, `a_place` clips in each place, and how many of them are excerpts of others."""
    random = np.random.default_rng(0)
    found: list[Signature] = []
    excerpts = 0
    while len(found) < count:
        long = scene(random, np.random.default_rng(len(found) // a_place), 2 * LENGTH)
        cut = [long[:LENGTH]]
        if len(found) % 50 == 0:
            begin = int(random.integers(0, LENGTH // 2))
            cut.append(long[begin : begin + LENGTH, :, :: -1 if excerpts % 2 else 1])
            excerpts += 1
        for piece in cut:
            noisy = piece + random.normal(0, NOISE, piece.shape)
            found.append(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
    return found[:count], excerpts


def measure(count: int, a_place: int) -> None:
    """Prints processor seconds, joined clips, excerpts, and megabytes needed at most."""
    signatures, excerpts = made(count, a_place)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    found = groups(signatures, [""] * count, [""] * count)
    seconds = time.process_time() - begun
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(seconds, count - len(set(found)), excerpts, peak)


def main() -> None:
    """Each size in a process of its own, so that its peak of memory is its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--largest", type=int, default=10_000)
    parser.add_argument("--one", type=int, nargs=2, help="clips, and how many in a place")
    arguments = parser.parse_args()
    if arguments.one:
        measure(*arguments.one)
        return
    rows = []
    for a_place in (1, 100):
        last: tuple[int, float] | None = None
        for count in (n for n in (1_000, 2_500, 5_000, 10_000) if n <= arguments.largest):
            child = [sys.executable, __file__, "--one", str(count), str(a_place)]
            printed = subprocess.run(child, check=True, capture_output=True, text=True).stdout
            seconds, joined, excerpts, peak = map(float, printed.split())
            row = {"clips in a place": a_place, "clips": count, "CPU s": seconds}
            row["microseconds a pair"] = seconds / (count * (count - 1) / 2) * 1e6
            row["time grows as clips to the"] = (
                float(np.log(seconds / last[1]) / np.log(count / last[0])) if last else float("nan")
            )
            row |= {"joined": int(joined), "excerpts": int(excerpts), "peak MB": peak}
            rows.append(row)
            last = (count, seconds)
    report("duplicates", rows)


if __name__ == "__main__":
    main()
