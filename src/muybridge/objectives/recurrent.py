"""A recurrent predictor: each frame from the ones before, with a latent that has a learned prior.

Denton and Fergus 2018, "Stochastic Video Generation with a Learned Prior" (SVG-LP, eq. 2). What is
minimised is a bound: how far a frame drawn with a latent from the posterior is from the real one,
and the divergence of that posterior from the prior, which knows the frames before alone. A clip is
made by drawing latents from the prior, frame after frame, for as long as asked.

In training a network that is only ever shown real frames does not learn to go on from its own. So
some of the frames fed to it are its own, more of them as training goes on (Bengio et al. 2015,
"Scheduled Sampling for Sequence Prediction with Recurrent Neural Networks"), and noise can be added
to what is fed (Valevski et al. 2024, "Diffusion Models Are Real-Time Game Engines", section 3.2.1).

Frames that are given are never drawn when sampling, so they count in no term: the first frame from
nothing, which is the hardest, is learned from the clips of which nothing is given.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, cast

import pydantic
import torch
from torch import Tensor, nn

from ..core import chance, measures
from ..core.clips import Batch
from ..core.config import Count, NotNegative, Section
from . import conditions, losses
from .base import Loss, Objective, Parts, Phase, SampleRequest
from .critic import critic_of
from .predictor import Predictor, State, divergence

Share = Annotated[float, pydantic.Field(ge=0, le=1)]


class Config(Section):
    """What is minimised."""

    pixels: losses.Config = losses.Config(mse=1.0)
    """How frames are compared."""
    kl: NotNegative = 0.02
    """Weight of the divergence in nats a frame, over the numbers of which a frame consists. With
    the squared error alone it is twice the variance that pixels are taken to have about a frame as
    drawn: a larger one leaves less to the latents."""
    kl_warmup: Share = 0.2
    """Share of the budget over which that weight rises from 0 at the finest scale, against latents
    that are never used (Bowman et al. 2016). The next coarser one takes twice as long, the one
    after it three times, and so on: what can be said for the whole picture is then said there,
    before single places say it each for itself."""
    free: NotNegative = 0.0
    """Nats a frame at each scale that cost nothing (free bits; Kingma et al. 2016)."""
    own: Share = 0.5
    """Share of clips whose frames follow the network's own and not the real ones, as they do when
    it is sampled (scheduled sampling), at its highest."""
    own_rises: tuple[Share, Share] = (0.1, 0.7)
    """Shares of the budget between which that share rises from 0."""
    noise: NotNegative = 0.0
    """Largest deviation of the noise on frames fed in training, in pixels from -1 to 1; each clip
    has its own, between 0 and this."""
    window: Count | None = None
    """Frames through which gradients go back, for long clips (truncated back-propagation through
    time; Williams and Peng 1990); null for all of a clip."""


class Sampling(Section):
    """How clips are made."""

    temperature: NotNegative = 1.0
    """Factor of the prior's deviation: less for likelier frames, 0 for the one in its middle."""


# Weights are divided by no less, as in the loop.
_LEAST = 1e-8


class _Window(NamedTuple):
    """Frames that gradients go back through together, and what they are drawn from.

    Attributes:
        places: of the frames in the clip.
        told: what the clips are said to be.
        latents: noise of the frames' latents, for each scale (batch, frames, ...).
        seen: of the frames, for each scale (batch, frames, ...).
    """

    places: range
    told: Tensor
    latents: list[Tensor]
    seen: list[Tensor]


class _Stretch(NamedTuple):
    """The frames of a window as they were drawn.

    Attributes:
        begin: the first one's place in the clip.
        made: with what is given put in its place, (batch, frames, 3, height, width), unbounded.
        kl: nats at each scale, (batch, frames, scales).
    """

    begin: int
    made: Tensor
    kl: Tensor


def build(config: Config, parts: Parts) -> Recurrent:
    """Makes the objective."""
    return Recurrent(config, parts)


