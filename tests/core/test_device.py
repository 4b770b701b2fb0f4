"""What the device is set to."""

from __future__ import annotations

from collections.abc import Iterator

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
