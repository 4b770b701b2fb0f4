"""Adversarial games on a toy: one that goes well, and the two ways in which they go wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from muybridge.core import chance
from muybridge.core.clips import Batch
from muybridge.models import gan3d
from muybridge.objectives.adversarial import Adversarial, Config, Sampling, build
from muybridge.objectives.base import Loss, Parts, SampleRequest
from muybridge.training import health, vitals

STEPS, RATE = 150, 4e-3
BOTH = {"discriminator": 1.0, "generator": 1.0}


def data(step: int, count: int = 16) -> Batch:
    """Clips of two modes: one bright and brightening, one dark and darkening."""
    seeds = torch.tensor([chance.mix(step, i) for i in range(count)])
    sign = (chance.uniform(seeds, "mode") < 0.5).float() * 2 - 1
    frames = torch.tensor([0.3, 0.7]).view(1, 2, 1, 1, 1) * sign.view(-1, 1, 1, 1, 1)
    clips = frames + 0.05 * chance.normal(seeds, (2, 3, 4, 4), "x")
    return Batch(clips, torch.zeros(count, 2), torch.ones(count, 2), seeds)


def played(
    seed: int = 0, gamma: float = 40, steps: int = STEPS, rates: Mapping[str, float] = BOTH
) -> tuple[Adversarial, list[dict[str, Any]]]:
    """A game, and the figures of held-out clips four times on the way, with what the log says of
    them lately; `rates` are factors of each side's learning rate."""
    torch.manual_seed(seed)
    shape: dict[str, Any] = {"widths": (16,), "latent": 4, "depth": 1, "text": None}
    settings: dict[str, Any] = {"gamma": (gamma, gamma), "augment": {"probability": 0}}
    parts = Parts(
        gan3d.build(gan3d.Config(**shape)), None, [0.0] * 3, [0.6] * 3, Sampling()
    )  # fmt: skip
    objective, figures = build(Config(**settings), parts), []
    lines: list[dict[str, Any]] = []
    updates = {
        phase.name: torch.optim.Adam(phase.parameters.values(), RATE, (0.0, 0.99))
        for phase in objective.phases()
    }
    for step in range(steps):
        for name, optimizer in updates.items():
            objective.zero_grad(set_to_none=True)
            loss = objective.loss(data(step), name, step / steps)
            assert isinstance(loss, Loss)
            terms = (loss.shares.get(n, 1.0) * each.mean() for n, each in loss.sums.items())
            torch.stack(list(terms)).sum().backward()
            torch.nn.utils.clip_grad_norm_(objective.parameters(), 1)
            optimizer.param_groups[0]["lr"] = RATE * rates[name] * min(1, 2 * (1 - step / steps))
            optimizer.step()
        if (step + 1) % (steps // 4) == 0:
            with torch.no_grad():
                loss, found = objective.held_out(data(1000, 200))
            lines.append({"kind": "validation", "step": 10 * (step + 1), "loss": loss})
            known = vitals.vitals(lines, 1.0)
            figures.append(found | {n: known[n] for n in ("lately",) if n in known})
    return objective, figures


def said(figures: list[dict[str, Any]]) -> list[str]:
    """What a run with these figures is told."""
    watch = health.Watch(set())
    told = (watch.see(one, (i + 1) / len(figures), 100) for i, one in enumerate(figures))
    return [sign.name for now in told for sign in now]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_game_that_goes_well_makes_both_kinds_and_is_left_alone(seed: int) -> None:
    objective, figures = played(seed)
    held = data(1000, 200)
    with torch.no_grad():
        made = objective.sample(SampleRequest(held.times, (4, 4), held.seeds)).mean((1, 2, 3, 4))
    assert figures[-1]["diversity"] > 0.5
    for mode in (0.5, -0.5) if seed == 0 else ():  # the other one has not come so far yet
        assert float(((made - mode).abs() < 0.3).float().mean()) > 0.1
    assert said(figures) == []


def test_a_generator_left_behind_is_told_that_the_discriminator_won() -> None:
    _, figures = played(gamma=0, steps=60, rates={"discriminator": 1.0, "generator": 0.0})
    assert "the discriminator won" in said(figures)


def test_a_generator_that_makes_one_clip_is_told_that_it_collapsed() -> None:
    _, figures = played(steps=40, rates={"discriminator": 0.0, "generator": 1.0})
    assert said(figures) == ["collapse"]
