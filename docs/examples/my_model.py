"""A family of one's own: a small convolutional network, trained by flow matching.

`muybridge train docs/examples/my_recipe.yaml --data dataset --out runs/mine`
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from muybridge.core.config import Section


class Config(Section):
    """The network's shape; `--set model.width=64` changes it."""

    width: int = 48
    """Channels."""
    depth: int = 6
    """Residual blocks."""
    labels: int = 0
    """Classes, filled in from the dataset."""


SIZES = {"nano": {"width": 24, "depth": 4}, "small": {}}


def build(config: Config) -> nn.Module:
    """What `kind: my_model.py` in a recipe calls."""
    return Network(config)


class Network(nn.Module):
    """Predicts clean clips from noisy ones; Muon updates what is in `blocks`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, n = config, config.width
        self.stem = nn.Conv3d(3 * 16, n, 3, padding=1)  # 4 x 4 pixels become one place
        self.told = nn.Linear(1, n)
        self.label = nn.Embedding(config.labels + 1, n)  # the last one: not said
        self.blocks = nn.ModuleList(nn.Conv3d(n, n, 3, padding=1) for _ in range(config.depth))
        self.head = nn.Conv3d(n, 3 * 16, 3, padding=1)

    def forward(
        self, clips: Tensor, level: Tensor, times: Tensor, label: Tensor | None, *text: object
    ) -> Tensor:
        """Clips (batch, time, 3, height, width) and their share of noise (batch,)."""
        if label is None:
            label = torch.full((len(clips),), self.config.labels, device=clips.device)
        said = self.told(level[:, None]) + self.label(label)
        x = self.stem(F.pixel_unshuffle(clips, 4).transpose(1, 2))
        for block in self.blocks:
            x = x + block(F.silu(x + said[:, :, None, None, None]))
        return F.pixel_shuffle(self.head(F.silu(x)).transpose(1, 2), 4)
