"""What is given of a clip, from which the rest is to be made: the same in training and after.

Some of a clip's pixels are known exactly, of one kind of task a clip; and pictures can guide, a
sketch or a small or damaged video (`guides.py`), drawn beside it in a share of clips of their own.
"""

from __future__ import annotations

from typing import Annotated, Self

import numpy as np
import pydantic
import torch
from torch import Tensor

from ..core import chance
from ..core.config import Count, Section
from ..core.errors import RecipeError

Part = Annotated[float, pydantic.Field(ge=0, le=1)]


class Config(Section):
    """What a model learns to go on from: shares of the training clips."""

    prefix: Part = 0.0
    """Share whose first frames are given, to be continued."""
    given: Count = 4
    """First frames that are given; with `vary` the most."""
    vary: bool = False
    """Each clip is given a number of first frames of its own, from 1 to `given`."""
    image: Part = 0.0
    """Share whose first frame alone is given."""
    ends: Part = 0.0
    """Share whose first and last frames are given; with `vary`, up to half of `given` of each."""
    some: Part = 0.0
    """Share of which a few frames anywhere are given, or every second, fourth or eighth."""
    region: Part = 0.0
    """Share of which all is given but a rectangle, or nothing but one; with `vary`, half of them
    have first frames as well."""
    sketch: Part = 0.0
    """Share beside which lines are drawn, of all frames or of the first."""
    video: Part = 0.0
    """Share beside which the clip itself stands, smaller, noisy, in blocks or grey."""

    @pydantic.model_validator(mode="after")
    def _of_one_clip_one(self) -> Self:
        total = sum(self._known.values())
        if total > 1 + 1e-9:
            named = ", ".join(f"{name} {share:g}" for name, share in self._known.items() if share)
            raise ValueError(f"of a clip one thing is given, and {named} make more than all clips")
        return self

    @property
    def _known(self) -> dict[str, float]:
        """Shares of clips of which pixels are known, by kind."""
        names = ("prefix", "image", "ends", "some", "region")
        return {name: getattr(self, name) for name in names}

    @property
    def guides(self) -> tuple[str, ...]:
        """What a network must be able to look at, of `core.clips.GUIDES`."""
        known = ("known",) if any(self._known.values()) else ()
        return (*known, *(name for name in ("sketch", "video") if getattr(self, name)))

    @property
    def always(self) -> bool:
        """Whether clips can be made from given frames alone, and never from nothing."""
        return self.prefix == 1

    @property
    def usual(self) -> int:
        """First frames that are given where continuations are judged."""
        return -(-self.given // 3) if self.vary else self.given

    @property
    def judged(self) -> int:
        """Frames of a real clip that are given where a model is judged: most of what it learned is
        to go on from them, or none are."""
        return self.usual if self.prefix > 0.5 else 0


def mask(seeds: Tensor, frames: int, size: tuple[int, int], config: Config) -> Tensor | None:
    """Which pixels are given, float32 (batch, frames, 1, height, width) of 1 and 0; None where none
    ever is.

    Args:
        seeds: each clip's own source of chance, int64 (batch,).
        frames: of a clip.
        size: height and width.
        config: shares of the tasks.

    Raises:
        RecipeError: no frame would be left to be made.
    """
    if "known" not in config.guides:
        return None
    if config.prefix and config.given >= frames:
        raise RecipeError(
            f"data.tasks.given = {config.given} of data.frames = {frames}: none is left to be made",
            "lower data.tasks.given, or raise data.frames",
        )
    drawn, kinds = chance.uniform(seeds, "task").tolist(), config._known
    # In numpy, which loaders' threads can do without a team of OpenMP threads each.
    found = np.zeros((len(drawn), frames, 1, *size), np.float32)
    for place, one in enumerate(drawn):
        kind, seed = kind_of(one, kinds), seeds[place : place + 1]
        found[place] = _of_clip(kind, seed, frames, size, config).numpy()
    return torch.from_numpy(found)


def kind_of(drawn: float, shares: dict[str, float]) -> str:
    """The kind that a number in (0, 1) falls to; "" beyond them all."""
    for name, share in shares.items():
        if drawn < share:
            return name
        drawn -= share
    return ""


def first(frames: int, given: int) -> Tensor:
    """The mask of one clip whose first `given` frames are known, (1, frames, 1, 1, 1)."""
    return (torch.arange(frames) < given).float().view(1, -1, 1, 1, 1)


def at(frames: int, places: list[int]) -> Tensor:
    """The mask of one clip of which the frames at these places are known, (frames, 1, 1, 1)."""
    found = torch.zeros(frames, 1, 1, 1)
    found[places] = 1
    return found


def _of_clip(kind: str, seed: Tensor, frames: int, size: tuple[int, int], config: Config) -> Tensor:
    """The mask of a clip, (frames or 1, 1, height or 1, width or 1)."""

    def draw(use: str) -> float:
        return float(chance.uniform(seed, f"task {use}"))

    if kind == "prefix":
        count = 1 + int(draw("count") * config.given) if config.vary else config.given
        return first(frames, count)[0]
    if kind == "image":
        return at(frames, [0])
    if kind == "ends":
        count = 1 + int(draw("count") ** 2 * (config.given // 2)) if config.vary else 1
        return torch.maximum(first(frames, count)[0], first(frames, count)[0].flip(0))
    if kind == "some":
        if draw("evenly") < 0.5:
            return at(frames, list(range(0, frames, 2 ** (1 + int(draw("every") * 3)))))
        order = torch.rand(frames, generator=torch.Generator().manual_seed(int(seed))).argsort()
        return at(frames, order[: 1 + int(draw("few") * 4)].tolist())
    if kind == "region":
        hole = torch.zeros(1, 1, *size)
        sides = [0.25 + 0.5 * draw(f"side {axis}") for axis in "yx"]
        spans = [
            (int(draw(f"begin {axis}") * (1 - side) * whole), max(1, round(side * whole)))
            for axis, side, whole in zip("yx", sides, size, strict=True)
        ]
        (top, height), (left, width) = spans
        hole[..., top : top + height, left : left + width] = 1
        mask = hole if draw("outside") < 0.5 else 1 - hole
        begun = config.vary and draw("begun") < 0.5
        return (
            torch.maximum(mask, first(frames, 1 + int(draw("count") * config.given))[0])
            if begun
            else mask
        )
    return torch.zeros(1, 1, 1, 1)
