"""A search over settings: resumed, shared, pruned, and summed up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import muybridge as mb
from muybridge.cli.main import app
from muybridge.tuning import search, space
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
        for mark in range(4):
            loss = 1.0 + number - 0.1 * mark
            lines.append(loss)
            judged({"loss": loss})

    monkeypatch.setattr(mb.Run, "train", train)
    monkeypatch.setattr(search, "_least", lambda folder: min(seen[folder.name]))
    study = search.tune(recipe(dataset), rates(tmp_path / "s.yaml"), 8, MINUTES, tmp_path / "out")
    states = [one.state for one in study.trials]
    assert states[:4] == ["complete"] * 4 and states[5:] == ["pruned"] * 3
    assert all(len(seen[f"trial-{n:04d}"]) < 4 for n in (5, 6, 7))
    assert study.best.number == 0


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


@pytest.mark.parametrize("name", ["flow-small", "gan3d", "simvp", "gru", "vae"])
def test_the_usual_space_holds_the_recipe_itself(name: str) -> None:
    loaded = mb.Recipe.load(name)
    for setting, one in space.usual_space(loaded).items():
        assert one.holds(search._value(loaded, setting)), setting


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
