"""What can be wrong with made video, done to real clips: an extractor learns to see it.

Each flaw is a function of a clip (time, 3, height, width), how bad it is in (0, 1], and a source of
chance; it gives a clip of the same shape. Patterns are sized as shares of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

Flaw = Callable[[Tensor, float, torch.Generator], Tensor]


def apply(clip: Tensor, flaw: str, much: float, chance: torch.Generator) -> Tensor:
    """The clip with one of `FLAWS`, in [-1, 1]."""
    return FLAWS[flaw](clip, much, chance).clamp(-1, 1)


def share(chance: torch.Generator) -> float:
    """From 0 up to 1, evenly."""
    return float(torch.rand(1, generator=chance))


def blur(clip: Tensor, much: float, chance: torch.Generator) -> Tensor:
    """Gaussian blur; at worst, the deviation is a twentieth of the shorter side."""
    side = min(clip.shape[-2:])
    deviation = (0.4 + 2.8 * much) * side / 64
    reach = min(math.ceil(3 * deviation), side - 1)
    kernel = torch.exp(-torch.arange(-reach, reach + 1).square() / (2 * deviation**2))
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    flat = clip.reshape(-1, 1, *clip.shape[-2:])
    flat = F.conv2d(F.pad(flat, (reach, reach, 0, 0), mode="reflect"), kernel)
    flat = F.conv2d(F.pad(flat, (0, 0, reach, reach), mode="reflect"), kernel.mT)
    return flat.view(clip.shape)


def noise(clip: Tensor, much: float, chance: torch.Generator) -> Tensor:
    """Grain, new in each frame; deviation from 0.03 to 0.3, evenly on a scale of ratios."""
    return clip + 0.03 * 10**much * torch.randn(clip.shape, generator=chance)


def flicker(clip: Tensor, much: float, chance: torch.Generator) -> Tensor:
    """Brightness that jumps from frame to frame."""
    return clip + 0.4 * much * torch.randn(len(clip), 1, 1, 1, generator=chance)


def reversal(clip: Tensor, much: float, chance: torch.Generator) -> Tensor:
    """Time run backwards; there is no more or less of it."""
    return clip.flip(0)


def disorder(clip: Tensor, much: float, chance: torch.Generator) -> Tensor:
    """A share of the frames in each other's places."""
    order = torch.arange(len(clip))
    places = torch.randperm(len(clip), generator=chance)[: max(2, round(much * len(clip)))]
    order[places] = places.roll(1)
    return clip[order]


def freeze(clip: Tensor, much: float, chance: torch.Generator) -> Tensor:
    """A share of the frames, all in a row, shows the first of them."""
    held = max(2, round(much * len(clip)))
    begin = int(share(chance) * (len(clip) - held + 1))
    order = torch.arange(len(clip))
    order[begin : begin + held] = begin
    return clip[order]


def tint(clip: Tensor, much: float, chance: torch.Generator) -> Tensor:
    """Another gain and offset for each colour channel, the same in all frames."""
    gain, offset = much * (torch.rand(2, 3, 1, 1, generator=chance) - 0.5)
    tinted: Tensor = clip * (1 + gain) + offset
    return tinted


def scramble(clip: Tensor, much: float, chance: torch.Generator) -> Tensor:
    """A share of square cells in each other's places, the same in all frames."""
    side = _side(clip, chance)
    cells = _cells(clip, side).clone()
    rows, columns = cells.shape[2], cells.shape[4]
    flat = cells.permute(2, 4, 0, 1, 3, 5).flatten(0, 1)
    places = torch.randperm(len(flat), generator=chance)[: max(2, round(much * len(flat)))]
    flat[places] = flat[places.roll(1)]
    cells = flat.view(rows, columns, *flat.shape[1:]).permute(2, 3, 0, 4, 1, 5)
    return _put_back(clip, cells)


def grid(clip: Tensor, much: float, chance: torch.Generator) -> Tensor:
    """Square cells whose edges show: each of its own brightness, with some of its detail gone. The
    same in all frames, or in each of its own."""
    cells = _cells(clip, _side(clip, chance))
    frames = len(clip) if share(chance) < 0.5 else 1
    offset = torch.randn(frames, 3, cells.shape[2], 1, cells.shape[4], 1, generator=chance)
    mean = cells.mean((3, 5), keepdim=True)
    return _put_back(clip, mean + (1 - 0.5 * much) * (cells - mean) + 0.25 * much * offset)


def ghost(clip: Tensor, much: float, chance: torch.Generator) -> Tensor:
    """Another moment shines through, at worst as strongly."""
    other = clip.roll(1 + int(3 * share(chance)), 0)
    return clip.lerp(other, 0.5 * much)


def dissolve(clip: Tensor, much: float, chance: torch.Generator) -> Tensor:
    """Bodies lose their form: each frame is bent smoothly in a way of its own."""
    time, _, height, width = clip.shape
    bend = 0.12 * much * torch.randn(time, 2, 5, 5, generator=chance)
    bend = F.interpolate(bend, (height, width), mode="bilinear", align_corners=True)
    still = F.affine_grid(torch.eye(2, 3)[None], [1, 1, height, width], align_corners=False)
    where = still + bend.permute(0, 2, 3, 1)
    return F.grid_sample(clip, where, padding_mode="reflection", align_corners=False)


def _side(clip: Tensor, chance: torch.Generator) -> int:
    """Of a cell: a sixteenth, an eighth or a quarter of the picture's shorter side."""
    return min(clip.shape[-2:]) // (16, 8, 4)[int(3 * share(chance))]


def _cells(clip: Tensor, side: int) -> Tensor:
    """(time, 3, rows, side, columns, side): all whole cells, from the upper left."""
    rows, columns = clip.shape[-2] // side, clip.shape[-1] // side
    whole = clip[..., : rows * side, : columns * side]
    return whole.reshape(len(clip), 3, rows, side, columns, side)


def _put_back(clip: Tensor, cells: Tensor) -> Tensor:
    made = clip.clone()
    height, width = cells.shape[2] * cells.shape[3], cells.shape[4] * cells.shape[5]
    made[..., :height, :width] = cells.reshape(len(clip), 3, height, width)
    return made


_ALL = (
    blur, noise, flicker, reversal, disorder, freeze, tint, scramble, grid, ghost, dissolve,
)  # fmt: skip
FLAWS: Mapping[str, Flaw] = {flaw.__name__: flaw for flaw in _ALL}
