"""Train, validation and test without leaks: what belongs together stays on one side."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from ..core.errors import DataError
from ..core.files import digest_of

NAMES = ("train", "validation", "test")


def split(
    keys: Sequence[str],
    groups: Sequence[int],
    labels: Sequence[str],
    wanted: Sequence[str],
    ratios: tuple[float, float, float],
    seed: int,
) -> list[str]:
    """Chooses a split for each clip.

    Whole groups are dealt out, label by label, in an order that depends only on the seed and on
    the group's key, each to the split that lacks most of its share.

    Args:
        keys: what identifies each clip's content wherever its file lies (a digest).
        groups: clips of one number show the same footage.
        labels: classes that each split should hold in proportion; "" is a class of its own.
        wanted: a split that the labels file asks for, or "".
        ratios: shares of train, validation, test.
        seed: of the order.

    Raises:
        DataError: fewer than three groups, so that one split would be empty.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    if len(members) < 3:
        raise DataError(
            f"{len(keys)} clips come from {len(members)} independent pieces of footage; train, "
            "validation and test need at least one each, so 3",
            "add footage: copies, re-encodings and mirror images count as one piece",
        )
    chosen: dict[int, str] = {}
    free: dict[str, list[int]] = defaultdict(list)
    for group, indices in members.items():
        asked = {wanted[i] for i in indices} - {""}
        if asked:
            # A piece asked for on two sides goes to the side that must stay unseen.
            chosen[group] = max(asked, key=NAMES.index)
        else:
            counts = Counter(labels[i] for i in indices)
            free[min(counts, key=lambda label: (-counts[label], label))].append(group)
    order = {
        group: digest_of(seed, min(keys[i] for i in indices)) for group, indices in members.items()
    }
    asking = set(chosen)
    lacking = dict.fromkeys(NAMES, 0.0)
    for _, candidates in sorted(free.items()):
        candidates.sort(key=order.__getitem__)
        _deal(candidates, members, ratios, chosen, lacking)
    _fill_empty(members, chosen, asking, order)
    return [chosen[group] for group in groups]


def _deal(
    candidates: list[int],
    members: dict[int, list[int]],
    ratios: tuple[float, float, float],
    chosen: dict[int, str],
    lacking: dict[str, float],
) -> None:
    """Deals out the groups of one label; `lacking` passes what a split got too little of from one
    label on to the next, so that many small labels together keep to the ratios."""
    total = sum(len(members[group]) for group in candidates)
    for name, ratio in zip(NAMES, ratios, strict=True):
        lacking[name] += ratio / sum(ratios) * total
    for group in candidates:
        name = max(NAMES, key=lambda name: lacking[name])
        chosen[group] = name
        lacking[name] -= len(members[group])


def _fill_empty(
    members: dict[int, list[int]], chosen: dict[int, str], asking: set[int], order: dict[int, str]
) -> None:
    """Moves a smallest group out of the fullest split into one that got none; a group that asked
    for its split only where there is no other."""
    for name in NAMES:
        if name not in chosen.values():
            counts = Counter(chosen.values())
            given = min(
                (group for group in chosen if counts[chosen[group]] > 1),
                key=lambda group: (
                    group in asking, -counts[chosen[group]], NAMES.index(chosen[group]),
                    len(members[group]), order[group],
                ),
            )  # fmt: skip
            chosen[given] = name


def check(groups: Sequence[int], splits: Sequence[str]) -> None:
    """Raises DataError if any group is on two sides."""
    sides: dict[int, set[str]] = defaultdict(set)
    for group, name in zip(groups, splits, strict=True):
        sides[group].add(name)
    torn = [group for group, names in sides.items() if len(names) > 1]
    if torn:
        raise DataError(
            f"groups {torn[:5]} are on two sides of the split", "prepare the dataset again"
        )
