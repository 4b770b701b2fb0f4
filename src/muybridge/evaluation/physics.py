"""How well clips keep the stage's laws: gravity, friction, collision, turning, permanence.

A tracker finds the things (see `tracker`); what it finds in real clips is its own error, and
belongs beside each figure of generated ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from torch import Tensor

from ..core.video import Frames
from ..data.stage import GRAVITY, PERIODS
from .course import Track, together
from .fits import circle, even, flights, gain, meeting, slide
from .following import wanted
from .permanence import passage
from .segments import Exact, Masks
from .tracker import observe

Found = Mapping[str, float]


@dataclass(frozen=True)
class Measure:
    """What a figure says: `better` "near" is near that of real clips; `motions` it applies to.

    Figures whose unit is "%" are shares: 1 or 0 of a clip.
    """

    unit: str
    better: Literal["lower", "higher", "near"]
    motions: tuple[str, ...]
    catches: str


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        "gravity error": Measure(
            "", "lower", ("bounce", "pair"), "falls too fast or too slow, as in a clip sped up"
        ),
        "energy gain": Measure(
            "", "near", ("bounce", "pair"), "rebounds that gain height, as in a clip backwards"
        ),
        "slide acceleration": Measure(
            "heights/s²", "near", ("slide", "pair"),
            "slides that speed up, as in a clip backwards; physical ones are below 0",
        ),
        "slide unevenness": Measure(
            "", "lower", ("slide", "pair"), "slides by jerks, with halts or jumps"
        ),
        "momentum error": Measure(
            "", "lower", ("collide",), "collisions that make or lose momentum"
        ),
        "collision energy gain": Measure(
            "", "near", ("collide",), "things that part faster than they met, as backwards"
        ),
        "kept apart": Measure(
            "%", "higher", ("collide",), "things that pass through each other, merge or vanish"
        ),
        "circle spread": Measure("", "lower", ("circle",), "ways round that are no circles"),
        "circle unevenness": Measure(
            "", "lower", ("circle",), "circling by jerks, or faster here than there"
        ),
        "growth": Measure(
            "1/s", "near", ("grow",), "things that shrink, as in a clip backwards"
        ),
        "growth unevenness": Measure("", "lower", ("grow",), "growing by jerks"),
        "spin unevenness": Measure("", "lower", ("spin",), "turning by jerks, or to and fro"),
        "emerges": Measure(
            "%", "higher", ("hide",), "what goes behind a pillar and does not come out beyond it"
        ),
        "emergence error": Measure(
            "s", "lower", ("hide",), "coming out sooner or later than the speed before foretells"
        ),
        "colour kept": Measure("%", "higher", ("hide",), "coming out in another colour"),
        "shape kept": Measure("%", "higher", ("hide",), "coming out in another shape"),
        "size change": Measure("", "lower", ("hide",), "coming out larger or smaller"),
    }
)  # fmt: skip


def measures(
    clips: Tensor | Iterable[Frames],
    captions: Sequence[str],
    fps: float,
    tracks: Sequence[tuple[Track, ...]] | None = None,
) -> dict[str, Exact]:
    """Measures clips by the laws of the motion that their captions ask for.

    Args:
        clips: float (n, time, 3, height, width) in [-1, 1], or uint8 frames of each.
        captions: (n,) of the stage; nothing is measured where one is not.
        fps: frames per second of the clips.
        tracks: what `observe` found in the clips, where that is known.

    Returns:
        For each of `MEASURES` (n,) values; NaN where the caption asks for another motion, or the
        clip shows too little to measure.
    """
    found = {name: np.full(len(captions), np.nan) for name in MEASURES}
    seen = observe(clips, fps) if tracks is None else tracks
    for i, (things, caption) in enumerate(zip(seen, captions, strict=True)):
        asked = wanted(caption)
        if asked is not None:
            for name, value in _LAWS[asked["motion"]](things, asked).items():
                found[name][i] = value
    return found


def applies(captions: Sequence[str]) -> dict[str, Masks]:
    """For each of `MEASURES`, which captions ask for a motion that it measures: (n,).

    Where `measures` is NaN though it applies, the clip shows too little to measure: say how many.
    """
    motions = [(wanted(caption) or {}).get("motion") for caption in captions]
    return {
        name: np.array([motion in measure.motions for motion in motions], np.bool_)
        for name, measure in MEASURES.items()
    }


def _bounce(thing: Track) -> Found:
    seen = thing.visible
    flown = flights(thing.times[seen], thing.position[seen, 1])
    gained = float(flown.gains.mean()) if len(flown.gains) else np.nan
    return {"gravity error": abs(flown.gravity - GRAVITY) / GRAVITY, "energy gain": gained}


def _slide(thing: Track) -> Found:
    seen = thing.visible
    slid = slide(thing.times[seen], thing.position[seen, 0])
    return {"slide acceleration": slid.acceleration, "slide unevenness": slid.unevenness}


def _circle(thing: Track) -> Found:
    seen = thing.visible
    path = circle(thing.times[seen], thing.position[seen])
    # Of less than a quarter of the way round, or of a line, any circle can be made.
    if not abs(path.speed) * np.ptp(thing.times) > np.pi / 2:
        return {}
    return {"circle spread": path.spread, "circle unevenness": path.unevenness}


def _grow(thing: Track) -> Found:
    seen = thing.visible
    size = np.sqrt(thing.area[seen])
    change = even(thing.times[seen], size)
    if not len(size) or np.ptp(size) < 0.1 * size.max():
        return {"growth": change.rate / size.mean() if len(size) else np.nan}
    return {"growth": change.rate / size.mean(), "growth unevenness": change.unevenness}


def _spin(thing: Track) -> Found:
    known = np.isfinite(thing.angle)
    angle = thing.angle[known]
    if not known.any() or np.ptp(angle) < 0.2 * PERIODS[thing.shape or "ball"]:
        return {}
    return {"spin unevenness": even(thing.times[known], angle).unevenness}


def _hide(tracks: tuple[Track, ...]) -> Found:
    course = passage(tracks)
    return {
        "emerges": course.emerged,
        "emergence error": abs(course.late),
        "colour kept": course.colour,
        "shape kept": course.shape,
        "size change": abs(course.size),
    }


def _collide(tracks: tuple[Track, ...]) -> Found:
    things = [t for t in tracks if (t.visible & tracks[0].visible).sum() >= 3][:2]
    if len(things) < 2:
        return {}
    both = things[0].visible & things[1].visible
    times, masses = things[0].times[both], np.array([t.area[both].mean() for t in things])
    places = [t.position[both, 0] for t in things]
    apart = places[1] - places[0]
    reach = sum((t.box[both, 2] - t.box[both, 0]) / 2 for t in things)
    # Into each other by more than a third, on the other side, or gone.
    kept = (apart * np.sign(apart[0]) > reach * 2 / 3).all() and both[-3:].any()
    contact = meeting(times, *places)
    if not contact.closing > 0.05:
        return {"kept apart": float(kept)}
    before, after = masses * contact.before, masses * contact.after
    error = abs(after.sum() - before.sum()) / max(np.abs(before).sum(), np.abs(after).sum())
    gained = gain(contact.closing**2, contact.parting**2) if contact.parting > 0 else np.nan
    return {
        "momentum error": float(error), "collision energy gain": gained, "kept apart": float(kept)
    }  # fmt: skip


def _pair(tracks: tuple[Track, ...], asked: Mapping[str, str]) -> Found:
    """Each by its own law, told apart by the colours asked for."""
    by_colour = {thing.colour: thing for thing in together(tracks) if _in_sight(thing)}
    one, other = by_colour.get(asked["colour"]), by_colour.get(asked["colour2"])
    return {**(_bounce(one) if one else {}), **(_slide(other) if other else {})}


def _in_sight(thing: Track) -> bool:
    """Whether a thing is seen for long enough to speak of its course."""
    return bool(thing.visible.mean() > 0.7)


def _of_one(law: Callable[[Track], Found]) -> Law:
    return lambda tracks, asked: law(tracks[0]) if _in_sight(tracks[0]) else {}


Law = Callable[[tuple[Track, ...], Mapping[str, str]], Found]
_LAWS: Mapping[str, Law] = MappingProxyType(
    {
        "bounce": _of_one(_bounce),
        "slide": _of_one(_slide),
        "circle": _of_one(_circle),
        "grow": _of_one(_grow),
        "spin": _of_one(_spin),
        "hide": lambda tracks, asked: _hide(tracks),
        "collide": lambda tracks, asked: _collide(tracks),
        "pair": _pair,
    }
)
