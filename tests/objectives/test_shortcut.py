"""Long steps go where the short ones go, by an independent integrator; few of them are enough."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from muybridge.core import chance
from muybridge.core.clips import Batch
from muybridge.core.errors import RecipeError
from muybridge.models import dit
from muybridge.objectives.base import Loss, Parts, SampleRequest
from muybridge.objectives.conditions import Conditions
from muybridge.objectives.shortcut import Config, Sampling, Shortcut, build
from muybridge.sampling import integrators


class Network(nn.Module):
    """Heads for a bend of what it sees, further the longer the step; of what is said, if it is."""

    def __init__(self) -> None:
        super().__init__()
        self.config = dit.Config(labels=2, jumps=True, text=None)
        self.bend = nn.Parameter(torch.tensor(0.7))

    def forward(
        self, x: Tensor, level: Tensor, times: Tensor, label: Tensor | None,
        words: Tensor | None, mask: Tensor | None, ahead: Tensor,
    ) -> Tensor:  # fmt: skip
        told = torch.zeros(len(x)) if label is None else (label < 2).float() * (label + 1)
        length = (level.flatten() - ahead).view(-1, 1, 1, 1, 1)
        return torch.sin(self.bend * x + told.view(-1, 1, 1, 1, 1)) * (1 + length)


def objective(network: nn.Module | None = None, **settings: object) -> Shortcut:
    parts = Parts(network or Network(), None, [0.0] * 3, [1.0] * 3, Sampling(steps=1, shift=3))
    return build(Config(**settings), parts)  # type: ignore[arg-type]


def batch(count: int = 64, label: int | None = 1) -> Batch:
    seeds = torch.tensor([chance.mix(5, i) for i in range(count)])
    return Batch(
        clips=chance.normal(seeds, (2, 3, 4, 4), "clip").clamp(-1, 1),
        times=torch.zeros(count, 2),
        frame_weight=torch.ones(count, 2),
        seeds=seeds,
        label=None if label is None else torch.full((count,), label),
    )


def test_steps_are_those_of_the_grids_that_sampling_uses() -> None:
    made = objective(shortest=8)
    begin, middle, end, shortest = made._step(batch(400).seeds)
    seen = set()
    for b, m, e, last in zip(begin, middle, end, shortest, strict=True):
        for count in (1, 2, 4):
            grid, half = (integrators.grid(n, 3.0) for n in (count, 2 * count))
            for place in range(count):
                if abs(float(b) - grid[place]) + abs(float(e) - grid[place + 1]) < 1e-5:
                    assert float(m) == pytest.approx(half[2 * place + 1], abs=1e-5)
                    assert bool(last) == (count == 4)
                    seen.add((count, place))
    assert seen == {(n, k) for n in (1, 2, 4) for k in range(n)}


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_one_step_comes_where_two_halves_come(guidance: float) -> None:
    made = objective(guidance=guidance)
    network, x = made.generator["network"], torch.randn(1, 2, 3, 4, 4)
    moments, label = [0.9, 0.6, 0.2], torch.tensor([1])

    def told(shortest: bool) -> Tensor:
        return made._two_steps(
            x, torch.tensor(moments)[:, None], torch.tensor([shortest]), torch.zeros(1, 2),
            Conditions(label),
        )  # fmt: skip

    def velocity(x: Tensor, t: float, following: float | None, label: Tensor) -> Tensor:
        level = torch.tensor([t])
        ahead = level if following is None else torch.tensor([following])
        return (x - network(x, level, torch.zeros(1, 2), label, None, None, ahead=ahead)) / t

    def guided(x: Tensor, t: float) -> Tensor:
        said = velocity(x, t, None, label)
        unsaid = velocity(x, t, None, torch.tensor([2]))
        return unsaid + guidance * (said - unsaid)

    with torch.no_grad():
        there = integrators.euler(guided, x, moments)
        arrived = integrators.euler(lambda x, t: (x - told(True)) / t, x, [0.9, 0.2])
        torch.testing.assert_close(arrived, there, rtol=1e-4, atol=1e-5)

        middle = x + (0.6 - 0.9) * velocity(x, 0.9, 0.6, label)
        there = middle + (0.2 - 0.6) * velocity(middle, 0.6, 0.2, label)
        arrived = integrators.euler(lambda x, t: (x - told(False)) / t, x, [0.9, 0.2])
        torch.testing.assert_close(arrived, there, rtol=1e-4, atol=1e-5)


def test_no_gradient_goes_through_the_short_steps() -> None:
    made = objective(long=0.999)
    rows = chance.uniform(batch().seeds, "long") < 0.999
    assert bool(rows.all())
    loss = made.loss(batch(), "generator", 0.5)
    found: list[Tensor] = []
    original = made._two_steps
    made._two_steps = lambda *given: found.append(original(*given)) or found[-1]  # type: ignore[method-assign, func-returns-value]
    made.loss(batch(), "generator", 0.5)
    assert not found[0].requires_grad
    assert loss.sums["velocity"].requires_grad


def test_a_clips_loss_is_its_own() -> None:
    made, data = objective(long=0.5), batch(12)
    with torch.no_grad():
        whole = made.loss(data, "generator", 0.5).sums["velocity"]
        part = made.loss(data.part(3, 8), "generator", 0.5).sums["velocity"]
    torch.testing.assert_close(part, whole[3:8])


def test_long_steps_alone_leave_velocity_as_flow_matching_has_it() -> None:
    made = objective(long=1e-9)
    loss = made.loss(batch(8, None), "generator", 0.5)
    want = made.loss_at(batch(8, None), made._levels(batch(8, None)))
    torch.testing.assert_close(loss.sums["velocity"], want.sums["velocity"])


def test_a_network_that_is_not_told_is_refused_and_so_are_uneven_steps() -> None:
    plain = dit.build(dit.Config(width=16, depth=1, heads=2, text=None))
    with pytest.raises(RecipeError, match=r"model.jumps"):
        objective(plain)
    with pytest.raises(ValidationError, match="power of two"):
        Config(shortest=12)


def test_after_training_one_step_comes_near_where_many_short_ones_do() -> None:
    torch.manual_seed(0)
    shape = dit.Config(
        width=32, depth=2, heads=2, patch=(1, 4, 4), text=None, jumps=True, lapped=False
    )
    parts = Parts(dit.build(shape), None, [0.0] * 3, [1.0] * 3, Sampling(steps=1, shift=1))
    made = Shortcut(Config(long=0.5, time_mean=0.0, time_std=1.5, shortest=8), parts)
    two = torch.tensor([-0.8, 0.8])
    optimizer = torch.optim.Adam(made.parameters(), lr=3e-3)
    # At one rate to the end, what one step makes sways from one of the two to the other.
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, 250)
    for step in range(250):
        seeds = torch.tensor([chance.mix(step, i) for i in range(32)])
        side = two[(chance.uniform(seeds, "side") < 0.5).long()]
        clips = side.view(-1, 1, 1, 1, 1).expand(-1, 1, 3, 4, 4)
        data = Batch(clips, torch.zeros(32, 1), torch.ones(32, 1), seeds)
        optimizer.zero_grad()
        loss = made.loss(data, "generator", 0.5)
        assert isinstance(loss, Loss)
        loss.sums["velocity"].mean().backward()
        optimizer.step()
        falling.step()
    seeds = torch.tensor([chance.mix(9, i) for i in range(64)])
    request = SampleRequest(torch.zeros(64, 1), (4, 4), seeds, steps=1)
    with torch.no_grad():
        once = made.sample(request).mean((1, 2, 3, 4))
    # One step of a flow alone would head for the mean of the two, 0.
    assert float((once.abs() > 0.4).float().mean()) > 0.8
    assert 0.2 < float((once > 0).float().mean()) < 0.8
