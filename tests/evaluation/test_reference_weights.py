"""Weights are believed by their hash alone, and loaded strictly.

Random weights of the published names and shapes are saved in the published formats, and read the
way that the published ones are, with their own hashes in place of those.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from muybridge.core import files
from muybridge.core.errors import MuybridgeError
from muybridge.evaluation import reference_weights
from muybridge.evaluation.reference_weights import Loaded, load
from muybridge.evaluation.references import PUBLISHED, File, Missing, Reference, cache


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache but an empty one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("MUYBRIDGE_WEIGHTS", "TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)


class Small(nn.Module):
    """As a published network, in little."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Linear(4, 2)

    def forward(self, x: Tensor, scaled: bool = False) -> Tensor:
        x = self.norm(self.first(x)).mean((2, 3))
        return self.second(x * 2 if scaled else x)


class Renamed(nn.Module):
    """The same under other names; with a fault, if asked for."""

    def __init__(self, fault: float = 1.0) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 4, 1)
        self.b = nn.BatchNorm2d(4)
        self.c = nn.Linear(4, 2)
        self.fault = fault

    def forward(self, x: Tensor, scaled: bool = False) -> Tensor:
        x = self.b(self.a(x)).mean((2, 3)) * self.fault
        return self.c(x * 2 if scaled else x)


def weights(make: Callable[[], nn.Module] = Small) -> dict[str, Tensor]:
    torch.manual_seed(0)
    state = make().state_dict()
    return {n: torch.randn(v.shape) if v.is_floating_point() else v for n, v in state.items()}


def entry(path: Path, **fields: Any) -> Reference:
    """A reference whose file is the one at `path`, by its own hash."""
    file = File(
        (path.name,), files.digest(path), "https://example.org", fields.pop("script", False)
    )
    return Reference("small", (file,), **({"network": Small} | fields))


def saved(path: Path, state: Mapping[str, Tensor]) -> Path:
    torch.save(dict(state), path)
    return path


def loaded(reference: Reference, where: Path | None = None) -> Loaded:
    found = load(reference, where)
    assert isinstance(found, Loaded), found
    return found


def same(network: nn.Module, state: Mapping[str, Tensor]) -> bool:
    found = network.state_dict()
    return all(torch.equal(found[n], v) for n, v in state.items() if v.is_floating_point())


def test_weights_are_read_and_the_network_is_ready(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pth", weights())
    found = loaded(entry(path), tmp_path)
    assert same(found.network, weights())
    assert not found.network.training
    assert not any(p.requires_grad or p.is_meta for p in found.network.parameters())
    assert not any(b.is_meta for b in found.network.buffers())
    assert found.facts == {"weights": "net.pth", "weights_sha256": files.digest(path)}


def test_one_flipped_byte_is_refused_before_it_is_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "net.pth", weights())
    reference, content = entry(path), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was read")

    for reader in (torch, torch.jit):
        monkeypatch.setattr(reader, "load", never)
    for where in (path, tmp_path):
        with pytest.raises(MuybridgeError) as caught:
            load(reference, where)
        assert hashlib.sha256(content).hexdigest() in caught.value.message
        assert reference.files[0].sha256 in caught.value.message
    assert not cache().exists()


def test_a_wrong_file_in_one_place_does_not_hide_the_right_one_in_another(tmp_path: Path) -> None:
    right = saved(tmp_path / "net.pth", weights())
    reference = entry(right)
    cache().mkdir(parents=True)
    (cache() / "net.pth").write_bytes(b"of another network")
    checkpoints = tmp_path / "cache/torch/hub/checkpoints"
    checkpoints.mkdir(parents=True)
    with pytest.raises(MuybridgeError, match="is not the published"):
        load(reference)
    right.rename(checkpoints / "net.pth")
    assert same(loaded(reference).network, weights())


def test_a_wrong_file_that_was_asked_for_is_not_passed_over(tmp_path: Path) -> None:
    reference = entry(saved(tmp_path / "net.pth", weights()))
    loaded(reference, tmp_path)  # and so the cache has it
    wrong = tmp_path / "mine.pth"
    wrong.write_bytes(b"of another network")
    with pytest.raises(MuybridgeError, match=r"mine\.pth is not the published net\.pth"):
        load(reference, wrong)


def test_what_is_absent_is_told_with_hash_and_place(tmp_path: Path) -> None:
    for reference in PUBLISHED.values():
        found = load(reference)
        assert isinstance(found, Missing)
        file = reference.files[0]
        assert found.name == reference.name
        assert file.names[0] in found.why
        assert file.source in found.hint
        if file.sha256:
            assert file.sha256 in found.hint
            assert str(cache()) in found.hint


