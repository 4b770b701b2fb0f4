"""Real footage, whole and damaged, from files to a dataset.

The README in ../shared/footage says what is true of each file.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from muybridge.core import video
from muybridge.core.video import Frames
from muybridge.data import splits
from muybridge.data.prepare import Config, prepare
from muybridge.data.reading import read
from muybridge.data.store import INTERPOLATED, REAL, Clip, Dataset

pytestmark = pytest.mark.slow  # all of it, since it is all of one dataset

# Of the real files these are not whole, or shorter than a tenth of a second.
NOT_INTACT = {"corrupted.mp4", "unordered.mov", *(f"rotated_{d}.mov" for d in (0, 90, 180, 270))}


@dataclass(frozen=True)
class Made:
    """A dataset, and what was read of each file of its footage."""

    footage: Path
    dataset: Dataset
    items: dict[str, dict[str, Any]]

    @cached_property
    def table(self) -> pd.DataFrame:
        return pd.read_parquet(self.dataset.folder / "catalogue.parquet")

    @property
    def intact(self) -> list[str]:
        names = [path.name for path in sorted((self.footage / "real").iterdir())]
        return [f"real/{name}" for name in names if name not in NOT_INTACT]

    def of(self, name: str) -> list[Clip]:
        return sorted((c for c in self.dataset.clips if c.original == name), key=lambda c: c.start)

    def frames(self, clip: Clip) -> Frames:
        return self.dataset.frames(clip, np.arange(clip.frames))

    def group(self, name: str) -> int:
        (group,) = {clip.group for clip in self.of(name)}
        return group


def make(footage: Path, out: Path) -> Made:
    dataset = prepare(footage, out)
    rows = pd.read_parquet(out / "catalogue.parquet")
    names = rows[rows["kind"] == "file"].set_index("digest")["file"]
    items = {}
    for path in (out / "items").glob("*/records.json"):
        (record,) = json.loads(path.read_text())
        items[str(names[record["digest"]])] = record
    return Made(footage, dataset, items)


@pytest.fixture(scope="module")
def made(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(shared / "footage", tmp_path_factory.mktemp("footage") / "dataset")


# --- fates ---------------------------------------------------------------------------------------


def test_every_file_has_one_fate_and_a_reason_where_it_is_set_aside(made: Made) -> None:
    there = {p.relative_to(made.footage).as_posix() for p in made.footage.glob("*/*")}
    files = made.table[made.table["kind"] == "file"]
    assert sorted(files["file"]) == sorted(there)
    with_clips = {clip.original for clip in made.dataset.clips}
    assert set(files[files["fate"] == "kept"]["file"]) == with_clips
    for _, row in files.iterrows():
        assert (row["fate"], bool(row["reason"])) in (("kept", False), ("set aside", True))
        assert row["reason"].partition(":")[0] not in ("crashed", "took too long", "out of memory")


def test_parts_touch_and_their_seconds_add_up(made: Made) -> None:
    for name, item in made.items.items():
        parts = item["parts"]
        edges = [0.0, *(part["end"] for part in parts)]
        assert [part["start"] for part in parts] == edges[:-1], name
        assert all(part["end"] > part["start"] for part in parts), name
        if parts:
            assert edges[-1] == pytest.approx(item["facts"]["seconds"], abs=1e-9)
        assert [p["clip"] for p in parts if p["fate"] == "kept"] == list(range(len(item["clips"])))
        assert all(bool(part["reason"]) == (part["fate"] == "set aside") for part in parts)


def test_the_overview_adds_up(made: Made) -> None:
    table = json.loads((made.dataset.folder / "overview.json").read_text())["table"]
    files = made.table[made.table["kind"] == "file"]
    aside = table["aside"]
    assert table["in"]["files"] == len(files)
    assert table["in"]["seconds"] == pytest.approx(files["seconds"].sum())
    assert table["kept"]["files"] + sum(row["files"] for row in aside) == len(files)
    lost = sum(row["seconds"] for row in aside)
    assert table["kept"]["seconds"] + lost == pytest.approx(files["seconds"].sum())
    assert table["kept"]["clips"] == len(made.dataset.clips)


def test_whole_footage_is_kept(made: Made) -> None:
    kept = whole = 0.0
    for name in made.intact:
        with av.open(made.footage / name) as container:
            moments = sorted(p.pts * p.time_base for p in container.demux(video=0) if p.size)
            rate = container.streams.video[0].average_rate
        assert rate is not None
        seconds = float(moments[-1] - moments[0] + 1 / rate)
        assert made.items[name]["facts"]["seconds"] == pytest.approx(seconds, abs=1.5 / rate)
        if seconds >= 1 - 1e-6:
            assert made.of(name), name
        crossed = [p for p in made.items[name]["parts"] if p["reason"].startswith("transition")]
        kept += sum(clip.end - clip.start for clip in made.of(name))
        whole += seconds - sum(part["end"] - part["start"] for part in crossed)
    assert kept >= 0.9 * whole


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("static", "static"),
        ("blurred", "blurred"),
        ("noisy", "noisy"),
        ("tiny", "too small"),
        ("empty", "cannot be opened"),
        ("text_named", "cannot be opened"),
        ("truncated", "cannot be opened"),
        ("audio_only", "no picture"),
        ("shuffled", "out of order"),
    ],
)
def test_what_is_bad_throughout_is_set_aside_and_named(made: Made, name: str, word: str) -> None:
    item = made.items[f"damaged/{name}.mp4"]
    assert item["reason"].partition(":")[0] == word
    assert not item["clips"]


# --- shots ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["real/bikes.mp4", "damaged/duplicate_low_bitrate.mp4"])
def test_bikes_is_cut_to_the_frame(made: Made, name: str) -> None:
    cuts = [1.20, 3.04, 5.48, 7.48, 9.68]
    parts = made.items[name]["parts"]
    assert [part["end"] for part in parts[:-1]] == pytest.approx(cuts, abs=1e-6)
    assert [part["fate"] for part in parts] == ["kept"] * 5 + ["set aside"]


def test_whip_pans_are_not_cut(made: Made) -> None:
    parts = made.items["real/arm_wrestling.mp4"]["parts"]
    ends = [part["end"] for part in parts]
    assert not [end for end in ends if 6.5 < end < 7.5]
    assert min(abs(end - 9.57) for end in ends) < 1 / 28


def test_a_dissolve_is_cut_out(made: Made) -> None:
    name = "damaged/three_shots_one_dissolve.mp4"
    clips = made.of(name)
    assert len(clips) == 3
    # The last frame before the cut repeats the one before it, and is left out.
    assert clips[0].end == pytest.approx(2.96, abs=1e-6)
    assert clips[1].start == pytest.approx(3.0, abs=1e-6)
    assert clips[1].end < 5.2 and clips[2].start > 5.85
    (crossed,) = (p for p in made.items[name]["parts"] if p["reason"].startswith("transition"))
    assert (crossed["start"], crossed["end"]) == (clips[1].end, clips[2].start)


# --- time ----------------------------------------------------------------------------------------


def whole(path: Path, size: tuple[int, int]) -> tuple[Frames, npt.NDArray[np.float64]]:
    """All frames of a file, scaled to cover `size` and cropped to its middle, and their seconds."""
    pictures, times = [], []
    with av.open(path) as container:
        for frame in container.decode(video=0):
            picture = frame.to_ndarray(format="rgb24")
            scale = max(size[0] / picture.shape[0], size[1] / picture.shape[1])
            top = round((picture.shape[0] * scale - size[0]) / 2)
            left = round((picture.shape[1] * scale - size[1]) / 2)
            scaled = (size[1] + 2 * left, size[0] + 2 * top)
            small = cv2.resize(picture, scaled, interpolation=cv2.INTER_AREA)
            pictures.append(small[top : top + size[0], left : left + size[1]])
            times.append(float(frame.pts * frame.time_base))
    return np.stack(pictures), np.array(times) - times[0]


def difference(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    return float(np.abs(first.astype(np.float64) - second).mean())


@pytest.mark.parametrize("name", ["dropped_12_frames.mp4", "variable_rate.mp4"])
def test_footage_with_holes_keeps_true_time(made: Made, name: str) -> None:
    truth, times = whole(made.footage / "real/bikes.mp4", (64, 64))
    checked = 0
    for clip in made.of(f"damaged/{name}"):
        frames = made.frames(clip)
        for moment, kind in enumerate(clip.kinds):
            seconds = clip.start + moment / 24
            away = np.abs(times - seconds)
            near = int(away.argmin())
            around = [i for i in range(near - 3, near + 4) if clip.start <= times[i] + 1e-6]
            around = [i for i in around if times[i] < clip.end - 1e-6]
            still = min(difference(truth[near], truth[i]) for i in around if i != near) < 2.5
            # Half way between two frames, either is right.
            unclear = np.sort(away)[1] - away[near] < 2e-3
            if kind == REAL and not still and not unclear:
                found = min(around, key=lambda i: difference(frames[moment], truth[i]))
                assert found == near, f"{clip.name} frame {moment}"
                checked += 1
    assert checked >= 25


def test_frames_that_fill_holes_are_near_those_that_are_missing(made: Made) -> None:
    truth, times = whole(made.footage / "real/bikes.mp4", (64, 64))
    invented, held = [], []
    for clip in made.of("damaged/variable_rate.mp4"):
        frames = made.frames(clip)
        for moment in np.flatnonzero(np.frombuffer(clip.kinds, np.uint8) == INTERPOLATED):
            right = truth[int(np.abs(times - clip.start - moment / 24).argmin())]
            invented.append(difference(frames[moment], right))
            held.append(difference(frames[moment - 1], right))
    assert len(invented) >= 10
    assert np.mean(invented) < 0.8 * np.mean(held)


def test_every_hole_is_masked_or_cut(made: Made) -> None:
    (before, after) = made.of("damaged/dropped_12_frames.mp4")[:2]
    # Frames 40 to 51 of 25 a second are gone, too many to be invented.
    assert before.end <= 1.6 + 1e-6 and after.start >= 2.08 - 1e-6
    full = {clip.start: clip for clip in made.of("real/bikes.mp4")}
    for clip in made.of("damaged/variable_rate.mp4"):
        assert INTERPOLATED in clip.kinds
        assert set(full[clip.start].kinds) == {REAL}


# --- damage --------------------------------------------------------------------------------------


def test_no_black_frame_is_in_a_clip(made: Made) -> None:
    for clip in made.of("damaged/black_frames.mp4"):
        assert made.frames(clip).max((1, 2, 3)).min() > 60
        assert clip.end <= 1.0 + 1e-6 or clip.start >= 1.4 - 1e-6
    assert len(made.of("damaged/black_frames.mp4")) == 2


def test_bars_are_cropped_away(made: Made) -> None:
    (clip,) = made.of("damaged/letterboxed.mp4")
    frames = made.frames(clip)
    assert frames[:, :3].mean() > 30 and frames[:, -3:].mean() > 30


@pytest.mark.parametrize("name", ["bit_rot.mkv", "truncated.mkv"])
def test_what_is_kept_of_damaged_footage_is_as_it_was(made: Made, name: str) -> None:
    truth, times = whole(made.footage / "real/pancake.mkv", (64, 64))
    clips = made.of(f"damaged/{name}")
    assert clips
    for clip in clips:
        for moment, picture in enumerate(made.frames(clip)):
            right = truth[int(np.abs(times - clip.start - moment / 24).argmin())]
            if clip.kinds[moment] == REAL:
                assert difference(picture, right) < 8, f"{clip.name} frame {moment}"
    assert [p for p in made.items[f"damaged/{name}"]["parts"] if "damaged" in p["reason"]]


def test_nothing_is_kept_from_an_error_of_the_decoder_on(made: Made) -> None:
    good = -1.0
    with av.open(made.footage / "real/corrupted.mp4") as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        stream.codec_context.options = {"err_detect": "explode"}
        for packet in container.demux(stream):
            try:
                good = max([good, *(float(frame.time or 0) for frame in packet.decode())])
            except av.error.FFmpegError:
                break
        else:
            raise AssertionError("the file is whole")
    assert 0 < made.of("real/corrupted.mp4")[-1].end < good + 0.2


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotated_files_are_stored_upright(shared: Path, tmp_path: Path, degrees: int) -> None:
    """As the container asks for: 320 x 568 pictures, or 568 x 320 where it asks for a quarter."""
    path = shared / f"footage/real/rotated_{degrees}.mov"
    with av.open(path) as container:
        frame = next(container.decode(video=0))
    turns = round(frame.rotation / 90)
    assert turns % 4 == (-degrees // 90) % 4
    upright = np.rot90(frame.to_ndarray(format="rgb24"), turns)
    size = (64, 36) if degrees % 180 else (36, 64)
    settings = Config(min_seconds=0.05, buckets=((36, 64), (64, 36)), quality=1).reading
    (item,) = read({"path": str(path), "digest": ""}, settings, tmp_path)
    assert [clip["video"] for clip in item["clips"]] == ["clip_000.mp4"]
    stored = video.read_video(tmp_path / "clip_000.mp4")[0][0]
    assert stored.shape == (*size, 3)
    small = cv2.resize(upright, size[::-1], interpolation=cv2.INTER_AREA)
    others = [small[::-1, ::-1], small[::-1], small[:, ::-1]]
    assert difference(stored, small) < 0.3 * min(difference(stored, other) for other in others)


# --- duplicates ----------------------------------------------------------------------------------


def test_copies_are_grouped_with_their_originals(made: Made) -> None:
    bikes = {"damaged/duplicate_low_bitrate.mp4", "damaged/dropped_12_frames.mp4"}
    bikes |= {"damaged/variable_rate.mp4", "damaged/reversed.mp4", "real/bikes.mp4"}
    assert len({made.group(name) for name in bikes}) == 1
    phone = {"damaged/duplicate_mirrored.mp4", "real/carphone.mp4", "real/carphone_distorted.mp4"}
    assert len({made.group(name) for name in phone}) == 1
    for name in ("damaged/black_frames.mp4", "damaged/letterboxed.mp4"):
        assert made.group(name) == made.group("real/cockatoo.mp4")
    for name in ("damaged/bit_rot.mkv", "damaged/sixty_fps.mp4", "damaged/truncated.mkv"):
        assert made.group(name) == made.group("real/pancake.mkv")


def test_other_footage_is_not_grouped(made: Made) -> None:
    signers = [path.name for path in (made.footage / "real").glob("asl_*")]
    assert len(signers) == 11
    different = [*signers, "bikes.mp4", "carphone.mp4", "cockatoo.mp4", "bigbuckbunny.mp4"]
    different += ["bottles.mp4", "test.avi"]
    assert len({made.group(f"real/{name}") for name in different}) == len(different)
    # One file holds shots of three others, so that these belong on one side as well.
    three = made.group("damaged/three_shots_one_dissolve.mp4")
    joined = ("arm_wrestling.mp4", "carphone.mp4", "pancake.mkv")
    assert {made.group(f"real/{name}") for name in joined} == {three}
    sides = made.table.dropna(subset=["group"]).groupby("group")["split"].nunique()
    assert set(sides) == {1}


# --- people and actions --------------------------------------------------------------------------


def test_mirrored_actions_are_all_found_and_never_torn(shared: Path, tmp_path: Path) -> None:
    made = make(shared / "clips/actions", tmp_path / "dataset")
    members: dict[int, list[Clip]] = defaultdict(list)
    for clip in made.dataset.clips:
        members[clip.group].append(clip)
    assert sorted(len(clips) for clips in members.values()) == [2] * 36
    for first, second in members.values():
        one, other = made.frames(first), made.frames(second)
        assert len(one) == len(other)
        assert difference(one, other[:, :, ::-1]) < 3 < difference(one, other)
        assert first.label == second.label != ""
    clips = made.dataset.clips
    keys = [made.items[clip.original]["digest"] for clip in clips]
    groups = [clip.group for clip in clips]
    labels = [[clip.label] for clip in clips]
    found = set()
    for seed in range(50):
        sides = splits.split(keys, groups, labels, [""] * len(keys), (0.8, 0.1, 0.1), seed)
        assert torn(groups, sides) == []
        assert [sides.count(name) for name in splits.NAMES] == pytest.approx([58, 7, 7], abs=4)
        found.add(tuple(sides))
    assert len(found) > 40


def torn(groups: Sequence[int], sides: Sequence[str]) -> list[int]:
    """Groups on two sides."""
    pairs = set(zip(groups, sides, strict=True))
    return [group for group in set(groups) if sum(g == group for g, _ in pairs) > 1]
