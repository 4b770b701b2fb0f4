"""A search over settings: resumed, shared, pruned, and summed up."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

import muybridge as mb
from muybridge.cli.main import app
from muybridge.core.errors import RunError
from muybridge.tuning import page, search, space
from muybridge.tuning.rates import range_test

SMALL = (
    "data.size=[32,32]", "data.frames=8", "model.patch=[4,8,8]", "model.width=16",
    "model.depth=1", "model.heads=1", "model.text.width=16", "model.text.depth=1",
    "training.batch=4", "training.validations=4", "training.previews=0", "training.measures=0",
    "training.precision=fp32", "training.threads=1", "training.loggers=[]",
    "evaluation.held_out=4",
)  # fmt: skip
MINUTES = 0.02
RATE = "training.optimizer.learning_rate"


@pytest.fixture(scope="module")
def dataset(small_stage: Path) -> Path:
    return small_stage


def recipe(dataset: Path) -> mb.Recipe:
    return mb.Recipe.load("flow-small", SMALL).with_(data=dataset)


def rates(path: Path) -> space.Space:
    path.write_text(f"{RATE}: {{least: 1.0e-5, most: 0.1}}\nmodel.dropout: [0.0, 0.1]\n")
    return space.read_space(path)


def test_the_first_trial_is_the_recipe_and_the_best_is_ready_to_run(
    dataset: Path, tmp_path: Path
) -> None:
    yaml = tmp_path / "space.yaml"
    rates(yaml)
    changes = [part for one in SMALL for part in ("--set", one)]
    out = tmp_path / "out"
    command = ["tune", "flow-small", "--data", str(dataset), "--out", str(out), "--trials", "5"]
    more = ["--minutes", str(MINUTES), "--space", str(yaml), "--no-prune", *changes]
    done = CliRunner().invoke(app, [*command, *more])
    assert done.exit_code == 0, done.output
    assert "5 trials, 0 of them ended early" in done.output
    study = search.tune(recipe(dataset), space.read_space(yaml), 5, MINUTES, out)
    assert len(study.trials) == 5  # none was made again
    assert study.trials[0].values[RATE] == recipe(dataset).training.optimizer.learning_rate
    assert study.best.loss == min(one.loss for one in study.trials if one.loss is not None)
    best = mb.Recipe.load(study.recipe)
    assert best.training.optimizer.learning_rate == study.best.values[RATE]
    page = (out / "tuning.html").read_text()
    assert "data:image/png" in page and "http" not in page.replace("http-equiv", "")


def test_a_folder_is_of_one_study(dataset: Path, tmp_path: Path) -> None:
    out, ranges = tmp_path / "out", rates(tmp_path / "space.yaml")
    search.tune(recipe(dataset), ranges, 1, MINUTES, out)
    with pytest.raises(RunError, match=r"study of other settings: recipe\.training\.minutes"):
        search.tune(recipe(dataset), ranges, 2, 2 * MINUTES, out)
    with pytest.raises(RunError, match=r"model\.depth"):
        search.tune(recipe(dataset).with_("model.depth=2"), ranges, 2, MINUTES, out)
    quieter = recipe(dataset).with_("training.save_seconds=7")
    assert len(search.tune(quieter, ranges, 1, MINUTES, out).trials) == 1


def test_a_recipe_outside_of_the_space_is_not_said_to_be_a_trial(
    dataset: Path, tmp_path: Path
) -> None:
    (tmp_path / "space.yaml").write_text(f"{RATE}: {{least: 1.0e-5, most: 1.0e-4}}\n")
    found = space.read_space(tmp_path / "space.yaml")
    study = search.tune(recipe(dataset), found, 1, MINUTES, tmp_path / "out")
    assert not study.own
    assert "lies outside of the space" in page.told(study)
    assert "was not beaten" not in page.told(study)


def test_a_killed_search_goes_on_with_the_trial_it_was_at(dataset: Path, tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "import test_tuning as t\n"
        "from pathlib import Path\n"
        "from muybridge.tuning import search\n"
        "data, out = Path(sys.argv[2]), Path(sys.argv[3])\n"
        "from muybridge.run import Run\n"
        "whole = Run.train\n"
        "def train(self, judged=None):\n"
        "    def cut(figures):\n"
        "        judged(figures)\n"
        "        if self.folder.name == 'trial-0001' and figures: os.kill(os.getpid(), 9)\n"
        "    return whole(self, cut)\n"
        "Run.train = train\n"
        "search.tune(t.recipe(data), t.rates(out.parent / 's.yaml'), 3, t.MINUTES, out)\n"
    )
    out = tmp_path / "out"
    here = str(Path(__file__).parent)
    cut = subprocess.run(
        [sys.executable, "-c", code, here, str(dataset), str(out)], env=os.environ, check=False
    )
    assert cut.returncode == -signal.SIGKILL
    study = search.tune(recipe(dataset), rates(tmp_path / "s.yaml"), 3, MINUTES, out, prune=False)
    assert [one.number for one in study.trials] == [0, 1, 2]
    assert {one.state for one in study.trials} <= {"complete", "pruned"}


def test_bad_trials_end_early(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses that are set: after a few trials, one that is worse than most ends."""
    seen: dict[str, list[float]] = {}

    def train(self: mb.Run, judged: Any = None) -> None:
        number = int(self.folder.name[-4:])
        lines = seen.setdefault(self.folder.name, [])
        for mark in range(5):
            loss = 1.0 + number - 0.1 * mark
            lines.append(loss)
            judged({"loss": loss, "progress": mark / 4})

    monkeypatch.setattr(mb.Run, "train", train)
    monkeypatch.setattr(search, "_least", lambda folder: min(seen[folder.name]))
    study = search.tune(recipe(dataset), rates(tmp_path / "s.yaml"), 8, MINUTES, tmp_path / "out")
    states = [one.state for one in study.trials]
    assert states[:4] == ["complete"] * 4 and states[5:] == ["pruned"] * 3
    assert all(len(seen[f"trial-{n:04d}"]) < 5 for n in (5, 6, 7))
    assert study.best.number == 0


