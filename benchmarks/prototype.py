"""The baseline of `flow_quality.py`: a plain pixel transformer, as one would write it first.

Patches of 4x8x8, width 256, six layers, prediction of the clip with the loss on the velocity, Muon
on the hidden matrices, guidance 2, 25 Euler steps. Nothing of Muybridge's own network, objective,
optimizer or sampler is in it; only the clips come by the same loader.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from muybridge.core.clips import Batch

PATCH, WIDTH, DEPTH, HEADS = (4, 8, 8), 256, 6, 4


class Layer(nn.Module):
    """A transformer layer with adaLN-zero."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.LayerNorm(WIDTH, elementwise_affine=False)
        self.second = nn.LayerNorm(WIDTH, elementwise_affine=False)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )
        self.modulation = nn.Linear(WIDTH, 6 * WIDTH)
        nn.init.zeros_(self.modulation.weight)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x: (batch, tokens, width); condition: (batch, 1, width)."""
        a, b, c, d, e, f = self.modulation(condition).chunk(6, -1)
        q, k, v = self.qkv(self.first(x) * (1 + b) + a).chunk(3, -1)
        q, k, v = (y.unflatten(-1, (HEADS, -1)).transpose(1, 2) for y in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + c * self.out(mixed)
        return x + f * self.mlp(self.second(x) * (1 + e) + d)  # type: ignore[no-any-return]


class Network(nn.Module):
    """Predicts clean clips (batch, 16, 3, 64, 64)."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        pixels = 3 * math.prod(PATCH)
        self.embed, self.place = nn.Linear(pixels, WIDTH), nn.Parameter(torch.zeros(256, WIDTH))
        nn.init.normal_(self.place, std=0.2)
        self.level = nn.Sequential(nn.Linear(128, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH))
        self.label = nn.Embedding(labels + 1, WIDTH)
        nn.init.normal_(self.label.weight, std=0.02)
        self.blocks = nn.ModuleList(Layer() for _ in range(DEPTH))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, pixels)
        nn.init.zeros_(self.head.weight)

    def forward(self, clips: Tensor, level: Tensor, label: Tensor) -> Tensor:
        """Level, the share of noise, and label are (batch,)."""
        p, q, r = PATCH
        b, t, c, h, w = clips.shape
        x = clips.view(b, t // p, p, c, h // q, q, w // r, r).permute(0, 1, 4, 6, 2, 3, 5, 7)
        grid = x.shape
        angle = level[:, None] * 1000 ** torch.linspace(0, 1, 64)
        condition = self.level(torch.cat([angle.cos(), angle.sin()], -1)) + self.label(label)
        x = self.embed(x.reshape(b, 256, -1)) + self.place
        for block in self.blocks:
            x = block(x, F.silu(condition)[:, None])
        x = self.head(self.norm(x)).view(grid).permute(0, 1, 4, 5, 2, 6, 3, 7)
        return x.reshape(clips.shape).float()


class Trainer:
    """One step after another: `step` gives the loss."""

    def __init__(self, labels: int, mean: Tensor, std: Tensor, seed: int) -> None:
        torch.manual_seed(seed)
        self.labels, self.mean, self.std = labels, mean.view(3, 1, 1), std.view(3, 1, 1)
        self.network = Network(labels)
        self.average = copy.deepcopy(self.network)
        hidden = [p for n, p in self.network.named_parameters() if "blocks" in n and p.ndim == 2]
        chosen = {id(p) for p in hidden}
        rest = [p for p in self.network.parameters() if id(p) not in chosen]
        self.optimizers = [
            (torch.optim.Muon(hidden, lr=0.02, weight_decay=0.0), 0.02),
            (torch.optim.AdamW(rest, lr=1e-3, betas=(0.9, 0.99)), 1e-3),
        ]

    def step(self, batch: Batch, progress: float) -> float:
        """Takes one step at a share of the budget: up over 2 %, down over the last 30 %."""
        assert batch.label is not None
        clean = (batch.clips - self.mean) / self.std
        level = torch.sigmoid(torch.randn(len(clean)))
        label = torch.where(torch.rand(len(clean)) < 0.1, self.labels, batch.label)
        t, noise = level.view(-1, 1, 1, 1, 1), torch.randn_like(clean)
        with torch.autocast("cpu", torch.bfloat16):
            predicted = self.network((1 - t) * clean + t * noise, level, label)
        loss = ((predicted - clean) / t.clamp(min=0.05)).square().mean()
        self.network.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimizer, rate in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, progress / 0.02, (1 - progress) / 0.3)
            optimizer.step()
        for own, now in zip(self.average.parameters(), self.network.parameters(), strict=True):
            own.data.lerp_(now.data, 0.02)
        return float(loss.detach())

    def train(self, batches: Iterator[Batch], minutes: float) -> int:
        """Trains for some minutes; gives the number of steps."""
        begun, steps = time.perf_counter(), 0
        while (progress := (time.perf_counter() - begun) / (60 * minutes)) < 1:
            self.step(next(batches), progress)
            steps += 1
        return steps

    @torch.no_grad()
    def sample(self, label: Tensor, seed: int) -> Tensor:
        """Clips (n, 16, 3, 64, 64) in [-1, 1] of classes (n,)."""
        made = []
        generator = torch.Generator().manual_seed(seed)
        for part in label.split(16):
            x = torch.randn(len(part), 16, 3, 64, 64, generator=generator)
            both = torch.cat([part, torch.full_like(part, self.labels)])
            for i in range(25, 0, -1):
                level = torch.full((2 * len(x),), i / 25)
                with torch.autocast("cpu", torch.bfloat16):
                    said, unsaid = self.average(x.repeat(2, 1, 1, 1, 1), level, both).chunk(2)
                x = x - (x - (unsaid + 2 * (said - unsaid))) / (25 * (i / 25))
            made.append((x * self.std + self.mean).clamp(-1, 1))
        return torch.cat(made)
