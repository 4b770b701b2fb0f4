"""Several processes as one: rank, world size and sums over ranks. One process needs no set-up."""

from __future__ import annotations

import atexit
import ctypes
import faulthandler
import os
import signal
import socket
import sys
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor

from .errors import RunError
from .progress import say

_PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of Linux."""
_ANSWER = 60.0
"""Seconds within which torchrun, of another machine even, has to answer."""


def start() -> None:
    """Joins the group that torchrun describes in the environment, if it does."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        faulthandler.enable()  # of many processes, one that crashes is to say where
        # What is imported after the group is made takes it for a default and keeps it for ever; its
        # threads then outlive the interpreter, and the process may abort as it ends.
        import torch.distributed.nn.functional

        _end_with_torchrun()
        gpu = torch.cuda.is_available()
        if gpu:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        # gloo beside nccl, for what is decided on the CPU.
        dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo")
        atexit.register(_leave)


def _end_with_torchrun() -> None:
    """Ends this process when torchrun is killed, which it could not tell: it would wait for the
    others for half an hour, and hold the run's lock.

    Raises:
        RunError: torchrun has ended already, while this process was beginning.
    """
    if sys.platform == "linux" and "TORCHELASTIC_RUN_ID" in os.environ:
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        # Processes find each other through torchrun, which listens before it begins any of them.
        place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        try:
            socket.create_connection(place, timeout=_ANSWER).close()
        except OSError as error:
            raise RunError(
                f"torchrun, at {place[0]}:{place[1]}, has ended: {error}", "run it again"
            ) from error


def spread() -> None:
    """Begins this very command anew by torchrun, one process a GPU, where there are several here
    and no torchrun has begun it."""
    count = torch.cuda.device_count()
    if count < 2 or "WORLD_SIZE" in os.environ:
        return
    say(f"training on the {count} GPUs of this machine; CUDA_VISIBLE_DEVICES chooses fewer")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*torchrun, f"--nproc-per-node={count}", "-m", "muybridge", *sys.argv[1:]]
    os.execv(sys.executable, command)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def end(code: object) -> None:
    """Ends a process of several here and now, by the code of a `SystemExit`; one alone goes on.

    PyTorch keeps a group for ever once weights were spread over it: see `start`.
    """
    if dist.is_initialized():
        _leave()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))


def rank() -> int:
    """This process's number, 0 when alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def leads() -> bool:
    """Whether it is the first of the processes on its machine, as torchrun says."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def neighbours() -> int:
    """How many of the processes are on this machine, as torchrun says; all, if it does not."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", world()))


def wait() -> None:
    """Returns when every rank has come here."""
    if world() > 1:
        dist.barrier()


def check_share(batch: int, name: str = "training.batch") -> None:
    """Raises RunError where a global batch cannot be shared evenly by the ranks."""
    share, rest = divmod(batch, world())
    if rest or not share:
        raise RunError(
            f"{name} = {batch} cannot be shared by {world()} processes",
            "make it a multiple of their number",
        )


def add_up(tensors: Iterable[Tensor]) -> None:
    """Replaces each tensor by its sum over all ranks, in place."""
    if world() > 1:
        for tensor in tensors:
            dist.all_reduce(tensor)


def share(count: int) -> range:
    """This rank's part of `count` things: consecutive, and as even as can be."""
    begin, end = (count * place // world() for place in (rank(), rank() + 1))
    return range(begin, end)


def joined(rows: Tensor) -> Tensor:
    """The rows of all ranks, (n, ...), in the order of the ranks; each may have its own number."""
    if world() == 1:
        return rows
    counts = [torch.zeros(1, dtype=torch.int64) for _ in range(world())]
    dist.all_gather(counts, torch.tensor([len(rows)]))
    most = max(int(count) for count in counts)
    if not most:
        return rows
    padded = rows.new_zeros(most, *rows.shape[1:])
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[: int(count)] for part, count in zip(parts, counts, strict=True)])


def asked(here: bool) -> bool:
    """Whether any process is asked to do something, as one whose machine is to be taken away is."""
    if world() == 1:
        return here
    count = torch.tensor([float(here)])
    dist.all_reduce(count)
    return bool(count > 0)


def same(number: float) -> float:
    """Rank 0's `number`, on every rank: for what a clock or a signal decides."""
    if world() == 1:
        return number
    shared = torch.tensor([number], dtype=torch.float64)
    dist.broadcast(shared, 0)
    return float(shared)
