"""What a run's log, weights and scores say of how its training went, and what to change."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import starting
from .core import files
from .objectives.base import Objective
from .run import Run
from .training import checkpoint, health
from .training.vitals import EARLY, vitals

PLOT = "diagnosis.png"
_FAR, _COPIES, _NEAR = 10.0, 0.05, 0.1
_MOST_BATCHES = 50.0
"""Noise of so many times the gradient cannot be told from more."""


@dataclass(frozen=True)
class Finding:
    """Something that is seen, the figures that show it, and what to try."""

    name: str
    said: str
    hint: str
    figures: dict[str, float]
    advice: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """Findings, worst first, and all figures that they were read from."""

    findings: tuple[Finding, ...]
    figures: dict[str, float]
    step: int


def diagnose(run: Run) -> Diagnosis:
    """Reads a run's log, its last checkpoint and, where it was judged, its scores.

    Raises:
        RunError: it has no checkpoint yet.
    """
    lines: list[dict[str, Any]] = []
    files.each_line(run.folder / "log.jsonl", lines.append)
    last_saved = checkpoint.find(run.folder, "last")
    read = [line for line in lines if line.get("kind") in ("train", "validation")]
    figures = vitals(read, run.recipe.training.clip)
    judged = [line for line in lines if line.get("kind") == "validation"]
    last = {n: v for n, v in (judged[-1] if judged else {}).items() if isinstance(v, float)}
    known = last | figures
    shown = {sign.name: sign for sign in reversed(health.SIGNS) if sign.shows(known)}
    found = [_of(sign, known) for sign in reversed(shown.values())]
    found += _told(lines, {one.name for one in found})
    objective = run.objective()
    position, parts = checkpoint.load(last_saved, ("average", "optimizer"))
    more = [_unmoved(run, objective, parts["average"]), *_judged(run, known)]
    if position.step >= EARLY:
        more.append(_batch(run, objective, parts["optimizer"]))
    found += [finding for finding in more if finding]
    step = int(lines[-1].get("step", 0)) if lines else 0
    return Diagnosis(tuple(sorted(found, key=lambda one: one.advice)), figures, step)


def _of(sign: health.Sign, figures: dict[str, float]) -> Finding:
    shown = {name: figures[name] for name in sign.when}
    return Finding(sign.name, sign.said, sign.hint, shown, sign.advice)


def _told(lines: list[dict[str, Any]], now: set[str]) -> list[Finding]:
    """What was said while it trained, and is not seen any more."""
    said = {(sign.name, *sorted(sign.when)): sign.said for sign in health.SIGNS}
    return [
        Finding(
            line["name"], f"{said[key]} (at step {line['step']})", line["hint"], line["figures"]
        )
        for line in lines
        if line.get("kind") == "health" and line["name"] not in now
        and (key := (line["name"], *sorted(line.get("figures", ())))) in said
    ]  # fmt: skip


def noise_scale(
    moments: Mapping[str, Tensor], betas: tuple[float, float], batch: int
) -> float | None:
    """Clips over whose mean a gradient's noise is as large as the gradient itself: tr(S) / |g|^2 of
    McCandlish et al. 2018, "An Empirical Model of Large-Batch Training", eq. 2.9.

    Adam's first moment is a mean over few updates and its second one over many, so that their
    difference is noise; parameters that other optimizers step are left out.

    Args:
        moments: "parameter/exp_avg", "parameter/exp_avg_sq" and "parameter/step".
        betas: of Adam.
        batch: clips in an update.

    Returns:
        At most 50 batches, beyond which it cannot be told; None where there are no such moments.
    """
    firsts = [(n, m) for n, m in moments.items() if n.endswith("/exp_avg")]
    if not firsts or betas[0] < 0.5:
        return None
    first = second = 0.0
    for name, mean in firsts:
        step = float(moments[name.removesuffix("exp_avg") + "step"])
        one, two = (1 - beta**step for beta in betas)
        first += float((mean.double() / one).square().sum())
        second += float(moments[f"{name}_sq"].double().sum() / two)
    left = (1 - betas[0]) / (1 + betas[0])  # of noise, in a first moment
    noise = (second - first) / (1 - left)
    signal = first - left * noise
    if noise <= 0:
        return 0.0
    return batch * min(_MOST_BATCHES, noise / signal if signal > 0 else math.inf)


def _batch(run: Run, objective: Objective, optimizer: Mapping[str, Tensor]) -> Finding | None:
    """What a larger or a smaller batch would do, by the noise in its gradients."""
    training, start = run.recipe.training, objective.phases()[0].name + "/"
    if training.optimizer.kind not in ("muon", "adamw", "adam"):
        return None
    moments = {n: v for n, v in optimizer.items() if n.startswith(start)}
    scale = noise_scale(moments, training.optimizer.betas, training.batch)
    if scale is None:
        return None
    figures = {"noise scale in clips": scale, "batch": float(training.batch)}
    more = " and more" if scale >= _MOST_BATCHES * training.batch else ""
    if scale < training.batch:
        said = "a batch has more clips than the noise in its gradients asks for"
        hint = "a smaller training.batch makes nearly the same updates, and more of them in a time"
    else:
        said = "more than half of each gradient is noise, as is usual towards the end"
        hint = (
            "where a batch takes as long as its clips, leave it: smaller and more updates get as "
            "far; where more clips cost no time (several GPUs), training.batch up to "
            f"{scale:.0f}{more} takes fewer updates in proportion"
        )
    return Finding("batch size", said, hint, figures, advice=True)


def _unmoved(run: Run, objective: Objective, average: Mapping[str, Tensor]) -> Finding | None:
    """Parts whose weights are still those that the seed gave them."""
    starting.begin(objective, run.folder)
    begun = {n: p.detach().clone() for n, p in objective.generator.named_parameters()}
    same = [n for n, p in begun.items() if n in average and _alike(p, average[n])]
    if not same or len(same) == len(begun):
        return None
    listed = ", ".join(same[:4]) + (f" and {len(same) - 4} more" if len(same) > 4 else "")
    return Finding(
        "dead layers",
        f"the weights of {listed} never changed",
        "nothing that is minimised depends on them: are the data's captions, labels or tasks what "
        "the recipe is for?",
        {"parts": float(len(same))},
    )


def _alike(begun: Tensor, now: Tensor) -> bool:
    """Whether weights are what they were, but for the decay that shrinks all alike."""
    if begun.shape != now.shape:
        return False
    a, b = begun.flatten().double(), now.flatten().double()
    if len(a) == 1 or not bool(a.any()):
        return torch.equal(a, b)
    share = (a @ b) / (a @ a)
    return bool(share > 0) and bool((b - share * a).norm() <= 1e-6 * b.norm())


def _judged(run: Run, figures: dict[str, float]) -> list[Finding]:
    """What scores say, where `muybridge evaluate` has judged the run."""
    if not (run.folder / "scores.json").is_file():
        return []
    scores = {one["name"]: one for one in files.read_json(run.folder / "scores.json")["scores"]}
    found = []
    far = {}
    for name in ("appearance distance", "motion distance"):
        value, floor = (scores.get(name, {}).get(key) for key in ("value", "floor"))
        if value and floor:
            far[f"{name} over floor"] = value / floor
    if far and min(far.values()) > _FAR and abs(figures.get("gap", math.inf)) < _NEAR:
        found.append(
            Finding(
                "underfitting",
                "training and held-out clips are done alike, and both far from what real clips are "
                "to each other",
                "a larger budget, a larger model.size, or a higher learning rate",
                far,
            )
        )
    copies = scores.get("copies", {}).get("value")
    if copies and copies > _COPIES:
        found.append(
            Finding(
                "copies",
                "clips that it makes are training clips",
                "train on more clips, for fewer epochs, or with more data.augment",
                {"copies": copies},
            )
        )
    return found


def draw(run: Run, into: Path | None = None) -> Path:
    """Losses, gradients, rate and waiting over the updates, as a picture in the run folder."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    lines: list[dict[str, Any]] = []
    files.each_line(run.folder / "log.jsonl", lines.append)
    figure = Figure(figsize=(9, 6), layout="constrained")
    panels = {
        "loss": [
            ("validation", "loss", "held out"),
            ("validation", "train_loss", "training clips"),
        ],
        "gradient norm": [("train", "gradient_norms", "before it is scaled down")],
        "learning rate": [("train", "learning_rate", "")],
        "share of time waiting for clips": [("train", "data_wait", "")],
    }
    for axes, (title, curves) in zip(figure.subplots(2, 2).flat, panels.items(), strict=True):
        for kind, name, label in curves:
            found: dict[str, list[tuple[int, float]]] = {}
            for one in (one for one in lines if one.get("kind") == kind and name in one):
                of_phases = one[name] if isinstance(one[name], dict) else {"": one[name]}
                for phase, value in of_phases.items():
                    found.setdefault(phase, []).append((one["step"], value))
            for phase, points in found.items():
                axes.plot(*zip(*points, strict=True), label=f"{phase} {label}".strip())
        if title == "gradient norm":
            axes.axhline(run.recipe.training.clip, linestyle="--", color="grey", label="clip")
        axes.set_title(title)
        axes.set_xlabel("update")
        if title in ("loss", "gradient norm"):
            axes.set_yscale("log")
            axes.legend()
    path = into or run.folder / PLOT
    with files.atomic(path) as place:
        figure.savefig(place, format="png", dpi=100)
    return path
