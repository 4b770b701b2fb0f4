"""Trainings that go wrong on purpose are named; figures within bounds are not."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import muybridge as mb
from muybridge import diagnosis
from muybridge.cli.main import app
from muybridge.data.prepare import Config
from muybridge.training import checkpoint, health, vitals
from muybridge.training.monitor import Monitor

SMALL = (
    "data.size=[32,32]", "data.frames=8", "training.batch=4", "training.minutes=null",
    "training.steps=24", "training.validations=8", "training.previews=0",
    "training.precision=fp32", "training.threads=1", "training.loggers=[]",
    "evaluation.held_out=8", "training.save_seconds=1e9",
)  # fmt: skip
FAST = ("training.optimizer.learning_rate=0.1", "training.steps=80")
LONGER = "training.steps=80"
VAE = ("model.widths=[8,12]", "model.depth=[1,1]", "model.prior=null", "model.text=null")


def made(folder: Path, clips: int) -> Path:
    mb.make_stage(folder / "footage", clips, size=(32, 32), fps=8)
    mb.prepare(folder / "footage", folder / "dataset", config=Config(size=(32, 32), fps=8))
    return folder / "dataset"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("data"), 24)


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips enough for a few hundred updates."""
    return made(tmp_path_factory.mktemp("larger"), 240)


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
        ("fsq", (*VAE[:2], "training.optimizer.learning_rate=30", LONGER), "dead codes"),
    ],
)
def test_what_goes_wrong_on_purpose_is_said_once_with_what_to_try(
    dataset: Path, tmp_path: Path, recipe: str, changes: tuple[str, ...], name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    found = trained(dataset, tmp_path / "run", recipe, *changes)
    assert [line["name"] for line in found].count(name) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if name in line]
    assert len(said) == 1
    assert "to try: " in said[0]
    (line,) = (line for line in found if line["name"] == name)
    assert f"step {line['step']}" in said[0]


@pytest.mark.parametrize(
    ("recipe", "changes"), [("vae", VAE), ("fsq", VAE[:2]), ("flow-nano", ("model.width=32",))]
)
@pytest.mark.parametrize("seed", [11, 12])
def test_a_healthy_run_is_left_alone(
    larger: Path, tmp_path: Path, recipe: str, changes: tuple[str, ...], seed: int
) -> None:
    changes = (*changes, "training.steps=240", "evaluation.held_out=24")
    assert trained(larger, tmp_path / "run", recipe, f"seed={seed}", *changes) == []


@pytest.mark.parametrize("sign", health.SIGNS, ids=lambda s: f"{s.name}: {', '.join(s.when)}")
def test_a_sign_shows_twice_running_and_not_early(sign: health.Sign) -> None:
    """It shows where all figures are within its bounds, and not where one of them is not."""
    low = {n: least if least > -math.inf else most - 1 for n, (least, most) in sign.when.items()}
    assert sign.shows(low)
    for name, (least, most) in sign.when.items():
        out = least - 1e-6 if least > -math.inf else most + 1e-6
        assert not sign.shows(low | {name: out})
        assert not sign.shows({n: v for n, v in low.items() if n != name})
    watch = health.Watch(set())
    seen = [
        watch.see(figures, progress, 100)
        for figures, progress in (
            (low, 0.05), (low, 0.1), (low, 0.3), ({}, 0.4), (low, 0.6), (low, 0.7), (low, 0.8),
        )
    ]  # fmt: skip
    expected = [] if sign.advice else [sign.name]
    assert [[s.name for s in now] for now in seen] == [[]] * 5 + [expected, []]


def test_a_few_updates_are_no_sign_of_anything_however_much_of_the_budget_they_took() -> None:
    watch, figures = health.Watch(set()), {"diversity": 0.01, "lately": 0.0}
    assert not any(watch.see(figures, 0.5, step) for step in (2, 10, 49, 50))
    (sign,) = watch.see(figures, 0.6, 60)
    assert sign.name == "collapse"


