"""Integrators against flows whose solution is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from muybridge.sampling.guidance import guide
from muybridge.sampling.integrators import edited, euler, grid, heun, multistep


def error(solver: object, steps: int) -> float:
    """Of dx/dt = -x from t = 1 to 0, whose solution grows by e."""
    end = solver(lambda x, t: -x, torch.ones(1, dtype=torch.float64), grid(steps))  # type: ignore[operator]
    return abs(float(end) - math.e)


@pytest.mark.parametrize(("solver", "order"), [(euler, 1)])
def test_order_of_convergence(solver: object, order: int) -> None:
    assert math.log2(error(solver, 64) / error(solver, 128)) == pytest.approx(order, abs=0.1)


def test_heun_is_second_order_but_for_its_last_step() -> None:
    # One Euler step of length 1/n at the end leaves an error of n**-2, so the order stays two.
    assert math.log2(error(heun, 64) / error(heun, 128)) == pytest.approx(2, abs=0.15)
    assert error(heun, 32) < error(euler, 32) / 10


def gaussian_error(solver: object, steps: int) -> float:
    """Of the flow to clips that are normal with deviation 0.4, which is known: the path keeps its
    place in units of the deviation at each moment."""
    asked = 0

    def velocity(x: Tensor, t: float) -> Tensor:
        nonlocal asked
        asked += 1
        clean = (1 - t) * 0.16 / ((1 - t) ** 2 * 0.16 + t**2) * x
        return (x - clean) / t

    end = solver(velocity, torch.ones(1, dtype=torch.float64), grid(steps, 3.0))  # type: ignore[operator]
    assert asked == steps or solver is heun
    return abs(float(end) - 0.4)


def test_multistep_is_worth_more_than_euler_at_the_same_evaluations() -> None:
    for steps in (20, 40, 80):
        assert gaussian_error(multistep, steps) < gaussian_error(euler, steps) / 2
    assert gaussian_error(multistep, 320) < gaussian_error(euler, 320) / 5


@given(st.integers(1, 60), st.floats(0.2, 8))
def test_grid_falls_from_one_to_zero(steps: int, shift: float) -> None:
    moments = grid(steps, shift)
    assert len(moments) == steps + 1
    assert moments[0] == pytest.approx(1)
    assert moments[-1] == 0
    assert all(a > b for a, b in pairwise(moments))


def test_shift_spends_more_steps_near_noise() -> None:
    assert sum(t > 0.5 for t in grid(20, 3.0)) > sum(t > 0.5 for t in grid(20))


@pytest.mark.parametrize("solver", [euler, heun, multistep])
def test_a_straight_flow_is_exact_in_one_step(solver: object) -> None:
    clip, noise = torch.randn(2, 5, dtype=torch.float64)
    end = solver(lambda x, t: noise - clip, noise, grid(1))  # type: ignore[operator]
    torch.testing.assert_close(end, clip)


@pytest.mark.parametrize("solver", [euler, heun, multistep])
def test_the_velocity_is_never_asked_for_at_zero(solver: object) -> None:
    asked: list[float] = []

    def velocity(x: Tensor, t: float) -> Tensor:
        asked.append(t)
        return x

    solver(velocity, torch.ones(1), grid(7))  # type: ignore[operator]
    assert min(asked) > 0


def test_an_edit_moves_what_differs_and_no_more() -> None:
    """Of two normal laws whose predictions are known in closed form, from pure noise on, it moves a
    clip from its place in the one to the same place in the other."""
    torch.manual_seed(0)
    clips, spread = torch.randn(5, 7, dtype=torch.float64), 0.6
    means = torch.randn(2, 7, dtype=torch.float64)

    def law(mean: Tensor) -> Callable[[Tensor, float], Tensor]:
        def predicted(x: Tensor, t: float) -> Tensor:
            share = (1 - t) * spread**2 / ((1 - t) ** 2 * spread**2 + t**2)
            return mean + share * (x - (1 - t) * mean)

        return predicted

    def noise(x: Tensor, t: float) -> Tensor:
        return torch.randn_like(x)

    was, now = law(means[0]), law(means[1])
    made = edited(now, was, clips, noise, grid(7, 3.0))
    torch.testing.assert_close(made, clips + means[1] - means[0])
    part = edited(now, was, clips, noise, grid(7, 3.0, 0.3))
    assert float((part - clips).norm()) < float((made - clips).norm())
    assert torch.equal(edited(was, was, clips, noise, grid(7)), clips)


def test_guidance_at_one_and_zero() -> None:
    a, b = torch.randn(2, 4)
    assert torch.allclose(guide(a, b, 1), a)
    assert torch.allclose(guide(a, b, 0), b)
    assert torch.allclose(guide(a, b, 3) - b, 3 * (a - b), atol=1e-6)
