"""Random 16-frame clips from each cache, against the most that could be had.

    python benchmarks/caches.py [--rounds 40]

One dataset of 256x144 clips of real footage (`../shared/footage`) as `prepare` writes them, read by
one thread. A clip read from a cache counts with its conversion to float, as a batch needs it; the
limit is copying and converting frames that lie ready in memory. A clip decoded from its video is
compared with PyAV decoding the same frames from the keyframe on, in a file that it has open: once
decoding alone, and once with each frame turned into RGB, as reading them is for. Each round times
every way on the same clips, one after the other, in turning order; a ratio is the median over
rounds. Seconds are those of the processor, so that others' work on the machine counts little; all
ways use one core.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import av.container
import cv2
import numpy as np
from common import SHARED, report

from muybridge.core.clips import to_float
from muybridge.core.video import Frames, at_rate, decode, encode
from muybridge.data import framing
from muybridge.data.store import Clip, Dataset, write

HEIGHT, WIDTH, FRAMES, FPS = 144, 256, 96, 24.0
LENGTH = 16
# Clips a round: long enough that a timer's grain is nothing, short enough that ways are compared
# under the same load of the machine.
EACH = 12

FOOTAGE = SHARED / "footage" / "real"
FILES = (
    "arm_wrestling.mp4", "bikes.mp4", "bigbuckbunny.mp4", "bottles.mp4", "cockatoo.mp4",
    "pancake.mkv",
)  # fmt: skip


def fit(picture: Frames) -> Frames:
    """Scales a picture to cover the size and keeps its middle."""
    size = (HEIGHT, WIDTH)
    (height, width), _ = framing.cover(picture.shape[:2], framing.WHOLE, size)
    scaled = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return framing.crop(scaled, (0.5, 0.5), size)


def footage() -> Iterator[Frames]:
    """Clips of real videos, scaled and cropped."""
    for name in FILES:
        frames = (fit(picture) for _, picture in at_rate(decode(FOOTAGE / name), FPS))
        while len(clip := list(itertools.islice(frames, FRAMES))) == FRAMES:
            yield np.stack(clip)


def dataset(folder: Path) -> None:
    """Clips with closed groups of twelve pictures, as `prepare` writes them."""
    pairs = []
    for index, frames in enumerate(footage()):
        content = encode(frames, FPS, gop=12)
        path = folder / f"{index}.mp4"
        path.write_bytes(content)
        clip = Clip(
            f"{index}", f"train/{index}.mp4", "train", index, FRAMES, HEIGHT, WIDTH,
            content=hashlib.sha256(content).hexdigest(),
        )  # fmt: skip
        pairs.append((clip, path))
    facts = {
        "fps": FPS, "size": [HEIGHT, WIDTH], "sizes": [[HEIGHT, WIDTH]], "labels": [],
        "clips": {"train": len(pairs)}, "captioned": 0, "mean": [0.0] * 3, "std": [1.0] * 3,
    }  # fmt: skip
    write(folder, pairs, facts)


Pieces = list[tuple[Clip, int]]


def reads(source: Dataset, convert: bool) -> Callable[[Pieces], None]:
    def read(pieces: Pieces) -> None:
        for clip, first in pieces:
            found = source.frames(clip, np.arange(first, first + LENGTH))
            if convert:
                to_float(found)

    return read


def ready(pieces: Pieces) -> Callable[[Pieces], None]:
    """Copies frames out of an array in memory, and converts them."""
    chance = np.random.default_rng(0)
    stored = chance.integers(0, 256, (len(pieces), LENGTH, HEIGHT, WIDTH, 3), np.uint8)

    def read(pieces: Pieces) -> None:
        for row in range(len(pieces)):
            to_float(stored[row].copy())

    return read


class Bare:
    """PyAV without anything round it: files stay open."""

    def __init__(self, source: Dataset, pictures: bool) -> None:
        self.pictures = pictures
        self.opened: dict[str, av.container.InputContainer] = {}
        for clip in source.clips:
            self.opened[clip.file] = av.open(str(source.folder / clip.file))
            self.opened[clip.file].streams.video[0].thread_type = "NONE"

    def __call__(self, pieces: Pieces) -> None:
        """Decodes each piece, from the keyframe before it."""
        for clip, first in pieces:
            container = self.opened[clip.file]
            stream = container.streams.video[0]
            beat = 1 / (FPS * float(stream.time_base or 1))
            container.seek(round(first * beat), stream=stream)
            begin, last = round(first * beat), round((first + LENGTH - 1) * beat)
            for frame in container.decode(stream):
                if self.pictures and (frame.pts or 0) >= begin:
                    frame.to_ndarray(format="rgb24", threads=1)
                if (frame.pts or 0) >= last:
                    break

    def close(self) -> None:
        """Closes the files."""
        for container in self.opened.values():
            container.close()


def fresh(folder: Path) -> Callable[[Pieces], None]:
    """As if each clip were met for the first time."""

    def read(pieces: Pieces) -> None:
        reads(Dataset.open(folder, "mp4"), False)(pieces)

    return read


def measure(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds that each way took in each round."""
    sources = {kind: Dataset.open(folder, kind) for kind in ("rgb", "yuv", "mp4")}
    chance = np.random.default_rng(1)
    clips = sources["rgb"].clips

    def draw() -> Pieces:
        chosen = chance.choice(len(clips), EACH, replace=False)
        return [(clips[i], int(chance.integers(FRAMES - LENGTH + 1))) for i in chosen]

    bare, to_rgb = Bare(sources["mp4"], False), Bare(sources["mp4"], True)
    ways: dict[str, Callable[[Pieces], None]] = {
        "copy and convert": ready(draw()), "rgb": reads(sources["rgb"], True),
        "yuv": reads(sources["yuv"], True), "decoding": bare, "decoding to RGB": to_rgb,
        "mp4": reads(sources["mp4"], False), "mp4, first visit": fresh(folder),
    }  # fmt: skip
    everything = [(clip, 0) for clip in clips]
    for way in list(ways.values())[1:]:
        way(everything)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds):
        pieces, names = draw(), list(ways)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            begun = time.process_time()
            ways[name](pieces)
            taken[name].append(time.process_time() - begun)
    bare.close()
    to_rgb.close()
    return taken


# What is compared with what, and the least that it should reach.
COMPARED = (
    ("rgb", "copy and convert", "0.9"), ("yuv", "copy and convert", "0.65"),
    ("mp4", "decoding", "0.8"), ("mp4", "decoding to RGB", "0.8"),
    ("mp4, first visit", "decoding to RGB", ""),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        dataset(Path(name))
        taken = measure(Path(name), rounds)
    rows = []
    for name, limit, wanted in COMPARED:
        ratios = [m / own for m, own in zip(taken[limit], taken[name], strict=True)]
        rows.append(
            {
                "frames from": name,
                "clips/s": EACH / statistics.median(taken[name]),
                "limit": limit,
                "its clips/s": EACH / statistics.median(taken[limit]),
                "ratio": statistics.median(ratios),
                "wanted": wanted,
            }
        )
    report("caches", rows, rounds=rounds)


if __name__ == "__main__":
    main()
