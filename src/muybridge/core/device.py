"""What this machine is and what it does well."""

from __future__ import annotations

import os
import platform
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Machine:
    """Facts of a machine. Memory and disk are free or total GiB; rates are TFLOP/s, measured;
    that of fp16 on GPUs alone, else 0."""

    processor: str
    cores: int
    memory_gib: float
    disk_free_gib: float
    amx: bool
    gpu: str | None
    gpu_memory_gib: float
    fp32_rate: float
    bf16_rate: float
    fp16_rate: float

    @property
    def precision(self) -> str:
        """The faster of "bf16", "fp16" and "fp32" by measurement; the first that wins clearly."""
        rates = {"bf16": self.bf16_rate, "fp16": self.fp16_rate}
        return next((n for n, rate in rates.items() if rate > 1.3 * self.fp32_rate), "fp32")


def pick() -> torch.device:
    """The GPU of this rank if there is one, else the CPU."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def settle(threads: int, rounded: bool) -> None:
    """Threads of the CPU; and on a GPU whether products of float32, those of convolutions among
    them, may be rounded to TF32."""
    import torch

    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("high" if rounded else "highest")
    torch.backends.cudnn.allow_tf32 = rounded


def cores() -> int:
    """Cores this process may use, which a container can make fewer than the machine has."""
    affinity = hasattr(os, "sched_getaffinity")
    count = len(os.sched_getaffinity(0)) if affinity else os.cpu_count() or 1
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.exists():
        limit, period = quota.read_text().split()
        if limit.isdigit():
            count = min(count, max(1, int(limit) // int(period)))
    return count


def examine(folder: Path = Path(".")) -> Machine:
    """Looks at the machine and times matrix products on it (about a fifth of a second).

    A flag says what a processor can do; only a timing says that this build of torch does it fast.
    """
    import torch

    device = pick()
    gpu = torch.cuda.get_device_properties(device) if device.type == "cuda" else None
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    return Machine(
        processor=processor(),
        cores=cores(),
        memory_gib=memory() / 2**30,
        disk_free_gib=shutil.disk_usage(existing).free / 2**30,
        amx="amx_bf16" in _cpu_flags(),
        gpu=gpu.name if gpu else None,
        gpu_memory_gib=gpu.total_memory / 2**30 if gpu else 0.0,
        fp32_rate=_rate(device, torch.float32),
        bf16_rate=_rate(device, torch.bfloat16),
        fp16_rate=_rate(device, torch.float16) if gpu else 0.0,
    )


def _rate(device: torch.device, dtype: torch.dtype) -> float:
    """Best TFLOP/s of a few matrix products; the best, since others may use the machine."""
    import torch

    size = 8192 if device.type == "cuda" else 1024
    a = torch.randn(size, size, device=device).to(dtype)
    best = float("inf")
    for _ in range(6):
        begun = time.perf_counter()
        a @ a
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begun)
    return 2e-12 * size**3 / best


def memory() -> int:
    """Bytes of memory that this process may use."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 0
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        total = min(total, int(text))
    return total


def free_memory() -> int:
    """Bytes that this process may still take: of the GPU if there is one, else of the machine."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info(pick())[0])
    info, free = Path("/proc/meminfo"), memory()
    for line in info.read_text().splitlines() if info.exists() else []:
        if line.startswith("MemAvailable:"):
            free = min(free, int(line.split()[1]) * 1024)
    group = Path("/sys/fs/cgroup")
    limit, used = group / "memory.max", group / "memory.current"
    if limit.exists() and used.exists() and (most := limit.read_text().strip()).isdigit():
        free = min(free, int(most) - int(used.read_text()))
    return free


def peak_memory() -> int:
    """Most bytes that were in use at once: of the GPU, or else of this process's memory, less the
    pages of files that it looks into, which the system takes back when it needs them."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    told = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
    if "VmHWM" in told:
        # A dataset that is looked into is taken in little by little, in the peak as in the rest.
        files = told.get("RssFile", ["0"])
        return (int(told["VmHWM"][0]) - int(files[0])) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def _cpu_flags() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line for line in lines if line.startswith("flags")), "")


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
