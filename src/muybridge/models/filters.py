"""Ways past the patches: what is given is filtered or copied as tokens say, and not drawn again.

A token holds fewer numbers than its patch has pixels. What is fine in a video that is to be
sharpened, cleaned or coloured would be lost in it; so the network says, for each token, how the
pixels around each pixel are to be weighed (Bako et al. 2017, "Kernel-Predicting Convolutional
Networks for Denoising"), and how much of what it draws itself is added. Likewise it says how much
of each known pixel is to be seen in the frames before and after it: a background that stands still
is copied. And of lines that are to be followed it says what is lighter and what darker beside them.
"""

from __future__ import annotations

import math
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .patches import from_patches

# The share of what is drawn beside what is given, at first: little, or its errors would show where
# nothing is to be drawn; more than none, or nothing could be learned.
_OWN = 0.25
# Of a pixel itself and its eight neighbours, then of the same place a frame before and after.
_SHIFTS = [(1, *shift) for shift in product(range(3), repeat=2)] + [(0, 1, 1), (2, 1, 1)]
# Rows and columns of pixels that a line changes.
_BESIDE = 5


def carried(clips: Tensor, mask: Tensor) -> Tensor:
    """Known pixels, carried to later and to earlier frames until others are known there.

    Args:
        clips: (batch, time, channels, height, width), right where `mask` is 1.
        mask: (batch, time, 1, height, width), 1 and 0.

    Returns:
        (2, batch, time, channels, height, width): of the last known before, and of the next; the
        other where there is none of the one, and 0 where there is neither.
    """
    both = []
    for frames in (range(clips.shape[1]), reversed(range(clips.shape[1]))):
        seen, found = torch.zeros_like(clips[:, 0]), torch.zeros_like(mask[:, 0])
        made = {}
        for at in frames:
            seen = torch.where(mask[:, at] > 0, clips[:, at], seen)
            found = torch.maximum(found, mask[:, at])
            made[at] = torch.cat([seen, found], 1)
        both.append(torch.stack([made[at] for at in sorted(made)], 1))
    before, after = torch.stack(both)
    there = torch.stack([before, after])[:, :, :, -1:] > 0
    return torch.where(there, torch.stack([before, after]), torch.stack([after, before]))[
        :, :, :, :-1
    ]


def stilled(made: Tensor, share: Tensor) -> Tensor:
    """Clips of which a share of each pixel is its mean over the frames, weighed by that share: what
    stands still is drawn once, by all frames together, and does not flicker.

    Args:
        made: (batch, time, channels, height, width).
        share: (batch, time, 1, height, width), from 0 to 1.
    """
    mean = (share * made).sum(1, keepdim=True) / share.sum(1, keepdim=True).clamp(min=1e-6)
    return torch.lerp(made, mean, share)


def held(made: Tensor, share: Tensor, before: Tensor | None = None) -> Tensor:
    """Clips of which a share of each pixel is what it was in the frame before: as `stilled`, for
    what is drawn piece by piece and knows no later frames.

    Args:
        made: (batch, time, channels, height, width).
        share: (batch, time, 1, height, width), from 0 to 1.
        before: the frame before the first, (batch, channels, height, width), as this gave it; the
            first is drawn wholly where there is none.
    """
    frames = []
    for frame, kept in zip(made.unbind(1), share.unbind(1), strict=True):
        before = frame if before is None else torch.lerp(frame, before, kept)
        frames.append(before)
    return torch.stack(frames, 1)


