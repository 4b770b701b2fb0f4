"""Prediction: the one continuation of given frames that comes nearest to all that may follow.

Regression, without chance: with the squared error the best answer is the mean of what may follow
(Mathieu et al. 2016, "Deep multi-scale video prediction beyond mean square error"), which is right
where motion is settled by what was seen, and blurred where it is not. A network makes so many
frames at once; for longer clips, in training as in sampling, it goes on from its own last ones.
"""

from __future__ import annotations

from typing import Annotated, Any, Protocol, cast

import pydantic
import torch
from torch import Tensor, nn

from ..core import measures
from ..core.clips import Batch
from ..core.config import Section
from ..core.errors import MuybridgeError, RecipeError
from . import conditions, losses
from .base import Loss, Objective, Parts, Phase, SampleRequest
from .conditions import Conditions
from .critic import critic_of


class Config(Section):
    """What is minimised."""

    pixels: losses.Config = losses.Config(mse=1.0)
    """Parts of the difference between frames and their prediction."""
    drop: Annotated[float, pydantic.Field(ge=0, le=1 / 3)] = 0.1
    """Share of training clips of which nothing is said, so that a video of one's own can be
    continued without words; of as many, where clips have text and label, the one or the other."""


# Weights are divided by no less, as in the loop.
_LEAST = 1e-8
# dB: the ratio of identical frames is infinite.
_MOST = 60.0


class Predictor(Protocol):
    """What `models/simvp.py` has: `config` says `given`, `frames` and `labels`."""

    config: Any

    def __call__(
        self, shown: Tensor, label: Tensor | None, text: Tensor | None, text_mask: Tensor | None
    ) -> Tensor:
        """Frames (batch, given, 3, height, width) to the next (batch, frames, 3, height, width),
        all of mean 0 and deviation 1."""


def build(config: Config, parts: Parts) -> Prediction:
    """Makes the objective."""
    return Prediction(config, parts)