RATES = (
    "model.depth=2", "model.heads=1", "training.steps=160", "training.validations=16",
    "training.log_every=4",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("learning rate too low", ("training.optimizer.learning_rate=1e-6",
                                   "training.optimizer.muon_rate=1e-6", "model.width=32")),
        ("learning rate too high", ("training.optimizer.learning_rate=0.2",
                                    "training.optimizer.muon_rate=0.7", "model.width=32")),
        ("overfitting", ("training.steps=600", "training.optimizer.decay=0", "model.width=64")),
    ],
)  # fmt: skip
def test_a_training_that_fails_on_purpose_is_diagnosed(
    name: str, changes: tuple[str, ...], dataset: Path, tmp_path: Path
) -> None:
    found = trained(dataset, tmp_path / "run", "flow-nano", *RATES, *changes)
    assert [line["name"] for line in found] == [name]
    told = diagnosis.diagnose(mb.Run.open(tmp_path / "run"))
    assert name in [one.name for one in told.findings]
    (finding,) = (one for one in told.findings if one.name == name)
    done = CliRunner().invoke(app, ["diagnose", str(tmp_path / "run")])
    assert done.exit_code == 0 and name in done.output and finding.hint in done.output
    assert (tmp_path / "run" / diagnosis.PLOT).read_bytes().startswith(b"\x89PNG")


def test_a_part_that_nothing_depends_on_is_named(dataset: Path, tmp_path: Path) -> None:
    recipe = mb.Recipe.load("flow-nano", (*SMALL, "model.width=32")).with_(data=dataset)
    run = recipe.train(tmp_path / "run")
    assert [one.name for one in diagnosis.diagnose(run).findings] == []
    fresh = dict(run.objective().generator.named_parameters())
    path = checkpoint.find(run.folder, "last")
    position, parts = checkpoint.load(path, ("model", "average", "optimizer"))
    name = "network.blocks.0.up.weight"
    parts["average"][name] = fresh[name].detach()
    checkpoint.save(run.folder, path.name, position, parts)
    (found,) = diagnosis.diagnose(run).findings
    assert found.name == "dead layers" and name in found.said


def log_of(
    losses: list[float], train: list[float], norm: float, wait: float
) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for place, (loss, own) in enumerate(zip(losses, train, strict=True)):
        step = 100 * place
        lines.append({"kind": "validation", "step": step, "loss": loss, "train_loss": own})
        lines += [
            {
                "kind": "train",
                "step": step + n,
                "loss": own,
                "gradient_norms": {"generator": norm},
                "data_wait": wait,
            }
            for n in range(10, 100, 10)
        ]
    return lines


def test_vitals_are_what_their_names_say() -> None:
    told = vitals.vitals(log_of([4, 2, 1, 1.5], [4, 2, 1, 0.5], 3.0, 0.4), clip=0.2)
    assert told["gap"] == pytest.approx(2) and told["risen"] == pytest.approx(0.5)
    assert told["fallen"] == pytest.approx(3.5 / 4) and told["steady"] == 1
    assert told["late"] == pytest.approx(0.5 / 3.5)
    assert told["worse"] == 0 and told["lately"] == pytest.approx(0.5 / 4)
    spoiled = vitals.vitals(log_of([4, 1, 3, 1.5, 2, 1.9, 3], [4] * 7, 1, 0), clip=1)
    assert spoiled["risen"] == pytest.approx(2) and spoiled["worse"] == pytest.approx(3 / 2 - 1)
    assert spoiled["lately"] == pytest.approx(1 / 4)
    assert told["clipped"] == 1 and told["over"] == pytest.approx(15)
    assert told["waiting"] == pytest.approx(0.4) and told["gradient_growth"] == 1
    assert vitals.vitals(log_of([4, 2], [4, 2], 1, 0), 1.0).keys() & {"gap", "fallen"} == set()
    assert vitals.vitals([], 1.0) == {}
    assert health.SIGNS[-2].name == "starving" and health.SIGNS[-2].shows(told)


def test_a_distance_may_be_below_nothing_by_chance_and_is_measured_by_what_it_was() -> None:
    """The energy distance of a GAN: near 0 its ratios mean nothing."""
    lines = log_of([0.4, 0.1, -0.001, 0.05, 0.3], [0.4, 0.1, 0.01, 0.05, 0.1], 1, 0)
    assert "gap" not in vitals.vitals(lines, 1.0)
    for line in lines:
        if line["kind"] == "validation":
            line["energy"] = {"pictures": line["loss"]}
    told = vitals.vitals(lines, 1.0)
    assert told["gap"] == pytest.approx(0.2 / 0.4)
    assert told["risen"] == pytest.approx(0.301 / 0.4)
    assert told["lately"] == pytest.approx(0.25 / 0.4)
    near = log_of([0.4, 0.02, 0.0102, 0.0112], [0.4, 0.02, 0.01, 0.0083], 1, 0)
    for line in near:
        if line["kind"] == "validation":
            line["energy"] = {"pictures": line["loss"]}
    calm = vitals.vitals(near, 1.0)
    assert calm["gap"] < 0.01 and calm["risen"] < 0.01