class Recurrent(Objective):
    """See the file's own description."""

    generator: nn.ModuleDict
    mean: Tensor
    std: Tensor
    even = False

    def __init__(self, config: Config, parts: Parts) -> None:
        super().__init__()
        assert isinstance(parts.sampling, Sampling)
        self.config, self.sampling, self.perceptual = config, parts.sampling, parts.perceptual
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
        return dict.fromkeys([*self.config.pixels.used, "kl"], _counted(batch).sum(1))

    def loss(self, batch: Batch, phase: str, progress: float) -> Iterator[Loss]:
        """How far frames are from the real ones, and the divergence in nats, a part a window."""
        stretches = self._through(batch, self.own(progress), self.config.noise)
        if self.critic and phase == "critic":
            with torch.no_grad():
                made = torch.cat([stretch.made for stretch in stretches], 1)
            return iter([self.critic.loss(made, batch)])
        kind = batch.clips.device.type
        enabled, half = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
        # Parts are asked for later, when the precision that holds now may not hold any more.
        now = torch.autocast(kind, half, enabled=enabled)
        return _each(now, self._compared(stretches, batch, progress))

    def own(self, progress: float) -> float:
        """Share of clips that follow the network's own frames, at a share of the budget."""
        begin, end = self.config.own_rises
        if end <= begin:
            return self.config.own * float(progress >= end)
        return self.config.own * min(1.0, max(0.0, (progress - begin) / (end - begin)))

    def rises(self, progress: float, scales: int) -> list[float]:
        """Of the divergence's weight at each scale, coarsest first, the share at `progress`."""
        longer = [self.config.kl_warmup * place for place in range(scales, 0, -1)]
        return [min(1.0, progress / share) if share else 1.0 for share in longer]

    def held_out(self, batch: Batch) -> tuple[float, dict[str, Any]]:
        """The bound, each frame after real ones and the divergence at its full weight.

        With it, per frame: the terms; nats at each scale, coarsest first, and those of first frames
        and of later ones (near 0 where latents are not used); and the PSNR in dB of continuations
        of the clips' first quarter, and of a standstill instead (`psnr`, `psnr_still`).
        """
        stretches = list(self._through(batch, 0.0, 0.0))
        parts = list(self._compared(iter(stretches), batch, math.inf))
        weights = self.weights(batch, "generator")
        means = {
            name: float(sum(part.sums[name].sum() for part in parts) / weight.sum().clamp(_LEAST))
            for name, weight in weights.items()
            if name != "adversarial"  # what it is far from moves
        }
        total = sum(parts[0].shares[name] * mean for name, mean in means.items())
        counted = _counted(batch)[..., None]
        nats = torch.cat([stretch.kl for stretch in stretches], 1) * counted
        by_scale = nats.sum((0, 1)) / counted.sum().clamp(min=_LEAST)
        more: dict[str, Any] = means | {"kl_by_scale": by_scale.tolist()}
        for name, part in {"kl_first": slice(1), "kl_later": slice(1, None)}.items():
            if (count := counted[:, part].sum()) > 0:
                more[name] = float(nats[:, part].sum() / count)
        return total, more | self._continued(batch)

    def sample(self, request: SampleRequest) -> Tensor:
        """The frames of `frames`, at once."""
        return torch.stack(list(self.frames(request)), 1)

    @torch.no_grad()
    def frames(self, request: SampleRequest) -> Iterator[Tensor]:
        """Makes frame after frame, each (count, 3, height, width) in [-1, 1], as soon as asked for.

        A frame is a function of what was said, of the frames before and of its own place: that more
        are asked for afterwards changes none of them.
        """
        told, pace, given = self._told(request), _pace(request.times), _given(request)
        state = self._network.start(len(request), request.size)
        frame = self._blank(len(request), request.size)
        for place in range(request.times.shape[1]):
            state, shown = self._after(state, frame, pace[:, place])
            if not bool(given[:, place].all()):
                noise = self._noise(request.seeds, request.size, place)
                noise = [one * self.sampling.temperature for one in noise]
                change = self._network.draw(shown, told, noise)[0]
                frame = (frame + change * self.std).clamp(-1, 1)
            if request.known is not None:
                frame = torch.where(given[:, place], request.known[:, place], frame)
            yield frame

    def _through(self, batch: Batch, own: float, noise: float) -> Iterator[_Stretch]:
        """Draws each frame of clips, its latent from the posterior, after the real one before it,
        or in a share `own` of the clips its own one; a stretch a window, which knows no gradients
        of the one before."""
        network, size = self._network, _size(batch)
        state, last = network.start(len(batch), size), self._blank(len(batch), size)
        for places in self._windows(batch):
            window = self._window(batch, places)
            fed = self._fed(batch, window, state, last, own, noise)
            part = slice(places.start, places.stop)
            pace = _pace(batch.times)[:, part]
            shown, state = network.follow(state, self._standard(fed), pace)
            told = window.told.repeat_interleave(len(places), 0)
            given = (shown, window.latents, window.seen)
            flat, latents, seen = ([x.flatten(0, 1) for x in each] for each in given)
            change, priors, posteriors = network.draw(flat, told, latents, seen)
            made = fed + change.view_as(fed) * self.std
            made = torch.where(_given(batch)[:, part], batch.clips[:, part], made)
            laws = zip(posteriors, priors, strict=True)
            nats = torch.stack([divergence(*pair) for pair in laws], -1)
            yield _Stretch(places.start, made, nats.view(*made.shape[:2], -1))
            last, state = made[:, -1].detach(), [tuple(x.detach() for x in one) for one in state]

    def _window(self, batch: Batch, places: range) -> _Window:
        real = batch.clips[:, places.start : places.stop]
        seen = self._network.look(self._standard(real).flatten(0, 1))
        noise = [self._noise(batch.seeds, _size(batch), place) for place in places]
        return _Window(
            places,
            # Anew for each window: gradients reach the text encoder, too, from each.
            self._told(batch),
            [torch.stack(each, 1) for each in zip(*noise, strict=True)],
            [x.view(*real.shape[:2], *x.shape[1:]) for x in seen],
        )

    @torch.no_grad()
    def _fed(
        self, batch: Batch, window: _Window, state: State, last: Tensor, own: float, noise: float
    ) -> Tensor:
        """The frame that each one of a window follows (batch, frames, 3, height, width): nothing
        before the first, else the real one, or in a share `own` of the clips the one drawn in its
        place.

        What is drawn is taken as it is, without gradients, as a frame that came from outside: so
        the frames are drawn a second time, all at once, and only this first pass takes turns.
        """
        before = [place - 1 for place in window.places]
        fed = batch.clips[:, [max(place, 0) for place in before]]
        if before[0] < 0:
            fed[:, 0] = last
        added = torch.zeros_like(fed)
        if noise:
            level = noise * chance.uniform(batch.seeds, "level of noise").view(-1, 1, 1, 1)
            for turn, place in enumerate(window.places):
                drawn = chance.normal(batch.seeds, fed.shape[2:], f"noise {place}")
                added[:, turn] = level * drawn * (place > 0)
        rows = (chance.uniform(batch.seeds, "own") < own).nonzero().flatten()
        if len(rows):
            fed[rows] = self._own(batch, window, state, last, added, rows)
        return fed + added

    def _own(
        self, batch: Batch, window: _Window, state: State, last: Tensor, added: Tensor, rows: Tensor
    ) -> Tensor:
        """Of the clips in some rows of the batch, the frames that were drawn, and what is given,
        each to be followed by the next."""
        pace, given, real = _pace(batch.times)[rows], _given(batch)[rows], batch.clips[rows]
        told, frame, fed = window.told[rows], last[rows], []
        state = [tuple(part[rows] for part in one) for one in state]
        for turn, place in enumerate(window.places):
            if place:
                before = place - 1
                frame = torch.where(given[:, before], real[:, before], frame.clamp(-1, 1))
            fed.append(frame)
            if place + 1 == window.places.stop:
                break
            frame = frame + added[rows, turn]
            state, shown = self._after(state, frame, pace[:, place])
            each = ([x[rows, turn] for x in many] for many in (window.latents, window.seen))
            frame = frame + self._network.draw(shown, told, *each)[0] * self.std
        return torch.stack(fed, 1)

    def _after(self, state: State, frame: Tensor, seconds: Tensor) -> tuple[State, list[Tensor]]:
        """What is remembered and shown after one frame."""
        frames = self._standard(frame)[:, None]
        shown, state = self._network.follow(state, frames, seconds[:, None])
        return state, [x[:, 0] for x in shown]

    def _compared(
        self, stretches: Iterator[_Stretch], batch: Batch, progress: float
    ) -> Iterator[Loss]:
        """The terms of each stretch."""
        numbers = math.prod(batch.clips.shape[2:])
        shares = self.config.pixels.used | {"kl": self.config.kl / numbers}
        last: Tensor | None = None
        for stretch in stretches:
            begin, end = stretch.begin, stretch.begin + stretch.made.shape[1]
            weight = _counted(batch)[:, begin:end]
            made, real, seen = stretch.made, batch.clips[:, begin:end], weight
            if last is not None:  # terms of motion look at the frame before
                made = torch.cat([last, made], 1)
                real = batch.clips[:, begin - 1 : end]
                seen = torch.cat([torch.zeros_like(weight[:, :1]), weight], 1)
            sums = losses.compare(made, real, seen, self.config.pixels, self.perceptual)
            nats = stretch.kl.clamp(min=self.config.free)
            nats = nats @ nats.new_tensor(self.rises(progress, nats.shape[-1]))
            last = made[:, -1:].detach()
            if self.critic:  # all else of the clip being real
                whole = torch.cat([batch.clips[:, :begin], stretch.made, batch.clips[:, end:]], 1)
                sums["adversarial"] = self.critic.against(whole, batch) * weight.sum(1)
            yield Loss(sums | {"kl": (nats * weight).sum(1)}, shares)

    def _continued(self, batch: Batch) -> dict[str, float]:
        """How near the real clips their first quarter is continued, and how near its last frame
        stays: in dB."""
        time = batch.clips.shape[1]
        begin = max(1, time // 4)
        mask = (torch.arange(time, device=batch.clips.device) < begin).float()
        mask = mask.view(1, -1, 1, 1, 1).expand(len(batch), -1, -1, -1, -1)
        request = SampleRequest(
            batch.times, _size(batch), batch.seeds, batch.text, batch.label, batch.clips, mask
        )
        real, still = batch.clips[:, begin:], batch.clips[:, begin - 1 : begin]
        made = {"psnr": self.sample(request)[:, begin:], "psnr_still": still.expand_as(real)}
        # The ratio of identical frames is infinite.
        return {n: float(measures.psnr(x, real).clamp(max=60).mean()) for n, x in made.items()}

    @property
    def _network(self) -> Predictor:
        return cast(Predictor, self.generator["network"])

    def _told(self, given: Batch | SampleRequest) -> Tensor:
        encoder = dict(self.generator.named_children()).get("text")
        return self._network.told(len(given), *conditions.read(encoder, given).told)

    def _standard(self, frames: Tensor) -> Tensor:
        return (frames - self.mean) / self.std

    def _blank(self, count: int, size: tuple[int, int]) -> Tensor:
        """What comes before the first frame, known for what it is by the state before it and by its
        0 seconds."""
        return self.mean.expand(count, 3, *size)

    def _noise(self, seeds: Tensor, size: tuple[int, int], place: int) -> list[Tensor]:
        """Noise of the latents of a frame, for each scale (batch, ...)."""
        shapes = self._network.latents(size)
        counts = [math.prod(shape) for shape in shapes]
        flat = torch.split(chance.normal(seeds, (sum(counts),), f"latent {place}"), counts, 1)
        return [part.view(-1, *shape) for part, shape in zip(flat, shapes, strict=True)]

    def _windows(self, batch: Batch) -> list[range]:
        time = batch.clips.shape[1]
        window = self.config.window or time
        return [range(begin, min(begin + window, time)) for begin in range(0, time, window)]


def _size(batch: Batch) -> tuple[int, int]:
    return batch.clips.shape[-2], batch.clips.shape[-1]


def _pace(times: Tensor) -> Tensor:
    """Seconds from the frame before to each, (batch, time): 0 for the first."""
    return times.diff(dim=1, prepend=times[:, :1])


def _given(of: Batch | SampleRequest) -> Tensor:
    """Where clips are given, (batch, time, 1, height or 1, width or 1)."""
    if of.known_mask is None:
        return torch.zeros_like(of.times, dtype=torch.bool)[..., None, None, None]
    return of.known_mask > 0


def _counted(batch: Batch) -> Tensor:
    """How much each frame counts, (batch, time): those that are wholly given do not."""
    return batch.frame_weight * ~_given(batch).flatten(2).all(2)


def _each(context: torch.autocast, parts: Iterator[Loss]) -> Iterator[Loss]:
    """Parts, each computed in a context that does not hold while it is propagated back."""
    while True:
        with context:
            part = next(parts, None)
        if part is None:
            return
        yield part
