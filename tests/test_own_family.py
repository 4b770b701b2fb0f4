"""A family of a person's own: one network file, one objective at most, and one recipe."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import muybridge as mb
from muybridge.core.errors import MuybridgeError
from muybridge.data.prepare import Config
from muybridge.training import checkpoint

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "docs" / "examples" / "my_model.py"
SMALL = (
    "training.minutes=null", "training.steps=4", "training.batch=4", "training.validations=1",
    "training.previews=1", "training.precision=fp32", "training.threads=1",
    "training.loggers=[]", "evaluation.held_out=4", "sampling.steps=2",
    "data.size=[32,32]", "data.frames=8", "model.width=8", "model.depth=1",
)  # fmt: skip

OBJECTIVE = '''
import torch
from muybridge.core import chance
from muybridge.core.config import Section
from muybridge.objectives.base import Loss, Objective


class Config(Section):
    pull: float = 0.5
    """Towards grey."""


class Sampling(Section):
    contrast: float = 1.0
    """Of what is made."""


def build(config, parts):
    return Own(config, parts)


class Own(Objective):
    def __init__(self, config, parts):
        super().__init__()
        self.config, self.sampling, self.generator = config, parts.sampling, parts.network

    def weights(self, batch, phase):
        return {"error": batch.frame_weight.sum(1)}

    def _made(self, clips, times, label):
        return self.generator(clips, torch.zeros(len(clips)), times, label)

    def loss(self, batch, phase, progress):
        made = self._made(batch.clips * self.config.pull, batch.times, batch.label)
        error = (made - batch.clips).square().mean((2, 3, 4)) * batch.frame_weight
        return Loss({"error": error.sum(1)})

    def sample(self, request):
        shape = (request.times.shape[1], 3, *request.size)
        noise = chance.normal(request.seeds, shape, "own")
        made = self._made(noise, request.times, request.label)
        return (made * self.sampling.contrast).clamp(-1, 1)
'''


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    mb.make_stage(folder / "footage", 24, size=(32, 32), fps=8)
    mb.prepare(folder / "footage", folder / "dataset", config=Config(size=(32, 32), fps=8))
    return folder / "dataset"


def test_the_example_is_short_and_its_command_works(
    dataset: Path,
    tmp_path: Path,
    environment: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert len(EXAMPLE.read_text().splitlines()) < 60
    command = EXAMPLE.read_text().split("`muybridge ")[1].split("`")[0].split()
    command[command.index("dataset")] = str(dataset)
    command[command.index("runs/mine")] = str(tmp_path / "run")
    changes = [word for change in SMALL for word in ("--set", change)]
    subprocess.run(
        [sys.executable, "-m", "muybridge", *command, *changes],
        cwd=ROOT, env=environment, check=True,
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)  # a run opens from any folder
    assert mb.Run.open(tmp_path / "run").generate(count=2).shape == (2, 8, 3, 32, 32)


def test_a_network_an_objective_and_a_recipe_are_all_that_a_family_needs(
    dataset: Path, tmp_path: Path
) -> None:
    (tmp_path / "net.py").write_text(EXAMPLE.read_text())
    (tmp_path / "goal.py").write_text(OBJECTIVE)
    recipe = tmp_path / "own.yaml"
    recipe.write_text(
        f"data: {{frames: 8, fps: 8, size: [32, 32]}}\n"
        f"model: {{kind: {tmp_path / 'net.py'}, size: nano}}\n"
        f"objective: {{kind: {tmp_path / 'goal.py'}, pull: 0.25}}\n"
        "sampling: {contrast: 0.5}\n"
        "training: {steps: 4, batch: 4}\n"
    )
    changes = tuple(c for c in SMALL if "sampling" not in c)
    given = mb.Recipe.load(recipe, changes).with_(data=dataset)
    run = given.train(tmp_path / "run")
    clips = run.generate(count=2, seed=5)
    assert clips.abs().max() <= 1
    again = mb.Run.open(run.folder).generate(count=2, seed=5)
    assert (clips == again).all()
    assert checkpoint.find(run.folder, "last").name == "step-00000004"
    assert run.evaluate(metrics=["time"], samples=4)["scores"]
    with pytest.raises(MuybridgeError, match="sampled without guidance"):
        run.generate(count=1, guidance=2.0)


def test_a_run_keeps_the_files_it_was_made_with(dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "net.py").write_text(EXAMPLE.read_text())
    (folder / "goal.py").write_text(OBJECTIVE)
    (folder / "own.yaml").write_text(  # paths are taken from the recipe's folder
        "data: {frames: 8, fps: 8, size: [32, 32]}\nmodel: {kind: ./net.py, size: nano}\n"
        "objective: {kind: goal.py}\ntraining: {steps: 4, batch: 4}\n"
    )
    changes = tuple(c for c in SMALL if "sampling" not in c)
    recipe = mb.Recipe.load(folder / "own.yaml", changes).with_(data=dataset)
    first = recipe.train(tmp_path / "run").generate(count=1, seed=5)
    assert "kind: own/net.py" in (tmp_path / "run" / "recipe.yaml").read_text()
    # The same command goes on; with another file of that name it does not.
    recipe.with_("training.steps=5").train(tmp_path / "run")
    (folder / "net.py").write_text(EXAMPLE.read_text() + "\nOTHER = 1\n")
    changed = mb.Recipe.load(folder / "own.yaml", changes).with_(data=dataset)
    with pytest.raises(MuybridgeError, match="is not what the run began with"):
        changed.train(tmp_path / "run")
    # It is whole by itself, wherever it is moved to.
    (folder / "net.py").unlink()
    (tmp_path / "run").rename(tmp_path / "moved")
    again = mb.Run.open(tmp_path / "moved").generate(count=1, seed=5)
    assert again.shape == first.shape


def test_what_a_file_defines_is_the_same_wherever_it_is_asked_for(tmp_path: Path) -> None:
    paths = [tmp_path / place / "net.py" for place in ("a", "b")]
    for number, path in enumerate(paths):
        path.parent.mkdir()
        path.write_text(EXAMPLE.read_text() + f"\nNUMBER = {number}\n")
    recipe = tmp_path / "own.yaml"
    recipe.write_text("model: {kind: a/net.py, size: nano}\ntraining: {steps: 4}\n")
    changes = ((), (f"model.kind={paths[1]}",))
    one, other = (mb.Recipe.load(recipe, given).model for given in changes)
    assert isinstance(one.config, one.module.Config)
    assert [part.module.NUMBER for part in (one, other)] == [0, 1]
    assert sys.modules[one.module.__name__] is one.module


@pytest.mark.parametrize(
    ("text", "message"),
    [("x = 1", "does not define Config and build"), (None, "is not a file")],
)
def test_a_file_that_is_no_family_is_refused(
    tmp_path: Path, text: str | None, message: str
) -> None:
    path = tmp_path / "net.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(MuybridgeError, match=message):
        mb.Recipe.load("flow-small", (f"model.kind={path}",))
