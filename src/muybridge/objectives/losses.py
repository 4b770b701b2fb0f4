"""How far made clips are from real ones: parts that a recipe weighs and adds up."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.config import NotNegative, Section
from ..core.errors import RecipeError


class Config(Section):
    """The weight of each part; 0 leaves it out. Pixels are in [-1, 1]."""

    mse: NotNegative = 0.0
    """Squared error: sure of its mean, blurred where several things may happen."""
    l1: NotNegative = 0.0
    """Absolute error: sharper edges."""
    huber: NotNegative = 0.0
    """Squared below a tenth of the brightness range's half, absolute above (Huber 1964)."""
    gradient: NotNegative = 0.0
    """Difference of the sizes of spatial gradients, against blur (Mathieu et al. 2016, "Deep
    multi-scale video prediction beyond mean square error", eq. 6 with alpha 1)."""
    motion: NotNegative = 0.0
    """Change along the real clip's optical flow, against flicker (Lai et al. 2018, "Learning Blind
    Video Temporal Consistency", eq. 3); costs a flow field a frame."""

    perceptual: NotNegative = 0.0
    """Distance of features, by the network that the recipe's `perceptual` names (Zhang et al. 2018,
    "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric")."""

    adversarial: NotNegative = 0.0
    """How much less real than the real clip it looks to the discriminator of the recipe's `critic`,
    which learns beside it."""

    @property
    def used(self) -> dict[str, float]:
        """The weights of the parts that are not left out, by name."""
        return {name: weight for name, weight in self.model_dump().items() if weight}

    @property
    def framewise(self) -> tuple[str, ...]:
        """Those that are of each frame: all but the critic's."""
        return tuple(name for name in self.used if name != "adversarial")


_KNEE = 0.1
_TRUST = 50.0


Distance = Callable[[Tensor, Tensor], Tensor]


def compare(
    made: Tensor, real: Tensor, weight: Tensor, config: Config, perceptual: Distance | None = None
) -> dict[str, Tensor]:
    """Per-clip sums over frames of each part in use but the critic's, each (batch,).

    Args:
        made, real: (batch, time, channel, height, width) in [-1, 1].
        weight: how much each frame counts, (batch, time).
        perceptual: what the part of that name compares by, as `Parts` has it.

    Raises:
        RecipeError: that part is in use, and there is no network for it.
    """
    kinds: dict[str, Distance] = {
        "mse": _mse, "l1": _l1, "huber": _huber, "gradient": _gradient, "motion": _motion,
    }  # fmt: skip
    if config.perceptual:
        if perceptual is None:
            raise RecipeError(
                f"perceptual = {config.perceptual:g} in a loss, but the recipe names no network",
                "add perceptual: {run: RUN} of kind vae, or perceptual: {weights: FOLDER} of LPIPS",
            )
        kinds["perceptual"] = perceptual
    return {name: (kinds[name](made, real) * weight).sum(1) for name in config.framewise}


def _mse(made: Tensor, real: Tensor) -> Tensor:
    return (made - real).square().mean((2, 3, 4))


def _l1(made: Tensor, real: Tensor) -> Tensor:
    return (made - real).abs().mean((2, 3, 4))


def _huber(made: Tensor, real: Tensor) -> Tensor:
    return F.huber_loss(made, real, reduction="none", delta=_KNEE).mean((2, 3, 4)) / _KNEE


def _gradient(made: Tensor, real: Tensor) -> Tensor:
    across = (made.diff(dim=4).abs() - real.diff(dim=4).abs()).abs().mean((2, 3, 4))
    down = (made.diff(dim=3).abs() - real.diff(dim=3).abs()).abs().mean((2, 3, 4))
    return across + down


def _motion(made: Tensor, real: Tensor) -> Tensor:
    """0 for the first frame, which nothing comes before."""
    flows = optical_flow(real)
    before = warped(real[:, :-1].flatten(0, 1), flows.flatten(0, 1))
    off = (real[:, 1:].flatten(0, 1) - before).square().sum(1, keepdim=True)
    seen = torch.exp(-_TRUST * off)
    change = made[:, 1:].flatten(0, 1) - warped(made[:, :-1].flatten(0, 1), flows.flatten(0, 1))
    each = (seen * change.abs()).mean((1, 2, 3)).view(flows.shape[:2])
    return F.pad(each, (1, 0))


def optical_flow(clips: Tensor) -> Tensor:
    """Where each pixel of a frame was in the frame before: (batch, time - 1, 2, height, width), in
    pixels, across and down (Kroeger et al. 2016, "Fast Optical Flow using Dense Inverse
    Search")."""
    import cv2

    grey = ((clips.detach().float().mean(2) + 1) * 127.5).clamp(0, 255).byte().cpu().numpy()
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    batch, time, height, width = grey.shape
    flows = np.zeros((batch, time - 1, height, width, 2), np.float32)
    for clip, found in zip(grey, flows, strict=True):
        for place in range(time - 1):
            search.calc(clip[place + 1], clip[place], found[place])
    return torch.from_numpy(flows).movedim(-1, 2).to(clips.device)


def warped(frames: Tensor, flow: Tensor) -> Tensor:
    """Frames (n, channel, height, width) looked up at each pixel plus `flow` (n, 2, h, w)."""
    height, width = frames.shape[-2:]
    rows = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None]
    columns = torch.arange(width, device=flow.device, dtype=flow.dtype)
    across = (columns + flow[:, 0] + 0.5) * 2 / width - 1
    down = (rows + flow[:, 1] + 0.5) * 2 / height - 1
    where = torch.stack([across, down], -1).to(frames.dtype)
    return F.grid_sample(frames, where, padding_mode="border", align_corners=False)
