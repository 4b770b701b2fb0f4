"""What objectives over the tokens of clips share: tokens, what is given of them, loss and draws."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Protocol, cast

import pydantic
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core import chance
from ..core.clips import Batch
from ..core.config import Positive, Section, Share
from ..core.errors import RecipeError
from ..sampling import guidance
from . import conditions
from .base import Loss, Objective, Parts, SampleRequest
from .conditions import Conditions
from .latents import Latents

OPEN = -1
"""Among tokens that are being made: not decided yet."""

Grid = tuple[int, int, int]


class Config(Section):
    """What is minimised."""

    drop: Share = 0.1
    """Share of training clips that are shown without any condition, which guidance needs."""
    drop_one: Share = 0.25
    """Where clips have both text and label: share that loses one of them, and as many the other."""
    replaced: Share = 0.1
    """Share of the tokens shown in training that are replaced, by any: the network learns to go on
    from its own mistakes, and learns clips by heart less soon."""
    label_smoothing: Share = 0.0
    """Share of the target that is spread evenly over all tokens (Szegedy et al. 2016)."""


class Sampling(Section):
    """How tokens are drawn."""

    temperature: Positive = 1.0
    """Less than 1 prefers likely tokens, more than 1 evens them out."""
    top_p: Annotated[float, pydantic.Field(gt=0, le=1)] = 0.95
    """Tokens are drawn from the fewest that have this probability together (Holtzman et al. 2020,
    "The Curious Case of Neural Text Degeneration"); 1 draws from all."""
    guidance: float = 2.0
    """How strongly text and label are followed; 1 turns guidance off and halves the work."""


class Levels(Protocol):
    """What `models/fsq.py` has."""

    def numbers(self, digits: Tensor) -> Tensor:
        """Latents of tokens (batch, t, channels, h, w) to their numbers, int64 (batch, t, h, w)."""


class Tokenizer(Protocol):
    """What `models/vae.py` has where its latents are tokens, and a pretrained one would."""

    stride: tuple[int, int, int]
    vocabulary: int
    levels: Levels

    def tokens(self, clips: Tensor) -> Tensor:
        """Clips (batch, time, 3, height, width) to tokens int64 (batch, t, h, w)."""

    def from_tokens(self, tokens: Tensor) -> Tensor:
        """Tokens to clips in [-1, 1]."""


@dataclass(frozen=True)
class Guided:
    """The conditions of clips, and after them none, as many, where guidance asks for it."""

    told: Conditions
    scale: float
    branches: int

    def mixed(self, logits: Tensor) -> Tensor:
        """Logits (branches x batch, ...) of all as those that are drawn from (batch, ...)."""
        if self.branches == 1:
            return logits.float()
        conditional, unconditional = logits.float().chunk(2)
        return guidance.guide(conditional, unconditional, self.scale)


class TokenObjective(Objective):
    """Minimises the cross-entropy of tokens that are not shown, in nats a token.

    The tokenizer is not trained, and no part of the objective's own state.
    """

    generator: nn.ModuleDict
    config: Config
    sampling: Sampling

    def __init__(self, config: Config, parts: Parts, causal: bool) -> None:
        super().__init__()
        assert isinstance(parts.sampling, Sampling)
        shape = cast(Any, parts.network.config)
        if not getattr(parts.tokenizer, "vocabulary", 0):
            told = "not set" if parts.tokenizer is None else "one whose latents are no tokens"
            raise RecipeError(
                f"tokenizer is {told}, and this objective learns tokens",
                "set it in the recipe, as tokenizer: {recipe: fsq}",
            )
        assert parts.tokenizer is not None
        if shape.causal is not causal:
            raise RecipeError(
                f"model.causal = {str(shape.causal).lower()} does not fit the objective",
                f"set model.causal to {str(causal).lower()}",
            )
        self.config, self.sampling = config, parts.sampling
        made = {"network": parts.network} | ({} if parts.text is None else {"text": parts.text})
        self.generator = nn.ModuleDict(made)
        self.latents = Latents(parts.tokenizer)
        self.vocabulary, self.labels = self.tokenizer.vocabulary, int(shape.labels)
        self.window = int(shape.frames) // self.latents.stride[0]

    @property
    def tokenizer(self) -> Tokenizer:
        """Turns clips into tokens and back."""
        return cast(Tokenizer, self.latents.module)

    @abstractmethod
    def hidden(self, batch: Batch, evenly: bool = False) -> Tensor:
        """Which tokens are to be predicted, bool (batch, t, h, w); `evenly`: as for judging."""

    @abstractmethod
    def shown(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """What the network is given of tokens (batch, t, h, w)."""

    @abstractmethod
    def filled(self, tokens: Tensor, request: SampleRequest, guided: Guided, begin: int) -> Tensor:
        """Tokens (batch, t, h, w) with those that are `OPEN` decided.

        Args:
            tokens: a stretch of a clip from step `begin` on, no longer than was trained on.
            request: its times are those of the stretch's tokens (batch, t).
            guided: the conditions.
            begin: tokens in time before the stretch.
        """

    @property
    @abstractmethod
    def ahead(self) -> int:
        """Tokens in time that are made at once of a clip longer than was trained on, at its end;
        those before are what they go on from."""

    def weights(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        """The tokens to be predicted, each counting as the mean of its frames."""
        return {"tokens": self._counts(batch, self.hidden(batch)).flatten(1).sum(1)}

    def loss(self, batch: Batch, phase: str, progress: float) -> Loss:
        """Cross-entropy, conditions dropped and tokens replaced at random."""
        hidden, tokens = self.hidden(batch), self.encoded(batch)
        told = conditions.dropped(batch, self.config.drop, self.config.drop_one, self.labels)
        shown = self.shown(self._replaced(batch, tokens), hidden)
        times = self.latents.over_time(batch.times)
        logits = self.predict(shown, times, self._read(told))
        each = entropy(logits, tokens, self.config.label_smoothing)
        return Loss({"tokens": (each * self._counts(batch, hidden)).flatten(1).sum(1)})

    def held_out(self, batch: Batch) -> tuple[float, dict[str, Any]]:
        """Mean cross-entropy; its exponential, the perplexity; and the accuracy, the share of
        tokens that were thought the likeliest."""
        hidden, tokens = self.hidden(batch, evenly=True), self.encoded(batch)
        times = self.latents.over_time(batch.times)
        logits = self.predict(self.shown(tokens, hidden), times, self._read(batch))
        counts = self._counts(batch, hidden)
        lost = (entropy(logits.detach(), tokens) * counts).flatten(1).sum(1)
        right = ((logits.argmax(-1) == tokens) * counts).sum()
        weight = counts.flatten(1).sum(1).clamp(min=1e-8)
        loss = float(lost.sum() / weight.sum())
        figures = {"perplexity": math.exp(loss), "accuracy": float(right / weight.sum())}
        return loss, figures | self.by_clip(lost, weight)

    def by_clip(self, lost: Tensor, weight: Tensor) -> dict[str, Any]:
        """Further figures of held-out clips, from the cross-entropy of each and how many of its
        tokens count, (batch,) both."""
        return {}

    def sample(self, request: SampleRequest) -> Tensor:
        """Draws tokens and decodes them; frames that are given stay as they are."""
        tokens = self.drawn(request, self._given_tokens(request))
        made = self.tokenizer.from_tokens(tokens).float().clamp(-1, 1)
        if request.known is None or request.known_mask is None:
            return made
        return torch.where(request.known_mask > 0, request.known, made)

    def drawn(self, request: SampleRequest, tokens: Tensor) -> Tensor:
        """Tokens (batch, t, h, w) with those that are `OPEN` decided, stretch by stretch."""
        total = tokens.shape[1]
        length = min(self.window or total, total)
        guided, tokens = self._guided(request), tokens.clone()
        times = self.latents.over_time(request.times)
        for begin in [*range(0, total - length, self.ahead), total - length]:
            stretch = slice(begin, begin + length)
            if bool((tokens[:, stretch] == OPEN).any()):
                # Counted as if the clip began here: no later moments were trained on.
                moments = times[:, stretch] - times[:, begin, None] + times[:, :1]
                asked = replace(request, times=moments)
                tokens[:, stretch] = self.filled(tokens[:, stretch], asked, guided, begin)
        return tokens

    def encoded(self, batch: Batch) -> Tensor:
        """Tokens of clips, int64 (batch, t, h, w). Given frames are encoded by themselves, as when
        clips are made: a tokenizer may see the future in those beside them."""
        known = self._given_tokens(batch)
        if batch.latents is not None:
            tokens = self.tokenizer.levels.numbers(batch.latents)
        else:
            tokens = self._tokens(batch.clips)
        return torch.where(known == OPEN, tokens, known)

    def _tokens(self, clips: Tensor) -> Tensor:
        self.latents.module.to(clips.device)
        with torch.no_grad():
            return self.tokenizer.tokens(clips)

    def predict(self, tokens: Tensor, times: Tensor, told: Conditions) -> Tensor:
        """Logits, float32 (batch, t, h, w, vocabulary); times are those of tokens (batch, t)."""
        logits: Tensor = self.generator["network"](tokens, times, *told.told)
        return logits.float()

    def given(self, clips: Batch | SampleRequest) -> Tensor:
        """Which tokens are given, bool (batch, t, h, w).

        Raises:
            RecipeError: frames are given that do not fill tokens, or not the first ones.
        """
        (t, h, w), span = self._grid(clips), self.latents.stride[0]
        if clips.known_mask is None:
            return torch.zeros(len(clips), t, h, w, dtype=torch.bool, device=clips.times.device)
        count = given_frames(clips.known_mask)
        for odd in count[count % span > 0].tolist():
            raise RecipeError(
                f"data.tasks.given = {odd}: given frames fill whole tokens of {span} frames",
                f"set data.tasks.given to a multiple of {span}",
            )
        first = torch.arange(t, device=count.device) < count[:, None] // span
        return first[:, :, None, None].expand(-1, -1, h, w)

    def _given_tokens(self, clips: Batch | SampleRequest) -> Tensor:
        """Tokens of the frames that are given, `OPEN` elsewhere."""
        given = self.given(clips)
        tokens = torch.full(given.shape, OPEN, device=given.device)
        if clips.known is not None:
            steps = given[:, :, 0, 0].sum(1)
            for count in set(steps.tolist()) - {0}:
                frames = clips.known[steps == count, : count * self.latents.stride[0]]
                tokens[steps == count, :count] = self._tokens(frames)
        return tokens

    def _grid(self, clips: Batch | SampleRequest) -> Grid:
        """Tokens of a clip along time, height and width."""
        size = clips.clips.shape[-2:] if isinstance(clips, Batch) else clips.size
        a, b, c = self.latents.stride
        return clips.times.shape[1] // a, size[0] // b, size[1] // c

    def _counts(self, batch: Batch, hidden: Tensor) -> Tensor:
        """How much each token counts, (batch, t, h, w): 0 where it is not to be predicted."""
        return hidden * self.latents.over_time(batch.frame_weight)[:, :, None, None]

    def _replaced(self, batch: Batch, tokens: Tensor) -> Tensor:
        """Some tokens replaced by any at random, none of those that are given."""
        noise = chance.normal(batch.seeds, (2, *tokens.shape[1:]), "replaced")
        draw, other = torch.special.ndtr(noise).unbind(1)
        others = (other * self.vocabulary).long().clamp(max=self.vocabulary - 1)
        return torch.where((draw < self.config.replaced) & ~self.given(batch), others, tokens)

    def _guided(self, request: SampleRequest) -> Guided:
        told = self._read(request)
        scale = self.sampling.guidance if request.guidance is None else request.guidance
        if scale == 1 or not told.any:
            return Guided(told, 1.0, 1)
        return Guided(told.beside_none(self.labels), scale, 2)

    def _read(self, clips: Batch | SampleRequest) -> Conditions:
        return conditions.read(dict(self.generator.named_children()).get("text"), clips)


def entropy(logits: Tensor, tokens: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of logits (batch, t, h, w, vocabulary) in nats, (batch, t, h, w)."""
    flat = logits.flatten(0, -2), tokens.flatten()
    return F.cross_entropy(*flat, reduction="none", label_smoothing=smoothing).view_as(tokens)


