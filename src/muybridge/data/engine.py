"""Runs a stage over many records, each item in a guarded child process: here, or on Ray.

A file that crashes, hangs or swallows the memory of its decoder costs itself only, and leaves a
reason. What is done is kept under a key of its content and its parameters: a call that was killed
goes on where it was, and nothing is done twice.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import dataclasses
import importlib
import itertools
import json
import logging
import os
import sys
import threading
import weakref
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

from ..core import device, files
from ..core.errors import MuybridgeError
from .worker import Failure, Guard

Record = dict[str, Any]
# What became of an item, as JSON so that it travels: {"records": [...]}; {"reason": text} for an
# item that failed; {"error": [message, hint]} for what stops everything, as a full disk does.
Outcome = dict[str, Any]
Keyed = tuple[str, Record]
Done = Generator[tuple[str, Record, Outcome], None, None]

_LOCATION = ("path", "bytes")  # where content lies: no part of what it is
_AHEAD = 16  # items a worker that wait or are done while an earlier one takes long
_WINDOW = 4096  # items that Ray gets at a time
_STORE_OF_RAY = 256 * 2**20  # bytes of its object store: only records pass through it


@dataclasses.dataclass(frozen=True)
class Stage:
    """A function on one record, guarded and kept. It can be pickled; calling it never raises.

    Args:
        function: "package.module:name" of a function `(record, settings, folder) -> list of dicts`.
            It may write files into `folder`; the dicts must be JSON.
        settings: its parameters, JSON.
        version: to be raised with every change of the function that changes its results.
        deadline: seconds an item may take.
        deadline_per_mib: seconds more for each MiB of record["bytes"], if that is there.
        memory_gib: address space that the function may take, libraries included.
        store: folder of the results: `store/<key>/records.json` and the files that were written.
    """

    function: str
    settings: dict[str, Any]
    version: int
    deadline: float
    deadline_per_mib: float
    memory_gib: float
    store: Path

    def __call__(self, record: Record) -> list[Record]:
        """Does one record, or reads what was done before.

        Returns:
            The function's dicts, each with "key", the name of its folder in the store. If the item
            failed, one dict with "name" and "digest" of the record, "key", and the "reason",
            "crashed: ...", "took too long: ..." or "out of memory: ..."; it will be tried again.
        """
        key = ""
        try:
            key = self.key(record)
            _sweep_once(self.store)
            outcome = _attempt(self, key, record, _own_guard())
        except Exception as error:
            outcome = {"reason": f"crashed: {type(error).__name__}: {error}"}
        if "error" in outcome:
            outcome = {"reason": f"crashed: {outcome['error'][0]}"}
        return _finish(key, record, outcome)

    def key(self, record: Record) -> str:
        """SHA-256 of the function, its version and settings, and what the record is.

        Where content lies ("path" and "bytes") is no part of that; nor is the "name" of a record
        that has a "digest".
        """
        place = (*_LOCATION, "name") if "digest" in record else _LOCATION
        content = {name: value for name, value in record.items() if name not in place}
        return files.digest_of(self.function, self.version, self.settings, content)

    def seconds(self, record: Record) -> float:
        """The record's deadline."""
        return self.deadline + self.deadline_per_mib * float(record.get("bytes") or 0) / 2**20


def run(
    stage: Stage,
    records: Iterable[Record],
    engine: Literal["local", "ray"] | str = "local",
    workers: int | None = None,
) -> Iterator[list[Record]]:
    """Does all records, some at a time; gives the results of each in the order of the records.

    Few are held at once, so `records` may be endless. Leaving the loop early ends the children.

    Args:
        stage: what to do; its store is first rid of what a killed process left half-written.
        records: equal keys are done once.
        engine: "local" for threads here that own a guarded child each; "ray" for Ray Data, on the
            cluster this process is connected to or RAY_ADDRESS names, else on one started here. A
            cluster's machines must share the store and the footage.
        workers: children at work at once; None for as many as there are cores. A Ray cluster that
            is already there takes what it has.

    Raises:
        MuybridgeError: an unknown engine, Ray is missing, or the store's disk is full or forbidden.
    """
    if engine not in ("local", "ray"):
        raise MuybridgeError(f"engine {engine!r} is unknown", "one of: local, ray")
    if engine == "ray":
        _import_ray()
    stage = dataclasses.replace(stage, store=Path(stage.store).absolute())
    _sweep_once(stage.store)
    keyed = ((stage.key(record), record) for record in records)
    work = _on_ray if engine == "ray" else _locally
    return _results(work(stage, keyed, max(1, workers or device.cores())))


def _results(done: Done) -> Iterator[list[Record]]:
    with contextlib.closing(done):
        for key, record, outcome in done:
            if "error" in outcome:
                raise MuybridgeError(*outcome["error"])
            yield _finish(key, record, outcome)


# --- one item ------------------------------------------------------------------------------------

_swept: set[Path] = set()
_sweeping = threading.Lock()
_locks: weakref.WeakValueDictionary[Path, threading.Lock] = weakref.WeakValueDictionary()
_looking = threading.Lock()


def _sweep_once(store: Path) -> None:
    """Sweeps when this process first uses the store; later, what is half-written is its own."""
    with _sweeping:
        if store.absolute() not in _swept:
            files.sweep(store)
            _swept.add(store.absolute())


def _attempt(stage: Stage, key: str, record: Record, guard: Guard) -> Outcome:
    """Does one item unless it is done; the second of two threads with one key finds it done."""
    try:
        with _lock(stage.store / key):
            done = _finished(stage.store / key)
            return {"records": _do(stage, key, record, guard) if done is None else done}
    except Failure as failure:
        return {"reason": failure.reason}
    except MuybridgeError as error:
        return {"error": [error.message, error.hint]}
    except Exception as error:
        return {"reason": f"crashed: {type(error).__name__}: {error}"}


