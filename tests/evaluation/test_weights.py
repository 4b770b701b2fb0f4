from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from muybridge.core import files
from muybridge.evaluation import pretext, weights


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    network = nn.BatchNorm1d(3)
    weights.keep(tmp_path / "a", network, {"told": [1, 2]})
    found = weights.kept(tmp_path / "a", "a network")
    assert found is not None
    other = nn.BatchNorm1d(3)
    nn.init.zeros_(other.weight)
    assert weights.digest_of(other) != weights.digest_of(network)
    other.load_state_dict(found[0])
    assert weights.digest_of(other) == weights.digest_of(network)
    assert found[1]["told"] == [1, 2]


def test_nothing_is_kept_where_nothing_was_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert weights.kept(tmp_path / "a", "a network") is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("how", ["bit", "cut", "absent", "facts", "format", "list"])
def test_damage_is_told_and_nothing_is_read(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights.keep(tmp_path / "a", nn.Linear(2, 2), {})
    tensors, facts = tmp_path / "a" / "weights.safetensors", tmp_path / "a" / "facts.json"
    content = bytearray(tensors.read_bytes())
    if how == "bit":
        content[-1] ^= 1
        tensors.write_bytes(content)
    elif how == "cut":
        tensors.write_bytes(content[:-3])
    elif how == "absent":
        tensors.unlink()
    elif how == "facts":
        facts.write_text("{")
    elif how == "list":
        facts.write_text("[]")
    else:
        facts.write_text(json.dumps(json.loads(facts.read_text()) | {"format": 0}))
    assert weights.kept(tmp_path / "a", "a network") is None
    assert "a network" in capsys.readouterr().err


def test_a_digest_heeds_names_values_and_shapes() -> None:
    torch.manual_seed(0)
    first = nn.Linear(2, 3)
    digests = {weights.digest_of(first), weights.digest_of(nn.Sequential(first))}
    with torch.no_grad():
        first.bias[0] += 1e-6
    assert len(digests | {weights.digest_of(first)}) == 3
    assert weights.digest_of(first) == weights.digest_of(first)


def test_a_key_heeds_data_cut_settings_and_code(
    squares: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = squares()("train")
    slower = type(loader)(loader.dataset, "train", loader.config.with_values(fps=4, frames=4))
    monkeypatch.setattr(files, "digest", lambda path: Path(path).name)
    cases = [
        ([loader], {"steps": 1}, [pretext]),
        ([slower], {"steps": 1}, [pretext]),
        ([squares(digest="two")("train")], {"steps": 1}, [pretext]),
        ([squares()("validation")], {"steps": 1}, [pretext]),
        ([loader], {"steps": 2}, [pretext]),
        ([loader], {"steps": 1}, [weights]),
    ]
    keys = [weights.key_of(*case) for case in cases]
    assert len(set(keys)) == len(keys)
    assert weights.key_of([squares()("train")], {"steps": 1}, [pretext]) == keys[0]
