"""Changes of clips that both sides of an adversarial game are shown under.

A discriminator that has seen few clips learns them by heart; one that sees real and made clips
changed by draws of one distribution cannot, and what is made is not changed by it, as long as a
clip is often enough left as it is (Karras et al. 2020, "Training Generative Adversarial Networks
with Limited Data"; Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN
Training"). Gradients pass through. A change is the same for all frames of a clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import pydantic
import torch
from torch import Tensor

from ..core import chance
from ..core.config import NotNegative, Section

Share = Annotated[float, pydantic.Field(ge=0, le=1)]


class Config(Section):
    """How clips are changed before the discriminator sees them, real and made alike."""

    probability: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.4
    """Of each kind of change, each by itself; above 0.8 or so changes are learned as if real."""
    brightness: NotNegative = 0.2
    """Deviation of what is added to a clip, in deviations of the data."""
    contrast: NotNegative = 0.3
    """Deviation of the logarithm of what a clip is multiplied by."""
    saturation: NotNegative = 0.3
    """Deviation of the logarithm of what is multiplied of colour less grey."""
    shift: Share = 0.125
    """Furthest move, as a share of height and width; the mean colour comes in at the edge."""
    hole: Share = 0.5
    """Side of a rectangle that is blanked, as a share of height and width."""
    flip: bool = False
    """Mirror left and right; wrong where words or labels tell a direction."""


_COLOURS = 3


def augmented(clips: Tensor, seeds: Tensor, uses: Sequence[str], config: Config) -> Tensor:
    """Changes each clip by draws of its own.

    Args:
        clips: (n, time, 3, height, width), standardised: 0 is the mean colour. As many times as
            there are `uses`, one for each of the seeds. Latents, which have other channels, are
            moved and blanked alone.
        seeds: each clip's own source of chance (n / uses,).
        uses: what names the draws of each of these parts.
    """
    if config.probability == 0:
        return clips

    def uniform(kind: str) -> Tensor:
        """Numbers in (0, 1), (n,)."""
        return torch.cat([chance.uniform(seeds, f"{use} {kind}") for use in uses])

    def drawn(kind: str) -> Tensor:
        """1 where a clip is to be changed in this way, else 0 (n,)."""
        return (uniform(f"{kind}?") < config.probability).float()

    def normal(kind: str) -> Tensor:
        """A standard normal number where a clip is to be changed, else 0 (n,)."""
        draw: Tensor = torch.special.ndtri(uniform(kind))
        return draw * drawn(kind)

    if clips.shape[2] == _COLOURS:
        clips = _coloured(
            clips,
            config.brightness * normal("brightness"),
            (config.contrast * normal("contrast")).exp(),
            (config.saturation * normal("saturation")).exp(),
        )
    far = config.shift * drawn("shift")
    mirrored = drawn("flip") * config.flip
    clips = _moved(
        clips, far * (2 * uniform("down") - 1), far * (2 * uniform("across") - 1), mirrored
    )
    side = config.hole * drawn("hole")
    return clips * _holes(clips, uniform("hole down"), uniform("hole across"), side)


def _coloured(clips: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor) -> Tensor:
    """All three as one matrix and one offset a clip."""
    grey = torch.full((3, 3), 1 / 3, device=clips.device)
    colour = torch.eye(3, device=clips.device) - grey
    matrix = contrast.view(-1, 1, 1) * (grey + saturation.view(-1, 1, 1) * colour)
    made = matrix[:, None] @ clips.flatten(3)
    return (made + brightness.view(-1, 1, 1, 1).to(made)).view(clips.shape)


def _moved(clips: Tensor, down: Tensor, across: Tensor, mirrored: Tensor) -> Tensor:
    """Moves whole pixels by shares of height and width, and mirrors left and right where that is 1.

    As products with matrices of 0 and 1, whose gradient's gradient is fast too.
    """
    rows, columns = (
        _places(side, share, turn)
        for side, share, turn in zip(
            clips.shape[-2:], (down, across), (torch.zeros_like(mirrored), mirrored), strict=True
        )
    )
    return rows[:, None, None] @ clips @ columns[:, None, None].transpose(-1, -2)


def _places(side: int, share: Tensor, mirrored: Tensor) -> Tensor:
    """(n, side, side): 1 where a new place has what was at an old one."""
    new = torch.arange(side, device=share.device)[:, None]
    old = new - (share * side).round()[:, None, None]
    old = torch.where(mirrored[:, None, None] > 0, side - 1 - old, old)
    return (old == new.T).float()


def _holes(clips: Tensor, down: Tensor, across: Tensor, side: Tensor) -> Tensor:
    """0 within a rectangle of `side` about a middle, 1 outside: (n, 1, 1, height, width)."""
    inside = []
    for length, middle in zip(clips.shape[-2:], (down, across), strict=True):
        places = (torch.arange(length, device=clips.device) + 0.5) / length
        inside.append((places - middle[:, None]).abs() < side[:, None] / 2)
    hole = inside[0][:, :, None] & inside[1][:, None]
    return 1 - hole[:, None, None].to(clips)
