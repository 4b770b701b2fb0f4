"""A convolutional recurrent network: draws a clip frame by frame, with latents at every scale.

Convolutional LSTM and GRU (Shi et al. 2015, "Convolutional LSTM Network"; Ballas et al. 2016,
"Delving Deeper into Convolutional Networks for Learning Video Representations") remember the frames
before; a latent of each frame has a learned prior given these, and a posterior that has seen the
frame as well (Denton and Fergus 2018, "Stochastic Video Generation with a Learned Prior"). Latents
stand at every scale, each drawn given the coarser ones (Castrejon et al. 2019, "Improved
Conditional VRNNs for Video Prediction"; Vahdat and Kautz 2020, "NVAE"), the coarsest one for the
picture as a whole: single places that are drawn apart from one another do not agree on a picture.
What is drawn is the change of the frame before.

States follow from frames alone, never from latents. So given frames are taken in without guessing
latents for them, a clip goes on from a frame whether it was given or made, and where the frames are
there already only the cells go through them one by one: all else takes them at once.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor, nn

from ..core.config import Count, Section
from . import text as text_module
from .patches import from_patches, to_patches


class Config(Section):
    """The network's shape."""

    cell: Literal["gru", "lstm"] = "gru"
    """The recurrence: gru is smaller and faster, lstm keeps a second state beside what it shows."""
    widths: tuple[Count, ...] = (48, 96, 128, 192)
    """Channels at each scale, finest first; each has half the rows and columns of the one before,
    and the last a single place for the whole picture."""
    latents: tuple[Count, ...] = (4, 8, 16, 64)
    """Numbers of the latent at each place of each scale."""
    depth: Count = 1
    """Residual blocks wherever a frame is read or drawn at a scale."""
    fold: Count = 4
    """Rows and columns of pixels in one place of the finest scale."""
    lapped: bool = True
    """Places of the finest scale reach smoothly into their neighbours, which leaves far less of a
    grid."""
    still: bool = True
    """Draws what stands still once: how much of each pixel stays what it was in the frame before is
    drawn as well."""
    channels: int = 3
    """Channels of a clip."""
    labels: int = 0
    """Classes, settled from the dataset; 0 for none."""
    text: text_module.Config | None = text_module.Config()
    """The text encoder; null for none, which is settled so where the data has no captions."""

    @property
    def patch(self) -> tuple[int, int, int]:
        """What frames, rows and columns of a clip are multiples of."""
        side = self.fold * 2 ** (len(self.widths) - 2)
        return 1, side, side

    @model_validator(mode="after")
    def _scales_agree(self) -> Self:
        if len(self.widths) < 2 or len(self.widths) != len(self.latents):
            raise ValueError(
                f"widths {self.widths} and latents {self.latents} are not of as many scales, "
                "two or more"
            )
        return self


SIZES: dict[str, dict[str, Any]] = {
    "nano": {"widths": (32, 64, 96, 128), "latents": (2, 4, 8, 32)},
    "small": {"widths": (48, 96, 128, 192), "latents": (4, 8, 16, 64)},
    "base": {"widths": (128, 256, 384, 512), "latents": (8, 16, 32, 128), "depth": 2},
}

State = list[tuple[Tensor, ...]]
"""What the cell of each scale remembers, finest first: what it shows, and for an LSTM what it
keeps, each (batch, width, rows, columns)."""


class Gaussian(NamedTuple):
    """Independent normal numbers, each (n, latent, rows, columns), fp32."""

    mean: Tensor
    log_variance: Tensor


class Drawn(NamedTuple):
    """Changes of frames, (n, channels, height, width), and the laws of their latents, coarsest
    first; `posterior` is empty where nothing was seen."""

    change: Tensor
    prior: list[Gaussian]
    posterior: list[Gaussian]


def build(config: Config) -> ConvRNN:
    """Makes the network."""
    return ConvRNN(config)


# Log-variances of priors and posteriors stay between these: exp of neither is ever extreme.
LEAST, MOST = -8.0, 4.0
# Of what changes, at first, before the sigmoid: nearly all.
_FIRST_SHARE = 3.0
# Frames a second at which the time to the next frame is told as 0.
_USUAL = 8


