from __future__ import annotations

import itertools
import random as chances
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from muybridge.core import video
from muybridge.core.errors import DataError
from muybridge.data import labels as labels_of
from muybridge.data.splits import NAMES, check, split

RATIOS = (0.8, 0.1, 0.1)
Labels = list[tuple[str, ...]]
Clips = tuple[list[str], list[int], Labels, list[str]]
LABELS = st.lists(st.sampled_from(["walk", "run", "jump", "ball"]), max_size=3).map(tuple)
RATIO = st.tuples(st.floats(0.05, 1), st.floats(0.05, 1), st.floats(0.05, 1))


@st.composite
def footage(draw: st.DrawFn, wanted: bool = False) -> Clips:
    """Keys, groups, labels and wanted splits of some clips, in at least three groups, or three that
    ask for nothing."""
    groups = draw(st.lists(st.integers(0, 14), min_size=3, max_size=40))
    own = [draw(LABELS) for _ in groups]
    asked = [draw(st.sampled_from(["", "", *NAMES])) if wanted else "" for _ in groups]
    assume(len(set(groups) - {g for g, name in zip(groups, asked, strict=True) if name}) >= 3)
    return [f"key{i}" for i in range(len(groups))], groups, own, asked


def many(seed: int, groups: int, labels: int, sizes: int = 6) -> Clips:
    """Groups of 1 to `sizes` clips, each with an action, some far rarer than others, and up to two
    more labels that not all its clips show. The first of more groups are the same groups."""
    chance = np.random.default_rng(seed)
    often = 1 / np.arange(1, labels + 1)
    clips: Clips = ([], [], [], [])
    for group in range(groups):
        action = chance.choice(labels, p=often / often.sum())
        seen = chance.choice(labels, size=chance.integers(0, 3))
        for part in range(chance.integers(1, sizes + 1)):
            shown = {str(action)} | {str(name) for name in seen if chance.random() < 0.7}
            row = (f"{seed}-{group}-{part}", group, tuple(sorted(shown)), "")
            for column, value in zip(clips, row, strict=True):
                column.append(value)
    return clips


def table(clips: Clips) -> tuple[np.ndarray, np.ndarray]:
    """Clips of each group (groups, 1 + labels): of any label, and of each; and the groups."""
    names = {name: i for i, name in enumerate(sorted({n for own in clips[2] for n in own}), 1)}
    groups = sorted(set(clips[1]))
    rows = {group: i for i, group in enumerate(groups)}
    counts = np.zeros((len(groups), 1 + len(names)))
    for group, own in zip(clips[1], clips[2], strict=True):
        counts[rows[group], [0, *(names[name] for name in own)]] += 1
    return counts, np.array(groups)


def deviation(clips: Clips, made: Sequence[str], ratios: Sequence[float] = RATIOS) -> np.ndarray:
    """How many clips of each label each split has over its share (3, 1 + labels)."""
    counts, groups = table(clips)
    side = dict(zip(clips[1], made, strict=True))
    sides = np.array([NAMES.index(side[group]) for group in groups])
    held = np.stack([counts[sides == i].sum(0) for i in range(3)])
    return np.asarray(held - np.outer(ratios, counts.sum(0)) / sum(ratios))


def imbalance(clips: Clips, made: Sequence[str]) -> float:
    """Mean square of the deviations, over their variance where chance deals out the groups."""
    squares = (table(clips)[0] ** 2).sum(0)
    variance = np.outer([r * (1 - r) for r in RATIOS], squares)
    return float((deviation(clips, made) ** 2 / variance).mean())


def by_chance(clips: Clips, seed: int) -> list[str]:
    chance = chances.Random(seed)
    side = {group: chance.choices(NAMES, RATIOS)[0] for group in sorted(set(clips[1]))}
    return [side[group] for group in clips[1]]


def dealt(clips: Clips, seed: int) -> list[str]:
    """Iterative stratification as published (Sechidis et al. 2011, algorithm 1), with the groups in
    place of the examples: the rarest label's examples first, each to the split that lacks most."""
    counts, groups = table(clips)
    counts = counts[:, 1:]
    lacks = np.outer(RATIOS, counts.sum(0))
    lacks_all = np.outer(RATIOS, [len(clips[0])])[:, 0]
    sizes = table(clips)[0][:, 0]
    chance = np.random.default_rng(seed)
    left, side = set(range(len(groups))), {}
    while left:
        rest = counts[sorted(left)].sum(0)
        label = min(np.flatnonzero(rest), key=lambda i: rest[i])
        own = [g for g in sorted(left) if counts[g, label]]
        for group in chance.permutation(own):
            to = max(range(3), key=lambda i: (lacks[i, label], lacks_all[i]))
            side[groups[group]] = NAMES[to]
            lacks[to] -= counts[group]
            lacks_all[to] -= sizes[group]
            left.discard(int(group))
    return [side[group] for group in clips[1]]


