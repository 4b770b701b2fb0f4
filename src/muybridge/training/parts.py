"""All that a step of training changes: weights, their average, moments."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from ..objectives.base import Objective
from . import checkpoint, optimizers, sharding
from .average import Average
from .checkpoint import Position
from .loss_scale import LossScale
from .memory import Micro

_SCALE, _MICRO = "loss_scale/", "micro_batch/"


@dataclass(frozen=True)
class TrainingParts:
    """What a checkpoint holds.

    Attributes:
        objective: what is trained.
        average: averaged weights of its generator.
        optimizers: by the name of their phase.
        micro: how many clips are propagated at once.
        scale: of losses, in fp16.
    """

    objective: Objective
    average: Average
    optimizers: dict[str, optimizers.Optimizer]
    micro: Micro = field(default_factory=Micro)
    scale: LossScale = field(default_factory=lambda: LossScale(False))

    def state(self) -> dict[str, dict[str, Tensor]]:
        """By part of a checkpoint, all that the next step depends on.

        Every rank must ask for it: what is spread is put together, so that a checkpoint is the same
        for any number of ranks.
        """
        moments = {f"{n}/{k}": v for n, o in self.optimizers.items() for k, v in o.state().items()}
        moments |= {f"{_SCALE}{k}": v for k, v in self.scale.state().items()}
        moments |= {f"{_MICRO}{k}": v for k, v in self.micro.state().items()}
        model, average = self.objective.state_dict(), self.average.values
        parts = {"model": model, "average": average, "optimizer": moments}
        return {part: sharding.wholes(tensors) for part, tensors in parts.items()}

    def restore(self, run: Path) -> Position:
        """Takes back what the last whole checkpoint of a run holds; the beginning, if none."""
        found = checkpoint.resume(run, ("model", "average", "optimizer"))
        if found is None:
            return Position(progress=0.0, looked=0.0)
        position, state = found
        there = self.objective.state_dict()
        model = {n: sharding.like(v, there.get(n, v)) for n, v in state["model"].items()}
        self.objective.load_state_dict(model)
        self.average.restore(state["average"])
        for name, optimizer in self.optimizers.items():
            optimizer.restore(_under(f"{name}/", state["optimizer"]))
        self.scale.restore(_under(_SCALE, state["optimizer"]))
        self.micro.restore(_under(_MICRO, state["optimizer"]))
        return position


def _under(start: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What is called so, without that start."""
    return {name.removeprefix(start): v for name, v in state.items() if name.startswith(start)}
