"""Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks")."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .sharding import is_spread, like

# Coefficients of x -> a x + b x^3 + c x^5, step by step: the fastest way of odd polynomials to
# bring all singular values from [0.001, 1] near 1 (Amsel et al. 2025, "The Polar Express",
# algorithm 1, computed for five steps with room for the rounding of bf16).
_STEPS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)


class Muon(torch.optim.Optimizer):
    """Momentum whose steps are made orthogonal: all directions of a matrix move alike.

    Matrices of one shape go through it together, which on a CPU is twice as fast as one by one.

    Args:
        parameters: matrices, or kernels of convolutions, (outputs, ...), which are taken for
            matrices of so many rows.
        lr: of a step; singular values of an update are near it, times sqrt(rows / columns) where a
            matrix has more rows than columns.
        momentum: of the running mean of gradients; Nesterov's form.
        weight_decay: share of a matrix, times lr, taken off at each step.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Takes a step with the gradients there are."""
        for group in self.param_groups:
            alike: dict[tuple[torch.Size, bool], list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    kind = (parameter.shape, is_spread(parameter))
                    alike.setdefault(kind, []).append(parameter)
            for (shape, _), parameters in alike.items():
                directions = self._directions(parameters, group["momentum"])
                update = orthogonal(directions.flatten(2)).view_as(directions)
                rate = group["lr"] * max(1.0, shape[0] / shape[1:].numel()) ** 0.5
                for parameter, change in zip(parameters, update.float(), strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(like(change, parameter), alpha=-rate)

    def _directions(self, parameters: list[nn.Parameter], momentum: float) -> Tensor:
        gradients = [p.grad for p in parameters if p.grad is not None]
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        means = [self.state[p]["momentum_buffer"] for p in parameters]
        torch._foreach_lerp_(means, gradients, 1 - momentum)
        ahead = torch._foreach_lerp(gradients, means, momentum)
        # Where they are spread over ranks, each rank has all of them here, and keeps its part.
        return torch.stack([d.full_tensor() if is_spread(d) else d for d in ahead])


def orthogonal(matrices: Tensor) -> Tensor:
    """The nearest orthogonal matrices (their polar factors), roughly: bf16 (n, rows, columns)."""
    x = matrices.bfloat16()
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    # No singular value is larger than the root of the sum of their squares; 1.02 for rounding.
    x = x / (1.02 * x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for a, b, c in _STEPS:
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
