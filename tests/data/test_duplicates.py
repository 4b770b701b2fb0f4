from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muybridge.core.video import Frames, encode, read_video
from muybridge.data.duplicates import MOMENTS, SIDE, groups, signature
from muybridge.data.stage import Settings, render

DIGITS = st.lists(st.sampled_from("abcd"), max_size=10)


@pytest.fixture(scope="module")
def clips() -> list[Frames]:
    """Clips of the stage: half of them show the same thing doing the same elsewhere."""
    return [render(Settings((64, 64), 8, 2.0, 4), index)[0] for index in range(60)]


def grouped(clips: list[Frames]) -> list[int]:
    return groups([signature(clip) for clip in clips], [str(i) for i in range(len(clips))])


def recoded(frames: Frames, folder: Path, quality: int, fps: float = 8) -> Frames:
    (folder / "clip.mp4").write_bytes(encode(frames, fps, quality))
    return read_video(folder / "clip.mp4")[0]


def scaled(frames: Frames, height: int, width: int) -> Frames:
    how = cv2.INTER_AREA if height < frames.shape[1] else cv2.INTER_CUBIC
    return np.stack([cv2.resize(frame, (width, height), interpolation=how) for frame in frames])


def test_a_signature_is_small_and_of_any_length() -> None:
    for shape in ((1, 20, 30), (12, 16, 16), (100, 64, 48)):
        frames = np.zeros((*shape, 3), np.uint8)
        frames[len(frames) // 2 :] = 200
        made = signature(frames)
        assert made.shape == (MOMENTS, SIDE, SIDE) and made.dtype == np.float32
        assert made[-1].mean() == pytest.approx(200, abs=1)


def test_different_clips_of_the_stage_are_apart(clips: list[Frames]) -> None:
    assert grouped(clips) == list(range(len(clips)))


@pytest.mark.parametrize(
    "change", ["recoded", "poor", "small", "large", "mirrored", "brighter", "faster"]
)
def test_a_changed_copy_is_with_its_source(
    clips: list[Frames], change: str, tmp_path: Path
) -> None:
    def changed(frames: Frames) -> Frames:
        if change == "recoded":
            return recoded(frames, tmp_path, 23)
        if change == "poor":
            return recoded(frames, tmp_path, 30)
        if change == "small":
            return scaled(frames, 32, 32)
        if change == "large":
            return scaled(frames, 100, 120)
        if change == "mirrored":
            return recoded(frames[:, :, ::-1], tmp_path, 23)
        if change == "brighter":
            return np.clip(frames.astype(int) * 1.15 + 10, 0, 255).astype(np.uint8)
        return frames.repeat(3, 0)  # of a higher rate

    sources = clips[:12]
    copies = [np.ascontiguousarray(changed(frames)) for frames in sources]
    assert grouped(sources + copies) == [*range(12), *range(12)]


def test_the_shared_clips_are_pairs_of_mirror_images(shared: Path) -> None:
    paths = sorted((shared / "clips/actions").glob("*.mp4"))
    clips = [read_video(path)[0] for path in paths]
    found = grouped(clips)
    assert sorted(Counter(found).values()) == [2] * 36
    for first, second in itertools.combinations(range(len(clips)), 2):
        if found[first] == found[second]:
            a, b = clips[first].astype(int), clips[second].astype(int)
            assert len(a) == len(b)
            assert np.abs(a - b[:, :, ::-1]).mean() < 3 < np.abs(a - b).mean()


def test_real_copies_are_with_their_sources(shared: Path) -> None:
    names = [
        "real/bikes.mp4", "real/carphone.mp4", "damaged/duplicate_low_bitrate.mp4",
        "damaged/duplicate_mirrored.mp4", "real/carphone_distorted.mp4", "real/pancake.mkv",
        "damaged/sixty_fps.mp4", "real/h265.mp4",
    ]  # fmt: skip
    clips = [read_video(shared / "footage" / name)[0] for name in names]
    clips[5] = clips[5][:90]  # of which sixty_fps.mp4 is made
    assert grouped(clips) == [0, 1, 0, 1, 1, 5, 5, 7]


@given(DIGITS)
def test_equal_files_are_copies_whatever_they_show(digests: list[str]) -> None:
    random = np.random.default_rng(0)
    signatures = [random.uniform(0, 255, (MOMENTS, SIDE, SIDE)).astype(np.float32) for _ in digests]
    assert groups(signatures, digests) == [digests.index(digest) for digest in digests]


@given(st.lists(st.integers(0, 3), max_size=9), st.lists(st.integers(0, 3), max_size=9))
def test_groups_are_numbered_by_their_first_clip_and_joined_through_others(
    looks: list[int], digests: list[int]
) -> None:
    count = min(len(looks), len(digests))
    looks, digests = looks[:count], digests[:count]
    random = np.random.default_rng(1)
    kinds = [random.uniform(0, 255, (MOMENTS, SIDE, SIDE)).astype(np.float32) for _ in range(4)]
    expected = list(range(count))
    for _ in range(count):
        for i, j in itertools.product(range(count), repeat=2):
            if looks[i] == looks[j] or digests[i] == digests[j]:
                expected[i] = expected[j] = min(expected[i], expected[j])
    assert groups([kinds[look] for look in looks], [str(digest) for digest in digests]) == expected


def test_still_clips_of_one_place_are_together_and_a_moving_one_is_not() -> None:
    random = np.random.default_rng(2)

    def place() -> Frames:
        coarse = random.integers(0, 256, (6, 6, 3), np.uint8)
        return np.stack([np.asarray(cv2.resize(coarse, (64, 64)), np.uint8)] * 8)

    still = place()
    noisy = np.clip(still + random.normal(0, 2, still.shape), 0, 255).astype(np.uint8)
    moving = still.copy()
    for index, frame in enumerate(moving):
        frame[20:40, 6 * index : 6 * index + 16] = (255, 0, 0)
    assert grouped([still, noisy, moving, place()]) == [0, 0, 2, 3]
    # The same place, another movement.
    assert grouped([moving, moving[::-1].copy()]) == [0, 1]


def test_many_clips_are_compared_over_the_bounds_of_a_table() -> None:
    random = np.random.default_rng(3)
    signatures = [
        random.uniform(0, 255, (MOMENTS, SIDE, SIDE)).astype(np.float32) for _ in range(1030)
    ]
    signatures[1025] = signatures[3]
    signatures[1029] = signatures[600][..., ::-1].copy()
    found = groups(signatures, [str(i) for i in range(1030)])
    assert found == [{1025: 3, 1029: 600}.get(i, i) for i in range(1030)]