def _do(stage: Stage, key: str, record: Record, guard: Guard) -> list[Record]:
    with files.atomic(stage.store / key) as folder:
        request = {
            "function": stage.function,
            "record": record,
            "settings": stage.settings,
            "folder": str(folder.absolute()),
            "memory": int(stage.memory_gib * 2**30),
        }
        done = guard.do(request, stage.seconds(record))
        (folder / "records.json").write_text(json.dumps(done, indent=2) + "\n")
    return done


def _lock(folder: Path) -> threading.Lock:
    with _looking:
        return _locks.setdefault(folder, threading.Lock())


def _finished(folder: Path) -> list[Record] | None:
    """The results of a finished key; None if it must be done, as also when its file is damaged."""
    try:
        done = json.loads((folder / "records.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return done if isinstance(done, list) else None


def _finish(key: str, record: Record, outcome: Outcome) -> list[Record]:
    """The records that the caller gets."""
    known = record if isinstance(record, dict) else {}
    if "reason" in outcome:
        who: Record = {name: known[name] for name in ("name", "digest") if name in known}
        return [{**who, "reason": outcome["reason"], "key": key}]
    # The same content may have been done before under another name.
    now = {"name": known["name"]} if "name" in known and "digest" in known else {}
    return [{**result, **now, "key": key} for result in outcome["records"]]


_here = threading.local()


def _own_guard() -> Guard:
    """The guard of this thread, for stages that are called one by one."""
    guard: Guard | None = getattr(_here, "guard", None)
    if guard is None:
        guard = _here.guard = Guard()
        atexit.register(guard.close)
    return guard


# --- many items ----------------------------------------------------------------------------------


def _locally(stage: Stage, keyed: Iterator[Keyed], workers: int) -> Done:
    tasks: SimpleQueue[tuple[str, Record, Future[Outcome]] | None] = SimpleQueue()
    guards = [Guard() for _ in range(workers)]

    def work(guard: Guard) -> None:
        while (task := tasks.get()) is not None and not guard.stopped:
            key, record, future = task
            future.set_result(_attempt(stage, key, record, guard))
        guard.close()

    # Daemons: a generator that is never closed must not keep the interpreter from ending.
    threads = [threading.Thread(target=work, args=(g,), daemon=True) for g in guards]
    for thread in threads:
        thread.start()
    waiting: collections.deque[tuple[str, Record, Future[Outcome]]] = collections.deque()
    current: dict[str, Future[Outcome]] = {}

    def first() -> tuple[str, Record, Outcome]:
        key, record, future = waiting.popleft()
        outcome = future.result()
        if current.get(key) is future:
            del current[key]
        return key, record, outcome

    try:
        for key, record in keyed:
            future = current.get(key)
            if future is None:
                future = current[key] = Future()
                tasks.put((key, record, future))
            waiting.append((key, record, future))
            if len(waiting) >= _AHEAD * workers:
                yield first()
        while waiting:
            yield first()
    finally:
        for guard in guards:
            guard.stop()
            tasks.put(None)
        for thread in threads:
            thread.join(10)


def _on_ray(stage: Stage, keyed: Iterator[Keyed], workers: int) -> Done:
    ray = _import_ray()
    with _cluster(ray, workers):
        while window := list(itertools.islice(keyed, _WINDOW)):
            items: dict[str, str] = {}
            for key, record in window:
                items.setdefault(key, json.dumps(record, default=os.fspath))
            rows = [{"key": key, "record": record} for key, record in items.items()]
            blocks = min(len(rows), max(_WINDOW // 16, 4 * workers))
            data = ray.data.from_items(rows, override_num_blocks=blocks)
            data = data.map(_in_ray, fn_kwargs={"stage": stage, "paths": list(sys.path)})
            outcomes: dict[str, Outcome] = {}
            with contextlib.closing(iter(data.iter_rows())) as done:
                for key, record in window:
                    while key not in outcomes:
                        row = next(done)
                        outcomes[row["key"]] = json.loads(row["outcome"])
                    yield key, record, outcomes[key]


def _in_ray(row: dict[str, str], stage: Stage, paths: list[str]) -> dict[str, str]:
    """One item, in a process of Ray. Not the stage itself: that one sweeps, and this process may be
    on a machine that cannot tell the living processes of the others."""
    guard = _own_guard()
    guard.paths = paths
    outcome = _attempt(stage, row["key"], json.loads(row["record"]), guard)
    return {"key": row["key"], "outcome": json.dumps(outcome)}


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        importlib.import_module("ray.data")
        return importlib.import_module("ray")  # by name, so that types are checked without it, too
    except ImportError as error:
        raise MuybridgeError("--engine ray needs Ray", "pip install 'muybridge[ray]'") from error


@contextlib.contextmanager
def _cluster(ray: Any, workers: int) -> Iterator[None]:
    """Ray as it is, or one started here without network, dashboard or talk."""
    context = ray.data.DataContext.get_current()
    bars, context.enable_progress_bars = context.enable_progress_bars, False
    talk = logging.getLogger("ray.data")
    level = talk.level
    talk.setLevel(logging.ERROR)
    begun = not ray.is_initialized()
    try:
        if begun and "RAY_ADDRESS" in os.environ:
            ray.init(log_to_driver=False)
        elif begun:
            ray.init(
                address="local", num_cpus=workers, object_store_memory=_STORE_OF_RAY,
                include_dashboard=False, log_to_driver=False, logging_level="ERROR",
                _node_ip_address="127.0.0.1",
            )  # fmt: skip
        yield
    finally:
        if begun:
            ray.shutdown()
        context.enable_progress_bars = bars
        talk.setLevel(level)
