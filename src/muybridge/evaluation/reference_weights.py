"""Reads the weights of reference networks: the published ones, or none.

A file is believed for its SHA-256 alone: the hash is checked before anything else is read of it.
Weights that were published as pickles or TorchScript are then read once, by torch's loaders that
run no code of theirs, and kept as safetensors in the cache. What is kept has its own hash recorded
beside it, and the source's in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_safetensors
from safetensors.torch import save_file
from torch import Tensor, nn

from ..core import files
from ..core.errors import MuybridgeError
from .references import File, Missing, Reference, Where, cache, find, places

_COUNTER = "num_batches_tracked"  # of batch norm; never read in eval mode, and not always published


@dataclass(frozen=True)
class Loaded:
    """A reference whose weights are there.

    Attributes:
        reference: which.
        network: in eval mode, float32, on the CPU.
        facts: "weights" (files) and "weights_sha256" (whole), for a manifest.
    """

    reference: Reference
    network: nn.Module
    facts: Mapping[str, str]


def load(reference: Reference, where: Where = None) -> Loaded | Missing:
    """Reads a reference's weights.

    Returns:
        The network and facts for a manifest, or what is missing.

    Raises:
        MuybridgeError: a file is there but is not the published one (both hashes are told), cannot
            be read, or holds other parameters than the network's.
    """
    weights: dict[str, Tensor] = {}
    _check_named(reference, where)
    for file in reference.files:
        found = _weights(reference, file, where)
        if found is None:
            return _missing(reference, file)
        weights |= found
    network = _network(reference, weights)
    facts = {
        "weights": " + ".join(file.names[0] for file in reference.files),
        "weights_sha256": " + ".join(file.sha256 for file in reference.files),
    }
    return Loaded(reference, network, facts)


def _check_named(reference: Reference, where: Where) -> None:
    """Refuses a file that was asked for by its path and is none of the reference's."""
    known = [file for file in reference.files if file.sha256]
    if where is None or not Path(where).is_file() or not known:
        return
    path, actual = Path(where), files.digest(Path(where))
    if actual in [file.sha256 for file in known] or path.name in [_kept(file) for file in known]:
        return
    raise _other(path, actual, next((f for f in known if path.name in f.names), known[0]))


def _other(path: Path, actual: str, file: File) -> MuybridgeError:
    return MuybridgeError(
        f"{path} is not the published {file.names[0]}: its SHA-256 is {actual}, "
        f"and should be {file.sha256}",
        f"it is damaged or another network's; fetch it again from {file.source}",
    )


def _missing(reference: Reference, file: File) -> Missing:
    name = file.names[0]
    if not file.sha256:
        why = f"no hash of {name} is published, so no file can be known to be it"
        return Missing(reference.name, why, f"it is published at {file.source}")
    return Missing(
        reference.name,
        f"the weights {name} are not on this machine",
        f"fetch {file.source} (SHA-256 {file.sha256}) and put it into {cache()}, or name its "
        "folder in MUYBRIDGE_WEIGHTS",
    )


def _weights(reference: Reference, file: File, where: Where) -> dict[str, Tensor] | None:
    """One file's tensors under our names, or None where it is absent."""
    if not file.sha256:
        return None
    for place in places(file, where):
        if kept := _converted(file, place):
            return kept
    wrong: list[tuple[Path, str]] = []
    for path in find(file, where):
        with path.open("rb") as stream:
            # The same open file is hashed and then read: it cannot be exchanged in between.
            actual = hashlib.file_digest(stream, "sha256").hexdigest()
            if actual == file.sha256:
                stream.seek(0)
                return _convert(reference, file, path, stream)
        wrong.append((path, actual))
    if wrong:
        raise _other(*wrong[0], file)
    return None


def _kept(file: File) -> str:
    """What the safetensors made of a file is called."""
    return f"{Path(file.names[0]).stem}-{file.sha256[:8]}.safetensors"


def _converted(file: File, place: Path) -> dict[str, Tensor] | None:
    """What was made of a file that has been read before, if it is as it was written."""
    path = (place.parent if place.is_file() else place) / _kept(file)
    try:
        note = files.read_json(path.with_suffix(".json"))
        content = path.read_bytes()
    except (MuybridgeError, OSError):
        return None
    told = {"source_sha256": file.sha256, "sha256": hashlib.sha256(content).hexdigest()}
    sound = isinstance(note, dict) and told.items() <= note.items()
    return read_safetensors(content) if sound else None


