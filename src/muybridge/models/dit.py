"""A video diffusion transformer: patches in space-time, conditioned by noise level, label and text.

Peebles and Xie 2023, "Scalable Diffusion Models with Transformers" (adaLN-zero); rotary positions
from Su et al. 2021, over three axes; query-key norm from Dehghani et al. 2023.
"""

from __future__ import annotations

import math
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..core.clips import GUIDES
from ..core.config import Section, Share
from . import fused
from . import text as text_module
from .filters import Copies, Filters, Strokes, stilled
from .patches import from_patches, to_patches, waves

Guide = Literal["known", "sketch", "video"]


class Config(Section):
    """The network's shape."""

    width: int = 256
    """Channels of a token; a multiple of 2 x heads."""
    depth: int = 6
    """Transformer layers."""
    heads: int = 4
    """Attention heads; 64 channels a head is usual."""
    patch: tuple[int, int, int] = (4, 8, 8)
    """Frames, rows and columns of pixels in one token."""
    lapped: bool = True
    """Patches reach smoothly into their neighbours, which leaves far less of a grid."""
    still: bool = True
    """Draws what stands still once: how much of each pixel is its mean over all frames is drawn as
    well, so that a background does not flicker. Not in clips of which something is known: that
    shows what stands still."""
    recompute: bool = False
    """Keep only what goes in and out of layers for the backward pass, and compute the rest again: a
    third more work, far less memory (activation checkpointing; Chen et al. 2016)."""
    dropout: Share = 0.0
    """Share of the numbers in each feed-forward layer that are left out in training: for few clips,
    seen many times (Srivastava et al. 2014)."""
    guides: tuple[Guide, ...] = ()
    """What is looked at beside a clip, settled from `data.tasks`."""
    jumps: bool = False
    """Is told where a sampling step ends as well, for the objective `shortcut`."""
    channels: int = 3
    """Channels of a clip."""
    labels: int = 0
    """Classes, settled from the dataset; 0 for none."""
    text: text_module.Config | None = text_module.Config()
    """The text encoder; null for none, which is settled so where the data has no captions."""

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.heads < 1 or self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} is not a multiple of 2 x heads ({self.heads})")
        return self


SIZES: dict[str, dict[str, Any]] = {
    "nano": {"width": 128, "depth": 4, "heads": 2},
    "small": {"width": 192, "depth": 4, "heads": 3},
    "medium": {"width": 256, "depth": 6, "heads": 4},
    "base": {"width": 768, "depth": 12, "heads": 12},
    "large": {"width": 1024, "depth": 24, "heads": 16},
}


def build(config: Config) -> DiT:
    """Makes the network."""
    return DiT(config)


