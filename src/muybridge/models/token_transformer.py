"""A transformer over the tokens of clips, conditioned by label and text: causal, or seeing all.

Causal, it predicts each token from those before it in reading order (Yan et al. 2021, "VideoGPT");
otherwise all hidden tokens from those that are shown (Chang et al. 2022, "MaskGIT"). Layers, rotary
positions and conditions are those of `dit.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self, cast

import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor, nn

from ..core.config import Count, Section, Share
from . import fused
from . import text as text_module
from .dit import _PLACES, _positions, _spread


class Config(Section):
    """The network's shape."""

    width: Count = 192
    """Channels of a token; a multiple of 2 x heads."""
    depth: Count = 4
    """Transformer layers."""
    heads: Count = 3
    """Attention heads; 64 channels a head is usual."""
    causal: bool = True
    """Each token from those before it, for `autoregressive`; false: hidden tokens from all that are
    shown, for `masked`."""
    vocabulary: int = 0
    """Tokens that there are, settled from the tokenizer."""
    levels: tuple[Count, ...] = ()
    """Steps of each of the numbers that a token stands for, settled from the tokenizer: tokens that
    have one in common share what is learned of it. None: each token is learned by itself."""
    dropout: Share = 0.0
    """Share of the numbers in each feed-forward layer that are left out in training: for few clips,
    seen many times (Srivastava et al. 2014)."""
    frames: int = 0
    """Frames of a training clip, settled from the data: longer ones are made piece by piece; 0
    makes any length at once."""
    labels: int = 0
    """Classes, settled from the dataset; 0 for none."""
    text: text_module.Config | None = text_module.Config()
    """The text encoder; null for none, which is settled so where the data has no captions."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} is not a multiple of 2 x heads ({self.heads})")
        if self.levels and math.prod(self.levels) != self.vocabulary:
            raise ValueError(f"levels {self.levels} do not make {self.vocabulary} tokens")
        return self


SIZES: dict[str, dict[str, Any]] = {
    "nano": {"width": 128, "depth": 4, "heads": 2},
    "small": {"width": 192, "depth": 4, "heads": 3},
    "medium": {"width": 256, "depth": 6, "heads": 4},
    "base": {"width": 768, "depth": 12, "heads": 12},
    "large": {"width": 1024, "depth": 24, "heads": 16},
}

Turn = tuple[Tensor, Tensor]


def build(config: Config) -> TokenTransformer:
    """Makes the network."""
    return TokenTransformer(config)


@dataclass(frozen=True)
class Told:
    """What layers are told beside the tokens: the same for every token that is made of a clip.

    Attributes:
        vectors: of the tokens in each of their roles, the last one that of answers.
        words: of the text, put before the tokens (batch, words, width); none without text.
        place: of each token (batch, tokens, width).
        turn: cosines and sines of words and tokens, (batch, words + tokens, 1, 1, channels / 2).
        layers: how each layer is shifted, scaled and gated, six of (batch, 1, width) a layer.
        last: shift and scale before the head.
    """

    vectors: tuple[Tensor, ...]
    words: Tensor
    place: Tensor
    turn: Turn
    layers: tuple[tuple[Tensor, ...], ...]
    last: tuple[Tensor, ...]


class Cache:
    """What a causal network keeps of the tokens it went through: keys and values of each layer."""

    def __init__(self, told: Told) -> None:
        self.told = told
        room = told.words.shape[1] + told.place.shape[1]
        self.layers = tuple(Past(room) for _ in told.layers)
        self.slots = 0


class Past:
    """Keys and values of one layer, with room for all that will come."""

    def __init__(self, room: int) -> None:
        self.room, self.count = room, 0
        self.keys, self.values = torch.empty(0), torch.empty(0)

    def with_new(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """All so far, these (batch, heads, tokens, channels) at the end."""
        if self.count == 0:
            batch, heads, _, channels = keys.shape
            self.keys = keys.new_empty(batch, heads, self.room, channels)
            self.values = values.new_empty(batch, heads, self.room, channels)
        begin, self.count = self.count, self.count + keys.shape[2]
        self.keys[:, :, begin : self.count] = keys
        self.values[:, :, begin : self.count] = values
        return self.keys[:, :, : self.count], self.values[:, :, : self.count]


class TokenTransformer(nn.Module):
    """Predicts tokens. The number `vocabulary` stands for one that is hidden, or is not there.

    The place of a token begins as the sum of what stands there and beside it, each in a role of its
    own: who a token's neighbours are need not be learned. Causal, these are the one before it, the
    one above and the one a step of time back; otherwise itself and the six beside it.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width = config.width
        roles = (3 if config.causal else 7) + 1
        self.vectors = nn.ModuleList(Vectors(config) for _ in range(roles))
        self.bias = nn.Parameter(torch.zeros(config.vocabulary))
        self.place = nn.Linear(_PLACES, width)
        # One entry more than there are classes: the last says "not said".
        self.label = nn.Embedding(config.labels + 1, width) if config.labels else None
        self.text: nn.Linear | None = None
        if config.text is not None:
            self.text = nn.Linear(config.text.width, width)
            self.text_pool = nn.Linear(width, width)
            self.nothing = nn.Parameter(torch.randn(config.text.length, width) * 0.02)
        made = (Block(config) for _ in range(config.depth))
        self.blocks = nn.ModuleList(made)
        self.final = nn.Linear(width, 2 * width)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.place.weight, std=0.02)
        if self.label is not None:
            nn.init.normal_(self.label.weight, std=0.02)
        # adaLN-zero: every layer begins as the identity, and all tokens as equally likely.
        zero = ("modulation.weight", "final.weight")
        answers = f"vectors.{len(self.vectors) - 1}."
        for name, parameter in self.named_parameters():
            if name.endswith(zero) or name.startswith(answers):
                nn.init.zeros_(parameter)

    def forward(
        self,
        tokens: Tensor,
        times: Tensor,
        label: Tensor | None = None,
        text: Tensor | None = None,
        text_mask: Tensor | None = None,
    ) -> Tensor:
        """Scores every token there could be in each place.

        Args:
            tokens: int64 (batch, t, h, w); those of a causal network are seen only by later ones.
            times: seconds of the tokens (batch, t).
            label: classes (batch,); the number of classes stands for "not said".
            text: features (batch, length, text width).
            text_mask: (batch, length), False where there is no word; all False for no text.

        Returns:
            Logits (batch, t, h, w, vocabulary).
        """
        batch, t, h, w = tokens.shape
        told = self.told((t, h, w), times, label, text, text_mask)
        made = self._through(tokens, told, 0, t * h * w)
        return made.view(batch, t, h, w, -1)

    def told(
        self,
        grid: tuple[int, int, int],
        times: Tensor,
        label: Tensor | None = None,
        text: Tensor | None = None,
        text_mask: Tensor | None = None,
    ) -> Told:
        """What layers are told of clips of `grid` tokens; the rest as for `forward`."""
        channels = self.config.width // self.config.heads
        rotation, features = _positions(times, grid, 1, channels)
        place = self.place(features)
        # Tokens stay in the precision that the linear layers compute in: half the memory traffic.
        condition = torch.zeros_like(place[:, :1])
        if self.label is not None:
            unsaid = torch.full_like(times[:, 0], self.config.labels, dtype=torch.long)
            condition = condition + self.label(unsaid if label is None else label)[:, None]
        words = place[:, :0]
        if self.text is not None:
            words = self._read(text, text_mask, place)
            condition = condition + self.text_pool(words.mean(1))[:, None]
            rotation = F.pad(rotation, (0, 0, words.shape[1], 0))
        condition = F.silu(condition).to(place.dtype)
        turn = (_spread(rotation.cos(), place.dtype), _spread(rotation.sin(), place.dtype))
        modulations = [cast(Block, block).modulation for block in self.blocks]
        layers = tuple(made(condition).chunk(6, -1) for made in modulations)
        vectors = tuple(table().to(place.dtype) for table in self.vectors)
        return Told(vectors, words, place, turn, layers, self.final(condition).chunk(2, -1))

    def cache(self, grid: tuple[int, int, int], times: Tensor, *told: Tensor | None) -> Cache:
        """An empty cache for clips of `grid` tokens; the rest as for `forward`."""
        return Cache(self.told(grid, times, *told))

    def next(self, tokens: Tensor, slot: int, cache: Cache) -> Tensor:
        """Logits of token number `slot` in reading order, (batch, vocabulary), from those before.

        What `forward` gives there, computing only what the cache does not hold.

        Args:
            tokens: int64 (batch, t, h, w); those from `slot` on are not looked at.
            cache: one that is new, or that was last used for `slot` - 1.
        """
        if cache.slots and cache.slots != slot:
            raise ValueError(f"slot {slot} does not follow the {cache.slots} in the cache")
        made = self._through(tokens, cache.told, cache.slots, slot + 1, cache)
        cache.slots = slot + 1
        return made[:, -1]

    def _through(
        self, tokens: Tensor, told: Told, begin: int, end: int, cache: Cache | None = None
    ) -> Tensor:
        """Logits of tokens number `begin` up to `end`: (batch, tokens, vocabulary)."""
        x = told.place[:, begin:end]
        for shown, vectors in zip(self._shown(tokens, begin, end), told.vectors[:-1], strict=True):
            x = x + F.embedding(shown, vectors)
        count = told.words.shape[1]
        words = 0 if begin else count
        if words:
            x = torch.cat([told.words, x], 1)
        turn: Turn = told.turn
        if end - begin < told.place.shape[1]:
            cos, sin = turn
            places = slice(count + begin - words, count + end)
            turn = (cos[:, places], sin[:, places])
        past = cache.layers if cache is not None else (None,) * len(told.layers)
        for block, layer, kept in zip(self.blocks, told.layers, past, strict=True):
            x = block(x, layer, turn, kept)
        answer = fused.modulate(x[:, words:].contiguous(), *told.last)
        return F.linear(answer, told.vectors[-1][:-1], self.bias)

    def _shown(self, tokens: Tensor, begin: int, end: int) -> Iterable[Tensor]:
        """What tokens number `begin` up to `end` of (batch, t, h, w) are shown as, in each role
        (batch, end - begin)."""
        if self.config.causal and end == begin + 1:
            return self._behind(tokens.flatten(1), begin, *tokens.shape[2:])
        return (one[:, begin:end] for one in self._around(tokens))

    def _behind(self, line: Tensor, slot: int, h: int, w: int) -> Iterable[Tensor]:
        """The same of a single token: the ones before it, above it, and a step of time back."""
        there = (slot > 0, slot % (h * w) >= w, slot >= h * w)
        for back, is_there in zip((1, w, h * w), there, strict=True):
            none = line.new_full((len(line), 1), self.config.vocabulary)
            yield line[:, slot - back, None] if is_there else none

    def _around(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """What all tokens are shown as."""
        none = self.config.vocabulary
        back, above, before = (beside(tokens, axis, 1, none) for axis in (1, 2, 3))
        if self.config.causal:
            # At the beginning of a row, the last one of the row above.
            before = F.pad(tokens.flatten(1), (1, 0), value=none)[:, :-1]
            return before, above.flatten(1), back.flatten(1)
        after = (beside(tokens, axis, -1, none) for axis in (1, 2, 3))
        return tuple(one.flatten(1) for one in (tokens, before, above, back, *after))

    def _read(self, text: Tensor | None, mask: Tensor | None, like: Tensor) -> Tensor:
        """Text features as tokens, a learned "nothing" where there is no word."""
        assert self.text is not None
        nothing = self.nothing.to(like.dtype).expand(len(like), -1, -1)
        if text is None or mask is None:
            return nothing
        return torch.where(mask[..., None], self.text(text).to(like.dtype), nothing)


def beside(tokens: Tensor, axis: int, step: int, none: int) -> Tensor:
    """In the place of each token the one a step before it along an axis, or after it where `step`
    is -1; `none` beyond the border."""
    moved = tokens.roll(step, axis)
    moved.select(axis, 0 if step > 0 else -1).fill_(none)
    return moved


class Vectors(nn.Module):
    """A vector for each token, and one for none: its own, and one for each number it stands for."""

    parts: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        numbers, place, parts = torch.arange(config.vocabulary), 1, []
        for steps in config.levels:
            parts.append(F.one_hot(numbers // place % steps, steps).float())
            place *= steps
        table = torch.cat([torch.zeros(config.vocabulary, 0), *parts], 1)
        self.register_buffer("parts", F.pad(table, (0, 0, 0, 1)), persistent=False)
        self.own = nn.Parameter(torch.randn(config.vocabulary + 1, config.width) * 0.02)
        self.shared = nn.Parameter(torch.randn(table.shape[1], config.width) * 0.02)

    def forward(self) -> Tensor:
        """All of them, (vocabulary + 1, width)."""
        return self.own + self.parts @ self.shared


class Block(nn.Module):
    """Attention and feed-forward, each scaled, shifted and gated by the condition (adaLN-zero)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, self.heads, self.causal = config.width, config.heads, config.causal
        self.modulation = nn.Linear(width, 6 * width)
        self.qk = nn.Linear(width, 2 * width, bias=False)
        self.v = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width)
        self.up = nn.Linear(width, 4 * width)
        self.drop = nn.Dropout(config.dropout)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, told: tuple[Tensor, ...], turn: Turn, past: Past | None) -> Tensor:
        """x: (batch, words and tokens, width); told: the six parts of what `modulation` makes of
        the condition."""
        shift1, scale1, gate1, shift2, scale2, gate2 = told
        x = torch.addcmul(x, gate1, self._attend(fused.modulate(x, shift1, scale1), turn, past))
        up = self.up(fused.modulate(x, shift2, scale2))
        return torch.addcmul(x, gate2, self.down(self.drop(fused.squared_relu(up))))

    def _attend(self, x: Tensor, turn: Turn, past: Past | None) -> Tensor:
        batch, tokens, _ = x.shape
        qk = self.qk(x).view(batch, tokens, 2, self.heads, -1)
        v = self.v(x).view(batch, tokens, self.heads, -1)
        made: Tensor
        if past is None:
            made = self.out(fused.attention(qk, v, turn, self.causal))
            return made
        turned = fused._turned(F.layer_norm(qk, qk.shape[-1:]), *turn).to(v.dtype)
        q, k = turned.permute(2, 0, 3, 1, 4)
        v = v.transpose(1, 2)
        k, v = past.with_new(k, v)
        if tokens == 1:  # it sees all that is kept; torch's kernel is slow for a single row
            mixed = ((q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)).softmax(-1) @ v
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        made = self.out(mixed.transpose(1, 2).flatten(2))
        return made