def test_what_fresh_weights_lose_ends_no_trial_and_wins_none(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first judgement is of weights that have seen nothing: here the best trial has the worst,
    and the worst trial the best."""

    def train(self: mb.Run, judged: Any = None) -> None:
        number = int(self.folder.name[-4:])
        lines = []
        for mark in range(5):
            loss = float(number) if not mark else 10.0 - number
            lines.append({"kind": "validation", "step": mark, "loss": loss})
            judged({"loss": loss, "progress": mark / 4})
            text = "".join(json.dumps(line) + "\n" for line in lines)
            (self.folder / "log.jsonl").write_text(text)

    monkeypatch.setattr(mb.Run, "train", train)
    study = search.tune(recipe(dataset), rates(tmp_path / "s.yaml"), 7, MINUTES, tmp_path / "out")
    assert [one.state for one in study.trials] == ["complete"] * 7
    assert study.best.number == 6 and study.best.loss == 4.0


def test_each_process_and_each_call_draws_trials_of_its_own(tmp_path: Path) -> None:
    """Two at once, and one begun anew, each before any trial has ended."""
    drawn = []
    with contextlib.ExitStack() as held:
        for _ in range(3):
            study = search._study(tmp_path, True)
            trial = held.enter_context(search._claimed(study, 9, tmp_path, 0, {"rate": 0.5}))
            assert trial is not None
            drawn.append(trial.suggest_float("rate", 0.1, 1.0))
    assert drawn[0] == 0.5 and len(set(drawn)) == 3  # the recipe's own, once


def test_settings_that_fail_are_a_trial_and_what_fails_all_is_an_error(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(self: mb.Run, judged: Any = None) -> None:
        if self.folder.name == "trial-0001":
            raise RunError("memory does not suffice for one clip")
        if self.folder.name == "trial-0003":
            raise mb.MuybridgeError("the disk nan is full")
        judged({"loss": 1.0, "progress": 1.0})

    monkeypatch.setattr(mb.Run, "train", train)
    monkeypatch.setattr(search, "_least", lambda folder: 1.0)
    space = rates(tmp_path / "s.yaml")
    study = search.tune(recipe(dataset), space, 3, MINUTES, tmp_path / "out")
    assert [one.state for one in study.trials] == ["complete", "fail", "complete"]
    with pytest.raises(mb.MuybridgeError, match="disk"):
        search.tune(recipe(dataset), space, 4, MINUTES, tmp_path / "out")


def test_a_choice_may_be_a_list() -> None:
    axes = Figure().subplots()
    patches = ([4, 8, 8], [2, 8, 8], [4, 8, 8])
    page._parallel(
        axes,
        [
            search.Trial(n, {"model.patch": p}, float(n), 1.0, "complete")
            for n, p in enumerate(patches)
        ],
    )
    heights = [float(line.get_ydata()[0]) for line in axes.lines]  # the worst first
    assert heights[0] == heights[2] != heights[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("objective.time_mean: {least: 1, most: 2}", "do not compare"),
        ("model.width: 3", "is no range"), ("model.width: {least: 3}", "larger most"),
        ("", "names no setting"), ("model.depth: {least: 2, most: 1}", "larger most"),
    ],
)  # fmt: skip
def test_a_space_that_is_none_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(mb.MuybridgeError, match=message):
        space.read_space(tmp_path / "s.yaml")


def test_settings_that_the_recipe_has_not_are_told_before_any_training(
    dataset: Path, tmp_path: Path
) -> None:
    (tmp_path / "s.yaml").write_text("model.widht: {least: 8, most: 16}")
    found = space.read_space(tmp_path / "s.yaml")
    with pytest.raises(mb.MuybridgeError, match="widht is not a setting"):
        search.tune(recipe(dataset), found, 2, MINUTES, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["flow-small", "gan3d", "simvp", "gru", "vae", "transformer-ar"])
def test_the_usual_space_holds_the_recipe_itself_and_only_what_can_be_built(name: str) -> None:
    loaded = mb.Recipe.load(name)
    for setting, one in space.usual_space(loaded).items():
        assert one.holds(search._value(loaded, setting)), setting
        for value in one.choices or (one.least, one.most):
            whole = int(value) if one.whole else value
            assert search._value(loaded.with_(search._change(setting, whole)), setting) == whole


def test_a_range_test_finds_the_same_rates_wherever_the_recipe_begins(
    dataset: Path, tmp_path: Path
) -> None:
    given = (*SMALL, "model.width=32", "training.batch=4")
    found = []
    for name, factor in {"own": 1.0, "low": 0.1}.items():
        rates = (f"training.optimizer.learning_rate={3e-3 * factor}",
                 f"training.optimizer.muon_rate={0.02 * factor}")  # fmt: skip
        recipe = mb.Recipe.load("flow-nano", (*given, *rates)).with_(data=dataset)
        tested = range_test(recipe, 160, tmp_path / name)
        assert (tmp_path / name / "rates.png").read_bytes().startswith(b"\x89PNG")
        assert tested.factors[0] == pytest.approx(30e-4) and max(tested.factors) <= 30
        found.append(tested.factor * factor)
        assert f"learning_rate={3e-3 * tested.factor * factor:.2g}" in tested.changes[0]
    assert 0.2 < found[0] / found[1] < 5
    assert 0.05 < found[0] < 10  # near what was tuned by hand


def test_rates_of_a_model_over_a_tokenizer_are_tested_with_one_that_is_trained(
    dataset: Path, tmp_path: Path
) -> None:
    latent = mb.Recipe.load("flow-latent").with_(data=dataset)
    with pytest.raises(mb.MuybridgeError, match=r"trains a tokenizer first") as caught:
        range_test(latent, 100, tmp_path)
    assert "tokenizer=RUN" in caught.value.hint
