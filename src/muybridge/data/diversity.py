"""What a person should know of footage before training on it: where it is one-sided or uneven.

All that is said is a guess from figures, so each warning carries its figure. None is raised where
there are too few clips to tell.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .fates import Piece

Array = npt.NDArray[np.float64]
Notice = dict[str, str]

ENOUGH = 6  # clips; that fewer are alike says little
NEARLY_ALL, MOST = 0.9, 0.5  # shares of the seconds
SAMPLED = 1200  # clips compared with one another, at most: their number is squared

# Correlation of two mean pictures (16 x 16 grey). Of films of unlike places 99 in 100 pairs have
# less than 0.6, though most are bright above and dark below; of one room, over 0.95.
SETTING_LIKENESS = 0.85
PLAIN = 3.0  # grey levels; a mean picture with less spread is a bare background
# Standard deviations between clips. Films of one room or yard have 0.02 and 0.014, of unlike places
# 0.09 and over 0.06.
BRIGHTNESS_SPREAD = 0.04  # of [0, 1]
COLOUR_SPREAD = 0.02  # of a channel's share of the light, which brightness does not change
STILL = 0.05  # picture widths a second; a person moving before a fixed camera can pass for 0.04
# Ratio of the 90th to the 10th percentile. Talking heads alone have 2, films of unlike things 12.
MOTION_NARROW = 2.0
MOTION_UNEVEN = 40.0
LENGTH_UNEVEN = 8.0
CUTS_A_MINUTE = 30.0  # shots of two seconds, as short as the clips that small recipes learn from
FLAT, TEXTURED = 0.6, 0.3  # shares of blocks without texture; most live action lies below both
DOMINATES = 0.6  # share of the labelled clips
GROUPS = 10  # sources; with fewer, validation and test hold one each


def warnings(
    pieces: Sequence[Piece], folders: Sequence[Path], longest: float | None = None
) -> list[Notice]:
    """What looks one-sided or uneven about the clips that are kept.

    Args:
        pieces: all stretches of the footage.
        folders: of the items, with the signatures of their clips in `arrays.npz`.
        longest: seconds at which long shots are cut up, if they are: such a cut is no cut.

    Returns:
        Warnings of `says` (what it looks like), `figure` (why) and `do`.
    """
    kept = [piece for piece in pieces if piece.kept]
    if not kept:
        return []
    found = [_sources(kept), _labels_missing(kept), _label_dominates(kept)]
    if len(kept) >= ENOUGH:
        found.append(_setting(kept, folders))
        found += [check(kept) for check in (_light, _camera, _motion, _animation, _lengths)]
        found.append(_cuts(pieces, longest))
    return [one for one in found if one]


def notice(says: str, figure: str, do: str) -> Notice:
    """A warning: what it looks like, the figure that says so, and what to do about it."""
    return {"says": says, "figure": figure, "do": do}


def _seconds(pieces: Sequence[Piece]) -> Array:
    return np.array([piece.seconds for piece in pieces])


def _known(pieces: Sequence[Piece], name: str) -> tuple[Array, Array]:
    """Values and seconds of the clips that have the figure; both empty where fewer than enough."""
    pairs = [(v, p.seconds) for p in pieces if (v := p.figure(name)) is not None]
    if len(pairs) < ENOUGH:
        return np.empty(0), np.empty(0)
    values, seconds = np.array(pairs).T
    return values, seconds


def _sources(kept: Sequence[Piece]) -> Notice | None:
    by_source: dict[str, float] = defaultdict(float)
    for piece in kept:
        by_source[piece.text("source") or piece.group] += piece.seconds
    share = max(by_source.values()) / max(sum(by_source.values()), 1e-9)
    count = len(by_source)
    if count >= GROUPS and share <= MOST:
        return None
    return notice(
        "Few independent sources" if count < GROUPS else "One source gives most of the footage",
        f"{count} independent piece{'s' * (count != 1)} of footage; "
        f"the largest gives {share:.0%} of the seconds",
        "Add footage from other recordings: what is learnt from few is learnt by heart, and "
        "scores on held-out clips say little.",
    )


def _labels_missing(kept: Sequence[Piece]) -> Notice | None:
    if not any(piece.row for piece in kept):
        return None  # nothing has been labelled yet
    bare = sum(not (piece.text("label") or piece.text("caption")) for piece in kept)
    if not bare:
        return None
    return notice(
        "No labels or captions" if bare == len(kept) else "Labels are missing",
        f"{bare} of {len(kept)} clips without a label or caption",
        "Give --labels FILE, or put the files into one folder a class; without them a model "
        "cannot be told what to make.",
    )


def _label_dominates(kept: Sequence[Piece]) -> Notice | None:
    counts = Counter(label for piece in kept if (label := piece.text("label")))
    total = sum(counts.values())
    if total < ENOUGH:
        return None
    label, count = counts.most_common(1)[0]
    if len(counts) > 1 and count / total <= DOMINATES:
        return None
    return notice(
        "One label dominates" if len(counts) > 1 else "All labels are the same",
        f"{count} of {total} labelled clips are {label!r}",
        "Add clips of the other labels, or expect them to be made badly."
        if len(counts) > 1
        else "A single label tells a model nothing; leave it out or add footage of other kinds.",
    )


def mean_pictures(pieces: Sequence[Piece], folders: Sequence[Path]) -> tuple[list[int], Array]:
    """Mean pictures of clips over time, from their signatures.

    Returns:
        Places among `pieces` of those that have one, and the pictures (n, 16, 16) in grey levels.
    """
    by_item: dict[int, list[int]] = defaultdict(list)
    for place, piece in enumerate(pieces):
        by_item[piece.item].append(place)
    found: dict[int, Array] = {}
    for item, places in by_item.items():
        path = folders[item] / "arrays.npz"
        if not path.is_file():
            continue
        with np.load(path, allow_pickle=False) as arrays:
            for place in places:
                name = f"signature_{pieces[place].clip}"
                if name in arrays.files and len(arrays[name]):
                    found[place] = arrays[name].astype(np.float64).mean(0)
    order = sorted(found)
    return order, np.array([found[place] for place in order])


def settings_of(pictures: Array) -> list[int]:
    """The setting of each mean picture (n, h, w): those like one another share a number.

    Greedy: the picture that most others are like gathers them, then the same among the rest; so
    settings are balls around a picture, and no chain of small changes joins two unlike ones.
    """
    flat = pictures.reshape(len(pictures), -1)
    change = flat - flat.mean(1, keepdims=True)
    plain = change.std(1) < PLAIN
    unit = change / np.maximum(np.linalg.norm(change, axis=1, keepdims=True), 1e-9)
    alike = (unit @ unit.T > SETTING_LIKENESS) & ~plain[:, None] & ~plain[None, :]
    alike |= plain[:, None] & plain[None, :]
    np.fill_diagonal(alike, True)
    setting = np.full(len(flat), -1)
    for count in range(len(flat)):
        free = setting < 0
        if not free.any():
            break
        centre = int(np.argmax((alike & free[None, :]).sum(1) * free))
        setting[alike[centre] & free] = count
    return [int(number) for number in setting]


def _setting(kept: Sequence[Piece], folders: Sequence[Path]) -> Notice | None:
    places = np.linspace(0, len(kept) - 1, min(len(kept), SAMPLED)).round().astype(int)
    chosen = [kept[place] for place in places]
    known, pictures = mean_pictures(chosen, folders)
    if len(known) < ENOUGH:
        return None
    setting = settings_of(pictures)
    counts = np.bincount(setting)
    if counts.max() <= MOST * len(known):
        return None
    return notice(
        "Looks like one setting",
        f"{counts.max()} of {len(known)} clips ({counts.max() / len(known):.0%}) have much the "
        f"same mean picture; {len(counts)} settings in all",
        "Add footage of other places and from other angles, or expect this background in "
        "everything that is made.",
    )


def _light(kept: Sequence[Piece]) -> Notice | None:
    brightness, _ = _known(kept, "brightness")
    if not len(brightness) or brightness.std() >= BRIGHTNESS_SPREAD:
        return None
    figure = f"brightness is {brightness.mean():.2f} with a spread of {brightness.std():.3f}"
    colours = [p.figures["colour"] for p in kept if p.figures.get("colour") is not None]
    if len(colours) >= ENOUGH:
        light = np.array(colours, np.float64)
        shares = light / np.maximum(light.sum(1, keepdims=True), 1e-9)
        spread = float(shares.std(0).max())
        if spread >= COLOUR_SPREAD:
            return None
        figure += f", colour one of {spread:.3f}"
    return notice(
        "Looks like one light",
        figure,
        "Add footage from other hours or rooms, or augment brightness and colour.",
    )


def _camera(kept: Sequence[Piece]) -> Notice | None:
    values, seconds = _known(kept, "camera")
    if not len(values):
        return None
    still = float(seconds[values < STILL].sum() / seconds.sum())
    if 1 - NEARLY_ALL < still < NEARLY_ALL:
        return None
    one = "still" if still >= NEARLY_ALL else "moving"
    return notice(
        f"Looks like one kind of camera: {one}",
        f"the whole picture stays still in {still:.0%} of the seconds (moves by less than {STILL} "
        "of its width a second)",
        f"Add footage with a {'moving' if one == 'still' else 'still'} camera, unless that is "
        "never wanted.",
    )


def _motion(kept: Sequence[Piece]) -> Notice | None:
    values, _ = _known(kept, "motion")
    if not len(values):
        return None
    low, high = _tenths(values)
    ratio = high / max(low, 1e-9)
    if MOTION_NARROW <= ratio <= MOTION_UNEVEN:
        return None
    figure = f"four of five clips change by {low:.2g} to {high:.2g} grey levels a frame"
    if ratio < MOTION_NARROW:
        return notice(
            "Looks like one kind of motion",
            figure,
            "Add slower and faster scenes, or use speed augmentation.",
        )
    return notice(
        "Motion is uneven",
        figure,
        "Set aside the nearly static part, or expect the model to make clips that hardly move.",
    )


def _tenths(values: Array) -> tuple[float, float]:
    low, high = np.percentile(values, (10, 90))
    return float(low), float(high)


def _animation(kept: Sequence[Piece]) -> Notice | None:
    """Drawings have areas of one colour. So have screens and bare walls, and rendered fur has not:
    the figure is a reason to look, no more."""
    values, seconds = _known(kept, "flat")
    if not len(values):
        return None
    flat, textured = (
        float(seconds[which].sum() / seconds.sum()) for which in (values > FLAT, values < TEXTURED)
    )
    if flat >= NEARLY_ALL:
        return notice(
            "Looks like animation alone, or bare backgrounds",
            f"{flat:.0%} of the seconds are mostly areas without texture",
            "Nothing, if that is what is wanted; other scenes will not be made.",
        )
    if min(flat, textured) <= 1 - NEARLY_ALL:
        return None
    return notice(
        "Looks like a mixture of animation and live action",
        f"{flat:.0%} of the seconds are mostly areas without texture, {textured:.0%} hardly any",
        "If it is one, label the two or train on one of them: unlabelled, a model may blend them.",
    )


def _lengths(kept: Sequence[Piece]) -> Notice | None:
    low, high = _tenths(_seconds(kept))
    if high <= LENGTH_UNEVEN * max(low, 1e-9):
        return None
    return notice(
        "Clip lengths are uneven",
        f"four of five clips are {low:.1f} to {high:.1f} s long",
        "Cut the long ones, or long shots count for little beside many short ones.",
    )


def _cuts(pieces: Sequence[Piece], longest: float | None) -> Notice | None:
    cuts, seconds = 0, float(_seconds(pieces).sum())
    for before, after in pairwise(pieces):
        chopped = longest is not None and before.seconds > 0.9 * longest
        cuts += before.item == after.item and before.kept and after.kept and not chopped
    cuts += sum(piece.word == "transition" for piece in pieces)
    rate = 60 * cuts / max(seconds, 1e-9)
    if rate <= CUTS_A_MINUTE:
        return None
    return notice(
        "Looks fast cut",
        f"{rate:.0f} cuts a minute, a shot lasts {60 / rate:.1f} s",
        "Lower prepare.min_seconds if too much is set aside as too short, or add longer shots.",
    )