class ConvRNN(nn.Module):
    """Remembers frames, and draws the change that makes the next.

    A scale's layers live in `blocks`: the optimizer treats their kernels as hidden ones.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        widths, pixels = config.widths, config.channels * config.fold**2
        self.embed = nn.Linear(pixels, widths[0])
        # One entry more than there are classes: the last says "not said".
        self.label = nn.Embedding(config.labels + 1, widths[-1]) if config.labels else None
        self.text: nn.Linear | None = None
        if config.text is not None:
            self.text = nn.Linear(config.text.width, widths[-1])
            self.nothing = nn.Parameter(torch.randn(widths[-1]) * 0.02)
        self.pace = nn.Linear(1, widths[-1])
        self.blocks = nn.ModuleList(Scale(config, place) for place in range(len(widths)))
        self.out = nn.ModuleDict({"blocks": _several(widths[0], config.depth, 3)})
        self.head = nn.Linear(widths[0], pixels + config.still * config.fold**2)
        _silenced(self.head)  # at first nothing changes
        if self.label is not None:
            nn.init.normal_(self.label.weight, std=0.02)

    def latents(self, size: tuple[int, int]) -> list[tuple[int, int, int]]:
        """Shapes of the latents of a frame of `size`, coarsest first."""
        shapes = zip(self.config.latents, self._grids(size), strict=True)
        return [(latent, *grid) for latent, grid in shapes][::-1]

    def told(
        self,
        count: int,
        label: Tensor | None = None,
        text: Tensor | None = None,
        text_mask: Tensor | None = None,
    ) -> Tensor:
        """What clips are said to be, as a vector each: (count, last of the widths).

        Args:
            count: how many clips.
            label: classes (count,); the number of classes stands for "not said".
            text: features (count, length, text width).
            text_mask: (count, length), False where there is no word; all False for no text.
        """
        where = self.pace.weight.device
        told = torch.zeros(count, self.config.widths[-1], device=where)
        if self.label is not None:
            unsaid = torch.full((count,), self.config.labels, device=where)
            told = told + self.label(unsaid if label is None else label)
        if self.text is not None:
            words = self.nothing.expand(count, -1)
            if text is not None and text_mask is not None:
                there = text_mask.float()[..., None]
                mean = (text * there).sum(1) / there.sum(1).clamp(min=1)
                words = torch.where(text_mask.any(1, keepdim=True), self.text(mean), words)
            told = told + words
        return told

    def start(self, count: int, size: tuple[int, int]) -> State:
        """What is remembered before there is any frame: it is learned."""
        grids = zip(self._scales, self._grids(size), strict=True)
        return [scale.start(count, grid) for scale, grid in grids]

    def follow(self, state: State, frames: Tensor, seconds: Tensor) -> tuple[list[Tensor], State]:
        """Takes in frames, one after another.

        Args:
            state: what is remembered of the frames before.
            frames: (batch, time, channels, height, width), of mean 0 and deviation 1.
            seconds: from each frame to the next, (batch, time).

        Returns:
            What is to be gone on from after each frame, (batch, time, width, rows, columns) for
            each scale, finest first; and what is remembered after the last.
        """
        features = self._features(frames.flatten(0, 1))
        pace = self.pace(seconds.reshape(-1, 1) * _USUAL - 1)[..., None, None]
        features[-1] = features[-1] + pace.to(features[-1].dtype)
        shown, last = [], []
        for scale, x, before in zip(self._scales, features, state, strict=True):
            x = normal(x)
            each, after = scale.cell(x, before, frames.shape[1])
            # Beside what is remembered, the frame itself: it need not go through memory.
            shown.append(each + x.view_as(each))
            last.append(after)
        return shown, last

    def look(self, frames: Tensor) -> list[Tensor]:
        """What posteriors are to see of frames (n, channels, height, width): (n, width, rows,
        columns) for each scale, finest first."""
        features = zip(self._scales, self._features(frames), strict=True)
        return [scale.look(normal(x)) for scale, x in features]

    def draw(
        self,
        shown: list[Tensor],
        told: Tensor,
        noise: list[Tensor],
        seen: list[Tensor] | None = None,
    ) -> Drawn:
        """Draws changes that make the next frames.

        Args:
            shown: by cells after the frames before, (n, width, rows, columns) for each scale.
            told: as `told` gives it, (n, last of the widths).
            noise: standard normal numbers in the shapes of `latents`, (n, ...) each.
            seen: of the next frames themselves, as `look` gives it: their latents are then from the
                posterior. None for the prior.
        """
        x: Tensor | None = None
        prior, posterior = [], []
        for place, drawn in zip(reversed(range(len(shown))), noise, strict=True):
            scale = self._scales[place]
            x = scale.think(x, shown[place], told)
            laws = scale.laws(x, None if seen is None else seen[place])
            prior.append(laws[0])
            posterior += laws[1:]
            mean, log_variance = laws[-1]
            x = x + scale.insert(mean + drawn * (log_variance / 2).exp())
        assert x is not None
        x = F.silu(normal(self.out["blocks"](x)))
        tokens = self.head(x.permute(0, 2, 3, 1)).flatten(1, 2)
        patch, grid = (1, self.config.fold, self.config.fold), (1, x.shape[-2], x.shape[-1])
        channels = self.config.channels + self.config.still
        change = from_patches(tokens, grid, patch, channels, self.config.lapped)[:, 0].float()
        if self.config.still:
            change = change[:, :-1] * (_FIRST_SHARE - change[:, -1:]).sigmoid()
        return Drawn(change, prior, posterior)

    def _features(self, frames: Tensor) -> list[Tensor]:
        patch = (1, self.config.fold, self.config.fold)
        grid = self._grids((frames.shape[-2], frames.shape[-1]))[0]
        tokens = self.embed(to_patches(frames[:, None], patch, self.config.lapped))
        x = tokens.view(len(frames), *grid, -1).permute(0, 3, 1, 2)
        found = []
        for scale in self._scales:
            x = scale.read(x)
            found.append(x)
        return found

    @property
    def _scales(self) -> list[Scale]:
        return list(self.blocks)  # type: ignore[arg-type]

    def _grids(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """Rows and columns of places at each scale, finest first."""
        rows, columns = (side // self.config.fold for side in size)
        fine = range(len(self.config.widths) - 1)
        return [*((rows >> place, columns >> place) for place in fine), (1, 1)]


class Scale(nn.Module):
    """All that reads, remembers and draws at one scale."""

    def __init__(self, config: Config, place: int) -> None:
        super().__init__()
        widths, width, latent = config.widths, config.widths[place], config.latents[place]
        self.whole = place == len(widths) - 1
        kernel = 1 if self.whole else 3
        self.shrink: nn.Conv2d | None = None
        if place:
            self.shrink = _conv(widths[place - 1], width, 1 if self.whole else 2)
        self.reading = _several(width, config.depth, kernel)
        self.cell = Cell(config.cell, width, width, kernel)
        self.first = nn.Parameter(torch.zeros(self.cell.states * width))
        self.grow = None if self.whole else _conv(widths[place + 1], width, 1)
        self.say = nn.Linear(widths[-1], width)
        self.thinking = _several(width, config.depth, kernel)
        self.guess, self.correct = _conv(width, 2 * latent, 1), _conv(width, 2 * latent, 1)
        self.look, self.insert = _conv(width, width, 1), _conv(latent, width, 1)
        _silenced(self.guess, self.correct)  # priors begin as standard, and posteriors as priors

    def start(self, count: int, grid: tuple[int, int]) -> tuple[Tensor, ...]:
        """The first state, the same at every place."""
        states = self.first.view(self.cell.states, 1, -1, 1, 1)
        return tuple(one.expand(count, -1, *grid) for one in states)

    def read(self, x: Tensor) -> Tensor:
        """Features at this scale from those at the next finer one."""
        if self.shrink is not None:
            x = self.shrink(x.mean((2, 3), keepdim=True) if self.whole else x)
        return self.reading(x)  # type: ignore[no-any-return]

    def think(self, coarser: Tensor | None, shown: Tensor, told: Tensor) -> Tensor:
        """What is to be drawn, before the latent: from memory, what is said and the coarser
        scale."""
        x = shown + self.say(told)[..., None, None].to(shown.dtype)
        if self.grow is not None:
            x = x + F.interpolate(self.grow(coarser), x.shape[-2:])
        return self.thinking(x)  # type: ignore[no-any-return]

    def laws(self, x: Tensor, seen: Tensor | None) -> list[Gaussian]:
        """The latent's law as far as it can be known before the frame, and the one given what was
        `seen` of it, as a correction of the first (Vahdat and Kautz 2020, eq. 5)."""
        x = normal(x)
        both = [self.guess(x).float()]
        if seen is not None:
            both.append(both[0] + self.correct(F.silu(x + seen)).float())
        halves = [one.chunk(2, 1) for one in both]
        return [Gaussian(mean, log.clamp(LEAST, MOST)) for mean, log in halves]


class Cell(nn.Module):
    """A recurrent cell whose products are convolutions: over the state, and at each place alone of
    what comes in, which has been through convolutions before.

    With a kernel of 1 it is `torch.nn.GRUCell` or `torch.nn.LSTMCell` at each place, gates in their
    order. The GRU resets the state after the product, not before (as in cuDNN), so that one
    convolution makes all its gates.
    """

    def __init__(self, kind: str, width: int, state: int, kernel: int = 3) -> None:
        super().__init__()
        self.kind, self.states = kind, 2 if kind == "lstm" else 1
        gates = 4 if kind == "lstm" else 3
        self.given, self.kept = _conv(width, gates * state, 1), _conv(state, gates * state, kernel)
        if kind == "lstm":  # remembers at first (Jozefowicz et al. 2015)
            nn.init.ones_(self.kept.bias[state : 2 * state])  # type: ignore[index]

    def forward(
        self, x: Tensor, state: tuple[Tensor, ...], time: int
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """x: (batch x time, width, rows, columns); state: what is shown, and for an LSTM what is
        kept, each (batch, state, rows, columns). Gives what is shown after each, (batch, time,
        state, rows, columns), and the last state."""
        step = self._lstm if self.kind == "lstm" else self._gru
        given, shown = self.given(x), []
        for one in given.view(-1, time, *given.shape[1:]).unbind(1):
            state = step(one, self.kept(state[0]), state)
            shown.append(state[0])
        return torch.stack(shown, 1), state

    def _gru(self, given: Tensor, kept: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        width = state[0].shape[1]
        reset, stay = (given[:, : 2 * width] + kept[:, : 2 * width]).sigmoid().chunk(2, 1)
        new = torch.addcmul(given[:, 2 * width :], reset, kept[:, 2 * width :]).tanh()
        return (torch.lerp(new, state[0].to(new.dtype), stay),)

    def _lstm(self, given: Tensor, kept: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        enter, forget, new, show = (given + kept).chunk(4, 1)
        inside = forget.sigmoid() * state[1] + enter.sigmoid() * new.tanh()
        return show.sigmoid() * inside.tanh(), inside


class Block(nn.Module):
    """Adds two convolutions of what it is given; begins by adding nothing (He et al. 2016,
    "Identity Mappings in Deep Residual Networks")."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.up, self.down = _conv(width, width, kernel), _conv(width, width, kernel)
        _silenced(self.down)

    def forward(self, x: Tensor) -> Tensor:
        """(n, width, rows, columns) to the same."""
        made: Tensor = self.down(F.silu(self.up(normal(x))))
        return x + made


def _several(width: int, depth: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width, kernel) for _ in range(depth)))


def _conv(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    """One that leaves the size as it is, or for a kernel of 2 halves it."""
    if kernel == 2:
        return nn.Conv2d(inputs, outputs, 2, stride=2)
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)


def _silenced(*layers: nn.Conv2d | nn.Linear) -> None:
    """Makes layers begin by giving zeros."""
    for layer in layers:
        nn.init.zeros_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def normal(x: Tensor) -> Tensor:
    """(n, width, rows, columns) with the channels of each place normalised (Ba et al. 2016), laid
    out channels last, which convolutions are fastest on."""
    return F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2]).permute(0, 3, 1, 2)
