"""Training steps: the baseline of `prototype.py` against ours, and how much of the matrix rate.

    python benchmarks/training_speed.py [--rounds 12]

Steps of all take turns in one run, so that other work on the machine slows all alike; the medians
are compared. Clips are noise, already in memory. Work is that of matrix products and attention,
forward, backward and in the optimizer, counted by torch; the rate of the machine is that of bf16
products of 1024 x 1024 matrices, timed between the steps.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from common import report
from prototype import Trainer
from torch.utils.flop_counter import FlopCounterMode

import muybridge as mb
from muybridge.core.clips import Batch
from muybridge.models import dit
from muybridge.objectives import flow_matching
from muybridge.objectives.base import Parts
from muybridge.training import average, loop, optimizers


def clips(count: int) -> Batch:
    """Noise of the form of clips, of four labels."""
    torch.manual_seed(0)
    return Batch(
        torch.rand(count, 16, 3, 64, 64) * 2 - 1,
        (torch.arange(16) / 8).expand(count, -1),
        torch.ones(count, 16),
        torch.arange(count),
        label=torch.arange(count) % 4,
        index=torch.arange(count),
    )


def ours(size: str, count: int) -> Callable[[], None]:
    """One step of the recipe's objective, optimizer and average."""
    recipe = mb.Recipe.load("flow-small")
    network = dit.build(dit.Config(**dit.SIZES[size], labels=4, text=None))
    parts = Parts(network, None, [0.0] * 3, [0.5] * 3, recipe.sampling)
    objective = flow_matching.build(flow_matching.Config(), parts).train()
    phase = objective.phases()[0]
    optimizer = optimizers.Optimizer(phase.parameters, recipe.training.optimizer)
    mean, batch, taken = average.Average(objective.generator, 0.1), clips(count), [0]
    hooks = loop.Hooks(
        lambda _: iter(()), 0, dict, lambda _: {},  # type: ignore[arg-type, return-value]
        lambda: torch.autocast("cpu", torch.bfloat16), dict,
    )  # fmt: skip

    def step() -> None:
        loop._update(objective, optimizer, batch, phase.name, 0.5, recipe.training, hooks)
        optimizer.step(1.0)
        taken[0] += 1
        mean.update(taken[0])

    return step


def baseline(count: int) -> Callable[[], None]:
    """One step of the prototype."""
    trainer, batch = Trainer(4, torch.zeros(3), torch.ones(3), 0), clips(count)

    def step() -> None:
        trainer.step(batch, 0.5)

    return step


def seconds(work: Callable[[], object]) -> float:
    """What one call takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> None:
    """Takes turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    rounds = parser.parse_args().rounds
    matrix = torch.randn(1024, 1024).bfloat16()
    settings = mb.Recipe.load("flow-small")
    small = settings.training.batch
    works: dict[str, tuple[Callable[[], object], int]] = {
        "prototype, d256 L6": (baseline(16), 16),
        "ours, d256 L6": (ours("medium", 16), 16),
        f"flow-small, d{settings.model.config.width} L{settings.model.config.depth}":  # type: ignore[attr-defined]
            (ours("small", small), small),
        "matrix product": (lambda: [matrix @ matrix for _ in range(40)], 0),
    }  # fmt: skip
    flops = {}
    for name, (work, _) in works.items():
        with FlopCounterMode(display=False) as counter:
            work()
        flops[name] = counter.get_total_flops()
    times: dict[str, list[float]] = {name: [] for name in works}
    for round_ in range(rounds + 3):
        for name, (work, _) in works.items():
            taken = seconds(work)
            if round_ >= 3:
                times[name].append(taken)
    machine = flops["matrix product"] / median(times["matrix product"])
    first = 16 / median(times["prototype, d256 L6"])
    rows = [
        {
            "step": name,
            "batch": count,
            "ms": 1e3 * median(times[name]),
            "fastest ms": 1e3 * min(times[name]),
            "clips/s": count / median(times[name]),
            "over the prototype's": count / median(times[name]) / first,
            "of the matrix rate": flops[name] / median(times[name]) / machine,
        }
        for name, (_, count) in works.items()
        if count
    ]
    report("training_speed", rows, machine_tflops=machine / 1e12)


if __name__ == "__main__":
    main()
