"""A loss on features of one's own autoencoder: what it sees, and what is kept of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import muybridge as mb
from muybridge.core.errors import MuybridgeError
from muybridge.data.prepare import Config
from muybridge.perceptual import Distance

SMALL = (
    "data.size=[32,32]", "data.frames=8", "training.batch=4", "training.minutes=null",
    "training.steps=4", "training.validations=1", "training.previews=0",
    "training.precision=fp32", "training.threads=1", "training.loggers=[]",
    "evaluation.held_out=4", "model.widths=[8,12]", "model.depth=[1,1]", "model.prior=null",
    "model.text=null",
)  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    mb.make_stage(folder / "footage", 24, size=(32, 32), fps=8)
    mb.prepare(folder / "footage", folder / "dataset", config=Config(size=(32, 32), fps=8))
    return folder / "dataset"


@pytest.fixture(scope="module")
def eye(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> mb.Run:
    recipe = mb.Recipe.load("vae", SMALL).with_(data=dataset)
    return recipe.train(tmp_path_factory.mktemp("runs") / "eye")


def test_a_loss_by_ones_own_network_trains_and_is_whole_by_itself(
    dataset: Path, eye: mb.Run, tmp_path: Path
) -> None:
    source = tmp_path / "eye"
    shutil.copytree(eye.folder, source)
    changes = (*SMALL, f"perceptual={json.dumps(str(source))}", "objective.pixels.perceptual=0.5")
    recipe = mb.Recipe.load("vae", changes).with_(data=dataset)
    run = recipe.train(tmp_path / "run")
    lines = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    terms = [line["losses"] for line in lines if line["kind"] == "train"]
    assert all(one["codec perceptual"] > 0 for one in terms)
    assert run.recipe.perceptual is not None
    assert len(run.recipe.perceptual.sha256) == 64
    shutil.rmtree(source)
    again = recipe.with_("training.steps=5").train(run.folder)
    assert (again.folder / "checkpoints" / "step-00000005").is_dir()


def by_eye(eye: mb.Run) -> Distance:
    recipe = mb.Recipe.load("vae", (*SMALL, f"perceptual={json.dumps(str(eye.folder))}"))
    assert recipe.perceptual is not None
    folder = eye.folder.parent / "with"
    shutil.copytree(eye.folder, folder / "perceptual", dirs_exist_ok=True)
    return Distance(recipe.perceptual, folder)


def test_it_sees_blur_and_not_what_is_equal_and_its_gradient_leads_back(eye: mb.Run) -> None:
    distance = by_eye(eye)
    real = torch.rand(2, 8, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    blurred = F.avg_pool2d(real.flatten(0, 1), 3, 1, 1).view_as(real).requires_grad_()
    assert distance(real, real).shape == (2, 8)
    assert float(distance(real, real).abs().max()) < 1e-6
    off = distance(blurred, real)
    assert float(off.detach().min()) > 1e-3
    off.sum().backward()
    assert blurred.grad is not None
    assert float(blurred.grad.abs().sum()) > 0


def test_clips_of_any_length_are_compared_as_with_more_before_them(eye: mb.Run) -> None:
    distance = by_eye(eye)
    made, real = (torch.rand(2, 8, 3, 32, 32) * 2 - 1 for _ in range(2))
    for clips in (made, real):
        clips[:, :4] = clips[:, 3:4]
    assert distance(made[:, 3:], real[:, 3:]).shape == (2, 5)
    torch.testing.assert_close(distance(made, real)[:, 3:], distance(made[:, 3:], real[:, 3:]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("objective.pixels.perceptual=1",), "names no network"),
        (("perceptual={weights: /nowhere}",), "weights /nowhere"),
        (("perceptual={run: /nowhere}",), "is not a run"),
    ],
)
def test_a_network_that_is_not_there_is_told(
    dataset: Path, tmp_path: Path, changes: tuple[str, ...], message: str
) -> None:
    recipe = mb.Recipe.load("vae", (*SMALL, *changes)).with_(data=dataset)
    with pytest.raises(MuybridgeError, match=message):
        recipe.train(tmp_path / "run")
