"""The loop. Once in a while it judges, shows and saves; then it takes a step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core import distributed, progress
from ..core.clips import Batch
from ..core.device import peak_memory
from ..core.errors import Interrupted
from ..objectives.base import Loss, Objective
from . import budget, checkpoint, health, loss_scale, memory, optimizers, sharding
from .average import Average
from .checkpoint import Position
from .config import Config
from .monitor import Monitor
from .parts import TrainingParts


@dataclass(frozen=True)
class Hooks:
    """What the loop calls but does not know; `assemble` fills it in.

    Attributes:
        batches: the global batches from a step on, this process's share of each.
        epoch: training clips in one pass over the data.
        validate: figures of the held-out split by name, one of them "loss".
        preview: writes samples for a step and gives what the log should say of them.
        autocast: the context in which the network computes.
        measure: scores by name; called by every rank, each of which makes its share of the clips.
        raw: the loss of the held-out split by weights that are not averaged, or None.
    """

    batches: Callable[[int], Generator[Batch]]
    epoch: int
    validate: Callable[[], dict[str, Any]]
    preview: Callable[[int], dict[str, Any]]
    autocast: Callable[[], AbstractContextManager[Any]]
    measure: Callable[[], dict[str, Any]]
    raw: Callable[[], float] | None = None


def train(
    objective: Objective, config: Config, run: Path, device: torch.device, hooks: Hooks
) -> Position:
    """Trains until the budget is spent, going on from the last checkpoint in `run`; gives where it
    then stands.

    Raises:
        Interrupted: SIGINT or SIGTERM came; the run was saved first.
        RunError: a loss or gradient that is not finite, or a batch that processes cannot share.
    """
    distributed.check_share(config.batch)
    objective.to(device).train()
    if config.compile:
        sharding.compile_layers(objective)
    sharding.shard(objective, config.shard)
    phases = objective.phases()
    names = [phase.name for phase in phases]
    main = "generator" if "generator" in names else names[0]
    parts = TrainingParts(
        objective,
        Average(objective.generator, config.average),
        {phase.name: optimizers.Optimizer(phase.parameters, config.optimizer) for phase in phases},
        memory.Micro(settled=config.shard != "none"),
        loss_scale.LossScale(config.precision == "fp16"),
    )
    begun_at = parts.restore(run)
    step, clock = begun_at.step, budget.Clock(begun_at.seconds)
    spent, saved = _spent(config, hooks, step, begun_at.seconds), begun_at.seconds
    unseen = begun_at.looked < begun_at.progress  # stopped where there was no time to judge
    looked = begun_at.looked if unseen else spent
    batches = hooks.batches(step)
    first = distributed.rank() == 0
    monitor = Monitor(run, step, config.loggers, config.clip) if first else None
    stale = _stale(config, hooks, run, spent)
    if monitor and step:
        monitor.write("resume", step, seconds=begun_at.seconds)
    with (
        monitor or nullcontext(), closing(batches), budget.interrupts() as stopping,
        progress.bar("train", 1.0) as advance,
    ):  # fmt: skip
        while True:
            seconds = distributed.same(clock.seconds())
            spent = _spent(config, hooks, step, seconds)
            fresh = step > begun_at.step or step == 0 or unseen
            stop = distributed.asked(stopping())
            if fresh and not stop:  # who asks to stop may not wait for judging
                due = partial(budget.due, before=looked, spent=spent, step=step)
                with memory.judging():
                    _look(parts, config, run, hooks, monitor, due, Position(step, seconds, spent))
                stale = due(_marks(config)) and _stale(config, hooks, run, spent)
                looked = spent
            done = stop or stale or spent >= 1
            if fresh and (done or seconds - saved >= config.save_seconds):
                state = parts.state()
                if first:
                    at = Position(step, clock.seconds(), spent, looked)
                    checkpoint.save(run, f"step-{step:08d}", at, state)
                    checkpoint.rotate(run, config.keep, step)
                saved = seconds
            if done:
                break

            began = time.perf_counter()
            batch = next(batches).to(device)
            waited = time.perf_counter() - began
            facts: dict[str, Any] = {"losses": {}, "gradient_norms": {}}
            for phase in (one for one in phases if step % one.every == 0):
                own = _update(parts, phase.name, batch, spent, config, hooks)
                facts["losses"] |= own["losses"]
                facts["gradient_norms"][phase.name] = own["gradient_norm"]
                if phase.name == main or "loss" not in facts:
                    facts["loss"] = own["loss"]
                if parts.scale.too_high(own):
                    continue
                health.check_finite(own, step + 1, batch, run)
                rates = optimizers.schedule(spent, config.optimizer)
                parts.optimizers[phase.name].step(rates)
            step += 1
            parts.average.update(step)
            if monitor and (step % config.log_every == 0 or step == 1):
                took = time.perf_counter() - began
                facts |= {"clips_per_second": config.batch / took, "data_wait": waited / took}
                facts["learning_rate"] = optimizers.rate(spent, config.optimizer)
                facts["peak_memory_gib"] = peak_memory() / 2**30
                monitor.write("train", step, seconds=clock.seconds(), progress=spent, **facts)
            advance(to=spent, note=monitor.note(step, facts["loss"]) if monitor else "")
        ended = stale or looked >= 1
        if monitor and ended:
            told = {"early": spent < 1, "peak_memory_gib": peak_memory() / 2**30}
            monitor.write("end", step, seconds=clock.seconds(), **told)
    distributed.wait()  # one that leaves early closes what another may still listen to
    if not ended:
        raise Interrupted(f"stopped at step {step}, which is saved", "to go on, run it again")
    return Position(step, clock.seconds())


def _look(
    parts: TrainingParts,
    config: Config,
    run: Path,
    hooks: Hooks,
    monitor: Monitor | None,
    due: Callable[[int], bool],
    at: Position,
) -> None:
    """Judges held-out clips, shows samples and scores them, where it is time: averaged weights."""
    if not any(due(times) for times in (config.validations, config.previews, config.measures)):
        return
    parts.objective.eval().progress = at.progress
    own: dict[str, Any] = {"progress": at.progress}
    if hooks.raw is not None and due(config.validations):
        with sharding.gathered(parts.objective):
            own |= {"raw_loss": hooks.raw()} if monitor else {}
    with parts.average.applied(), sharding.gathered(parts.objective):
        figures: dict[str, Any] = {}
        if monitor and due(config.validations):
            figures = hooks.validate() | own
            monitor.write("validation", at.step, seconds=at.seconds, **figures)
        if monitor and at.step and due(config.previews):
            monitor.write("preview", at.step, seconds=at.seconds, **hooks.preview(at.step))
        if at.step and due(config.measures) and (scores := hooks.measure()) and monitor:
            monitor.write("scores", at.step, seconds=at.seconds, **scores)
            figures |= scores
        better = at.step and figures.get(config.best, math.inf) < checkpoint.best(run).value
        if distributed.same(float(better)):
            average = sharding.wholes(parts.average.values)
            if monitor:
                checkpoint.save_best(run, at, figures[config.best], average)
    parts.objective.train()


def _update(
    parts: TrainingParts, phase: str, batch: Batch, spent: float, config: Config, hooks: Hooks
) -> dict[str, Any]:
    """Gradients of one phase over the global batch: all micro-batches and ranks, clipped."""
    objective, optimizer = parts.objective, parts.optimizers[phase]
    weights = {name: weight.sum() for name, weight in objective.weights(batch, phase).items()}
    distributed.add_up(weights.values())

    def gradients(size: int) -> tuple[dict[str, Tensor], dict[str, float], set[str]]:
        # Another phase's loss may reach these parameters too; what it left there is not theirs.
        objective.zero_grad(set_to_none=True)
        terms = {name: torch.zeros((), device=batch.clips.device) for name in weights}
        shares: dict[str, float] = {}
        idle = set(optimizer.parameters)
        for begin in range(0, len(batch), size):
            clips = batch.part(begin, begin + size)
            torch.manual_seed(int(clips.seeds[0]))  # of dropout, which draws from no clip's seed
            with hooks.autocast():
                given = objective.loss(clips, phase, spent)
            for part in [given] if isinstance(given, Loss) else given:
                means = {n: s.sum() / weights[n].clamp(min=1e-8) for n, s in part.sums.items()}
                shares |= {name: part.shares.get(name, 1.0) for name in means}
                total = torch.stack([shares[n] * mean for n, mean in means.items()]).sum()
                total, lacking = sharding.tied(objective, total)
                idle &= lacking
                parts.scale.up(total).backward()  # type: ignore[no-untyped-call]
                for name, mean in means.items():
                    terms[name] += mean.detach()
        return terms, shares, idle

    terms, shares, idle = memory.fitting(parts.micro, config.micro_batch or len(batch), gradients)
    distributed.add_up([*terms.values(), *optimizer.gradients(idle)])
    parts.scale.down(optimizer.parameters.values())
    norm = sharding.clip(list(optimizer.parameters.values()), config.clip)
    losses = {name: float(value) for name, value in terms.items()}
    loss = sum(shares[name] * value for name, value in losses.items())
    told = {n if phase == "generator" else f"{phase} {n}": v for n, v in losses.items()}
    return {"loss": loss, "losses": told, "gradient_norm": norm}


def _marks(config: Config) -> int:
    """How often in the budget it is judged what the best checkpoint is chosen by."""
    return config.validations if config.best == "loss" else config.measures


def _stale(config: Config, hooks: Hooks, run: Path, spent: float) -> bool:
    """Whether it was judged too often in turn without a better checkpoint; the first process's
    word, who keeps them."""
    if config.patience is None:
        return False
    best = checkpoint.best(run)
    shares = spent, _spent(config, hooks, best.step, best.seconds)
    now, then = (int(share * _marks(config)) for share in shares)
    return bool(distributed.same(float(now - then >= config.patience)))


def _spent(config: Config, hooks: Hooks, step: int, seconds: float) -> float:
    """Share of the budget spent, at most 1, which is the end."""
    if config.minutes is not None:
        return min(1.0, seconds / (60 * config.minutes))
    steps = config.steps or round((config.epochs or 0) * hooks.epoch / config.batch)
    return min(1.0, step / max(steps, 1))
