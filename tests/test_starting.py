"""Training that begins from another run's weights, and training that ends early."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import muybridge as mb
from muybridge import starting
from muybridge.assembly import assemble
from muybridge.data.prepare import Config as Preparing
from muybridge.training import checkpoint, loop

SMALL = (
    "data.size=[32,32]", "data.frames=8", "model.patch=[4,8,8]", "model.width=16",
    "model.depth=1", "model.heads=1", "model.text.width=16", "model.text.depth=1",
    "training.batch=4", "training.minutes=null", "training.steps=4", "training.validations=1",
    "training.previews=1", "training.measures=0", "training.precision=fp32", "training.threads=1",
    "training.loggers=[]", "evaluation.held_out=4", "sampling.steps=2",
)  # fmt: skip


def stage(folder: Path, motions: tuple[str, ...]) -> Path:
    mb.make_stage(folder / "footage", 40, size=(32, 32), fps=8, seconds=1.5, motions=motions)
    mb.prepare(folder / "footage", folder / "dataset", config=Preparing(size=(32, 32), fps=8))
    return folder / "dataset"


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("data")
    return stage(folder / "a", ("bounce",)), stage(folder / "b", ("slide", "hide"))


@pytest.fixture(scope="module")
def first(datasets: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> mb.Run:
    recipe = mb.Recipe.load("flow-small", SMALL).with_(data=datasets[0])
    return recipe.train(tmp_path_factory.mktemp("runs") / "first")


def weights(objective: torch.nn.Module) -> dict[str, torch.Tensor]:
    return dict(objective.named_parameters())


def test_a_run_begins_from_anothers_averaged_weights_and_reads_words_alike(
    first: mb.Run, datasets: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = mb.Recipe.load("flow-small", SMALL).with_("seed=5", data=datasets[1])
    run = assemble(recipe, tmp_path / "run", first.folder)
    assert "parts fit" in capsys.readouterr().err
    objective = run.objective()
    starting.begin(objective, run.folder)
    there, here = weights(first.trained()[0].generator), weights(objective.generator)
    assert all(torch.equal(here[name], value) for name, value in there.items())
    words = [(one.folder / "vocabulary.json").read_text() for one in (first, run)]
    assert words[0] == words[1]
    run.train()
    # It stands by itself, and goes on by the same command without the other run.
    again = assemble(recipe, tmp_path / "run")
    assert again.recipe == run.recipe
    moved = weights(run.trained()[0].generator)
    assert any(not torch.equal(moved[name], value) for name, value in there.items())


def test_of_another_size_what_fits_is_taken_and_nothing_is_refused(
    first: mb.Run, datasets: tuple[Path, Path], tmp_path: Path
) -> None:
    deeper = mb.Recipe.load("flow-small", SMALL).with_("model.depth=2", data=datasets[0])
    run = assemble(deeper, tmp_path / "deeper", first.folder)
    fresh, begun = run.objective(), run.objective()
    starting.begin(begun, run.folder)
    same = {n: torch.equal(a, b) for (n, a), b in
            zip(weights(fresh).items(), weights(begun).values(), strict=True)}  # fmt: skip
    assert all(same[name] for name in same if "blocks.1" in name and "network" in name)
    assert not same["generator.network.blocks.0.qk.weight"]
    other = mb.Recipe.load("gan3d").with_(*SMALL[:2], "training.minutes=1", data=datasets[0])
    with pytest.raises(mb.MuybridgeError, match="none of its weights fits"):
        assemble(other, tmp_path / "gan", first.folder)
    with pytest.raises(mb.MuybridgeError, match="is not a run"):
        assemble(deeper, tmp_path / "none", datasets[0])


def test_training_ends_when_held_out_clips_get_no_better(
    datasets: tuple[Path, Path], tmp_path: Path
) -> None:
    """Few clips and a high rate: what is held out gets worse soon."""
    changes = (
        "training.steps=400", "training.validations=20", "training.patience=3",
        "training.optimizer.kind=sgd", "training.optimizer.learning_rate=1e-9",
    )  # fmt: skip
    recipe = mb.Recipe.load("flow-small", SMALL).with_(*changes, data=datasets[0])
    run = recipe.train(tmp_path / "run")
    lines = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    end, best = lines[-1], json.loads((run.folder / "best.json").read_text())
    assert end["kind"] == "end" and end["early"] is True
    judged = [one["step"] for one in lines if one["kind"] == "validation"]
    assert end["step"] < 400 and judged.index(end["step"]) - judged.index(best["step"]) == 3
    # The same command has nothing left to do.
    again = recipe.train(tmp_path / "run")
    assert again.trained()[1].step == end["step"]


def test_patience_counts_what_the_best_is_chosen_by_over_the_budget_there_is(
    tmp_path: Path,
) -> None:
    hooks: Any = SimpleNamespace(epoch=1)

    def stale(spent: float, **settings: Any) -> bool:
        config = loop.Config(**{"steps": 1000, "minutes": None, "patience": 1} | settings)
        return loop._stale(config, hooks, tmp_path, spent)

    scored = {"best": "appearance distance", "measures": 4}
    assert [stale(spent, **scored) for spent in (0.13, 0.24, 0.26)] == [False, False, True]
    assert stale(0.13)  # of the loss, which is looked at eight times
    # Found at nine tenths of a budget that was then made ten times as long.
    checkpoint.save_best(tmp_path, checkpoint.Position(90, 9.0, 0.9), 1.0, {"w": torch.zeros(1)})
    assert [stale(spent, patience=3) for spent in (0.3, 0.4)] == [False, True]
    minutes = {"steps": None, "minutes": 0.3}  # 9 seconds are half of it
    assert [stale(spent, **minutes) for spent in (0.6, 0.7)] == [False, True]


def test_the_best_checkpoint_may_be_chosen_by_a_distance() -> None:
    with pytest.raises(mb.MuybridgeError, match="neither loss nor a distance") as caught:
        mb.Recipe.load("flow-small", ("training.best=motion distance",))
    assert "add motion" in caught.value.hint
    with pytest.raises(mb.MuybridgeError, match="never scored"):
        mb.Recipe.load("flow-small", ("training.best=motion distance", "training.measures=0",
                                      "evaluation.during=[motion]"))  # fmt: skip
    kept = mb.Recipe.load(
        "flow-small", ("training.best=motion distance", "evaluation.during=[motion]")
    )
    assert kept.training.best == "motion distance"
