"""Muon against singular values, a plain form in float64, and torch's own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from muybridge.training.muon import Muon, orthogonal

SHAPES = [(8, 8), (24, 8), (8, 24), (32, 96)]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def polar(matrix: Tensor) -> Tensor:
    """The nearest orthogonal matrix."""
    u, _, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    return u @ v


def conditioned(count: int, rows: int, columns: int, least: float) -> Tensor:
    """Matrices whose singular values go down evenly from 1 to `least`."""
    u, s, v = torch.linalg.svd(draw(count, rows, columns), full_matrices=False)
    return u * torch.linspace(1, least, s.shape[-1]) @ v


def cosine(one: Tensor, other: Tensor) -> float:
    return float(torch.cosine_similarity(one.double().flatten(), other.double().flatten(), 0))


def parameters(*shapes: tuple[int, int]) -> list[nn.Parameter]:
    return [nn.Parameter(draw(*shape, seed=99 + place)) for place, shape in enumerate(shapes)]


def fill(given: list[nn.Parameter], step: int) -> None:
    """Gradients that go together from step to step, as in training."""
    for place, parameter in enumerate(given):
        steady = draw(*parameter.shape, seed=place)
        parameter.grad = steady + 2 * draw(*parameter.shape, seed=1000 * (step + 1) + place)


def moved(given: list[nn.Parameter], optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """By how much a step moves each."""
    before = [one.detach().clone() for one in given]
    optimizer.step()
    return [one.detach() - old for one, old in zip(given, before, strict=True)]


@pytest.mark.parametrize(("rows", "columns"), SHAPES)
@pytest.mark.parametrize("least", [0.9, 0.1, 0.02])
def test_orthogonal_gives_polar_factors(rows: int, columns: int, least: float) -> None:
    given = conditioned(3, rows, columns, least)
    made = orthogonal(given).float()
    assert made.shape == given.shape
    values = torch.linalg.svdvals(made)
    assert float(values.min()) > 0.8 and float(values.max()) < 1.2
    for one, matrix in zip(made, given, strict=True):
        assert cosine(one, polar(matrix)) > 0.99


@pytest.mark.parametrize("scale", [1e-9, 1e-4, 1e4, 1e9])
def test_orthogonal_does_not_see_how_large_matrices_are(scale: float) -> None:
    given = conditioned(2, 16, 24, 0.5)
    for one, matrix in zip(orthogonal(given * scale), given, strict=True):
        assert cosine(one, polar(matrix)) > 0.99
        assert 0.8 < float(torch.linalg.matrix_norm(one.float(), 2)) < 1.2


def test_orthogonal_of_nothing_is_nothing() -> None:
    given = torch.cat([torch.zeros(1, 6, 9), draw(1, 6, 9)])
    made = orthogonal(given)
    assert not made[0].any() and made[1].isfinite().all()


@pytest.mark.parametrize("momentum", [0.0, 0.6, 0.95])
@pytest.mark.parametrize("shape", SHAPES)
def test_steps_are_polar_factors_of_nesterovs_momentum(
    shape: tuple[int, int], momentum: float
) -> None:
    given = parameters(shape)
    optimizer, mean = Muon(given, lr=0.5, momentum=momentum), torch.zeros(shape).double()
    size = 0.5 * max(1.0, shape[0] / shape[1]) ** 0.5
    for step in range(6):
        fill(given, step)
        assert given[0].grad is not None
        gradient = given[0].grad.double()
        mean = momentum * mean + (1 - momentum) * gradient
        (step_made,) = moved(given, optimizer)
        expected = -size * polar((1 - momentum) * gradient + momentum * mean)
        assert cosine(step_made, expected) > 0.985
        assert 0.85 < float(step_made.norm() / expected.norm()) < 1.15


@pytest.mark.parametrize("momentum", [0.0, 0.6, 0.95])
@pytest.mark.parametrize("shape", [(48, 48), (96, 32), (32, 96)])
def test_steps_go_where_those_of_torch_go(shape: tuple[int, int], momentum: float) -> None:
    ours, theirs = parameters(shape), parameters(shape)
    own = Muon(ours, lr=0.02, momentum=momentum, weight_decay=0.0)
    torchs = torch.optim.Muon(theirs, lr=0.02, momentum=momentum, weight_decay=0.0)
    for step in range(8):
        fill(ours, step)
        fill(theirs, step)
        (one,), (other,) = moved(ours, own), moved(theirs, torchs)
        assert cosine(one, other) > 0.97
        assert 0.8 < float(one.norm() / other.norm()) < 1.3


def test_a_state_taken_back_gives_the_same_steps() -> None:
    first = parameters((8, 8), (8, 8), (4, 12))
    one = Muon(first, lr=0.02, momentum=0.9, weight_decay=0.1)
    for step in range(3):
        fill(first, step)
        one.step()
    second = [nn.Parameter(p.detach().clone()) for p in first]
    two = Muon(second, lr=1.0)
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    fresh = [nn.Parameter(p.detach().clone()) for p in first]
    other = Muon(fresh, lr=0.02, momentum=0.9, weight_decay=0.1)
    for step in range(3, 6):
        for given, optimizer in ((first, one), (second, two), (fresh, other)):
            fill(given, step)
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, fresh, strict=True))


@pytest.mark.parametrize("shape", SHAPES)
def test_decay_alone_takes_off_its_share(shape: tuple[int, int]) -> None:
    given = parameters(shape)
    before = given[0].detach().clone()
    optimizer = Muon(given, lr=0.5, weight_decay=0.2)
    for steps in range(1, 4):
        given[0].grad = torch.zeros(shape)
        optimizer.step()
        torch.testing.assert_close(given[0].detach(), before * (1 - 0.5 * 0.2) ** steps)


def test_decay_is_taken_off_beside_the_step() -> None:
    decayed, plain = parameters((6, 9)), parameters((6, 9))
    before = plain[0].detach().clone()
    for given, decay in ((decayed, 0.2), (plain, 0.0)):
        optimizer = Muon(given, lr=0.5, weight_decay=decay)
        fill(given, 0)
        optimizer.step()
    torch.testing.assert_close(plain[0] - decayed[0], 0.1 * before)


def test_matrices_of_one_shape_do_not_touch_each_other() -> None:
    shapes = [(8, 12)] * 3
    together, apart, among_others = (parameters(*shapes) for _ in range(3))
    one = Muon(together, lr=0.1, weight_decay=0.1)
    alone = [Muon([p], lr=0.1, weight_decay=0.1) for p in apart]
    other = Muon(among_others, lr=0.1, weight_decay=0.1)
    for step in range(4):
        for given in (together, apart, among_others):
            fill(given, step)
        assert among_others[1].grad is not None
        among_others[1].grad.mul_(-1e5)
        for optimizer in (one, *alone, other):
            optimizer.step()
    for a, b in zip(together, apart, strict=True):
        # The same up to the order of sums in bf16.
        torch.testing.assert_close(a, b, atol=0.02, rtol=0)
    for place in (0, 2):
        assert torch.equal(together[place], among_others[place])
    assert not torch.equal(together[1], among_others[1])


def test_a_matrix_without_gradient_stays_and_others_of_its_shape_move() -> None:
    given = parameters((8, 8), (8, 8), (8, 8))
    optimizer = Muon(given, lr=0.1, weight_decay=0.1)
    fill(given, 0)
    given[1].grad = None
    decay = [0.01 * p.detach() for p in given]
    made = moved(given, optimizer)
    assert not made[1].any() and not optimizer.state[given[1]]
    for place in (0, 2):
        gradient = given[place].grad
        assert gradient is not None
        assert cosine(made[place] + decay[place], -polar(gradient)) > 0.98


def test_groups_have_their_own_settings() -> None:
    slow, fast = parameters((8, 8), (8, 8))
    groups = [{"params": [slow], "lr": 0.01}, {"params": [fast], "weight_decay": 0.5}]
    optimizer = Muon(groups, lr=0.1)  # type: ignore[arg-type]
    before = fast.detach().clone()
    fill([slow, fast], 0)
    assert fast.grad is not None
    direction = polar(fast.grad)
    one, other = moved([slow, fast], optimizer)
    assert float(torch.linalg.matrix_norm(one, 2)) == pytest.approx(0.01, rel=0.2)
    assert cosine(other + 0.1 * 0.5 * before, -direction) > 0.98


def test_directions_that_gradients_seldom_take_move_as_far_as_others() -> None:
    given = parameters((16, 16))
    optimizer = Muon(given, lr=0.1, momentum=0.0)
    given[0].grad = conditioned(1, 16, 16, 0.02)[0]
    (step,) = moved(given, optimizer)
    values = torch.linalg.svdvals(step)
    assert float(values.min()) > 0.08 and float(values.max()) < 0.12


@pytest.mark.parametrize("shape", [(6, 4, 3, 3), (12, 2, 2, 1), (5, 3, 2, 2, 2)])
def test_a_kernel_moves_as_the_matrix_of_its_rows(shape: tuple[int, ...]) -> None:
    kernel = nn.Parameter(draw(*shape))
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    kernel.grad = draw(*shape, seed=1)
    matrix.grad = kernel.grad.flatten(1).clone()
    (a,) = moved([kernel], Muon([kernel], lr=0.1, weight_decay=0.1))
    (b,) = moved([matrix], Muon([matrix], lr=0.1, weight_decay=0.1))
    torch.testing.assert_close(a.flatten(1), b)
