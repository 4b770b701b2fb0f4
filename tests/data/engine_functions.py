"""Functions that a guarded child runs in test_engine: good, bad and worse."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

Records = list[dict[str, Any]]


def act(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> Any:
    """Does what `record["act"]` names; notes that it did in the file `settings["log"]`."""
    if "log" in settings:
        handle = os.open(settings["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, f"{record.get('number', '')} {os.getpid()}\n".encode())
        os.close(handle)
    return globals()[record["act"]](record, settings, folder)


def square(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> Records:
    """Two results and two files, slow enough to be killed between them."""
    number = record["number"]
    (folder / "first.txt").write_text(f"{number}")
    time.sleep(settings.get("pause", 0))
    (folder / "second.txt").write_text(f"{number**2}")
    return [{"name": record.get("name", ""), "square": number**2}, {"more": [number, None, 0.5]}]


def nothing(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> Records:
    return []


def where(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> Records:
    variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return [
        {
            "process": os.getpid(), "group": os.getpgrp(), "folder": os.getcwd(),
            "variables": [os.environ[name] for name in variables], "torch": "torch" in sys.modules,
        }
    ]  # fmt: skip


def threads_of_cv2(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> Records:
    import cv2

    return [{"threads": cv2.getNumThreads()}]


# --- that end the process ------------------------------------------------------------------------


def segfault(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> None:
    (folder / "half").write_text("half")
    ctypes.string_at(0)


def leave(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> None:
    os._exit(3)


def leave_well(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> None:
    os._exit(0)


def abort(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> None:
    os.write(2, b"earlier\nfree(): invalid pointer\n")
    os.abort()


def bad_alloc(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> None:
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
    os.abort()


def killed(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def orphan(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> None:
    """Crashes while a fork of it holds its pipes."""
    if fork := os.fork():
        Path(record["note"]).write_text(str(fork))
        os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(1000)


def crash_once(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> Records:
    if not Path(record["note"]).exists():
        Path(record["note"]).touch()
        (folder / "half").write_text("half")
        os.abort()
    return [{"well": True}]


def close_all(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> None:
    os.closerange(0, 100)
    time.sleep(1000)


# --- that hang -----------------------------------------------------------------------------------


def hang(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> None:
    while True:
        pass


def hang_in_c(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> None:
    """Never gives back the interpreter's lock."""
    ctypes.PyDLL(None).sleep(1000)


def hang_deaf(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    Path(record["note"]).write_text(f"{os.getpid()} {child.pid}")
    child.wait()


# --- that raise or answer amiss ------------------------------------------------------------------


def fail(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> None:
    (folder / "half").write_text("half")
    raise ValueError("no good\nat all")


def leave_politely(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> None:
    sys.exit("bye")


def no_room(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> None:
    raise OSError(28, "No space left on device")


def no_list(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> Any:
    return {"not": "a list"}


def no_dicts(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> Any:
    return [{}, 3]


def no_json(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> Any:
    return [{"a": {1, 2}}]


def no_number(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> Any:
    return [{"a": float("nan")}]


def noisy(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> Records:
    """Says more than a pipe holds, also what looks like an answer, and reads its input."""
    line = b'{"records": [{"forged": true}]}\n'
    for _ in range(5000):
        os.write(1, line)
        os.write(2, line)
    print("said", flush=True)
    return [{"read": sys.stdin.read(), "honest": True}]


def big(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> Records:
    return [{"text": record["text"] * 2}]


# --- that take memory ----------------------------------------------------------------------------

held: list[Any] = []


def swallow(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> Records:
    return [{"size": len(bytearray(record["bytes_wanted"]))}]


def leak(record: dict[str, Any], settings: dict[str, Any], folder: Path) -> Records:
    """Holds what it took: alone it fits into the child, but not twice."""
    held.append(bytearray(record["bytes_wanted"]))
    return [{"held": len(held)}]
