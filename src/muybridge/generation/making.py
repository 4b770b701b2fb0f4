"""From what is asked for to frames: checked before the long work, then made as they are taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..core import progress
from ..core.errors import MuybridgeError
from ..objectives.base import Objective, SampleRequest
from ..run import CHUNK, Run
from . import trained
from .asked import Asked
from .canvas import Canvas, Window, windows
from .compose import compose
from .filling import fill

_NOTHING = [{"text": "", "label": ""}]


@dataclass(frozen=True)
class Plan:
    """All that is known before anything is made.

    Attributes:
        run: whose model makes it.
        canvas: what is given of each clip; of a model that goes on from frames in its own way,
            their number alone.
        base: what is said of each clip, its seeds, how it is sampled, and for such a model what is
            given.
        windows: in which the canvas is filled; None for such a model.
        done: what was done to what is given, in words.
    """

    run: Run
    canvas: Canvas
    base: SampleRequest
    windows: tuple[Window, ...] | None
    done: tuple[str, ...] = ()


def plan(run: Run, asked: Asked) -> Plan:
    """What is to be made.

    Raises:
        MuybridgeError: something that the run was not trained for, or that cannot be read.
    """
    trained.check(run, asked)
    own = run.recipe.data.tasks.prefix > 0 and not trained.continues(run)
    said = _NOTHING if asked.given else None
    base = run.request(
        asked.text, asked.label, asked.clips, asked.seconds if own else None, asked.seed,
        asked.steps, asked.guidance, asked.prefix if own else None, begun=own, said=said,
    )  # fmt: skip
    base = replace(base, picture_guidance=asked.picture_guidance)
    data, span = run.recipe.data, run.recipe.multiple[0]
    if own:
        canvas = Canvas(base.times.shape[1], data.fps)
        return Plan(run, canvas, base, None, _unheard(run, base.text or ()))
    canvas = compose(run, asked)
    shown = canvas.known or canvas.sketch or canvas.video
    if asked.guidance is None and shown and not asked.strength and trained.continues(run):
        base = replace(base, guidance=1.0)  # words that are strengthened shift given colours
    later = tuple(scene.text for scene in canvas.scenes if scene.text)
    if later and base.text is None:
        raise MuybridgeError(
            f"--storyboard {asked.storyboard}: {run.folder} was trained without captions",
            "leave its texts out",
        )
    unknown = _unheard(run, (*(base.text or ()), *later))
    length = data.frames if trained.continues(run) else -(-canvas.frames // span) * span
    parts = tuple(windows(canvas, length, span))
    return Plan(run, canvas, base, parts, (*canvas.done, *unknown))


def groups(plan: Plan, objective: Objective) -> Iterator[tuple[int, Iterator[Tensor]]]:
    """A few clips at a time: the number of the first, and their frames as they are made, (clips,
    some, 3, height, width) in [-1, 1]."""
    firsts = range(0, len(plan.base), CHUNK)
    with progress.bar("generate", len(firsts) * len(plan.windows or [0])) as step:
        for first in firsts:
            yield first, _frames(plan, objective, plan.base.part(first, first + CHUNK), step)


def _frames(
    plan: Plan, objective: Objective, base: SampleRequest, step: progress.Advance
) -> Iterator[Tensor]:
    if plan.windows is None:
        yield plan.run.sample(objective, base)
        step()
        return

    def told(windows: tuple[Window, ...]) -> Iterator[Window]:
        for window in windows:
            yield window
            step()

    yield from fill(plan.run, objective, plan.canvas, base, told(plan.windows))


def made(plan: Plan, checkpoint: str = "last") -> Tensor:
    """All clips at once, float32 (count, time, 3, height, width) in [-1, 1]."""
    objective, _ = plan.run.trained(checkpoint)
    return torch.cat([torch.cat(list(frames), 1) for _, frames in groups(plan, objective)])


def _unheard(run: Run, texts: tuple[str, ...]) -> tuple[str, ...]:
    """Words that no training clip was described by, in words."""
    if not texts:
        return ()
    heard = {word for one in run.conditions["known"] for word in _words(one["text"])}
    new = sorted({word for text in texts for word in _words(text)} - heard)
    found = []
    if new:
        few = ", ".join(new[:8]) + (f" and {len(new) - 8} more" if len(new) > 8 else "")
        found.append(f"--text: never heard in training, and so without meaning: {few}")
    length = getattr(getattr(run.recipe.model.config, "text", None), "length", 0)
    longest = max(len(_words(text)) for text in texts)
    if length and longest > length:
        found.append(f"--text of {longest} words: no more than the first {length} are read")
    return tuple(found)


def _words(text: str) -> list[str]:
    return ["".join(c for c in word if c.isalnum()) for word in text.lower().split()]
