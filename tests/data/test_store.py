from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from muybridge.core import files
from muybridge.core.errors import DataError
from muybridge.data import store
from muybridge.data.store import Clip, Dataset, write

SIZES = [(14, 32, 48)] * 5 + [(9, 48, 32)]
ORDER = (0, 1, 4, 5, 2, 3)  # by split: train, validation, test

Written = Callable[..., list[Clip]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def lines(folder: Path, split: str = "train") -> list[dict[str, Any]]:
    text = (folder / split / "metadata.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_what_is_written_is_read(folder: Path, written: Written) -> None:
    clips = written(folder, SIZES)
    dataset = Dataset.open(folder, "mp4")
    assert dataset.clips == tuple(clips[index] for index in ORDER)
    assert dataset.of("train") == [clips[index] for index in (0, 1, 4, 5)]
    assert (dataset.fps, dataset.labels, dataset.objects) == (24, ["walk"], ["dog", "red ball"])
    assert dataset.sizes == [(32, 48), (48, 32)]
    assert dataset.facts["format"] == store.FORMAT


def test_texts_of_any_kind_come_back(folder: Path, written: Written) -> None:
    clip = written(folder, [(8, 32, 32)])[0]
    caption = 'a "quoted",\nbroken\u2028line, 日本語 \U0001f3ac'
    odd = dataclasses.replace(clip, caption=caption, original=os.fsdecode(b"caf\xe9.mp4"))
    write(folder, [(odd, folder / clip.file)], Dataset.open(folder, "mp4").facts)
    read = Dataset.open(folder, "mp4").clips[0]
    assert read.caption == caption
    assert read.original == "caf\\udce9.mp4"  # bytes that are no text are spelt out


def test_a_line_says_which_frames_are_real(folder: Path, written: Written) -> None:
    written(folder, SIZES)
    first = lines(folder)[0]
    assert first["kinds"] == [
        {"kind": "real", "frames": 11},
        {"kind": "interpolated", "frames": 1},
        {"kind": "repeated", "frames": 1},
        {"kind": "real", "frames": 1},
    ]
    assert (first["file_name"], first["licence"], first["fps"]) == ("clip0.mp4", "CC0", 24.0)


def test_clips_without_kinds_are_real(folder: Path, written: Written) -> None:
    clip = dataclasses.replace(written(folder, [(8, 32, 32)])[0], kinds=b"")
    write(folder, [(clip, folder / clip.file)], Dataset.open(folder, "mp4").facts)
    assert Dataset.open(folder, "mp4").clips[0].kinds == bytes([store.REAL] * 8)


def test_the_table_is_the_same_for_pandas(folder: Path, written: Written) -> None:
    clips = written(folder, SIZES)
    rows = pd.read_parquet(folder / "clips.parquet").to_dict("records")
    assert [Clip(**row | {"objects": tuple(row["objects"])}) for row in rows] == [
        clips[index] for index in ORDER
    ]


def test_videos_are_linked_or_else_copied(
    folder: Path, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(folder, SIZES)
    original, linked = folder / "items/clip_000.mp4", folder / "train/clip0.mp4"
    assert linked.samefile(original)

    def refuse(*arguments: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    written(folder, SIZES)
    assert not linked.samefile(original)
    assert linked.read_bytes() == original.read_bytes()


def test_writing_again_leaves_nothing_of_before(folder: Path, written: Written) -> None:
    written(folder, SIZES)
    clips = written(folder, SIZES[:2])
    assert Dataset.open(folder, "mp4").clips == tuple(clips)
    assert sorted(p.name for p in (folder / "train").iterdir()) == [
        "clip0.mp4", "clip1.mp4", "metadata.jsonl",
    ]  # fmt: skip
    assert not (folder / "validation").exists()
    assert len(list((folder / "items").iterdir())) == len(SIZES)


def test_what_is_half_written_is_no_dataset(
    folder: Path, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(folder, SIZES)

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_text", fail)
    with pytest.raises(files.MuybridgeError, match="disk is full"):
        written(folder, SIZES)
    with pytest.raises(DataError, match="not a dataset"):
        Dataset.open(folder, "mp4")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"file": "test/a.mp4"}, "'test/a.mp4'"),
        ({"file": "train/../a.mp4"}, "'train/../a.mp4'"),
        ({"file": "train"}, "'train'"),
        ({"split": "dev", "file": "dev/a.mp4"}, "'dev'"),
        ({"kinds": bytes(3)}, "3 kinds for 14 frames"),
        ({"objects": ("dog; cat",)}, "dog; cat"),
        ({"name": "walk/clip 1@0.0"}, "same name"),
        ({"file": "train/clip1.mp4"}, "same file"),
    ],
)
def test_what_cannot_be_written_is_refused(
    folder: Path, written: Written, change: dict[str, Any], said: str
) -> None:
    first, second = written(folder, SIZES[:2])
    facts = Dataset.open(folder, "mp4").facts
    pairs = [(clip, folder / clip.file) for clip in (dataclasses.replace(first, **change), second)]
    with pytest.raises(DataError, match=said):
        write(folder, pairs, facts)
    assert Dataset.open(folder, "mp4").clips == (first, second), "nothing was touched"


def _cut_a_line(folder: Path) -> None:
    path = folder / "train/metadata.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def _change(name: str, value: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        changed = lines(folder)
        changed[1][name] = value
        text = "".join(json.dumps(line) + "\n" for line in changed)
        (folder / "train/metadata.jsonl").write_text(text)

    return change


def _facts(**change: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "dataset.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))

    return apply


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "dataset.json").unlink(), r"(?s)is not a dataset.*muybridge prepare"),
        (lambda f: (f / "dataset.json").write_text("{"), "is not JSON"),
        (lambda f: (f / "dataset.json").write_text("[]"), "does not say its format"),
        (_facts(format=1), r"(?s)has format 1.*prepare it again"),
        (_facts(format=9), r"(?s)has format 9.*update"),
        (_facts(clips=None), "dataset.json"),
        (_facts(labels=["run"]), "train/clip1.mp4 has label 'walk'"),
        (lambda f: (f / "train/metadata.jsonl").unlink(), "train/metadata.jsonl: No such file"),
        (lambda f: (f / "test/clip3.mp4").unlink(), "1 of its 6 videos .* test/clip3.mp4"),
        (_cut_a_line, "train/metadata.jsonl names 3 clips of 4"),
        (_change("frames", "many"), "line 2: frames is 'many'"),
        (_change("frames", 13), "line 2: kinds of 14 frames, not of 13"),
        (_change("height", 0), "line 2: it has no frame or no size"),
        (_change("caption", None), "line 2: caption is None"),
        (_change("kinds", [{"kind": "dreamt", "frames": 14}]), "line 2"),
        (_change("file_name", "../test/clip3.mp4"), "line 2: .*leads out"),
        (_change("file_name", "/etc/passwd"), "line 2: .*leads out"),
        (lambda f: (f / "train/metadata.jsonl").write_text("{}\n"), "line 1: no 'name'"),
        (lambda f: (f / "train/metadata.jsonl").write_bytes(b"\xff\n"), "train/metadata.jsonl"),
    ],
)
def test_damage_is_named(
    folder: Path, written: Written, damage: Callable[[Path], Any], said: str
) -> None:
    written(folder, SIZES)
    damage(folder)
    with pytest.raises(files.MuybridgeError, match=said) as caught:
        Dataset.open(folder, "mp4")
    assert caught.value.hint


