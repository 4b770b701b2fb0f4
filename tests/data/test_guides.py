"""Lines drawn of clips, and clips made worse."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from muybridge.core import chance
from muybridge.data import guides, tasks
from muybridge.data.stage import Settings, render

SEEDS = [chance.mix(5, i) for i in range(40)]


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return render(Settings((64, 64), 8, 1.0, 0), 3)[0]


def drawn(clip: np.ndarray, **shares: float) -> dict[str, np.ndarray]:
    room = guides.Room(tasks.Config(**shares), (len(SEEDS), *clip.shape[:3]))
    for row, seed in enumerate(SEEDS):
        room.draw(row, clip, seed)
    return {name: one.numpy() for name, one in (room.guides or {}).items()}


def test_each_is_there_as_often_as_asked_and_says_where(clip: np.ndarray) -> None:
    assert guides.Room(tasks.Config(prefix=0.5), (1, *clip.shape[:3])).guides is None
    found = drawn(clip, sketch=0.5, video=0.5)
    for name, channels in (("sketch", 2), ("video", 4)):
        assert found[name].shape == (len(SEEDS), len(clip), channels, 64, 64)
        there = found[name][:, :, -1]
        assert set(np.unique(there)) <= {0.0, 1.0}
        assert (found[name][there[:, :, None].repeat(channels, 2) == 0] == 0).all()
        assert 10 <= there[:, 0, 0, 0].sum() <= 30
    both = found["sketch"][:, 0, -1, 0, 0] * found["video"][:, 0, -1, 0, 0]
    assert 2 < both.sum() < 20  # one does not go with the other


def test_lines_are_where_the_picture_changes(clip: np.ndarray) -> None:
    found = drawn(clip, sketch=1.0)["sketch"]
    grey = cv2.GaussianBlur(cv2.cvtColor(clip[0], cv2.COLOR_RGB2GRAY), (0, 0), 1).astype(float)
    slope = np.hypot(*np.gradient(grey))
    ratios: list[float] = []
    for one in found:
        lines = one[0, 0] > 0
        assert 0.005 < lines.mean() < 0.5
        ratios.append(slope[lines].mean() / slope[~lines].mean())
        assert set(np.unique(one[0, 0])) == {-1.0, 1.0}
    assert min(ratios) > 1 and np.median(ratios) > 1.5
    later = found[:, 1, -1, 0, 0]
    assert 10 < later.sum() < 30  # one drawing, or one of each frame
    widths = {round(float(cv2.erode((one[0, 0] > 0).astype(np.uint8), np.ones((2, 2))).mean()), 3)
              for one in found}  # fmt: skip
    assert len(widths) > 5


def test_what_is_damaged_is_worse_and_still_of_the_clip(clip: np.ndarray) -> None:
    found = (drawn(clip, video=1.0)["video"][:, :, :3] + 1) * 127.5
    real = clip.transpose(0, 3, 1, 2).astype(float)
    errors = np.abs(found - real).mean((1, 2, 3, 4))
    other = np.abs(found[:, ::-1] - real).mean((1, 2, 3, 4))
    assert errors.min() > 0.2
    assert (errors < 50).all()
    assert other.mean() > errors.mean()
    grey = np.abs(found - found.mean(2, keepdims=True)).max((1, 2, 3, 4)) < 1
    assert 5 < grey.sum() < 30


def test_smaller_keeps_no_more_than_a_small_picture_holds(clip: np.ndarray) -> None:
    made = guides.smaller(clip[0], 4)
    small = cv2.resize(clip[0], (16, 16), interpolation=cv2.INTER_AREA)
    again = cv2.resize(made, (16, 16), interpolation=cv2.INTER_AREA)
    assert made.shape == clip[0].shape
    assert np.abs(small.astype(float) - again).mean() < 4


def test_a_clips_guides_are_its_seeds_own(clip: np.ndarray) -> None:
    first, second = drawn(clip, sketch=0.5, video=0.5), drawn(clip, sketch=0.5, video=0.5)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    alone = drawn(clip, video=0.5)["video"]
    assert np.array_equal(alone, first["video"])
