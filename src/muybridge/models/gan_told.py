"""What the networks of a GAN are told of a clip: its class, words and first picture."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .volumes import act, folded

if TYPE_CHECKING:
    from .gan3d import Config


_COLOURS = 3


class Told(nn.Module):
    """What is told of a clip, its class, words and picture, as one row of numbers."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.latent
        # One entry more than there are classes: the last says "not said".
        self.label = nn.Embedding(config.labels + 1, width) if config.labels else None
        self.text = None if config.text is None else nn.Linear(config.text.width, width)
        self.nothing = None if config.text is None else nn.Parameter(torch.randn(width))
        self.sight = Sight(config) if config.picture else None

    @property
    def any(self) -> bool:
        """Whether there is anything to tell."""
        return not (self.label is None and self.text is None and self.sight is None)

    def forward(
        self,
        label: Tensor | None,
        words: Tensor | None,
        mask: Tensor | None,
        picture: Tensor | None,
        count: int,
    ) -> tuple[Tensor | None, list[Tensor]]:
        """(count, latent), or None where there is nothing to tell; and a map of the picture for
        each level, the coarsest first."""
        told, maps = [], list[Tensor]()
        if self.label is not None:
            unsaid = self.label.weight.new_full((count,), self.label.num_embeddings - 1)
            told.append(self.label(unsaid.long() if label is None else label))
        if self.text is not None and self.nothing is not None:
            said = self.nothing.expand(count, -1)
            if words is not None and mask is not None:
                mean = (words * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
                said = torch.where(mask.any(1, keepdim=True), self.text(mean).float(), said)
            told.append(said)
        if self.sight is not None and picture is not None:
            maps, seen = self.sight(picture)
            told.append(seen)
        return (torch.stack(told).sum(0) if told else None), maps


class Sight(nn.Module):
    """A picture to a map for each level, and to one row of numbers."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        fine = config.widths[::-1]
        (_, q, r), (_, b, c) = config.fold, config.stride
        self.fold = (1, q * b, r * c)
        self.see = nn.Conv2d((_COLOURS + 1) * math.prod(self.fold), fine[0], 1)
        self.halve = nn.ModuleList(
            nn.Conv2d(width, below, 2, stride=2) for width, below in pairwise(fine)
        )
        self.mix = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for width in fine)
        self.sum_up = nn.Linear(fine[-1], config.latent)

    def forward(self, picture: Tensor) -> tuple[list[Tensor], Tensor]:
        """(batch, 3 + 1, height, width) to maps (batch, width of the level, h, w), the
        coarsest first, and (batch, latent)."""
        x = self.see(folded(picture[:, None], self.fold)[:, :, 0])
        maps = []
        for place, mix in enumerate(self.mix):
            x = x if place == 0 else self.halve[place - 1](x)
            x = x + mix(act(x))
            maps.append(act(x))
        return maps[::-1], self.sum_up(maps[-1].mean((2, 3)))
