"""A generator and a discriminator of space-time convolutions, which can grow level by level.

Residual blocks without normalisation, whose last layer begins at zero (Huang et al. 2024, "The GAN
is dead; long live the GAN! A Modern GAN Baseline"). Every level of the generator adds a picture of
its own to the enlarged picture of the levels below, and every level of the discriminator looks at
the clip itself, reduced (the skips of Karras et al. 2020, "Analyzing and Improving the Image
Quality of StyleGAN", fig. 7). A new level is faded in by the weight of what it adds (Karras et al.
2018, "Progressive Growing of GANs"), so that the same networks serve with growth and without.

Pixels are folded into channels: the finest features of 64 x 64 pixels are 16 x 16. What is made is
unfolded through lapped patches (`patches.py`), which leave less of a seam where patches meet.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import pydantic
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ..core.config import Count, Section
from . import text as text_module
from .gan_told import Told
from .patches import from_patches, waves
from .volumes import PLACES, SLOPE, Conv3d, act, enlarged, folded, halved, places_of


class Config(Section):
    """The shape of both networks."""

    widths: Annotated[tuple[Count, ...], pydantic.Field(min_length=1)] = (256, 128)
    """Channels of each level, the coarsest first; each level has twice the frames, rows and columns
    of the one before."""
    depth: Count = 2
    """Residual blocks in a level."""
    latent: Count = 128
    """Numbers that a clip is made from; what is told of it is as many."""
    fold: tuple[Count, Count, Count] = (2, 4, 4)
    """Frames, rows and columns of pixels in one place of the finest features; (1, 1, 1) over a
    tokenizer's latents."""
    picture: bool = False
    """Clips go on from their first frame, where the data's tasks give it."""
    channels: Count = 3
    """Channels of a clip."""
    stride: tuple[Count, Count, Count] = (1, 1, 1)
    """Frames, rows and columns of pixels in one place of a clip, settled from the tokenizer: the
    first frame is always seen as pixels."""
    spectral: bool = False
    """The discriminator's weights are divided by their largest singular value (Miyato et al. 2018,
    "Spectral Normalization for Generative Adversarial Networks"), beside penalties or without."""
    labels: int = 0
    """Classes, settled from the dataset; 0 for none."""
    text: text_module.Config | None = text_module.Config()
    """The text encoder, of which each network has its own; null for none, which is settled so where
    the data has no captions."""

    @property
    def patch(self) -> tuple[int, int, int]:
        """Frames, rows and columns of pixels in one place of the coarsest features."""
        a, b, c = (side * 2 ** (len(self.widths) - 1) for side in self.fold)
        return a, b, c


SIZES: dict[str, dict[str, Any]] = {
    "nano": {"widths": (64, 32), "depth": 1, "latent": 64},
    "small": {"widths": (256, 128), "latent": 128},
    "base": {"widths": (768, 512, 256), "depth": 3, "latent": 256},
}


def build(config: Config) -> Gan:
    """Makes both networks."""
    return Gan(config)


