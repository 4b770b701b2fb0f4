from __future__ import annotations

import random as chances
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from muybridge.core.errors import DataError
from muybridge.data.splits import NAMES, check, split

RATIOS = (0.8, 0.1, 0.1)
Clips = tuple[list[str], list[int], list[str], list[str]]
LABELS = st.sampled_from(["", "walk", "run", "jump"])


@st.composite
def footage(draw: st.DrawFn, wanted: bool = False) -> Clips:
    """Keys, groups, labels and wanted splits of some clips in at least three groups."""
    groups = draw(st.lists(st.integers(0, 14), min_size=3, max_size=40))
    assume(len(set(groups)) >= 3)
    labels = [draw(LABELS) for _ in groups]
    asked = [draw(st.sampled_from(["", "", *NAMES])) if wanted else "" for _ in groups]
    return [f"key{i}" for i in range(len(groups))], groups, labels, asked


def even(labels: int, each: int) -> Clips:
    count = labels * each
    names = [f"label{i % labels}" for i in range(count)]
    return [f"key{i}" for i in range(count)], list(range(count)), names, [""] * count


RATIO = st.tuples(st.floats(0.05, 1), st.floats(0.05, 1), st.floats(0.05, 1))


@given(footage(wanted=True), RATIO, st.integers(0, 99))
def test_no_piece_of_footage_is_on_two_sides_and_no_side_is_empty(
    clips: Clips,
    ratios: tuple[float, float, float],
    seed: int,
) -> None:
    made = split(*clips, ratios, seed)
    assert len(made) == len(clips[0])
    assert set(made) == set(NAMES)
    sides = {(group, name) for group, name in zip(clips[1], made, strict=True)}
    assert len(sides) == len(set(clips[1]))


@given(footage(wanted=True), st.integers(0, 99), st.randoms(use_true_random=False))
def test_the_order_of_the_clips_does_not_matter(
    clips: Clips, seed: int, random: chances.Random
) -> None:
    made = dict(zip(clips[0], split(*clips, RATIOS, seed), strict=True))
    order = list(range(len(clips[0])))
    random.shuffle(order)
    keys, labels, wanted = ([column[i] for i in order] for column in (clips[0], *clips[2:]))
    # Groups are numbered by their first clip, so that their numbers change with the order too.
    groups = [clips[1][i] for i in order]
    again = split(keys, [groups.index(g) for g in groups], labels, wanted, RATIOS, seed)
    assert dict(zip(keys, again, strict=True)) == made


def test_a_seed_makes_another_split() -> None:
    clips = even(1, 40)
    assert split(*clips, RATIOS, 1) == split(*clips, RATIOS, 1)
    assert len({tuple(split(*clips, RATIOS, seed)) for seed in range(10)}) == 10


@given(footage(), RATIO, st.integers(0, 99))
def test_each_class_has_its_share_on_each_side(
    clips: Clips,
    ratios: tuple[float, float, float],
    seed: int,
) -> None:
    keys, groups, _, wanted = clips
    labels = [("walk", "run")[group % 2] for group in groups]
    made = split(keys, groups, labels, wanted, ratios, seed)
    largest = max(Counter(groups).values())
    for label in set(labels):
        sides = Counter(name for name, own in zip(made, labels, strict=True) if own == label)
        for name, ratio in zip(NAMES, ratios, strict=True):
            share = ratio / sum(ratios) * sides.total()
            # Whole pieces are dealt out, and one may be moved so that no side is empty.
            assert abs(sides[name] - share) <= 4 * largest


@pytest.mark.parametrize(("labels", "each"), [(1, 100), (4, 50), (10, 4), (50, 2), (100, 1)])
@pytest.mark.parametrize("seed", [0, 1])
def test_all_clips_are_shared_out_as_asked(labels: int, each: int, seed: int) -> None:
    """Also where each class alone is too small to be shared out."""
    made = Counter(split(*even(labels, each), RATIOS, seed))
    total = labels * each
    for name, ratio in zip(NAMES, RATIOS, strict=True):
        assert abs(made[name] / total - ratio) <= 0.05


@given(footage(wanted=True), st.integers(0, 99))
def test_wanted_splits_are_given_and_doubt_goes_to_test(clips: Clips, seed: int) -> None:
    _, groups, _, wanted = clips
    asked: dict[int, set[str]] = {}
    for group, name in zip(groups, wanted, strict=True):
        asked.setdefault(group, set()).update({name} - {""})
    given_names = [max(names, key=NAMES.index) for names in asked.values() if names]
    free = len(asked) - len(given_names)
    # Where a side would be empty otherwise, a piece that asks for another must be moved.
    assume(free >= len(set(NAMES) - set(given_names)))
    for group, name in zip(groups, split(*clips, RATIOS, seed), strict=True):
        if asked[group]:
            assert name == max(asked[group], key=NAMES.index)


@pytest.mark.parametrize(
    ("first", "second", "side"),
    [
        ("train", "test", "test"), ("test", "train", "test"), ("train", "validation", "validation"),
        ("validation", "test", "test"), ("", "validation", "validation"), ("test", "", "test"),
    ],
)  # fmt: skip
def test_copies_asked_for_on_two_sides_stay_unseen(first: str, second: str, side: str) -> None:
    keys, groups = [f"key{i}" for i in range(20)], [0, 0, *range(1, 19)]
    made = split(keys, groups, [""] * 20, [first, second, *[""] * 18], RATIOS, 0)
    assert made[:2] == [side, side]


def test_pieces_that_ask_for_nothing_fill_the_empty_sides() -> None:
    wanted = ["train"] * 10 + [""] * 3
    made = split([str(i) for i in range(13)], list(range(13)), [""] * 13, wanted, RATIOS, 0)
    assert made[:10] == ["train"] * 10
    assert {"validation", "test"} <= set(made[10:])


def test_where_all_ask_for_one_side_the_others_still_get_one() -> None:
    made = split(list("abcdef"), list(range(6)), [""] * 6, ["train"] * 6, RATIOS, 0)
    assert Counter(made) == {"train": 4, "validation": 1, "test": 1}


@pytest.mark.parametrize("groups", [[0], [0, 0, 0, 0], [0, 1, 0, 1]])
def test_fewer_than_three_pieces_cannot_be_split(groups: list[int]) -> None:
    keys, nothing = [str(i) for i in range(len(groups))], [""] * len(groups)
    with pytest.raises(DataError) as caught:
        split(keys, groups, nothing, nothing, RATIOS, 0)
    assert f"{len(groups)} clips come from {len(set(groups))}" in caught.value.message
    assert "copies" in caught.value.hint


def test_a_torn_piece_is_found() -> None:
    check([0, 0, 1], ["train", "train", "test"])
    with pytest.raises(DataError, match=r"groups \[4\]"):
        check([4, 1, 4], ["train", "train", "test"])
