"""The run's log: JSON lines for programs, and what `loggers` make of it for people."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from ..core import files
from ..core.progress import say
from . import health, loggers, vitals


class Monitor:
    """Writes `log.jsonl`, and tells `loggers`.

    What a killed process logged after its last checkpoint is removed first, since those steps are
    taken again.
    """

    def __init__(
        self, folder: Path, step: int, names: tuple[loggers.Name, ...] = (), clip: float = 1.0
    ) -> None:
        self.path, self._clip = folder / "log.jsonl", clip
        self._lines: list[dict[str, Any]] = []
        self._told: dict[str, str] = {}
        self._watch = health.Watch(self._forget_after(step))
        with files.disk_errors(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            self._stream = self.path.open("a", encoding="utf-8")
        self._loggers = loggers.opened(names, folder, step)

    def _forget_after(self, step: int) -> set[str]:
        """Keeps the lines up to `step`; gives the names of what was said to go wrong in them."""
        kept: list[dict[str, Any]] = []
        files.each_line(self.path, kept.append)
        lines = [line for line in kept if line.get("step", 0) <= step]
        if self.path.exists():
            files.write_text(self.path, "".join(json.dumps(line) + "\n" for line in lines))
        for line in lines:
            self._keep(line)
        return {line["name"] for line in lines if line.get("kind") == "health"}

    def _keep(self, line: dict[str, Any]) -> None:
        """What `vitals` reads of a line, of those that it reads."""
        if line.get("kind") in ("train", "validation"):
            self._lines.append({name: line[name] for name in vitals.KEYS if name in line})

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Logs a line; numbers go to the loggers too, as "kind/name". What held-out figures show to
        go wrong is logged and said."""
        with files.disk_errors(self.path):
            self._stream.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
            self._stream.flush()
        numbers = {f"{kind}/{n}": v for n, v in values.items() if isinstance(v, float)}
        for name, many in values.items():
            if isinstance(many, Mapping):  # losses by their names, or by the share of noise
                one = {f"{kind}/{name}/{n}": v for n, v in many.items() if isinstance(v, float)}
                numbers |= one
        with files.disk_errors(self.path):
            for logger in self._loggers if numbers else ():
                logger.log(numbers, step)
        self._keep({"kind": kind, "step": step, **values})
        self._tell(kind, values)
        if kind == "validation":
            figures = vitals.vitals(self._lines, self._clip) | values
            for sign in self._watch.see(figures, values.get("progress", 0.0), step):
                shown = {name: figures[name] for name in sign.when}
                self.write("health", step, name=sign.name, figures=shown, hint=sign.hint)
                listed = ", ".join(f"{name} {value:.3g}" for name, value in shown.items())
                say(f"step {step}: {sign.name}: {sign.said} ({listed}); to try: {sign.hint}")

    def _tell(self, kind: str, values: Mapping[str, Any]) -> None:
        """What the bar is to show of a line."""
        if kind == "train" and "clips_per_second" in values:
            self._told[kind] = f"{values['clips_per_second']:.3g} clips/s"
        if kind == "validation":
            self._told[kind] = f"held-out {values['loss']:.3f}"
        if kind == "preview":
            self._told[kind] = str(values.get("sheet", ""))

    def note(self, step: int, loss: float) -> str:
        """A line for a bar: where training is, and the last that was seen of it."""
        return "  ".join([f"step {step}", f"loss {loss:.3f}", *self._told.values()])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        """Flushes all to disk; services let go of the run, however it ended."""
        # What broke off says why: of a disk that is full it is not to be said otherwise.
        hidden = contextlib.suppress(OSError) if kind else contextlib.nullcontext()
        with hidden, files.disk_errors(self.path):
            try:
                self._stream.flush()
                os.fsync(self._stream.fileno())
            finally:
                for logger in self._loggers:
                    logger.close()
                self._stream.close()
