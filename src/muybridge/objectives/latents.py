"""Clips as a tokenizer's latents: what a flow or a transformer over them trains on."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from ..core.clips import Batch


class Tokenizer(Protocol):
    """What `models/vae.py` has, and a pretrained tokenizer would."""

    stride: tuple[int, int, int]
    channels: int

    def encode(self, clips: Tensor) -> Tensor:
        """Clips (batch, time, 3, height, width) to latents (batch, t, channels, h, w)."""

    def decode(self, latents: Tensor) -> Tensor:
        """Latents to clips, not clamped."""


class Latents:
    """A tokenizer that is not trained, and so is no part of the objective's own state."""

    def __init__(self, tokenizer: nn.Module) -> None:
        self.module = tokenizer.eval().requires_grad_(False)
        self.tokenizer = cast(Tokenizer, tokenizer)
        self.stride, self.channels = self.tokenizer.stride, self.tokenizer.channels

    def encoded(self, batch: Batch) -> Batch:
        """The batch with latents for clips; latents that came with it are taken."""
        made = batch.latents
        if made is None:
            self.module.to(batch.clips.device)
            with torch.no_grad():
                made = self.tokenizer.encode(batch.clips)
        return replace(
            batch,
            clips=made,
            times=self.over_time(batch.times),
            frame_weight=self.over_time(batch.frame_weight),
        )

    def over_time(self, values: Tensor) -> Tensor:
        """Numbers of frames (batch, time) as those of latents (batch, t)."""
        return over_time(values, self.stride[0])

    def shape(self, frames: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Of the latents of a clip: (t, channels, h, w)."""
        a, b, c = self.stride
        return frames // a, self.channels, size[0] // b, size[1] // c

    def decoded(self, latents: Tensor) -> Tensor:
        """Clips in [-1, 1]."""
        self.module.to(latents.device)
        return self.tokenizer.decode(latents).clamp(-1, 1)


def over_time(values: Tensor, frames: int) -> Tensor:
    """Means of numbers a frame (batch, time) over every so many frames, (batch, t)."""
    return values.view(len(values), -1, frames).mean(2)
