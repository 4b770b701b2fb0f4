"""Finite scalar quantisation: each number of a latent is rounded to one of a few levels.

Mentzer et al. 2024, "Finite Scalar Quantization: VQ-VAE Made Simple". There is no codebook, and so
none that could collapse.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from operator import mul

import torch
from torch import Tensor, nn


class Levels(nn.Module):
    """Rounds latents (batch, t, channels, h, w); channel i has `levels[i]` steps in [-1, 1].

    Attributes:
        counts: steps of each channel, (channels, 1, 1).
        places: what a step of each channel adds to a token's number, (channels, 1, 1).
    """

    counts: Tensor
    places: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        places = list(accumulate([1, *levels[:-1]], mul))
        self.register_buffer("counts", torch.tensor(levels).view(-1, 1, 1), persistent=False)
        self.register_buffer("places", torch.tensor(places).view(-1, 1, 1), persistent=False)

    def rounded(self, x: Tensor) -> Tensor:
        """To the nearest step, in [-1, 1]; gradients pass as if it were not rounded (the paper's
        section 3.1, with an even number of steps placed evenly about 0 as an odd one is)."""
        top = (self.counts - 1).float()
        smooth = (torch.tanh(x.float()) + 1) / 2 * top
        steps = smooth + (smooth.round() - smooth).detach()
        return steps / top * 2 - 1

    def numbers(self, digits: Tensor) -> Tensor:
        """Rounded latents to token numbers, int64 (batch, t, h, w)."""
        steps = ((digits + 1) / 2 * (self.counts - 1)).round().long()
        return (steps * self.places).sum(2)

    def digits(self, numbers: Tensor) -> Tensor:
        """Token numbers (batch, t, h, w) to rounded latents (batch, t, channels, h, w)."""
        steps = numbers.unsqueeze(2) // self.places % self.counts
        return steps / (self.counts - 1).float() * 2 - 1
