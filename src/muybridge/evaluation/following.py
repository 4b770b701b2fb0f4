"""How often clips show what the text asked for, on the stage's footage: a tracker can tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import numpy as np
from torch import Tensor

from ..core.video import Frames
from ..data import stage
from .course import Track
from .segments import Exact
from .tracker import KEYS, judged, observe


def hits(
    clips: Tensor | Iterable[Frames],
    captions: Sequence[str],
    fps: float,
    tracks: Sequence[tuple[Track, ...]] | None = None,
) -> dict[str, Exact]:
    """Whether clips show the words of their captions.

    Of two things each word counts once, and is right only if it is right for both; they are told
    apart by their colours.

    Args:
        clips: float (n, time, 3, height, width) in [-1, 1], or uint8 frames of each.
        captions: (n,).
        fps: frames per second of the clips.
        tracks: what `observe` found in the clips, where that is known.

    Returns:
        "colour", "shape", "motion" and "all" of them at once: (n,) 1 or 0, NaN where the caption is
        not one of the stage's.
    """
    right = {key: np.full(len(captions), np.nan) for key in (*KEYS, "all")}
    seen = observe(clips, fps) if tracks is None else tracks
    for i, (found, caption) in enumerate(zip(seen, captions, strict=True)):
        asked = wanted(caption)
        if asked is not None:
            for key, hit in judged(found, asked).items():
                right[key][i] = hit
    return right


def wanted(caption: str) -> Mapping[str, str] | None:
    """What a caption of the stage asks for, or None for any other caption.

    Returns:
        `colour`, `shape` and `motion`; where it tells of two things, `colour2` and `shape2` too.
    """
    return _captions().get(caption)


@cache
def _captions() -> dict[str, Mapping[str, str]]:
    every = stage.combinations(False, tuple(stage.MOTIONS))
    every += stage.combinations(True, tuple(stage.MOTIONS))
    told: dict[str, Mapping[str, str]] = {}
    for words in every:
        seconds: list[tuple[str, str] | None] = [*stage.seconds_of(*words)]
        for second in seconds or [None]:
            asked = dict(zip(KEYS, words, strict=True))
            if second is not None:
                asked |= {"colour2": second[0], "shape2": second[1]}
            for phrasing in range(len(stage.phrasings(words[2]))):
                told[stage.caption_of(*words, phrasing, second)] = asked
    return told
