"""The rules of import, read from the syntax trees.

The checker is tried on small made-up packages that break each rule, so that a pass on the real one
means something.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "muybridge"
SOURCE = ROOT / "src" / PACKAGE

PARTS = {
    "core", "data", "models", "sampling", "objectives",
    "training", "evaluation", "reward", "report",
}  # fmt: skip
COMPOSED = PARTS | {
    "kinds", "recipe", "assembly", "stages", "latent_cache", "perceptual", "compare", "prefixes",
    "run", "samples", "continuing", "judge", "watch", "generation", "starting",
    "diagnosis", "probe",
}  # fmt: skip
UPPER = COMPOSED | {"tuning", "studio", "launch", "managed"}

# What each part may import besides itself, by any import anywhere in its files and in the files
# that it imports. A name of one file, as objectives.base, stands for that file alone.
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "data": {"core"},
    "models": {"core"},
    "sampling": {"core"},
    "objectives": {"core", "sampling"},
    "training": {"core", "objectives.base"},
    "evaluation": {"core", "data", "models"},
    "reward": PARTS - {"evaluation"},  # what trains must not grade
    "report": {"core"},
    "kinds": COMPOSED,
    "recipe": COMPOSED,
    "assembly": COMPOSED,
    "stages": COMPOSED,
    "latent_cache": COMPOSED,
    "compare": COMPOSED,
    "continuing": COMPOSED,
    "perceptual": COMPOSED,
    "prefixes": COMPOSED,
    "run": COMPOSED,
    "samples": COMPOSED,
    "judge": COMPOSED,
    "generation": COMPOSED,
    "starting": COMPOSED,
    "diagnosis": COMPOSED,
    "probe": COMPOSED,
    "watch": COMPOSED,
    "tuning": UPPER,
    "studio": UPPER,
    "launch": UPPER,
    "managed": UPPER,
    "cli": UPPER,
    "__main__": {*UPPER, "cli"},  # and so nothing else imports cli
}


When = Literal["import", "call", "types"]


@dataclass(frozen=True)
class Import:
    """One imported module, by its full name.

    It happens when the file itself is imported, when some function in it is called, or for the
    type checker alone.
    """

    target: str
    line: int
    when: When


Imports = Mapping[str, tuple[Import, ...]]


# --- reading -------------------------------------------------------------------------------------


def read(folder: Path) -> dict[str, tuple[Import, ...]]:
    """The imports of every module of a package, by the module's full name."""
    files = {}
    for path in sorted(folder.rglob("*.py")):
        parts = (PACKAGE, *path.relative_to(folder).with_suffix("").parts)
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return {
        module: tuple(
            _imports(module, path.name == "__init__.py", ast.parse(path.read_bytes()), files)
        )
        for module, path in files.items()
    }


def _imports(
    module: str, package: bool, tree: ast.Module, known: Mapping[str, Path]
) -> Iterator[Import]:
    for node, when in _walk(tree, "import"):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, when) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                own = module.split(".") if package else module.split(".")[:-1]
                up = own[: len(own) - node.level + 1]
                base = ".".join([*up, base] if base else up)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                # A name that the root gives out lazily would hide where it comes from.
                hidden = base == PACKAGE and alias.name != "__version__"
                yield Import(inner if inner in known or hidden else base, node.lineno, when)


def _walk(node: ast.AST, when: When) -> Iterator[tuple[ast.AST, When]]:
    """All nodes, and when they are run."""
    yield node, when
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and when == "import":
        when = "call"
    for_types = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _walk(child, "types" if for_types and name == "body" else when)


def inside(target: str) -> bool:
    """Whether a module is of the package."""
    return target == PACKAGE or target.startswith(f"{PACKAGE}.")


def with_parents(target: str) -> list[str]:
    """A module and the packages that importing it runs first, the root last."""
    parts = target.split(".")
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]


# --- judging -------------------------------------------------------------------------------------


