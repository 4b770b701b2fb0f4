"""An extractor of features that learns from the user's own training split, without labels.

It learns two things at once. Which windows are of the same footage (InfoNCE; van den Oord et al.
2018, "Representation learning with contrastive predictive coding"; Chen et al. 2020, "A simple
framework for contrastive learning of visual representations"): so it tells modes apart. And what
was done to a window, and how much of it: the flaws of `pretext`, and speed. So it is not blind to
time, as features learned from sameness alone would be.

Numbers made with it compare only where the SHA-256 of its weights is the same.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ..core import chance
from ..core.clips import to_float
from ..core.config import Count, NotNegative, Positive, Section
from ..core.errors import DataError, MuybridgeError
from ..core.progress import bar
from ..core.video import to_uint8
from ..data import augment
from ..data.loader import Loader
from ..models import encoder3d
from . import pretext, weights

Array = npt.NDArray[np.float64]

# Fewer clips than this teach what these clips are, not what footage is like.
LEAST_CLIPS = 16
# Windows of a clip that training draws from, and clips that pass through the network at once.
_MOMENTS, _TOGETHER = 16, 32
# Speeds shown beside the true one, where the footage is stored finely or long enough.
_SPEEDS = (0.5, 0.67, 1.33, 2.0)
_TASKS = (*pretext.FLAWS, "speed")
_VARIED = augment.Config(flip=0.5, zoom=0.2, brightness=0.05, contrast=0.1, saturation=0.1)


class Config(Section):
    """How the extractor is trained."""

    features: Annotated[int, Field(ge=2)] = 64
    """Numbers for a clip."""
    encoder: encoder3d.Config = encoder3d.Config(differences=True)
    """The network's shape."""
    steps: Count = 350
    """Updates: steps, not minutes, so that the same weights come out on a busy machine."""
    batch: Annotated[int, Field(ge=4)] = 16
    """Clips in an update; two windows of each."""
    learning_rate: Positive = 2e-3
    """At its peak; it rises over the first tenth and falls as a cosine."""
    weight_decay: NotNegative = 0.05
    """Of AdamW."""
    temperature: Positive = 0.2
    """Of the contrastive task."""
    flaws: NotNegative = 1.0
    """Weight of telling flaws, against 1 for telling footage."""
    seed: int = 0
    """Of weights, order, moments and flaws."""


