"""C3D with the 101 classes of UCF-101: the network of the Inception Score of videos.

Tran et al. 2015, "Learning Spatiotemporal Features with 3D Convolutional Networks"; Saito et al.
2017, "Temporal Generative Adversarial Nets with Singular Value Clipping" (TGAN), section 5.3, for
the score. Layers are named as in TGAN's published file.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 112
"""Height and width of its frames."""
FRAMES = 16
"""Frames of a clip: neither more nor fewer fit the first dense layer."""
CLASSES = 101

# Output channels; a pooling follows the layers named in _POOLED.
_CONVOLUTIONS = {
    "conv1a": 64, "conv2a": 128, "conv3a": 256, "conv3b": 256,
    "conv4a": 512, "conv4b": 512, "conv5a": 512, "conv5b": 512,
}  # fmt: skip
_POOLED = {"conv1a", "conv2a", "conv3b", "conv4b", "conv5b"}


class C3D(nn.Module):
    """The network. `mean` is that of its training data, (3, 16, 128, 171), blue first, 0 to 255."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3, FRAMES, 128, 171))
        width = 3
        for name, outputs in _CONVOLUTIONS.items():
            self.add_module(name, nn.Conv3d(width, outputs, 3, padding=1))
            width = outputs
        self.fc6 = nn.Linear(width * 4 * 4, 4096)
        self.fc7 = nn.Linear(4096, 4096)
        self.fc8 = nn.Linear(4096, CLASSES)

    def forward(self, clips: Tensor) -> Tensor:
        """Scores of the 101 classes.

        Args:
            clips: float32 (n, 3, 16, 112, 112), RGB, in [-1, 1].

        Returns:
            (n, 101).
        """
        # TGAN takes this corner of the mean, where C3D's authors take the middle.
        mean = self.mean[:, :, 8 : 8 + SIDE, 8 : 8 + SIDE]
        x = clips.flip(1) * 128 + (128 - mean)
        for name in _CONVOLUTIONS:
            x = F.relu(self.get_submodule(name)(x))
            if name in _POOLED:
                # Time stays whole at first. The last 7 rows and columns make 4: rounded up.
                kernel = (1 if name == "conv1a" else 2, 2, 2)
                x = F.max_pool3d(x, kernel, ceil_mode=True)
        x = F.relu(self.fc7(F.relu(self.fc6(x.flatten(1)))))
        scores: Tensor = self.fc8(x)
        return scores


def network() -> C3D:
    """The network with weights yet to be loaded."""
    return C3D()
