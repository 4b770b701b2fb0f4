"""Follows the things in a clip of the stage - colour, shape, course - from its pixels alone.

It is made for footage like the stage's: one or two things of strong colours before surroundings of
weak colour. Its own error on real clips belongs beside every number that it gives: at 64 x 64 and 8
frames a second it found every word of 700 clips as drawn (all motions), and of 520 prepared ones
(compressed, resampled) all but the motion of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from ..core.errors import MuybridgeError
from ..core.video import Frames, to_uint8
from ..data.shapes import AREAS, SHAPES
from . import segments
from .course import Track, grows, motion_of, motion_together, still, together, usual
from .segments import SMALLEST, Exact, Masks

KEYS = ("colour", "shape", "motion")
# What has less than this share of the first thing's area, summed over the clip, is left out.
SHARE = 0.05


def track(frames: Frames, fps: float) -> Track:
    """Follows the most coloured thing in a clip; see `tracks`."""
    return tracks(frames, fps)[0]


def tracks(frames: Frames, fps: float) -> tuple[Track, ...]:
    """Follows the coloured things in a clip, each of a colour of its own.

    Args:
        frames: (time, height, width, 3) uint8 RGB.
        fps: frames per second.

    Returns:
        A track a thing seen in 2 frames or more, the most coloured first; one that is never
        visible where there is none.

    Raises:
        MuybridgeError: frames of another type or shape, or fps that is not above 0.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise MuybridgeError(
            f"the tracker got {frames.dtype} of shape {frames.shape}",
            "give uint8 (time, height, width, 3) with at least one frame",
        )
    if not fps > 0:
        raise MuybridgeError(f"fps is {fps:g}; it must be above 0", "give the clip's own rate")
    times = np.arange(len(frames)) / fps
    found = [_follow(frames, colour, masks, times) for colour, masks in segments.parts(frames)]
    found = [track for track in found if track.colour]
    if not found:
        return (_follow(frames, None, np.zeros(frames.shape[:3], np.bool_), times),)
    most = max(track.area.sum() for track in found)
    return tuple(t for t in found if t is found[0] or t.area.sum() > SHARE * most)


def observe(clips: Tensor | Iterable[Frames], fps: float) -> list[tuple[Track, ...]]:
    """`tracks` of each clip: float (n, time, 3, height, width) in [-1, 1], or uint8 frames each."""
    return [tracks(to_uint8(clip), fps) for clip in clips]


def _follow(frames: Frames, colour: str | None, masks: Masks, times: Exact) -> Track:
    """What masks (time, height, width) of one colour show."""
    count, height = masks.shape[:2]
    area = masks.sum((1, 2)) / height**2
    seen = np.flatnonzero(area >= SMALLEST)
    position, box = np.full((count, 2), np.nan), np.full((count, 4), np.nan)
    for i in seen:
        position[i], box[i] = segments.centre_and_box(masks[i])
    small, middles = segments.windows(masks[seen], position[seen], box[seen])
    likeness = np.full((count, len(SHAPES)), np.nan)
    likeness[seen] = segments.likeness(small, middles)
    radius, angle = np.full(count, np.nan), np.full(count, np.nan)
    visible, whole = area >= SMALLEST, np.zeros(count, np.bool_)
    found = Track(times, position, box, area, visible, whole, likeness, radius, angle)
    if len(seen) < 2:
        return found
    whole |= visible if grows(found) else visible & (area > 0.92 * usual(area[visible]))
    shape = segments.shape_of(likeness[whole])
    if shape:
        radius[whole] = np.sqrt(area[whole] / AREAS[shape])
    if shape in segments.TURNS:
        angle[whole] = segments.angles_of(shape, small[whole[seen]], middles[whole[seen]])
    elif shape == "ball" and still(position[whole]):
        angle[whole] = segments.angles_of_ball(frames[whole], masks[whole], position[whole])
    found = replace(found, colour=colour, shape=shape)
    return replace(found, motion=motion_of(found))


def judged(found: tuple[Track, ...], asked: Mapping[str, str]) -> dict[str, bool]:
    """Which of the words asked for a clip shows, and whether it shows `all` of them.

    Args:
        found: the tracks of a clip.
        asked: any of `colour`, `shape` and `motion`, and `colour2` and `shape2` of a second thing;
            one left out is not judged.
    """
    two = "colour2" in asked or "shape2" in asked
    things = together(found)[: 2 if two else 1]
    orders = [things, things[::-1]] if two else [things]

    def right(key: str, order: Sequence[Track]) -> list[bool]:
        """Of each thing that is asked for, whether the word is right."""
        names = [name for name in (key, f"{key}2") if asked.get(name)]
        return [
            len(order) > place and getattr(order[place], key) == asked[name]
            for place, name in enumerate(names)
        ]

    best = max(orders, key=lambda order: (sum(right("colour", order)), sum(right("shape", order))))
    hits = {key: all(right(key, best)) for key in ("colour", "shape") if asked.get(key)}
    if asked.get("motion"):
        hits["motion"] = motion_together(found) == asked["motion"]
        # In a pair the first bounces; the caption says which that is.
        if asked["motion"] == "pair":
            hits["motion"] &= best[0].motion == "bounce"
    return hits | {"all": all(hits.values())} if hits else {}


def following(
    clips: Sequence[Frames], asked: Sequence[Mapping[str, str]], fps: float = 8
) -> dict[str, object]:
    """How often clips show what was asked for.

    Args:
        clips: each (time, height, width, 3) uint8 RGB.
        asked: for each clip the wanted words, as in `judged`.
        fps: frames per second.

    Returns:
        `colour`, `shape`, `motion` and `all` (everything asked of a clip at once): share right, 0
        to 1, each there only if something was asked; `right` and `of`: the counts, likewise named.

    Raises:
        MuybridgeError: not as many requests as clips, or no clips.
    """
    if len(clips) != len(asked) or not len(clips):
        raise MuybridgeError(
            f"{len(clips)} clips, but {len(asked)} requests", "give one request for each clip"
        )
    right = dict.fromkeys((*KEYS, "all"), 0)
    of = dict(right)
    for clip, wanted in zip(clips, asked, strict=True):
        for key, hit in judged(tracks(clip, fps), wanted).items():
            right[key] += hit
            of[key] += 1
    shares = {key: right[key] / of[key] for key in of if of[key]}
    return {**shares, "right": right, "of": of}
