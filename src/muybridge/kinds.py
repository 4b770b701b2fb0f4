"""Kinds: a model or an objective is found by its file's name, or by a path to a user's own.

A run keeps a copy of one's own files, and is read with these.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from .core import config, files
from .core.errors import RecipeError, RunError, nearest

HERE = Path(__file__).parent
OWN = "own"
_SECTIONS = ("model", "objective", "critic")
_READ: dict[tuple[str, str], ModuleType] = {}


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
        return _own(Path(kind))
    known = kinds(folder)
    if kind not in known:
        close = nearest(kind, known)
        hint = (
            f"did you mean {close}?" if close else f"known: {', '.join(known)}, or a path ./mine.py"
        )
        raise RecipeError(f"kind {kind!r} is not in {folder}", hint)
    return importlib.import_module(f"muybridge.{folder}.{kind}")


def _own(path: Path) -> ModuleType:
    """A user's file, executed once: what it defines is the same wherever it is asked for."""
    if not path.is_file():
        raise RecipeError(
            f"kind {str(path)!r} is not a file",
            "a recipe's path is taken from its own folder, that of --set from where you are",
        )
    key = path.stem, files.digest(path)
    if key in _READ:
        return _READ[key]
    spec = importlib.util.spec_from_file_location(f"muybridge_own_{key[0]}_{key[1][:12]}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    missing = [name for name in ("Config", "build") if not hasattr(module, name)]
    if missing:
        raise RecipeError(f"{path} does not define {' and '.join(missing)}", "see CONTRIBUTING.md")
    _READ[key] = module
    return module


def beside(tree: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A recipe's settings, in which files of one's own are found from its folder."""
    found = dict(tree)
    for name in _SECTIONS:
        section = found.get(name)
        if isinstance(section, dict) and str(section.get("kind", "")).endswith(".py"):
            found[name] = section | {"kind": str((folder / section["kind"]).resolve())}
    return found


def kept(tree: dict[str, Any], out: Path) -> dict[str, Any]:
    """The settings of a run, whose files of one's own are copied into its folder."""
    found = dict(tree)
    for name in _SECTIONS:
        section = found.get(name)
        if section is None or not section["kind"].endswith(".py"):
            continue
        place = out / OWN / Path(section["kind"]).name
        if place.resolve() != Path(section["kind"]).resolve():
            files.write_bytes(place, Path(section["kind"]).read_bytes())
        found[name] = section | {"kind": f"{OWN}/{place.name}"}
    return found


def same(new: Part, old: Part, what: str) -> Part:
    """A part of a run that goes on, by the run's own copy of its file.

    Raises:
        RunError: the file has changed since.
    """
    if not (new.kind.endswith(".py") and old.kind.endswith(".py")):
        return new
    if files.digest(Path(new.kind)) != files.digest(Path(old.kind)):
        raise RunError(
            f"{what}.kind: {new.kind} is not what the run began with, which is {old.kind}",
            "train into another --out, or go on with that one",
        )
    return replace(new, kind=old.kind)


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
