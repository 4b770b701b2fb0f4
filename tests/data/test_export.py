from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from muybridge.cli.main import app
from muybridge.core.errors import DataError, MuybridgeError
from muybridge.data.export import export
from muybridge.data.store import Clip, Dataset

SIZES = [(12, 32, 48)] * 10 + [(24, 48, 32)]

Written = Callable[..., list[Clip]]


@pytest.fixture
def dataset(tmp_path: Path, written: Written) -> Dataset:
    written(tmp_path / "data", SIZES)
    return Dataset.open(tmp_path / "data", "mp4")


def samples(out: Path, split: str) -> list[tuple[dict[str, object], bytes]]:
    """What a reader of WebDataset gets: neighbours whose names agree up to the first dot."""
    found: list[tuple[str, dict[str, bytes]]] = []
    for path in sorted(out.glob(f"{split}-*.tar")):
        with tarfile.open(path) as shard:
            for member in shard:
                key, _, kind = member.name.partition(".")
                stream = shard.extractfile(member)
                assert stream is not None
                if not found or found[-1][0] != key:
                    found.append((key, {}))
                found[-1][1][kind] = stream.read()
    assert len({key for key, _ in found}) == len(found)
    assert all(parts.keys() == {"mp4", "json"} for _, parts in found)
    return [(json.loads(parts["json"]), parts["mp4"]) for _, parts in found]


def test_every_clip_is_there_once_in_order(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made = export(dataset, out, shard_mib=0.05)
    for split in ("train", "validation", "test"):
        clips = dataset.of(split)
        found = samples(out, split)
        assert [known["name"] for known, _ in found] == [clip.name for clip in clips]
        for (known, video), clip in zip(found, clips, strict=True):
            assert video == (dataset.folder / clip.file).read_bytes()
            assert (known["caption"], known["label"]) == (clip.caption, clip.label)
            assert (known["objects"], known["licence"]) == (list(clip.objects), "CC0")
            assert known["fps"] == 24
            assert sum(run["frames"] for run in known["kinds"]) == clip.frames  # type: ignore
    assert made == json.loads((out / "shards.json").read_text())
    assert (made["fps"], made["labels"], made["mean"]) == (24, ["walk"], [0.0] * 3)


def test_what_is_told_of_the_shards_is_true(dataset: Dataset, tmp_path: Path) -> None:
    most = 0.02
    shards = export(dataset, tmp_path / "out", shard_mib=most)["shards"]
    assert {path.name for path in (tmp_path / "out").glob("*.tar")} == {s["file"] for s in shards}
    assert sum(s["split"] == "train" for s in shards) > 2
    assert sum(shard["clips"] for shard in shards) == len(SIZES)
    for shard in shards:
        path = tmp_path / "out" / shard["file"]
        assert shard["file"].startswith(shard["split"])
        assert path.stat().st_size == shard["bytes"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == shard["sha256"]
        assert shard["bytes"] <= most * 2**20 or shard["clips"] == 1


def test_the_same_dataset_gives_the_same_bytes(dataset: Dataset, tmp_path: Path) -> None:
    first = export(dataset, tmp_path / "first", 0.05)
    for path in dataset.folder.rglob("*"):
        os.utime(path, (10**9, 10**9))
    assert export(dataset, tmp_path / "second", 0.05) == first
    for shard in first["shards"]:
        one, other = (tmp_path / folder / shard["file"] for folder in ("first", "second"))
        assert one.read_bytes() == other.read_bytes()
        with tarfile.open(one) as stream:
            traces = {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in stream}
        assert traces == {(0, 0, 0, "", "", 0o644)}


def test_only_the_splits_that_are_asked(dataset: Dataset, tmp_path: Path) -> None:
    shards = export(dataset, tmp_path / "out", splits=["test", "validation"])["shards"]
    assert [shard["split"] for shard in shards] == ["validation", "test"]


def test_an_export_is_replaced_and_nothing_else(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(dataset, out, 0.03)
    export(dataset, out, splits=["test"])
    assert {path.name for path in out.iterdir()} == {"test-000000.tar", "shards.json"}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("kept")
    for other in (tmp_path / "mine", dataset.folder, tmp_path, tmp_path / "mine" / "letter.txt"):
        with pytest.raises(DataError, match="is not an export"):
            export(dataset, other)
    assert (tmp_path / "mine" / "letter.txt").read_text() == "kept"
    Dataset.open(dataset.folder, "mp4")


def test_an_unknown_split(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)no split 'tests'.*try test") as caught:
        export(dataset, tmp_path / "out", splits=["train", "tests"])
    assert caught.value.hint
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", [lambda p: p.write_bytes(b"other"), lambda p: p.unlink()])
def test_a_damaged_video_is_named_and_nothing_is_left(
    dataset: Dataset, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    damage(dataset.folder / dataset.of("test")[1].file)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(MuybridgeError, match=dataset.of("test")[1].file):
        export(dataset, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before


def test_the_verb_prints_what_was_written(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["export", str(dataset.folder), "--out", str(out), "--shard-mib", "0.02"]
    done = CliRunner().invoke(app, [*arguments, "--splits", "test, train", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == json.loads((out / "shards.json").read_text())
    assert {path.name.partition("-")[0] for path in out.glob("*.tar")} == {"train", "test"}
    told = CliRunner().invoke(app, arguments)
    assert (told.exit_code, told.stdout) == (0, "")
    assert "validation-000000.tar" in told.stderr
    assert not (dataset.folder / "cache").exists()
