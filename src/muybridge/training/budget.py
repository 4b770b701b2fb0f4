"""When a run judges, shows, saves and ends: budgets, marks along them, and interrupts."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from ..core.progress import say


class Clock:
    """Seconds of a run's own time, over all its resumptions, by this process's watch."""

    def __init__(self, before: float) -> None:
        self._begun = time.monotonic() - before

    def seconds(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._begun


def due(times: int, before: float, spent: float, step: int) -> bool:
    """Whether one of `times` even marks of the budget lies between the shares `before` and `spent`;
    a first comes before training."""
    if times == 0:
        return False
    return step == 0 or int(min(spent, 1) * times) > int(min(before, 1) * times)


@contextlib.contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Within, SIGINT and SIGTERM only ask to stop; what it gives says whether one came.

    A second SIGINT interrupts at once, as usual.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(number: int, frame: Any) -> None:
        if asked.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.set()
        say("stopping after this step; the run is saved first")

    old = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
