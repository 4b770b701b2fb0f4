"""The recipe's `training`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..core.config import Count, Section
from . import optimizers, sharding
from .loggers import Name as LoggerName


class Config(Section):
    """How a model is trained. One of `steps`, `minutes` and `epochs` is the budget."""

    steps: int | None = None
    """Budget: updates."""
    minutes: float | None = None
    """Budget: minutes of this run's own time, all that happens inside the loop counted."""
    epochs: float | None = None
    """Budget: passes over the training clips."""
    batch: int = Field(16, ge=1)
    """Clips in an update, over all processes."""
    micro_batch: int | None = None
    """Clips propagated at once, for large models; null for a process's whole share."""
    memory: Literal["asked", "auto"] = "asked"
    """auto: where `micro_batch` is null, a few updates of few clips are tried before the run
    begins, and it is settled so that memory suffices."""
    precision: Literal["auto", "bf16", "fp16", "tf32", "fp32"] = "auto"
    """auto: bf16, or else fp16, where it was measured to be faster; settled when the run begins.
    fp16 scales the loss, so that small gradients stay; tf32 rounds products alone, on GPUs."""
    threads: int = 0
    """Threads of the CPU; 0 for one a core; settled when the run begins."""
    optimizer: optimizers.Config = optimizers.Config()
    """Rates and schedule."""
    shard: sharding.How = "none"
    """How weights, gradients and moments are spread over processes, which then hold less each: not,
    over all of them (full), or over those of a machine (hybrid)."""
    compile: bool = False
    """Compile the layers that repeat (`torch.compile`), which takes a minute or more at first."""
    clip: float = 1.0
    """Largest norm of the gradient; a larger one is scaled down."""
    average: float = 0.1
    """Relative width of the averaged weights."""
    validations: int = 8
    """Times in the budget that held-out clips are judged."""
    previews: int = 4
    """Times in the budget that samples are made to look at."""
    measures: int = 4
    """Times in the budget that samples are scored by the measures in `evaluation.during`."""
    best: str = "loss"
    """What the best checkpoint is chosen by: the held-out loss, or a distance of those in
    `evaluation.during`, as "appearance distance"."""
    patience: Count | None = None
    """Judgements of held-out clips in turn without a better one, after which training ends; null
    for never."""
    save_seconds: float = 60.0
    """Seconds between checkpoints; one is written at the end in any case."""
    keep: int = Field(2, ge=1)
    """Checkpoints kept."""
    log_every: int = Field(10, ge=1)
    """Updates between lines of the log."""
    loggers: tuple[LoggerName, ...] = ("tensorboard",)
    """Where figures go beside `log.jsonl`: tensorboard, wandb, trackio, mlflow."""
