"""Averaged weights: what previews, scores and `generate` use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from .sharding import is_spread, kinds, like


class Average:
    """Power-function average of a module's parameters (Karras et al. 2024, "Analyzing and Improving
    the Training Dynamics of Diffusion Models", eq. 121 to 123): its length is a share of training
    so far, so one setting suits every budget.

    Args:
        module: what is averaged.
        width: relative standard deviation of the average over time; 0.1 reaches over about the
            last fifth of training.
    """

    def __init__(self, module: nn.Module, width: float) -> None:
        self.module, self.exponent = module, _exponent(width)
        self.values = {n: p.detach().clone() for n, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the weights after update number `step`, counted from 1."""
        keep = (1 - 1 / step) ** (self.exponent + 1)
        now = [p.detach() for p in self.module.parameters()]
        held = list(self.values.values())
        for places in kinds(now):
            torch._foreach_lerp_([held[n] for n in places], [now[n] for n in places], 1 - keep)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Within, the module has the averaged weights."""
        own = {n: _kept(p) for n, p in self.module.named_parameters()}
        for name, parameter in self.module.named_parameters():
            _put(parameter, self.values[name])
        try:
            yield
        finally:
            for name, parameter in self.module.named_parameters():
                _put(parameter, own[name])

    def restore(self, values: dict[str, Tensor]) -> None:
        """Takes back saved `values`."""
        for name, value in self.values.items():
            value.copy_(like(values[name], value))


def _kept(parameter: nn.Parameter) -> Tensor:
    """Its numbers, which `_put` leaves as they are."""
    return parameter.data.clone() if is_spread(parameter) else parameter.data


@torch.no_grad()
def _put(parameter: nn.Parameter, value: Tensor) -> None:
    """Others' numbers instead; in place where they are spread, where FSDP gathers from."""
    if is_spread(parameter):
        parameter.copy_(value)
    else:
        parameter.data = value


def _exponent(width: float) -> float:
    """Solves the paper's eq. 123, width**2 = (g + 1) / ((g + 2)**2 (g + 3)), for g by bisection."""
    low, high = 0.0, 1e4
    for _ in range(100):
        g = (low + high) / 2
        low, high = (g, high) if (g + 1) / ((g + 2) ** 2 * (g + 3)) > width**2 else (low, g)
    return low