class Prediction(Objective):
    """See the file's own description."""

    generator: nn.ModuleDict
    mean: Tensor
    std: Tensor

    def __init__(self, config: Config, parts: Parts) -> None:
        super().__init__()
        self.config, self.perceptual = config, parts.perceptual
        self.critic = critic_of(config.pixels, parts)
        made = {"network": parts.network} | ({} if parts.text is None else {"text": parts.text})
        self.generator: nn.ModuleDict = nn.ModuleDict(made)
        for name, values in {"mean": parts.mean, "std": parts.std}.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(-1, 1, 1))

    def phases(self) -> tuple[Phase, ...]:
        """The predictor, and the critic where there is one."""
        return (*super().phases(), *([self.critic.phase()] if self.critic else []))

    def weights(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        """The frames that are real and not given."""
        if self.critic and phase == "critic":
            return self.critic.weights(batch)
        counted = batch.frame_weight[:, self._given :].sum(1)
        return dict.fromkeys(self.config.pixels.used, counted)

    def loss(self, batch: Batch, phase: str, progress: float) -> Loss:
        """How far the frames that are not given are from their prediction, conditions dropped at
        random.

        Raises:
            RecipeError: clips of which other frames are given than the network goes on from, or
                that are shorter than what it makes at once.
        """
        share, unsaid = self.config.drop, int(self._network.config.labels)
        told = self._read(conditions.dropped(batch, share, share, unsaid))
        if self.critic and phase == "critic":
            with torch.no_grad():
                made = self._whole(batch, self._predicted(batch, told))
            return self.critic.loss(made, batch)
        made = self._predicted(batch, told)
        sums = self._compared(made, batch)
        if self.critic:
            each = self.critic.against(self._whole(batch, made), batch)
            sums["adversarial"] = each * self.weights(batch, phase)["adversarial"]
        return Loss(sums, self.config.pixels.used)

    def _whole(self, batch: Batch, made: Tensor) -> Tensor:
        """Clips of the given frames and those that were made."""
        return torch.cat([batch.clips[:, : self._given], made], 1)

    def held_out(self, batch: Batch) -> tuple[float, dict[str, Any]]:
        """The loss, all being said that is known; figures: the PSNR in dB of what is predicted
        (`psnr`) and of the last given frame held (`psnr_still`), each a mean over frames."""
        made, given = self._predicted(batch, self._read(batch)), self._given
        sums, weights = self._compared(made, batch), self.weights(batch, "generator")
        used = self.config.pixels.used
        error = sum(
            used[name] * float(values.sum() / weights[name].sum().clamp(min=_LEAST))
            for name, values in sums.items()
        )
        real, weight = batch.clips[:, given:], batch.frame_weight[:, given:]
        still = batch.clips[:, given - 1 : given].expand_as(real)
        figures = {
            name: float((measures.psnr(one, real).clamp(max=_MOST) * weight).sum())
            / max(float(weight.sum()), _LEAST)
            for name, one in {"psnr": made.clamp(-1, 1), "psnr_still": still}.items()
        }
        return error, figures

    def sample(self, request: SampleRequest) -> Tensor:
        """The given frames as they are, and what follows them.

        Raises:
            MuybridgeError: no frames are given, or not as many as the network goes on from.
        """
        if request.known is None:
            raise MuybridgeError(
                f"a predictor makes nothing from nothing: it goes on from {self._given} frames",
                "give a video: --prefix VIDEO; for clips from nothing train another recipe, such "
                "as flow-small",
            )
        self._check(request.known_mask, request.known)
        shown, length = request.known[:, : self._given], request.times.shape[1]
        made = self._continued(shown, self._read(request), length - self._given)
        return torch.cat([shown, made.clamp(-1, 1)], 1)

    def _predicted(self, batch: Batch, told: Conditions) -> Tensor:
        """All frames of clips that are not given."""
        known = batch.clips[:, :0] if batch.known is None else batch.known
        self._check(batch.known_mask, known)
        given, frames, length = self._given, self._network.config.frames, batch.clips.shape[1]
        if length < given + frames:
            raise RecipeError(
                f"data.frames = {length}: the network is given {given} frames and makes {frames}, "
                "and would not learn to make the last of them",
                f"set model.frames={max(length - given, 1)}, or data.frames={given + frames}",
            )
        return self._continued(known[:, :given], told, length - given)

    def _continued(self, frames: Tensor, told: Conditions, count: int) -> Tensor:
        """The `count` frames that follow, (batch, count, 3, height, width), unbounded."""
        made: list[Tensor] = []
        while sum(part.shape[1] for part in made) < count:
            shown = (frames[:, -self._given :] - self.mean) / self.std
            made.append(self._network(shown, *told.told).float() * self.std + self.mean)
            frames = torch.cat([frames, made[-1].clamp(-1, 1)], 1)
        return torch.cat(made, 1)[:, :count]

    def _compared(self, made: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Sums over the frames that are not given; the last given one goes along for parts that
        look at what changes."""
        last, real = self._given - 1, batch.clips[:, self._given - 1 :]
        weight = batch.frame_weight[:, last:].clone()
        weight[:, 0] = 0
        after = torch.cat([batch.clips[:, last : last + 1], made], 1)
        return losses.compare(after, real, weight, self.config.pixels, self.perceptual)

    def _check(self, mask: Tensor | None, known: Tensor) -> None:
        """Refuses clips of which other frames are given than the network goes on from."""
        length, given = known.shape[1], self._given
        first = torch.arange(length, device=known.device) < given
        if mask is None or not torch.equal(mask.amin((2, 3, 4)) > 0, first.expand(len(known), -1)):
            found = "none" if mask is None else f"{int((mask.amin((2, 3, 4)) > 0).sum(1).min())}"
            raise RecipeError(
                f"model.given = {given}: the first {given} frames of every clip must be given, and "
                f"there is one with {found} given",
                f"set data.tasks.prefix=1 and data.tasks.given={given}, or model.given",
            )

    @property
    def _network(self) -> Predictor:
        return cast(Predictor, self.generator["network"])

    @property
    def _given(self) -> int:
        return int(self._network.config.given)

    def _read(self, given: Batch | SampleRequest) -> Conditions:
        return conditions.read(dict(self.generator.named_children()).get("text"), given)
