"""Losses made larger before they are propagated back, so that gradients are not lost in fp16
(Micikevicius et al. 2018, "Mixed Precision Training", section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from . import sharding

_PATIENCE = 2000


class LossScale:
    """A factor that is halved where a gradient becomes infinite, the update being left out, and
    doubled after 2000 updates without.

    Args:
        wanted: whether there is one; otherwise it stays 1, and nothing is left out.
    """

    def __init__(self, wanted: bool) -> None:
        self.wanted, self.factor, self._good = wanted, 2.0**16 if wanted else 1.0, 0

    def up(self, loss: Tensor) -> Tensor:
        """The loss, larger."""
        return loss * self.factor if self.wanted else loss

    def down(self, parameters: Iterable[nn.Parameter]) -> None:
        """Their gradients, as they would be of the loss itself."""
        if not self.wanted:
            return
        found = [p.grad for p in parameters if p.grad is not None]
        for places in sharding.kinds(found):
            torch._foreach_mul_([found[place] for place in places], 1 / self.factor)

    def too_high(self, facts: Mapping[str, Any]) -> bool:
        """Whether an update must be left out: its loss is finite, its "gradient_norm" is not, and a
        smaller factor is left to be tried."""
        if not self.wanted:
            return False
        if math.isfinite(facts["gradient_norm"]):
            self._good += 1
            if self._good % _PATIENCE == 0:
                self.factor *= 2
            return False
        if not math.isfinite(facts["loss"]) or self.factor <= 1:
            return False
        self.factor, self._good = self.factor / 2, 0
        return True

    def state(self) -> dict[str, Tensor]:
        """What the next update depends on."""
        now = {"factor": self.factor, "good": float(self._good)}
        return {name: torch.tensor(value) for name, value in now.items()} if self.wanted else {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Takes back what `state` gave; nothing, of a run that was in another precision."""
        if self.wanted and state:
            self.factor, self._good = float(state["factor"]), int(state["good"])
