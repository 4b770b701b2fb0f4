"""Flow matching: a straight path from noise to clips, learned by predicting the clip.

Lipman et al. 2023, "Flow Matching for Generative Modeling"; Liu et al. 2023, "Flow Straight and
Fast". With t the share of noise, x_t = (1 - t) x + t e and the velocity is dx_t/dt = e - x. The
network predicts x, since a clip lies near a thin manifold and noise does not; the loss is on the
velocity that follows from it, (x_t - x_predicted) / t (Li and He 2025, "Back to Basics: Let
Denoising Generative Models Denoise").
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..core import chance
from ..core.clips import Batch
from ..core.config import Section
from ..sampling import guidance, integrators
from . import conditions
from . import given as given_module
from .base import Loss, Objective, Parts, SampleRequest
from .conditions import Conditions
from .latents import Latents


class Config(Section):
    """What is minimised."""

    time_mean: float = 3.0
    """Mean of the logit of the share of noise in training (logit-normal, Esser et al. 2024)."""
    time_std: float = 1.2
    """Its standard deviation."""
    drop: float = 0.1
    """Share of training clips that are shown without any condition, which guidance needs."""
    drop_one: float = 0.25
    """Where clips have both text and label: share that loses one of them, and as many the other."""
    smallest: float = 0.05
    """Shares of noise below this count as this in the division that makes a velocity."""


_QUANTILES = 4


Sampling = integrators.Config


def build(config: Config, parts: Parts) -> FlowMatching:
    """Makes the objective."""
    return FlowMatching(config, parts)


class FlowMatching(Objective):
    """See the file's own description."""

    generator: nn.ModuleDict
    mean: Tensor
    std: Tensor

    def __init__(self, config: Config, parts: Parts) -> None:
        super().__init__()
        assert isinstance(parts.sampling, integrators.Config)
        self.config, self.sampling = config, parts.sampling
        made = {"network": parts.network} | ({} if parts.text is None else {"text": parts.text})
        self.generator: nn.ModuleDict = nn.ModuleDict(made)
        for name, values in {"mean": parts.mean, "std": parts.std}.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(-1, 1, 1))

        self.latents = Latents(parts.tokenizer) if parts.tokenizer is not None else None

    def weights(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        """The frames that are real, as far as they are not known; of latents, each counts as the
        mean of its frames."""
        frames = batch.frame_weight
        if batch.known_mask is not None:
            frames = frames * (1 - batch.known_mask).mean((2, 3, 4))
        return {"velocity": (self.latents.over_time(frames) if self.latents else frames).sum(1)}

    def loss(self, batch: Batch, phase: str, progress: float) -> Loss:
        """Squared error of the velocity at a random share of noise a clip, conditions dropped at
        random."""
        batch = self._encoded(batch)
        level = self._levels(batch)
        return self.loss_at(
            conditions.dropped(batch, self.config.drop, self.config.drop_one, self._unsaid), level
        )

    def _levels(self, batch: Batch) -> Tensor:
        """A share of noise for each clip; evenly over any few clips, for less chance in a step."""
        drawn = (
            chance.uniform(batch.seeds, "noise level")
            if batch.index is None
            else chance.even(batch.index)
        )
        logit = torch.special.ndtri(drawn)
        return torch.sigmoid(self.config.time_mean + self.config.time_std * logit)

    def loss_at(self, batch: Batch, level: Tensor) -> Loss:
        """The same at given shares of noise (batch,), conditions as they are, of clips or latents
        that are already encoded."""
        clean, noisy = self._noised(batch, level)
        predicted = self._predict(noisy, level, batch.times, self._read(batch))
        return self._squared(predicted, clean, level, batch)

    def _noised(self, batch: Batch, level: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised clips, and what is seen of them through noise."""
        clean = torch.addcmul(-self.mean / self.std, batch.clips, 1 / self.std)
        noise = chance.normal(batch.seeds, clean.shape[1:], "noise")
        return clean, torch.lerp(clean, noise, level.view(-1, 1, 1, 1, 1))

    def _squared(self, predicted: Tensor, clean: Tensor, level: Tensor, batch: Batch) -> Loss:
        """The square of (x_t - predicted) / t - (noise - clean), with x_t put in."""
        # What is known is predicted as it is, and so adds nothing.
        per_frame = (predicted - clean).square().mean((2, 3, 4))
        weight = batch.frame_weight / level[:, None].clamp(min=self.config.smallest) ** 2
        return Loss({"velocity": (per_frame * weight).sum(1)})

    def held_out(self, batch: Batch) -> tuple[float, dict[str, Any]]:
        """Mean loss at shares of noise spread evenly over training's own distribution, and the loss
        at each: `by_time`."""
        quantiles = (torch.arange(_QUANTILES, device=self.mean.device) + 0.5) / _QUANTILES
        levels = torch.sigmoid(
            self.config.time_mean + self.config.time_std * torch.special.ndtri(quantiles)
        )
        weights = self.weights(batch, "generator")["velocity"]
        batch = self._encoded(batch)
        turn = torch.arange(len(batch), device=self.mean.device) % _QUANTILES
        sums = self.loss_at(batch, levels[turn]).sums["velocity"]
        by_time = {
            f"{float(level):.2f}": float(sums[turn == i].sum() / weights[turn == i].sum())
            for i, level in enumerate(levels)
            if bool((turn == i).any())
        }
        return float(sums.sum() / weights.sum()), {"by_time": by_time}

    def sample(self, request: SampleRequest) -> Tensor:
        """Integrates from noise; latents are decoded."""
        frames = request.times.shape[1]
        if self.latents is None:
            return self.drawn(request, (frames, 3, *request.size)).clamp(-1, 1)
        within = replace(request, times=self.latents.over_time(request.times))
        return self.latents.decoded(self.drawn(within, self.latents.shape(frames, request.size)))

    def drawn(self, request: SampleRequest, shape: tuple[int, ...]) -> Tensor:
        """What the flow makes of noise of `shape` (time, channel, height, width) a clip; of a
        source, what it becomes by the words, or without any what it makes of it in noise (Meng et
        al. 2022, "SDEdit")."""
        told = self._read(request)

        def velocity(x: Tensor, t: float) -> Tensor:
            return (x - self._guided(x, t, request, told)) / t

        steps, begin = request.steps or self.sampling.steps, request.strength
        moments = integrators.grid(steps, self.sampling.shift, begin)
        start = chance.normal(request.seeds, shape, "sample")
        source = None if request.source is None else (request.source - self.mean) / self.std
        if source is not None:
            start = torch.lerp(source, start, moments[0])
        said = told.says(self._unsaid, len(request)).view(-1, 1, 1, 1, 1)
        if source is not None and bool(said.any()):
            made = self._changed(source, request, told, moments)
            if not bool(said.all()):  # each clip is made as it would be by itself
                other = integrators.SOLVERS[self.sampling.solver](velocity, start, moments)
                made = torch.where(said.to(made.device), made, other)
        else:
            made = integrators.SOLVERS[self.sampling.solver](velocity, start, moments)
        made = made * self.std + self.mean
        if request.known is None or request.known_mask is None:
            return made
        return torch.where(request.known_mask > 0, request.known, made)

    def _changed(
        self, clips: Tensor, request: SampleRequest, told: Conditions, moments: list[float]
    ) -> Tensor:
        """Standardised clips with what words say of them, beside what would be seen in them without
        words."""
        nothing, request = told.none(self._unsaid), replace(request, picture_guidance=1.0)
        if nothing.given is not None:  # what guides is not true of the clips, nor what was changed
            given = nothing.given.alone(self._guides)
            nothing = replace(nothing, given=replace(given, known=clips))

        def after(x: Tensor, t: float) -> Tensor:
            return self._guided(x, t, request, told)

        def before(x: Tensor, t: float) -> Tensor:
            return self._predict(
                x, torch.full((len(x),), t, device=x.device), request.times, nothing
            )

        def noise(x: Tensor, t: float) -> Tensor:
            return chance.normal(request.seeds, x.shape[1:], f"change at {t:.6f}")

        return integrators.edited(after, before, clips, noise, moments)

    def _guided(self, x: Tensor, t: float, request: SampleRequest, told: Conditions) -> Tensor:
        """The clip headed for; branches with and without words go through as one batch."""
        level, times = torch.full((len(x),), t, device=x.device), request.times
        scale = self.sampling.guidance if request.guidance is None else request.guidance
        least, most = self.sampling.guided
        if not least <= t <= most:
            return self._predict(x, level, times, told)
        said = scale != 1 and told.any
        if said:
            both = told.beside_none(self._unsaid)
            twice = x.repeat(2, 1, 1, 1, 1), level.repeat(2), times.repeat(2, 1)
            full, bare = self._predict(*twice, both).chunk(2)
        else:
            full = bare = self._predict(x, level, times, told)
        made = guidance.guide(full, bare, scale) if said else full
        if request.picture_guidance == 1 or told.given is None:
            return made
        # Brooks et al. 2023, "InstructPix2Pix", eq. 3: pictures are followed as strongly as asked.
        blind = self._predict(x, level, times, replace(told.none(self._unsaid), given=None))
        made = made + (request.picture_guidance - 1) * (bare - blind)
        return told.given.into(made)

    def _encoded(self, batch: Batch) -> Batch:
        return self.latents.encoded(batch) if self.latents else batch

    @property
    def _unsaid(self) -> int:
        return int(self.generator["network"].config.labels)  # type: ignore[arg-type, union-attr]

    @property
    def _guides(self) -> tuple[str, ...]:
        return getattr(self.generator["network"].config, "guides", ())

    def _read(self, given: Batch | SampleRequest) -> Conditions:
        pictures = given_module.read(given, self._guides, self.mean, self.std)
        told = conditions.read(dict(self.generator.named_children()).get("text"), given)
        return replace(told, given=pictures)

    def _predict(self, noisy: Tensor, level: Tensor, times: Tensor, told: Conditions) -> Tensor:
        return self._through(noisy, level, times, told)

    def _through(
        self, noisy: Tensor, level: Tensor, times: Tensor, told: Conditions, **more: Tensor
    ) -> Tensor:
        """The network's prediction of clean clips, what is known in its place."""
        network: Any = self.generator["network"]
        if (given := told.given) is None:
            return network(noisy, level, times, *told.told, **more).float()  # type: ignore[no-any-return]
        beside = {"beside": given.beside, "clean": given.tokens(network.config.patch)}
        made = network(given.into(noisy), level, times, *told.told, **beside, **more)
        return given.into(made.float())
