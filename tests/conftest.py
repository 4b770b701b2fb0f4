"""What several tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: others may use the machine. No stored examples: the same ones on every machine.
settings.register_profile("muybridge", deadline=None, derandomize=True, database=None)
settings.load_profile("muybridge")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real footage and clips, beside the checkout."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("../shared is absent")
    return folder


@pytest.fixture(scope="session")
def environment() -> Mapping[str, str]:
    """For a child process: it finds the same packages and takes one core."""
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "OMP_NUM_THREADS": "1",
    }
