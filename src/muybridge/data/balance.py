"""Whether the splits are alike in what they hold."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from .diversity import Array, Notice, notice
from .fates import Piece
from .splits import NAMES

DIFFERENCE = 0.5  # standard deviations between means; Cohen (1988) calls it medium
CERTAIN = 3.0  # standard errors: several figures are compared, each might differ by chance
LABEL_DISTANCE = 0.25  # total variation between shares of labels
CHANCE_DISTANCE = 2.5  # and as a multiple of what chance gives on average


def differences(pieces: Sequence[Piece]) -> list[Notice]:
    """Warnings where validation or test differ from train by more than chance explains."""
    kept = [piece for piece in pieces if piece.kept]
    found = [_unlearnt(kept), _split_labels(kept), *_split_figures(kept)]
    return [one for one in found if one]


def _sides(kept: Sequence[Piece]) -> dict[str, list[Piece]]:
    sides = {name: [piece for piece in kept if piece.split == name] for name in NAMES}
    return {name: side for name, side in sides.items() if side}


def _unlearnt(kept: Sequence[Piece]) -> Notice | None:
    labels = {
        name: {label for piece in side if (label := piece.text("label"))}
        for name, side in _sides(kept).items()
    }
    known = labels.pop("train", None)
    unseen = set().union(*labels.values()) - (known or set())
    if known is None or not unseen:
        return None
    few = ", ".join(repr(label) for label in sorted(unseen)[:4])
    return notice(
        "Labels that training never sees",
        f"{len(unseen)} in validation or test but not in train: {few}",
        "Add footage of them from other sources, or remove it.",
    )


def _split_labels(kept: Sequence[Piece]) -> Notice | None:
    sides = _sides(kept)
    train = sides.pop("train", [])
    worst, words = 0.0, ""
    for name, side in sides.items():
        distance, chance = _distance(train, side)
        if distance > max(LABEL_DISTANCE, CHANCE_DISTANCE * chance, worst):
            worst = distance
            words = f"{distance:.0%} of {name} would need other labels to be mixed as train is"
    if not words:
        return None
    return notice(
        "The splits differ in labels", words, "Add sources for each label, or set the splits."
    )


def _distance(first: Sequence[Piece], second: Sequence[Piece]) -> tuple[float, float]:
    """Total variation between the labels of two splits, and what chance gives on average.

    Clips of one group are not independent, so chance is that of as many draws as there are groups.
    """
    counts = [Counter(p.text("label") for p in side if p.text("label")) for side in (first, second)]
    if not all(counts):
        return 0.0, 0.0
    labels = sorted(counts[0] | counts[1])
    a, b = (np.array([c[label] for label in labels]) / c.total() for c in counts)
    pooled = np.array([counts[0][label] + counts[1][label] for label in labels], np.float64)
    pooled /= pooled.sum()
    draws = sum(1 / len({piece.group for piece in side}) for side in (first, second))
    # Half the sum of mean absolute deviations of normals: E|x| = sqrt(2 / pi) of its deviation.
    chance = np.sqrt(2 / np.pi * pooled * (1 - pooled) * draws).sum() / 2
    return float(np.abs(a - b).sum() / 2), float(chance)


def _split_figures(kept: Sequence[Piece]) -> list[Notice]:
    """Splits whose mean brightness or motion is far from that of train, beyond chance."""
    sides = _sides(kept)
    train = sides.pop("train", [])
    checks: tuple[tuple[str, Callable[[Array], Array]], ...] = (
        ("brightness", np.asarray),
        ("motion", lambda values: np.log(np.maximum(values, 1e-3))),  # it differs by factors
    )
    found = []
    for figure, scale in checks:
        for name, side in sides.items():
            pair = [_means_of_groups(part, figure, scale) for part in (train, side)]
            distance = _standardised(*pair)
            if distance is not None and distance > DIFFERENCE:
                found.append(
                    notice(
                        f"{name} differs from train in {figure}",
                        f"the means lie {distance:.1f} standard deviations apart",
                        "Add sources to the smaller split, or try another prepare.seed.",
                    )
                )
    return found


def _means_of_groups(side: Sequence[Piece], name: str, scale: Callable[[Array], Array]) -> Array:
    """A group's clips are much alike, so a group counts once."""
    groups: dict[str, list[float]] = defaultdict(list)
    for piece in side:
        value = piece.figure(name)
        if value is not None:
            groups[piece.group].append(value)
    return np.array([scale(np.array(values)).mean() for values in groups.values()])


def _standardised(first: Array, second: Array) -> float | None:
    """Difference of means over the standard deviation within; None where chance may do as much."""
    freedom = len(first) + len(second) - 2
    if min(len(first), len(second)) < 2 or freedom < 4:
        return None
    squares = ((first - first.mean()) ** 2).sum() + ((second - second.mean()) ** 2).sum()
    distance = float(abs(first.mean() - second.mean()) / max(np.sqrt(squares / freedom), 1e-9))
    return distance if distance > CERTAIN * np.sqrt(1 / len(first) + 1 / len(second)) else None
