"""What a loader's thread costs the step: conversion to float in numpy against in torch.

    python benchmarks/loader.py

A second thread that uses torch gets a second team of OpenMP threads; the two teams wait for each
other, and a training step takes longer: half as long again here, several times on a busy machine.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable

import numpy as np
import torch
from common import report

from muybridge.core.clips import to_float
from muybridge.models import dit

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 64, 64, 3), np.uint8)


def in_torch() -> None:
    """As one would write it first."""
    torch.from_numpy(PIXELS).movedim(-1, -3).float().div_(127.5).sub_(1.0).contiguous()


def in_numpy() -> None:
    """As the loader does it."""
    to_float(PIXELS)


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


def main() -> None:
    """Compares the step alone and beside either conversion, in one run."""
    ways: dict[str, Callable[[], None] | None] = {
        "nothing": None, "numpy": in_numpy, "torch": in_torch
    }  # fmt: skip
    seconds = {name: step_seconds(convert) for name, convert in ways.items()}
    alone = seconds["nothing"]
    report(
        "loader", [{"thread does": n, "step s": s, "ratio": s / alone} for n, s in seconds.items()]
    )


if __name__ == "__main__":
    main()
