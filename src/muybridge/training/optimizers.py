"""Optimizers: Muon for hidden matrices and AdamW for all else, or another one for all."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ..core.config import NotNegative, Positive, Section, Share
from . import sharding
from .muon import Muon

RANGE = 4
"""Decades that the rates rise by in a range test."""


class Config(Section):
    """How parameters are updated."""

    kind: Literal["muon", "adamw", "adam", "sgd", "rmsprop"] = "muon"
    """muon: Muon on the matrices of repeated layers, AdamW on the rest; the others: on all."""
    learning_rate: Positive = 3e-3
    """Of all but Muon, at its highest."""
    muon_rate: Positive = 0.02
    """Of Muon, at its highest."""
    weight_decay: NotNegative = 0.01
    """On matrices and kernels; taken from the weights themselves by Muon and AdamW (Loshchilov and
    Hutter 2019), added to the gradient by the others."""
    betas: tuple[Share, Share] = (0.9, 0.98)
    """Of Adam and AdamW; RMSprop takes the second."""
    momentum: Share = 0.95
    """Of Muon, and SGD's (Nesterov's)."""
    schedule: Literal["linear", "cosine", "range"] = "linear"
    """How the rates fall; range: they rise by four decades instead, to see which are too high."""
    warmup: Share = 0.02
    """Share of the budget over which the rates rise from 0."""
    decay: Annotated[float, Field(ge=0, le=1)] = 0.6
    """Share of the budget, at its end, over which they fall to 0; 0 for never."""


def schedule(progress: float, config: Config) -> float:
    """Factor in [0, 1] of the learning rates at a share of the budget: up, flat, down."""
    if config.schedule == "range":
        return float(10 ** (-RANGE * (1 - progress)))
    up = progress / config.warmup if config.warmup else 1.0
    down = (1 - progress) / config.decay if config.decay else 1.0
    down = max(0.0, min(1.0, down))
    if config.schedule == "cosine":
        down = (1 - math.cos(math.pi * down)) / 2
    return min(1.0, up, down)


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
        self._reached = torch.ones(len(self.parameters))
        hidden = [n for n, p in self.parameters.items() if config.kind == "muon" and _hidden(n, p)]
        rest = [n for n in self.parameters if n not in set(hidden)]
        groups: list[dict[str, Any]] = []
        for names, decay in (
            ([n for n in rest if self.parameters[n].ndim > 1], config.weight_decay),
            ([n for n in rest if self.parameters[n].ndim <= 1], 0.0),
        ):
            for places in sharding.kinds(self.parameters[n] for n in names):
                own = [self.parameters[names[place]] for place in places]
                groups.append({"params": own, "weight_decay": decay})
        self._parts: list[tuple[torch.optim.Optimizer, list[str], float]] = []
        if rest:
            self._parts.append((_usual(groups, config), rest, config.learning_rate))
        if hidden:
            muon = Muon(
                [self.parameters[n] for n in hidden],
                lr=config.muon_rate,
                momentum=config.momentum,
                weight_decay=config.weight_decay,
            )
            self._parts.append((muon, hidden, config.muon_rate))

    def gradients(self, idle: Container[str] = ()) -> list[Tensor]:
        """Those whose sum over processes is not made yet; zeros where no clip of this process went
        through a part, since one of another process may have. The last says which parts have any.

        Args:
            idle: names of those that have one only for being tied to the loss (`sharding.tied`).
        """
        named = self.parameters.items()
        there = [p.grad is not None and name not in idle for name, p in named]
        self._reached = torch.tensor(there, dtype=torch.float32)
        for parameter in self.parameters.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        whole = sharding.own(p.grad for p in self.parameters.values() if p.grad is not None)
        return [*whole, self._reached]

    def step(self, factor: float) -> None:
        """Updates with the gradients there are, the rates multiplied by `factor`. What no clip of
        any process went through stays as it is, and its moments are not counted on."""
        for parameter, reached in zip(self.parameters.values(), self._reached, strict=True):
            if not reached:
                parameter.grad = None
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
            if isinstance(value, Tensor)  # SGD without momentum keeps None
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Takes back what `state` gave."""
        for optimizer, names, _ in self._parts:
            for name in names:
                prefix = f"{name}/"
                # Copied into memory of torch's own alignment: products over tensors that lie as
                # they did in a file can round otherwise, and the run would not be the same.
                parameter = self.parameters[name]
                found = {
                    k[len(prefix) :]: sharding.like(v.to(parameter.device, copy=True), parameter)
                    for k, v in state.items()
                    if k.startswith(prefix)
                }
                if found:
                    optimizer.state[parameter] = found


def _usual(groups: list[dict[str, Any]], config: Config) -> torch.optim.Optimizer:
    """Torch's own of the kind asked for; beside Muon, AdamW."""
    rate = config.learning_rate
    match config.kind:
        case "adam":
            return torch.optim.Adam(groups, lr=rate, betas=config.betas, fused=True)
        case "sgd":
            momentum = config.momentum
            return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=momentum > 0)
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr=rate, alpha=config.betas[1])
        case _:
            return torch.optim.AdamW(groups, lr=rate, betas=config.betas, fused=True)


def _hidden(name: str, parameter: nn.Parameter) -> bool:
    """Matrices, and kernels that mix channels."""
    mixes = parameter.ndim >= 2 and parameter.shape[1] > 1
    return mixes and "blocks" in name.split(".")
