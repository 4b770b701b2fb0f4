"""How often clips show what the text asked for, on the stage's footage: a tracker can tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from torch import Tensor

from ..core.progress import track
from ..core.video import to_uint8
from ..data import stage
from .intervals import wilson
from .manifest import Score
from .tracker import KEYS, following


def scores(
    generated: Tensor,
    captions: Sequence[str],
    real: Tensor,
    real_captions: Sequence[str],
    fps: float,
    manifest: dict[str, Any],
) -> list[Score]:
    """Shares of clips with the colour, shape and motion their captions name; none where any caption
    is not one of the stage's.

    The same for the real clips is the tracker's own hit rate, and so the most that can be expected.
    """
    asked, true = [wanted(c) for c in captions], [wanted(c) for c in real_captions]
    if not asked or not true or not all(asked) or not all(true):
        return []
    made = following(
        [to_uint8(c) for c in track(generated, "tracker")], [a or {} for a in asked], fps
    )
    best = following([to_uint8(c) for c in real], [a or {} for a in true], fps)
    found = []
    for key in (*KEYS, "all"):
        value, ceiling = made[key], best[key]
        assert isinstance(value, float) and isinstance(ceiling, float)
        found.append(
            Score(
                f"{key} as asked", 100 * value, "higher", manifest | {"tracker": 1}, unit="%",
                interval=wilson(value, len(asked)), floor=100 * ceiling,
                note="what a tracker finds in the clip; for real clips its own hit rate",
            )
        )  # fmt: skip
    return found


def wanted(caption: str) -> Mapping[str, str] | None:
    """The colour, shape and motion of a caption of the stage, or None."""
    return _captions().get(caption)


@cache
def _captions() -> dict[str, dict[str, str]]:
    every = stage.combinations(held_out=False) + stage.combinations(held_out=True)
    return {
        stage.caption_of(*words, phrasing): dict(zip(KEYS, words, strict=True))
        for words in every
        for phrasing in range(len(stage.phrasings(words[2])))
    }
