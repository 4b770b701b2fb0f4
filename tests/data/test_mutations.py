"""Real files damaged at random: each comes to one fate, in time, and harms nothing."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMALL = ("carphone_distorted.mp4", "asl_bird.mkv", "h265.mp4", "rotated_90.mov", "av1.mkv")
COUNT = 40


@pytest.fixture
def mutations(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark, which does the same to more and larger files."""
    path = BENCHMARKS / "mutations.py"
    if not path.is_file():
        pytest.skip("benchmarks are not part of this copy")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delitem(sys.modules, "common", raising=False)
    spec = importlib.util.spec_from_file_location("mutations", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_damage_costs_no_more_than_the_file(
    mutations: ModuleType, shared: Path, tmp_path: Path
) -> None:
    sources = [shared / "footage/real" / name for name in SMALL]
    found = list(mutations.read_all(sources, COUNT, 7, tmp_path))
    assert len(found) == COUNT
    assert len({row["ways"] for row in found}) > 20
    for row in found:
        assert row["fate"] != "crashed: an exception of ours", row
        assert row["fate"] == "kept" or row["reason"]
        assert row["touching"] is not False, row
        assert row["seconds"] < row["deadline"], row
    fates = {row["fate"] for row in found}
    assert {"kept", "cannot be opened"} < fates


def test_damage_is_the_same_for_the_same_seed(mutations: ModuleType) -> None:
    content = bytes(range(256)) * 40
    first = [mutations.damaged(content, (1, n)) for n in range(50)]
    assert first == [mutations.damaged(content, (1, n)) for n in range(50)]
    assert sum(made != content for made, _ in first) > 45
    assert len(set(first)) > 45