def moved(first: Clips, one: Sequence[str], second: Clips, other: Sequence[str]) -> float:
    """The share of the first's groups that the second has on another side."""
    before = dict(zip(first[1], one, strict=True))
    after = dict(zip(second[1], other, strict=True))
    return sum(after[group] != side for group, side in before.items()) / len(before)


# Whole groups, determinism


@given(footage(wanted=True), RATIO, st.integers(0, 99))
def test_no_piece_of_footage_is_on_two_sides_and_no_side_is_empty(
    clips: Clips, ratios: tuple[float, float, float], seed: int
) -> None:
    made = split(*clips, ratios, seed)
    assert len(made) == len(clips[0])
    assert set(made) == set(NAMES)
    check(clips[1], made)


@given(footage(wanted=True), st.integers(0, 99), st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_the_clips_does_not_matter(
    clips: Clips, seed: int, random: chances.Random, again: bool
) -> None:
    half = clips[0][: len(clips[0]) // 2]
    before = {key: random.choice(NAMES) for key in half} if again else {}
    assume(len({g for k, g in zip(clips[0], clips[1], strict=True) if k not in before}) >= 3)
    made = dict(zip(clips[0], split(*clips, RATIOS, seed, before), strict=True))
    order = list(range(len(clips[0])))
    random.shuffle(order)
    keys, groups, own, wanted = ([column[i] for i in order] for column in clips)
    # Groups are numbered by their first clip, so that their numbers change with the order too.
    numbers = [groups.index(group) for group in groups]
    shuffled = [tuple(reversed(names)) for names in own]
    made_again = split(keys, numbers, shuffled, wanted, RATIOS, seed, before)
    assert dict(zip(keys, made_again, strict=True)) == made


def test_a_seed_makes_another_split() -> None:
    clips = many(0, 40, 2)
    assert split(*clips, RATIOS, 1) == split(*clips, RATIOS, 1)
    assert len({tuple(split(*clips, RATIOS, seed)) for seed in range(10)}) == 10


def test_a_torn_piece_is_found() -> None:
    check([0, 0, 1], ["train", "train", "test"])
    with pytest.raises(DataError, match=r"groups \[4\]"):
        check([4, 1, 4], ["train", "train", "test"])


# Balance


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 9999), st.integers(30, 400), st.integers(1, 20), st.integers(1, 8), RATIO)
@example(0, 5000, 20, 6, RATIOS)
@example(0, 30, 20, 8, RATIOS)
def test_each_label_has_its_share_in_each_split(
    seed: int, groups: int, labels: int, sizes: int, ratios: tuple[float, float, float]
) -> None:
    clips = many(seed, groups, labels, sizes)
    off = np.abs(deviation(clips, split(*clips, ratios, seed), ratios))
    largest = table(clips)[0].max(0)
    # Whole groups cannot do better than about half of one; many labels in few groups, two.
    assert off[:, 0].max() <= largest[0]
    assert (off <= 2.5 * largest).all()
    assert (off / largest).mean() <= 0.6


@pytest.mark.parametrize(("groups", "labels"), [(30, 4), (30, 20), (100, 5), (300, 20), (1000, 20)])
def test_the_split_is_more_even_than_chance_or_dealing(groups: int, labels: int) -> None:
    ours, chance, published = [], [], []
    for seed in range(10 if groups < 300 else 3):
        clips = many(seed, groups, labels)
        ours.append(imbalance(clips, split(*clips, RATIOS, seed)))
        chance.append(imbalance(clips, by_chance(clips, seed)))
        published.append(imbalance(clips, dealt(clips, seed)))
    assert np.mean(ours) < 0.5 * np.mean(chance)
    assert np.mean(ours) < np.mean(published)


