"""Small filters of a video beside a clip, chosen token by token: a way past the patches.

A token holds fewer numbers than its patch has pixels. What is fine in a video that is to be
sharpened, cleaned or coloured would be lost in it; so the network says, for each token, how the
pixels around each pixel are to be weighed (Bako et al. 2017, "Kernel-Predicting Convolutional
Networks for Denoising"), and adds the rest itself.
"""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Of a pixel itself and its eight neighbours, then of the same place a frame before and after.
_SHIFTS = [(1, *shift) for shift in product(range(3), repeat=2)] + [(0, 1, 1), (2, 1, 1)]


class Filters(nn.Module):
    """Filters a video by weights that follow from tokens; at first all weights are zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weigh = nn.Linear(width, len(_SHIFTS))

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
