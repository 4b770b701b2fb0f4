"""What a batch of clips is: float32 (batch, time, channel, height, width), RGB, in [-1, 1]."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Clips and what is known of them.

    Attributes:
        clips: float32 (batch, time, 3, height, width) in [-1, 1].
        times: presentation time of each frame in seconds, float32 (batch, time).
        frame_weight: 0 where a frame was invented in repair, else 1, float32 (batch, time).
        seeds: each clip's own source of chance, int64 (batch,).
        names: what each clip is called in the dataset.
        text: captions, or None where the data has none.
        label: class numbers, int64 (batch,), or None.
    """

    clips: Tensor
    times: Tensor
    frame_weight: Tensor
    seeds: Tensor
    names: tuple[str, ...] = ()
    text: tuple[str, ...] | None = None
    label: Tensor | None = None

    def __len__(self) -> int:
        return len(self.clips)

    def part(self, begin: int, end: int) -> Batch:
        """Clips `begin` up to `end`."""
        return Batch(
            **{
                field.name: None if value is None else value[begin:end]
                for field in dataclasses.fields(self)
                for value in (getattr(self, field.name),)
            }
        )

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return Batch(
            **{
                field.name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
                for field in dataclasses.fields(self)
                for value in (getattr(self, field.name),)
            }
        )


def from_uint8(frames: Tensor) -> Tensor:
    """uint8 (..., height, width, 3) to float32 (..., 3, height, width) in [-1, 1]."""
    return frames.movedim(-1, -3).float().div_(127.5).sub_(1.0).contiguous()