class DiT(nn.Module):
    """Predicts the clean clip from a noisy one.

    Repeated layers live in `blocks`: the optimizer treats their matrices as hidden ones.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width, pixels = config.width, config.channels * math.prod(config.patch)
        self.embed = nn.Linear(pixels, width)
        channels = sum(GUIDES[name] for name in config.guides)
        beside = channels * math.prod(config.patch)
        self.beside = nn.Linear(beside, width, bias=False) if channels else None
        self.strokes = Strokes(width) if "sketch" in config.guides else None
        self.filters = Filters(width) if "video" in config.guides else None
        known = "known" in config.guides
        self.copies = Copies(width, config.patch, config.lapped) if known else None
        self.place = nn.Linear(_PLACES, width, bias=False)
        self.level = nn.Sequential(nn.Linear(_LEVELS, width), nn.SiLU(), nn.Linear(width, width))
        self.ahead = nn.Linear(_LEVELS, width, bias=False) if config.jumps else None
        # One entry more than there are classes: the last says "not said".
        self.label = nn.Embedding(config.labels + 1, width) if config.labels else None
        self.text: nn.Linear | None = None
        if config.text is not None:
            self.text = nn.Linear(config.text.width, width)
            self.text_pool = nn.Linear(width, width)
            self.nothing = nn.Parameter(torch.randn(config.text.length, width) * 0.02)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.final = nn.Linear(width, 2 * width)
        self.head = nn.Linear(width, pixels + config.still * math.prod(config.patch))
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.place.weight, std=0.02)
        # What can be seen of a clip through much noise are its slow waves; in a random mixture of
        # all the pixels of a patch they would drown.
        slow = waves(self.config.patch, self.config.channels, self.config.width)
        with torch.no_grad():
            self.embed.weight.zero_()[: len(slow)] = slow
        if self.label is not None:
            nn.init.normal_(self.label.weight, std=0.02)
        # adaLN-zero: every block begins as the identity, and the prediction as zero.
        for name, parameter in self.named_parameters():
            if name.endswith(
                (
                    "modulation.weight",
                    "final.weight",
                    "head.weight",
                    "space.weight",
                    "time.weight",
                    "ahead.weight",
                    "beside.weight",
                )
            ):
                nn.init.zeros_(parameter)
        # What is given is at first shown as it is: a video, and the mean of known pixels around.
        for way in (self.strokes, self.filters, self.copies):
            if way is not None:
                way.begin()

    def token_shape(self, shape: torch.Size | tuple[int, ...]) -> tuple[int, int, int]:
        """Tokens along time, height and width of clips (..., time, channel, height, width)."""
        time, _, height, width = shape[-4:]
        a, b, c = self.config.patch
        return time // a, height // b, width // c

    def forward(
        self,
        clips: Tensor,
        level: Tensor,
        times: Tensor,
        label: Tensor | None = None,
        text: Tensor | None = None,
        text_mask: Tensor | None = None,
        ahead: Tensor | None = None,
        beside: Tensor | None = None,
        clean: Tensor | None = None,
    ) -> Tensor:
        """Predicts clean clips.

        Args:
            clips: noisy clips (batch, time, channel, height, width).
            level: share of noise in [0, 1], (batch,).
            times: seconds of each frame (batch, time).
            label: classes (batch,); the number of classes stands for "not said".
            text: features (batch, length, text width).
            text_mask: (batch, length), False where there is no word; all False for no text.
            ahead: with `jumps`, share of noise at which the step ends, (batch,).
            beside: with `guides`, their channels (batch, time, channels, height, width).
            clean: tokens that have no noise, bool (batch, t, h, w) as `token_shape` counts them.

        Returns:
            (batch, time, channel, height, width).
        """
        grid = self.token_shape(clips.shape)
        x = self.embed(to_patches(clips, self.config.patch, self.config.lapped))
        rotation, place = _positions(
            times, grid, self.config.patch[0], x.shape[-1] // self.config.heads
        )
        x = x + self.place(place).to(x.dtype)
        if self.beside is not None and beside is not None:
            x = x + self.beside(to_patches(beside, self.config.patch))
        # Of clips, and of tokens that have no noise: each token is told one of the two.
        levels = level[:, None] if clean is None else torch.stack([level, level * 0], 1)
        condition: Tensor = self.level(_fourier(levels))  # (batch, 1 or 2, width)
        if self.ahead is not None and ahead is not None:
            condition = condition + self.ahead(_fourier(ahead))[:, None]
        if self.label is not None:
            unsaid = torch.full_like(times[:, 0], self.config.labels, dtype=torch.long)
            condition = condition + self.label(unsaid if label is None else label)[:, None]
        words = 0
        if self.text is not None:
            prefix, pooled = self._read(text, text_mask, x)
            condition = condition + self.text_pool(pooled)[:, None]
            words = prefix.shape[1]
            x = torch.cat([prefix, x], 1)
            rotation = F.pad(rotation, (0, 0, words, 0))
        which = None if clean is None else F.pad(clean.flatten(1), (words, 0))
        # Tokens stay in the precision that the linear layers compute in: half the memory traffic.
        condition = F.silu(condition).to(x.dtype)
        turn = (_spread(rotation.cos(), x.dtype), _spread(rotation.sin(), x.dtype))
        for block in self.blocks:
            x = self._through(block, x, condition, turn, grid, which)
        last = _of_each(self.final(condition), None if which is None else which[:, words:])
        shift, scale = last.chunk(2, -1)
        x = fused.modulate(x[:, words:].contiguous(), shift, scale)
        mask = None
        if beside is not None and self.copies is not None:
            mask = self._of(beside, "known")
        made = self._drawn(self.head(x), grid, mask)
        if beside is not None and self.strokes is not None:
            made = self.strokes(made, x, grid, self._of(beside, "sketch"))
        if beside is not None and self.filters is not None:
            made = self.filters(made, x, grid, self._of(beside, "video"))
        if mask is not None and self.copies is not None:
            made = self.copies(made, x, grid, clips, mask)
        return made

    def _drawn(self, tokens: Tensor, grid: tuple[int, int, int], mask: Tensor | None) -> Tensor:
        patch, channels, lapped = self.config.patch, self.config.channels, self.config.lapped
        if not self.config.still:
            return from_patches(tokens, grid, patch, channels, lapped)
        made = from_patches(tokens, grid, patch, channels + 1, lapped).float()
        share = made[:, :, -1:].sigmoid()
        if mask is not None:
            share = share * (1 - mask.amax((1, 2, 3, 4), keepdim=True))
        return stilled(made[:, :, :-1], share)

    def _of(self, beside: Tensor, guide: str) -> Tensor:
        """The channels of one guide."""
        names = self.config.guides
        first = sum(GUIDES[name] for name in names[: names.index(guide)])
        return beside[:, :, first : first + GUIDES[guide]]

    def _through(self, block: nn.Module, *given: Any) -> Tensor:
        if self.config.recompute and torch.is_grad_enabled():
            made: Tensor = checkpoint(block, *given, use_reentrant=False)
            return made
        plain: Tensor = block(*given)
        return plain

    def _read(self, text: Tensor | None, mask: Tensor | None, x: Tensor) -> tuple[Tensor, Tensor]:
        """Text features as tokens, a learned "nothing" where there is no word, and their mean."""
        assert self.text is not None
        nothing = self.nothing.to(x.dtype).expand(len(x), -1, -1)
        if text is None or mask is None:
            return nothing, nothing.mean(1)
        words = torch.where(mask[..., None], self.text(text).to(x.dtype), nothing)
        return words, words.mean(1)


class Block(nn.Module):
    """Attention and feed-forward, each scaled, shifted and gated by the condition (adaLN-zero)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, self.heads = config.width, config.heads
        self.modulation = nn.Linear(width, 6 * width)
        self.qk = nn.Linear(width, 2 * width, bias=False)
        self.v = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width)
        self.up = nn.Linear(width, 4 * width)
        self.drop = nn.Dropout(config.dropout)
        self.down = nn.Linear(4 * width, width)
        self.around = Around(width)

    def forward(
        self,
        x: Tensor,
        condition: Tensor,
        turn: tuple[Tensor, Tensor],
        grid: tuple[int, int, int],
        which: Tensor | None = None,
    ) -> Tensor:
        """x: (batch, tokens, width), of which the last are a `grid` of tokens in time, height and
        width; condition: (batch, 1, width), or (batch, 2, width) of which tokens have the second
        where `which` (batch, tokens) is true."""
        parts = _of_each(self.modulation(condition), which).chunk(6, -1)
        shift1, scale1, gate1, shift2, scale2, gate2 = parts
        x = torch.addcmul(x, gate1, self._attend(fused.modulate(x, shift1, scale1), turn))
        mixed = self.around(fused.modulate(x, shift2, scale2), grid)
        up = self.drop(fused.squared_relu(self.up(mixed)))
        return torch.addcmul(x, gate2, self.down(up))

    def _attend(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        batch, tokens, _ = x.shape
        qk = self.qk(x).view(batch, tokens, 2, self.heads, -1)
        v = self.v(x).view(batch, tokens, self.heads, -1)
        made: Tensor = self.out(fused.attention(qk, v, turn))
        return made


class Around(nn.Module):
    """Adds to each channel of a token a mixture of the same channel of its neighbours, in space and
    then in time (depthwise convolutions, which begin at zero; Li et al. 2021, "LocalViT").

    Attention has to learn who a neighbour is; this has it from the first step.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.space = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.time = nn.Conv2d(width, width, (3, 1), padding=(1, 0), groups=width, bias=False)

    def forward(self, x: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """x: (batch, tokens, width), of which the last are a `grid`; what is before them stays."""
        (t, h, w), (batch, tokens, width) = grid, x.shape
        words = tokens - t * h * w
        frames = x[:, words:].reshape(batch * t, h, w, width).permute(0, 3, 1, 2)
        frames = (frames + self.space(frames)).permute(0, 2, 3, 1)
        lines = frames.reshape(batch, t, h * w, width).permute(0, 3, 1, 2)
        lines = (lines + self.time(lines)).permute(0, 2, 3, 1).reshape(batch, -1, width)
        return torch.cat([x[:, :words], lines], 1) if words else lines


def _of_each(parts: Tensor, which: Tensor | None) -> Tensor:
    """(batch, 1, n) as it is, or of (batch, 2, n) the one that each token (batch, tokens) has."""
    if which is None:
        return parts
    # As a product: it takes less memory in the backward pass, and less time, than a choice.
    return torch.bmm(F.one_hot(which.long(), 2).to(parts.dtype), parts)


def _spread(angles: Tensor, dtype: torch.dtype) -> Tensor:
    """(batch, tokens, pairs) to (batch, tokens, 1, 1, pairs), for queries and keys of all heads."""
    return angles[:, :, None, None].to(dtype)


_LEVELS, _PLACES = 128, 48


def _fourier(level: Tensor) -> Tensor:
    """Share of noise in [0, 1] (...,) to (..., 128) cosines and sines of its logit, the logarithm
    of noise over signal (Karras et al. 2022, "Elucidating the Design Space", c_noise), which tells
    shares near 1 apart."""
    frequency = torch.logspace(-1.5, 0.5, _LEVELS // 2, device=level.device)
    angle = torch.logit(level.float(), 1e-3)[..., None] * frequency
    return torch.cat([angle.cos(), angle.sin()], -1)


def _positions(
    times: Tensor, grid: tuple[int, int, int], span: int, channels: int
) -> tuple[Tensor, Tensor]:
    """Rotary angles (batch, tokens, channels / 2) and features of place (batch, tokens, 48).

    Time is counted in eighths of a second from the clip's own stamps, rows and columns in tokens
    from the middle of the picture, so that longer, finer or larger clips than were trained on
    meet angles that continue those seen.
    """
    t, h, w = grid
    seconds = times[:, : t * span].view(len(times), t, span).mean(-1) * 8
    row = torch.arange(h, device=times.device) - (h - 1) / 2
    column = torch.arange(w, device=times.device) - (w - 1) / 2
    shape = (len(times), t, h, w)
    axes = (
        seconds[:, :, None, None].expand(shape),
        row[None, None, :, None].expand(shape),
        column[None, None, None, :].expand(shape),
    )
    half = channels // 2
    counts = (half - 2 * (half // 3), half // 3, half // 3)
    angles = [
        axis[..., None] * 100 ** -(torch.arange(n, device=times.device) / n)
        for axis, n in zip(axes, counts, strict=True)
    ]
    waves = 2.0 ** -torch.arange(_PLACES // 6, device=times.device) * math.pi
    place = torch.cat(
        [f(axis[..., None] * waves / 2) for axis in axes for f in (torch.cos, torch.sin)], -1
    )
    return torch.cat(angles, -1).flatten(1, 3), place.flatten(1, 3)
