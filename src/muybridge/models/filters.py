"""Ways past the patches: what is given is filtered or copied as tokens say, and not drawn again.

A token holds fewer numbers than its patch has pixels. What is fine in a video that is to be
sharpened, cleaned or coloured would be lost in it; so the network says, for each token, how the
pixels around each pixel are to be weighed (Bako et al. 2017, "Kernel-Predicting Convolutional
Networks for Denoising"), and adds the rest itself. Likewise it says how much of each known pixel
is to be seen in the frames before and after it: a background that stands still is copied.
"""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Of a pixel itself and its eight neighbours, then of the same place a frame before and after.
_SHIFTS = [(1, *shift) for shift in product(range(3), repeat=2)] + [(0, 1, 1), (2, 1, 1)]


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


class Filters(nn.Module):
    """Filters a video by weights that follow from tokens; at first the video is left as it is."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weigh = nn.Linear(width, len(_SHIFTS))

    def begin(self) -> None:
        """Leaves a video as it is, whatever tokens say."""
        nn.init.zeros_(self.weigh.weight)
        nn.init.zeros_(self.weigh.bias)
        with torch.no_grad():
            self.weigh.bias[_SHIFTS.index((1, 1, 1))] = 1.0

    def forward(self, tokens: Tensor, grid: tuple[int, int, int], video: Tensor) -> Tensor:
        """Filters.

        Args:
            tokens: (batch, t * h * w, width).
            grid: t, h and w.
            video: (batch, time, channels, height, width).

        Returns:
            As `video`.
        """
        weights = self.weigh(tokens).float().view(len(tokens), *grid, -1).permute(0, 4, 1, 2, 3)
        time, _, *size = video.shape[1:]
        weights = F.interpolate(weights, (time, *size), mode="trilinear")
        clip = video.transpose(1, 2)
        wide = F.pad(clip, (1,) * 6, mode="replicate")
        made = torch.zeros_like(clip)
        for place, (a, b, c) in enumerate(_SHIFTS):
            near = wide[:, :, a : a + time, b : b + size[0], c : c + size[1]]
            made = torch.addcmul(made, weights[:, place : place + 1], near)
        return made.transpose(1, 2)
