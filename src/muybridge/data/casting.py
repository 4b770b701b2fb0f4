"""What each clip of the stage shows - colours, shapes, a motion - and the captions that say it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from ..core.errors import MuybridgeError, nearest
from .physics import MOTIONS, TOGETHER
from .shapes import SHAPES

Combination = tuple[str, str, str]
Look = tuple[str, str]

# What a stage shows when not asked for more.
USUAL = ("bounce", "slide", "hide")

COLOURS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "red": (226, 30, 34),
        "yellow": (242, 208, 18),
        "green": (28, 178, 48),
        "cyan": (18, 204, 208),
        "blue": (38, 56, 230),
        "purple": (186, 36, 208),
    }
)

# Pairs of colour and shape that no training clip shows, to ask whether a model can put the two
# together by itself. Each of these colours and shapes is seen in other pairs.
HELD_OUT: tuple[Look, ...] = (("red", "triangle"), ("green", "ball"), ("blue", "square"))

_PHRASINGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "bounce": (
            "a {colour} {shape} bouncing",
            "a bouncing {colour} {shape}",
            "a {colour} {shape} bounces on the floor",
            "a {colour} {shape} drops to the floor and bounces",
        ),
        "slide": (
            "a {colour} {shape} sliding",
            "a sliding {colour} {shape}",
            "a {colour} {shape} slides across the floor",
            "a {colour} {shape} slides along the floor and slows down",
        ),
        "hide": (
            "a {colour} {shape} passing behind a pillar",
            "a {colour} {shape} passes behind a pillar",
            "a {colour} {shape} moves behind a pillar and comes out again",
            "a {colour} {shape} hidden by a pillar for a moment",
        ),
        "collide": (
            "a {colour} {shape} hits a {colour2} {shape2}",
            "a {colour} {shape} runs into a {colour2} {shape2}",
            "a {colour} {shape} and a {colour2} {shape2} collide",
            "a {colour} {shape} meets a {colour2} {shape2} and bounces off",
        ),
        "circle": (
            "a {colour} {shape} circling",
            "a circling {colour} {shape}",
            "a {colour} {shape} moves in a circle",
            "a {colour} {shape} goes round and round",
        ),
        "grow": (
            "a {colour} {shape} growing",
            "a growing {colour} {shape}",
            "a {colour} {shape} grows on the floor",
            "a {colour} {shape} becomes larger and larger",
        ),
        "spin": (
            "a {colour} {shape} spinning",
            "a spinning {colour} {shape}",
            "a {colour} {shape} spins in the air",
            "a {colour} {shape} turns about its middle",
        ),
        "pair": (
            "a {colour} {shape} bounces while a {colour2} {shape2} slides",
            "a {colour2} {shape2} slides while a {colour} {shape} bounces",
            "a bouncing {colour} {shape} and a sliding {colour2} {shape2}",
            "a sliding {colour2} {shape2} and a bouncing {colour} {shape}",
        ),
    }
)


def _known(word: str, words: Iterable[str], what: str) -> None:
    if word not in words:
        near = nearest(word, words)
        raise MuybridgeError(
            f"{what}: the stage has no {word!r}" + (f"; did you mean {near!r}?" if near else ""),
            f"choose from {', '.join(words)}",
        )


def motions_of(words: str | Sequence[str]) -> tuple[str, ...]:
    """The motions that are asked for, each once, in the stage's own order.

    Args:
        words: names, or one text with commas between them; `all` is every motion there is.

    Raises:
        MuybridgeError: a motion that the stage does not have, or none at all.
    """
    given = [word.strip() for word in words.split(",")] if isinstance(words, str) else list(words)
    if given == ["all"]:
        return tuple(MOTIONS)
    if not given:
        raise MuybridgeError(
            "motions: none is given", f"choose from {', '.join(MOTIONS)}, or give all"
        )
    for word in given:
        _known(word, MOTIONS, "motions")
    return tuple(motion for motion in MOTIONS if motion in given)


def phrasings(motion: str) -> tuple[str, ...]:
    """The ways of saying `motion`, each with `{colour}` and `{shape}` to be filled in.

    Where the motion is one of two things, `{colour2}` and `{shape2}` are there for the second.

    Raises:
        MuybridgeError: a motion that the stage does not have.
    """
    _known(motion, _PHRASINGS, "motion")
    return _PHRASINGS[motion]


def caption_of(
    colour: str, shape: str, motion: str, phrasing: int = 0, second: Look | None = None
) -> str:
    """The caption of a clip.

    Args:
        colour: of the first thing; a key of `COLOURS`.
        shape: of the first thing; a key of `SHAPES`.
        motion: a key of `MOTIONS`.
        phrasing: counts through `phrasings(motion)` and begins again.
        second: colour and shape of the second thing, where the motion is one of two things.

    Raises:
        MuybridgeError: a colour, shape or motion that the stage does not have, or a second thing
            where the motion has none or the reverse.
    """
    forms = phrasings(motion)
    if (second is not None) != (motion in TOGETHER):
        raise MuybridgeError(
            f"motion {motion!r} is of {'two things' if motion in TOGETHER else 'one thing'}",
            "give `second` its colour and shape" if motion in TOGETHER else "leave out `second`",
        )
    words = {"colour": colour, "shape": shape}
    if second is not None:
        words |= {"colour2": second[0], "shape2": second[1]}
    for name, word in words.items():
        _known(word, COLOURS if "colour" in name else SHAPES, name.rstrip("2"))
    return forms[phrasing % len(forms)].format(**words)


def combinations(held_out: bool, motions: str | Sequence[str] = USUAL) -> list[Combination]:
    """All (colour, shape, motion) that only test clips show, or all that the others show.

    Colour and shape are those of the first thing; `seconds_of` gives what may be the second.
    `motions` are as for `motions_of`.
    """
    chosen = motions_of(motions)
    return [
        (colour, shape, motion)
        for colour in COLOURS
        for shape in SHAPES
        if ((colour, shape) in HELD_OUT) == held_out
        for motion in chosen
    ]


def combination_at(seed: int, index: int, motions: str | Sequence[str] = USUAL) -> Combination:
    """What clip `index` shows on a stage of these `motions`.

    Clips come in blocks: each training combination once, with one clip of each held-out pair, in an
    order of its own. So the counts are even and do not depend on how many clips are made.
    """
    seen, unseen = combinations(False, motions), combinations(True, motions)
    pairs = len(HELD_OUT)
    count = len(unseen) // pairs
    block, place = divmod(index, len(seen) + pairs)
    cards = seen + [unseen[pair * count + (pair + block) % count] for pair in range(pairs)]
    order = np.random.default_rng([seed, block, 1]).permutation(len(cards))
    return cards[int(order[place])]


def seconds_of(colour: str, shape: str, motion: str) -> list[Look]:
    """The colours and shapes that a second thing may have beside the first: none for most motions.

    Its colour is another, and in a pair its shape too; it is never a held-out pair.
    """
    return [
        (other, form)
        for other in COLOURS
        for form in SHAPES
        if motion in TOGETHER and other != colour and (other, form) not in HELD_OUT
        if motion != "pair" or form != shape
    ]


def things_at(seed: int, index: int, motions: str | Sequence[str] = USUAL) -> tuple[Look, ...]:
    """Colour and shape of each thing in clip `index`."""
    colour, shape, motion = combination_at(seed, index, motions)
    others = seconds_of(colour, shape, motion)
    if not others:
        return ((colour, shape),)
    return (colour, shape), others[
        int(np.random.default_rng([seed, index, 4]).integers(len(others)))
    ]


def row_at(seed: int, index: int, motions: str | Sequence[str] = USUAL) -> dict[str, Any]:
    """What `metadata.jsonl` says of clip `index`: its file, caption and words, and test or not."""
    motion = combination_at(seed, index, motions)[2]
    first, *others = things_at(seed, index, motions)
    phrasing = int(np.random.default_rng([seed, index, 3]).integers(len(phrasings(motion))))
    row: dict[str, Any] = {
        "file_name": f"clip-{index:05d}.mp4",
        "caption": caption_of(*first, motion, phrasing, others[0] if others else None),
        "colour": first[0],
        "shape": first[1],
        "motion": motion,
        "seed": seed,
    }
    if others:
        row |= dict(zip(("colour2", "shape2"), others[0], strict=True))
    return row | {"split": "test"} if first in HELD_OUT else row
