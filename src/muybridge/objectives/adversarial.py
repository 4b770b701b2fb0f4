"""Adversarial training: a generator against a discriminator, in a game that settles.

The discriminator tells which of a real and a made clip is the real one (relativistic pairing;
Jolicoeur-Martineau 2019, "The relativistic discriminator"), and pays for the square of its gradient
on real clips (R1; Mescheder et al. 2018) and on made ones (R2). Huang et al. 2024, "The GAN is
dead; long live the GAN! A Modern GAN Baseline", show that the two together converge where either
alone does not (eq. 2, 3 and 4, prop. 2). The penalties are exact, on every step, and on clips as
they are before augmentation: the gradient goes back through it.

Clips pair with what is made from their own seed, so that nothing depends on the neighbours in a
batch. In a game that goes well the losses say little. What is judged on held-out clips is the
energy distance (Szekely and Rizzo 2013, "Energy statistics") between as many made and real ones: of
pictures of 8 x 8 pixels, and of their change from frame to frame, each over the mean distance of
two real clips; the criterion is the mean of the two. It is unbiased, and so around 0 where there is
no difference; below 0 by chance.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any, cast

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core import chance
from ..core.clips import Batch
from ..core.config import NotNegative, Section
from ..core.errors import RecipeError
from . import conditions
from .augment import Config as Augment
from .augment import augmented
from .base import Loss, Objective, Parts, Phase, SampleRequest
from .critic import Networks, frozen, scaled, told_apart
from .latents import Latents

Given = Batch | SampleRequest


class Config(Section):
    """What is minimised."""

    gamma: tuple[NotNegative, NotNegative] = (15.0, 1.5)
    """Weight of the penalties on gradients, at the beginning and, falling along a cosine, at the
    end. For one picture of 64 x 64; larger clips take it times the root of how much larger."""
    drop: float = 0.1
    """Share of clips that are shown without any condition."""
    drop_one: float = 0.1
    """Where clips have both text and label: share that loses one of them, and as many the other."""
    grow: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.0
    """Share of the budget at whose end clips have their full extent: levels have an equal part of
    it, in the first half of which they are faded in, the finest that half alone. 0: full from the
    start."""
    augment: Augment = Augment()
    """How clips are changed before the discriminator sees them, real and made alike."""


class Sampling(Section):
    """How clips are made."""

    truncation: Annotated[float, pydantic.Field(ge=0, le=2)] = 1.0
    """Below 1: nearer to the mean of what was asked for, more alike and with fewer faults."""


def build(config: Config, parts: Parts) -> Adversarial:
    """Makes the objective."""
    return Adversarial(config, parts)


# Rows and columns of the pictures that are compared.
_SMALL = 8


class Adversarial(Objective):
    """See the file's own description.

    Attributes:
        generator: the network that makes clips, with the text encoder that it reads by.
        discriminator: the one that judges them, with a text encoder of its own: what helps the one
            is not what helps the other.
    """

    generator: nn.ModuleDict
    shape: Any
    reduced: Callable[[Tensor, float], Tensor]
    mean: Tensor
    std: Tensor

    def __init__(self, config: Config, parts: Parts) -> None:
        super().__init__()
        assert isinstance(parts.sampling, Sampling)
        self.config, self.sampling = config, parts.sampling
        networks = cast(Networks, parts.network)
        self.shape, self.levels, self.reduced = networks.config, networks.levels, networks.reduced
        self.generator = nn.ModuleDict({"network": networks.generator})
        self.discriminator = nn.ModuleDict({"network": networks.discriminator})
        if parts.text is not None:
            self.generator["text"] = parts.text
            self.discriminator["text"] = copy.deepcopy(parts.text)
        for name, values in {"mean": parts.mean, "std": parts.std}.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(-1, 1, 1))
        self.latents = Latents(parts.tokenizer) if parts.tokenizer is not None else None

    def phases(self) -> tuple[Phase, ...]:
        """The discriminator is updated first."""
        return (
            Phase("discriminator", dict(self.discriminator.named_parameters())),
            Phase("generator", dict(self.generator.named_parameters())),
        )

    def level(self, progress: float) -> float:
        """Up to which level of the networks clips have grown: 1.25 is level 1 with a quarter of
        what level 2 adds."""
        last = self.levels - 1
        if not self.config.grow or not last:
            return float(last)
        # Half a stage for the last fade: at `grow` all levels are there in full.
        stages = progress / self.config.grow * (last + 0.5)
        stage = min(math.floor(stages), last)
        return min(max(0.0, stage - 1 + 2 * (stages - stage)), float(stage))

    def gamma(self, progress: float, clips: Tensor) -> float:
        """Weight of the penalties for clips (batch, time, channel, height, width)."""
        first, last = self.config.gamma
        now = last + (first - last) * (1 + math.cos(math.pi * progress)) / 2
        return scaled(now, clips)

    def weights(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        """The share of a clip's frames that are real."""
        names = ("pairs", "r1", "r2") if phase == "discriminator" else ("pairs",)
        return dict.fromkeys(names, batch.frame_weight.mean(1))

    def loss(self, batch: Batch, phase: str, progress: float) -> Loss:
        """Softplus of how far ahead the wrong one of a pair is; for the discriminator also the
        squares of its gradients."""
        batch = self._encoded(batch)
        level, weight = self.level(progress), batch.frame_weight.mean(1)
        unsaid = int(self.shape.labels)
        batch = conditions.dropped(batch, self.config.drop, self.config.drop_one, unsaid)
        real = self._real(batch, level)
        if phase == "generator":
            made = self._made(batch, level, phase)
            with frozen(self.discriminator):
                of_real = self._judged(batch, level, real, [f"{phase} real"])
                of_made = self._judged(batch, level, made, [f"{phase} made"])
            return Loss({"pairs": F.softplus(of_real - of_made) * weight})
        with torch.no_grad():
            made = self._made(batch, level, phase)
        uses = [f"{phase} real", f"{phase} made"]
        terms = told_apart(lambda both: self._judged(batch, level, both, uses), real, made)
        half = self.gamma(progress, real) / 2
        return Loss({n: term * weight for n, term in terms.items()}, {"r1": half, "r2": half})

    def held_out(self, batch: Batch) -> tuple[float, dict[str, Any]]:
        """The criterion that the file describes, and further figures.

        `energy`: its two parts. `told_apart`: share of all pairs of a real and a made clip in which
        the discriminator takes the real one for real: at 1 it has won, at 0.5 it sees no
        difference. `variety`: mean distance of two made clips over that of two real ones, for each
        part: near 0 all that is made is one clip; `diversity` is the least of them.
        """
        level, use = self.level(self.progress), "held out"
        made = self._finished(batch, use, 1.0)
        energy, variety = {}, {}
        for name, seen in {"pictures": _pictures, "motion": _motion}.items():
            energy[name], variety[name] = _compared(seen(made), seen(batch.clips))
        batch = self._encoded(batch)
        both = torch.cat([self._real(batch, level), self._made(batch, level, use)])
        of_real, of_made = self._judged(batch, level, both).chunk(2)
        apart = float((of_real[:, None] > of_made).float().mean())
        least = min(variety.values())
        figures = {"energy": energy, "variety": variety, "told_apart": apart, "diversity": least}
        return sum(energy.values()) / len(energy), figures

    def sample(self, request: SampleRequest) -> Tensor:
        """One pass through the generator, up to the level that `progress` has reached."""
        return self._finished(request, "sample", self.sampling.truncation)

    def _encoded(self, batch: Batch) -> Batch:
        """As the networks see it: latents in place of clips, of which the first frame stays."""
        if not self.latents:
            return batch
        known = batch.clips[:, :1] * 0 if batch.known is None else batch.known
        mask = known[:, :, :1] * 0 if batch.known_mask is None else batch.known_mask
        return replace(self.latents.encoded(batch), known=known, known_mask=mask)

    def _standard(self, clips: Tensor) -> Tensor:
        return (clips - self.mean) / self.std

    def _real(self, batch: Batch, level: float) -> Tensor:
        return _blanked(self.reduced(self._standard(batch.clips), level), batch)

    def _made(self, batch: Batch, level: float, use: str) -> Tensor:
        """Clips as they are at a level, standardised, for the discriminator to see."""
        made = self._generated(batch, level, use, batch.times, _size(batch))
        if not self.latents and batch.known is not None:
            known = self.reduced(self._standard(batch.known), level)
            made = _kept(made, known, batch.known_mask)
        return _blanked(made, batch)

    def _finished(self, given: Given, use: str, truncation: float) -> Tensor:
        """Clips of full extent in [-1, 1]."""
        level, size, times = self.level(self.progress), _size(given), given.times
        if self.latents:
            (_, b, c), times = self.latents.stride, self.latents.over_time(times)
            size = size[0] // b, size[1] // c
        made = self._generated(given, level, use, times, size, truncation=truncation, full=True)
        made = made * self.std + self.mean
        made = self.latents.decoded(made) if self.latents else made.clamp(-1, 1)
        return _kept(made, given.known, given.known_mask)

    def _generated(
        self,
        given: Given,
        level: float,
        use: str,
        times: Tensor,
        size: tuple[int, int],
        **more: Any,
    ) -> Tensor:
        latent = chance.normal(given.seeds, (self.shape.latent,), f"latent {use}")
        told = self._told(self.generator, given)
        made = self.generator["network"](latent, times, size, level, *told, **more)
        return made.float()  # type: ignore[no-any-return]

    def _judged(
        self, batch: Batch, level: float, clips: Tensor, uses: Sequence[str] = ()
    ) -> Tensor:
        """Scores of clips as a level has them, all of one side and then all of the other, beside
        the conditions of `batch`; under augmentation where `uses` name each side's draws."""
        if uses:
            clips = augmented(clips, batch.seeds, uses, self.config.augment)
        many = len(clips) // len(batch)
        told = [
            None if one is None else one.repeat(many, *[1] * (one.ndim - 1))
            for one in self._told(self.discriminator, batch)
        ]
        times = batch.times.repeat(many, 1)
        scores = self.discriminator["network"](clips, times, level, *told)
        return scores.float()  # type: ignore[no-any-return]

    def _told(self, side: nn.ModuleDict, given: Given) -> tuple[Tensor | None, ...]:
        """Label, words, their mask and the picture, as a network takes them."""
        read = conditions.read(dict(side.named_children()).get("text"), given)
        return (*read.told, self._picture(given))

    def _picture(self, given: Given) -> Tensor | None:
        """The first frame, and a channel that is 1 where it is given, else 0.

        Raises:
            RecipeError: frames are given to networks that look at none.
        """
        known, mask = given.known, given.known_mask
        if not self.shape.picture:
            if mask is not None and bool(mask.any()):
                raise RecipeError(
                    "frames are given, but model.picture = false",
                    "set model.picture=true, or data.tasks.prefix=0",
                )
            return None
        if known is None or mask is None:
            return self.mean.new_zeros(len(given), 4, *_size(given))
        first = known[:, 0] if self.latents else self._standard(known[:, 0])
        return torch.cat([first * mask[:, 0], mask[:, 0]], 1)


