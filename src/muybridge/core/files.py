"""Files that are whole or absent: atomic writes, digests, locks."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .errors import MuybridgeError

_FORBIDDEN = (
    errno.EROFS, errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR, errno.EISDIR,
    errno.ENOTEMPTY,
)  # fmt: skip
# Names that `atomic` gives: the thing's own, the writer's process, and "old" for what it replaces.
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?P<process>\d+)(?P<old>\.old)?\.tmp")


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns "no space left" and "read-only" into errors that name the disk and the way out."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise MuybridgeError(
                f"the disk is full: {path} could not be written",
                "make room or give an --out on another disk, then run the same command again; "
                "nothing already saved is lost",
            ) from error
        if error.errno in _FORBIDDEN:
            raise MuybridgeError(
                f"{path} cannot be written: {error.strerror}", "give an --out that you may write to"
            ) from error
        raise


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; on leaving without an error it becomes `path`.

    The body may create a file or a folder there. A reader sees the old content, or all of the new:
    the content is flushed to disk before the rename, and the rename is atomic. An existing folder
    at `path` is moved away first, so a folder is briefly absent but never half-written.
    """
    path = Path(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        remove(temporary)
        try:
            yield temporary
            flush(temporary)
            if path.is_dir() and temporary.is_dir():
                old = path.with_name(f".{path.name}.{os.getpid()}.old.tmp")
                os.replace(path, old)
                try:
                    os.replace(temporary, path)
                except BaseException:
                    os.replace(old, path)
                    raise
                remove(old)
            else:
                os.replace(temporary, path)
            flush(path.parent, deep=False)
        except BaseException:
            remove(temporary)
            raise


def flush(path: Path, deep: bool = True) -> None:
    """Forces a file, or a folder and (when `deep`) all in it, to disk."""
    if path.is_dir() and deep:
        for child in path.iterdir():
            flush(child)
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Removes a file or a folder; absent is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sweep(folder: Path, name: str = "") -> None:
    """Removes what a killed process left half-written in `folder`, of `name` alone if it is given;
    other files, and what a living process is writing, stay. A folder that was moved away for one
    that never came is put back."""
    if not folder.is_dir():
        return
    for path in sorted(folder.glob(".*.tmp")):
        found = _TEMPORARY.fullmatch(path.name)
        if found is None or name not in ("", found["name"]) or _alive(int(found["process"])):
            continue
        if found["old"] and not (folder / found["name"]).exists():
            os.replace(path, folder / found["name"])
        else:
            remove(path)


def _alive(process: int) -> bool:
    """Whether another process of this number runs here."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Writes a UTF-8 file atomically."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Writes JSON atomically, indented, with a newline at its end."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, what: str = "file") -> Any:
    """Reads JSON.

    Raises:
        MuybridgeError: absent, or not JSON; `what` names the file in the message.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MuybridgeError(f"{what} {path} does not exist", "check the path") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise MuybridgeError(
            f"{what} {path} is not JSON ({error})", "it is damaged; remove it or restore a copy"
        ) from error


def digest(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of(*parts: object) -> str:
    """SHA-256 over the JSON of `parts`: the same for the same values, on any machine."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def need_room(folder: Path, needed: int, what: str) -> None:
    """Raises before the work begins when the disk under `folder` has fewer than `needed` bytes."""
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise MuybridgeError(
            f"{what} needs about {needed / 2**30:.1f} GiB, but only {free / 2**30:.1f} GiB is free "
            f"under {folder}",
            "make room or give an --out on another disk",
        )


@contextlib.contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Keeps a second process out of `folder`. The lock ends with the process, however it ends."""
    import fcntl

    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / ".lock").open("a+")
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise MuybridgeError(
                f"another process is working in {what} {folder}",
                "wait for it, stop it, or give another --out",
            ) from error
        yield


def each_line(path: Path, use: Callable[[dict[str, Any]], None]) -> int:
    """Calls `use` on every whole line of a JSONL file; returns the length in bytes of those lines.

    A last line without a newline is what a killed writer left; it is passed over.
    """
    whole = 0
    if not path.exists():
        return whole
    with path.open("rb") as stream:
        for line in stream:
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            use(json.loads(line))
    return whole
