"""What an autoencoder's latents keep of held-out clips, beside plain scaling to as many values.

    python benchmarks/tokenizer.py RUN

RUN is one of the recipe `vae`, on the stage or on footage of your own. Errors are of moving pixels:
those that change by more than a twentieth of the range from one frame to a neighbour.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from common import report
from torch import Tensor

import muybridge as mb
from muybridge.data.store import Dataset
from muybridge.models.tiles import tiled

CLIPS, CHUNK, MOVES = 128, 16, 0.1


def moving(clips: Tensor) -> Tensor:
    """1 where a pixel changes, (n, time, 1, height, width)."""
    change = (clips.diff(dim=1).abs().amax(2, keepdim=True) > MOVES).float()
    return torch.maximum(F.pad(change, (0,) * 7 + (1,)), F.pad(change, (0,) * 6 + (1, 0)))


class Error:
    """Peak signal to noise over the pixels that move, and over all."""

    def __init__(self) -> None:
        self.sums = torch.zeros(4, dtype=torch.float64)

    def add(self, made: Tensor, clips: Tensor, where: Tensor) -> None:
        """Takes in some clips."""
        off = (made.clamp(-1, 1) - clips).square().mean(2, keepdim=True)
        pairs = ((off * where).sum(), where.sum(), off.sum(), torch.tensor(float(off.numel())))
        self.sums += torch.stack(pairs).double()

    @property
    def psnr(self) -> tuple[float, float]:
        """In dB, of moving pixels and of all."""
        a, b, c, d = self.sums.tolist()
        return 10 * math.log10(4 * b / a), 10 * math.log10(4 * d / c)


def scaled(clips: Tensor, values: int, frames: int) -> Tensor:
    """Clips brought down to at most so many values, so many of them frames, and up again."""
    x = clips.transpose(1, 2)
    side = int((values / 3 / frames) ** 0.5)
    small = F.adaptive_avg_pool3d(x, (frames, side, side))
    back = F.interpolate(small, x.shape[2:], mode="trilinear", align_corners=False)
    return back.transpose(1, 2)


def main() -> None:
    """Prints and keeps the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    args = parser.parse_args()
    run = mb.Run.open(args.run)
    objective, position = run.trained()
    network: Any = objective.generator.get_submodule("network")
    test = run.loader(Dataset.open(run.recipe.data.folder), "test")
    values = network.channels * math.prod(run.recipe.data.size) * run.recipe.data.frames
    values //= math.prod(network.stride)
    ways = {"latents": lambda x: network.decode(network.encode(x))}
    ways["in pieces of 4 frames"] = lambda x: torch.cat(
        list(network.decode_pieces(torch.cat(list(network.encode_pieces(x, 4)), 1), 1)), 1
    )
    ways["in tiles of 32 x 32, half of each shared"] = lambda x: tiled(
        network.decode,
        tiled(network.encode, x, (32, 32), (16, 16), 1 / network.stride[1]),
        (32 // network.stride[1],) * 2,
        (16 // network.stride[1],) * 2,
        network.stride[1],
    )
    for frames in (2, 4, 6, 8, 11, 16):
        name = f"scaled to {frames} frames of {int((values / 3 / frames) ** 0.5)} squared"
        ways[name] = lambda x, frames=frames: scaled(x, values, frames)  # type: ignore[misc]
    errors = {name: Error() for name in ways}
    for begin in range(0, CLIPS, CHUNK):
        clips = test.fixed(CLIPS, begin, begin + CHUNK).clips
        where = moving(clips)
        for name, way in ways.items():
            with torch.no_grad():
                errors[name].add(way(clips), clips, where)
    about = {"values": values, "minutes": position.seconds / 60, "steps": position.step}
    rows = [
        {"way": name, "moving": error.psnr[0], "all": error.psnr[1], **about}
        for name, error in errors.items()
    ]
    report("tokenizer", rows)


if __name__ == "__main__":
    main()
