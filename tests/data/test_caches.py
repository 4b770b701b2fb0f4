from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muybridge.core import device, files
from muybridge.core.errors import DataError, MuybridgeError
from muybridge.core.video import Frames, read_video
from muybridge.data import caches
from muybridge.data.store import Cache, Clip, Dataset, write

# Buckets of aspect ratio, among them a size that H.264 can only store padded.
SIZES = [(30, 32, 48), (40, 48, 32), (13, 31, 33), (5, 32, 48), (64, 32, 48)]
KINDS: tuple[Cache, ...] = ("rgb", "yuv", "mp4")

Written = Callable[..., list[Clip]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, written: Written) -> Path:
    path = tmp_path_factory.mktemp("caches") / "data"
    written(path, SIZES)
    return path


@pytest.fixture(scope="module", params=KINDS)
def dataset(request: pytest.FixtureRequest, folder: Path) -> Dataset:
    return Dataset.open(folder, request.param)


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    """A dataset that a test may damage."""
    made = shutil.copytree(folder, tmp_path / "own", ignore=shutil.ignore_patterns("cache"))
    return Path(made)


@functools.lru_cache(64)
def whole(path: Path) -> Frames:
    frames, _ = read_video(path)
    return frames


def decoded(dataset: Dataset, clip: Clip) -> Frames:
    """The whole video from its beginning, without any seek."""
    return whole(dataset.folder / clip.file)[:, : clip.height, : clip.width]


def held(folder: Path) -> list[str]:
    return sorted(path.name.partition("-")[0] for path in (folder / "cache").glob("*-*"))


# --- frames --------------------------------------------------------------------------------------


def test_frames_are_those_of_the_video(dataset: Dataset) -> None:
    for clip in dataset.clips:
        frames = dataset.frames(clip, np.arange(clip.frames))
        assert frames.shape == (clip.frames, clip.height, clip.width, 3)
        assert np.array_equal(frames, decoded(dataset, clip))


@given(st.data())
def test_any_frames_in_any_order(dataset: Dataset, data: st.DataObject) -> None:
    clip = data.draw(st.sampled_from(dataset.clips))
    indices = np.array(data.draw(st.lists(st.integers(0, clip.frames - 1), max_size=9)), np.int64)
    assert np.array_equal(dataset.frames(clip, indices), decoded(dataset, clip)[indices])


@pytest.mark.parametrize("indices", [[-1], [64], [3, 64], [0, -64]])
def test_a_frame_that_is_not_there(dataset: Dataset, indices: list[int]) -> None:
    clip = next(clip for clip in dataset.clips if clip.frames == 64)
    with pytest.raises(IndexError, match="of 64"):
        dataset.frames(clip, np.array(indices))


def test_threads_read_at_once(dataset: Dataset) -> None:
    clips = [clip for clip in dataset.clips if clip.frames > 20]
    expected = {clip.name: decoded(dataset, clip) for clip in clips}
    wrong = []

    def read(seed: int) -> None:
        chance = np.random.default_rng(seed)
        for _ in range(20):
            clip = clips[chance.integers(len(clips))]
            indices = np.arange(8) + chance.integers(clip.frames - 8)
            if not np.array_equal(dataset.frames(clip, indices), expected[clip.name][indices]):
                wrong.append((clip.name, indices))

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_evenly_spaced_rows_are_not_copied(folder: Path) -> None:
    dataset = Dataset.open(folder, "rgb")
    clip = dataset.clips[0]
    every = dataset.frames(clip, np.arange(clip.frames))
    for indices in (np.arange(4, 12), np.arange(2, 30, 3)):
        assert np.shares_memory(every, dataset.frames(clip, indices))
    with pytest.raises(ValueError, match="read-only"):
        every[0] = 0


