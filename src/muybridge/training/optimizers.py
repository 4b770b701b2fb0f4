"""Optimizers: Muon for hidden matrices, AdamW for all else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from ..core.config import Section
from .muon import Muon


class Config(Section):
    """How parameters are updated."""

    kind: Literal["muon", "adamw"] = "muon"
    """muon: Muon on the matrices of repeated layers, AdamW on the rest; adamw: AdamW on all."""
    learning_rate: float = 3e-3
    """Of AdamW, at its highest."""
    muon_rate: float = 0.02
    """Of Muon, at its highest."""
    weight_decay: float = 0.01
    """Of both, on matrices."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Of AdamW."""
    momentum: float = 0.95
    """Of Muon."""
    warmup: float = 0.02
    """Share of the budget over which the rates rise from 0."""
    decay: float = 0.6
    """Share of the budget, at its end, over which they fall to 0."""


def schedule(progress: float, config: Config) -> float:
    """Factor in [0, 1] of the learning rates at a share of the budget: up, flat, linearly down."""
    up = progress / config.warmup if config.warmup else 1.0
    down = (1 - progress) / config.decay if config.decay else 1.0
    return max(0.0, min(1.0, up, down))


def rate(progress: float, config: Config) -> float:
    """The learning rate at a share of the budget."""
    return config.learning_rate * schedule(progress, config)


class Optimizer:
    """Updates one phase's parameters.

    Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks") takes the
    matrices of layers that repeat, which by convention live in a list called `blocks`.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], config: Config) -> None:
        self.config, self.parameters = config, dict(parameters)
        hidden = [n for n, p in self.parameters.items() if config.kind == "muon" and _hidden(n, p)]
        rest = [n for n in self.parameters if n not in set(hidden)]
        decayed = [n for n in rest if self.parameters[n].ndim > 1]
        plain = [n for n in rest if self.parameters[n].ndim <= 1]
        self._parts: list[tuple[torch.optim.Optimizer, list[str], float]] = []
        if rest:
            groups = [
                {
                    "params": [self.parameters[n] for n in decayed],
                    "weight_decay": config.weight_decay,
                },
                {"params": [self.parameters[n] for n in plain], "weight_decay": 0.0},
            ]
            adamw = torch.optim.AdamW(
                [group for group in groups if group["params"]],
                lr=config.learning_rate,
                betas=config.betas,
                fused=True,
            )
            self._parts.append((adamw, decayed + plain, config.learning_rate))
        if hidden:
            muon = Muon(
                [self.parameters[n] for n in hidden],
                lr=config.muon_rate,
                momentum=config.momentum,
                weight_decay=config.weight_decay,
            )
            self._parts.append((muon, hidden, config.muon_rate))

    def gradients(self) -> list[Tensor]:
        """The gradients; zeros where no clip of this process went through a part, since one of
        another process may have."""
        for parameter in self.parameters.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return [p.grad for p in self.parameters.values() if p.grad is not None]

    def step(self, factor: float) -> None:
        """Updates with the gradients there are, the rates multiplied by `factor`."""
        for optimizer, _, rate in self._parts:
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """All that an update depends on, by "parameter/quantity"."""
        return {
            f"{name}/{key}": value
            for optimizer, names, _ in self._parts
            for name in names
            for key, value in optimizer.state.get(self.parameters[name], {}).items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Takes back what `state` gave."""
        for optimizer, names, _ in self._parts:
            for name in names:
                prefix = f"{name}/"
                # Copied into memory of torch's own alignment: products over tensors that lie as
                # they did in a file can round otherwise, and the run would not be the same.
                where = self.parameters[name].device
                found = {
                    k[len(prefix) :]: v.to(where, copy=True)
                    for k, v in state.items()
                    if k.startswith(prefix)
                }
                if found:
                    optimizer.state[self.parameters[name]] = found


def _hidden(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim == 2 and "blocks" in name.split(".")
