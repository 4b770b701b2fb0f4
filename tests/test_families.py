"""What every family that ships promises: exact resume, both precisions, samples of their seed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

import muybridge as mb
from muybridge.core.clips import Batch
from muybridge.data.loader import Loader
from muybridge.data.prepare import Config
from muybridge.recipe import SHIPPED, shipped
from muybridge.training import checkpoint

SMALL = (
    "data.size=[32,32]", "data.frames=8", "training.batch=2", "training.minutes=null",
    "training.steps=4", "training.validations=1", "training.previews=1", "training.threads=1",
    "training.loggers=[]", "training.save_seconds=0", "evaluation.held_out=2",
    "model.size=nano",
)  # fmt: skip
OWN: dict[str, tuple[str, ...]] = {
    "flow": ("sampling.steps=2", "model.dropout=0.1"),
    "flow-any": ("data.tasks.given=6",),
    "vae": ("sampling.steps=2",),
    "simvp": (
        "model.frames=4", "critic={kind: gan3d, size: nano}", "objective.pixels.adversarial=0.1",
    ),
    "flow-latent": ("tokenizer.set=[model.size=nano,model.prior=null,model.text=null]",),
    "gan-progressive": ("model.spectral=true",),
    "gan3d": ("tokenizer.set=[model.size=nano,model.prior=null,model.text=null]",),
    "gan-conditional": ("tokenizer.set=[model.size=nano,model.prior=null,model.text=null]",),
    "transformer": ("tokenizer.set=[model.size=nano]", "model.dropout=0.1"),
}  # fmt: skip
# `flow-base` is flow-small's network at another size; `fsq` makes no clips by itself.
FAMILIES = [name for name in shipped() if name not in ("flow-base", "flow-small", "fsq")]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    mb.make_stage(folder / "footage", 24, size=(32, 32), fps=8)
    mb.prepare(folder / "footage", folder / "dataset", config=Config(size=(32, 32), fps=8))
    return folder / "dataset"


def recipe(dataset: Path, name: str, precision: str) -> mb.Recipe:
    own = [change for start, changes in OWN.items() if name.startswith(start) for change in changes]
    given = (*SMALL, f"training.precision={precision}", *own)
    return mb.Recipe.load(name, given).with_(data=dataset)


def weights(run: mb.Run) -> dict[str, torch.Tensor]:
    folder = checkpoint.find(run.folder, "last")
    assert folder.name == f"step-{run.recipe.second_stage().steps:08d}"
    return {
        f"{part}/{name}": value
        for part in ("model", "average", "optimizer")
        for name, value in load_file(folder / f"{part}.safetensors").items()
    }


class Cut(BaseException):
    """As a kill would end it: nothing is saved on the way out."""


def cut(wanted: mb.Recipe, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains until the second step of a stage is to begin."""
    plain = Loader.iterate

    def iterate(self: Loader, step: int, *given: Any) -> Generator[Batch]:
        yield next(plain(self, step, *given))
        raise Cut

    monkeypatch.setattr(Loader, "iterate", iterate)
    with pytest.raises(Cut):
        wanted.train(out)
    monkeypatch.undo()


# A process that kills itself: in the first step, which may be a tokenizer's, or while a checkpoint
# of the model itself is written.
KILLED = """
import os, signal, sys
from pathlib import Path
from muybridge import Recipe
from muybridge.core import config
from muybridge.data.loader import Loader
from muybridge.training import checkpoint

settings, out, moment = sys.argv[1:]
wanted = Recipe.from_tree(config.read_yaml(Path(settings), "recipe"))
iterate, save = Loader.iterate, checkpoint.save

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def cut(self, step, *given):
    batches = iterate(self, step, *given)
    yield next(batches)
    if moment == "step":
        kill()
    yield from batches

def half(run, name, *given):
    if moment == "save" and name == "step-00000002" and run.name != "tokenizer":
        checkpoint.save_file = lambda *_: kill()
    return save(run, name, *given)

Loader.iterate, checkpoint.save = cut, half
wanted.train(out)
"""


def killed(wanted: mb.Recipe, out: Path, moment: str, environment: Mapping[str, str]) -> None:
    """Trains in a process that is killed by SIGKILL."""
    settings = out.with_suffix(".yaml")
    settings.write_text(yaml.safe_dump(wanted.tree()), encoding="utf-8")
    given = [sys.executable, "-c", KILLED, str(settings), str(out), moment]
    ended = subprocess.run(given, env=environment, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_goes_on_bit_for_bit_and_makes_clips_of_their_seed(
    name: str,
    precision: str,
    dataset: Path,
    tmp_path: Path,
    environment: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = recipe(dataset, name, precision)
    whole = wanted.train(tmp_path / "whole")
    if precision == "fp32":
        killed(wanted, tmp_path / "parts", "step", environment)
        killed(wanted, tmp_path / "parts", "save", environment)
    else:
        cut(wanted, tmp_path / "parts", monkeypatch)
    parts = wanted.train(tmp_path / "parts")
    first, second = weights(whole), weights(parts)
    assert first.keys() == second.keys()
    unlike = [n for n, value in first.items() if not torch.equal(value, second[n])]
    assert not unlike
    assert all(bool(value.isfinite().all()) for value in first.values())

    clips = whole.generate(count=2, seed=4)
    assert clips.shape == (2, 8, 3, 32, 32)
    assert torch.equal(parts.generate(count=2, seed=4), clips)
    assert torch.equal(mb.Run.open(whole.folder).generate(count=2, seed=4), clips)
    assert list((whole.folder / "previews").glob("*.mp4"))


def test_every_family_has_a_page_that_names_its_recipes() -> None:
    pages = (Path(__file__).parents[1] / "docs").rglob("*.md")
    told = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    for name in FAMILIES:
        assert f"`{name}`" in told, f"no page says when to choose {name}"
        first = (SHIPPED / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
        assert first.startswith("# "), f"{name}.yaml does not begin by saying what it is for"
