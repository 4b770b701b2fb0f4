"""What a training will take, against what it then took."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import muybridge as mb
from muybridge import probe
from muybridge.cli.main import app

SMALL = (
    "data.size=[32,32]", "data.frames=8", "model.width=32", "model.depth=2", "training.batch=8",
    "training.minutes=null", "training.steps=40", "training.precision=fp32",
    "training.threads=1", "training.measures=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def dataset(small_stage: Path) -> Path:
    return small_stage


def test_memory_is_foretold_within_fifteen_percent(dataset: Path, tmp_path: Path) -> None:
    found = probe.measure(mb.Recipe.load("flow-nano", SMALL).with_(data=dataset))
    assert found.steps == 40 and found.minutes == pytest.approx(40 * found.step_seconds / 60)
    assert found.micro_batch is None and 0 < found.memory_gib < found.free_gib
    changes = [part for one in SMALL for part in ("--set", one)]
    command = [sys.executable, "-m", "muybridge", "train", "flow-nano", "--data", str(dataset)]
    subprocess.run([*command, "--out", str(tmp_path / "run"), *changes], check=True)
    lines = [json.loads(x) for x in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert {"validation", "preview"} <= {line["kind"] for line in lines}
    took = max(line["peak_memory_gib"] for line in lines if line["kind"] in ("train", "end"))
    assert found.memory_gib == pytest.approx(took, rel=0.15)


def test_what_fails_in_training_is_told(dataset: Path) -> None:
    recipe = mb.Recipe.load("flow-nano", SMALL).with_("data.frames=2000", data=dataset)
    with pytest.raises(mb.MuybridgeError, match="the first updates failed: "):
        probe.measure(recipe)


def test_too_much_memory_is_answered_with_fewer_clips_at_once(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[dict[str, Any]] = [
        {"kind": "train", "seconds": 10.0 + n, "peak_memory_gib": 6.0} for n in range(6)
    ]
    # At the end samples were shown, which took more.
    lines.append({"kind": "end", "seconds": 90.0, "peak_memory_gib": 8.0})
    monkeypatch.setattr(probe, "_tried", lambda *_, **__: lines)
    machine = probe.device.examine()
    few = dataclasses.replace(machine, gpu="", memory_gib=4.0, bf16_rate=9 * machine.fp32_rate)
    monkeypatch.setattr(probe.device, "examine", lambda *_: few)
    found = probe.measure(mb.Recipe.load("flow-nano", SMALL).with_(data=dataset))
    assert found.micro_batch == 3 and found.step_seconds == 1.0
    asked = ["check", "flow-nano", "--data", str(dataset), "--set"]
    done = CliRunner().invoke(app, [*asked, "training.precision=fp32"])
    assert done.exit_code == 0
    for way in ("training.micro_batch=", "model.recompute=true", "training.precision=bf16"):
        assert way in done.output
    done = CliRunner().invoke(app, [*asked, "model.recompute=true"])
    assert "model.recompute" not in done.output and "training.precision" not in done.output


class Machine:
    """One on which a clip takes so many GiB beside a fixed part, as `probe` sees it."""

    def __init__(self, patch: pytest.MonkeyPatch, fixed: float, each: float, free: float) -> None:
        self.fixed, self.each, self.tried = fixed, each, list[int]()
        patch.setattr(probe, "_tried", self.take)
        patch.setattr(probe.device, "free_memory", lambda: int(free * 2**30))

    def take(self, recipe: mb.Recipe, folder: Path, alone: bool) -> list[dict[str, float]]:
        assert alone and recipe.training.memory == "asked" and recipe.training.micro_batch
        self.tried.append(recipe.training.micro_batch)
        return [{"peak_memory_gib": self.fixed + self.each * recipe.training.micro_batch}]


@pytest.mark.parametrize(
    ("each", "free", "expected"), [(1.0, 10.0, 7), (1.0, 100.0, None), (0.0, 2.0, None)]
)
def test_as_many_clips_at_once_as_memory_suffices_for_and_no_more_tried_than_four(
    each: float, free: float, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch, 1.0, each, free)
    recipe = mb.Recipe.load("flow-nano", ("training.batch=32",))
    found = probe.micro_batch(recipe)
    assert found == expected and machine.tried == [2, 4]
    if found is not None:
        assert machine.fixed + each * found <= 0.85 * free < machine.fixed + each * (found + 1)


def test_where_not_even_two_fit_it_is_said_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, 4.0, 1.0, 5.0)
    with pytest.raises(mb.MuybridgeError, match=r"2 clips take 6\.0 GiB") as caught:
        probe.micro_batch(mb.Recipe.load("flow-nano", ("training.batch=32",)))
    assert "model.recompute" in caught.value.hint


def test_a_run_settles_it_once(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(monkeypatch, 0.1, 1.0, 6.0)
    recipe = mb.Recipe.load("flow-nano", (*SMALL, "training.memory=auto", "training.steps=1"))
    for _ in range(2):
        run = recipe.with_(data=dataset).train(tmp_path / "run")
        assert run.recipe.training.micro_batch == 5 and run.recipe.training.batch == 8
    assert machine.tried == [2, 4]


def test_a_recipe_whose_best_is_chosen_by_a_distance_can_be_measured_and_tested() -> None:
    by_distance = ("training.best=appearance distance", "evaluation.during=[appearance]")
    recipe = mb.Recipe.load("flow-nano", (*by_distance, "training.patience=2"))
    for changes in (probe._WHOLE, probe._STEPS_ALONE):
        assert recipe.with_(*changes).training.measures == 0


def test_what_a_hint_proposes_is_a_setting() -> None:
    for name in ("flow-latent", "gan3d", "transformer-ar"):
        assert mb.Recipe.load(name, ("tokenizer=RUN",)).tokenizer is not None


def test_lack_of_memory_is_told_with_how_many_clips_there_is_room_for(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = mb.Recipe.load("flow-nano", SMALL).with_(data=dataset)
    killed = subprocess.CompletedProcess([], -9, "", "")
    monkeypatch.setattr(probe.subprocess, "run", lambda *_, **__: killed)
    monkeypatch.setattr(probe, "micro_batch", lambda _: 3)
    with pytest.raises(mb.MuybridgeError, match="8 clips at once") as caught:
        probe.measure(recipe)
    assert "training.micro_batch=3" in caught.value.hint
