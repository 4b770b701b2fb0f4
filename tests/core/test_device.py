"""What the device is set to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from muybridge.core import device


@pytest.fixture
def as_before() -> Iterator[None]:
    threads, products = torch.get_num_threads(), torch.get_float32_matmul_precision()
    convolutions = torch.backends.cudnn.allow_tf32
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(products)
    torch.backends.cudnn.allow_tf32 = convolutions


@pytest.mark.usefixtures("as_before")
def test_float32_is_rounded_only_where_that_is_asked_for() -> None:
    device.settle(1, rounded=True)
    assert torch.get_float32_matmul_precision() == "high"
    assert torch.backends.cudnn.allow_tf32
    device.settle(2, rounded=False)
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.backends.cudnn.allow_tf32
    assert torch.get_num_threads() == 2


PEAK = """
import mmap, sys
from muybridge.core import device
import torch
torch.zeros(1)
before = device.peak_memory()
with open(sys.argv[1], "rb") as stream:
    seen = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    total = sum(seen[::4096])
looked = device.peak_memory()
torch.ones(2**25)
print(looked - before, device.peak_memory() - looked)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not tell them apart")
def test_files_that_are_looked_into_are_no_memory_in_use(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(2**27))
    command = [sys.executable, "-c", PEAK, str(tmp_path / "large")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    looked, used = (int(one) for one in done.stdout.split())
    assert looked < 2**24
    assert used == pytest.approx(2**27, rel=0.2)
