"""Hidden tokens of a clip from those shown, all at once: the surest are kept, again and again.

Chang et al. 2022, "MaskGIT: Masked Generative Image Transformer"; Yu et al. 2023, "MAGVIT: Masked
Generative Video Transformer".
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from ..core import chance
from ..core.clips import Batch
from ..core.config import NotNegative
from . import tokens as base
from .base import Parts, SampleRequest
from .tokens import OPEN, Guided, TokenObjective

Config = base.Config

_QUANTILES = 4


class Sampling(base.Sampling):
    """How tokens are drawn."""

    top_p: float = Field(1.0, gt=0, le=1)
    """Tokens are drawn from the fewest that have this probability together; 1 draws from all, and
    spares a sort of the vocabulary for each token and step."""
    steps: int = Field(12, ge=1)
    """Times that the network is asked; each time more tokens are kept."""
    choice: NotNegative = 4.5
    """Chance in which tokens are kept, at the first step; it falls to none at the last. 0 keeps the
    likeliest, which leaves pictures plain."""


def build(config: Config, parts: Parts) -> Masked:
    """Makes the objective."""
    return Masked(config, parts)


def hidden_share(done: Tensor) -> Tensor:
    """Share of tokens still hidden where a share `done` in [0, 1] of the steps is taken: the cosine
    schedule of Chang et al. 2022, section 3.3, few tokens at first and many at last."""
    return torch.cos(done * (math.pi / 2))


class Masked(TokenObjective):
    """See the file's own description."""

    sampling: Sampling

    def __init__(self, config: Config, parts: Parts) -> None:
        super().__init__(config, parts, causal=False)
        assert isinstance(parts.sampling, Sampling)

    def hidden(self, batch: Batch, evenly: bool = False) -> Tensor:
        """A share of those not given, of the distribution that clips are made through: spread
        evenly over the clips of a run, or over those of the batch."""
        if evenly:
            turn = torch.arange(len(batch), device=batch.seeds.device) % _QUANTILES
            done = (turn + 0.5) / _QUANTILES
        elif batch.index is not None:
            done = chance.even(batch.index)
        else:
            done = chance.uniform(batch.seeds, "share")
        given = self.given(batch)
        order = chance.normal(batch.seeds, given.shape[1:], "hidden").masked_fill(given, math.inf)
        count = (hidden_share(done) * (~given).flatten(1).sum(1)).ceil()
        return (ranks(order.flatten(1)) < count[:, None]).view_as(given) & ~given

    def shown(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """The number after the last token's where one is hidden."""
        return tokens.masked_fill(hidden, self.vocabulary)

    def by_clip(self, lost: Tensor, weight: Tensor) -> dict[str, Any]:
        """The loss at each of a few shares hidden, which the clips have in turn: `by_share`."""
        turn = torch.arange(len(lost), device=lost.device) % _QUANTILES
        shares = hidden_share((torch.arange(_QUANTILES) + 0.5) / _QUANTILES)
        by_share = {
            f"{float(share):.2f}": float(lost[turn == i].sum() / weight[turn == i].sum())
            for i, share in enumerate(shares)
            if bool((turn == i).any())
        }
        return {"by_share": by_share}

    @property
    def ahead(self) -> int:
        """The later half of what was trained on."""
        return max(1, (self.window + 1) // 2)

    def filled(self, tokens: Tensor, request: SampleRequest, guided: Guided, begin: int) -> Tensor:
        """In each step all open tokens are drawn, and those that are surest are kept."""
        steps = request.steps or self.sampling.steps
        times = request.times.repeat(guided.branches, 1)
        hidden = tokens == OPEN
        free = hidden.flatten(1).sum(1)
        for step in range(steps):
            shown = self.shown(tokens, hidden).repeat(guided.branches, 1, 1, 1)
            logits = guided.mixed(self.predict(shown, times, guided.told))
            use = f"{begin} {step}"
            noise = base.races(request.seeds, (*tokens.shape[1:], self.vocabulary), f"tokens {use}")
            tokens = torch.where(hidden, base.draw(logits, noise, self.sampling), tokens)
            sure = F.log_softmax(logits, -1).gather(-1, tokens[..., None])[..., 0]
            luck = -base.races(request.seeds, tokens.shape[1:], f"choice {use}").log()
            sure = sure + self.sampling.choice * (1 - (step + 1) / steps) * luck
            sure = sure.masked_fill(~hidden, math.inf).flatten(1)
            left = hidden_share(torch.tensor((step + 1) / steps)) * free
            hidden = (ranks(sure) < left.round()[:, None]).view_as(tokens)
        return tokens


def ranks(values: Tensor) -> Tensor:
    """Of each value the place in its row (batch, n), the least first."""
    return values.argsort(1).argsort(1)
