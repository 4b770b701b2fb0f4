"""A run from footage to scores, small: what a person can ask of it, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import muybridge as mb
from muybridge.core.errors import MuybridgeError
from muybridge.core.video import read_video
from muybridge.training import checkpoint

SMALL = (
    "data.size=[32,32]", "data.frames=8", "model.width=32", "model.depth=2", "model.heads=2",
    "training.batch=4", "training.minutes=null", "training.steps=6", "training.validations=2",
    "training.previews=1", "training.precision=fp32", "training.threads=1", "sampling.steps=2",
    "evaluation.samples=4", "evaluation.held_out=4", "evaluation.shown=2", "model.text.width=32",
    "evaluation.metrics=[appearance,motion,stage,copying,speed]", "evaluation.timed=2",
    # Noise at which a few steps can be seen to teach something; near pure noise nothing is known.
    "objective.time_mean=0.8", "objective.time_std=0.8", "sampling.shift=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    mb.make_stage(folder / "footage", 48, size=(32, 32), fps=8)
    from muybridge.data.prepare import Config

    mb.prepare(folder / "footage", folder / "dataset", config=Config(size=(32, 32), fps=8))
    return folder / "dataset"


def recipe(dataset: Path, *changes: str) -> mb.Recipe:
    return mb.Recipe.load("flow-small", (*SMALL, *changes)).with_(data=dataset)


@pytest.fixture(scope="module")
def run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> mb.Run:
    return recipe(dataset).train(tmp_path_factory.mktemp("runs") / "run")


def test_the_run_folder_is_as_documented(run: mb.Run) -> None:
    names = {path.name for path in run.folder.iterdir() if not path.name.startswith(".")}
    assert names >= {
        "recipe.yaml",
        "environment.json",
        "conditions.json",
        "log.jsonl",
        "checkpoints",
        "previews",
        "tensorboard",
    }
    for name in ("environment.json", "conditions.json"):
        assert json.loads((run.folder / name).read_text())["format"] == 1
    allowed = {".yaml", ".json", ".jsonl", ".safetensors", ".mp4", ".png", ""}
    for path in run.folder.rglob("*"):
        assert path.suffix in allowed or "tfevents" in path.name


def test_the_resolved_recipe_leaves_nothing_open_and_makes_the_same_run(
    run: mb.Run, dataset: Path
) -> None:
    again = mb.Recipe.load(run.folder / "recipe.yaml")
    assert again == run.recipe
    assert again.training.precision == "fp32"
    assert again.model.config.text.length > 0  # type: ignore[attr-defined]
    assert again.data.digest == mb.Dataset.open(dataset).facts["digest"]


def test_generate_gives_clips_in_range_that_move_with_seed_and_text(run: mb.Run) -> None:
    text = "a red ball bouncing"
    first = run.generate(text=text, count=3, seed=1)
    assert first.shape == (3, 8, 3, 32, 32)
    assert first.dtype == torch.float32
    assert float(first.min()) >= -1
    assert float(first.max()) <= 1
    torch.testing.assert_close(run.generate(text=text, count=2, seed=1), first[:2])
    assert (run.generate(text=text, count=2, seed=2) - first[:2]).abs().max() > 0.1
    assert run.generate(text=text, count=1, seconds=2.0).shape[1] == 16


def test_generate_needs_no_dataset(run: mb.Run, dataset: Path, tmp_path: Path) -> None:
    moved = dataset.rename(tmp_path / "away")
    try:
        assert mb.Run.open(run.folder).generate(count=1).shape[0] == 1
    finally:
        moved.rename(dataset)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"label": "bounce"}, "trained without labels"),
        ({"count": 0}, "count = 0"),
        ({"steps": 0}, "steps = 0"),
        ({"seconds": 0.01}, "--seconds 0.01"),
        ({"checkpoint": "777"}, "--checkpoint 777.*step-00000006"),
    ],
)
def test_what_a_run_cannot_do_is_refused_with_what_it_can(
    run: mb.Run, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(mb.MuybridgeError) as caught:
        run.generate(**asked)
    assert caught.match(rf"(?s){message}")


def test_another_recipe_is_not_trained_into_a_run(run: mb.Run, dataset: Path) -> None:
    with pytest.raises(mb.MuybridgeError, match=r"model.depth is 2 there, 3 here"):
        recipe(dataset, "model.depth=3").train(run.folder)


def test_the_recipe_says_what_a_model_works_on(run: mb.Run, dataset: Path) -> None:
    facts = mb.Dataset.open(dataset).facts
    told = run.objective()
    assert told.mean.flatten().tolist() == pytest.approx(facts["mean"], abs=1e-6)
    assert told.std.flatten().tolist() == pytest.approx(facts["std"], abs=1e-6)
    plain = dataclasses.replace(run, recipe=recipe(dataset, "data.normalise=range")).objective()
    assert plain.mean.flatten().tolist() == [0] * 3 and plain.std.flatten().tolist() == [1] * 3


def test_another_dataset_is_not_trained_into_a_run(
    run: mb.Run, dataset: Path, tmp_path: Path
) -> None:
    from muybridge.data.prepare import Config

    other = mb.prepare(
        dataset.parent / "footage", tmp_path / "d", config=Config(size=(32, 32), fps=8, quality=30)
    )
    with pytest.raises(mb.MuybridgeError, match="is not the one this run began with"):
        recipe(other.folder).train(run.folder)


def test_a_folder_of_something_else_is_left_alone(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(mb.MuybridgeError, match="exists and is not a run"):
        recipe(dataset).train(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_larger_budget_extends_a_finished_run(dataset: Path, tmp_path: Path) -> None:
    first = recipe(dataset, "training.steps=2").train(tmp_path / "run")
    assert first.trained()[1].step == 2
    assert recipe(dataset, "training.steps=5").train(tmp_path / "run").trained()[1].step == 5


def test_room_for_the_checkpoints_still_to_come_is_asked_for_before_training(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [2**40]
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=free[0]))
    begun = recipe(dataset, "training.keep=2").train(tmp_path / "run")
    there = checkpoint.newest(begun.folder)
    held = sum(path.stat().st_size for path in there[0].iterdir())
    lacking, enough = (int(held * (share - len(there))) for share in (3.5, 4.5))
    free[0] = lacking
    with pytest.raises(MuybridgeError, match="training needs about"):
        recipe(dataset, "training.keep=2", "training.steps=8").train(begun.folder)
    free[0] = enough
    recipe(dataset, "training.keep=2", "training.steps=8").train(begun.folder)


def test_a_second_process_is_kept_out(run: mb.Run, dataset: Path) -> None:
    from muybridge.core.files import locked

    with locked(run.folder, "run"), pytest.raises(mb.MuybridgeError, match="another process"):
        recipe(dataset, "training.steps=9").train(run.folder)


def test_evaluate_writes_scores_with_manifests_and_the_page_shows_them(run: mb.Run) -> None:
    scores = run.evaluate()
    assert scores == json.loads((run.folder / "scores.json").read_text())
    assert (scores["format"], scores["kind"]) == (2, "run")
    manifests = {score["name"]: score["manifest"] for score in scores["scores"]}
    names = list(manifests)
    assert names[:2] == ["appearance distance", "motion distance"]
    assert {"colour as asked", "shape as asked", "motion as asked", "all as asked"} <= set(names)
    assert {"copies", "closeness to training clips"} <= set(names)
    timed = set(names[names.index("time of a clip") :])
    digest = mb.Dataset.open(run.recipe.data.folder).facts["digest"]
    for name in set(names) - timed:
        told = manifests[name]
        assert (told["real_split"], told["real_digest"]) == ("test", digest)
        assert (told["generated"], told["frames"], told["fps"]) == (4, 8, run.recipe.data.fps)
        assert (told["run_seed"], told["checkpoint_step"]) == (0, 6)
    assert all(manifests[name]["timed"] == 2 for name in timed)
    assert "FVD" not in " ".join(names)
    wall = scores["walls"][0]
    assert len(wall["rows"]) == 2
    for row in wall["rows"]:
        for video in row["videos"]:
            assert len(read_video(run.folder / video)[0]) == 8
    page = mb.write_report([run.folder])
    text = page.read_text()
    assert "appearance distance" in text.lower()
    assert "http://" not in text.replace("http://www.w3.org", "")


def test_evaluating_twice_gives_the_same_numbers(run: mb.Run) -> None:
    def values() -> list[tuple[str, float]]:
        found = run.evaluate(metrics=("appearance", "motion", "stage", "copying"))
        return [(score["name"], score["value"]) for score in found["scores"]]

    assert values() == values()


def test_previews_are_pictures_of_the_right_shape(run: mb.Run) -> None:
    lines = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    preview = next(line for line in lines if line["kind"] == "preview")
    frames, _ = read_video(run.folder / preview["video"])
    assert frames.shape[0] == 8
    assert (run.folder / preview["sheet"]).read_bytes().startswith(b"\x89PNG")


def test_a_users_own_network_is_found_by_its_path(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom muybridge.core.config import Section\n"
        "class Config(Section):\n    labels: int = 0\n    scale: float = 0.5\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, config):\n        super().__init__()\n"
        "        self.config = config\n"
        "        self.gain = torch.nn.Parameter(torch.tensor(config.scale))\n"
        "    def forward(self, x, *conditions):\n        return x * self.gain\n"
        "def build(config):\n    return Net(config)\n"
    )
    tree = recipe(dataset).tree() | {"model": {"kind": str(tmp_path / "mine.py"), "scale": 0.25}}
    run = mb.Recipe.from_tree(tree).train(tmp_path / "run")
    assert mb.Run.open(run.folder).generate(count=1).isfinite().all()


def command(dataset: Path, out: Path) -> list[str]:
    changes = (
        *SMALL,
        "training.steps=300",
        "training.save_seconds=0.05",
        "training.keep=3",
        "training.log_every=1",
    )
    sets = [part for change in changes for part in ("--set", change)]
    return [
        sys.executable,
        "-m",
        "muybridge",
        "train",
        "flow-small",
        "--data",
        str(dataset),
        "--out",
        str(out),
        *sets,
    ]


def wait_for_step(process: subprocess.Popen[bytes], log: Path, step: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if log.exists() and any(
            f'"step": {s},' in log.read_text() for s in range(step, step + 400)
        ):
            return
        time.sleep(0.01)


@pytest.mark.slow
def test_killed_at_twenty_moments_the_same_command_ends_bit_for_bit_the_same(
    dataset: Path, tmp_path: Path
) -> None:
    chance = random.Random(0)
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    out = tmp_path / "killed"
    inside_a_save, reached = 0, 0
    for kill in range(20):
        process = subprocess.Popen(command(dataset, out), env=env, stderr=subprocess.DEVNULL)
        wait_for_step(process, out / "log.jsonl", reached + 1)
        if kill % 2:
            # Odd kills wait for a save to begin.
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline and not list((out / "checkpoints").glob(".*.tmp")):
                pass
        else:
            time.sleep(chance.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the run ended before it was killed"
        inside_a_save += bool(list((out / "checkpoints").glob(".*.tmp")))
        done = sorted((out / "checkpoints").glob("step-*"))
        reached = int(done[-1].name[5:]) if done else 0
    assert inside_a_save >= 3
    subprocess.run(command(dataset, out), env=env, check=True, stderr=subprocess.DEVNULL)
    whole = tmp_path / "whole"
    subprocess.run(command(dataset, whole), env=env, check=True, stderr=subprocess.DEVNULL)
    for part in ("model", "average", "optimizer"):
        first, second = (
            load_file(f / "checkpoints/step-00000300" / f"{part}.safetensors") for f in (out, whole)
        )
        assert first.keys() == second.keys()
        for name in first:
            assert torch.equal(first[name], second[name]), f"{part} {name}"
    steps = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in steps if line["kind"] == "train"] == list(range(1, 301))


def test_a_small_model_learns_one_clip(dataset: Path, tmp_path: Path) -> None:
    """Learning at all: on one repeated clip the held-out loss of the model falls far."""
    run = recipe(dataset, "training.steps=60", "training.optimizer.decay=0.3").train(
        tmp_path / "run"
    )
    lines = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "validation"]
    assert losses[-1] < 0.6 * losses[0]
    assert np.isfinite(losses).all()


def test_held_out_losses_are_those_of_averaged_weights_and_of_those_that_are_not(
    run: mb.Run, dataset: Path
) -> None:
    lines = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    told = [line for line in lines if line["kind"] == "validation"]
    assert told[0]["raw_loss"] == told[0]["loss"] and told[-1]["raw_loss"] != told[-1]["loss"]
    assert told[-1]["train_by_time"].keys() == told[-1]["by_time"].keys()
    mean = sum(told[-1]["train_by_time"].values()) / 4
    assert mean == pytest.approx(told[-1]["train_loss"], rel=1e-5)
    kept = load_file(run.folder / "checkpoints" / "step-00000006" / "model.safetensors")
    held_out = run.loader(mb.Dataset.open(dataset), "validation").fixed(4)
    objective, _ = run.trained()
    for name, weights in {"loss": None, "raw_loss": kept}.items():
        if weights is not None:
            objective.load_state_dict(weights)
        with torch.no_grad():
            assert objective.held_out(held_out)[0] == pytest.approx(told[-1][name], rel=1e-5)


def test_a_run_killed_while_its_folder_was_made_can_begin_again(
    dataset: Path, run: mb.Run, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "conditions.json").write_text("{")
    again = recipe(dataset, "training.steps=2").train(out)
    assert again.conditions == run.conditions


def test_the_size_to_prepare_follows_the_size_to_train() -> None:
    assert mb.Recipe.load("flow-small", ("data.size=[128,96]",)).prepare.size == (128, 96)
    both = ("data.size=[128,96]", "prepare.size=[256,192]")
    assert mb.Recipe.load("flow-small", both).prepare.size == (256, 192)