def broken_rules(imports: Imports) -> list[str]:
    """Every way from a module to one that it may not import, as "a -> b -> c"."""
    found = []
    for start in imports:
        area = _area(start)
        if start == PACKAGE:
            continue
        if area not in MAY_IMPORT:
            found.append(f"{start}: no rule says what {area} may import; add one to MAY_IMPORT")
            continue
        chains, seen = [[start]], {start}
        while chains:
            chain = chains.pop(0)
            for one in imports.get(chain[-1], ()):
                for target in with_parents(one.target)[:-1] if inside(one.target) else ():
                    # A neighbour in the same part is judged on its own.
                    if target in seen or _area(target) == area:
                        continue
                    seen.add(target)
                    if _allowed(target, MAY_IMPORT[area]):
                        chains.append([*chain, target])
                    else:
                        found.append(" -> ".join([*chain, target]))
                if one.target == PACKAGE and area == "core":
                    found.append(f"{start} -> {PACKAGE}")
    return found


def _area(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _allowed(target: str, allowed: set[str]) -> bool:
    name = target.removeprefix(f"{PACKAGE}.")
    # The package around an allowed file is run with it, and what that imports is followed too.
    return any(f"{name}.".startswith(f"{one}.") or one.startswith(f"{name}.") for one in allowed)


def loaded(imports: Imports, start: str) -> dict[str, str]:
    """Modules from outside that importing `start` loads, each with the way to it."""
    chains, seen, outside = [[start]], {start}, {}
    while chains:
        chain = chains.pop(0)
        own = with_parents(chain[-1])[1:]
        for target in [
            *own,
            *(one.target for one in imports.get(chain[-1], ()) if one.when == "import"),
        ]:
            if not inside(target):
                outside.setdefault(target, " -> ".join([*chain, target]))
            for ours in with_parents(target) if inside(target) else ():
                if ours not in seen:
                    seen.add(ours)
                    chains.append([*chain, ours])
    return outside


def ways_to_torch(imports: Imports, part: str) -> list[str]:
    """Imports of torch anywhere in a part's own files, or run by importing one of them."""
    found = []
    for start in imports:
        if _area(start) == part:
            real = [one.target for one in imports[start] if one.when != "types"]
            ways = {name: f"{start} -> {name}" for name in real} | loaded(imports, start)
            # safetensors.torch loads torch as surely as torch.nn does.
            found += [
                way for name, way in ways.items() if "torch" in name.split(".") and not inside(name)
            ]
    return found


# --- the checker on made-up packages -------------------------------------------------------------

SOUND = {
    "core/files.py": "import json\ndef write():\n    import torch",
    "core/clips.py": "import torch",
    "sampling/solve.py": "from ..core import clips",
    "objectives/base.py": "from ..core.clips import Batch",
    "objectives/flow.py": "from ..sampling import solve\nfrom .base import Objective",
    "models/net.py": "from ..core.files import write",
    "data/store.py": "from ..core import files",
    "training/loop.py": "from ..objectives.base import Loss\nfrom . import budget",
    "training/budget.py": "",
    "evaluation/score.py": "from ..data.store import Dataset\nfrom ..models import net",
    "reward/score.py": "from ..models import net",
    "report/page.py": "import typing\nif typing.TYPE_CHECKING:\n    import torch",
    "report/run.py": "import jinja2\nfrom ..core.files import write",
    "recipe.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .run import Run\n",
    "run.py": "from . import __version__\nfrom .recipe import Recipe\nfrom .training import loop",
    "cli/main.py": "import typer\ndef go():\n    from ..run import Run",
    "__main__.py": "from .cli.main import go",
}


def package(folder: Path, changes: Mapping[str, str]) -> Imports:
    """The imports of a sound small package with some of its files changed."""
    for name, text in {"__init__.py": "__version__ = '0'", **SOUND, **changes}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)
    return read(folder)


