"""A guarded child process, from both ends: `Guard` in the parent; `main` runs in the child.

They speak in lines of JSON: one item, one answer. The child keeps its pipes to itself, so that what
a function or a C library prints cannot be taken for an answer. It ends with its parent, also in the
middle of an item. It imports little, so that it starts quickly: numpy, av and cv2 come with the
function that needs them.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

_START = 60.0  # seconds that an interpreter may take to start on a busy machine
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl
_OUT_OF_MEMORY = ("bad_alloc", "insufficient memory", "cannot allocate memory", "out of memory")
_ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS", "OPENCV_FOR_THREADS_NUM",
    ),
    "1",
)  # fmt: skip

Place = tuple[list[str], str, int]  # what a child has of its parent: sys.path, folder, process id


class Failure(Exception):
    """Why an item failed. `inherited` if an earlier item in the same child may be to blame."""

    def __init__(self, reason: str, inherited: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.inherited = inherited


class Guard:
    """Owns one child process: starts it when it is needed and replaces it when it is broken.

    For one thread, which must outlive its use: Linux ends the child with the thread that began it.
    The child's sys.path is `paths`, or that of this process if it is None.
    """

    def __init__(self) -> None:
        self.paths: list[str] | None = None
        self.stopped = False
        self._process: subprocess.Popen[bytes] | None = None
        self._place: Place | None = None
        self._fresh = True
        self._noise = b""
        self._poll = select.poll()

    def do(self, request: dict[str, Any], seconds: float) -> list[dict[str, Any]]:
        """Runs one item in the child; see `answer` for `request`.

        Raises:
            Failure: it crashed, took more than `seconds`, raised, or ran out of memory.
            OSError: it raised because a disk is full.
        """
        line = json.dumps(request, default=os.fspath).encode() + b"\n"
        while True:
            fresh = self._make_ready()
            try:
                return self._judge(self._ask(line, seconds), request["memory"])
            except Failure as failure:
                # Memory that leaked or was overwritten earlier is no fault of this item.
                if fresh or not failure.inherited or self.stopped:
                    raise

    def stop(self) -> None:
        """Ends the child, from any thread, for good."""
        self.stopped = True
        self._kill()

    def close(self) -> None:
        """Ends the child and lets go of its pipes, from the owner's thread."""
        process, place = self._process, self._place
        self._process = None
        if process is None or place is None or place[2] != os.getpid():
            return  # none; or this is a fork of the owner, whose child lives on
        self._kill(process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)  # longer only where the system itself hangs on a disk
        for stream in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]

    def _kill(self, process: subprocess.Popen[bytes] | None = None) -> None:
        process = process or self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)

    def _judge(self, reply: dict[str, Any], memory: int) -> list[dict[str, Any]]:
        if "memory" in reply:
            self.close()
            raise Failure(f"out of memory: more than {memory / 2**30:.3g} GiB", inherited=True)
        if reply.get("errno") in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(reply["errno"], reply["raised"])
        if "raised" in reply:
            raise Failure(f"crashed: {reply['raised']}")
        results: list[dict[str, Any]] = reply["records"]
        return results

    def _make_ready(self) -> bool:
        """Sees to it that a child waits; whether it is one that has done nothing yet."""
        place = (list(self.paths or sys.path), os.getcwd(), os.getpid())
        if self._process is None or self._place != place:
            self.close()
            self._start(place)
            self._fresh = True
        fresh, self._fresh = self._fresh, False
        return fresh

    def _start(self, place: Place) -> None:
        paths, folder, parent = place
        process = subprocess.Popen(
            # -P: a file of the working folder must not stand in for a module.
            [sys.executable, "-P", "-m", "muybridge.data.worker", str(parent)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            cwd=folder, start_new_session=True,
            env={
                **os.environ, **_ONE_THREAD,
                "PYTHONPATH": os.pathsep.join(path or folder for path in paths),
            },
        )  # fmt: skip
        self._process, self._place = process, place
        self._poll = select.poll()
        for stream in (process.stdout, process.stderr):
            self._poll.register(stream, select.POLLIN)  # type: ignore[arg-type]
        if self.stopped:  # while it was started
            self._kill()
        self._ask(b"", _START)

    def _ask(self, line: bytes, seconds: float) -> dict[str, Any]:
        """Sends a line and waits for the answer; a child that gives none is ended."""
        process = self._process
        assert process is not None and process.stdin is not None
        self._noise = b""
        try:
            with contextlib.suppress(BrokenPipeError):  # it is gone, as reading will find
                process.stdin.write(line)
                process.stdin.flush()
            answer = self._read(process, time.monotonic() + seconds)
            if answer is not None:
                return answer
            if process.poll() is None:
                raise Failure(f"took too long: more than {round(seconds, 1):g} s")
            raise self._crash(process)
        except BaseException:
            self.close()
            raise

    def _read(self, process: subprocess.Popen[bytes], end: float) -> dict[str, Any] | None:
        """The child's answer; None if it ended, or the time did."""
        assert process.stdout is not None
        answers, answer = process.stdout.fileno(), bytearray()
        while (left := end - time.monotonic()) > 0:
            ready = self._poll.poll(1000 * min(left, 1.0))
            if not ready and process.poll() is not None:  # what it forked holds its pipes
                return None
            for stream, _ in ready:
                got = os.read(stream, 1 << 16)
                if stream != answers:
                    self._noise = (self._noise + got)[-2000:]
                    if not got:
                        self._poll.unregister(stream)
                elif got:
                    answer += got
                    if got.endswith(b"\n"):
                        reply: dict[str, Any] = json.loads(answer)
                        return reply
                else:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(max(0.0, end - time.monotonic()))
                    return None
        return None

    def _crash(self, process: subprocess.Popen[bytes]) -> Failure:
        """The reason of a child that ended by itself."""
        assert process.stderr is not None
        os.set_blocking(process.stderr.fileno(), False)
        last = (self._noise + (process.stderr.read() or b"")).decode(errors="replace")
        last = " ".join(last[-2000:].strip().rpartition("\n")[2].split())[:200]
        code: int = process.returncode
        text = f"the process ended with status {code}"
        if code < 0:
            text = f"signal {-code} ({(signal.strsignal(-code) or 'unknown').lower()})"
        # What aborts says why; before other signals the last line may be of anything.
        if last and code in (1, -signal.SIGABRT):
            if ran_out_of_memory(last):
                return Failure(f"out of memory: {last}", inherited=True)
            text += f": {last}"
        return Failure(f"crashed: {text}", inherited=True)


# --- in the child --------------------------------------------------------------------------------


def main() -> None:
    """Answers until the pipe of requests ends. The first argument is the parent's process id."""
    requests, answers = _take_pipes()
    _end_with_parent(int(sys.argv[1]), requests.fileno())
    # Crashes are expected here; their dumps would help nobody.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    _say(answers, b"{}")
    for line in requests:
        _say(answers, answer(json.loads(line)))


def answer(request: dict[str, Any]) -> bytes:
    """Runs one item.

    Args:
        request: "function" as "module:name"; its arguments "record", "settings" and "folder", which
            is made here, empty; and "memory", the most bytes of address space it may take.

    Returns:
        JSON of {"records": [...]}; or {"memory": text} where memory ran out; or
        {"raised": text, "errno": number or None} for any other exception.
    """
    try:
        folder = _emptied(Path(request["folder"]))
        with _limited(request["memory"]):
            results = _find(request["function"])(request["record"], request["settings"], folder)
            _check(results, request["function"])
            # Strict JSON: a figure that is not a number would be unreadable later.
            return json.dumps({"records": results}, allow_nan=False).encode()
    except BaseException as error:  # sys.exit in a function, too, costs only its item
        return json.dumps(_describe(error)).encode()


def ran_out_of_memory(text: str) -> bool:
    """Whether a message of a C or C++ library says so."""
    return any(words in text.lower() for words in _OUT_OF_MEMORY)


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Moves requests and answers to descriptors of their own; 0 and 1 become /dev/null.

    The new ones are not inherited, so that a program which a function starts cannot hold them.
    """
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    return open(requests, "rb"), open(answers, "wb")


def _end_with_parent(parent: int, requests: int) -> None:
    """Ends this process when its parent does, even where a function never gives the lock back."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        if os.getppid() != parent:  # it was gone before the call
            os._exit(1)

    def watch() -> None:
        # Asks for no event, so only the end of the pipe wakes it: a second way, on any system.
        waiting = select.poll()
        waiting.register(requests, 0)
        waiting.poll()
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _say(answers: BinaryIO, line: bytes) -> None:
    answers.write(line + b"\n")
    answers.flush()


def _emptied(folder: Path) -> Path:
    if folder.exists():  # of a child that crashed
        import shutil

        shutil.rmtree(folder)
    folder.mkdir()
    return folder


def _find(function: str) -> Any:
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)


def _check(results: object, function: str) -> None:
    if not isinstance(results, list):
        raise TypeError(f"{function} gave {type(results).__name__}, not a list of dicts")
    for result in results:
        if not isinstance(result, dict):
            raise TypeError(f"{function} gave a list with {type(result).__name__} in it, not dict")


@contextlib.contextmanager
def _limited(memory: int) -> Iterator[None]:
    """Bounds the address space; the old bound returns, so that the answer itself has room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    bound = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
    with contextlib.suppress(ValueError, OSError):  # not every system can
        resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _describe(error: BaseException) -> dict[str, Any]:
    text = " ".join(str(error).split())[:300]
    if isinstance(error, MemoryError) or ran_out_of_memory(text):
        return {"memory": text}
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(where.filename).name} line {where.lineno}"
    number = getattr(error, "errno", None)
    return {
        "raised": f"{type(error).__name__}: {text} ({place})",
        "errno": number if isinstance(number, int) else None,
    }


if __name__ == "__main__":
    main()
