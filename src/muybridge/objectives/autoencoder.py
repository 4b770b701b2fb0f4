"""A variational autoencoder, or a tokenizer of clips, with a flow over its latents to draw from.

Kingma and Welling 2014, "Auto-Encoding Variational Bayes"; the latents are drawn by a flow
transformer instead of a Gaussian (Vahdat et al. 2021, "Score-based Generative Modeling in Latent
Space"; Rombach et al. 2022), trained beside encoder and decoder on latents that it does not change.
The held-out loss is that of the reconstruction alone: the prior's is in the figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..core import chance
from ..core.clips import Batch
from ..core.config import NotNegative, Section
from ..core.errors import MuybridgeError
from ..sampling import integrators
from . import flow_matching, losses
from .base import Loss, Objective, Parts, Phase, SampleRequest
from .critic import critic_of
from .latents import over_time

Sampling = integrators.Config


class Config(Section):
    """What is minimised."""

    pixels: losses.Config = losses.Config(l1=1.0, mse=1.0)
    """Parts of the difference between a clip and its reconstruction."""
    kl: tuple[NotNegative, NotNegative] = (1e-2, 1e-3)
    """Weight of the divergence from a standard Gaussian, in nats a number of the latents: at the
    beginning and at the end of the budget, in between by equal ratios."""
    prior: flow_matching.Config = flow_matching.Config(time_mean=1.0, time_std=1.4)
    """How the prior is trained."""


def build(config: Config, parts: Parts) -> Autoencoder:
    """Makes the objective."""
    return Autoencoder(config, parts)


class Autoencoder(Objective):
    """See the file's own description; its network is as `models/vae.py`'s."""

    generator: nn.ModuleDict

    def __init__(self, config: Config, parts: Parts) -> None:
        super().__init__()
        self.config, self.perceptual = config, parts.perceptual
        self.generator = nn.ModuleDict({"network": parts.network})
        self.critic = critic_of(config.pixels, parts)
        self.gaussian = not parts.network.vocabulary
        # Not registered: it has no weights but the generator's, which are not to be kept twice.
        self._priors: tuple[flow_matching.FlowMatching, ...] = ()
        if isinstance(parts.network.prior, nn.Module):
            count = self.network.channels
            mean, std = [0.0] * count, [1.0] * count
            inner = replace(parts, network=parts.network.prior, mean=mean, std=std)
            self._priors = (flow_matching.FlowMatching(config.prior, inner),)
            if parts.text is not None:
                self.generator["text"] = parts.text

    @property
    def prior(self) -> flow_matching.FlowMatching | None:
        """What draws latents, where there is such a thing."""
        return self._priors[0].to(self.network.middle.device) if self._priors else None

    @property
    def network(self) -> Any:
        """Encoder, decoder and prior."""
        return self.generator["network"]

    def phases(self) -> tuple[Phase, ...]:
        """The codec, its prior where it has one, and the critic where there is one."""
        codec = self.network.codec()
        phases = [Phase("codec", codec)]
        if self.prior is not None:
            own = set(codec.values())
            named = self.generator.named_parameters()
            phases.append(Phase("prior", {n: p for n, p in named if p not in own}))
        if self.critic:
            phases.append(self.critic.phase())
        return tuple(phases)

    def weights(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        """The frames that are real."""
        if self.critic and phase == "critic":
            return self.critic.weights(batch)
        frames = batch.frame_weight.sum(1)
        names = ("velocity", "spread") if phase == "prior" else (*self.config.pixels.used, "kl")
        return dict.fromkeys(names, frames)

    def loss(self, batch: Batch, phase: str, progress: float) -> Loss:
        """Of the codec: pixels and divergence. Of the prior: its velocity, and how far what latents
        are standardised by is from their own mean and deviation."""
        if self.critic and phase == "critic":
            with torch.no_grad():
                made = self.network.decode(self._drawn(batch)[0])
            return self.critic.loss(made, batch)
        return self._prior_loss(batch) if phase == "prior" else self._codec_loss(batch, progress)

    def _codec_loss(self, batch: Batch, progress: float) -> Loss:
        latents, divergence = self._drawn(batch)
        made = self.network.decode(latents)
        sums = self._compared(made, batch)
        if self.critic:
            sums["adversarial"] = self.critic.against(made, batch) * batch.frame_weight.sum(1)
        sums["kl"] = divergence * batch.frame_weight.sum(1)
        return Loss(sums, {**self.config.pixels.used, "kl": self._kl(progress)})

    def _compared(self, made: Tensor, batch: Batch) -> dict[str, Tensor]:
        weight, parts = batch.frame_weight, self.config.pixels
        return losses.compare(made, batch.clips, weight, parts, self.perceptual)

    def _drawn(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Latents drawn for each clip, and their divergence from a standard Gaussian (Kingma and
        Welling 2014, appendix B) in nats a number, (batch,)."""
        if not self.gaussian:
            latents = self.network.encode(batch.clips)
            return latents, torch.zeros_like(batch.times[:, 0])
        mean, log_variance = self.network.moments(batch.clips)
        noise = chance.normal(batch.seeds, mean.shape[1:], "latent")
        each = (mean.square() + log_variance.exp() - 1 - log_variance) / 2
        return mean + (log_variance / 2).exp() * noise, each.mean((1, 2, 3, 4))

    def _kl(self, progress: float) -> float:
        first, last = self.config.kl
        if not first or not last:
            return first + (last - first) * progress
        return float(first * (last / first) ** progress)

    def _prior_loss(self, batch: Batch) -> Loss:
        prior = self.prior
        assert prior is not None
        with torch.no_grad():
            latents = self.network.encode(batch.clips)
        # The likelihood of a Gaussian is greatest at the latents' own mean and deviation.
        standard = self.network.standardised(latents)
        off = self.network.negative_log_likelihood(standard)
        found = prior.loss(self._of_latents(batch, standard.detach()), "generator", 1.0)
        frames = batch.frame_weight.sum(1)
        # A prior's frame is several of a clip.
        velocity = found.sums["velocity"] * batch.clips.shape[1] / latents.shape[1]
        return Loss({"velocity": velocity, "spread": off * frames})

    def _of_latents(self, batch: Batch, standard: Tensor) -> Batch:
        times, weight = (
            over_time(values, self.network.stride[0])
            for values in (batch.times, batch.frame_weight)
        )
        return replace(batch, clips=standard, times=times, frame_weight=weight)

    def held_out(self, batch: Batch) -> tuple[float, dict[str, Any]]:
        """The weighted error of pixels, from the mean latents; figures: the divergence, the share
        of latent channels in use, or of tokens, the peak signal to noise, and the prior's loss."""
        latents = self.network.encode(batch.clips)
        made = self.network.decode(latents)
        sums = self._compared(made, batch)
        frames, used = batch.frame_weight.sum(), self.config.pixels.used
        error = sum(used[name] * float(values.sum() / frames) for name, values in sums.items())
        squares = (made.clamp(-1, 1) - batch.clips).square().mean((2, 3, 4)) * batch.frame_weight
        figures: dict[str, Any] = {"psnr": float(10 * torch.log10(4 * frames / squares.sum()))}
        figures |= self._use(batch, latents)
        if self.prior is not None:
            standard = self.network.standardised(latents)
            figures["prior"] = self.prior.held_out(self._of_latents(batch, standard))[0]
        return error, figures

    def _use(self, batch: Batch, latents: Tensor) -> dict[str, float]:
        """How much of the latents says something."""
        if not self.gaussian:
            seen = self.network.levels.numbers(latents).unique().numel()
            return {"tokens_used": seen / min(self.network.vocabulary, latents[:, :, 0].numel())}
        mean, log_variance = self.network.moments(batch.clips)
        each = ((mean.square() + log_variance.exp() - 1 - log_variance) / 2).mean((0, 1, 3, 4))
        return {"kl": float(each.mean()), "channels_used": float((each > _SAYS).float().mean())}

    def sample(self, request: SampleRequest) -> Tensor:
        """Draws latents from the prior and decodes them.

        Raises:
            MuybridgeError: it has no prior.
        """
        if self.prior is None:
            raise MuybridgeError(
                "this tokenizer has no prior and makes no clips by itself",
                "train another model on it with tokenizer: RUN, or set model.prior",
            )
        a, b, c = self.network.stride
        times = over_time(request.times, a)
        shape = (times.shape[1], self.network.channels, request.size[0] // b, request.size[1] // c)
        standard = self.prior.drawn(replace(request, times=times), shape)
        return self._clips(self.network.restored(standard))

    def reconstructed(self, clips: Tensor) -> Tensor:
        """Clips through encoder and decoder, in [-1, 1]."""
        return self._clips(self.network.encode(clips))

    def interpolated(self, first: Tensor, last: Tensor, steps: int) -> Iterator[Tensor]:
        """Clips from one batch to another along a straight line through their latents."""
        ends = self.network.encode(first), self.network.encode(last)
        for step in range(steps):
            yield self._clips(torch.lerp(*ends, step / max(steps - 1, 1)))

    def _clips(self, latents: Tensor) -> Tensor:
        made: Tensor = self.network.decode(latents).clamp(-1, 1)
        return made


# Nats a number from which on a latent channel is counted as used (Burda et al. 2016, section 2.4,
# count by the variance of its mean; this is the like on the scale of information).
_SAYS = 0.01
