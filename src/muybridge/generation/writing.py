"""Clips on disk: films, and beside each what is needed to make it again; and a contact sheet."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..core import files, video
from ..core.video import Frames
from ..run import CHUNK
from .asked import Asked
from .making import Plan, groups

SYNTHETIC = "synthetic: made by Muybridge"
_SHOWN, _MOMENTS = 16, 8


class Format(StrEnum):
    """What clips are written as."""

    mp4 = "mp4"
    gif = "gif"
    png = "png"


def write(
    plan: Plan, asked: Asked, out: Path, checkpoint: str = "last", format: Format = Format.mp4
) -> list[Path]:
    """Makes the clips of a plan and writes each as it is made, in memory that does not grow with
    its length; `contact-sheet.png` last. Gives the films' paths."""
    objective, position = plan.run.trained(checkpoint)
    suffix = "" if format is Format.png else f".{format.value}"
    facts = _facts(plan, asked, checkpoint, position.step)
    moments = np.linspace(0, plan.canvas.frames - 1, min(_MOMENTS, plan.canvas.frames))
    at = set(moments.round().astype(int).tolist())
    strips, captions, made = [], [], []
    for first, frames in groups(plan, objective):
        numbers = range(first, min(first + CHUNK, len(plan.base)))
        paths = [out / f"clip-{number:04d}{suffix}" for number in numbers]
        with contextlib.ExitStack() as stack:
            add = [
                stack.enter_context(video.film(path, plan.canvas.fps, comment=SYNTHETIC))
                for path in paths
            ]
            strip = _written(frames, add, at)
        for place, path in enumerate(paths):
            how = {**facts, **_said(plan, first + place)}
            files.write_json(path.with_suffix(".json"), how)
            captions.append(how["caption"] or how["label"])
        strips += strip
        made += paths
    sheet = video.contact_sheet(strips[:_SHOWN], captions, scale=2)
    files.write_bytes(out / "contact-sheet.png", video.png(sheet, SYNTHETIC))
    return made


def _written(frames: Any, add: Sequence[Any], at: set[int]) -> list[Frames]:
    """Writes frames of several clips as they come; gives those at some places, for each clip."""
    shown: list[list[Frames]] = [[] for _ in add]
    begin = 0
    for some in frames:
        for clip, write_frames, kept in zip(some, add, shown, strict=True):
            pixels = video.to_uint8(clip)
            write_frames(pixels)
            kept += [pixels[n - begin] for n in sorted(at) if begin <= n < begin + len(pixels)]
        begin += some.shape[1]
    return [np.stack(kept) for kept in shown]


def _facts(plan: Plan, asked: Asked, checkpoint: str, step: int) -> dict[str, Any]:
    """What all clips share: enough to make them again."""
    run, base = plan.run, plan.base
    changed = {n: getattr(base, n) for n in ("steps", "guidance") if getattr(base, n) is not None}
    settings = asked.seen_from(Path()).model_dump(mode="json", exclude_defaults=True)
    return {
        "format": 2, "synthetic": True, "muybridge": __version__, "run": run.folder.resolve().name,
        "checkpoint": checkpoint, "step": step, "asked": settings,
        "inputs": {str(path): files.digest(path) for path in (*asked.files(), *plan.canvas.files)},
        "done": list(plan.done), "frames": plan.canvas.frames, "fps": plan.canvas.fps,
        "sampling": run.recipe.sampling.model_dump(mode="json") | changed,
    }  # fmt: skip


def _said(plan: Plan, clip: int) -> dict[str, Any]:
    """What is one clip's own."""
    base, labels = plan.base, plan.run.conditions["labels"]
    number = len(labels) if base.label is None else int(base.label[clip])
    given = sum(plan.canvas.whole(at) for at in range(plan.canvas.frames))
    if base.known_mask is not None:
        given = int(base.known_mask[clip, :, 0, 0, 0].sum())
    return {
        "clip": clip, "clip_seed": int(base.seeds[clip]),
        "caption": base.text[clip] if base.text else "", "label": [*labels, ""][number],
        "given_frames": given,
    }  # fmt: skip
