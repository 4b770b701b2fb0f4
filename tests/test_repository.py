"""What every file of the repository keeps to: short, safe, free of one machine's paths, listed."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "muybridge"

UNSAFE_MODULES = {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
UNSAFE_CALLS = {
    "eval", "exec", "__import__", "os.system", "os.popen", "torch.load", "torch.save", "yaml.load",
    "yaml.unsafe_load", "yaml.full_load", "pd.read_pickle", "pandas.read_pickle",
}  # fmt: skip
UNSAFE_SETTINGS = {"shell": True, "allow_pickle": True, "weights_only": False}


def unsafe(tree: ast.Module) -> list[str]:
    """Calls and imports that load or run what a stranger may have written, with their lines."""
    found = []
    for node in ast.walk(tree):
        names: list[str] = []
        line = f"line {getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call):
            settings = {
                k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)
            }
            found += [
                f"{line}: {name}={settings[name]}"
                for name, value in UNSAFE_SETTINGS.items()
                if settings.get(name) is value
            ]
            # Published weights may be converted by torch's loader that runs no code.
            if not (
                ast.unparse(node.func) == "torch.load" and settings.get("weights_only") is True
            ):
                names = [ast.unparse(node.func)]
        bad = [n for n in names if n in UNSAFE_CALLS or n.partition(".")[0] in UNSAFE_MODULES]
        found += [f"{line}: {name}" for name in bad]
    return found


MACHINE_PATH = re.compile(r"(?<![\w.$}~-])/(?:root|home|Users|work|tmp)(?![\w-])")


@pytest.mark.parametrize(
    "text",
    [
        "import pickle", "from pickle import loads", "from torch import load", "torch.load(f)",
        "torch.load(f, weights_only=False)", "eval('1')", "exec(code)", "yaml.load(text)",
        "subprocess.run('ls', shell=True)", "np.load(f, allow_pickle=True)",
    ],
)  # fmt: skip
def test_an_unsafe_call_is_found(text: str) -> None:
    assert unsafe(ast.parse(text))


def test_what_only_looks_unsafe_passes() -> None:
    text = "model.eval()\nspec.loader.exec_module(m)\ntorch.load(f, weights_only=True)"
    assert unsafe(ast.parse(text)) == []


def test_a_machine_path_is_told_from_other_paths() -> None:
    for path in ("root/x", "home/me", "tmp'", "work/run"):
        assert MACHINE_PATH.search(f"--out=/{path}"), path
    for path in ("/proc/cpuinfo", "a/home/b", "tests/tmp/x", "$HOME/work/x", "/workers"):
        assert not MACHINE_PATH.search(path), path


def test_files_are_short() -> None:
    lengths = {
        path.relative_to(SOURCE).as_posix(): len(path.read_text().splitlines())
        for path in SOURCE.rglob("*.py")
    }
    most = dict.fromkeys(lengths, 400) | {"training/loop.py": 249}
    assert {name: count for name, count in lengths.items() if count > most[name]} == {}


def test_nothing_unsafe_is_loaded_or_run() -> None:
    found = {path.name: unsafe(ast.parse(path.read_bytes())) for path in SOURCE.rglob("*.py")}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_no_file_names_a_path_of_one_machine() -> None:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout, so what belongs to the repository cannot be told")
    found = []
    for path in (ROOT / name for name in listed.stdout.split("\0") if name):
        content = path.read_bytes() if path.is_file() else b""
        if b"\0" not in content[:8192]:
            lines = content.decode("utf-8", "replace").splitlines()
            places = (number for number, line in enumerate(lines, 1) if MACHINE_PATH.search(line))
            found += [f"{path.relative_to(ROOT)}:{number}" for number in places]
    assert found == []


def test_public_names_are_sorted_and_there() -> None:
    public = importlib.import_module("muybridge")
    assert public.__all__ == sorted(set(public.__all__))
    assert [name for name in public.__all__ if not hasattr(public, name)] == []
    assert dir(public) == public.__all__
    for_types = re.findall(
        r"^    from \.[\w.]+ import (.+)$", (SOURCE / "__init__.py").read_text(), re.M
    )
    assert sorted(", ".join(for_types).split(", ")) == public.__all__


def test_the_readme_names_every_file() -> None:
    """Its tree has one line a file."""
    text = (ROOT / "README.md").read_text()
    tree = re.search(r"```\n(src/muybridge/\n.*?)```", text, re.S)
    assert tree is not None
    told, folders = set(), [""]
    for line in tree[1].splitlines()[1:]:
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        folders = [*folders[:depth], name]
        if not name.endswith("/"):
            told.add("".join(folders[1:]))
    kept = [p.relative_to(SOURCE) for p in SOURCE.rglob("*") if p.is_file() and p.suffix != ".pyc"]
    names = {p.as_posix() for p in kept if not any(part.startswith(".") for part in p.parts)}
    # What a folder's own __init__.py says stands on the folder's line.
    assert told == {name for name in names if not name.endswith("/__init__.py")}
