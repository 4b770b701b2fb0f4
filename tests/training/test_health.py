"""Trainings that go wrong on purpose are named; figures within bounds are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import muybridge as mb
from muybridge.data.prepare import Config
from muybridge.training import health
from muybridge.training.monitor import Monitor

SMALL = (
    "data.size=[32,32]", "data.frames=8", "training.batch=4", "training.minutes=null",
    "training.steps=24", "training.validations=8", "training.previews=0",
    "training.precision=fp32", "training.threads=1", "training.tensorboard=false",
    "evaluation.held_out=8", "training.save_seconds=1e9",
)  # fmt: skip
FAST = ("training.optimizer.learning_rate=0.1", "training.steps=80")
VAE = ("model.widths=[8,12]", "model.depth=[1,1]", "model.prior=null", "model.text=null")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    mb.make_stage(folder / "footage", 24, size=(32, 32), fps=8)
    mb.prepare(folder / "footage", folder / "dataset", config=Config(size=(32, 32), fps=8))
    return folder / "dataset"


def told(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "health"]


def trained(dataset: Path, out: Path, name: str, *changes: str) -> list[dict[str, Any]]:
    mb.Recipe.load(name, (*SMALL, *changes)).with_(data=dataset).train(out)
    return told(out)


@pytest.mark.parametrize(
    ("recipe", "changes", "name"),
    [
        (
            "vae",
            (
                *VAE,
                "objective.kl=[100,100]",
                "training.optimizer.learning_rate=0.1",
                "training.steps=80",
            ),
            "posterior collapse",
        ),
        ("fsq", (*VAE[:2], "training.optimizer.learning_rate=3"), "dead codes"),
    ],
)
def test_what_goes_wrong_on_purpose_is_said_once_with_what_to_try(
    dataset: Path, tmp_path: Path, recipe: str, changes: tuple[str, ...], name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    found = trained(dataset, tmp_path / "run", recipe, *changes)
    assert [line["name"] for line in found] == [name]
    said = [line for line in capsys.readouterr().err.splitlines() if name in line]
    assert len(said) == 1
    assert "to try: " in said[0]
    assert f"step {found[0]['step']}" in said[0]


@pytest.mark.parametrize(
    ("recipe", "changes"), [("vae", VAE), ("fsq", VAE[:2]), ("flow-nano", ("model.width=32",))]
)
@pytest.mark.parametrize("seed", [11, 12])
def test_a_healthy_run_is_left_alone(
    dataset: Path, tmp_path: Path, recipe: str, changes: tuple[str, ...], seed: int
) -> None:
    assert trained(dataset, tmp_path / "run", recipe, f"seed={seed}", *changes) == []


@pytest.mark.parametrize("sign", health.SIGNS, ids=lambda sign: f"{sign.name}: {sign.figure}")
def test_a_sign_shows_twice_running_and_not_early(sign: health.Sign) -> None:
    inside = {sign.figure: sign.most if sign.least == float("-inf") else sign.least}
    beyond = {sign.figure: inside[sign.figure] + (1e-6 if sign.most < 1e9 else -1e-6)}
    watch = health.Watch(set())
    seen = [
        watch.see(figures, progress)
        for figures, progress in (
            (beyond, 0.05), (beyond, 0.1), (beyond, 0.3), (inside, 0.4), ({}, 0.5), (beyond, 0.6),
            (beyond, 0.7), (beyond, 0.8),
        )
    ]  # fmt: skip
    assert [[s.name for s in now] for now in seen] == [[]] * 6 + [[sign.name], []]


def test_what_was_said_is_not_said_again_by_a_run_that_goes_on(tmp_path: Path) -> None:
    def judge(monitor: Monitor, steps: list[int]) -> None:
        for step in steps:
            monitor.write("validation", step, progress=0.5, loss=1.0, tokens_used=0.0)
        monitor.close()

    judge(Monitor(tmp_path, 0, tensorboard=False), [1, 2, 3])
    assert len(told(tmp_path)) == 1
    judge(Monitor(tmp_path, 3, tensorboard=False), [4, 5, 6])
    assert len(told(tmp_path)) == 1
    # Said after the checkpoint that a killed run goes on from: those steps are taken again.
    judge(Monitor(tmp_path, 1, tensorboard=False), [2, 3])
    assert len(told(tmp_path)) == 1