class Filters(nn.Module):
    """Filters a video by weights that follow from tokens; at first the video is left as it is."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weigh = nn.Linear(width, len(_SHIFTS) + 1)

    def begin(self) -> None:
        """Leaves a video as it is, whatever tokens say."""
        nn.init.zeros_(self.weigh.weight)
        nn.init.zeros_(self.weigh.bias)
        with torch.no_grad():
            self.weigh.bias[_SHIFTS.index((1, 1, 1))] = 1.0
            self.weigh.bias[-1] = _OWN

    def forward(
        self, made: Tensor, tokens: Tensor, grid: tuple[int, int, int], video: Tensor
    ) -> Tensor:
        """Adds a video, filtered, to a share of what is drawn, in clips that have one.

        Args:
            made: what is drawn, (batch, time, channels, height, width).
            tokens: (batch, t * h * w, width).
            grid: t, h and w.
            video: (batch, time, channels + 1, height, width): the last is 1 where there is one.
        """
        rows = video[:, :, -1].flatten(1).any(1).nonzero()[:, 0]
        if not len(rows):
            return made
        clip = video[rows, :, :-1].transpose(1, 2)
        time, *size = clip.shape[2:]
        weights = self.weigh(tokens[rows]).float().view(len(rows), *grid, -1)
        weights = F.interpolate(weights.permute(0, 4, 1, 2, 3), (time, *size), mode="trilinear")
        wide = F.pad(clip, (1,) * 6, mode="replicate")
        filtered = made[rows].float().transpose(1, 2) * weights[:, -1:]
        for place, (a, b, c) in enumerate(_SHIFTS):
            near = wide[:, :, a : a + time, b : b + size[0], c : c + size[1]]
            filtered = torch.addcmul(filtered, weights[:, place : place + 1], near)
        return made.float().index_copy(0, rows, filtered.transpose(1, 2))


class Strokes(nn.Module):
    """Adds light and dark beside the lines of a drawing, of each colour as much as tokens say; at
    first none.

    A line says to the pixel where an edge is, and a token which side of it is the lighter one.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weigh = nn.Linear(width, 3 * _BESIDE**2)

    def begin(self) -> None:
        """Adds nothing, whatever tokens say."""
        nn.init.zeros_(self.weigh.weight)
        nn.init.zeros_(self.weigh.bias)

    def forward(
        self, made: Tensor, tokens: Tensor, grid: tuple[int, int, int], sketch: Tensor
    ) -> Tensor:
        """What is drawn, in the frames that have lines with what they add to it.

        Args:
            made: what is drawn, (batch, time, 3, height, width).
            tokens: (batch, t * h * w, width).
            grid: t, h and w.
            sketch: (batch, time, 2, height, width): 1 on a line and -1 beside it, and 1; or 0
                and 0.
        """
        lines = (sketch[:, :, :1] > 0).to(made.dtype).flatten(0, 1)
        frames = lines.flatten(1).any(1).nonzero()[:, 0]
        if not len(frames):
            return made
        batch, time, _, *size = made.shape
        spans = frames // time * grid[0] + frames % time // (time // grid[0])
        weights = self.weigh(tokens.reshape(batch * grid[0], -1, tokens.shape[-1])[spans]).float()
        weights = weights.transpose(1, 2).reshape(len(frames), -1, *grid[1:])
        weights = weights.view(len(frames), 3, -1, *grid[1:])
        wide = F.pad(lines[frames].float(), (_BESIDE // 2,) * 4)
        added = torch.zeros(len(frames), 3, *size, device=made.device)
        for place, (row, column) in enumerate(product(range(_BESIDE), repeat=2)):
            near = wide[:, :, row : row + size[0], column : column + size[1]]
            share = F.interpolate(weights[:, :, place], size, mode="bilinear")
            added = torch.addcmul(added, share, near)
        return made.float().flatten(0, 1).index_add(0, frames, added).view(made.shape)


class Copies(nn.Module):
    """Copies known pixels to the frames around them, as much of each as tokens say, pixel by pixel;
    at first, the mean of the last known and the next."""

    def __init__(self, width: int, patch: tuple[int, int, int], lapped: bool) -> None:
        super().__init__()
        self.patch, self.lapped = patch, lapped
        self.shares = nn.Linear(width, 3 * math.prod(patch))

    def begin(self) -> None:
        """Shows the mean, whatever tokens say."""
        nn.init.zeros_(self.shares.weight)
        own = torch.tensor([0.5, 0.5, _OWN]).view(3, 1)
        with torch.no_grad():
            # A patch is read as `patches.to_patches` lays it out: frames, then colours.
            bias = self.shares.bias.view(self.patch[0], 3, -1)
            bias.copy_(own.expand_as(bias))

    def forward(
        self,
        made: Tensor,
        tokens: Tensor,
        grid: tuple[int, int, int],
        clips: Tensor,
        mask: Tensor,
    ) -> Tensor:
        """Adds known pixels to a share of what is drawn, in clips that have some.

        Args:
            made: what is drawn, (batch, time, channels, height, width).
            tokens: (batch, t * h * w, width).
            grid: t, h and w.
            clips: as `made`, right where `mask` is 1.
            mask: (batch, time, 1, height, width), 1 and 0.
        """
        rows = mask.flatten(1).any(1).nonzero()[:, 0]
        if not len(rows):
            return made
        shares = from_patches(self.shares(tokens[rows]), grid, self.patch, 3, self.lapped).float()
        before, after = carried(clips[rows], mask[rows])
        copied = shares[:, :, :1] * before + shares[:, :, 1:2] * after
        copied = copied + shares[:, :, 2:] * made[rows].float()
        return made.float().index_copy(0, rows, copied.float())
