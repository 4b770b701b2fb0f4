"""All that a step of training changes: weights, their average, moments."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from ..objectives.base import Objective
from . import checkpoint, optimizers
from .average import Average
from .checkpoint import Position
from .memory import Micro


@dataclass(frozen=True)
class TrainingParts:
    """What a checkpoint holds.

    Attributes:
        objective: what is trained.
        average: averaged weights of its generator.
        optimizers: by the name of their phase.
        micro: how many clips are propagated at once.
    """

    objective: Objective
    average: Average
    optimizers: dict[str, optimizers.Optimizer]
    micro: Micro = field(default_factory=Micro)

    def state(self) -> dict[str, dict[str, Tensor]]:
        """By part of a checkpoint, all that the next step depends on."""
        moments = {f"{n}/{k}": v for n, o in self.optimizers.items() for k, v in o.state().items()}
        model = self.objective.state_dict()
        return {"model": model, "average": self.average.values, "optimizer": moments}

    def restore(self, run: Path) -> Position:
        """Takes back what the last whole checkpoint of a run holds; the beginning, if none."""
        found = checkpoint.resume(run, ("model", "average", "optimizer"))
        if found is None:
            return Position()
        position, state = found
        self.objective.load_state_dict(state["model"])
        self.average.restore(state["average"])
        for name, optimizer in self.optimizers.items():
            start = f"{name}/"
            moments = state["optimizer"].items()
            optimizer.restore({k.removeprefix(start): v for k, v in moments if k.startswith(start)})
        return position