def test_of_several_phases_the_worst_gradients_count() -> None:
    lines = log_of([4, 2, 1], [4, 2, 1], 0.5, 0)
    for line in lines:
        if line["kind"] == "train":
            line["gradient_norms"] |= {"codec": 0.001 * line["step"] ** 2}
            if line["step"] % 20:  # is not updated each time
                del line["gradient_norms"]["codec"]
    told = vitals.vitals(lines, clip=1.0)
    assert told["clipped"] == 1 and told["over"] > 30
    assert told["gradient_growth"] > 5


def test_what_was_said_is_not_said_again_by_a_run_that_goes_on(tmp_path: Path) -> None:
    def judge(opened: Monitor, steps: list[int]) -> None:
        with opened as monitor:
            for step in steps:
                monitor.write("validation", step, progress=0.5, loss=9 / step, tokens_used=0.0)

    judge(Monitor(tmp_path, 0), [100, 200, 300])
    assert len(told(tmp_path)) == 1
    judge(Monitor(tmp_path, 300), [400, 500, 600])
    assert len(told(tmp_path)) == 1
    # Said after the checkpoint that a killed run goes on from: those steps are taken again.
    judge(Monitor(tmp_path, 100), [200, 300])
    assert len(told(tmp_path)) == 1


@pytest.mark.parametrize(("batch", "deviation"), [(4, 2.0), (32, 0.3)])
def test_the_noise_scale_is_what_batches_of_known_noise_have(batch: int, deviation: float) -> None:
    generator = torch.Generator().manual_seed(0)
    slope = torch.randn(4000, generator=generator)
    weights = torch.nn.Parameter(torch.zeros(4000))
    adam = torch.optim.AdamW([weights], lr=1e-4, betas=(0.9, 0.98))
    for _ in range(300):
        noise = torch.randn(4000, generator=generator) * deviation / batch**0.5
        weights.grad = slope + noise
        adam.step()
    moments = {f"w/{n}": value for n, value in adam.state[weights].items()}
    found = diagnosis.noise_scale(moments, (0.9, 0.98), batch)
    assert found == pytest.approx(4000 * deviation**2 / float(slope.square().sum()), rel=0.15)
    # No more is said than can be told: of noise alone, and where there are no two moments.
    alone = {"w/exp_avg": torch.full((9,), 1e-3), "w/exp_avg_sq": torch.ones(9)}
    alone |= {"w/step": torch.tensor(300.0)}
    assert diagnosis.noise_scale(alone, (0.9, 0.98), batch) == 50 * batch
    assert diagnosis.noise_scale(alone, (0.0, 0.98), batch) is None
    assert diagnosis.noise_scale({"w/momentum": torch.ones(9)}, (0.9, 0.98), batch) is None


def test_a_doctor_says_what_another_batch_would_do(larger: Path, tmp_path: Path) -> None:
    recipe = mb.Recipe.load("flow-nano", (*SMALL, "model.width=32", "training.steps=60"))
    run = recipe.with_(data=larger).train(tmp_path / "run")
    (found,) = (one for one in diagnosis.diagnose(run).findings if one.name == "batch size")
    assert found.advice and found.figures["batch"] == 4
    assert 0 < found.figures["noise scale in clips"] <= 200


def test_weights_that_only_decay_have_not_moved() -> None:
    torch.manual_seed(0)
    begun = torch.randn(8, 8)
    assert diagnosis._alike(begun, begun * 0.93)
    assert diagnosis._alike(torch.zeros(4), torch.zeros(4))
    assert not diagnosis._alike(begun, begun + 1e-3 * torch.randn(8, 8))
    assert not diagnosis._alike(torch.zeros(4), torch.full((4,), 1e-6))
    assert not diagnosis._alike(torch.ones(1), torch.full((1,), 0.9))


def test_of_signs_of_one_name_the_one_that_was_seen_is_repeated() -> None:
    both = [sign for sign in health.SIGNS if sign.name == "posterior collapse"]
    assert len(both) == 3
    for sign in both:
        figures = dict.fromkeys(sign.when, 0.0)
        line = {"kind": "health", "step": 60, "name": sign.name, "hint": "", "figures": figures}
        (found,) = diagnosis._told([line], set())
        assert found.said.startswith(sign.said)
