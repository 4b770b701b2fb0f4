"""How long clips take to make, cold and warm, and what making them needs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..core import device
from ..core.progress import track
from .intervals import mean_interval
from .manifest import Score


@dataclass(frozen=True)
class Speed:
    """Seconds, unless said otherwise.

    Attributes:
        cold: from nothing loaded to the first clip: reading the weights, and whatever is done once.
        clips: for each of several clips made one by one, warm.
        batch: for one clip when `batch_size` are made at once.
        first_frame: until the first frame is there; a clip's whole time where all its frames come
            together.
        one_by_one: from each frame of a clip to the next, where they are made one after another.
        frames: in a clip.
        fps: of the clip.
        peak_memory: bytes, of the whole process or of the GPU, while clips were made one by one.
        parameters: of what is sampled from.
        flops: floating-point operations of one clip, matrix products and convolutions alone
            (a multiplication and an addition are two).
    """

    cold: float
    clips: tuple[float, ...]
    batch: float
    batch_size: int
    first_frame: float
    frames: int
    fps: float
    peak_memory: int
    parameters: int
    flops: int
    one_by_one: tuple[float, ...] = ()

    def quantile(self, share: float) -> float:
        """Seconds of a clip that `share` of the clips stay under."""
        return float(np.quantile(self.clips, share))

    @property
    def real_time(self) -> float:
        """Seconds of video made in a second: 1 or more keeps up with playing it."""
        return self.frames / self.fps / self.quantile(0.5)


def measure(
    load: Callable[[], nn.Module],
    make: Callable[[nn.Module, int], Tensor],
    fps: float,
    repeats: int = 10,
    batch_size: int = 8,
    stream: Callable[[nn.Module], Iterator[Tensor] | None] | None = None,
) -> Speed:
    """Times the making of clips.

    Args:
        load: reads the weights and gives the network that is sampled from.
        make: makes so many clips (n, time, 3, height, width) with it, on the CPU when it returns.
        fps: of the clips.
        repeats: clips made one by one once warm.
        batch_size: clips made at once for the time in a batch.
        stream: makes the frames of a clip one after another; gives None where all come together.
    """
    begun = time.perf_counter()
    # What counts operations asks a view of a parameter for its gradient's function, and has none.
    network = load().requires_grad_(False)
    clip = make(network, 1)
    cold = time.perf_counter() - begun
    make(network, 1)
    _forget_peak()
    clips = []
    for _ in track(range(repeats), "speed"):
        begun = time.perf_counter()
        make(network, 1)
        clips.append(time.perf_counter() - begun)
    peak = device.peak_memory()
    begun = time.perf_counter()
    make(network, batch_size)
    batch = (time.perf_counter() - begun) / batch_size
    one_by_one = _between(stream(network) if stream else None)
    with FlopCounterMode(display=False) as counter:
        make(network, 1)
    return Speed(
        cold=cold,
        clips=tuple(clips),
        batch=batch,
        batch_size=batch_size,
        first_frame=one_by_one[0] if one_by_one else float(np.median(clips)),
        frames=clip.shape[1],
        fps=fps,
        peak_memory=peak,
        parameters=sum(p.numel() for p in network.parameters()),
        flops=counter.get_total_flops(),
        one_by_one=one_by_one,
    )


def _between(frames: Iterator[Tensor] | None) -> tuple[float, ...]:
    """Seconds until each frame is there, from the one before."""
    found, begun = [], time.perf_counter()
    for _ in frames or ():
        found.append(time.perf_counter() - begun)
        begun = time.perf_counter()
    return tuple(found)


def scores(found: Speed, manifest: dict[str, Any]) -> list[Score]:
    """Scores of what was timed; the machine is in their manifest."""
    facts = manifest | machine() | {
        "timed": len(found.clips), "frames": found.frames, "fps": found.fps, "clips_at_once": 1
    }  # fmt: skip
    low, high = mean_interval(found.clips)
    timed = ", ".join(
        f"{found.quantile(share):.3g} s at p{100 * share:.0f}" for share in (0.5, 0.95)
    )
    streamed = [
        Score("latency of a frame", float(np.median(found.one_by_one)), "lower", facts, unit="s",
              note="made one after another; at p95 "
              f"{float(np.quantile(found.one_by_one, 0.95)):.3g} s, and one is shown for "
              f"{1 / found.fps:.3g} s", values=found.one_by_one)
    ] if found.one_by_one else []  # fmt: skip
    return [
        *streamed,
        Score("time of a clip", float(np.mean(found.clips)), "lower", facts, (low, high), unit="s",
              interval_of="the mean over clips made one by one on this machine as it was",
              note=f"warm; {timed}", values=found.clips),
        Score("time of a clip, p95", found.quantile(0.95), "lower", facts, unit="s", note="warm"),
        Score("time to the first frame", found.first_frame, "lower", facts, unit="s",
              note="warm; all frames of a clip come together where it is a clip's time"),
        Score("time to the first clip, cold", found.cold, "lower", facts, unit="s",
              note="reading the weights counted"),
        Score("time of a frame", found.batch / found.frames, "lower",
              facts | {"clips_at_once": found.batch_size}, unit="s",
              note=f"when {found.batch_size} clips are made at once"),
        Score("real-time factor", found.real_time, "higher", facts,
              note="seconds of video made in a second, one clip at a time"),
        Score("peak memory", found.peak_memory / 2**20, "lower", facts, unit="MiB",
              note="of the GPU" if torch.cuda.is_available() else "of the whole process"),
        Score("parameters", found.parameters / 1e6, "lower", facts, unit="M"),
        Score("operations of a clip", found.flops / 1e9, "lower", facts, unit="GFLOP",
              note="matrix products and convolutions; all steps and both branches of guidance"),
    ]  # fmt: skip


def machine() -> dict[str, Any]:
    """What timings depend on, for the manifest."""
    return {
        "machine": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else device.processor(),
        "cores": device.cores(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _forget_peak() -> None:
    """Begins to watch the peak of memory anew, where the system lets us."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return
    # Where that is refused, the peak is that of the whole process so far.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
