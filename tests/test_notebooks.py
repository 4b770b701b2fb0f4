"""The notebooks run from their first cell to their last, in an empty folder."""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_shows_pictures_and_goes_on_when_it_is_run_again(
    path: Path, tmp_path: Path, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"MUYBRIDGE_MINUTES": "0.05", "MUYBRIDGE_CLIPS": "40", "MUYBRIDGE_SAMPLES": "8"}
    for name, value in {**environment, **small}.items():
        monkeypatch.setenv(name, value)
    made = nbformat.read(path, 4)
    NotebookClient(made, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [one for cell in made.cells for one in cell.get("outputs", [])]
    pictures = [one for one in outputs if "image/png" in one.get("data", {})]
    assert len(pictures) >= 5
    assert any("appearance distance" in str(one.get("data")) for one in outputs)
    checkpoints = tmp_path / "first_model" / "run" / "checkpoints"
    before = {path: path.stat().st_mtime_ns for path in checkpoints.rglob("*.safetensors")}
    assert before

    again = nbformat.read(path, 4)
    again.cells = again.cells[
        : next(n for n, c in enumerate(again.cells) if "train(" in c.source) + 1
    ]
    NotebookClient(again, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    after = {path: path.stat().st_mtime_ns for path in checkpoints.rglob("*.safetensors")}
    assert after == before  # what is done is not done again


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_what_it_showed(path: Path) -> None:
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "code":
            ast.parse(cell.source)
            assert not cell.outputs and cell.execution_count is None


def test_there_is_one() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["first_model"]
    assert os.path.getsize(NOTEBOOKS[0]) < 20_000
