"""What a loader costs, against what it cannot do without.

    python benchmarks/loader.py [beside | limits | memory]

beside: a training step beside a thread that makes batches. A thread that uses torch gets a second
team of OpenMP threads; the two teams wait for each other, and a step takes longer: half as long
again, several times on a busy machine. OpenCV's own threads do the same on large pictures.

limits: whole batches from each cache, against copying the same bytes from memory and turning them
into floats; from mp4, against PyAV decoding the same videos and doing nothing with them.

memory: what the process holds after each of ten thousand batches, all of augmentation on.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from common import report

from muybridge.core.clips import to_float
from muybridge.core.video import Frames, encode
from muybridge.data.augment import Draw, apply
from muybridge.data.loader import Config, Loader
from muybridge.data.store import Clip, Dataset, write
from muybridge.models import dit

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 64, 64, 3), np.uint8)
LARGE = np.random.default_rng(0).integers(0, 256, (16, 512, 512, 3), np.uint8)
TURNED = Draw(angle=7.0, zoom=1.2, contrast=1.1, saturation=0.9, noise=3.0)
VARIED = {
    "flip": 0.5, "flip_vertical": 0.5, "rotate": 10, "zoom": 0.2, "brightness": 0.1, "noise": 3,
    "contrast": 0.2, "saturation": 0.2, "hue": 5, "speed": 0.2, "rate": 0.2,
}  # fmt: skip
LENGTH, CLIPS, BATCH = 48, 24, 8


# --- beside a training step ----------------------------------------------------------------------


def in_torch() -> None:
    """As one would write it first."""
    torch.from_numpy(PIXELS).movedim(-1, -3).float().div_(127.5).sub_(1.0).contiguous()


def in_numpy() -> None:
    """As the loader does it."""
    to_float(PIXELS)


def augmented() -> None:
    """The same, each clip turned, closer, recoloured and grainy."""
    for clip in PIXELS:
        to_float(apply(clip, TURNED))


def large(threads: int) -> None:
    """One clip of 512 pixels, turned, with so many threads of OpenCV."""
    cv2.setNumThreads(threads)
    apply(LARGE, TURNED)
    cv2.setNumThreads(1)


def step_seconds(convert: Callable[[], None] | None) -> float:
    """Median time of a forward and backward pass while a thread converts a batch for each."""
    torch.manual_seed(0)
    network = dit.build(dit.Config(**dit.SIZES["small"], text=None))
    clips = torch.randn(16, 16, 3, 64, 64)
    times, level = (torch.arange(16) / 8).expand(16, -1), torch.full((16, 1, 1, 1), 0.5)
    taken = []
    ask, stop = threading.Semaphore(0), threading.Event()

    def work() -> None:
        while ask.acquire() and not stop.is_set():
            if convert is not None:
                convert()

    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(8):
        ask.release()
        begun = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            network(clips, level, times).square().mean().backward()
        taken.append(time.perf_counter() - begun)
    stop.set()
    ask.release()
    thread.join()
    return statistics.median(taken[2:])


def beside() -> None:
    """Compares the step alone and beside each kind of work, in one run."""
    cv2.setNumThreads(1)
    ways: dict[str, Callable[[], None] | None] = {
        "nothing": None, "numpy": in_numpy, "numpy, augmented": augmented, "torch": in_torch,
        "512 pixels, OpenCV alone": partial(large, 1),
        "512 pixels, OpenCV in threads": partial(large, os.cpu_count() or 1),
    }  # fmt: skip
    # By turns, since the machine's speed changes.
    turns = [{name: step_seconds(convert) for name, convert in ways.items()} for _ in range(3)]
    seconds = {name: statistics.median(turn[name] for turn in turns) for name in ways}
    alone = seconds["nothing"]
    report(
        "loader", [{"thread does": n, "step s": s, "ratio": s / alone} for n, s in seconds.items()]
    )


# --- against its limits --------------------------------------------------------------------------


def moving(count: int, size: tuple[int, int], seed: int) -> Frames:
    """A picture that shifts by two pixels a frame."""
    height, width = size
    rough = np.random.default_rng(seed).integers(0, 256, (height, width + 2 * count, 3), np.uint8)
    wide = cv2.normalize(cv2.GaussianBlur(rough, (0, 0), 3), rough, 0, 255, cv2.NORM_MINMAX)
    return np.stack([wide[:, 2 * i : 2 * i + width] for i in range(count)])


def dataset_of(folder: Path, sizes: Sequence[tuple[int, int]], count: int) -> None:
    """Writes `count` clips for training, of these sizes in turn; some frames count as repeated."""
    pairs = []
    for number in range(count):
        size = sizes[number % len(sizes)]
        path = folder / f"clip{number}.mp4"
        content = encode(moving(LENGTH, size, number), 24.0)
        path.write_bytes(content)
        kinds = bytes(LENGTH) if number % 2 else bytes([0, 0, 1, 0] * (LENGTH // 4))
        clip = Clip(
            f"clip{number}", f"train/clip{number}.mp4", "train", number, LENGTH, *size,
            caption="a dog runs to the left", kinds=kinds,
            content=hashlib.sha256(content).hexdigest(),
        )  # fmt: skip
        pairs.append((clip, path))
    facts: dict[str, Any] = {
        "fps": 24.0, "size": list(sizes[0]), "sizes": [list(size) for size in sizes], "labels": [],
        "captioned": count, "mean": [0.0] * 3, "std": [0.5] * 3, "clips": {"train": count},
        "digest": "",
    }  # fmt: skip
    write(folder, pairs, facts)


def seconds(work: Callable[[int], object], turn: int) -> float:
    """Of the processor: others may use the machine."""
    begun = time.thread_time()
    work(turn)
    return time.thread_time() - begun


def ratio(
    limit: Callable[[int], object], whole: Callable[[int], object], rounds: int = 25
) -> float:
    """The limit's time over the loader's, medians of turns one after the other."""
    taken = [(seconds(limit, turn), seconds(whole, turn)) for turn in range(rounds)]
    first, second = zip(*taken[2:], strict=True)
    return statistics.median(first) / statistics.median(second)


def copying(source: Frames) -> Callable[[int], None]:
    """Copies clips one by one and turns each into floats: the quickest way that was found."""
    held = np.empty_like(source[0])

    def work(turn: int) -> None:
        made = np.empty((BATCH, len(held), 3, *held.shape[1:3]), np.float32)
        for place, row in enumerate(made):
            np.copyto(held, source[(turn * BATCH + place) % len(source)])
            to_float(held, row)

    return work


def decoding(paths: Sequence[Path], _: int) -> None:
    """Decodes whole videos; the pictures are dropped as they come."""
    for path in paths:
        with av.open(str(path)) as container:
            container.streams.video[0].thread_type = "NONE"
            for _ in container.decode(video=0):
                pass


def limits() -> None:
    """The share of its limit that the loader reaches, from each cache."""
    rows = []
    with tempfile.TemporaryDirectory() as home:
        for size in ((64, 64), (144, 256)):
            folder = Path(home) / str(size[0])
            folder.mkdir()
            dataset_of(folder, [size], CLIPS)
            held = np.stack([moving(LENGTH, size, number) for number in range(CLIPS)])
            for cache, frames, fps in (
                ("rgb", 16, 24.0), ("rgb", 16, 8.0), ("yuv", 16, 24.0), ("yuv", 16, 8.0),
                ("mp4", LENGTH, 24.0),
            ):  # fmt: skip
                config = Config(frames=frames, fps=fps, size=size)
                made = Loader(Dataset.open(folder, cache), "train", config)
                row = {"cache": cache, "size": f"{size[0]}x{size[1]}", "frames": frames, "fps": fps}
                if cache == "mp4":
                    paths = [folder / clip.file for clip in made.clips[:BATCH]]
                    found = {"bare decoding": ratio(partial(decoding, paths), partial(whole, made))}
                else:
                    limit = copying(held[:, : made.span : round(24 / fps)])
                    found = {"copy and convert": ratio(limit, partial(whole, made))}
                rows += [{**row, "limit": name, "share": share} for name, share in found.items()]
    report("loader_limits", rows)


def whole(made: Loader, turn: int) -> None:
    made.batch(turn, BATCH)


# --- memory --------------------------------------------------------------------------------------


def resident() -> float:
    """MiB that the process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def memory(batches: int = 10_000) -> None:
    """What is held as batches go by, of clips of two sizes and of mirrored, turned, faster ones."""
    rows = []
    with tempfile.TemporaryDirectory() as home:
        dataset_of(Path(home), [(48, 48), (32, 64)], 12)
        for cache in ("rgb", "yuv", "mp4"):
            dataset = Dataset.open(home, cache)
            config = Config(frames=8, fps=8.0, size=(48, 48), augment=VARIED)
            made = Loader(dataset, "train", config).iterate(0, 2)
            held = {}
            for step in range(1, batches + 1):
                next(made)
                if step in (batches // 10, batches // 2, batches):
                    held[f"after {step}, MiB"] = resident()
            made.close()
            rows.append({"cache": cache, **held})
    report("loader_memory", rows)


if __name__ == "__main__":
    chosen = sys.argv[1:] or ["beside", "limits", "memory"]
    for name in chosen:
        {"beside": beside, "limits": limits, "memory": memory}[name]()
