"""What other tools are told of a run, and that one that goes on is one run there."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

import muybridge as mb
from muybridge.core.errors import NotFinite, RecipeError
from muybridge.recipe import Recipe
from muybridge.training.monitor import Monitor

SMALL = (
    "data.size=[32,32]", "data.frames=8", "training.batch=2", "training.minutes=null",
    "training.validations=1", "training.previews=0", "training.threads=1", "model.width=32",
    "training.measures=0", "training.log_every=1", "evaluation.held_out=2",
)  # fmt: skip
Calls = list[tuple[str, dict[str, Any]]]


def recorder(monkeypatch: pytest.MonkeyPatch, module: str, *names: str, **more: Any) -> Calls:
    """A stand-in for a package, whose functions only note what they were called with."""
    calls: Calls = []
    made = types.ModuleType(module)

    def noting(name: str, answer: Any) -> Any:
        def called(*args: Any, **given: Any) -> Any:
            calls.append((name, given | {str(n): one for n, one in enumerate(args)}))
            return answer

        return called

    for name in names:
        setattr(made, name, noting(name, more.get(name)))
    monkeypatch.setitem(sys.modules, module, made)
    for one in more.values():
        for name in ("log", "define_metric", "finish"):
            setattr(one, name, noting(name, None))
    return calls


def twice(dataset: Path, out: Path, logger: str) -> None:
    """A run of two updates, which then goes on to four."""
    for steps in (2, 4):
        given = (*SMALL, f"training.steps={steps}", f"training.loggers=[{logger}]")
        Recipe.load("flow-nano", given).with_(data=dataset).train(out)


def losses(calls: Calls, verb: str, values: str = "0") -> dict[int, float]:
    """By step, the training losses that were told."""
    told = [given for name, given in calls if name == verb]
    return {
        one.get("step", one[values].get("step")): one[values]["train/loss"]
        for one in told
        if "train/loss" in one[values]
    }


def of_log(out: Path) -> dict[int, float]:
    import json

    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if line["kind"] == "train"}


def test_wandb_is_told_all_and_goes_on_with_its_run(
    small_stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = types.SimpleNamespace(id="abc")
    calls = recorder(monkeypatch, "wandb", "init", init=run)
    twice(small_stage, tmp_path / "mine", "wandb")
    begun = [given for name, given in calls if name == "init"]
    assert [one["id"] for one in begun] == [None, "abc"]
    assert begun[0]["name"] == "mine" and begun[0]["config"]["training.batch"] == 2
    assert losses(calls, "log") == of_log(tmp_path / "mine")
    assert [name for name, _ in calls].count("finish") == 2


def test_trackio_is_told_all(
    small_stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = recorder(monkeypatch, "trackio", "init", "log", "finish")
    twice(small_stage, tmp_path / "mine", "trackio")
    assert [g["name"] for name, g in calls if name == "init"] == ["mine", "mine"]
    assert losses(calls, "log") == of_log(tmp_path / "mine")


def test_mlflow_is_told_all_and_goes_on_with_its_run(
    small_stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = types.SimpleNamespace(info=types.SimpleNamespace(run_id="abc"))
    names = ("set_experiment", "start_run", "log_params", "log_metrics", "end_run")
    calls = recorder(monkeypatch, "mlflow", *names, start_run=run)
    twice(small_stage, tmp_path / "mine", "mlflow")
    assert [g["run_id"] for name, g in calls if name == "start_run"] == [None, "abc"]
    assert losses(calls, "log_metrics") == of_log(tmp_path / "mine")
    (told,) = [g["0"] for name, g in calls if name == "log_params"]
    assert told["training.batch"] == "2"


def test_one_that_is_not_installed_is_said_before_the_first_update(
    small_stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(RecipeError, match="names wandb, which is not installed") as caught:
        twice(small_stage, tmp_path / "run", "wandb")
    assert caught.value.hint and "pip install wandb" in caught.value.hint
    assert mb.Run.open(tmp_path / "run") and not (tmp_path / "run" / "checkpoints").exists()


def test_a_run_that_breaks_off_is_ended_there_too(
    small_stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = recorder(monkeypatch, "wandb", "init", init=types.SimpleNamespace(id="abc"))
    wild = ("training.optimizer.kind=sgd", "training.optimizer.learning_rate=1e30")
    given = (*SMALL, *wild, "training.steps=20", "training.loggers=[wandb]")
    with pytest.raises(NotFinite):
        Recipe.load("flow-nano", given).with_(data=small_stage).train(tmp_path / "run")
    assert [name for name, _ in calls].count("finish") == 1


def test_the_bar_shows_what_was_last_seen(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path, 0)
    assert monitor.note(1, 0.5) == "step 1  loss 0.500"
    monitor.write("validation", 2, loss=0.25, progress=0.1)
    monitor.write("preview", 2, video="previews/a.mp4", sheet="previews/a.png")
    monitor.write("train", 3, loss=0.4, clips_per_second=12.34)
    assert (
        monitor.note(3, 0.4) == "step 3  loss 0.400  held-out 0.250  previews/a.png  12.3 clips/s"
    )
    monitor.write("validation", 4, loss=0.2, progress=0.2)
    assert "held-out 0.200" in monitor.note(4, 0.4)
