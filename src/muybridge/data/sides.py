"""Words that name a side: what a caption or a name becomes when its clip is mirrored. English only.

A wrong caption is worse than a clip left as it is, so nothing is guessed: "turns left" and "his
right hand" are swapped, while a word that may mean something else ("right now", "she left the
room", "clockwise") gives None, and the clip is not to be mirrored.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

_SIDE = re.compile(r"(left|right)(wards?|most|hand|handed|side)?", re.IGNORECASE)
# These name a side too, but there is no rule for what they become.
_UNSURE = re.compile(r"\b(?:lefts|rights|lefty|(?:counter|anti)?clockwise)\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[^\w\s-]")
# Parts of a class's name: "turn_left", "TurnLeft", "LEFT-turn".
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What comes before or after "left" and "right" where they can only be sides.
_THINGS = _words(
    "hand hands handed arm arms leg legs foot feet side sides shoulder knee elbow eye ear cheek"
    " fist thumb finger fingers palm wrist ankle hip thigh heel toe shoe sock glove boot sleeve"
    " lane edge edges half corner corners turn turns wing wheel paw paws bank margin border third"
    " hook jab"
)
_MODIFIERS = _words("far upper lower top bottom middle center centre screen camera stage")
_PREPOSITIONS = _words("to from on at toward towards of and or")
_DETERMINERS = _words("the his her its their my your our")
_AFTER_A_PLACE = _words(
    "and or to of then while as from in with is are at on into across before but by for until when"
    " where who which that one ones"
)
_AFTER_A_MOTION = _words("and or then while as but before until when from with")
_MOTION = re.compile(
    r"(turn|mov|walk|run|runn|go|look|pan|pann|slid|roll|swip|point|lean|step|stepp|drift|fly|fli"
    r"|driv|travel|swing|fac|jump|hop|hopp|tilt|veer|steer|shift|glanc|bounc|sway|spin|spinn|rotat"
    r"|head|bend|rid|skat|swim|swimm|crawl|dash|sprint|jog|jogg|gallop|skip|skipp|leap|kick|throw)"
    r"(e|s|es|ed|ing)?"
)
_END = frozenset(("", ".", ",", ";", ":", "!", "?", ")", '"'))

_UPRIGHT = re.compile(
    r"\b(?:up|down|(?:up|down)(?:wards?|side|hill|stairs)|above|below|beneath|under|underneath|over"
    r"|top|bottom|upper|lower|overhead|fall(?:s|ing|en)?|fell|drop(?:s|ped|ping)?|ris(?:e|es|en|ing)"
    r"|rose|(?:climb|descend|ascend|lift|jump|lower|sink)(?:s|ed|ing)?|hop(?:s|ped|ping)?"
    r"|rais(?:e|es|ed|ing)|bounc(?:e|es|ed|ing))\b",
    re.IGNORECASE,
)


def mirrored(text: str) -> str | None:
    """A sentence as it reads when its clip is mirrored left to right, or None if that is unsure.

    >>> mirrored("A man turns left, his Right hand raised")
    'A man turns right, his Left hand raised'
    """
    if _UNSURE.search(" ".join(_PART.findall(text))):
        return None
    found = list(_WORD.finditer(text))
    words = [match.group().lower() for match in found]
    pieces, done = [], 0
    for place, match in enumerate(found):
        if side := _SIDE.fullmatch(match.group()):
            if not side[2] and not _is_side(words, place):
                return None
            pieces += [text[done : match.start()], _other(match.group())]
            done = match.end()
    # Sides within other words, as in "TurnLeft", are not found among whole words.
    if 2 * sum(_SIDE.fullmatch(part) is not None for part in _PART.findall(text)) != len(pieces):
        return None
    return "".join([*pieces, text[done:]])


def mirrored_name(name: str, known: Collection[str]) -> str | None:
    """The class or object that `name` is when mirrored, or None if `known` does not hold it.

    That both `turn_left` and `turn_right` are known is what shows that a side is meant.
    """
    parts = _PART.findall(name)
    if any(_UNSURE.fullmatch(part) for part in parts):
        return None
    if not any(_SIDE.fullmatch(part) for part in parts):
        return name
    other = _PART.sub(lambda m: _other(m[0]) if _SIDE.fullmatch(m[0]) else m[0], name)
    return other if other in known else None


def names_side(text: str) -> bool:
    """Whether a text or a name holds a word that could mean left or right."""
    return any(_SIDE.fullmatch(part) or _UNSURE.fullmatch(part) for part in _PART.findall(text))


def names_height(text: str) -> bool:
    """Whether a text or a name says what is up and what is down, or goes there."""
    return _UPRIGHT.search(" ".join(_PART.findall(text))) is not None


def _is_side(words: Sequence[str], place: int) -> bool:
    """Whether the words around "left" or "right" leave no other meaning."""
    two_before, before = ["", "", *words][place : place + 2]
    after, two_after = [*words, "", ""][place + 1 : place + 3]
    opposite = _other(words[place])
    if after in _THINGS:
        return True
    if opposite in (two_before, two_after) and {before, after} & {"to", "and", "or"}:
        return True
    if _MOTION.fullmatch(before):
        return after in _END or after in _AFTER_A_MOTION
    placed = before in _MODIFIERS or before in _PREPOSITIONS - {"and", "or", "of"}
    placed |= before in _DETERMINERS and two_before in _PREPOSITIONS
    return placed and (after in _END or after in _AFTER_A_PLACE)


def _other(word: str) -> str:
    """Left for right and right for left at the start of a word, in its case."""
    length, new = (4, "right") if word[:4].lower() == "left" else (5, "left")
    head = word[:length]
    new = new.upper() if head.isupper() else new.capitalize() if head[0].isupper() else new
    return new + word[length:]