def test_many_frames_of_yuv_are_converted_in_parts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Dataset.open(folder, "yuv")
    monkeypatch.setattr(caches, "_AT_ONCE", 5 * 32 * 48 * 3 // 2)
    for clip in dataset.clips:
        frames = dataset.frames(clip, np.arange(clip.frames))
        assert np.array_equal(frames, decoded(dataset, clip))


@pytest.mark.parametrize(
    "options",
    [
        {"g": "1"},
        {"g": "250"},
        {"g": "12", "bf": "2"},
        {"g": "10", "bf": "3", "x264-params": "open-gop=1:b-pyramid=normal:mbtree=0"},
        {"g": "30", "refs": "4", "tune": "film"},
    ],
)
def test_videos_of_any_grouping_are_read_exactly(
    tmp_path: Path, written: Written, options: dict[str, str]
) -> None:
    written(tmp_path, [(50, 32, 48)], options)
    dataset = Dataset.open(tmp_path, "mp4")
    clip = dataset.clips[0]
    expected = decoded(dataset, clip)
    for first in range(0, 50 - 6, 3):
        indices = np.arange(first, first + 6)
        assert np.array_equal(dataset.frames(clip, indices), expected[indices]), first
    assert np.array_equal(dataset.frames(clip, np.array([49, 0])), expected[[49, 0]])


@pytest.mark.parametrize("colours", [(1, 1), (1, 2), (6, 2), (2, 0)])
def test_colours_of_any_meaning_are_kept(
    tmp_path: Path, written: Written, colours: tuple[int, int]
) -> None:
    """BT.709 or BT.601, limited or full range: either cache gives what decoding gives."""
    written(tmp_path, [(12, 32, 48)], colours=colours)
    for kind in KINDS:
        dataset = Dataset.open(tmp_path, kind)
        clip = dataset.clips[0]
        assert np.array_equal(dataset.frames(clip, np.arange(12)), decoded(dataset, clip))


def test_yuv_that_needs_more_than_one_meaning_is_refused(
    tmp_path: Path, written: Written, coded: Callable[..., bytes], pictures: Callable[..., Frames]
) -> None:
    clips = written(tmp_path, [(12, 32, 48)] * 2)
    content = coded(pictures(12, 32, 48), colours=(1, 1))
    (tmp_path / "other.mp4").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    other = dataclasses.replace(clips[1], content=digest)
    pairs = [(clips[0], tmp_path / clips[0].file), (other, tmp_path / "other.mp4")]
    write(tmp_path, pairs, Dataset.open(tmp_path, "mp4").facts)
    with pytest.raises(DataError, match=r"(?s)colours .*yuv420p.*rgb cache"):
        Dataset.open(tmp_path, "yuv")
    dataset = Dataset.open(tmp_path, "rgb")
    for clip in dataset.clips:
        assert np.array_equal(dataset.frames(clip, np.arange(12)), decoded(dataset, clip))


# --- caches --------------------------------------------------------------------------------------


def test_a_cache_is_made_once_and_again_when_it_is_gone(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Dataset.open(own, "rgb")
    assert held(own) == ["rgb"]
    stored = next((own / "cache").glob("rgb-*/frames.u8"))
    assert stored.stat().st_size == sum(f * h * w * 3 for f, h, w in SIZES)
    with monkeypatch.context() as patch:
        patch.setattr(caches, "_build", None)
        Dataset.open(own, "rgb")
    shutil.rmtree(own / "cache")
    clip = first.clips[0]
    indices = np.arange(clip.frames)
    again = Dataset.open(own, "rgb").frames(clip, indices).copy()
    assert np.array_equal(again, first.frames(clip, indices))  # what is removed stays mapped
    os.truncate(stored, 1000)
    assert np.array_equal(Dataset.open(own, "rgb").frames(clip, indices), again)


def test_half_the_room_is_taken_by_yuv(own: Path) -> None:
    Dataset.open(own, "yuv")
    size = next((own / "cache").glob("yuv-*/frames.u8")).stat().st_size
    assert size == sum(f * (h + h % 2) * (w + w % 2) * 3 // 2 for f, h, w in SIZES)


def test_caches_of_an_older_content_are_removed(own: Path, written: Written) -> None:
    for kind in ("rgb", "yuv"):
        Dataset.open(own, kind)
    before = {path.name for path in (own / "cache").glob("*-*")}
    (own / "cache" / "notes").mkdir()
    (own / "cache" / f".rgb-0.{2**22 + 1}.tmp").mkdir()  # of a process that is no more
    clips = Dataset.open(own, "mp4").clips
    assert {path.name for path in (own / "cache").glob("[ry]*-*")} == before
    facts = Dataset.open(own, "mp4").facts
    write(own, [(clip, own / clip.file) for clip in reversed(clips)], facts)
    dataset = Dataset.open(own, "rgb")
    assert held(own) == ["rgb"]
    assert not {path.name for path in (own / "cache").iterdir()} & before
    assert sorted(p.name for p in (own / "cache").iterdir() if "rgb" not in p.name) == [
        ".lock", "notes",
    ]  # fmt: skip
    for clip in dataset.clips:
        frames = dataset.frames(clip, np.arange(clip.frames))
        assert np.array_equal(frames, decoded(dataset, clip))


def test_new_words_need_no_new_cache(own: Path) -> None:
    dataset = Dataset.open(own, "rgb")
    before = sorted((own / "cache").glob("*-*"))
    pairs = [(dataclasses.replace(c, caption="new"), own / c.file) for c in dataset.clips]
    write(own, pairs, dataset.facts)
    Dataset.open(own, "rgb")
    assert sorted((own / "cache").glob("*-*")) == before


@pytest.mark.parametrize(
    ("free", "memory", "kind"),
    [(9.0, 9.0, "rgb"), (0.7, 9.0, "yuv"), (9.0, 0.7, "yuv"), (0.4, 9.0, "mp4"), (9.0, 0.4, "mp4")],
)
def test_the_fastest_that_fits_is_chosen(
    own: Path, monkeypatch: pytest.MonkeyPatch, free: float, memory: float, kind: str
) -> None:
    """Room is given in units of what the RGB cache needs."""
    needed = 2 * sum(f * h * w * 3 for f, h, w in SIZES)  # half of the room may be taken
    usage = shutil.disk_usage(own)._replace(free=int(free * needed))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(device, "memory", lambda: int(memory * needed))
    assert Dataset.open(own).source.kind == kind
    assert held(own) == ([] if kind == "mp4" else [kind])
    if kind != "mp4":  # once it is there, it counts no more against what is free
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=0))
        assert Dataset.open(own).source.kind == kind


def test_no_room_for_what_is_asked(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(own)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(MuybridgeError, match=r"the rgb cache of .* needs about"):
        Dataset.open(own, "rgb")
    assert held(own) == []


@pytest.fixture
def read_only(folder: Path) -> Iterator[Path]:
    """A dataset that this process may read, but not write, even where it is root."""
    base = Path(tempfile.mkdtemp())
    made = Path(shutil.copytree(folder, base / "data", ignore=shutil.ignore_patterns("cache")))
    base.chmod(0o755)
    made.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield made
    if root:
        os.seteuid(0)
    made.chmod(0o755)
    shutil.rmtree(base)


def test_a_dataset_that_cannot_be_written_is_read_all_the_same(
    read_only: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = Dataset.open(read_only)
    assert dataset.source.kind == "mp4"
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert "cannot be written" in told.err


def test_two_that_open_at_once_make_one_cache(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds, build = [], caches._build

    def counted(*arguments: object) -> None:
        builds.append(threading.get_ident())
        build(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(caches, "_build", counted)
    threads = [threading.Thread(target=Dataset.open, args=(own, "rgb")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1
    assert held(own) == ["rgb"]


# --- damage --------------------------------------------------------------------------------------


def change(own: Path, **values: object) -> Clip:
    """Writes the dataset again with other words on its second clip, which is given."""
    dataset = Dataset.open(own, "mp4")
    clips = list(dataset.clips)
    clips[1] = dataclasses.replace(clips[1], **values)  # type: ignore[arg-type]
    write(own, [(clip, own / clip.file) for clip in clips], dataset.facts)
    return clips[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"frames": 41, "kinds": b""}, "does not hold 41 frames"),
        ({"frames": 39, "kinds": b""}, "does not hold 39 frames"),
        ({"height": 64}, "its picture is 32x48"),
        ({"content": "0" * 64}, "not the video that the dataset was made with"),
    ],
)
def test_a_video_that_is_another_is_named(
    own: Path, kind: Cache, values: dict[str, object], said: str
) -> None:
    clip = change(own, **values)
    with pytest.raises(DataError, match=f"{clip.file} cannot be used: .*{said}"):
        Dataset.open(own, kind).frames(clip, np.arange(3))
    assert held(own) == [] if (own / "cache").exists() else True


def test_another_rate_is_named(own: Path) -> None:
    dataset = Dataset.open(own, "mp4")
    files.write_json(own / "dataset.json", dataset.facts | {"fps": 31.0})
    with pytest.raises(DataError, match="not evenly spaced"):
        Dataset.open(own, "rgb")


@pytest.mark.parametrize("kind", KINDS)
def test_a_video_damaged_on_disk_is_named(own: Path, kind: Cache) -> None:
    dataset = Dataset.open(own, "mp4")
    clip = dataset.clips[2]
    path = own / clip.file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.unlink()
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{clip.file} cannot be used"):
        Dataset.open(own, kind).frames(clip, np.arange(3))


def test_a_video_cut_off_while_it_is_in_use_is_named(own: Path) -> None:
    dataset = Dataset.open(own, "mp4")
    clip = next(clip for clip in dataset.clips if clip.frames == 64)
    dataset.frames(clip, np.arange(3))
    os.truncate(own / clip.file, (own / clip.file).stat().st_size // 2)
    with pytest.raises(DataError, match=f"{clip.file} cannot be used"):
        dataset.frames(clip, np.arange(50, 60))


FLAT = """
import resource, sys
from muybridge.data.store import Dataset
import av, cv2
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
Dataset.open(sys.argv[1], "mp4").frames(Dataset.open(sys.argv[1], "mp4").clips[0], [0, 1])
before = peak()
Dataset.open(sys.argv[1], sys.argv[2])
print(peak() - before)
"""


@pytest.mark.parametrize("kind", ["rgb", "yuv"])
def test_building_holds_few_frames(
    tmp_path: Path, written: Written, environment: Mapping[str, str], kind: str
) -> None:
    written(tmp_path, [(1200, 96, 128)])
    done = subprocess.run(
        [sys.executable, "-c", FLAT, str(tmp_path), kind],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    size = next((tmp_path / "cache").glob("*-*/frames.u8")).stat().st_size
    assert int(done.stdout) < size / 2 < 25e6
