"""Text: a byte-level BPE learned from the captions, and a small encoder trained with the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.config import Section

if TYPE_CHECKING:
    import tokenizers

PAD = 0


class Config(Section):
    """The text encoder. `vocabulary` and `length` of 0 are settled from the training captions."""

    width: int = 128
    """Width of the encoder."""
    depth: int = 2
    """Transformer layers; the order of words matters from one layer on."""
    vocabulary: int = 0
    """Entries of the BPE; 0 learns at most 2048 from the captions."""
    length: int = 0
    """Tokens a caption is padded or cut to; 0 takes the longest caption, up to 64."""


def learn_vocabulary(captions: Iterable[str], size: int) -> str:
    """Learns a byte-level BPE (Sennrich et al. 2016; bytes as in GPT-2) and gives it as JSON text.

    Any text can be encoded with it, since every byte is an entry. The order of `captions` does not
    matter.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        show_progress=False,
        special_tokens=["<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(sorted(captions), trainer)
    return str(tokenizer.to_str())


class TextEncoder(nn.Module):
    """Captions to features, by way of `tokenize`, then `(tokens, mask) -> (batch, length, width)`.

    A pretrained encoder takes this place by having the same two methods and `width`.
    """

    def __init__(self, config: Config, vocabulary: str) -> None:
        super().__init__()
        from tokenizers import Tokenizer

        self.width, self.length = config.width, config.length
        self._tokenizer: tokenizers.Tokenizer = Tokenizer.from_str(vocabulary)
        self.embed = nn.Embedding(self._tokenizer.get_vocab_size(), config.width)
        self.position = nn.Parameter(torch.randn(config.length, config.width) * 0.02)
        self.blocks = nn.ModuleList(_Layer(config.width) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        nn.init.normal_(self.embed.weight, std=0.5)

    def tokenize(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token numbers int64 (batch, length), and a mask of that shape that is True at tokens.

        What is longer is cut at `length` tokens.
        """
        tokens = torch.full((len(captions), self.length), PAD)
        encoded = self._tokenizer.encode_batch(list(captions))
        for row, one in zip(tokens, encoded, strict=True):
            ids = one.ids[: self.length]
            row[: len(ids)] = torch.tensor(ids, dtype=torch.long)
        return tokens, tokens != PAD

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Features (batch, length, width); those at masked places are of no meaning."""
        x = self.embed(tokens) + self.position
        # A caption of no tokens has nothing to attend to: it attends to its padding, harmlessly.
        attend = (mask | ~mask.any(1, keepdim=True))[:, None, None, :]
        for block in self.blocks:
            x = block(x, attend)
        return self.norm(x)  # type: ignore[no-any-return]


class _Layer(nn.Module):
    """Pre-norm transformer layer (Xiong et al. 2020)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # The most heads of 64 channels or more that share the width evenly.
        self.heads = next(n for n in range(max(1, width // 64), 0, -1) if width % n == 0)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, attend: Tensor) -> Tensor:
        batch, length, width = x.shape
        q, k, v = (
            self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=attend)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        hidden: Tensor = self.down(F.gelu(self.up(self.norm2(x))))
        return x + hidden