class Network(nn.Module):
    """The encoder, its projection to features, and the heads that the tasks need."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.encoder = encoder3d.network(config.encoder)
        # The encoder does not normalise; learning from its features as they are is far slower.
        self.even = nn.BatchNorm1d(self.encoder.features, affine=False)
        self.project = nn.Linear(self.encoder.features, config.features)
        self.footage = _head(config.features, 64)
        self.flaws = _head(config.features, len(_TASKS))
        self.register_buffer("mean", torch.zeros(config.features))
        self.register_buffer("deviation", torch.ones(config.features))

    def forward(self, clips: Tensor) -> Tensor:
        """Features of clips (n, time, 3, height, width), (n, features), not yet standardised."""
        features: Tensor = self.project(self.even(self.encoder(clips)))
        return features


def _head(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.SiLU(), nn.Linear(inputs, 128), nn.SiLU(), nn.Linear(128, outputs))


@dataclass(frozen=True)
class Learned:
    """A trained extractor.

    Attributes:
        network: in evaluation mode.
        digest: SHA-256 of its weights.
        facts: what it was trained on and how, and the curves of the losses; plain values.
    """

    network: Network
    digest: str
    facts: dict[str, Any]

    @torch.no_grad()
    def features(self, clips: Tensor) -> Array:
        """Features, of mean 0 and deviation 1 over the training split.

        Args:
            clips: float32 (n, time, 3, height, width) in [-1, 1]; `encoder3d.LEAST` is the least
                extent.

        Returns:
            (n, features) float64; a row depends on its clip alone, but for the last digits of
            float32.

        Raises:
            MuybridgeError: clips of a form that the network cannot take.
        """
        try:
            rows = [self.network(part.float()) for part in torch.split(clips, _TOGETHER)]
        except ValueError as error:
            raise MuybridgeError(
                f"the learned extractor cannot take {error}", "longer or larger clips are needed"
            ) from error
        if not rows:
            return np.zeros((0, len(self.network.mean)))
        found = (torch.cat(rows) - self.network.mean) / self.network.deviation
        return np.asarray(found.double().numpy())


def cached(
    folder: Path, loader: Loader, config: Config, validation: Loader | None = None
) -> Learned:
    """The extractor kept in `folder` for this data, these settings and this code; trained and kept
    there where there is none, or where it is damaged. A killed training begins again.

    Raises:
        DataError: as `train`.
    """
    loaders = [loader] + ([validation] if validation else [])
    code = [sys.modules[__name__], encoder3d, pretext, augment]
    key = weights.key_of(loaders, config.model_dump(), code)
    place = Path(folder) / f"learned-{key[:16]}"
    found = weights.kept(place, "the learned extractor")
    if found is not None:
        network = Network(config).eval()
        network.load_state_dict(found[0])
        return Learned(network, weights.digest_of(network), found[1]["facts"])
    made = train(loader, config, validation)
    weights.keep(place, made.network, {"key": key, "digest": made.digest, "facts": made.facts})
    return made


def train(loader: Loader, config: Config, validation: Loader | None = None) -> Learned:
    """Trains an extractor on the clips of one split.

    The same loader, settings, machine and number of threads give the same weights. Torch's own
    generator is left as it was.

    Args:
        loader: of the training split.
        config: how.
        validation: clips that curves are also drawn for; they decide nothing.

    Raises:
        DataError: fewer than `LEAST_CLIPS` clips.
    """
    windows = Windows(loader)
    if len(windows) < LEAST_CLIPS:
        raise DataError(
            f"a learned extractor needs {LEAST_CLIPS} clips that are long enough; the "
            f"{loader.split} split has {len(windows)}",
            "add footage; the offline distances, appearance and motion, need none",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(chance.mix(config.seed, "learned extractor"))
        network = Network(config)
    held_out = Windows(validation) if validation else None
    curves = _learn(network, windows, held_out, config)
    network.eval()
    _standardise(network, loader, windows)
    facts = {
        "config": config.model_dump(mode="json"),
        "dataset": loader.dataset.facts["digest"],
        "split": loader.split,
        "clips": len(windows),
        "frames": loader.config.frames,
        "fps": loader.config.fps,
        "size": list(loader.config.size),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "tasks": list(_TASKS),
        "curves": curves,
    }
    return Learned(network, weights.digest_of(network), facts)


def _learn(
    network: Network, windows: Windows, held_out: Windows | None, config: Config
) -> list[dict[str, float]]:
    optimizer = torch.optim.AdamW(
        network.parameters(), config.learning_rate, (0.9, 0.98), weight_decay=config.weight_decay
    )
    every, curves, sums = max(1, config.steps // 10), [], torch.zeros(2, dtype=torch.float64)
    with bar("learned extractor", config.steps) as advance:
        for step, chosen in enumerate(_order(len(windows), config)):
            rate = min(1.0, 10 * (step + 1) / config.steps)
            rate *= 0.5 + 0.5 * math.cos(math.pi * step / config.steps)
            optimizer.param_groups[0]["lr"] = config.learning_rate * rate
            network.train()
            loss = _losses(network, windows.pairs(chosen, config.seed, step), config)
            optimizer.zero_grad()
            torch.autograd.backward(loss[0] + config.flaws * loss[1])
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            sums += loss.detach()
            if (step + 1) % every == 0:
                told = {"step": float(step + 1)}
                told |= {"footage": float(sums[0]) / every, "flaws": float(sums[1]) / every}
                sums.zero_()
                curves.append(told | _held_out(network, held_out, config))
            advance(note=f"loss {float(loss.detach().sum()):.2f}")
    return curves


def _order(count: int, config: Config) -> Iterator[Tensor]:
    """Numbers of clips for each step, none twice in a step: (batch or count,)."""
    size = min(config.batch, count)
    each = count // size
    for step in range(config.steps):
        epoch, place = divmod(step, each)
        order = chance.permutation(count, config.seed, "epoch", epoch)
        yield order[place * size : (place + 1) * size]


def _losses(network: Network, pairs: Pairs, config: Config) -> Tensor:
    """The loss of telling footage, and of telling flaws: (2,)."""
    features = network(pairs.clips)
    told = F.smooth_l1_loss(network.flaws(features), pairs.flaws, beta=0.2, reduction="none")
    places = F.normalize(network.footage(features), dim=1)
    alike = places @ places.mT / config.temperature
    count = len(alike)
    partner = torch.arange(count).roll(count // 2)
    # Windows of the same group are neither pairs nor strangers.
    skipped = pairs.groups[:, None] == pairs.groups
    skipped[torch.arange(count), partner] = False
    footage = F.cross_entropy(alike.masked_fill(skipped, -1e9), partner)
    return torch.stack([footage, told.mean(0).sum()])


@torch.no_grad()
def _held_out(network: Network, windows: Windows | None, config: Config) -> dict[str, float]:
    if windows is None or len(windows) < 2:
        return {}
    network.eval()
    chosen = torch.arange(min(config.batch, len(windows)))
    losses = [
        _losses(network, windows.pairs(chosen, config.seed, -1 - i), config) for i in range(2)
    ]
    footage, flaws = torch.stack(losses).mean(0).tolist()
    return {"held-out footage": footage, "held-out flaws": flaws}


@torch.no_grad()
def _standardise(network: Network, loader: Loader, windows: Windows) -> None:
    """Sets mean and deviation of the features over whole windows of the split, as they are."""
    count = min(1024, 4 * len(windows))
    parts = [
        network(loader.fixed(count, begin, begin + _TOGETHER).clips)
        for begin in range(0, count, _TOGETHER)
    ]
    features = torch.cat(parts)
    network.mean.copy_(features.mean(0))
    network.deviation.copy_(features.std(0).clamp(min=1e-4))


@dataclass(frozen=True)
class Pairs:
    """Windows of clips: the first of all clips, then the second of all.

    Attributes:
        clips: (2 n, time, 3, height, width).
        flaws: how much of each of `_TASKS` was done, (2 n, tasks); of speed, its log to base 2.
        groups: of the clips, int64 (2 n,).
    """

    clips: Tensor
    flaws: Tensor
    groups: Tensor


class Windows:
    """Windows of a split's clips at many moments, varied, some with flaws; a function of seeds."""

    def __init__(self, loader: Loader) -> None:
        self.loaders, self.places = [], []
        for speed in (1.0, *_SPEEDS):
            fps = loader.config.fps / speed
            if fps > loader.dataset.fps:
                continue
            try:
                slowed = replace(loader, config=loader.config.with_values(fps=fps))
            except DataError:
                continue  # no clip is long enough
            self.loaders.append((speed, slowed))
            self.places.append({clip.name: i for i, clip in enumerate(_of_a_size(slowed))})
        self.clips = _of_a_size(loader)

    def __len__(self) -> int:
        return len(self.clips)

    def pairs(self, chosen: Tensor, seed: int, step: int) -> Pairs:
        """Two windows of each chosen clip."""
        draw = partial(chance.mix, seed, "window", step)
        numbers = chosen.tolist()
        made = [self._window(clip, draw(turn, clip)) for turn in (0, 1) for clip in numbers]
        groups = torch.tensor([self.clips[clip].group for clip in numbers])
        clips, flaws = (torch.stack(parts) for parts in zip(*made, strict=True))
        return Pairs(clips, flaws, groups.repeat(2))

    def _window(self, number: int, seed: int) -> tuple[Tensor, Tensor]:
        """A clip (time, 3, height, width) and how much of each flaw it has (tasks,)."""
        random, much = torch.Generator().manual_seed(seed), torch.zeros(len(_TASKS))
        name, which = self.clips[number].name, 0
        if pretext.share(random) < 0.2:
            which = int(len(self.loaders) * pretext.share(random))
        which = which if name in self.places[which] else 0
        speed, loader = self.loaders[which]
        much[-1] = math.log2(speed)
        each, place = len(self.places[which]), self.places[which][name]
        index = int(_MOMENTS * pretext.share(random)) * each + place
        stored = to_uint8(loader.fixed(_MOMENTS * each, index, index + 1).clips[0])
        clip = torch.from_numpy(to_float(augment.apply(stored, augment.draw(_VARIED, seed))))
        count = (0, 1, 1, 1, 2)[int(5 * pretext.share(random))]
        for flaw in torch.randperm(len(pretext.FLAWS), generator=random)[:count].tolist():
            level = 0.05 + 0.95 * pretext.share(random)
            clip = pretext.apply(clip, _TASKS[flaw], level, random)
            much[flaw] = 1.0 if _TASKS[flaw] == "reversal" else level
        return clip, much


def _of_a_size(loader: Loader) -> list[Any]:
    """The clips that `Loader.fixed` goes through."""
    base = loader.config.size
    return max(loader.by_size, key=lambda c: ((c[0].height, c[0].width) == base, len(c)))
