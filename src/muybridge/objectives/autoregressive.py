"""Each token of a clip from those before it, in reading order: frames, rows, columns.

Yan et al. 2021, "VideoGPT: Video Generation using VQ-VAE and Transformers". Clips are made token by
token; keys and values of those made are kept.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from ..core.clips import Batch
from . import tokens as base
from .base import Parts, SampleRequest
from .tokens import OPEN, Guided, TokenObjective

Config = base.Config
Sampling = base.Sampling


def build(config: Config, parts: Parts) -> Autoregressive:
    """Makes the objective."""
    return Autoregressive(config, parts)


class Autoregressive(TokenObjective):
    """See the file's own description."""

    def __init__(self, config: Config, parts: Parts) -> None:
        super().__init__(config, parts, causal=True)

    def hidden(self, batch: Batch, evenly: bool = False) -> Tensor:
        """All but what is given."""
        return ~self.given(batch)

    def shown(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """All: a causal network predicts none from itself."""
        return tokens

    @property
    def ahead(self) -> int:
        """One: with all the context that was trained on."""
        return 1

    @torch.inference_mode()
    def drawn(self, request: SampleRequest, tokens: Tensor) -> Tensor:
        """In fp32 whatever was trained in: rounded to bf16, one token in a hundred or so would not
        be what it is without the cache, and a single token is no faster."""
        with torch.autocast(tokens.device.type, enabled=False):
            return super().drawn(request, tokens)

    def filled(self, tokens: Tensor, request: SampleRequest, guided: Guided, begin: int) -> Tensor:
        """One token of all clips at a time, from the first that is open in any."""
        (batch, t, h, w), network = tokens.shape, cast(Any, self.generator["network"])
        open_, made = tokens.flatten(1) == OPEN, tokens.flatten(1).clamp(min=0)
        times = request.times.repeat(guided.branches, 1)
        cache = network.cache((t, h, w), times, *guided.told.told)
        first = int((tokens == OPEN).any(0).flatten(1).any(1).long().argmax())
        for step in range(first, t):
            use = f"tokens {begin + step}"
            noise = base.races(request.seeds, (h * w, self.vocabulary), use)
            for place in range(h * w):
                slot = step * h * w + place
                so_far = made.view(batch, t, h, w).repeat(guided.branches, 1, 1, 1)
                logits = guided.mixed(network.next(so_far, slot, cache))
                drawn = base.draw(logits, noise[:, place], self.sampling)
                made[:, slot] = torch.where(open_[:, slot], drawn, made[:, slot])
        return made.view(batch, t, h, w)