LOAD = """
import json, sys
from datasets import Video, load_dataset
told = []
for how in ({"path": sys.argv[1]}, {"path": "videofolder", "data_dir": sys.argv[1]}):
    splits = load_dataset(**how)
    splits = splits.cast_column("video", Video(decode=False))
    told.append({name: [row for row in rows] for name, rows in splits.items()})
print(json.dumps(told, default=str))
"""


def test_hugging_face_datasets_opens_it(
    folder: Path, written: Written, environment: Mapping[str, str], tmp_path: Path
) -> None:
    """By its path alone and as a VideoFolder; what lies beside the splits is in neither."""
    clips = written(folder, SIZES)
    for name in ("items/test-a-1", "items/train", "pictures", "cache/rgb-0", "items/eval"):
        (folder / name).mkdir(parents=True)
        (folder / name / "stray_test.mp4").write_bytes(b"stray")
        (folder / name / "strip.jpg").write_bytes(b"stray")
        (folder / name / "records.json").write_text("[]")
    alone = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder)],
        env=environment | alone, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for told in json.loads(done.stdout):
        assert list(told) == ["train", "validation", "test"]
        for split, rows in told.items():
            own = [clip for clip in clips if clip.split == split]
            assert [row["name"] for row in rows] == [clip.name for clip in own]
            for row, clip in zip(rows, own, strict=True):
                assert row["video"]["path"] == str(folder / clip.file)
                assert (row["caption"], row["label"]) == (clip.caption, clip.label)
                assert row["objects"] == "; ".join(clip.objects)
                assert sum(run["frames"] for run in row["kinds"]) == clip.frames
