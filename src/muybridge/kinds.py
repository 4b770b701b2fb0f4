"""Kinds: a model or an objective is found by its file's name, or by a path to a user's own."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from .core import config
from .core.errors import RecipeError, nearest

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Part:
    """A section whose type is chosen by its `kind`: a file's name, or a path to a user's own."""

    folder: str
    kind: str
    config: config.Section

    @property
    def module(self) -> ModuleType:
        """The file itself."""
        return load_kind(self.folder, self.kind)


def kinds(folder: str) -> list[str]:
    """Names of the kinds in a folder of the package: those of its files that have a `build`."""
    return sorted(p.stem for p in (HERE / folder).glob("*.py") if "\ndef build(" in p.read_text())


def load_kind(folder: str, kind: str) -> ModuleType:
    """The file of a kind: `dit`, or `./mine.py` for a user's own.

    Raises:
        RecipeError: there is none, or a user's file lacks `Config` or `build`.
    """
    if kind.endswith(".py"):
        path = Path(kind)
        spec = importlib.util.spec_from_file_location(f"muybridge_own_{path.stem}", path)
        if not path.is_file() or spec is None or spec.loader is None:
            raise RecipeError(
                f"kind {kind!r} is not a file", "the path is taken from where you are"
            )
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        missing = [name for name in ("Config", "build") if not hasattr(module, name)]
        if missing:
            raise RecipeError(
                f"{kind} does not define {' and '.join(missing)}", "see CONTRIBUTING.md"
            )
        return module
    known = kinds(folder)
    if kind not in known:
        close = nearest(kind, known)
        hint = (
            f"did you mean {close}?" if close else f"known: {', '.join(known)}, or a path ./mine.py"
        )
        raise RecipeError(f"kind {kind!r} is not in {folder}", hint)
    return importlib.import_module(f"muybridge.{folder}.{kind}")


def part_of(folder: str, default: str, values: Mapping[str, Any], where: str) -> Part:
    """A section of a recipe as its kind reads it; `size` names a set of settings."""
    values = dict(values)
    kind = str(values.pop("kind", default))
    if kind.endswith(".py"):  # a run must open from any folder
        kind = str(Path(kind).resolve())
    module = load_kind(folder, kind)
    size = values.pop("size", None)
    if size is not None:
        sizes: dict[str, dict[str, Any]] = getattr(module, "SIZES", {})
        if size not in sizes:
            raise RecipeError(
                f"{where}.size = {size!r} is not a size of {kind}", f"sizes: {', '.join(sizes)}"
            )
        values = {**sizes[size], **values}
    return Part(folder, kind, config.parse(module.Config, values, where))