def _convert(reference: Reference, file: File, path: Path, stream: BinaryIO) -> dict[str, Tensor]:
    """Reads a file whose hash was right; keeps it as safetensors unless it is safe as it is."""
    try:
        published = _tensors(reference, file, stream)
    except MuybridgeError:
        raise
    except Exception as error:  # each reader raises its own, and torch's many kinds
        text = " ".join(str(error).split())
        raise MuybridgeError(
            f"{path} cannot be read as weights alone: {text[:300]}",
            "its hash is right, so the fault is here or in this version of torch: please report it",
        ) from error
    named = ((reference.rename(name), value) for name, value in published.items())
    weights = {name: value.detach().clone().contiguous() for name, value in named if name}
    if Path(file.names[0]).suffix in (".pt", ".pth"):
        source = {"source": file.names[0], "source_sha256": file.sha256}
        # A cache that cannot be written costs time, nothing else.
        target = cache() / _kept(file)
        with contextlib.suppress(MuybridgeError, SafetensorError), files.atomic(target) as new:
            save_file(weights, new, metadata=source)
            note = {"format": 1, **source, "sha256": files.digest(new)}
            files.write_json(target.with_suffix(".json"), note)
    return weights


def _tensors(reference: Reference, file: File, stream: BinaryIO) -> dict[str, Tensor]:
    """What a file holds, under the published names."""
    suffix = Path(file.names[0]).suffix
    if suffix == ".safetensors":
        return read_safetensors(stream.read())
    if suffix == ".npz":
        with np.load(stream, allow_pickle=False) as archive:
            return {name: torch.from_numpy(archive[name]) for name in archive.files}
    if file.script:
        return _scripted(reference, file, stream)
    content = torch.load(stream, map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError("it is not a table of tensors")
    return dict(content)


def _scripted(reference: Reference, file: File, stream: BinaryIO) -> dict[str, Tensor]:
    """A TorchScript archive's tensors, under our names.

    The archive can compute, so what it makes of one input is held against what our network makes
    of it with these weights: a slip in either the names or the network shows.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # others publish such archives still
        archive = torch.jit.load(stream, map_location="cpu").eval()  # type: ignore[no-untyped-call]
    found = {k: v.detach() for k, v in archive.state_dict().items() if not k.endswith(_COUNTER)}
    with torch.device("meta"):
        wanted = [n for n in reference.network().state_dict() if not n.endswith(_COUNTER)]
    if set(found) != set(wanted) and len(found) == len(wanted):
        # The same layers under other names, if they are in the same order: shapes and outputs tell.
        found = dict(zip(wanted, found.values(), strict=True))
    if reference.outputs is not None:
        with torch.no_grad():
            theirs, ours = reference.outputs(archive, _network(reference, found))
        if not torch.allclose(theirs, ours, rtol=1e-3, atol=1e-3 * float(theirs.abs().max())):
            gap = float((theirs - ours).abs().max())
            raise ValueError(f"{file.names[0]} and {reference.name} differ by {gap:.3g} in outputs")
    return found


def _network(reference: Reference, weights: Mapping[str, Tensor]) -> nn.Module:
    """The network with these weights: the same names and shapes, none more and none less."""
    with torch.device("meta"):
        network = reference.network()
    wanted = network.state_dict()
    counters = {name: torch.tensor(0) for name in wanted if name.endswith(_COUNTER)}
    given = {name: value.float() for name, value in weights.items() if name not in counters}
    kept = {name: value for name, value in wanted.items() if name not in counters}
    problems = [f"{name} is absent" for name in kept if name not in given]
    problems += [f"{name} is not of this network" for name in given if name not in kept]
    problems += [
        f"{name} is {tuple(value.shape)} where {tuple(kept[name].shape)} is wanted"
        for name, value in given.items()
        if name in kept and value.shape != kept[name].shape
    ]
    if problems:
        more = f" ({len(problems) - 1} more)" if len(problems) > 1 else ""
        raise MuybridgeError(
            f"the weights of {reference.name} do not fit: {problems[0]}{more}",
            "they are another network's",
        )
    network.load_state_dict(given | counters, strict=True, assign=True)
    return network.requires_grad_(False).eval()
