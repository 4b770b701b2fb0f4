"""Whether a step may be believed, and what a training that goes wrong shows.

An objective's `held_out` gives figures by name; a name below means the same wherever it is given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from ..core import distributed, files
from ..core.clips import Batch
from ..core.errors import NotFinite
from . import vitals


def check_finite(facts: dict[str, Any], step: int, batch: Batch, folder: Path) -> None:
    """Stops the run when a loss or a gradient is not a number, before it reaches the weights.

    `facts` are those of the step, its "loss" and "gradient_norm" among them.

    Raises:
        NotFinite: names the step, the values and the clips, and where the last good weights are.
    """
    values = {name: float(facts[name]) for name in ("loss", "gradient_norm")}
    bad = {name: value for name, value in values.items() if not math.isfinite(value)}
    if not bad:
        return
    report = {"format": 1, "step": step, "values": {k: repr(v) for k, v in values.items()}}
    report |= {"clips": list(batch.names), "seeds": batch.seeds.tolist(), "text": batch.text}
    of = f"-rank-{distributed.rank()}" if distributed.world() > 1 else ""
    path = folder / f"nonfinite-{step:08d}{of}.json"
    files.write_json(path, report)
    tensors = {n: v.detach().cpu().contiguous() for n, v in batch.tensors().items()}
    with files.atomic(path.with_suffix(".safetensors")) as place:
        save_file(tensors, place)
    shown = ", ".join(batch.names[:4]) + (" ..." if len(batch.names) > 4 else "")
    raise NotFinite(
        f"step {step}: {', '.join(f'{name} is {value}' for name, value in bad.items())}; the "
        f"batch was {shown} (all of it in {path.with_suffix('')}.json and .safetensors)",
        "the weights of the last checkpoint are untouched; lower training.optimizer.learning_rate "
        "and muon_rate, or set training.precision=fp32, and train into a new --out",
    )


Bounds = Mapping[str, tuple[float, float]]
INFINITE = math.inf


@dataclass(frozen=True)
class Sign:
    """What figures show when all of them lie within some bounds.

    Attributes:
        name: what has gone wrong.
        when: by the figures' names, of held-out clips or of `vitals`, least and most.
        said: what that means.
        hint: what to try.
        advice: nothing has gone wrong, and it is told only when asked for.
    """

    name: str
    when: Bounds
    said: str
    hint: str
    advice: bool = False

    def shows(self, figures: Mapping[str, Any]) -> bool:
        """Whether the figures are all there, and within the bounds."""
        values = {name: figures.get(name) for name in self.when}
        return all(
            isinstance(value, float) and least <= value <= most
            for value, (least, most) in zip(values.values(), self.when.values(), strict=True)
        )


SIGNS = (
    Sign(
        "the discriminator won",
        {"told_apart": (0.985, INFINITE), "lately": (-0.02, INFINITE)},
        "it scores nearly every real clip above the made one, and what is made gets no better",
        "raise objective.gamma, lower training.optimizer.learning_rate, or augment more: "
        "objective.augment",
    ),
    Sign(
        "collapse",
        {"diversity": (-INFINITE, 0.2), "lately": (-0.02, INFINITE)},
        "made clips differ far less from each other than real ones do, and get no nearer to these",
        "raise objective.gamma, train on more clips, or take a flow: flow-small",
    ),
    Sign(
        "posterior collapse",
        {"kl": (-INFINITE, 0.02)},
        "the latents say nothing of the clip",
        "lower objective.kl, or let it rise later",
    ),
    Sign(
        "posterior collapse",
        {"kl_first": (-INFINITE, 0.5)},
        "the latents say nothing of a first frame that nothing came before",
        "lower objective.kl, or raise objective.kl_warmup and objective.free",
    ),
    Sign(
        "posterior collapse",
        {"kl_later": (-INFINITE, 0.05)},
        "the latents say nothing of later frames: one future is drawn, and no other",
        "lower objective.kl, or raise objective.kl_warmup and objective.free",
    ),
    Sign(
        "dead codes",
        {"tokens_used": (-INFINITE, 0.03)},
        "hardly any of the tokens occur",
        "lower training.optimizer.learning_rate, or take fewer model.levels",
    ),
    Sign(
        "overfitting",
        {"gap": (0.3, INFINITE), "risen": (0.05, INFINITE)},
        "training clips are done ever better, and held-out ones worse than before",
        "take --checkpoint best; train on more clips, set training.patience=2, raise "
        "training.optimizer.weight_decay or a transformer's model.dropout, or take a smaller "
        "model.size",
    ),
    Sign(
        "past its best",
        {"gap": (-INFINITE, 0.3), "worse": (0.3, INFINITE)},
        "held-out clips are done much worse than before, and training clips too",
        "take --checkpoint best; lower training.optimizer.learning_rate and muon_rate, or of a GAN "
        "raise objective.gamma",
    ),
    Sign(
        "learning rate too low",
        {"fallen": (-INFINITE, 0.05), "steady": (0.85, INFINITE)},
        "the loss of training clips falls, steadily and hardly at all",
        "raise training.optimizer.learning_rate and muon_rate, three times at first",
    ),
    Sign(
        "learning rate too high",
        {"fallen": (-INFINITE, 0.02), "steady": (-INFINITE, 0.84)},
        "the loss of training clips hardly falls, and goes up and down",
        "lower training.optimizer.learning_rate and muon_rate, three times at first",
    ),
    Sign(
        "learning rate too high",
        {"fallen": (-INFINITE, 0.25), "worst": (2.0, INFINITE)},
        "the loss of training clips rose to twice what it was at first, or more",
        "lower training.optimizer.learning_rate and muon_rate, three times at first",
    ),
    Sign(
        "exploding gradients",
        {"gradient_growth": (10.0, INFINITE)},
        "they have become ten times as large as they were",
        "lower training.optimizer.learning_rate and muon_rate, or raise its warmup",
    ),
    Sign(
        "clipped gradients",
        {"clipped": (0.95, INFINITE), "over": (10.0, INFINITE)},
        "nearly all are scaled down, to a tenth or less",
        "raise training.clip, or lower the loss' weights: only the direction counts now",
    ),
    Sign(
        "starving",
        {"waiting": (0.3, INFINITE)},
        "training waits for clips",
        "store the dataset's cache as pixels (muybridge prepare --help), or augment less: "
        "data.augment",
    ),
    Sign(
        "still learning",
        {"gap": (-INFINITE, 0.1), "late": (0.15, INFINITE), "fallen": (0.3, INFINITE)},
        "held-out clips were still done better and better when the log ended",
        "a larger budget will help: the same command with more --minutes goes on",
        advice=True,
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

    def see(self, figures: Mapping[str, Any], progress: float, step: int) -> list[Sign]:
        """The signs to be told now, `step` updates and a share `progress` of the budget along."""
        wrong = (sign for sign in SIGNS if not sign.advice and sign.shows(figures))
        now = [sign for sign in wrong if progress >= _EARLY and step >= vitals.EARLY]
        said = {sign.name: sign for sign in reversed(now)}  # what shows in two ways is said once
        fresh = [s for n, s in said.items() if n in self._before and n not in self._told]
        self._before = set(said)
        self._told |= {sign.name for sign in fresh}
        return fresh[::-1]
