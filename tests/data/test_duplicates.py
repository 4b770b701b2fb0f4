from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muybridge.core import decoding
from muybridge.core.video import Frames, at_rate, encode, read_video
from muybridge.data.duplicates import RATE, SIDE, Pair, Signature, groups, pairs, signature
from muybridge.data.stage import Settings, render

FPS = 24.0


@functools.lru_cache(maxsize=64)
def scene(seed: int, seconds: float, fps: float = FPS, place: int | None = None) -> Frames:
    """A smooth texture, before which two others wander: the same moments at any rate.

    Scenes of one `place` share what stands still.
    """
    random = np.random.default_rng(seed)
    still = np.random.default_rng(seed if place is None else 10_000 + place)
    y, x = np.mgrid[:64, :64] / 64
    waves = still.normal(0, 1.2, (6, 2))
    ground = sum(np.cos(6.3 * (a * y + b * x) + i) for i, (a, b) in enumerate(waves)) * 22
    paces, phases = random.uniform(0.4, 1.2, (2, 2, 3)), random.uniform(0, 6.3, (2, 2, 3))
    times = np.arange(round(seconds * fps)) / fps
    frames = np.empty((len(times), 64, 64), np.float32)
    for frame, time in zip(frames, times, strict=True):
        # Sums of three swings whose paces have no common measure: nothing comes again.
        place_of = 0.5 + 0.15 * np.sin(6.3 * paces * time + phases).sum(-1)
        frame[:] = 128 + ground
        for (at_y, at_x), sign in zip(place_of, (-70, 70), strict=True):
            frame += sign * np.exp(-((y - at_y) ** 2 + (x - at_x) ** 2) / 0.02)
    return np.clip(frames, 0, 255).astype(np.uint8)[..., None].repeat(3, -1)


def recoded(frames: Frames, folder: Path, quality: int, fps: float = FPS) -> Frames:
    (folder / "clip.mp4").write_bytes(encode(frames, fps, quality))
    return read_video(folder / "clip.mp4")[0]


def scaled(frames: Frames, height: int, width: int) -> Frames:
    how = cv2.INTER_AREA if height < frames.shape[1] else cv2.INTER_CUBIC
    return np.stack([cv2.resize(frame, (width, height), interpolation=how) for frame in frames])


def grouped(signatures: list[Signature]) -> list[int]:
    return groups(signatures, [""] * len(signatures), [""] * len(signatures))


