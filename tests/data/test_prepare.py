from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muybridge.core import video
from muybridge.core.config import parse
from muybridge.core.errors import DataError, MuybridgeError, RecipeError
from muybridge.core.video import Frames, at_rate, decode, encode, write_video
from muybridge.data.prepare import Config, fit, prepare, scan
from muybridge.data.stage import Settings, render
from muybridge.data.store import Dataset

SMALL = Config(size=(32, 40), fps=8, min_seconds=1.5)
COUNT = 12


@pytest.fixture(scope="module")
def clips() -> list[Frames]:
    """Clips of 2.0 seconds, but the second of 2.5."""
    seconds = {1: 2.5}
    return [render(Settings((48, 64), 8, seconds.get(i, 2.0), 9), i)[0] for i in range(COUNT)]


@pytest.fixture(scope="module")
def made(clips: list[Frames], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """These clips as files, to be copied."""
    folder = tmp_path_factory.mktemp("clips")
    for index, frames in enumerate(clips):
        write_video(frames, folder / f"clip{index:02d}.mp4", fps=8)
    return folder


@pytest.fixture
def footage(made: Path, tmp_path: Path) -> Path:
    """A folder of clips, each test's own."""
    return Path(shutil.copytree(made, tmp_path / "footage"))


def facts_of(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / "dataset.json").read_text())
    return facts


def catalogue_of(folder: Path) -> dict[str, dict[str, Any]]:
    rows = pd.read_parquet(folder / "catalogue.parquet").to_dict("records")
    return {str(row["file"]): {str(key): value for key, value in row.items()} for row in rows}


