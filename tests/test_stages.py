"""Runs of two stages: a tokenizer first, then a model over its latents."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import muybridge as mb
from muybridge import probe, stages
from muybridge.assembly import assemble
from muybridge.core.errors import MuybridgeError
from muybridge.data.prepare import Config
from muybridge.training import checkpoint

SMALL = (
    "data.size=[32,32]", "data.frames=8", "training.batch=4", "training.minutes=null",
    "training.steps=5", "training.validations=1", "training.previews=1", "training.precision=fp32",
    "training.threads=1", "training.loggers=[]", "sampling.steps=2",
    "evaluation.held_out=4", "model.width=32", "model.depth=1", "model.heads=2",
    "model.text.width=16",
)  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    mb.make_stage(folder / "footage", 24, size=(32, 32), fps=8)
    mb.prepare(folder / "footage", folder / "dataset", config=Config(size=(32, 32), fps=8))
    return folder / "dataset"


def recipe(dataset: Path, *changes: str) -> mb.Recipe:
    inner = [
        "model.widths=[8,8]", "model.depth=[1,1]", "model.prior=null", "model.text=null",
        "model.channels=6",
    ]  # fmt: skip
    given = (*SMALL, f"tokenizer.set={json.dumps(inner)}", *changes)
    return mb.Recipe.load("flow-latent", given).with_(data=dataset)


@pytest.fixture(scope="module")
def run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> mb.Run:
    return recipe(dataset).train(tmp_path_factory.mktemp("runs") / "run")


def test_the_budget_is_shared_between_the_two(run: mb.Run) -> None:
    inner = mb.Run.open(run.folder / "tokenizer")
    taken = [checkpoint.load(checkpoint.find(r.folder, "last"), ())[0].step for r in (inner, run)]
    assert taken == [2, 3]
    assert run.recipe.first_stage().training.minutes is None
    timed = run.recipe.with_(minutes=10)
    assert timed.first_stage().training.minutes == pytest.approx(4)
    assert timed.second_stage().minutes == pytest.approx(6)


def test_the_model_is_told_what_its_latents_are(run: mb.Run) -> None:
    told = run.recipe.tokenizer
    assert told is not None
    assert (told.stride, told.channels, told.vocabulary) == ((4, 8, 8), 6, 0)
    assert run.recipe.model.config.channels == 6  # type: ignore[attr-defined]
    assert run.recipe.multiple == (4, 8, 8)


def test_latents_are_standardised_by_those_of_the_training_clips(
    run: mb.Run, dataset: Path
) -> None:
    network, mean, std = stages.loaded(run)
    clips = run.loader(mb.Dataset.open(dataset), "train").fixed(64).clips
    with torch.no_grad():
        latents = network.encode(clips).transpose(1, 2).flatten(2).transpose(0, 1).flatten(1)  # type: ignore[operator]
    # Half the deviation: they were measured on other moments of the same clips.
    off = (latents.mean(1) - torch.tensor(mean)) / torch.tensor(std)
    assert float(off.abs().max()) < 0.5
    assert float((latents.std(1) / torch.tensor(std)).log().abs().max()) < 0.5


def test_the_run_is_whole_by_itself(run: mb.Run, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(run.folder, moved)
    assert torch.equal(mb.Run.open(moved).generate(count=2, seed=3), run.generate(count=2, seed=3))
    assert not any("tokenizer" in name for name in run.objective().state_dict())


def test_the_same_command_goes_on_and_trains_no_tokenizer_again(
    run: mb.Run, dataset: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run.folder, copy)
    before = (copy / "tokenizer" / "log.jsonl").read_bytes()
    position = recipe(dataset, "training.steps=10").train(copy)
    # With the two of its tokenizer that makes ten, whatever the share was meant to be.
    assert checkpoint.load(checkpoint.find(position.folder, "last"), ())[0].step == 8
    assert (copy / "tokenizer" / "log.jsonl").read_bytes() == before


def test_a_run_that_was_trained_can_be_taken(run: mb.Run, dataset: Path, tmp_path: Path) -> None:
    given = recipe(dataset, f"tokenizer={json.dumps(str(run.folder / 'tokenizer'))}")
    made = given.train(tmp_path / "run")
    first, again = (stages.loaded(one)[0].state_dict() for one in (run, made))
    assert all(torch.equal(first[name], again[name]) for name in first)
    # All of the budget is the model's own.
    assert checkpoint.load(checkpoint.find(made.folder, "last"), ())[0].step == 5


def test_a_run_before_its_tokenizer_is_trained_says_so(dataset: Path, tmp_path: Path) -> None:
    from muybridge.assembly import assemble

    with pytest.raises(MuybridgeError, match=r"(?s)no tokenizer yet.*same command"):
        assemble(recipe(dataset), tmp_path / "run").objective()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("tokenizer={}", "one is needed"),
        ("tokenizer=3", "a run's folder"),
        ("tokenizer={recipe: vae, run: x}", "one is needed"),
        ("tokenizer.recipe=flow-nano", "is a dit, which makes no latents"),
        ("tokenizer.recipe=vaee", "did you mean vae"),
        ("tokenizer.share=1.5", "tokenizer.share"),
        ("tokenizer=/nowhere", "is not a run"),
        ("data.frames=10", "data.frames = 10 is not a multiple of the tokenizer's 4"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    dataset: Path, tmp_path: Path, change: str, message: str
) -> None:
    changes = (change, "tokenizer.set=[]") if "recipe=" in change else (change,)
    with pytest.raises(MuybridgeError) as caught:
        recipe(dataset, *changes).train(tmp_path / "run")
    assert message in f"{caught.value} {caught.value.hint}"
    assert not (tmp_path / "run").exists()


def test_latents_of_training_clips_are_kept_beside_the_dataset_and_taken_from_there(
    run: mb.Run, dataset: Path
) -> None:
    objective = run.objective()
    train = run.loader(mb.Dataset.open(dataset), "train")
    batch = train.batch(0, 8)
    filled = stages.cached(run, train, objective)
    first = filled(batch)
    assert first.latents is not None
    with torch.no_grad():
        want = stages.loaded(run)[0].encode(batch.clips)  # type: ignore[operator]
    torch.testing.assert_close(first.latents, want, atol=2e-3, rtol=2e-3)
    (folder,) = (dataset / "latents").iterdir()
    kept = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = stages.cached(run, train, objective)(batch)
    assert torch.equal(first.latents, again.latents)  # type: ignore[arg-type]
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == kept
    loss = {
        k: objective.loss(b, "generator", 0.5) for k, b in {"kept": first, "not": batch}.items()
    }
    kept_loss, own = (loss[k].sums["velocity"] for k in ("kept", "not"))  # type: ignore[union-attr]
    torch.testing.assert_close(kept_loss, own, rtol=0.02, atol=0.02)


def test_latents_of_another_tokenizer_are_others(run: mb.Run, dataset: Path) -> None:
    from muybridge.latent_cache import place_of

    train = run.loader(mb.Dataset.open(dataset), "train")
    folders = {
        place_of(one, key, run.folder)
        for key in ("a", "b")
        for one in (train, run.loader(mb.Dataset.open(dataset), "train"))
    }
    assert len(folders) == 2


def test_what_both_stages_take_is_foretold_and_leaves_nothing_behind(dataset: Path) -> None:
    kept = set((dataset / "latents").glob("*")) if (dataset / "latents").exists() else set()
    asked = recipe(dataset, "training.steps=40")
    with probe._stages(asked) as (first, model):
        assert first is not None
        assert {line["kind"] for line in first[1]} == {"train", "end"}
        assert model.training.steps == 24 and first[0].training.steps == 16
        assert model.tokenizer is not None and Path(model.tokenizer.run).is_dir()
        assert not model.tokenizer.recipe
        alone = probe._measured(model, probe._taken(model))
        assert set((dataset / "latents").glob("*")) != kept
    assert set((dataset / "latents").glob("*")) == kept
    assert not Path(model.tokenizer.run).exists()
    whole = probe.measure(asked)
    assert whole.steps == alone.steps == 24
    assert whole.minutes > 24 * whole.step_seconds / 60
    assert whole.memory_gib == pytest.approx(alone.memory_gib, rel=0.2)


def test_weights_for_other_latents_are_not_begun_from(
    run: mb.Run, dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(MuybridgeError, match="latents of its own tokenizer") as caught:
        assemble(recipe(dataset), tmp_path / "new", run.folder)
    assert not (tmp_path / "new" / "recipe.yaml").exists()
    way = caught.value.hint.removeprefix("--set ")
    given = mb.Recipe.load("flow-latent", (*SMALL, way)).with_(data=dataset)
    made = assemble(given, tmp_path / "new", run.folder)
    assert made.recipe.tokenizer is not None
    assert made.recipe.tokenizer.run == str(run.folder / "tokenizer")


def test_a_longer_budget_is_what_the_tokenizer_left_of_it(
    run: mb.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else families with a tokenizer would have less time than others, where more is added."""
    timed = mb.Run(run.folder, run.recipe.with_(minutes=30))
    taken = checkpoint.Position(2, 240.0)
    monkeypatch.setattr(stages.checkpoints, "load", lambda *_: (taken, {}))
    assert stages.left(timed).minutes == pytest.approx(26)
    assert stages.left(mb.Run(run.folder, run.recipe.with_(minutes=3))).minutes == 1e-3


def test_a_tokenizer_is_given_no_tasks_and_leaves_threads_as_they_are(
    run: mb.Run, dataset: Path
) -> None:
    given = recipe(dataset).with_("model.patch=[1,1,1]")
    asked = mb.Recipe.load("gan-conditional", ("tokenizer.set=[]",)).with_(data=dataset)
    assert asked.data.tasks.guides and not asked.first_stage().data.tasks.guides
    assert given.first_stage().data.tasks.guides == ()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        run.objective()
        assert torch.get_num_threads() == before + 1
        run.trained()
        assert torch.get_num_threads() == run.recipe.training.threads
    finally:
        torch.set_num_threads(before)