@pytest.fixture(scope="module")
def scenes() -> list[Frames]:
    """Eight of four seconds, two in each of four places."""
    return [scene(seed, 4, place=seed // 2) for seed in range(8)]


# ---- signature


@pytest.mark.parametrize("shape", [(1, 20, 30), (12, 16, 16), (100, 64, 48)])
def test_a_signature_is_eight_pictures_a_second(shape: tuple[int, int, int]) -> None:
    for fps in (8.0, 24.0, 30000 / 1001):
        frames = np.zeros((*shape, 3), np.uint8)
        frames[len(frames) // 2 :] = 200
        made = signature(frames, fps)
        assert made.shape == (max(1, int(shape[0] / fps * RATE + 1e-6)), SIDE, SIDE)
        assert made.dtype == np.uint8
        assert made[-1].min() >= 199 or len(made) < 3


def test_a_signature_hardly_depends_on_the_rate_nor_on_the_phase_of_the_frames() -> None:
    slow, fast = scene(3, 4, 12), scene(3, 4, 50)
    assert np.abs(signature(slow, 12).astype(int) - signature(fast, 50)).mean() < 2
    # A clip that begins an eighth later, which is three frames, is one sample on.
    whole = scene(3, 4, 24)
    later = signature(whole[3:], 24).astype(int)
    assert np.abs(later[1:-1] - signature(whole, 24)[2:-1]).max() <= 1


# ---- pairs


CHANGES: dict[str, Callable[[Frames, Path], Frames]] = {
    "recoded": lambda frames, folder: recoded(frames, folder, 35),
    "small": lambda frames, _: scaled(frames, 32, 32),
    "large": lambda frames, _: scaled(frames, 100, 120),
    "brighter": lambda frames, _: np.clip(frames * 1.05, 0, 255).astype(np.uint8),
    "darker": lambda frames, _: (frames * 0.8).astype(np.uint8),
    "mirrored": lambda frames, folder: recoded(frames[:, :, ::-1], folder, 23),
    "reversed": lambda frames, folder: recoded(frames[::-1], folder, 23),
    "mirrored and reversed": lambda frames, _: frames[::-1, :, ::-1],
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_paired_with_its_source_alone(
    scenes: list[Frames], change: str, tmp_path: Path
) -> None:
    copies = [np.ascontiguousarray(CHANGES[change](frames, tmp_path)) for frames in scenes]
    found = pairs([signature(frames, FPS) for frames in scenes + copies])
    assert {(pair.first, pair.second) for pair in found} == {(i, i + 8) for i in range(8)}
    kept = ("recoded", "small", "large", "brighter", "darker")
    assert {pair.how for pair in found} == {"copy" if change in kept else change}
    assert all(0.9 < pair.likeness <= 1 and pair.overlap > 3.8 for pair in found)


@settings(max_examples=50)
@given(
    st.integers(0, 10**6), st.integers(0, 72), st.integers(24, 96), st.sampled_from((12, 24, 30)),
    st.booleans(), st.booleans(),
)  # fmt: skip
def test_an_excerpt_is_found_wherever_it_begins(
    seed: int, begin: int, frames: int, fps: int, mirrored: bool, backwards: bool
) -> None:
    """Of six seconds: the first four, and one to four that begin at up to three."""
    long = scene(seed % 20, 6, 48)
    excerpt = long[2 * begin : 2 * (begin + frames)]
    excerpt = excerpt[:: -1 if backwards else 1, :, :: -1 if mirrored else 1]
    excerpt = excerpt[np.arange(len(excerpt) * fps // 48) * 48 // fps]
    found = pairs([signature(long[:192:2], 24), signature(excerpt, fps)])
    assert len(found) == 1
    names = [name for name, is_so in (("mirrored", mirrored), ("reversed", backwards)) if is_so]
    assert found[0].how == (" and ".join(names) or "copy")
    shared = (min(96, begin + frames) - begin) / 24
    assert found[0].overlap == pytest.approx(shared, abs=0.3)


def test_parts_of_one_scene_that_do_not_overlap_are_not_pairs() -> None:
    for seed in range(6):
        long = scene(seed, 12)
        parts = [signature(long[begin : begin + 72], FPS) for begin in range(0, 288, 72)]
        assert pairs(parts) == []


def test_an_overlap_of_less_than_half_a_second_is_no_pair() -> None:
    long = scene(1, 8)
    assert pairs([signature(long[:96], FPS), signature(long[86:], FPS)]) == []


def test_still_clips_of_one_place_are_pairs_and_a_moving_one_is_not() -> None:
    random = np.random.default_rng(2)
    still = scene(5, 1 / FPS).repeat(48, 0)
    noisy = np.clip(still + random.normal(0, 2, still.shape), 0, 255).astype(np.uint8)
    moving = still.copy()
    for index, frame in enumerate(moving):
        frame[20:40, index : index + 16] = (255, 0, 0)
    other = scene(6, 1 / FPS).repeat(30, 0)
    assert grouped([signature(clip, FPS) for clip in (still, noisy, moving, other)]) == [0, 0, 2, 3]
    # One part of the movement is not another.
    assert pairs([signature(moving[:24], FPS), signature(moving[24:], FPS)]) == []


def test_many_copies_need_fewer_pairs_than_clips() -> None:
    one = signature(scene(0, 3), FPS)
    found = pairs([one] * 40)
    assert [(pair.first, pair.second) for pair in found] == [(0, i) for i in range(1, 40)]
    assert set(found[0:1]) == {Pair(0, 1, "copy", found[0].likeness, 3.0)}


def test_many_clips_are_compared_over_the_bounds_of_a_table() -> None:
    random = np.random.default_rng(3)

    def textures() -> Signature:
        coarse = random.integers(0, 256, (20, 5, 5), np.uint8)
        smooth = cv2.GaussianBlur(coarse.reshape(20, 25).astype(np.float32), (1, 9), 2)
        return np.stack([cv2.resize(p.reshape(5, 5), (SIDE, SIDE)) for p in smooth]).astype(
            np.uint8
        )

    made = [textures() for _ in range(600)]
    made[595] = made[3][4:]
    made[599] = made[300][..., ::-1].copy()
    expected = [{595: 3, 599: 300}.get(i, i) for i in range(600)]
    assert grouped(made) == expected


# ---- groups


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "x", "y"])), max_size=8))
def test_equal_files_and_equal_sources_share_a_group_whatever_they_show(
    names: list[tuple[str, str]],
) -> None:
    digests, sources = [a for a, _ in names], [b for _, b in names]
    looks = [signature(scene(i, 1.5, 12), 12) for i in range(len(names))]
    expected = list(range(len(names)))
    for _ in names:
        for i, j in itertools.product(range(len(names)), repeat=2):
            if digests[i] == digests[j] or (sources[i] and sources[i] == sources[j]):
                expected[i] = expected[j] = min(expected[i], expected[j])
    assert groups(looks, digests, sources) == expected


def test_groups_join_through_others_and_in_any_order() -> None:
    long = scene(4, 9)
    # A chain: each overlaps the next by a second and a half, and the ends not at all.
    chain = [signature(long[begin : begin + 84], FPS) for begin in (0, 48, 96)]
    clips = [*chain, *(signature(scene(seed, 3), FPS) for seed in (5, 6, 7))]
    random = np.random.default_rng(0)
    for _ in range(6):
        order = random.permutation(6)
        shuffled = [clips[i] for i in order]
        chained = [place for place, i in enumerate(order) if i < 3]
        expected = [chained[0] if i in chained else i for i in range(6)]
        assert grouped(shuffled) == expected
        assert groups(shuffled, [""] * 6, [""] * 6, pairs(shuffled)) == expected


def test_no_clips_make_no_groups() -> None:
    assert groups([], [], []) == [] and pairs([]) == []


# ---- real footage, and footage made to be alike


def test_different_clips_of_the_stage_are_apart() -> None:
    clips = [render(Settings((64, 64), 8, 2.0, 4), index)[0] for index in range(100)]
    assert pairs([signature(clip, 8) for clip in clips]) == []


def test_the_shared_clips_are_pairs_of_mirror_images(shared: Path) -> None:
    paths = sorted((shared / "clips/actions").glob("*.mp4"))
    clips = [read_video(path)[0] for path in paths]
    found = pairs([signature(clip, 25) for clip in clips])
    assert len(found) == 36 and {pair.how for pair in found} == {"mirrored"}
    assert len({clip for pair in found for clip in (pair.first, pair.second)}) == 72
    for pair in found:
        a, b = clips[pair.first][::8].astype(int), clips[pair.second][::8].astype(int)
        assert len(clips[pair.first]) == len(clips[pair.second])
        assert np.abs(a - b[:, :, ::-1]).mean() < 3 < np.abs(a - b).mean()


# Seconds of the cuts within the first four, which the files' own README tells.
BIKES = (1.2, 3.04)
CUTS = {
    "real/bikes.mp4": BIKES,
    "damaged/duplicate_low_bitrate.mp4": BIKES,
    "damaged/dropped_12_frames.mp4": (1.2, 1.6, 2.08, 3.04),
    "damaged/variable_rate.mp4": BIKES,
    "damaged/blurred.mp4": BIKES,
    "damaged/noisy.mp4": BIKES,
    "damaged/shuffled.mp4": BIKES,
    "damaged/reversed.mp4": (0.96, 2.8),
    "damaged/black_frames.mp4": (1.0, 1.4),
}
WHOLE = [
    "real/arm_wrestling.mp4",
    "real/carphone.mp4",
    "real/carphone_distorted.mp4",
    "real/cockatoo.mp4",
    "real/pancake.mkv",
    "damaged/duplicate_mirrored.mp4",
    "damaged/letterboxed.mp4",
    "damaged/sixty_fps.mp4",
    "damaged/bit_rot.mkv",
    "damaged/truncated.mkv",
]
THREE_SHOTS = "damaged/three_shots_one_dissolve.mp4"


def parts(shared: Path, name: str, seconds: float = 4) -> dict[str, Signature]:
    """Signatures of the whole pictures between a file's cuts, without black bars."""
    bars = 60 if "letterboxed" in name else 0
    frames = []
    whole = decoding.frames(shared / "footage" / name)
    pictures = ((frame.seconds, frame.picture()) for frame in whole if not frame.damaged)
    for moment, picture in at_rate(pictures, FPS):
        if moment > seconds:
            break
        frames.append(cv2.resize(picture[bars : len(picture) - bars], (64, 64), interpolation=3))
    bounds = [
        0,
        *(round(cut * FPS) for cut in (CUTS | {THREE_SHOTS: (3.0, 5.0, 6.0)}).get(name, ())),
        len(frames),
    ]
    return {
        f"{Path(name).stem} {i}": signature(np.stack(frames[begin:end]), FPS)
        for i, (begin, end) in enumerate(itertools.pairwise(bounds))
        if end - begin >= 20
    }


@pytest.fixture(scope="module")
def footage(shared: Path) -> dict[str, Signature]:
    signers = sorted((shared / "footage/real").glob("asl_*"))
    names = [*CUTS, *WHOLE, *(f"real/{path.name}" for path in signers)]
    made = {key: part for name in names for key, part in parts(shared, name).items()}
    shots = parts(shared, THREE_SHOTS, 8)
    del shots["three_shots_one_dissolve 2"]  # the dissolve, which is of two
    return made | shots


def test_real_copies_are_with_their_sources_and_nothing_else_is(
    footage: dict[str, Signature],
) -> None:
    together: dict[int, set[str]] = {}
    for name, group in zip(footage, grouped(list(footage.values())), strict=True):
        together.setdefault(group, set()).add(name)
    alone = {name for name in footage if name.startswith("asl")}
    assert len(alone) == 11
    expected = [
        {
            "bikes 0", "duplicate_low_bitrate 0", "dropped_12_frames 0", "variable_rate 0",
            "blurred 0", "noisy 0", "shuffled 0", "reversed 2",
        },
        {
            "bikes 1", "duplicate_low_bitrate 1", "dropped_12_frames 3", "variable_rate 1",
            "blurred 1", "noisy 1", "shuffled 1", "reversed 1",
        },
        {
            "bikes 2", "duplicate_low_bitrate 2", "dropped_12_frames 4", "variable_rate 2",
            "blurred 2", "reversed 0",
        },
        {"arm_wrestling 0", "three_shots_one_dissolve 0"},
        {
            "carphone 0", "carphone_distorted 0", "duplicate_mirrored 0",
            "three_shots_one_dissolve 1",
        },
        {"pancake 0", "sixty_fps 0", "bit_rot 0", "truncated 0", "three_shots_one_dissolve 3"},
        {"cockatoo 0", "black_frames 0", "black_frames 2", "letterboxed 0"},
        *({name} for name in alone),
    ]  # fmt: skip
    assert sorted(map(sorted, together.values())) == sorted(map(sorted, expected))