def given_frames(mask: Tensor) -> Tensor:
    """How many first frames a mask (batch, time, 1, height, width) gives of each clip, (batch,).

    Raises:
        RecipeError: it gives others, or parts of frames.
    """
    most, least = mask.flatten(2).amax(2), mask.flatten(2).amin(2)
    count = (most > 0).sum(1)
    first = torch.arange(mask.shape[1], device=mask.device) < count[:, None]
    if not torch.equal(least > 0, first):
        raise RecipeError(
            "frames are given that are not whole, or not the first of their clip: tokens go on "
            "from first frames only",
            "give whole frames from the first one on, as data.tasks.prefix does",
        )
    return count


def races(seeds: Tensor, shape: Sequence[int], use: str) -> Tensor:
    """Exponential noise (batch, *shape), of mean 2: half a square of two normal numbers, twice.

    Of probabilities p, the place where p / noise is largest is drawn with probability p (the
    Gumbel-max trick), and stays the same where p changes by rounding alone.
    """
    return chance.normal(seeds, (2, *shape), use).square().sum(1)


def draw(logits: Tensor, noise: Tensor, sampling: Sampling) -> Tensor:
    """Tokens (...) drawn from logits (..., vocabulary) with noise of `races`."""
    likely = F.softmax(logits / sampling.temperature, -1)
    if sampling.top_p < 1:
        ordered = likely.sort(-1, descending=True).values
        beyond = ordered.cumsum(-1) - ordered >= sampling.top_p
        least = ordered.masked_fill(beyond, 1).amin(-1, keepdim=True)
        likely = likely.masked_fill(likely < least, 0)
    return (likely / noise).argmax(-1)