def test_several_labels_of_a_clip_are_all_kept_in_proportion() -> None:
    """Stratifying by the first label alone would leave the second to chance."""
    chance = chances.Random(0)
    names = [("walk", chance.choice(["ball", "box"])) for _ in range(100)]
    clips: Clips = ([str(i) for i in range(100)], list(range(100)), names, [""] * 100)
    assert np.abs(deviation(clips, split(*clips, RATIOS, 0))).max() < 1


@pytest.mark.parametrize(("labels", "each"), [(1, 100), (4, 50), (10, 4), (50, 2), (100, 1)])
@pytest.mark.parametrize("seed", [0, 1])
def test_all_clips_are_shared_out_as_asked(labels: int, each: int, seed: int) -> None:
    """Also where each class alone is too small to be shared out."""
    total = labels * each
    names = [(f"label{i % labels}",) for i in range(total)]
    made = split(
        [str(i) for i in range(total)], list(range(total)), names, [""] * total, RATIOS, seed
    )
    for name, ratio in zip(NAMES, RATIOS, strict=True):
        assert abs(made.count(name) / total - ratio) <= 0.02


@pytest.mark.parametrize("size", [1, 10])
def test_places_alone_give_the_ratios_whatever_the_size_of_groups(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any balancing, within four standard deviations."""
    monkeypatch.setattr("muybridge.data.splits.STAY", 1e6)
    groups = [i // size for i in range(1000 * size)]
    keys, nothing = [str(i) for i in range(len(groups))], [""] * len(groups)
    made = split(keys, groups, [()] * len(groups), nothing, RATIOS, 0)
    for name, ratio in zip(NAMES, RATIOS, strict=True):
        count = made[::size].count(name)
        assert abs(count - 1000 * ratio) < 4 * (1000 * ratio * (1 - ratio)) ** 0.5


# Ratios


@pytest.mark.parametrize("ratios", [(9, 1, 0), (0.9, 0, 0.1), (1, 0, 0)])
def test_a_ratio_of_nothing_leaves_a_split_empty(ratios: tuple[float, float, float]) -> None:
    clips = many(0, 60, 3)
    made = Counter(split(*clips, ratios, 0))
    for name, ratio in zip(NAMES, ratios, strict=True):
        assert abs(made[name] / len(clips[0]) - ratio / sum(ratios)) <= 0.02 * (ratio > 0)


@pytest.mark.parametrize(
    "ratios", [(0, 0.5, 0.5), (-1, 1, 1), (0.8, -0.1, 0.3), (float("nan"), 1, 1), (1, 1, 1e999)]
)
def test_ratios_that_are_none_are_refused(ratios: tuple[float, float, float]) -> None:
    with pytest.raises(DataError, match="ratios") as caught:
        split(*many(0, 9, 1), ratios, 0)
    assert "train" in caught.value.hint


@pytest.mark.parametrize("groups", [[0], [0, 0, 0, 0], [0, 1, 0, 1]])
def test_fewer_pieces_than_splits_cannot_be_split(groups: list[int]) -> None:
    keys, nothing = [str(i) for i in range(len(groups))], [""] * len(groups)
    with pytest.raises(DataError) as caught:
        split(keys, groups, [()] * len(groups), nothing, RATIOS, 0)
    assert f"{len(groups)} clips come from {len(set(groups))}" in caught.value.message
    assert "copies" in caught.value.hint
    assert set(split(keys, groups, [()] * len(groups), nothing, (1, 0, 0), 0)) == {"train"}


# Splits that are asked for


@given(footage(wanted=True), st.integers(0, 99))
def test_wanted_splits_are_given_and_doubt_goes_to_the_unseen_side(clips: Clips, seed: int) -> None:
    asked: dict[int, set[str]] = defaultdict(set)
    for group, name in zip(clips[1], clips[3], strict=True):
        asked[group] |= {name} - {""}
    for group, name in zip(clips[1], split(*clips, RATIOS, seed), strict=True):
        if asked[group]:
            assert name == max(asked[group], key=NAMES.index)


@pytest.mark.parametrize(
    ("first", "second", "side"),
    [
        ("train", "test", "test"), ("test", "train", "test"), ("train", "validation", "validation"),
        ("validation", "test", "test"), ("", "validation", "validation"), ("test", "", "test"),
    ],
)  # fmt: skip
def test_copies_asked_for_on_two_sides_stay_unseen_and_are_counted(
    first: str, second: str, side: str, capsys: pytest.CaptureFixture[str]
) -> None:
    keys, groups = [f"key{i}" for i in range(20)], [0, 0, *range(1, 19)]
    made = split(keys, groups, [()] * 20, [first, second, *[""] * 18], RATIOS, 0)
    assert made[:2] == [side, side]
    told = capsys.readouterr().err
    torn = bool(first and second)
    assert ("footage asked for in more than one split: 1;" in told) == torn
    assert (f"(1 to {side})" in told) == torn


def test_pieces_that_ask_for_nothing_fill_the_empty_sides() -> None:
    wanted = ["train"] * 10 + [""] * 3
    made = split([str(i) for i in range(13)], list(range(13)), [()] * 13, wanted, RATIOS, 0)
    assert made[:10] == ["train"] * 10
    assert {"validation", "test"} <= set(made[10:])


def test_what_nothing_asks_for_comes_out_of_train(capsys: pytest.CaptureFixture[str]) -> None:
    """As with UCF's lists, which have no validation: the test list stays what it is."""
    keys, groups, names, _ = many(3, 200, 4)
    wanted = ["test" if group % 4 == 0 else "train" for group in groups]
    made = split(keys, groups, names, wanted, RATIOS, 0)
    assert [a == "test" for a in made] == [w == "test" for w in wanted]
    rest: Clips = tuple(
        [v for v, w in zip(column, wanted, strict=True) if w == "train"]
        for column in (keys, groups, names, wanted)
    )
    off = deviation(rest, [m for m in made if m != "test"], (0.8, 0.1, 0))
    assert (np.abs(off) <= table(rest)[0].max(0)).all()
    assert "nothing is asked for in validation" in capsys.readouterr().err
    # It keeps what it took, also when more has come.
    more = many(3, 230, 4)
    asked = ["test" if group % 4 == 0 else "train" for group in more[1]]
    again = split(*more[:3], asked, RATIOS, 0, dict(zip(keys, made, strict=True)))
    assert moved((keys, groups, names, wanted), made, more, again) == 0
    share = again.count("validation") / (again.count("train") + again.count("validation"))
    assert abs(share - 1 / 9) < 0.02


def test_where_all_ask_for_train_the_others_still_get_one() -> None:
    made = split(list("abcdef"), list(range(6)), [()] * 6, ["train"] * 6, RATIOS, 0)
    assert Counter(made) == {"train": 4, "validation": 1, "test": 1}


def test_what_must_stay_unseen_is_never_trained_on() -> None:
    wanted = ["test"] * 4 + ["validation"] * 2
    with pytest.raises(DataError, match="no footage is left for train") as caught:
        split(list("abcdef"), list(range(6)), [()] * 6, wanted, RATIOS, 0)
    assert caught.value.hint
    wanted = ["train"] + ["validation"] * 5
    with pytest.raises(DataError, match="no footage is left for test") as caught:
        split(list("abcdef"), list(range(6)), [()] * 6, wanted, RATIOS, 0)
    assert "ratio of test to 0" in caught.value.hint
    assert split(list("abcdef"), list(range(6)), [()] * 6, wanted, (8, 1, 0), 0) == wanted


def test_a_side_that_has_too_much_leaves_the_others_in_proportion() -> None:
    keys, groups, names, _ = many(0, 300, 1)
    wanted = ["test" if group < 120 else "" for group in groups]
    made = Counter(split(keys, groups, names, wanted, (0.6, 0.3, 0.1), 0))
    assert made["test"] <= 1.02 * wanted.count("test")
    assert abs(made["train"] / made["validation"] - 2) < 0.05


# Footage that is added


@pytest.mark.parametrize(("groups", "labels", "most"), [(300, 10, 0.10), (1000, 5, 0.06)])
def test_few_old_groups_move_when_a_tenth_is_added(groups: int, labels: int, most: float) -> None:
    shares, anew = [], []
    for seed in range(3):
        old, new = many(seed, groups, labels), many(seed, groups * 11 // 10, labels)
        shares.append(moved(old, split(*old, RATIOS, seed), new, split(*new, RATIOS, seed)))
        anew.append(moved(old, dealt(old, seed), new, dealt(new, seed)))
    assert np.mean(shares) <= most
    assert np.mean(shares) < 0.4 * np.mean(anew)


@pytest.mark.parametrize("groups", [30, 300])
def test_no_old_group_moves_that_is_known_from_before(groups: int) -> None:
    old, new = many(1, groups, 6), many(1, groups * 13 // 10, 6)
    made = split(*old, RATIOS, 0)
    # A newcomer that is a copy of old footage goes where that is.
    new[0].append("copy")
    for column, value in zip(new[1:], (0, new[2][0], ""), strict=True):
        column.append(value)
    again = split(*new, RATIOS, 0, dict(zip(old[0], made, strict=True)))
    assert moved(old, made, new, again) == 0
    assert again[-1] == made[0]
    # What is new makes up for it: all is as even as if it had come at once.
    assert np.abs(deviation(new, again)[:, 0]).max() <= table(new)[0].max()
    assert imbalance(new, again) < 0.5 * np.mean(
        [imbalance(new, by_chance(new, i)) for i in range(5)]
    )


def test_even_a_changed_seed_or_ratio_moves_nothing_known() -> None:
    clips = many(1, 50, 3)
    made = split(*clips, RATIOS, 0)
    before = dict(zip(clips[0], made, strict=True))
    assert split(*clips, (0.5, 0.25, 0.25), 7, before) == made


@pytest.mark.parametrize(
    ("first", "second", "side"),
    [
        ("train", "test", "test"), ("train", "validation", "validation"),
        ("validation", "test", "test"), ("train", "train", "train"),
    ],
)  # fmt: skip
def test_old_groups_that_turn_out_to_be_one_go_to_the_unseen_side(
    first: str, second: str, side: str, capsys: pytest.CaptureFixture[str]
) -> None:
    keys, groups = [f"key{i}" for i in range(20)], [0, 0, *range(1, 19)]
    made = split(keys, groups, [()] * 20, [""] * 20, RATIOS, 0, {"key0": first, "key1": second})
    assert made[:2] == [side, side]
    assert ("earlier in more than one split" in capsys.readouterr().err) == (first != second)


def test_the_labels_file_is_stronger_than_what_was_before() -> None:
    keys = [f"key{i}" for i in range(20)]
    before = dict.fromkeys(keys[:15], "test")
    wanted = ["train"] * 5 + [""] * 15
    made = split(keys, list(range(20)), [()] * 20, wanted, RATIOS, 0, before)
    assert made[:5] == ["train"] * 5
    assert made[5:15] == ["test"] * 10


def test_one_more_copy_seldom_changes_the_place_of_its_group() -> None:
    """A group's place is that of the least of its members' hashes: one more of four changes it one
    time in five, and then to a place drawn anew."""
    changes = 0
    for seed in range(20):
        groups = [i % 40 for i in range(160)]
        keys = [f"{seed}-{i}" for i in range(160)]
        made = split(keys, groups, [()] * 160, [""] * 160, RATIOS, seed)
        grown = [*keys, *(f"{seed}-more{i}" for i in range(40))]
        again = split(grown, [*groups, *range(40)], [()] * 200, [""] * 200, RATIOS, seed)
        changes += sum(a != b for a, b in zip(made[:40], again[:40], strict=True))
    assert changes / 800 < 0.15


# Real footage


@pytest.fixture(scope="session")
def pairs(shared: Path) -> tuple[list[Path], list[int]]:
    """The action clips, and for each the lower number of itself and its mirror image: found by
    comparing pixels, which for a mirror image are 1.7 grey levels off, for others 4 and more."""
    files = sorted((shared / "clips/actions").glob("*.mp4"))
    clips = [
        np.stack([frame for _, frame in itertools.islice(video.decode(file), 0, 9, 4)])
        for file in files
    ]
    frames = np.stack(clips).astype(np.int16)
    other = [int(np.abs(frames - clip[:, :, ::-1]).mean((1, 2, 3, 4)).argmin()) for clip in frames]
    assert [other[i] for i in other] == list(range(len(files)))
    return files, [min(i, j) for i, j in enumerate(other)]


def test_no_mirrored_pair_is_ever_on_two_sides(pairs: tuple[list[Path], list[int]]) -> None:
    files, groups = pairs
    assert len(set(groups)) == 36
    notes = labels_of.read(files[0].parent / "labels.csv")
    names = [(notes[file.name][0].label,) for file in files]
    keys = [file.name for file in files]
    for seed in range(50):
        clips: Clips = (keys, groups, names, [""] * 72)
        made = split(*clips, RATIOS, seed)
        check(groups, made)
        assert abs(made.count("train") - 57.6) < 2
        # Each action has a pair on each side, of 9: none is better.
        assert len(set(zip(names, made, strict=True))) == 12