class Gan(nn.Module):
    """The two networks, and what a clip is at each level.

    A level is a number from 0, the coarsest, to `levels` - 1, the finest; 1.25 is level 1 with a
    quarter of what level 2 adds.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.levels = config, len(config.widths)
        self.generator, self.discriminator = Generator(config), Discriminator(config)

    def reduced(self, clips: Tensor, level: float) -> Tensor:
        """Full clips (batch, time, channel, height, width) as a level has them: each halving is a
        mean over two frames, rows and columns."""
        for _ in range(math.ceil(level), self.levels - 1):
            clips = halved(clips)
        return clips


class Generator(nn.Module):
    """Numbers drawn at random to clips."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        widths, latent = config.widths, config.latent
        self.told = Told(config)
        self.style = nn.Sequential(
            nn.Linear(2 * latent if self.told.any else latent, latent), nn.LeakyReLU(SLOPE),
            nn.Linear(latent, latent), nn.LeakyReLU(SLOPE),
        )  # fmt: skip
        self.place = nn.Linear(PLACES, widths[0])
        self.start = nn.Linear(latent, widths[0])
        self.blocks = nn.ModuleList(
            Riser(below, width, config)
            for below, width in zip((None, *widths), widths, strict=False)
        )
        _initialise(self, config.depth * len(widths))

    def forward(
        self,
        latent: Tensor,
        times: Tensor,
        size: tuple[int, int],
        level: float,
        label: Tensor | None = None,
        words: Tensor | None = None,
        mask: Tensor | None = None,
        picture: Tensor | None = None,
        truncation: float = 1.0,
        full: bool = False,
    ) -> Tensor:
        """Makes clips.

        Args:
            latent: standard normal numbers (batch, latent).
            times: seconds of each frame of a full clip (batch, time).
            size: height and width of a full clip.
            level: up to which level.
            label: classes (batch,); the number of classes stands for "not said".
            words, mask: features of text (batch, length, width), and False where there is no word.
            picture: the first frame (batch, channels, height, width) and a channel that is 1 where
                it is given, else 0.
            truncation: 1 for all that there is; below, nearer to the mean style of what is told.
            full: enlarge clips of a coarser level to the extent of full ones.

        Returns:
            float32 (batch, time, channel, height, width); halved for each level left out, unless
            `full`.
        """
        told, maps = self.told(label, words, mask, picture, len(latent))
        style = self._style(latent, told, truncation)
        a, b, c = self.config.patch
        grid = (times.shape[1] // a, size[0] // b, size[1] // c)
        x = (self.place(places_of(times, grid)) * self.start(style)[:, None, None, None]).permute(
            0, 4, 1, 2, 3
        )
        clips: Tensor | None = None
        for place, block in enumerate(self.blocks):
            share = min(1.0, level - place + 1)
            if share > 0:
                x, shown = block(x, style, maps[place] if maps else None)
                clips = shown if clips is None else enlarged(clips) + share * shown
            elif full and clips is not None:
                clips = enlarged(clips)
        assert clips is not None
        return clips

    def _style(self, latent: Tensor, told: Tensor | None, truncation: float) -> Tensor:
        style: Tensor = self.style(_beside(latent, told))
        if truncation == 1:
            return style
        # The mean of many draws beside what each clip is told (Karras et al. 2019, "A Style-Based
        # Generator Architecture", appendix B).
        draws = torch.randn(_DRAWS, latent.shape[1], generator=torch.Generator().manual_seed(0))
        alike = [None] * len(latent) if told is None else list(told[:, None])
        means = [self.style(_beside(draws.to(latent), one)).mean(0) for one in alike]
        return torch.stack(means).lerp(style, truncation)


class Discriminator(nn.Module):
    """Clips to a number each: the larger, the more real they look beside what is told of them."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, widths = config, config.widths
        self.told = Told(config)
        self.blocks = nn.ModuleList(
            Faller(width, below, config)
            for below, width in zip((None, *widths), widths, strict=False)
        )
        self.place = nn.Linear(PLACES, widths[0])
        self.score = nn.Linear(widths[0], 1)
        self.fit = nn.Linear(widths[0], config.latent) if self.told.any else None
        _initialise(self, config.depth * len(widths))
        if config.spectral:
            _normalise(self)

    def forward(
        self,
        clips: Tensor,
        times: Tensor,
        level: float,
        label: Tensor | None = None,
        words: Tensor | None = None,
        mask: Tensor | None = None,
        picture: Tensor | None = None,
    ) -> Tensor:
        """Judges clips.

        Args:
            clips: (batch, time, channel, height, width) as `level` has them.
            times: seconds of each frame of a full clip (batch, time).
            level, label, words, mask, picture: as the generator takes them.

        Returns:
            float32 (batch,).
        """
        x: Tensor | None = None
        for place in range(math.ceil(level), -1, -1):
            # What finer levels saw counts as much as the next one does so far.
            x = self.blocks[place](clips, None if x is None else min(1.0, level - place) * x)
            clips = halved(clips) if place else clips
        assert x is not None
        # What is seen counts by where it is: a learned weight for each place and channel.
        t, h, w = x.shape[2:]
        weight = self.place(places_of(times, (t, h, w))).permute(0, 4, 1, 2, 3)
        seen = (act(x) * weight).mean((2, 3, 4))
        score: Tensor = self.score(seen).float()[:, 0]
        told, _ = self.told(label, words, mask, picture, len(clips))
        if self.fit is None or told is None:
            return score
        # Projection: Miyato and Koyama 2018, "cGANs with Projection Discriminator", eq. 3.
        fits: Tensor = (self.fit(seen) * told).float().sum(1) / self.config.latent**0.5
        return score + fits


class Riser(nn.Module):
    """A level of the generator: features are enlarged, worked on, and shown as a clip."""

    def __init__(self, below: int | None, width: int, config: Config) -> None:
        super().__init__()
        self.fold, self.channels = config.fold, config.channels
        self.enter = None if below is None else Conv3d(below, width, 1)
        self.look = nn.Conv2d(width, width, 1) if config.picture else None
        self.blocks = nn.ModuleList(Residual(width, config.latent) for _ in range(config.depth))
        self.show = Conv3d(width, self.channels * math.prod(self.fold), 1)

    def forward(self, x: Tensor, style: Tensor, seen: Tensor | None) -> tuple[Tensor, Tensor]:
        """Features (batch, below, t, h, w) to (batch, width, 2t, 2h, 2w), and the clip they show.

        `seen` is a map of a picture (batch, width, 2h, 2w). The first level enlarges nothing.
        """
        if self.enter is not None:
            lines = self.enter(x).permute(0, 2, 3, 4, 1)
            x = enlarged(lines, (1, 2, 3)).permute(0, 4, 1, 2, 3)
        if self.look is not None and seen is not None:
            x = x + self.look(seen)[:, :, None]
        for block in self.blocks:
            x = block(x, style)
        t, h, w = x.shape[2:]
        tokens = self.show(x).permute(0, 2, 3, 4, 1).flatten(1, 3).float()
        with torch.autocast(x.device.type, enabled=False):
            return x, from_patches(tokens, (t, h, w), self.fold, self.channels, lapped=True)


class Faller(nn.Module):
    """A level of the discriminator: what a clip shows here, beside what finer levels saw."""

    def __init__(self, width: int, below: int | None, config: Config) -> None:
        super().__init__()
        self.fold, self.channels = config.fold, config.channels
        self.see = Conv3d(self.channels * math.prod(self.fold), width, 1)
        self.blocks = nn.ModuleList(Residual(width) for _ in range(config.depth))
        self.leave = None if below is None else Conv3d(width, below, 2, stride=2)

    def forward(self, clips: Tensor, above: Tensor | None) -> Tensor:
        """Clips as this level has them, and features (batch, width, t, h, w) of the level above,
        to features (batch, below, t / 2, h / 2, w / 2); the last level keeps its extent."""
        x: Tensor = self.see(folded(clips, self.fold))
        x = x if above is None else x + above
        for block in self.blocks:
            x = block(x)
        return x if self.leave is None else self.leave(x)


class Residual(nn.Module):
    """x + what a narrow passage makes of it: fewer channels, convolved in space and then in time
    (Tran et al. 2018, "A Closer Look at Spatiotemporal Convolutions"), and as many again; at first
    x alone. A style scales what goes in."""

    def __init__(self, width: int, style: int | None = None) -> None:
        super().__init__()
        inner = max(_NARROWEST, width // 4)
        self.narrow = Conv3d(width, inner, 1)
        self.space = Conv3d(inner, inner, (1, 3, 3), padding=(0, 1, 1))
        self.time = Conv3d(inner, inner, (3, 1, 1), padding=(1, 0, 0))
        self.widen = Conv3d(inner, width, 1)
        self.steer = None if style is None else nn.Linear(style, width)

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        """(batch, width, t, h, w) to the same."""
        change = act(x)
        if self.steer is not None and style is not None:
            change = change * (1 + self.steer(style))[:, :, None, None, None]
        for layer in (self.narrow, self.space, self.time):
            change = act(layer(change))
        made: Tensor = x + self.widen(change)
        return made


_DRAWS, _PIXELS, _NARROWEST = 256, 0.25, 16


def _beside(latent: Tensor, told: Tensor | None) -> Tensor:
    return latent if told is None else torch.cat([latent, told.expand(len(latent), -1)], 1)


def _initialise(network: nn.Module, depth: int) -> None:
    """Keeps variance as it is; `depth` residual branches begin at nothing (Zhang et al. 2019,
    "Fixup Initialization"); pixels are shown and seen as slow waves in time and space first, since
    a random mixture of the pixels of a place shows as a grid."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, Residual):
                for layer in (module.narrow, module.space, module.time):
                    nn.init.kaiming_normal_(layer.weight, SLOPE).mul_(depth ** (-1 / 6))
                nn.init.zeros_(module.widen.weight)
                if module.steer is not None:
                    nn.init.zeros_(module.steer.weight)
            elif isinstance(module, Riser):
                weight = module.show.weight.zero_()[..., 0, 0, 0]
                slow = waves(module.fold, module.channels, weight.shape[1])
                weight[:, : len(slow)] = _PIXELS * slow.T
            elif isinstance(module, Faller):
                weight = module.see.weight.zero_()[..., 0, 0, 0]
                slow = waves(module.fold, module.channels, len(weight))
                weight[: len(slow)] = _PIXELS * slow


def _normalise(network: nn.Module) -> None:
    """Divides all weights by their spectral norm; none may be zero, as the last of branches are."""
    for module in list(network.modules()):
        if isinstance(module, nn.Conv3d | nn.Conv2d | nn.Linear):
            if not module.weight.any():
                nn.init.normal_(module.weight, std=0.1 * module.weight[0].numel() ** -0.5)
            spectral_norm(module)
