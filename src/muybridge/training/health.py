"""Whether a step may be believed, and what a training that goes wrong shows.

An objective's `held_out` gives figures by name; a name below means the same wherever it is given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import files
from ..core.clips import Batch
from ..core.errors import RunError


def check_finite(facts: dict[str, Any], step: int, batch: Batch, folder: Path) -> None:
    """Stops the run when a loss or a gradient is not a number, before it reaches the weights.

    `facts` are those of the step, its "loss" and "gradient_norm" among them.

    Raises:
        RunError: names the step, the values and the clips, and where the last good weights are.
    """
    values = {name: float(facts[name]) for name in ("loss", "gradient_norm")}
    bad = {name: value for name, value in values.items() if not math.isfinite(value)}
    if not bad:
        return
    report = {"format": 1, "step": step, "values": {k: repr(v) for k, v in values.items()}}
    report |= {"clips": list(batch.names), "seeds": batch.seeds.tolist()}
    path = folder / f"nonfinite-{step:08d}.json"
    files.write_json(path, report)
    shown = ", ".join(batch.names[:4]) + (" ..." if len(batch.names) > 4 else "")
    raise RunError(
        f"step {step}: {', '.join(f'{name} is {value}' for name, value in bad.items())}; the "
        f"batch was {shown} (all of it in {path})",
        "the weights of the last checkpoint are untouched; lower training.optimizer.learning_rate "
        "and muon_rate, or set training.precision=fp32, and train into a new --out",
    )


@dataclass(frozen=True)
class Sign:
    """What a figure of held-out clips shows when it is out of bounds.

    Attributes:
        name: what has gone wrong.
        figure: its name among the figures.
        least, most: its bounds.
        said: what that means.
        hint: what to try.
    """

    name: str
    figure: str
    said: str
    hint: str
    least: float = -math.inf
    most: float = math.inf

    def shows(self, figures: Mapping[str, Any]) -> bool:
        """Whether the figure is there, and out of bounds."""
        value = figures.get(self.figure)
        return isinstance(value, float) and not self.least <= value <= self.most


SIGNS = (
    Sign(
        "the discriminator won",
        "told_apart",
        "it scores nearly every real clip above the made one, and leaves the generator nothing to "
        "go by",
        "raise objective.gamma, lower training.optimizer.learning_rate, or augment more: "
        "objective.augment",
        most=0.985,
    ),
    Sign(
        "collapse",
        "diversity",
        "made clips differ far less from each other than real ones do",
        "raise objective.gamma, train on more clips, or take a flow: flow-small",
        least=0.2,
    ),
    Sign(
        "posterior collapse",
        "kl",
        "the latents say nothing of the clip",
        "lower objective.kl, or let it rise later",
        least=0.02,
    ),
    Sign(
        "posterior collapse",
        "kl_first",
        "the latents say nothing of a first frame that nothing came before",
        "lower objective.kl, or raise objective.kl_warmup and objective.free",
        least=0.5,
    ),
    Sign(
        "dead codes",
        "tokens_used",
        "hardly any of the tokens occur",
        "lower training.optimizer.learning_rate, or take fewer model.levels",
        least=0.03,
    ),
)
# Share of the budget before which figures mean little.
_EARLY = 0.2


class Watch:
    """Tells each sign once, when it shows in two judgements running.

    Args:
        told: names of signs that an earlier process has told of this run.
    """

    def __init__(self, told: set[str]) -> None:
        self._told, self._before = told, set[str]()

    def see(self, figures: Mapping[str, Any], progress: float) -> list[Sign]:
        """The signs to be told now."""
        now = [sign for sign in SIGNS if progress >= _EARLY and sign.shows(figures)]
        fresh = [s for s in now if s.name in self._before and s.name not in self._told]
        self._before = {sign.name for sign in now}
        self._told |= {sign.name for sign in fresh}
        return fresh