def content(folder: Path) -> Mapping[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refused(
    footage: Path, out: Path, *more: Any, kind: type[MuybridgeError] = DataError
) -> MuybridgeError:
    """The error of `prepare`, which must leave everything beside `out` as it was."""
    before = content(out.parent)
    with pytest.raises(kind) as caught:
        prepare(footage, out, *more)
    assert content(out.parent) == before
    assert caught.value.hint
    return caught.value


def test_frames_are_stored_whole_in_order_of_name(footage: Path, tmp_path: Path) -> None:
    (footage / "deep" / "er").mkdir(parents=True)
    (footage / "clip03.mp4").rename(footage / "deep" / "er" / "moved.MP4")
    (footage / "notes.txt").write_text("not footage")
    dataset = prepare(footage, tmp_path / "dataset", config=SMALL)
    names = [clip.name for clip in dataset.clips]
    assert names == sorted(p.relative_to(footage).as_posix() for p in scan(footage))
    assert len(names) == COUNT and "deep/er/moved.MP4" in names
    assert (dataset.fps, dataset.facts["size"]) == (8, [32, 40])
    start = 0
    for clip in dataset.clips:
        source = [fit(picture, (32, 40)) for _, picture in at_rate(decode(footage / clip.name), 8)]
        assert (clip.start, clip.frames) == (start, len(source))
        assert np.array_equal(dataset.frames(clip, np.arange(clip.frames)), np.stack(source))
        start += clip.frames
    assert start == len(dataset.pixels) == 8 * 2 * COUNT + 4


def test_counts_and_seconds_add_up(footage: Path, tmp_path: Path) -> None:
    dataset = prepare(footage, tmp_path / "dataset", config=SMALL)
    facts = dataset.facts
    for split in ("train", "validation", "test"):
        own = dataset.of(split)
        assert len(own) == facts["clips"][split] > 0
        assert facts["seconds"][split] == pytest.approx(sum(clip.frames for clip in own) / 8)
    assert sum(facts["clips"].values()) == facts["files"] == facts["groups"] == COUNT
    assert facts["set_aside"] == {}
    assert facts == facts_of(tmp_path / "dataset")


def test_statistics_are_those_of_the_training_frames(footage: Path, tmp_path: Path) -> None:
    dataset = prepare(footage, tmp_path / "dataset", config=SMALL)
    levels = np.concatenate(
        [dataset.frames(clip, np.arange(clip.frames)) for clip in dataset.of("train")]
    )
    values = levels.reshape(-1, 3) / 127.5 - 1
    assert dataset.facts["mean"] == pytest.approx(values.mean(0), abs=1e-6)
    assert dataset.facts["std"] == pytest.approx(values.std(0), abs=1e-6)
    everything = np.asarray(dataset.pixels).reshape(-1, 3) / 127.5 - 1
    assert np.abs(everything.mean(0) - dataset.facts["mean"]).max() > 1e-4


def test_class_folders_are_labels(footage: Path, tmp_path: Path) -> None:
    for index, path in enumerate(sorted(footage.iterdir())):
        folder = footage / ("run", "walk", "jump")[index % 3]
        folder.mkdir(exist_ok=True)
        path.rename(folder / path.name)
    dataset = prepare(footage, tmp_path / "dataset", config=SMALL)
    assert dataset.labels == ["jump", "run", "walk"]
    for clip in dataset.clips:
        assert clip.label == clip.name.partition("/")[0]
        assert clip.caption == ""
    assert dataset.facts["captioned"] == 0


def test_a_csv_tells_labels_captions_and_splits(footage: Path, tmp_path: Path) -> None:
    rows = ["file_name,caption,label,split"]
    rows += [f"clip{i:02d}.mp4,clip {i},{'ab'[i % 2]},{'test' if i < 3 else ''}" for i in range(10)]
    (footage / "labels.csv").write_text("\n".join(rows))
    dataset = prepare(footage, tmp_path / "dataset", config=SMALL)
    assert dataset.labels == ["a", "b"]
    assert dataset.facts["captioned"] == 10
    for index, clip in enumerate(dataset.clips):
        assert clip.caption == (f"clip {index}" if index < 10 else "")
        assert clip.label == ("ab"[index % 2] if index < 10 else "")
        if index < 3:
            assert clip.split == "test"


def test_jsonl_tells_captions_and_a_file_that_is_given_goes_first(
    footage: Path, tmp_path: Path
) -> None:
    rows = [{"file_name": f"clip{i:02d}.mp4", "text": f"found {i}"} for i in range(COUNT)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (footage / "metadata.jsonl").write_text(lines)
    (tmp_path / "mine.jsonl").write_text(lines.replace("found", "given"))
    found = prepare(footage, tmp_path / "found", config=SMALL)
    given_ = prepare(footage, tmp_path / "given", tmp_path / "mine.jsonl", SMALL)
    assert [clip.caption for clip in found.clips] == [f"found {i}" for i in range(COUNT)]
    assert [clip.caption for clip in given_.clips] == [f"given {i}" for i in range(COUNT)]
    assert found.facts["digest"] != given_.facts["digest"]


def test_broken_footage_is_set_aside_with_a_reason(
    footage: Path, clips: list[Frames], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (footage / "clip00.mp4").read_bytes()
    (footage / "empty.mp4").write_bytes(b"")
    (footage / "words.mov").write_text("this is not a video\n" * 50)
    (footage / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    write_video(clips[0][:8], footage / "short.mp4", fps=8)
    write_video(clips[0][:, :20, :30], footage / "tiny.mp4", fps=8)
    write_video(clips[0], footage / "odd.mp4", fps=8)
    original = video.decode

    def decoding(path: Path) -> Any:
        if path.name == "odd.mp4":
            raise RuntimeError("a decoder that fails in its own way")
        return original(path)

    monkeypatch.setattr(video, "decode", decoding)
    dataset = prepare(footage, tmp_path / "dataset", config=SMALL)
    catalogue = catalogue_of(tmp_path / "dataset")
    reasons = {name: row["reason"] for name, row in catalogue.items() if row["fate"] == "set aside"}
    told = {
        "empty.mp4": "0 bytes",
        "words.mov": "cannot be opened",
        "cut.mp4": "cannot be opened",
        "short.mp4": "too short: 1.00 s, prepare.min_seconds = 1.5",
        "tiny.mp4": "too small: 20 pixels, prepare.min_height = 32",
        "odd.mp4": "a decoder that fails in its own way",
    }
    assert reasons.keys() == told.keys()
    for name, reason in told.items():
        assert reason in reasons[name]
    kept = {name for name, row in catalogue.items() if row["fate"] == "kept"}
    assert kept == {clip.name for clip in dataset.clips}
    assert all(row["reason"] == "" for row in catalogue.values() if row["fate"] == "kept")
    assert catalogue["clip01.mp4"]["seconds"] == pytest.approx(2.5)
    assert (catalogue["tiny.mp4"]["width"], catalogue["tiny.mp4"]["height"]) == (30, 20)
    facts = dataset.facts
    assert facts["files"] == len(catalogue) == COUNT + 6
    assert sum(facts["clips"].values()) + sum(facts["set_aside"].values()) == facts["files"]


def test_real_damage_is_set_aside_with_a_reason(
    footage: Path, tmp_path: Path, shared: Path
) -> None:
    damaged = {
        "damaged/audio_only.mp4": "no picture",
        "damaged/truncated.mp4": "cannot be opened",
        "damaged/tiny.mp4": "too small",
        "real/corrupted.mp4": "breaks off after 2.70 s",
        "real/h265.mp4": "too short",
    }
    for name in damaged:
        shutil.copy(shared / "footage" / name, footage)
    dataset = prepare(footage, tmp_path / "dataset", config=SMALL)
    catalogue = catalogue_of(tmp_path / "dataset")
    for name, reason in damaged.items():
        assert reason in catalogue[Path(name).name]["reason"]
    assert Counter(row["fate"] for row in catalogue.values()) == {"kept": COUNT, "set aside": 5}
    assert len(dataset.clips) == COUNT


def test_copies_and_mirror_images_stay_on_one_side(
    footage: Path, clips: list[Frames], tmp_path: Path
) -> None:
    for index in range(6):
        path = footage / f"clip{index:02d}.mp4"
        shutil.copy(path, footage / f"copy{index:02d}.mp4")
        write_video(clips[index][:, :, ::-1], footage / f"mirror{index:02d}.mp4", 8, quality=26)
    dataset = prepare(footage, tmp_path / "dataset", config=SMALL)
    sides: dict[str, set[tuple[int, str]]] = {}
    for clip in dataset.clips:
        sides.setdefault(clip.name[-6:-4], set()).add((clip.group, clip.split))
    assert all(len(found) == 1 for found in sides.values())
    assert len(set.union(*sides.values())) == dataset.facts["groups"] == COUNT
    assert {clip.split for clip in dataset.clips} == {"train", "validation", "test"}


def test_the_digest_is_that_of_the_content(footage: Path, tmp_path: Path) -> None:
    def digest(name: str, config: Config = SMALL) -> str:
        return str(prepare(footage, tmp_path / name, config=config).facts["digest"])

    first = digest("first")
    assert digest("second") == first
    assert content(tmp_path / "second") == content(tmp_path / "first")
    others = [
        digest("other", SMALL.with_values(**change))
        for change in ({"size": (40, 32)}, {"fps": 4.0}, {"seed": 1}, {"ratios": (0.5, 0.25, 0.25)})
    ]
    (footage / "clip00.mp4").unlink()
    others.append(digest("fewer"))
    assert len({first, *others}) == 6


def test_a_folder_without_video_says_what_is_there(tmp_path: Path) -> None:
    footage, out = tmp_path / "footage", tmp_path / "dataset"
    assert str(footage) in refused(footage, out).message
    footage.mkdir()
    assert "empty" in refused(footage, out).message
    for name in ("a.jpg", "b.jpg", "c"):
        (footage / name).write_text("x")
    error = refused(footage, out)
    assert "2 .jpg" in error.message and "1 no suffix" in error.message
    assert ".mp4" in error.hint or ".avi" in error.hint
    assert str(tmp_path / "footage/c") in refused(footage / "c", out).message


def test_no_clip_that_is_long_enough_says_so(footage: Path, tmp_path: Path) -> None:
    error = refused(footage, tmp_path / "dataset", None, SMALL.with_values(min_seconds=60))
    assert f"{COUNT}" in error.message and "too short" in error.message
    assert "clip00.mp4" in error.message and "prepare.min_seconds = 60" in error.message
    assert "prepare.min_seconds" in error.hint


def test_labels_that_name_nothing_say_so(footage: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("file_name,label\nfootage/clip00.mp4,a\n")
    error = refused(footage, tmp_path / "dataset", labels, SMALL)
    assert "footage/clip00.mp4" in error.message and "'clip00.mp4'" in error.message
    assert str(labels) in error.message
    assert (
        str(tmp_path / "absent.csv")
        in refused(footage, tmp_path / "dataset", tmp_path / "absent.csv").message
    )


def test_too_few_pieces_of_footage_say_so(
    footage: Path, clips: list[Frames], tmp_path: Path
) -> None:
    for path in sorted(footage.iterdir())[2:]:
        path.unlink()
    shutil.copy(footage / "clip00.mp4", footage / "copy.mp4")
    write_video(clips[1][:, :, ::-1], footage / "mirror.mp4", fps=8)
    error = refused(footage, tmp_path / "dataset", None, SMALL)
    assert "4 clips come from 2 independent pieces" in error.message


def test_something_else_is_never_replaced(footage: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    assert str(other) in refused(footage, other, None, SMALL).message
    assert (
        str(other / "thesis.txt")
        in refused(footage, other / "thesis.txt", None, SMALL, kind=MuybridgeError).message
    )


@pytest.mark.parametrize("which", ["itself", "parent", "link"])
def test_the_footage_is_never_replaced(footage: Path, tmp_path: Path, which: str) -> None:
    prepare(footage, tmp_path / "dataset", config=SMALL)
    # Even where it looks like a dataset.
    shutil.copy(tmp_path / "dataset" / "dataset.json", footage)
    shutil.copy(tmp_path / "dataset" / "dataset.json", footage.parent)
    (tmp_path / "link").symlink_to(footage)
    out = {"itself": footage, "parent": footage.parent, "link": tmp_path / "link"}[which]
    before = content(footage)
    with pytest.raises(DataError, match="footage"):
        prepare(footage, out, config=SMALL)
    assert content(footage) == before


def test_an_older_dataset_is_replaced_only_by_a_whole_one(footage: Path, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    out.mkdir()  # an empty folder is no one's
    first = prepare(footage, out, config=SMALL).facts["digest"]
    before = content(out)
    refused(footage, out, None, SMALL.with_values(min_seconds=60))
    assert content(out) == before
    (footage / "clip00.mp4").unlink()
    assert prepare(footage, out, config=SMALL).facts["digest"] != first
    assert len(Dataset.open(out).clips) == COUNT - 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset", "footage"]


@pytest.mark.parametrize(
    "values",
    [
        {"fps": 0}, {"fps": -1}, {"fps": float("nan")}, {"fps": float("inf")}, {"size": (0, 64)},
        {"size": (64, -1)}, {"ratios": (0, 0, 0)}, {"ratios": (-0.1, 1, 0.1)},
        {"ratios": (float("nan"), 1, 1)}, {"min_seconds": float("nan")},
    ],
)  # fmt: skip
def test_settings_that_no_dataset_can_have_are_refused(values: dict[str, Any]) -> None:
    (name,) = values
    with pytest.raises(RecipeError, match=f"prepare.{name}"):
        parse(Config, values, "prepare")


@given(
    st.integers(1, 70), st.integers(1, 70), st.integers(1, 40), st.integers(1, 40),
    st.tuples(*[st.integers(0, 255)] * 3),
)  # fmt: skip
def test_pictures_of_any_shape_fill_the_size(
    height: int, width: int, rows: int, columns: int, colour: tuple[int, int, int]
) -> None:
    fitted = fit(np.full((height, width, 3), colour, np.uint8), (rows, columns))
    assert fitted.shape == (rows, columns, 3) and fitted.dtype == np.uint8
    assert (fitted == colour).all()


@given(st.integers(0, 7), st.integers(0, 9))
def test_the_centre_is_kept_unscaled_where_it_fits(more: int, size: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (10 + size, 12 + size + more, 3), np.uint8)
    fitted = fit(picture, (10 + size, 12 + size))
    left = more // 2
    assert np.array_equal(fitted, picture[:, left : left + 12 + size])


@pytest.mark.parametrize(("height", "width"), [(90, 60), (60, 200), (16, 90), (33, 21)])
def test_pictures_are_scaled_to_cover_without_being_bent(height: int, width: int) -> None:
    # Red grows by what it is across, green by what it is down: both are 128 at the centre.
    down, across = np.mgrid[:height, :width]
    step = 96 / max(height, width)
    picture = np.stack(
        [128 + step * (across - (width - 1) / 2), 128 + step * (down - (height - 1) / 2), 0 * down],
        -1,
    )
    fitted = fit(picture.round().astype(np.uint8), (32, 24)).astype(float)
    scale = max(32 / height, 24 / width)
    y, x = np.mgrid[:32, :24]
    inner = np.s_[3:-3, 3:-3]
    # Within a pixel of the stored size, which is where an odd rest is cropped.
    assert (
        np.abs(fitted[..., 0] - (128 + step / scale * (x - 11.5)))[inner].max() < step / scale + 1
    )
    assert (
        np.abs(fitted[..., 1] - (128 + step / scale * (y - 15.5)))[inner].max() < step / scale + 1
    )


@pytest.mark.parametrize("size", [(64, 64), (32, 40), (40, 32), (31, 33)])
@pytest.mark.parametrize(
    "shape", [(480, 640), (640, 480), (48, 64), (64, 67), (360, 641), (20, 27)]
)
def test_mirror_images_are_cropped_alike(shape: tuple[int, int], size: tuple[int, int]) -> None:
    """Or copies that were mirrored would be shifted, and could pass for other footage."""
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    for axis in (0, 1):
        mirrored = np.ascontiguousarray(np.flip(picture, axis))
        difference = fit(mirrored, size).astype(int) - np.flip(fit(picture, size), axis)
        assert np.abs(difference).max() <= 1


@pytest.fixture
def dataset(footage: Path, tmp_path: Path) -> Path:
    return prepare(footage, tmp_path / "dataset", config=SMALL).folder


def broken(folder: Path) -> MuybridgeError:
    with pytest.raises(MuybridgeError) as caught:
        Dataset.open(folder)
    assert str(folder) in caught.value.message
    return caught.value


def test_a_damaged_dataset_is_named(dataset: Path) -> None:
    pixels, index = dataset / "frames.u8", dataset / "clips.parquet"
    whole = pixels.read_bytes()
    picture = 32 * 40 * 3
    for damaged in (whole[:-1], whole[:-picture], whole + bytes(picture), b""):
        pixels.write_bytes(damaged)
        assert "prepare" in broken(dataset).hint
    pixels.write_bytes(whole)
    table = index.read_bytes()
    index.write_bytes(table[: len(table) // 2])
    assert "prepare" in broken(dataset).hint
    index.unlink()
    assert "prepare" in broken(dataset).hint
    index.write_bytes(table)
    Dataset.open(dataset)


def test_a_dataset_of_another_format_or_none_is_named(dataset: Path) -> None:
    facts = facts_of(dataset)
    (dataset / "dataset.json").write_text(json.dumps({**facts, "format": 99}))
    assert "99" in broken(dataset).message
    (dataset / "dataset.json").write_text("{")
    broken(dataset)
    (dataset / "dataset.json").unlink()
    assert "muybridge prepare" in broken(dataset).hint


def test_the_sound_that_is_dropped_is_counted(footage: Path, tmp_path: Path, shared: Path) -> None:
    shutil.copy(shared / "footage/damaged/truncated.mkv", footage)  # which has sound
    facts = prepare(footage, tmp_path / "dataset", config=SMALL).facts
    assert facts["sound_dropped"] == 1
    assert catalogue_of(tmp_path / "dataset")["truncated.mkv"]["sound"]


def test_footage_of_another_rate_is_taken_by_time(footage: Path, tmp_path: Path) -> None:
    pictures = [np.full((48, 64, 3), 10 * index, np.uint8) for index in range(25)]
    (footage / "ramp.mp4").write_bytes(encode(np.stack(pictures), 12.5, quality=4))
    dataset = prepare(footage, tmp_path / "dataset", config=SMALL)
    (clip,) = [clip for clip in dataset.clips if clip.name == "ramp.mp4"]
    assert clip.frames == 16
    levels = dataset.frames(clip, np.arange(16)).mean((1, 2, 3))
    nearest = [10 * round(moment / 8 * 12.5) for moment in range(16)]
    assert levels == pytest.approx(nearest, abs=3)
