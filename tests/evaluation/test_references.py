"""Where weights are looked for."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from muybridge.core.errors import MuybridgeError
from muybridge.evaluation.references import PUBLISHED, File, cache, find

FILE = File(("net-1234.pth", "other-name.pth"), "0" * 64, "https://example.org/net-1234.pth")


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache but an empty one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("MUYBRIDGE_WEIGHTS", "TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"weights")
    return path


def test_published_hashes_are_whole_and_begin_as_the_file_names_say() -> None:
    for reference in PUBLISHED.values():
        for file in reference.files:
            assert re.fullmatch("[0-9a-f]{64}|", file.sha256)
            told = re.search(r"-([0-9a-f]{8})\.pth$", file.names[0])
            assert told is None or file.sha256.startswith(told[1])
            assert file.names[0] in file.source or file.names[0] in file.source.split(",")[0]
    # No hash of TGAN's files is published that we know of; all others are known.
    without = {r.name for r in PUBLISHED.values() if not all(f.sha256 for f in r.files)}
    assert without == {"c3d"}


def test_nothing_is_found_where_nothing_is() -> None:
    assert find(FILE) == []


def test_all_places_are_looked_in_and_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "cache/huggingface/hub/models--who--what/snapshots/abc/deep"
    hugging = put(snapshot / "net-1234.pth")
    hub = put(tmp_path / "cache/torch/hub/checkpoints/other-name.pth")
    own = put(cache() / "net-1234.pth")
    told = put(tmp_path / "told/net-1234.pth")
    monkeypatch.setenv("MUYBRIDGE_WEIGHTS", str(told.parent))
    given = put(tmp_path / "given/other-name.pth")
    assert find(FILE) == [told, own, hub, hugging]
    assert find(FILE, given.parent) == [given, told, own, hub, hugging]
    monkeypatch.setenv("MUYBRIDGE_WEIGHTS", str(told))
    assert find(FILE, given)[:2] == [given, told]


def test_a_file_that_is_named_may_be_called_anything(tmp_path: Path) -> None:
    odd = put(tmp_path / "weights.bin")
    assert find(FILE, odd) == [odd]
    assert find(FILE, tmp_path) == []
    with pytest.raises(MuybridgeError, match=r"absent\.pth do not exist"):
        find(FILE, tmp_path / "absent.pth")


def test_a_file_of_another_name_is_not_taken_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUYBRIDGE_WEIGHTS", str(put(tmp_path / "for-another-network.pth")))
    assert find(FILE) == []


def test_a_name_on_the_hub_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(repository: str, name: str) -> str:
        asked.append((repository, name))
        return str(put(tmp_path / name))

    monkeypatch.setitem(
        sys.modules,
        "huggingface_hub",
        SimpleNamespace(hf_hub_download=fetch),  # type: ignore[arg-type]
    )
    assert find(FILE, "hf:who/what/deep/odd.pth")[0] == tmp_path / "deep/odd.pth"
    assert find(FILE, "hf:who/what")[0] == tmp_path / "net-1234.pth"
    assert asked == [("who/what", "deep/odd.pth"), ("who/what", "net-1234.pth")]


def test_the_hub_out_of_reach_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: str) -> str:
        raise OSError("offline mode is enabled")

    monkeypatch.setitem(
        sys.modules,
        "huggingface_hub",
        SimpleNamespace(hf_hub_download=fail),  # type: ignore[arg-type]
    )
    with pytest.raises(MuybridgeError, match="offline mode is enabled") as caught:
        find(FILE, "hf:who/what")
    assert "net-1234.pth" in caught.value.hint
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MuybridgeError, match="huggingface_hub, which is not installed"):
        find(FILE, "hf:who/what")