def _size(given: Given) -> tuple[int, int]:
    """Height and width of full clips."""
    if isinstance(given, SampleRequest):
        return given.size
    return given.clips.shape[-2], given.clips.shape[-1]


def _kept(made: Tensor, known: Tensor | None, mask: Tensor | None) -> Tensor:
    """What is known of clips in place of what was made, where a frame is known wholly."""
    if known is None or mask is None:
        return made
    return torch.where(_wholly(mask, made) > 0, known, made)


def _wholly(mask: Tensor, clips: Tensor) -> Tensor:
    """A mask (batch, time, 1, height, width) of full clips as `clips` of a level have it: 1 where
    it is 1 all over what became one pixel."""
    sides = zip(mask.transpose(1, 2).shape[2:], clips.transpose(1, 2).shape[2:], strict=True)
    ratio = [full // now for full, now in sides]
    return -F.max_pool3d(-mask.float().transpose(1, 2), ratio).transpose(1, 2)


def _blanked(clips: Tensor, batch: Batch) -> Tensor:
    """Frames that were invented in repair, blank: on both sides, so that they teach nothing."""
    real = (batch.frame_weight > 0).float()
    if bool(real.all()):
        return clips
    ratio = real.shape[1] // clips.shape[1]
    return clips * real.view(*clips.shape[:2], ratio).amin(2)[:, :, None, None, None]


def _pictures(clips: Tensor) -> Tensor:
    """Clips as rows of the pixels of pictures of 8 x 8."""
    return F.adaptive_avg_pool2d(clips.float().flatten(0, 1), _SMALL).reshape(len(clips), -1)


def _motion(clips: Tensor) -> Tensor:
    """Clips as rows of how those pixels change from frame to frame."""
    return _pictures(clips).view(*clips.shape[:2], -1).diff(dim=1).flatten(1)


def _compared(made: Tensor, real: Tensor) -> tuple[float, float]:
    """Energy distance of rows, and mean distance within those made; both over that within the real
    ones.

    2 E|x - y| - E|x - x'| - E|y - y'|, no row being compared with itself.
    """
    within = [torch.pdist(rows).mean() for rows in (made, real)]
    across = torch.cdist(made, real, compute_mode="donot_use_mm_for_euclid_dist").mean()
    unit = within[1].clamp(min=1e-8)
    return float((2 * across - within[0] - within[1]) / unit), float(within[0] / unit)
