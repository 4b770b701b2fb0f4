"""A dataset as WebDataset shards: tar files to be read in order, from disk or over a network."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..core import files, progress
from ..core.errors import DataError, nearest
from .splits import NAMES
from .store import Clip, Dataset, record
from .videos import whole

FORMAT = 1

INDEX = "shards.json"


def export(
    dataset: Dataset, out: Path, shard_mib: float = 256, splits: Sequence[str] = NAMES
) -> dict[str, Any]:
    """Writes tar shards that the `webdataset` library reads, and `shards.json`, which lists them.

    A shard `train-000000.tar` holds for each clip `KEY.mp4` and `KEY.json`: what the dataset knows
    of it. The same dataset gives the same bytes.

    Args:
        dataset: what to export.
        out: the folder, made anew; it appears when it is whole.
        shard_mib: the most that a shard takes, in MiB; a clip that is larger has one of its own.
        splits: which.

    Returns:
        What `shards.json` says: the dataset's facts that training needs, and each shard's file,
        split, count of clips, bytes and SHA-256.

    Raises:
        DataError: a split that is none, a video that is damaged or missing, or `out` is in use.
        MuybridgeError: the disk is full, or `out` cannot be written.
    """
    for name in splits:
        if name not in NAMES:
            raise DataError(
                f"there is no split {name!r}", f"try {nearest(name, NAMES) or ','.join(NAMES)}"
            )
    _check_out(out, dataset.folder)
    chosen = [clip for clip in dataset.clips if clip.split in splits]
    paths = [dataset.folder / clip.file for clip in chosen]
    total = sum(path.stat().st_size for path in paths if path.is_file())
    files.need_room(out, total, f"the export of {dataset.folder}")
    files.sweep(out.parent, out.name)
    with files.atomic(out) as folder, progress.bar("export", len(chosen)) as advance:
        folder.mkdir()
        shards = []
        for split in (name for name in NAMES if name in splits):
            for shard in _shards(dataset, split, int(shard_mib * 2**20), folder):
                shards.append(shard)
                advance(by=shard["clips"])
        names = ("fps", "size", "sizes", "labels", "mean", "std", "digest")
        facts = {name: dataset.facts[name] for name in names if name in dataset.facts}
        made = {"format": FORMAT, **facts, "shards": shards}
        files.write_json(folder / INDEX, made)
    return made


def _check_out(out: Path, dataset: Path) -> None:
    inside = [dataset.resolve(), *dataset.resolve().parents]
    ours = out.is_dir() and (not any(out.iterdir()) or (out / INDEX).is_file())
    if out.resolve() in inside or (out.exists() and not ours):
        raise DataError(f"--out {out} exists and is not an export", "give a new folder")


def _shards(dataset: Dataset, split: str, most: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Writes one split; gives what is known of each of its shards as it is done."""
    clips, number = dataset.of(split), 0
    first = 0
    while first < len(clips):
        path = folder / f"{split}-{number:06d}.tar"
        count = 0
        # Plain tar: its longest name is far under a hundred letters.
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as shard:
            for place in range(first, len(clips)):
                members = _members(dataset, clips[place], place)
                # A header and the content, in blocks of 512 bytes; the end fills up a record.
                size = sum(512 + -(-len(content) // 512) * 512 for _, content in members)
                if count and shard.offset + size + tarfile.RECORDSIZE > most:
                    break
                for name, content in members:
                    _add(shard, name, content)
                count += 1
        yield {
            "file": path.name, "split": split, "clips": count,
            "bytes": path.stat().st_size, "sha256": files.digest(path),
        }  # fmt: skip
        first, number = first + count, number + 1


def _members(dataset: Dataset, clip: Clip, place: int) -> list[tuple[str, bytes]]:
    """A clip's files. What comes before the first dot of a name is the key that joins them."""
    key = f"{clip.split}-{place:08d}"
    known = json.dumps(record(clip, dataset.fps), sort_keys=True)
    return [(f"{key}.mp4", whole(dataset.folder, clip)), (f"{key}.json", known.encode())]


def _add(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    """A member with no trace of when and by whom it was written."""
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(content), 0o644, 0
    shard.addfile(member, io.BytesIO(content))
