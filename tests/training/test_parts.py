"""Optimizers, schedules and averages against references."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from muybridge.models import dit
from muybridge.training import budget, optimizers
from muybridge.training.average import Average
from muybridge.training.muon import Muon
from muybridge.training.optimizers import Config, Optimizer, schedule


def layer(out: int) -> nn.ModuleDict:
    return nn.ModuleDict({"up": nn.Linear(8, out), "modulation": nn.Linear(8, 6)})


def modules() -> tuple[nn.ModuleDict, nn.ModuleDict]:
    torch.manual_seed(0)
    first, second = (
        nn.ModuleDict({"blocks": nn.ModuleList([layer(8), layer(4)]), "head": nn.Linear(4, 2)})
        for _ in range(2)
    )
    second.load_state_dict(first.state_dict())
    return first, second


def fill(module: nn.Module, seed: int) -> None:
    torch.manual_seed(seed)
    for parameter in module.parameters():
        parameter.grad = torch.randn_like(parameter)


def test_hidden_matrices_go_to_muon_and_the_rest_to_adamw() -> None:
    ours, theirs = modules()
    config = Config(weight_decay=0.1)
    optimizer = Optimizer(dict(ours.named_parameters()), config)
    named = dict(theirs.named_parameters())
    hidden = [
        named.pop(f"blocks.{place}.{part}.weight")
        for place in range(2)
        for part in ("up", "modulation")
    ]
    muon = Muon(hidden, lr=config.muon_rate, momentum=config.momentum, weight_decay=0.1)
    matrices = [p for p in named.values() if p.ndim > 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": 0.1},
        {"params": [p for p in named.values() if p.ndim == 1], "weight_decay": 0.0},
    ]
    assert len(matrices) == 1
    adamw = torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas)
    for step in range(4):
        fill(ours, step)
        fill(theirs, step)
        optimizer.step(1.0)
        muon.step()
        adamw.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_of_a_transformer_the_matrices_of_its_layers_alone_are_hidden() -> None:
    made = dit.build(dit.Config(width=16, depth=2, heads=2, patch=(1, 4, 4), labels=3))
    hidden = {n for n, p in made.named_parameters() if optimizers._hidden(n, p)}
    parts = ("modulation", "qk", "v", "out", "up", "down")
    assert hidden == {f"blocks.{place}.{part}.weight" for place in range(2) for part in parts}


def test_adamw_alone_takes_all() -> None:
    ours, theirs = modules()
    optimizer = Optimizer(dict(ours.named_parameters()), Config(kind="adamw", weight_decay=0.0))
    adamw = torch.optim.AdamW(
        theirs.parameters(), lr=Config().learning_rate, betas=Config().betas, weight_decay=0.0
    )
    for step in range(3):
        fill(ours, step)
        fill(theirs, step)
        optimizer.step(1.0)
        adamw.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_state_taken_back_gives_the_same_next_step() -> None:
    ours, theirs = modules()
    first = Optimizer(dict(ours.named_parameters()), Config())
    for step in range(3):
        fill(ours, step)
        first.step(1.0)
    theirs.load_state_dict(ours.state_dict())
    second = Optimizer(dict(theirs.named_parameters()), Config())
    second.restore({k: v.clone() for k, v in first.state().items()})
    fill(ours, 9)
    fill(theirs, 9)
    first.step(0.5)
    second.step(0.5)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_parameter_without_gradient_stays() -> None:
    ours, _ = modules()
    before = ours["head"].weight.detach().clone()
    optimizer = Optimizer(dict(ours.named_parameters()), Config())
    fill(ours, 0)
    ours["head"].weight.grad = None
    optimizer.step(1.0)
    assert torch.equal(ours["head"].weight, before)


@given(st.floats(0, 1))
def test_rates_rise_stay_and_fall(progress: float) -> None:
    config = Config(warmup=0.1, decay=0.4)
    value = schedule(progress, config)
    assert 0 <= value <= 1
    if 0.1 <= progress <= 0.6:
        assert value == pytest.approx(1)


def test_rates_at_the_ends() -> None:
    config = Config(warmup=0.1, decay=0.4)
    assert schedule(0.0, config) == 0
    assert schedule(0.05, config) == pytest.approx(0.5)
    assert schedule(0.8, config) == pytest.approx(0.5)
    assert schedule(1.0, config) == 0
    assert schedule(1.3, config) == 0
    assert schedule(0.0, Config(warmup=0, decay=0)) == 1


@pytest.mark.parametrize("width", [0.05, 0.1, 0.2])
def test_the_average_has_the_width_it_is_named_for(width: float) -> None:
    # Feeding a weight equal to its step number gives the mean of the average's profile over time;
    # its square gives the second moment (Karras et al. 2024, fig. 19).
    module, steps = nn.Linear(1, 2, bias=False).double(), 4000
    average = Average(module, width)
    for step in range(1, steps + 1):
        module.weight.data = torch.tensor(
            [[step / steps], [(step / steps) ** 2]], dtype=torch.float64
        )
        average.update(step)
    first, second = average.values["weight"].flatten().tolist()
    assert (second - first**2) ** 0.5 == pytest.approx(width, rel=0.02)


def test_the_average_is_applied_and_taken_off() -> None:
    module = nn.Linear(2, 2)
    average = Average(module, 0.1)
    average.update(1)
    own = module.weight.detach().clone()
    module.weight.data = own + 1
    with average.applied():
        assert torch.equal(module.weight, own)
    assert torch.equal(module.weight, own + 1)


@given(st.integers(1, 20), st.lists(st.floats(0.001, 0.3), min_size=1, max_size=60))
def test_every_mark_of_the_budget_is_passed_once(times: int, strides: list[float]) -> None:
    before, count = 0.0, 0
    for stride in strides:
        after = before + stride
        count += budget.due(times, before, after, step=1)
        before = after
    # A stride can pass several marks at once, but never the same one twice.
    assert count <= int(min(before, 1) * times)
    assert count >= min(1, int(min(before, 1) * times))


@pytest.mark.parametrize("kind", ["adam", "sgd", "rmsprop"])
def test_the_other_optimizers_go_where_those_of_torch_go(kind: str) -> None:
    ours, theirs = modules()
    config = Config(kind=kind, weight_decay=0.1, momentum=0.8)  # type: ignore[arg-type]
    optimizer = Optimizer(dict(ours.named_parameters()), config)
    matrices = [p for p in theirs.parameters() if p.ndim > 1]
    rest = [p for p in theirs.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    rate = config.learning_rate
    reference: torch.optim.Optimizer
    if kind == "adam":
        reference = torch.optim.Adam(groups, lr=rate, betas=config.betas)
    elif kind == "sgd":
        reference = torch.optim.SGD(groups, lr=rate, momentum=0.8, nesterov=True)
    else:
        reference = torch.optim.RMSprop(groups, lr=rate, alpha=config.betas[1])
    for step in range(3):
        fill(ours, step)
        fill(theirs, step)
        optimizer.step(1.0)
        reference.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", ["muon", "adamw", "adam", "sgd", "rmsprop"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_each_goes_on_from_its_state_as_if_it_had_not_stopped(kind: str, momentum: float) -> None:
    config = Config(kind=kind, momentum=momentum)  # type: ignore[arg-type]
    whole, parted = modules()
    first, second = (Optimizer(dict(m.named_parameters()), config) for m in (whole, parted))
    for step in range(4):
        if step == 2:
            kept = {name: value.clone() for name, value in second.state().items()}
            second = Optimizer(dict(parted.named_parameters()), config)
            second.restore(kept)
        for module, optimizer in ((whole, first), (parted, second)):
            fill(module, step)
            optimizer.step(0.5)
    for a, b in zip(whole.parameters(), parted.parameters(), strict=True):
        assert torch.equal(a, b)


def test_cosine_falls_as_a_half_wave() -> None:
    config = Config(schedule="cosine", warmup=0.0, decay=0.5)
    assert [optimizers.schedule(p, config) for p in (0.0, 0.5, 0.75, 1.0)] == pytest.approx(
        [1, 1, 0.5, 0]
    )
    assert optimizers.schedule(0.5 + 0.5 / 3, config) == pytest.approx(0.75)
