"""A discriminator: as one side of a game, or beside other losses of an objective's own.

It tells which of a real and a made clip is the real one (relativistic pairing; Jolicoeur-Martineau
2019, "The relativistic discriminator"), and pays for the square of its gradient on real clips (R1;
Mescheder et al. 2018) and on made ones (R2).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.clips import Batch
from . import losses
from .base import Loss, Parts, Phase

# Numbers in a picture of 64 x 64, which weights of penalties are for.
_PICTURE = 3 * 64 * 64
_GAMMA = 5.0


class Networks(Protocol):
    """What is needed of `models/gan3d.py`, or of a network of one's own."""

    levels: int
    config: Any
    generator: nn.Module
    discriminator: nn.Module

    def reduced(self, clips: Tensor, level: float) -> Tensor:
        """Clips as they are at a level."""


def told_apart(judge: Callable[[Tensor], Tensor], real: Tensor, made: Tensor) -> dict[str, Tensor]:
    """A discriminator's terms, each (batch,): `pairs`, softplus of how far ahead the wrong one of a
    pair is, and the squares of its gradients `r1` and `r2` (Huang et al. 2024, eq. 2 to 4)."""
    both = torch.cat([real, made]).requires_grad_()
    scores = judge(both)
    slopes = torch.autograd.grad(scores.sum(), both, create_graph=True)[0].float()
    of_real, of_made = scores.chunk(2)
    r1, r2 = slopes.square().sum((1, 2, 3, 4)).chunk(2)
    return {"pairs": F.softplus(of_made - of_real), "r1": r1, "r2": r2}


def scaled(gamma: float, clips: Tensor) -> float:
    """Weight of the penalties for clips (batch, time, channel, height, width): what it is for a
    picture, times the root of how much larger they are."""
    return gamma * math.sqrt(clips[0].numel() / _PICTURE)


@contextlib.contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Within, what is computed asks for no gradients of a module's own parameters."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)


class Critic(nn.Module):
    """Looks at clips that are compared with real ones, and is told nothing of them.

    What is made in place of each clip is judged beside the clip itself (Larsen et al. 2016,
    "Autoencoding beyond pixels using a learned similarity metric").
    """

    mean: Tensor
    std: Tensor

    def __init__(self, networks: Networks, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network, self.finest = networks.discriminator, networks.levels - 1
        for name, values in {"mean": mean, "std": std}.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(-1, 1, 1))

    def phase(self) -> Phase:
        """Of the training loop."""
        return Phase("critic", dict(self.named_parameters()))

    def weights(self, batch: Batch) -> dict[str, Tensor]:
        """Clips count alike."""
        return dict.fromkeys(("pairs", "r1", "r2"), torch.ones_like(batch.times[:, 0]))

    def loss(self, made: Tensor, batch: Batch) -> Loss:
        """Of the critic itself, for clips made in place of those of a batch."""
        judge = lambda clips: self._judged(clips, batch)  # noqa: E731
        terms = told_apart(judge, self._seen(batch.clips, batch), self._seen(made, batch))
        half = scaled(_GAMMA, made) / 2
        return Loss(terms, {"r1": half, "r2": half})

    def against(self, made: Tensor, batch: Batch) -> Tensor:
        """How much more real the real clips look than those made, softplus, (batch,)."""
        with frozen(self):
            both = torch.cat([self._seen(batch.clips, batch), self._seen(made, batch)])
            of_real, of_made = self._judged(both, batch).chunk(2)
        return F.softplus(of_real - of_made)

    def _seen(self, clips: Tensor, batch: Batch) -> Tensor:
        """Standardised; frames that were invented in repair are blank on both sides."""
        real = (batch.frame_weight > 0).float()[..., None, None, None]
        return (clips.float() - self.mean) / self.std * real

    def _judged(self, clips: Tensor, batch: Batch) -> Tensor:
        times = batch.times.repeat(len(clips) // len(batch), 1)
        return self.network(clips, times, self.finest).float()  # type: ignore[no-any-return]


def critic_of(config: losses.Config, parts: Parts) -> Critic | None:
    """The critic of an objective whose loss has an `adversarial` part; None where it has none."""
    if not config.adversarial:
        return None
    return Critic(cast(Networks, parts.critic), parts.mean, parts.std)
