"""Finds footage, names it, and keeps what was done with it between calls."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..core import device, files, progress, video
from ..core.errors import DataError

_LONGEST_NAME = 60


def scan(footage: Path, leave: Sequence[Path] = ()) -> list[Path]:
    """Video files under a folder, sorted; links are followed, in circles too, each folder once.

    Args:
        footage: the folder.
        leave: folders below it that are passed over; so are datasets.

    Raises:
        DataError: the folder is absent or holds no video.
    """
    if not footage.is_dir():
        raise DataError(
            f"footage {str(footage)!r} is not a folder", "give the folder that holds the videos"
        )
    left = {path.resolve() for path in leave}
    found: list[Path] = []
    others: Counter[str] = Counter()
    seen: set[tuple[int, int]] = set()
    for name, below, names in os.walk(footage, followlinks=True):
        folder, below[:] = Path(name), sorted(below)
        about = folder.stat()
        ours = folder != footage and (folder / "dataset.json").is_file()
        if (about.st_dev, about.st_ino) in seen or ours or folder.resolve() in left:
            below.clear()
            continue
        seen.add((about.st_dev, about.st_ino))
        for path in sorted(folder / n for n in names):
            # A link to nowhere is footage that is missing, and is to be told so.
            is_video = path.suffix.lower() in video.SUFFIXES and not path.name.startswith("._")
            if is_video and (path.is_file() or not path.exists()):
                found.append(path)
            else:
                others[path.suffix.lower() or "no suffix"] += 1
    if not found:
        seen_there = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(4))
        raise DataError(
            f"{footage} holds no video ({seen_there or 'it is empty'})",
            "videos are files named .mp4 .mov .mkv .webm .avi .mpg .ts .gif and the like; "
            "for footage to try things on: muybridge stage --out footage --count 400",
        )
    return sorted(found)


def readable(path: Path, footage: Path) -> str:
    """A file's name from the footage folder, as text whatever bytes it holds, no two alike."""
    name = path.relative_to(footage).as_posix().replace("\\", "\\\\")
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def systematic(name: str, number: int) -> str:
    """The name of a stored clip: what can be kept of the footage's name, a mark that tells it from
    others, and the clip's number in it."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", name.rpartition(".")[0] or name)
    plain = plain.strip("_")[-_LONGEST_NAME:].strip("_")
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{plain or 'clip'}-{mark}-{number:03d}.mp4"


def records(
    found: Sequence[Path], names: Sequence[str], boundaries: Sequence[Sequence[float]]
) -> list[dict[str, Any]]:
    """What the reading stage is given of each file; with a `reason` if not even its bytes can be
    read."""

    def one(path: Path) -> dict[str, Any]:
        try:
            return {"bytes": path.stat().st_size, "digest": files.digest(path)}
        except OSError as error:
            why = error.strerror or str(error)
            return {"bytes": 0, "digest": "", "reason": f"cannot be opened: {why}"}

    with ThreadPoolExecutor(device.cores()) as pool:
        facts = list(progress.track(pool.map(one, found), "digest", len(found)))
    return [
        {"path": str(path.absolute()), "name": name, "boundaries": list(cuts), **about}
        for path, name, cuts, about in zip(found, names, boundaries, facts, strict=True)
    ]


def take_over(old: Path, new: Path, keys: Sequence[str]) -> None:
    """Links finished items of an earlier dataset into a store, so that they are not done again."""
    for key in dict.fromkeys(keys):
        if (old / key / "records.json").is_file() and not (new / key).exists():
            with files.atomic(new / key) as folder:
                folder.mkdir()
                for path in (old / key).iterdir():
                    os.link(path, folder / path.name)


def put(work: Path, out: Path) -> None:
    """Moves a finished folder to its place; what was there is gone once the new one is."""
    files.flush(work)
    old = out.with_name(f".{out.name}.{os.getpid()}.old.tmp")
    if out.exists():
        os.replace(out, old)
    os.replace(work, out)
    files.flush(out.parent, deep=False)
    files.remove(old)
