"""How near a run's continuations of held-out clips come to what really followed, frame by frame.

Where a model draws several continuations of the same frames, the mean of their scores counts, never
the best of them. Copying the last frame that was given is the rival that costs nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .core import chance, progress
from .data import tasks
from .evaluation import plots, similarity, suite
from .evaluation.clip_sets import CHUNK, ClipSet
from .evaluation.intervals import mean_interval
from .evaluation.manifest import Score
from .objectives.base import SampleRequest
from .run import Run
from .samples import request_like

DRAWS = 2
Array = npt.NDArray[np.float64]
_MEASURES = {"PSNR": ("dB", similarity.psnr), "SSIM": ("", similarity.ssim)}


def can_continue(run: Run) -> bool:
    """Whether the run was trained to go on from given frames."""
    return run.recipe.data.tasks.prefix > 0


def continuation(
    run: Run, real: ClipSet, config: suite.Config, checkpoint: str
) -> tuple[list[Score], list[dict[str, Any]]]:
    """Scores over the frames that were not given, and the curves over their times.

    Args:
        run: trained with `data.tasks.prefix` above 0.
        real: held-out clips, whose first frames are given.
        checkpoint: "last", "best", or a step's number.
    """
    given = run.recipe.data.tasks.usual
    objective, position = run.trained(checkpoint)
    rows: dict[str, list[Array]] = {f"{name}{who}": [] for name in _MEASURES for who in ("", "0")}
    ends = range(0, len(real), CHUNK)
    for begin in progress.track(ends, "continuations"):
        clips = real.read(begin, min(begin + CHUNK, len(real)))
        still = clips[:, given - 1 : given].expand_as(clips)
        draws = [
            run.sample(objective, _request(run, real, begin, clips, config.seed + draw))
            for draw in range(DRAWS)
        ]
        for name, (_, measure) in _MEASURES.items():
            own = [measure(made, clips, given) for made in draws]
            rows[name].append(np.mean(own, axis=0))
            rows[f"{name}0"].append(measure(still, clips, given))
    facts = {
        "run": run.folder.resolve().name, "checkpoint": checkpoint, "run_seed": config.seed,
        "checkpoint_step": position.step, "clips": len(real), "conditioning_frames": given,
        "draws": DRAWS, "frames": real.form.frames, "fps": real.form.fps,
        "size": list(real.form.size), **real.facts,
    }  # fmt: skip
    scores, curves = [], []
    seconds = np.arange(given, real.form.frames) / real.form.fps
    for name, (unit, _) in _MEASURES.items():
        made, still_rows = (np.concatenate(rows[f"{name}{who}"])[:, given:] for who in ("", "0"))
        each = made.mean(1)
        low, high = mean_interval(each)
        beaten = int((made.mean(0) > still_rows.mean(0)).sum())
        scores.append(
            Score(f"{name} of continuations", float(each.mean()), "higher", facts, (low, high),
                  float(still_rows.mean()), unit=unit, values=tuple(each.tolist()),
                  interval_of="the mean over clips",
                  note=f"the floor is the last given frame held; it is beaten at {beaten} of "
                  f"{real.form.frames - given} times")
        )  # fmt: skip
        lines = [("continued", made), ("last given frame held", still_rows)]
        curves.append(plots.curve(f"{name} of continuations", unit, seconds, lines))
    return scores, curves


def _request(run: Run, real: ClipSet, begin: int, clips: Tensor, seed: int) -> SampleRequest:
    """The first frames of `clips`, which begin at place `begin`, as what is given."""
    asked = request_like(run, real, seed).part(begin, begin + len(clips))
    mask = tasks.first(clips.shape[1], run.recipe.data.tasks.usual).expand(
        len(clips), -1, 1, *clips.shape[-2:]
    )
    seeds = torch.tensor([chance.mix(seed, "continue", begin + i) for i in range(len(clips))])
    return replace(asked, seeds=seeds, known=clips * mask, known_mask=mask)