def test_a_sound_package_breaks_no_rule(tmp_path: Path) -> None:
    imports = package(tmp_path, {})
    assert broken_rules(imports) == []
    assert ways_to_torch(imports, "report") == []
    assert set(loaded(imports, "muybridge.cli.main")) == {"typer"}


@pytest.mark.parametrize(
    ("file", "text", "way"),
    [
        ("core/a.py", "from .. import recipe", "core.a -> muybridge.recipe"),
        ("core/a.py", "from .. import __version__", "core.a -> muybridge"),
        ("data/a.py", "import muybridge.models.net", "data.a -> muybridge.models.net"),
        ("data/a.py", "def f():\n    from ..models import net", "data.a -> muybridge.models.net"),
        ("data/a.py", "from muybridge import Run", "data.a -> muybridge.Run"),
        ("models/a.py", "from ..sampling.solve import x", "models.a -> muybridge.sampling.solve"),
        ("models/a/b.py", "from ...data import store", "models.a.b -> muybridge.data.store"),
        ("objectives/a.py", "from ..models.net import N", "objectives.a -> muybridge.models.net"),
        ("training/a.py", "from ..objectives import flow", "-> muybridge.objectives.flow"),
        ("evaluation/a.py", "from ..reward import score", "-> muybridge.reward.score"),
        ("reward/a.py", "from ..evaluation import score", "-> muybridge.evaluation.score"),
        ("report/a.py", "from ..data.store import D", "report.a -> muybridge.data.store"),
        ("recipe.py", "from .cli import main", "recipe -> muybridge.cli.main"),
        ("tuning/a.py", "from ..cli.main import go", "tuning.a -> muybridge.cli.main"),
        ("attic/a.py", "", "no rule says what attic may import"),
        (
            "models/a.py",
            "import typing\nif typing.TYPE_CHECKING:\n    from ..data import store",
            "models.a -> muybridge.data.store",
        ),
        # Broken only by way of a file, or of a folder's __init__, that may itself be imported.
        (
            "objectives/base.py",
            "from ..sampling import solve",
            "training.loop -> muybridge.objectives.base -> muybridge.sampling",
        ),
        (
            "objectives/__init__.py",
            "from . import flow",
            "training.loop -> muybridge.objectives -> muybridge.objectives.flow",
        ),
    ],
)
def test_a_broken_rule_of_import_is_found(tmp_path: Path, file: str, text: str, way: str) -> None:
    assert any(way in one for one in broken_rules(package(tmp_path, {file: text})))


@pytest.mark.parametrize(
    "changes",
    [
        {"report/page.py": "import torch"},
        {"report/page.py": "def f():\n    import torch.nn"},
        {"report/page.py": "from safetensors.torch import load_file"},
        {"report/page.py": "from ..core.clips import Batch"},
        {"core/files.py": "try:\n    from .clips import Batch\nexcept ImportError:\n    pass"},
        {"core/__init__.py": "from . import clips"},
        {"__init__.py": "from .core.clips import Batch"},
    ],
)
def test_torch_under_the_report_is_found(tmp_path: Path, changes: dict[str, str]) -> None:
    assert ways_to_torch(package(tmp_path, changes), "report")


# --- the real package ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def imports() -> Imports:
    return read(SOURCE)


def test_no_rule_of_import_is_broken(imports: Imports) -> None:
    assert broken_rules(imports) == []


def test_report_needs_no_torch(imports: Imports) -> None:
    assert ways_to_torch(imports, "report") == []


def test_the_command_line_loads_nothing_heavy(imports: Imports) -> None:
    """So that `muybridge --help` and `import muybridge` are instant."""
    ways = loaded(imports, "muybridge.cli.main") | loaded(imports, "muybridge.__main__")
    light = sys.stdlib_module_names | {"typer"}
    assert [way for name, way in ways.items() if name.partition(".")[0] not in light] == []