def test_without_a_published_hash_no_file_is_believed(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pth", weights())
    reference = entry(path)
    unknown = dataclasses.replace(reference.files[0], sha256="")
    found = load(dataclasses.replace(reference, files=(unknown,)), path)
    assert isinstance(found, Missing)
    assert "no hash" in found.why


class Code:
    """A pickle of this makes a folder when it is read as pickles are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_code_in_a_pickle_is_not_run_even_under_the_right_hash(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save({"first.weight": Code(tmp_path / "ran")}, path)
    with pytest.raises(MuybridgeError, match="cannot be read as weights alone"):
        load(entry(path), path)
    assert not (tmp_path / "ran").exists()


def test_other_contents_than_tensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    for content in ([torch.zeros(1)], {"first.weight": 3}, {"state": weights()}):
        torch.save(content, path)
        with pytest.raises(MuybridgeError, match="not a table of tensors"):
            load(entry(path), path)
    path.write_bytes(b"no archive of any kind")
    with pytest.raises(MuybridgeError, match="cannot be read"):
        load(entry(path), path)


def test_parameters_that_do_not_fit_are_named(tmp_path: Path) -> None:
    def refused(state: Mapping[str, Tensor]) -> str:
        path = saved(tmp_path / "net.pth", state)
        with pytest.raises(MuybridgeError) as caught:
            load(entry(path), path)
        return caught.value.message

    state = weights()
    message = refused(state | {"second.weight": torch.zeros(2, 5)})
    assert "second.weight is (2, 5) where (2, 4) is wanted" in message
    assert "third.bias is not of this network" in refused(state | {"third.bias": torch.zeros(1)})
    del state["norm.running_var"]
    assert "norm.running_var is absent" in refused(state)


def test_batch_norms_counters_may_be_absent(tmp_path: Path) -> None:
    state = {n: v for n, v in weights().items() if "num_batches_tracked" not in n}
    path = saved(tmp_path / "net.pth", state)
    assert same(loaded(entry(path), path).network, state)


def test_a_pickle_is_read_once_and_kept_as_safetensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "net.pth", weights())
    reference = entry(path)
    loaded(reference, path)
    kept = next(cache().glob("*.safetensors"))
    with safe_open(kept, "pt") as archive:
        assert archive.metadata()["source_sha256"] == reference.files[0].sha256
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was read again"))
    assert same(loaded(reference, path).network, weights())
    path.unlink()
    assert same(loaded(reference).network, weights())
    # And it can be carried to another machine without the pickle.
    elsewhere = tmp_path / "elsewhere"
    cache().rename(elsewhere)
    assert isinstance(load(reference), Missing)
    assert same(loaded(reference, elsewhere).network, weights())


def test_what_was_kept_is_not_believed_once_it_changed(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pth", weights())
    reference = entry(path)
    loaded(reference, path)
    kept = next(cache().glob("*.safetensors"))
    save_file({n: v + 1 for n, v in weights().items()}, kept)
    assert same(loaded(reference, path).network, weights())  # made again from the source
    save_file({n: v + 1 for n, v in weights().items()}, kept)
    path.unlink()
    assert isinstance(load(reference), Missing)


def test_a_cache_that_cannot_be_written_does_not_stop_it(tmp_path: Path) -> None:
    path = saved(tmp_path / "net.pth", weights())
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert same(loaded(entry(path), path).network, weights())


def test_safetensors_and_numpy_archives_are_read_as_they_are(tmp_path: Path) -> None:
    save_file(weights(), tmp_path / "net.safetensors")
    np.savez(tmp_path / "net.npz", **{n: v.numpy() for n, v in weights().items()})
    for name in ("net.safetensors", "net.npz"):
        assert same(loaded(entry(tmp_path / name), tmp_path / name).network, weights())
    assert not cache().exists()


def test_objects_in_a_numpy_archive_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    np.savez(path, first=np.array([Code(tmp_path / "ran")], dtype=object))
    with pytest.raises(MuybridgeError, match="cannot be read as weights alone"):
        load(entry(path), path)
    assert not (tmp_path / "ran").exists()


def both(archive: Any, network: nn.Module) -> tuple[Tensor, Tensor]:
    x = torch.ones(2, 3, 4, 4)
    return archive(x, scaled=True), network(x, scaled=True)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_an_archive_is_held_against_what_it_computes(tmp_path: Path) -> None:
    def script(module: nn.Module, state: dict[str, Tensor]) -> Reference:
        module.load_state_dict(dict(zip(module.state_dict(), state.values(), strict=True)))
        torch.jit.script(module.eval()).save(str(tmp_path / "net.pt"))
        return entry(tmp_path / "net.pt", script=True, outputs=both)

    state = weights() | {"norm.running_var": torch.rand(4) + 0.5}
    for module in (Small(), Renamed()):
        assert same(loaded(script(module, state), tmp_path).network, state)
    with pytest.raises(MuybridgeError, match=r"differ by .* in outputs"):
        load(script(Renamed(fault=1.1), state), tmp_path)
    with pytest.raises(MuybridgeError, match="do not fit"):
        load(
            script(nn.Sequential(nn.Linear(3, 4)), {"0": torch.zeros(4, 3), "1": torch.zeros(4)}),
            tmp_path,
        )


def test_a_published_hash_is_asked_of_the_published_networks(tmp_path: Path) -> None:
    name = PUBLISHED["inception"].files[0].names[0]
    saved(tmp_path / name, weights())
    with pytest.raises(MuybridgeError, match="6726825d0af5f729"):
        reference_weights.load(PUBLISHED["inception"], tmp_path)
