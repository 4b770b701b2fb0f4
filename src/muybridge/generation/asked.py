"""What can be asked of a run: the same in Python, on the command line and in a batch's lines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

import pydantic

from ..core.config import Count, NotNegative, Positive, Section

Half = Annotated[float, pydantic.Field(gt=0, lt=0.5)]
Part = Annotated[float, pydantic.Field(gt=0, le=1)]


class Asked(Section):
    """What is to be made."""

    text: str | tuple[str, ...] | None = None
    """Caption; several are gone through in turn, clip by clip."""
    label: str | tuple[str, ...] | None = None
    """Class; several are gone through in turn."""
    count: Count | None = None
    """Clips; 8, or 1 where a file is given, when left out."""
    seconds: Positive | None = None
    """Length; that trained on, or that of a video that is given, when left out."""
    seed: int = 0
    """Of the noise; clip i is the same for the same seed, whatever `count` is."""
    steps: Count | None = None
    """Sampling steps; the recipe's when left out."""
    guidance: float | None = None
    """How strongly text and label are followed; the recipe's when left out."""
    picture_guidance: NotNegative = 1.0
    """How strongly what is given as pictures is followed; more than 1 costs half as much again."""
    image: Path | None = None
    """Picture that a clip begins with."""
    last_image: Path | None = None
    """Picture that a clip ends with."""
    storyboard: Path | None = None
    """YAML or JSON list of moments, each with `at` in seconds and a `text`, an `image`, or both;
    `cut: true` begins a new scene there."""
    prefix: Path | None = None
    """Video to go on from: its last frames are the first of each clip."""
    extend: Positive | None = None
    """Seconds that follow the video of `prefix`, of which all frames are kept then."""
    between: tuple[Path, Path] | None = None
    """Two videos, or pictures, that a passage is to join; `seconds` is its length then."""
    sketch: Path | None = None
    """Drawing of the first frame, or video of which each frame is one."""
    video: Path | None = None
    """Video to be edited, enhanced, filled or looped, as the other settings say."""
    strength: Part | None = None
    """Edit: how far into noise a `video` is taken, as a share of the way by which sampling goes; .3
    changes little, .9 nearly all."""
    mask: Path | None = None
    """Picture, or video, that is white where `video` or `image` is to be made anew; or `things` for
    what moves in `video`, `background` for all else."""
    background: Path | None = None
    """Picture, video or colour (#rrggbb) that what moves in `video` is put before."""
    segmenter: Path | None = None
    """Weights by `muybridge segmenter`, which find what moves in `video` for `background` or
    `mask`; when left out, a model of the background that needs no training."""
    outpaint: Half | None = None
    """Border to be made around `video` or `image`, as a share of the picture's height and width."""
    upscale: int | None = None
    """Sharpen `video` from 1/K of the run's size."""
    denoise: bool = False
    """Clean `video` of noise and blocks."""
    colourise: bool = False
    """Colour a grey `video`."""
    interpolate: Positive | None = None
    """Frames a second that `video` is to have: those in between are made."""
    loop: bool = False
    """The end leads back to the beginning."""

    @pydantic.model_validator(mode="after")
    def _belongs_together(self) -> Self:
        for name, needs in _NEEDS.items():
            if getattr(self, name) and not any(getattr(self, need) for need in needs):
                raise ValueError(f"{name} needs {' or '.join(needs)}")
        for names in _ONE_OF:
            found = [name for name in names if getattr(self, name)]
            if len(found) > 1:
                raise ValueError(f"{' and '.join(found)} exclude each other")
        if self.image and self.video and (self.mask or self.outpaint):
            raise ValueError("image and video: the mask or outpaint is of one of them")
        if self.upscale is not None and self.upscale not in (2, 4):
            raise ValueError(f"upscale = {self.upscale}: 2 or 4 is learned")
        return self

    @property
    def enhanced(self) -> bool:
        """Whether a video is to be sharpened, cleaned or coloured."""
        return bool(self.upscale or self.denoise or self.colourise)

    @staticmethod
    def paths() -> tuple[str, ...]:
        """Settings that name one file."""
        return (*(name for name in FILES if name != "between"), "mask", "background", "segmenter")

    def files(self) -> list[Path]:
        """The files that are read."""
        single = [getattr(self, name) for name in self.paths()]
        return [path for path in (*single, *(self.between or ())) if path and not is_word(path)]

    def seen_from(self, folder: Path) -> Asked:
        """The same with the whole paths of its files, which are named as seen from a folder."""
        folder = folder.resolve()
        moved = {
            name: tuple(folder / p for p in value) if isinstance(value, tuple) else folder / value
            for name in (*self.paths(), "between")
            if (value := getattr(self, name)) is not None and not is_word(value)
        }
        return self.model_copy(update=moved)

    @property
    def clips(self) -> int:
        """How many are made."""
        return self.count or (1 if self.given else 8)

    @property
    def given(self) -> bool:
        """Whether any picture or video is given."""
        return any(getattr(self, name) is not None for name in FILES)


def is_word(path: Path) -> bool:
    """Whether what stands for a file is no file: a colour, or a word that `mask` knows."""
    return str(path).startswith("#") or str(path) in (THINGS, BACKGROUND)


THINGS, BACKGROUND = "things", "background"
FILES = ("image", "last_image", "storyboard", "prefix", "between", "sketch", "video")
_NEEDS = {
    "strength": ("video",), "background": ("video",), "mask": ("video", "image"),
    "outpaint": ("video", "image"),
    "upscale": ("video",), "denoise": ("video",), "colourise": ("video",),
    "interpolate": ("video",), "extend": ("prefix",), "segmenter": ("background", "mask"),
}  # fmt: skip
_ONE_OF = (
    ("storyboard", "between", "prefix", "video"), ("image", "storyboard", "prefix", "between"),
    ("last_image", "storyboard", "extend", "between", "loop"), ("extend", "seconds"),
    ("mask", "outpaint"), ("strength", "interpolate"),
    ("background", "mask"), ("background", "outpaint"), ("background", "interpolate"),
    ("interpolate", "mask"), ("interpolate", "outpaint"), ("interpolate", "loop"),
    ("interpolate", "upscale"), ("interpolate", "denoise"), ("interpolate", "colourise"),
    ("strength", "upscale"), ("strength", "outpaint"), ("outpaint", "upscale"),
    ("outpaint", "denoise"), ("outpaint", "colourise"), ("background", "upscale"),
    ("background", "denoise"), ("background", "colourise"),
)  # fmt: skip
