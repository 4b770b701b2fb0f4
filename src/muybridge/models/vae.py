"""A 3-D convolutional autoencoder of clips: one place of its latents is 4 frames of 8 x 8 pixels.

Causal in time (Yu et al. 2024, "Language Model Beats Diffusion"): a latent depends on the frames of
its own and of earlier places alone, so that a clip can be encoded and decoded piece by piece, of
any length, in bounded memory. The latents are Gaussian (Kingma and Welling 2014) or, with `levels`,
tokens (Mentzer et al. 2024, "Finite Scalar Quantization").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Self

import pydantic
import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor, nn

from ..core.config import Count, Section
from . import dit, fsq
from . import text as text_module
from .causal import Block, Ends, Fold, Layers, Memory, Unfold, blocks
from .filters import held
from .patches import from_patches, to_patches, waves
from .tiles import tiled


class Prior(Section):
    """The flow transformer that latents are drawn from: settings of `models/dit.py`."""

    width: Count = 192
    """Channels of a token."""
    depth: Count = 4
    """Transformer layers."""
    heads: Count = 3
    """Attention heads."""


class Config(Section):
    """The network's shape."""

    patch: tuple[Count, Count, Count] = (4, 8, 8)
    """Frames, rows and columns of pixels in one place of the latents; even numbers."""
    widths: tuple[Count, Count] = (64, 160)
    """Channels at half the patch, and at the latents' own places."""
    depth: tuple[Count, Count] = (1, 3)
    """Residual blocks there, in the encoder and again in the decoder."""
    channels: Count = 16
    """Numbers in one place of the latents; with `levels`, so many as there are of these."""
    levels: tuple[Annotated[int, pydantic.Field(ge=2)], ...] = ()
    """With these the latents are tokens, each number one of so many steps; a vocabulary of their
    product. None: Gaussian latents."""
    prior: Prior | None = Prior()
    """What clips are drawn from; null for a tokenizer that is for another model alone."""
    still: bool = True
    """Draws what stands still once: how much of each pixel is what it was in the frame before is
    drawn as well."""
    tile: Annotated[int, pydantic.Field(ge=0)] = 0
    """Rows and columns of pixels that a trained network takes at once, where memory does not hold
    whole frames; neighbours share half of them. 0: whole frames."""
    labels: int = 0
    """Classes, settled from the dataset; 0 for none."""
    text: text_module.Config | None = text_module.Config()
    """The prior's text encoder; null for none, which is settled so without captions or prior."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if any(side % 2 for side in self.patch):
            raise ValueError(f"patch {self.patch}: even numbers of frames, rows and columns")
        if self.tile and (self.patch[1] != self.patch[2] or self.tile % (4 * self.patch[1])):
            raise ValueError(f"tile {self.tile}: a multiple of 4 square patches of {self.patch}")
        return self


SIZES: dict[str, dict[str, Any]] = {
    "nano": {"widths": (32, 96), "depth": (1, 2), "prior": {"width": 128, "depth": 3, "heads": 2}},
    "small": {"widths": (64, 160), "depth": (1, 3)},
    "base": {
        "widths": (128, 384),
        "depth": (2, 6),
        "prior": {"width": 768, "depth": 12, "heads": 12},
    },
}

# Bounds of the logarithm of a latent's variance: beyond, nothing but overflow is gained.
_LOG_VARIANCE = (-20.0, 10.0)
_FIRST_LOG_VARIANCE = -5.0
# Places in time that a trained network takes at once.
_PIECE = 8
# Brings the slowest wave of a patch of 768 numbers in [-1, 1], 16 times their mean, to about 1.
_GAIN = 8.0
# How much faster than a weight the mean and the deviation of the latents are followed: steps of
# the usual size, the rate, would go a third of the way in a short training.
_PACE = 16.0


def build(config: Config) -> VAE:
    """Makes the network."""
    return VAE(config)


Made = Callable[[Tensor, Memory | None], Tensor]


class VAE(nn.Module):
    """Encoder, decoder and the prior over latents.

    Attributes:
        stride: pixels in one place of the latents: frames, rows, columns.
        channels: numbers in one place.
        vocabulary: of tokens; 0 for Gaussian latents.
        prior: a `dit.DiT` over standardised latents, or None.
        middle, log_scale: what latents are standardised by (channels, 1, 1), a sixteenth of it,
            learned.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.stride = config, config.patch
        self.levels = fsq.Levels(config.levels) if config.levels else None
        self.channels = len(config.levels) or config.channels
        self.vocabulary = math.prod(config.levels) if config.levels else 0
        half = (config.patch[0] // 2, config.patch[1] // 2, config.patch[2] // 2)
        fine, coarse = config.widths
        given = self.channels if self.levels else 2 * self.channels
        last, pixels = Ends(coarse, given), Unfold(fine, 3 + config.still, half)
        ahead = [
            Fold(3, fine, half),
            *blocks(fine, config.depth[0]),
            Fold(fine, coarse, (2, 2, 2)),
        ]
        self.encoder = Layers([*ahead, *blocks(coarse, config.depth[1]), last])
        back = [Ends(self.channels, coarse, normed=False), *blocks(coarse, config.depth[1])]
        more = [Unfold(coarse, fine, (2, 2, 2)), *blocks(fine, config.depth[0]), pixels]
        self.decoder = Layers([*back, *more])
        self.straight = Straight(config.patch, self.channels)
        for parameter in (*last.mix.parameters(), *pixels.mix.parameters()):
            nn.init.zeros_(parameter)
        if self.levels is None:
            nn.init.constant_(last.mix.bias[self.channels :], _FIRST_LOG_VARIANCE)
        self.middle = nn.Parameter(torch.zeros(self.channels, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(self.channels, 1, 1))
        self.prior: dit.DiT | None = None
        if config.prior is not None:
            shape = dit.Config(
                **config.prior.model_dump(),
                patch=(1, 1, 1),
                lapped=False,
                channels=self.channels,
                labels=config.labels,
                text=config.text,
            )
            self.prior = dit.build(shape)

    def codec(self) -> dict[str, nn.Parameter]:
        """The parameters of encoder and decoder, by name."""
        own = ("encoder.", "decoder.", "straight.")
        return {n: p for n, p in self.named_parameters() if n.startswith(own)}

    def moments(self, clips: Tensor, memory: Memory | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latents, float32 (batch, t, channels, h, w) each.

        Of tokens: the numbers before they are rounded, and no variance (zeros).
        """
        made, plain = self.encoder(clips, memory).float(), self.straight.encode(clips)
        if self.levels is not None:
            return made + plain, torch.zeros_like(made)
        mean, log_variance = made.chunk(2, 2)
        return mean + plain, log_variance.clamp(*_LOG_VARIANCE)

    def encode(self, clips: Tensor, memory: Memory | None = None) -> Tensor:
        """Clips (batch, time, 3, height, width) in [-1, 1] to latents (batch, t, channels, h, w):
        the mean, or the rounded numbers of tokens."""

        def made(part: Tensor, past: Memory | None) -> Tensor:
            return self.moments(part, past)[0]

        frames, side, _ = self.stride
        mean = self._in_parts(made, clips, memory, _PIECE * frames, self.config.tile, 1 / side)
        return mean if self.levels is None else self.levels.rounded(mean)

    def decode(self, latents: Tensor, memory: Memory | None = None) -> Tensor:
        """Latents to clips, not clamped."""
        side = self.stride[1]
        return self._in_parts(
            self._decoded, latents, memory, _PIECE, self.config.tile // side, side
        )

    def _in_parts(
        self, make: Made, x: Tensor, memory: Memory | None, frames: int, tile: int, scale: float
    ) -> Tensor:
        """What a trained network makes of clips or latents: long ones piece by piece, which gives
        the same, and large ones in tiles, `frames` and `tile` being of `x`."""
        if memory is not None or self.training:
            return make(x, memory)

        def pieces(part: Tensor) -> Tensor:
            past = Memory()
            return torch.cat([make(piece, past) for piece in torch.split(part, frames, 1)], 1)

        if not tile or max(x.shape[-2:]) <= tile:
            return pieces(x)
        return tiled(pieces, x, (tile, tile), (tile // 2, tile // 2), scale)

    def _decoded(self, latents: Tensor, memory: Memory | None) -> Tensor:
        drawn = self.decoder(latents, memory).float()
        made: Tensor = drawn[:, :, :3] + self.straight.decode(latents)
        if not self.config.still:
            return made
        before = None if memory is None else memory.past.get(self)
        made = held(made, drawn[:, :, 3:].sigmoid(), before)
        if memory is not None:
            memory.past[self] = made[:, -1]
        return made

    def features(self, clips: Tensor) -> list[Tensor]:
        """What the encoder's residual blocks see of clips, each (batch, t, width, h, w)."""
        x, found = clips.permute(0, 1, 3, 4, 2), []
        for layer in self.encoder.blocks:
            x = layer(x, None)
            if isinstance(layer, Block):
                found.append(x.permute(0, 1, 4, 2, 3))
        return found

    def tokens(self, clips: Tensor) -> Tensor:
        """Clips to token numbers, int64 (batch, t, h, w)."""
        assert self.levels is not None
        return self.levels.numbers(self.encode(clips))

    def from_tokens(self, tokens: Tensor) -> Tensor:
        """Token numbers to clips in [-1, 1]."""
        assert self.levels is not None
        return self.decode(self.levels.digits(tokens)).clamp(-1, 1)

    def encode_pieces(self, clips: Tensor, frames: int) -> Iterator[Tensor]:
        """Latents of a long clip, `frames` (a multiple of the patch's) at a time."""
        memory = Memory()
        for piece in torch.split(clips, frames, 1):
            yield self.encode(piece, memory)

    def decode_pieces(self, latents: Tensor, places: int) -> Iterator[Tensor]:
        """Frames of a long clip, `places` of its latents at a time."""
        memory = Memory()
        for piece in torch.split(latents, places, 1):
            yield self.decode(piece, memory)

    def standardised(self, latents: Tensor) -> Tensor:
        """Latents of mean 0 and deviation 1 in each channel, for the prior."""
        return (latents - _PACE * self.middle) * (-_PACE * self.log_scale).exp()

    def restored(self, standard: Tensor) -> Tensor:
        """The inverse of `standardised`."""
        return standard * (_PACE * self.log_scale).exp() + _PACE * self.middle

    def negative_log_likelihood(self, standard: Tensor) -> Tensor:
        """Of latents that were standardised, under a Gaussian of the learned mean and deviation, up
        to a constant: nats a number, (batch,)."""
        return (standard.square() / 2 + _PACE * self.log_scale).mean((1, 2, 3, 4))


class Straight(nn.Module):
    """The shortest way between a patch and its latents, linear, round the network: at first a
    patch's slowest waves and back, so that training begins where plain scaling down and up ends
    (Chen et al. 2025, "Deep Compression Autoencoder", section 3.2, take folded pixels)."""

    def __init__(self, patch: tuple[int, int, int], channels: int) -> None:
        super().__init__()
        self.patch = patch
        slow = waves(patch, 3, channels)
        slow = F.pad(slow, (0, 0, 0, channels - len(slow)))
        self.down = nn.Parameter(slow / _GAIN)
        self.up = nn.Parameter(slow.T.contiguous() * _GAIN)

    def encode(self, clips: Tensor) -> Tensor:
        """Clips to latents (batch, t, channels, h, w), float32."""
        (p, q, r), (batch, time, _, height, width) = self.patch, clips.shape
        made = F.linear(to_patches(clips, self.patch), self.down).float()
        return made.view(batch, time // p, height // q, width // r, -1).permute(0, 1, 4, 2, 3)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents to clips, float32."""
        t, h, w = latents.shape[1], latents.shape[3], latents.shape[4]
        tokens = latents.permute(0, 1, 3, 4, 2).flatten(1, 3)
        made = F.linear(tokens, self.up).float()
        return from_patches(made, (t, h, w), self.patch, 3)
