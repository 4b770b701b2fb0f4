"""Scores a model while it trains, by the measures of `muybridge evaluate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from .core import distributed, progress, video
from .core.clips import to_float
from .core.errors import MuybridgeError
from .data import loader
from .evaluation import clip_sets, suite, tools
from .evaluation.measured import measure, of_all_ranks
from .judge import moments, refuse_own_judges
from .objectives.base import Objective
from .run import Run
from .samples import not_finite, of_model, part_like, request_like


def watch(
    run: Run, objective: Objective, train: loader.Loader, validation: loader.Loader
) -> Callable[[], dict[str, Any]]:
    """What scores a model while it trains, by the measures in `evaluation.during`.

    What it gives is to be called on every rank: each makes its share of the clips, and all get the
    scores. Samples come from seeds of their own, so that training takes the same course with it
    and without.
    """
    config = run.recipe.evaluation
    if not config.during:
        return dict
    real = clip_sets.of_split(validation, config.during_samples, "real, validation split")
    if len(real) < distributed.world():
        raise MuybridgeError(
            f"evaluation.during_samples = {len(real)} cannot be shared by {distributed.world()} "
            "processes",
            "raise it to their number or more",
        )
    request = request_like(run, real, config.seed)
    ground = suite.Ground(
        real,
        clip_sets.of_split(train, config.during_samples, "the train split"),
        clip_sets.of_split(train, moments(train), "training clips"),
    )
    ready: list[suite.Bench] = []

    def bench() -> suite.Bench:
        # The first rank trains what judges, if anything must be trained; the others read it.
        if distributed.rank():
            distributed.wait()
        kit = tools.choose(config, ground, train, validation, config.during)
        if not distributed.rank():
            distributed.wait()
        refuse_own_judges(run, kit)
        return suite.Bench(ground, kit, config)

    def scores() -> dict[str, Any]:
        if not ready:
            ready.append(bench())
        part = distributed.share(len(real))
        made = run.sample(objective, part_like(run, request, real, part.start, part.stop))
        broken = torch.tensor([part.start + place for place in not_finite(made)], dtype=torch.int64)
        if len(broken := distributed.joined(broken)):
            # Training stops by a rule of its own; that it is not judged now does not change it.
            progress.say(f"samples are not scored: sample {int(broken[0])} is not finite")
            return {}
        made = torch.from_numpy(to_float(np.stack([video.to_uint8(clip) for clip in made])))
        clips = of_model(real, lambda begin, end: made[begin - part.start : end - part.start])
        kit = ready[0].tools
        own = measure(clips, kit.extractors, kit.gauges_of(clips), part)
        result = ready[0].judge(clips, {}, of_all_ranks(own))
        return {score.name: score.value for score in result.scores}

    return scores
