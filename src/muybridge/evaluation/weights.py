"""Networks of the evaluation's own, trained once and kept: weights with their hash, and facts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..core import files
from ..core.errors import MuybridgeError
from ..core.progress import say
from ..data.loader import Loader

FORMAT = 1


def key_of(loaders: Sequence[Loader], settings: object, modules: Sequence[ModuleType]) -> str:
    """Names a training: its data as they are cut, its settings, and the code that does it."""
    cuts = [
        {"dataset": one.dataset.facts["digest"], "split": one.split, "seed": one.seed}
        | one.config.model_dump(include={"frames", "fps", "size", "invented"})
        for one in loaders
    ]
    code = [files.digest(Path(str(module.__file__))) for module in modules]
    return files.digest_of(FORMAT, cuts, settings, code)


def digest_of(network: nn.Module) -> str:
    """SHA-256 over the names, shapes and bytes of a network's weights."""
    hashed = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        plain = tensor.detach().cpu().contiguous()
        hashed.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        hashed.update(plain.numpy().tobytes())
    return hashed.hexdigest()


def keep(folder: Path, network: nn.Module, facts: Mapping[str, Any]) -> None:
    """Writes `weights.safetensors` and `facts.json`; the folder is whole or absent."""
    with files.atomic(folder) as temporary:
        temporary.mkdir()
        plain = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
        save_file(plain, temporary / "weights.safetensors")
        told = {"format": FORMAT, **facts}
        told["sha256"] = files.digest(temporary / "weights.safetensors")
        files.write_json(temporary / "facts.json", told)


def kept(folder: Path, what: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Weights and facts that `keep` wrote; None where there are none, or, with a word, where they
    are damaged."""
    if not folder.exists():
        return None
    try:
        facts = files.read_json(folder / "facts.json", what)
        path = folder / "weights.safetensors"
        if facts.get("format") == FORMAT and files.digest(path) == facts.get("sha256"):
            return load_file(path), facts
    except (MuybridgeError, OSError, AttributeError):
        pass
    say(f"{what} in {folder} is damaged: it is trained again")
    return None
