"""Scores while training: they are logged, change nothing, and are the same on several ranks."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import muybridge as mb
from muybridge import run as running
from muybridge.core import distributed
from muybridge.watch import watch

SMALL = (
    "data.size=[32,32]", "data.frames=8", "model.width=32", "model.depth=1", "model.heads=2",
    "model.text.width=32", "training.batch=4", "training.minutes=null", "training.steps=4",
    "training.validations=1", "training.previews=0", "training.measures=2",
    "training.precision=fp32", "training.threads=1", "training.loggers=[]",
    "sampling.steps=1", "evaluation.held_out=4", "evaluation.during_samples=6",
)  # fmt: skip
DURING = "evaluation.during=[appearance,motion,copying]"


@pytest.fixture(scope="module")
def dataset(small_stage: Path) -> Path:
    return small_stage


def recipe(dataset: Path, *changes: str) -> mb.Recipe:
    return mb.Recipe.load("flow-small", (*SMALL, *changes)).with_(data=dataset)


@pytest.fixture(scope="module")
def watched(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> mb.Run:
    return recipe(dataset, DURING).train(tmp_path_factory.mktemp("runs") / "watched")


def watching(run: mb.Run) -> Any:
    """What scores the model that a run ended with."""
    dataset = mb.Dataset.open(run.recipe.data.folder)
    splits = (run.loader(dataset, split) for split in ("train", "validation"))
    return watch(run, run.trained()[0], *splits)


def lines(run: mb.Run, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    return [line for line in found if line["kind"] == kind]


def test_scores_are_logged_at_intervals(watched: mb.Run) -> None:
    found = lines(watched, "scores")
    assert [line["step"] for line in found] == [2, 4]
    for line in found:
        assert line.keys() >= {"appearance distance", "motion distance", "copies", "seconds"}
    # The same as of the finished run's averaged weights.
    scores = watching(watched)()
    assert scores == {name: found[-1][name] for name in scores}


def test_they_do_not_change_the_course_of_training(
    watched: mb.Run, dataset: Path, tmp_path: Path
) -> None:
    plain = recipe(dataset).train(tmp_path / "plain")
    assert lines(plain, "scores") == []
    for part in ("model", "average", "optimizer"):
        first, second = (
            load_file(run.folder / f"checkpoints/step-00000004/{part}.safetensors")
            for run in (watched, plain)
        )
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_two_ranks_get_the_scores_of_one(
    watched: mb.Run, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    script = tmp_path / "worker.py"
    script.write_text(
        "import json, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import muybridge as mb, test_watch\n"
        "from muybridge.core import distributed\n"
        "distributed.start()\n"
        "print(json.dumps(test_watch.watching(mb.Run.open(sys.argv[1]))()))\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    ranks = [
        subprocess.Popen(
            [sys.executable, str(script), str(watched.folder)],
            env={**environment, **world, "RANK": str(rank)}, stdout=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    told = [rank.communicate(timeout=240)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    one = watching(watched)()
    for out in told:
        # Clips that are made three at a time differ in a last bit from those made six at a time.
        assert json.loads(out) == pytest.approx(one, rel=1e-3)


def test_samples_that_are_not_finite_are_passed_over_with_a_word(
    watched: mb.Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scores, sample = watching(watched), running.Run.sample

    def diverged(self: mb.Run, objective: Any, request: Any, what: str = "") -> Tensor:
        made = sample(self, objective, request, what).clone()
        made[4] = float("inf")
        return made

    monkeypatch.setattr(running.Run, "sample", diverged)
    assert scores() == {}
    assert "sample 4 is not finite" in capsys.readouterr().err


def test_fewer_clips_than_processes_are_refused(
    watched: mb.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "world", lambda: 7)
    with pytest.raises(mb.MuybridgeError, match=r"evaluation.during_samples = 6.*7 processes"):
        watching(watched)


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        ("evaluation.during=[apearance]", "evaluation.during: .*'apearance'", "appearance"),
        ("evaluation.metrics=[motoin]", "evaluation.metrics: .*'motoin'", "motion"),
        ("evaluation.during=[motion,speed]", "evaluation.during: speed", "muybridge evaluate"),
    ],
)
def test_a_recipe_names_measures_that_there_are(change: str, message: str, hint: str) -> None:
    with pytest.raises(mb.MuybridgeError, match=message) as caught:
        mb.Recipe.load("flow-small", (*SMALL, change))
    assert hint in caught.value.hint


def test_without_measures_nothing_is_done(watched: mb.Run) -> None:
    evaluation = watched.recipe.evaluation.with_values(during=())
    idle = replace(watched, recipe=replace(watched.recipe, evaluation=evaluation))
    assert watching(idle)() == {}
