"""Muybridge trains video generators on your own footage."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.errors import MuybridgeError
    from .core.video import read_video, write_video
    from .data.prepare import prepare
    from .data.stage import make_stage
    from .data.store import Dataset
    from .judge import evaluate
    from .recipe import Recipe
    from .report import write_report
    from .run import Run

__version__ = "0.1.0"

__all__ = [
    "Dataset", "MuybridgeError", "Recipe", "Run", "evaluate", "make_stage", "prepare",
    "read_video", "write_report", "write_video",
]  # fmt: skip

_HOME = {
    "Dataset": "data.store",
    "MuybridgeError": "core.errors",
    "Recipe": "recipe",
    "Run": "run",
    "evaluate": "judge",
    "make_stage": "data.stage",
    "prepare": "data.prepare",
    "read_video": "core.video",
    "write_report": "report",
    "write_video": "core.video",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that `import muybridge` costs nothing."""
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module 'muybridge' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
