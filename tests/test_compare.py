"""Several recipes on the same clips: trained and judged once, failures apart."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

import muybridge as mb
from muybridge import compare as comparing
from muybridge.compare import compare
from muybridge.core import device
from muybridge.core.errors import MuybridgeError
from muybridge.data.prepare import Config

SMALL = """
data: {frames: 8, fps: 8, size: [32, 32]}
model: {kind: dit, width: 32, depth: 1, heads: 2, text: {width: 16}}
training: {minutes: 1, batch: 4, validations: 0, previews: 0, precision: fp32, threads: 1,
           loggers: [], optimizer: {kind: KIND, learning_rate: RATE}}
sampling: {steps: 2}
evaluation: {samples: 4, held_out: 4, shown: 2, metrics: [appearance, time, baselines]}
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    mb.make_stage(folder / "footage", 24, size=(32, 32), fps=8)
    mb.prepare(folder / "footage", folder / "dataset", config=Config(size=(32, 32), fps=8))
    return folder / "dataset"


def recipe(folder: Path, name: str, kind: str = "adamw", rate: float = 1e-3) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(SMALL.replace("KIND", kind).replace("RATE", f"{rate:g}"))
    return str(path)


def test_each_is_trained_and_judged_once_and_one_that_fails_stops_no_other(
    dataset: Path, tmp_path: Path
) -> None:
    names = [
        recipe(tmp_path, "first"),
        recipe(tmp_path, "wild", "sgd", 1e30),
        recipe(tmp_path, "second", "rmsprop", 1e-4),
    ]
    out = tmp_path / "out"
    found = compare(dataset, names, 0.03, out)
    assert [run.name for run in found.runs] == ["first", "second"]
    assert list(found.failed) == ["wild"]
    assert "is nan" in found.failed["wild"] or "is inf" in found.failed["wild"]
    assert found.page is not None
    page = found.page.read_text()
    assert "first" in page and "second" in page
    made = [json.loads((run / "scores.json").read_text()) for run in found.runs]
    assert [bool(one["baselines"]) for one in made] == [True, False]  # the same beside all
    digests = {one["scores"][0]["manifest"]["real_digest"] for one in made}
    assert len(digests) == 1

    before = {run: (run / "scores.json").stat().st_mtime_ns for run in found.runs}
    again = compare(dataset, names, 0.03, out)
    assert {run: (run / "scores.json").stat().st_mtime_ns for run in again.runs} == before


def test_what_was_settled_on_another_machine_stays(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(recipe(tmp_path, "one"))
    path.write_text(path.read_text().replace("precision: fp32", "precision: auto"))
    machine = device.examine()
    for rate in (0.0, 10 * machine.fp32_rate):
        other = dataclasses.replace(machine, bf16_rate=rate)
        monkeypatch.setattr(device, "examine", lambda *where, other=other: other)
        found = compare(dataset, [str(path)], 0.01, tmp_path / "out")
        assert not found.failed
        assert mb.Run.open(tmp_path / "out" / "one").recipe.training.precision == "fp32"


def test_what_cannot_be_compared_is_refused_before_any_is_trained(
    dataset: Path, tmp_path: Path
) -> None:
    one = recipe(tmp_path, "one")
    for names, message in (
        ([], "nothing to be compared"),
        ([one, one], "one to be compared"),
        ([one, "flow-smal"], "flow-smal"),
    ):
        with pytest.raises(MuybridgeError, match=message):
            compare(dataset, names, 0.01, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_all_are_judged_by_as_many_clips_and_again_where_more_is_asked(
    dataset: Path, tmp_path: Path
) -> None:
    one, two = Path(recipe(tmp_path, "one")), Path(recipe(tmp_path, "two"))
    two.write_text(two.read_text().replace("samples: 4", "samples: 3"))
    names, out = [str(one), str(two)], tmp_path / "out"
    compare(dataset, names, 0.01, out)
    for name in ("one", "two"):
        assert mb.Run.open(out / name).recipe.evaluation.samples == 4
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/scores.json")}
    compare(dataset, names, 0.01, out, ("evaluation.samples=5",))
    after = {path: path.stat().st_mtime_ns for path in out.glob("*/scores.json")}
    assert all(after[path] > then for path, then in before.items()) and len(after) == 2


def test_what_fails_in_an_unforeseen_way_stops_no_other(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = comparing.evaluate

    def failing(folder: Path, **more: object) -> dict[str, object]:
        if folder.name == "first":
            raise RuntimeError("out of something")
        return judge(folder, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(comparing, "evaluate", failing)
    names = [recipe(tmp_path, "first"), recipe(tmp_path, "second")]
    found = compare(dataset, names, 0.01, tmp_path / "out")
    assert found.failed == {"first": "RuntimeError: out of something"}
    assert [run.name for run in found.runs] == ["second"]
    assert "out of something" in (tmp_path / "out" / "first" / comparing.FAILED).read_text()


def test_what_makes_no_clips_is_refused_before_it_is_trained(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(MuybridgeError, match="fsq: a tokenizer without a prior makes no clips"):
        compare(dataset, ["fsq", recipe(tmp_path, "one")], 0.01, tmp_path / "out")
