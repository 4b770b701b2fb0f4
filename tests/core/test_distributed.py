"""Several processes as one, on two ranks that talk over gloo."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from muybridge.core import distributed

WORKER = """
import sys, torch
from muybridge.core import distributed
distributed.start()
rank = distributed.rank()
part = distributed.share(5)
rows = torch.arange(10.0, dtype=torch.float64).reshape(5, 2)
assert torch.equal(distributed.joined(rows[part.start : part.stop]), rows)
# A rank that has nothing, and ranks that all have nothing.
assert distributed.joined(torch.arange(3)[: 3 * rank]).tolist() == [0, 1, 2]
assert distributed.joined(torch.zeros(0, 4)).shape == (0, 4)
assert distributed.same(float(7 + rank)) == 7
# Whichever of them is asked.
assert distributed.asked(rank == 0) and distributed.asked(rank == 1)
assert not distributed.asked(False)
print(*part)
"""


def two_ranks(
    script: Path, environment: Mapping[str, str], *arguments: str
) -> list[tuple[str, str]]:
    """What each of two processes printed; both must end well."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    ranks = [
        subprocess.Popen(
            [sys.executable, str(script), *arguments],
            env={**environment, **world, "RANK": str(rank)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    told = [rank.communicate(timeout=240) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], told
    return told


def test_a_process_whose_torchrun_has_ended_ends_at_once(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    """As one that was still importing when torchrun was killed."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "RANK": "1"}
    elastic = {"TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    (tmp_path / "worker.py").write_text(WORKER)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "worker.py")], env={**environment, **world, **elastic},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "has ended" in done.stderr


def test_two_ranks_share_and_join(tmp_path: Path, environment: Mapping[str, str]) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    first, second = (out.split() for out, _ in two_ranks(tmp_path / "worker.py", environment))
    assert first + second == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 32])
def test_shares_are_all_of_it_and_as_even_as_can_be(
    world: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "world", lambda: world)
    parts = []
    for rank in range(world):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        parts.append(distributed.share(count))
    assert [place for part in parts for place in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_one_process_needs_no_group() -> None:
    assert (distributed.rank(), distributed.world()) == (0, 1)
    assert distributed.joined(torch.arange(3)).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("gpus", "world", "begun"),
    [(0, None, False), (1, None, False), (4, None, True), (4, "4", False)],
)
def test_all_gpus_of_a_machine_are_used_unless_torchrun_says_otherwise(
    gpus: int, world: str | None, begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(os, "execv", lambda path, command: called.append([path, *command]))
    monkeypatch.setattr(sys, "argv", ["muybridge", "train", "flow-small", "--out", "run"])
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if world:
        monkeypatch.setenv("WORLD_SIZE", world)
    distributed.spread()
    assert bool(called) == begun
    if begun:
        (command,) = called
        assert command[0] == command[1] == sys.executable
        assert "--nproc-per-node=4" in command
        assert command[-6:] == ["-m", "muybridge", "train", "flow-small", "--out", "run"]


WAITING = """
import os, sys, time
from pathlib import Path
from muybridge.core import distributed
distributed.start()
Path(sys.argv[1], f"{distributed.rank()}.pid").write_text(str(os.getpid()))
time.sleep(300)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's death")
def test_what_torchrun_began_ends_when_torchrun_is_killed(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    (tmp_path / "worker.py").write_text(WAITING)
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    torchrun = subprocess.Popen([*run, tmp_path / "worker.py", tmp_path], env={**environment})
    try:
        _until(lambda: [p for p in tmp_path.glob("*.pid") if p.read_text()][1:] != [])
        workers = [int(path.read_text()) for path in tmp_path.glob("*.pid")]
        assert len(workers) == 2 and all(map(_lives, workers))
    finally:
        torchrun.kill()
        torchrun.wait()
    _until(lambda: not any(map(_lives, workers)))


def _lives(process: int) -> bool:
    """Whether it runs; one that ended and was not asked how does not."""
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def _until(done: Callable[[], bool]) -> None:
    for _ in range(600):
        if done():
            return
        time.sleep(0.1)
    raise AssertionError("a minute has gone by")
