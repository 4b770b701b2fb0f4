"""What conditions a clip, its class and its words, as networks take it; and how it is hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from ..core import chance
from ..core.clips import Batch
from .base import SampleRequest
from .given import Given


class TextEncoder(Protocol):
    """What `models/text.py` has, and a pretrained encoder would."""

    def tokenize(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Captions to token numbers (batch, length) and a mask, True at tokens."""

    def __call__(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Features (batch, length, width)."""


@dataclass(frozen=True)
class Conditions:
    """What a network is told of clips.

    Attributes:
        label: classes (batch,), the number of classes standing for "not said"; None without labels.
        words: features of text (batch, length, width); None without text.
        mask: (batch, length), False where there is no word.
        given: pixels and pictures; None where there are none.
    """

    label: Tensor | None = None
    words: Tensor | None = None
    mask: Tensor | None = None
    given: Given | None = None

    @property
    def told(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The last arguments of a network's call."""
        return self.label, self.words, self.mask

    @property
    def any(self) -> bool:
        """Whether there is one, without which guidance has no meaning."""
        return self.label is not None or self.words is not None

    def says(self, unsaid: int, count: int) -> Tensor:
        """Of which of the clips anything is said, bool (count,)."""
        words = torch.zeros(count, dtype=torch.bool) if self.mask is None else self.mask.any(1)
        return words if self.label is None else words.to(self.label.device) | (self.label != unsaid)

    def rows(self, places: Tensor) -> Conditions:
        """Those of some of the clips."""
        label, words, mask = (None if one is None else one[places] for one in self.told)
        return Conditions(label, words, mask, self.given.rows(places) if self.given else None)

    def none(self, unsaid: int) -> Conditions:
        """As many, of which nothing is said; what is given stays."""
        label, words, mask = self.told
        return Conditions(
            None if label is None else torch.full_like(label, unsaid),
            words,
            None if mask is None else torch.zeros_like(mask),
            self.given,
        )

    def beside_none(self, unsaid: int) -> Conditions:
        """Twice as many: these, then as many of which nothing is said, for guidance."""
        pairs = zip(self.told, self.none(unsaid).told, strict=True)
        label, words, mask = (
            None if a is None or b is None else torch.cat([a, b]) for a, b in pairs
        )
        return Conditions(label, words, mask, self.given.twice() if self.given else None)


def read(encoder: nn.Module | None, given: Batch | SampleRequest) -> Conditions:
    """Conditions of a batch or a request; text only where there is an encoder for it."""
    if given.text is None or encoder is None:
        return Conditions(given.label)
    words = cast(TextEncoder, encoder)
    tokens, mask = (found.to(given.times.device) for found in words.tokenize(given.text))
    return Conditions(given.label, words(tokens, mask), mask)


def dropped(batch: Batch, share: float, one: float, unsaid: int) -> Batch:
    """Hides conditions at random (Ho and Salimans 2022): all of them in a `share` of the clips;
    where clips have text and label, one in a share `one` of them and the other in as many."""
    draw = chance.uniform(batch.seeds, "drop")
    nothing = draw < share
    one = one if batch.text is not None and batch.label is not None else 0.0
    no_text = nothing | ((draw >= share) & (draw < share + one))
    no_label = nothing | (draw > 1 - one)
    text, label = batch.text, batch.label
    if text is not None:
        text = tuple(
            "" if hide else words for words, hide in zip(text, no_text.tolist(), strict=True)
        )
    if label is not None:
        label = torch.where(no_label, unsaid, label)
    return replace(batch, text=text, label=label)
