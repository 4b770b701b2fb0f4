"""A run's folder on machines that share no disk: what the others need of it is sent to them."""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from . import distributed, files
from .errors import MuybridgeError

MARK = ".seen"
_FOLDERS = ("checkpoints", "tokenizer", "perceptual", "own")
_ENDINGS = (".yaml", ".json", ".safetensors", ".py")
_CHUNK = 2**26


def mirrored(folder: Path) -> Path:
    """Where this process finds what rank 0 has in `folder`: there, where they see the same disk;
    else in a copy among the temporary files of its machine. Every rank must ask for it.

    A folder that this gave is brought up to date, and stays where it is. Only what training goes on
    from is sent: settings and weights; log, previews and samples are rank 0's alone.

    Raises:
        MuybridgeError: the place for the copy belongs to another user.
    """
    if distributed.world() == 1:
        return folder
    token = f"{distributed.same(random.random())!r}"
    if distributed.rank() == 0:
        files.write_text(folder / MARK, token)
    distributed.wait()
    seen = (folder / MARK).is_file() and (folder / MARK).read_text(encoding="utf-8") == token
    lacking = torch.tensor([float(not seen)])
    distributed.add_up([lacking])
    place = folder if seen else _place_of(folder)
    if float(lacking):
        # One process of a machine writes for all of them there.
        _send(folder if distributed.rank() == 0 else place, not seen and distributed.leads())
    distributed.wait()
    if distributed.rank() == 0:
        files.remove(folder / MARK)
    return place


def _place_of(folder: Path) -> Path:
    home = Path(tempfile.gettempdir()) / f"muybridge-{os.getuid()}"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if home.stat().st_uid != os.getuid():
        raise MuybridgeError(
            f"{home}, where the run is to be kept on this machine, belongs to somebody else",
            "set TMPDIR to a folder of your own",
        )
    within = folder.absolute()
    return within if within.is_relative_to(home) else home / files.digest_of(str(within))[:16]


def _send(folder: Path, wanted: bool) -> None:
    """Broadcasts rank 0's files; `wanted`, they are written, and others of their kind removed."""
    sends = distributed.rank() == 0
    listed = [str(path.relative_to(folder)) for path in _kept(folder)] if sends else []
    names = json.loads(b"".join(_through([json.dumps(listed).encode()] if sends else [])))
    if wanted:
        _forget(folder, set(names))
    for name in names:
        chunks = _through(_read(folder / name) if sends else [])
        if not wanted:
            for _ in chunks:
                pass
            continue
        with files.atomic(folder / name) as path, path.open("wb") as stream:
            for chunk in chunks:
                stream.write(chunk)


def _kept(folder: Path) -> list[Path]:
    """Files to be sent; a recipe comes last of all, since it is what makes a folder a run."""
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix in _ENDINGS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and (path.parent == folder or path.relative_to(folder).parts[0] in _FOLDERS)
    ]
    return sorted(found, key=lambda path: path.suffix == ".yaml")


def _forget(folder: Path, names: set[str]) -> None:
    for path in _kept(folder) if folder.is_dir() else ():
        if str(path.relative_to(folder)) not in names:
            path.unlink()
    for place in folder.glob("**/checkpoints/*"):
        if place.is_dir() and not any(place.iterdir()):
            shutil.rmtree(place)


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def _through(chunks: Iterator[bytes] | list[bytes]) -> Iterator[bytes]:
    """Rank 0's chunks, on every rank."""
    mine = iter(chunks)
    while True:
        chunk = next(mine, b"")
        length = int(distributed.same(float(len(chunk))))
        if not length:
            return
        held: Tensor = torch.empty(length, dtype=torch.uint8)
        if distributed.rank() == 0:
            held = torch.frombuffer(bytearray(chunk), dtype=torch.uint8)
        dist.broadcast(held, 0)
        yield held.numpy().tobytes()
