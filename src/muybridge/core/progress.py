"""Progress bars with rate and time left, on a terminal; silence elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")

Advance = Callable[..., None]


def say(message: str) -> None:
    """Prints a line for a person to stderr; stdout is kept for data."""
    print(message, file=sys.stderr, flush=True)


def track(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Passes `items` on, with a bar named `what`."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with bar(what, total) as advance:
        for item in items:
            yield item
            advance()


@contextlib.contextmanager
def bar(what: str, total: float | None, unit: str = "") -> Iterator[Advance]:
    """A bar; what it gives is called as `advance()`, or with `by=2`, `to=0.5`, `note="loss 0.1"`.

    It shows up only on a terminal, and there only once the work has lasted half a second.
    """
    if not sys.stderr.isatty():
        yield lambda by=1, to=None, note="": None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    done, begun, shown = 0.0, time.monotonic(), False
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    progress = Progress(*columns, console=Console(stderr=True), transient=False)
    task = progress.add_task(what, total=total, note="")

    def advance(by: float = 1, to: float | None = None, note: str = "") -> None:
        nonlocal done, shown
        done = done + by if to is None else to
        spent = time.monotonic() - begun
        if not shown and spent > 0.5:
            progress.start()
            shown = True
        text = note or f"{done / max(spent, 1e-9):.1f}{unit or ' '}/s"
        progress.update(task, completed=done, note=text)

    try:
        yield advance
    finally:
        if shown:
            progress.stop()
