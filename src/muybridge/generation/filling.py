"""Fills a canvas, window by window, in memory that does not grow with its length.

What was made in one window is known in the next; a network that was trained to go on from frames
then makes a video of any length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ..core import chance
from ..core.clips import GUIDES, to_float
from ..core.video import Frames
from ..objectives.base import Objective, SampleRequest
from ..run import Run
from .canvas import Canvas, Lines, Window
from .dissolve import dissolved
from .faithful import faithful

Picture = TypeVar("Picture", Frames, Lines)
_SHOWN = 32


def fill(
    run: Run, objective: Objective, canvas: Canvas, base: SampleRequest, windows: Iterable[Window]
) -> Iterator[Tensor]:
    """Frames in order, as they are made.

    Args:
        run: whose model fills it.
        objective: with trained weights.
        canvas: what is given.
        base: what is said of each clip, its seeds, and how it is sampled.
        windows: those of the canvas.

    Yields:
        Several frames of all clips at a time, float32 (count, some, 3, height, width) in [-1, 1].
    """
    made: dict[int, Tensor] = {}
    shown, sample = 0, partial(run.sample, objective)
    for window in windows:
        asked = request(canvas, base, window, made, run.recipe.data.fps)
        clips = dissolved(sample, asked) if canvas.dissolves else sample(asked)
        if (true := _along(canvas.true, window, canvas)) is not None:
            clips = faithful(clips, true, canvas.pale)
        for at in range(window.begin, window.kept):
            if at not in made and not canvas.whole(at):
                made[at] = clips[:, at - window.begin]
        if window.kept > shown:
            yield from _shown(canvas, base, made, shown, window.kept)
            shown = window.kept
        length = window.end - window.begin
        # A loop's last window leads to its first frames.
        for at in [at for at in made if at < shown - length and not (canvas.loop and at < length)]:
            del made[at]
    if shown < canvas.frames:
        yield from _shown(canvas, base, made, shown, canvas.frames)


def _shown(
    canvas: Canvas, base: SampleRequest, made: dict[int, Tensor], begin: int, end: int
) -> Iterator[Tensor]:
    """Frames that are known or made, a few at a time: of those that are known there may be many."""
    for first in range(begin, end, _SHOWN):
        yield torch.stack(
            [
                made[at]
                if at in made
                else _pixels(canvas.known[at].picture).expand(len(base), -1, -1, -1)
                for at in range(first, min(first + _SHOWN, end))
            ],
            1,
        )


def request(
    canvas: Canvas, base: SampleRequest, window: Window, made: dict[int, Tensor], fps: float
) -> SampleRequest:
    """What is asked of the model for one window: what is known by then, and what guides there."""
    length, count = window.end - window.begin, len(base)
    known = torch.zeros(count, length, 3, *base.size)
    mask = torch.zeros(length, 1, *base.size)
    for place in range(length):
        at = window.begin + place
        if canvas.loop and at >= canvas.frames:
            at -= canvas.frames
        elif at >= window.limit:
            break
        if at in made:
            known[:, place], mask[place] = made[at], 1
        elif (one := canvas.known.get(at)) is not None:
            mask[place] = 1 if one.where is None else torch.from_numpy(one.where).float()
            known[:, place] = _pixels(one.picture) * mask[place]
    text, seeds = base.text, base.seeds
    if window.scene.text is not None and text is not None:
        text = (window.scene.text,) * count
    if window.begin:
        seeds = torch.tensor([chance.mix(int(s), "window", window.begin) for s in seeds.tolist()])
    source = _along(canvas.source, window, canvas)
    return replace(
        base,
        times=(torch.arange(length) / fps).expand(count, -1),
        seeds=seeds,
        text=text,
        known=known if bool(mask.any()) else None,
        known_mask=mask.expand(count, -1, -1, -1, -1) if bool(mask.any()) else None,
        guides=_guides(canvas, base, window),
        source=None if source is None else source.expand(count, -1, -1, -1, -1),
        strength=canvas.strength,
    )


def _guides(canvas: Canvas, base: SampleRequest, window: Window) -> dict[str, Tensor] | None:
    found = {}
    count, length = len(base), window.end - window.begin
    if canvas.sketch:
        drawn = torch.zeros(length, GUIDES["sketch"], *base.size)
        for place, lines in _there(canvas.sketch, window, canvas):
            drawn[place, 0] = torch.from_numpy(lines) * 2.0 - 1
            drawn[place, 1] = 1
        found["sketch"] = drawn.expand(count, -1, -1, -1, -1)
    if (video := _along(canvas.video, window, canvas)) is not None:
        seen = torch.cat([video, torch.ones_like(video[:, :1])], 1)
        found["video"] = seen.expand(count, -1, -1, -1, -1)
    return found or None


def _along(given: dict[int, Frames], window: Window, canvas: Canvas) -> Tensor | None:
    """A window of given frames, (time, 3, height, width); None where there are none."""
    there = dict(_there(given, window, canvas))
    if not there:
        return None
    return torch.from_numpy(to_float(np.stack([there[at] for at in sorted(there)])))


def _there(given: dict[int, Picture], window: Window, canvas: Canvas) -> list[tuple[int, Picture]]:
    """Places in a window and what is given there; of what is given throughout, the last stands for
    what is beyond the canvas' end."""
    throughout = len(given) >= canvas.frames
    found = []
    for place in range(window.end - window.begin):
        at = window.begin + place
        at = min(at, canvas.frames - 1) if throughout else at
        if at in given and (at < window.limit or throughout):
            found.append((place, given[at]))
    return found


def _pixels(picture: Frames) -> Tensor:
    return torch.from_numpy(to_float(picture))
