"""Splits that differ are told from splits that chance made a little unlike."""

from __future__ import annotations

import numpy as np
import pytest

from muybridge.data.balance import differences
from muybridge.data.fates import Piece


def clips(
    draw: np.random.Generator, split: str, groups: int, brighter: float = 0.0, faster: float = 1.0,
    labels: str = "abcd",
) -> list[Piece]:  # fmt: skip
    """Three clips a group; those of one group are much alike, as those of one film are."""
    made = []
    for group in range(groups):
        light, pace = draw.normal(0.5, 0.1), np.exp(draw.normal(1, 0.5))
        label = draw.choice(list(labels))
        for clip in range(3):
            figures = {
                "brightness": light + brighter + draw.normal(0, 0.01),
                "motion": pace * faster * np.exp(draw.normal(0, 0.05)),
            }
            row = {"split": split, "group": f"{split}{group}", "label": label}
            made.append(
                Piece(group, f"{group}.mp4", 2.0 * clip, 2.0 * clip + 2, "", clip, "", figures,
                      {}, row)
            )  # fmt: skip
    return made


def test_chance_alone_seldom_raises_a_warning() -> None:
    draw = np.random.default_rng(0)
    trials = 200
    found = sum(
        bool(differences(clips(draw, "train", 40) + clips(draw, "validation", 5)
                         + clips(draw, "test", 5)))
        for _ in range(trials)
    )  # fmt: skip
    # Four figures at three standard errors (with few groups rather more), and two of labels.
    assert found <= 0.05 * trials


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"brighter": 0.35}, "test differs from train in brightness"),
        ({"faster": 8.0}, "test differs from train in motion"),
        ({"labels": "a"}, "The splits differ in labels"),
        ({"labels": "abcdz"}, "Labels that training never sees"),
    ],
)
def test_a_split_that_differs_is_named(change: dict[str, object], says: str) -> None:
    draw = np.random.default_rng(1)
    pieces = clips(draw, "train", 40) + clips(draw, "validation", 8)
    assert differences(pieces) == []
    found = differences(pieces + clips(draw, "test", 8, **change))  # type: ignore[arg-type]
    assert [one["says"] for one in found] == [says]


def test_without_splits_nothing_is_compared() -> None:
    assert differences(clips(np.random.default_rng(2), "", 20)) == []
