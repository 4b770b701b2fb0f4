"""A network that tells things from their background, trained on the stage, whose masks are known.

Beside `foreground`, which needs no training: it also knows what things look like, and so finds them
where they stand still or pass behind something. On footage unlike the stage it may find nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..core import chance, files
from ..core.errors import DataError
from ..core.progress import bar
from ..core.video import Frames
from ..data import stage
from .foreground import Share, spread

FORMAT = 1
_WIDTHS = (16, 32, 64)
_SIDE = 64
"""Pixels of the shorter side of what it looks at."""
_CLIPS, _MOMENTS, _RATE = 8, 4, 3e-3
_KEPT = 997
"""Of all clips of a stage, one in so many is for judging: index `_KEPT` times n."""


class Network(nn.Module):
    """A small U-Net (Ronneberger et al. 2015) over single frames."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (9, *_WIDTHS)
        self.down = nn.ModuleList(_layers(a, b) for a, b in zip(inputs, _WIDTHS, strict=False))
        back = list(zip(_WIDTHS[:0:-1], _WIDTHS[-2::-1], strict=True))
        self.up = nn.ModuleList(_layers(a + b, b) for a, b in back)
        self.last = nn.Conv2d(_WIDTHS[0], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, height, width) of what `seen` gives, (n, 9, height, width)."""
        kept = []
        for place, layers in enumerate(self.down):
            x = layers(F.max_pool2d(x, 2, ceil_mode=True) if place else x)
            kept.append(x)
        for layers, fine in zip(self.up, kept[-2::-1], strict=True):
            large = F.interpolate(x, fine.shape[-2:], mode="bilinear")
            x = layers(torch.cat([large, fine], 1))
        made: Tensor = self.last(x)[:, 0]
        return made


def _layers(inputs: int, outputs: int) -> nn.Sequential:
    first, second = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, 1, 1)
    return nn.Sequential(first, nn.ReLU(), nn.GroupNorm(4, outputs), second, nn.ReLU())


_AT_ONCE = 64


def seen(
    frames: Sequence[Frames], usual: Tensor | None = None, last: Frames | None = None
) -> Tensor:
    """What the network looks at, float32 (n, 9, height, width): each frame, what sets it apart from
    its pixels' medians over time, and from the frame before.

    Args:
        frames: uint8 (height, width, 3) each.
        usual: the medians, (3, height, width); None for those of these frames.
        last: the frame before the first; None for the first itself.
    """
    clip = _plain(frames)
    before = torch.cat([clip[:1] if last is None else _plain([last]), clip[:-1]])
    return torch.cat([clip, clip - (_usual(clip) if usual is None else usual), clip - before], 1)


def _plain(frames: Sequence[Frames]) -> Tensor:
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1


def _usual(clip: Tensor) -> Tensor:
    return clip.median(0).values


@dataclass(frozen=True)
class Segmenter:
    """A trained network, and how it was made."""

    network: Network
    facts: Mapping[str, Any]

    def foreground(self, frames: Sequence[Frames]) -> list[Share]:
        """Share of each pixel that belongs to a thing, as `foreground.foreground` gives it.

        Args:
            frames: uint8 (height, width, 3) each, of one shot.
        """
        height, width = frames[0].shape[:2]
        scale = _SIDE / min(height, width)
        small = list(frames)
        if scale < 1:
            size = (round(width * scale), round(height * scale))
            resized = (cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in frames)
            small = [np.asarray(one, np.uint8) for one in resized]
        usual, found = _usual(_plain(spread(small))), list[Tensor]()
        with torch.inference_mode():
            for begin in range(0, len(small), _AT_ONCE):
                part, last = small[begin : begin + _AT_ONCE], small[begin - 1] if begin else None
                share = self.network(seen(part, usual, last)).sigmoid()[:, None]
                found += F.interpolate(share, (height, width), mode="bilinear")[:, 0].unbind()
        return [np.asarray(one.numpy(), np.float32) for one in found]

    def save(self, path: Path) -> None:
        """Writes one file of weights and facts."""
        tensors = {name: value.contiguous() for name, value in self.network.state_dict().items()}
        with files.atomic(path) as place:
            save_file(tensors, place, {"muybridge": json.dumps(dict(self.facts))})


def load(path: Path) -> Segmenter:
    """Reads what `save` wrote.

    Raises:
        DataError: it is something else.
    """
    hint = "make one: muybridge segmenter --out segmenter.safetensors"
    try:
        with safe_open(path, "pt") as opened:
            facts = json.loads((opened.metadata() or {})["muybridge"])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        network = Network().eval()
        network.load_state_dict(tensors)
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise DataError(f"--segmenter {path} is no segmenter ({error})"[:300], hint) from error
    if facts.get("format") != FORMAT:
        raise DataError(f"--segmenter {path} has format {facts.get('format')}", hint)
    return Segmenter(network, facts)


def train(steps: int, seed: int = 0) -> Segmenter:
    """Trains on clips of the stage that are drawn on the way, no clip twice.

    The same steps, seed, machine and number of threads give the same weights.
    """
    settings = stage.Settings((_SIDE, _SIDE), 8.0, 2.0, seed, tuple(stage.MOTIONS))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(chance.mix(seed, "segmenter"))
        network = Network().train()
    optimizer = torch.optim.AdamW(network.parameters(), _RATE)
    plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
    random, index = np.random.default_rng(seed), 0
    with bar("segmenter", steps) as advance:
        for _ in range(steps):
            looks, masks = [], []
            for _ in range(_CLIPS):
                index += 1 + ((index + 1) % _KEPT == 0)
                look, mask = _clip(settings, index)
                moments = random.choice(len(look), _MOMENTS, replace=False)
                looks.append(look[moments])
                masks.append(mask[moments])
            logits = network(torch.cat(looks))
            loss = F.binary_cross_entropy_with_logits(logits, torch.cat(masks))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            plan.step()
            advance(note=f"loss {float(loss.detach()):.3f}")
    facts = {"format": FORMAT, "steps": steps, "seed": seed, "torch": torch.__version__}
    return Segmenter(network.eval(), facts)


def _clip(settings: stage.Settings, index: int) -> tuple[Tensor, Tensor]:
    """What is seen of a clip, and its things' masks, float32 (time, height, width)."""
    frames, truth = stage.render(settings, index)
    return seen(list(frames)), torch.from_numpy(true_masks(truth)).float()


def true_masks(truth: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
    """Where any thing is seen, (time, height, width)."""
    things = range(len(truth["objects"]))
    frames = range(len(truth["frames"]))
    return np.stack([np.any([stage.mask_of(truth, at, n) for n in things], 0) for at in frames])


def kept_clips(motion: str, count: int, seed: int = 0) -> list[tuple[list[Frames], Any]]:
    """Clips of one kind of motion that training never draws, and their masks."""
    made: list[tuple[list[Frames], Any]] = []
    n = 0
    settings = stage.Settings((_SIDE, _SIDE), 8.0, 2.0, seed, tuple(stage.MOTIONS))
    while len(made) < count:
        n += _KEPT
        if stage.combination_at(seed, n, settings.motions)[2] == motion:
            frames, truth = stage.render(settings, n)
            made.append((list(frames), true_masks(truth)))
    return made


def overlap(found: Sequence[Share], real: npt.NDArray[np.bool_]) -> float:
    """Intersection over union of all frames of a clip together."""
    those = np.stack(found) > 0.5
    return float((those & real).sum() / max(1, (those | real).sum()))
