from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from muybridge.core import files
from muybridge.core.errors import DataError, MuybridgeError
from muybridge.core.video import Frames, write_video
from muybridge.data.prepare import Config, dry_run, prepare
from muybridge.data.store import Dataset

SMALL = Config(size=(32, 40), fps=12)
SPLITS = ("train", "validation", "test")
GOOD = 10
ODD = os.fsdecode(b"c\xf4t\xe9.mp4")  # Latin-1: no text in UTF-8
SHOWN = "c\\xf4t\\xe9.mp4"
TIMED = "walk then run.mp4"


def scene(seed: int, count: int = 32) -> Frames:
    """A picture that moves to one side: uint8 (count, 48, 64, 3), no two seeds alike."""
    chance = np.random.default_rng(seed)
    wide = chance.integers(0, 256, (48, 64 + 3 * count, 3), np.uint8)
    wide = cv2.GaussianBlur(wide, (0, 0), 1.5 + seed % 3)
    wide = cv2.normalize(wide, None, 20, 130 + seed * 37 % 106, cv2.NORM_MINMAX)
    return np.stack([wide[:, 3 * i : 3 * i + 64] for i in range(count)])


def fill(folder: Path) -> None:
    """Ten good files; copies, bad ones, odd names, and labels of all kinds."""
    folder.mkdir()
    for number in range(GOOD):
        write_video(scene(number), folder / f"{number:02d}.mp4", 24)
    write_video(scene(50, 72), folder / TIMED, 24)
    write_video(scene(51), folder / "odd.mp4", 24)
    (folder / "odd.mp4").rename(folder / ODD)
    (folder / "deep").mkdir()
    shutil.copy(folder / "00.mp4", folder / "deep" / "00.MP4")
    write_video(scene(1)[:, :, ::-1], folder / "mirrored.mp4", 24, quality=24)
    write_video(scene(60, 12), folder / "short.mp4", 24)
    write_video(scene(61)[:, :20], folder / "tiny.mp4", 24)
    write_video(np.repeat(scene(62)[:1], 120, 0), folder / "static.mp4", 24)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "words.mov").write_text("this is not a video\n" * 50)
    (folder / "away.mp4").symlink_to(folder / "nowhere.mp4")
    (folder / "notes.txt").write_text("no footage")
    rows: list[dict[str, Any]] = [
        {"file_name": f"{n:02d}.mp4", "caption": f"scene {n}", "label": "ab"[n % 2],
         "source": f"reel {n}", "licence": "CC0" if n % 3 else "CC BY 4.0",
         "objects": ["ball", "dog"][: n % 3]}
        for n in range(GOOD)
    ]  # fmt: skip
    rows += [
        {"file_name": TIMED, "label": "walk", "start": 0, "end": 1.5, "licence": "own"},
        {"file_name": TIMED, "label": "run", "start": 1.5, "end": 3, "licence": "own"},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "labels.jsonl").write_text(lines)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of footage and its dataset; not to be changed."""
    folder = tmp_path_factory.mktemp("base")
    fill(folder / "footage")
    prepare(folder / "footage", folder / "dataset", config=SMALL)
    return folder


@pytest.fixture
def own(base: Path, tmp_path: Path) -> Path:
    """The same, each test's own. Files are linked, so that their numbers stay."""

    def link(source: str, target: str) -> None:
        os.link(source, target, follow_symlinks=False)

    shutil.copytree(base, tmp_path / "own", symlinks=True, copy_function=link)
    return tmp_path / "own"


def content(folder: Path) -> Mapping[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def done(folder: Path) -> dict[str, tuple[int, int]]:
    """Of each finished item of a store: its file's number and time of writing, new if redone."""
    found = {}
    for path in folder.glob("items/[!.]*/records.json"):
        try:
            about = path.stat()
        except FileNotFoundError:  # the folder was just moved
            continue
        found[path.parent.name] = (about.st_ino, about.st_mtime_ns)
    return found


def refused(
    footage: Path, out: Path, *more: Any, kind: type[MuybridgeError] = DataError
) -> MuybridgeError:
    """The error of `prepare`, which must leave the footage and `out` as they were."""
    before = content(out) if out.is_dir() else None
    footage_before = content(footage)
    with pytest.raises(kind) as caught:
        prepare(footage, out, *more)
    assert (content(out) if out.is_dir() else None) == before
    assert content(footage) == footage_before
    assert caught.value.hint
    return caught.value


# --- what a dataset says -------------------------------------------------------------------------


def test_every_file_has_a_row_and_a_reason_where_it_is_set_aside(base: Path) -> None:
    table = pd.read_parquet(base / "dataset" / "catalogue.parquet")
    rows = table[table["kind"] == "file"].set_index("file")
    told = {
        "away.mp4": "cannot be opened: No such file",
        "empty.mp4": "cannot be opened: is empty (0 bytes)",
        "short.mp4": "too short: 0.50 s, prepare.min_seconds = 1",
        "static.mp4": "static",
        "tiny.mp4": "too small: 20 pixels, prepare.min_height = 32",
        "words.mov": "cannot be opened",
    }
    for name, reason in told.items():
        assert rows.loc[name, "reason"].startswith(reason)
        assert rows.loc[name, "fate"] == "set aside"
    kept = {f"{n:02d}.mp4" for n in range(GOOD)} | {TIMED, SHOWN, "deep/00.MP4", "mirrored.mp4"}
    assert set(rows.index) == kept | told.keys()
    assert all(rows.loc[name, "fate"] == "kept" and not rows.loc[name, "reason"] for name in kept)
    dataset = Dataset.open(base / "dataset")
    assert {clip.original for clip in dataset.clips} == kept
    words = Counter(reason.partition(":")[0] for reason in told.values())
    assert dataset.facts["set_aside"] == words
    assert dataset.facts["files"] == len(rows)


def test_counts_and_seconds_add_up(base: Path) -> None:
    dataset = Dataset.open(base / "dataset")
    facts, groups = dataset.facts, {clip.group for clip in dataset.clips}
    for split in SPLITS:
        own = dataset.of(split)
        assert len(own) == facts["clips"][split] > 0
        assert facts["seconds"][split] == pytest.approx(sum(clip.frames for clip in own) / 12)
    assert sum(facts["clips"].values()) == len(dataset.clips) == GOOD + 5
    assert facts["groups"] == len(groups) == GOOD + 2
    assert sum(facts["kinds"].values()) == sum(clip.frames for clip in dataset.clips)
    assert all(clip.frames == len(clip.kinds) for clip in dataset.clips)


def test_statistics_are_those_of_the_training_frames(base: Path) -> None:
    dataset = Dataset.open(base / "dataset")
    counted = {
        clip["content"]: clip
        for path in (base / "dataset/items").glob("*/records.json")
        for clip in json.loads(path.read_text())[0]["clips"]
    }
    train = [counted[clip.content] for clip in dataset.of("train")]
    for clip, own in zip(dataset.of("train"), train, strict=True):
        # Counted before they were encoded, which moves colours a little.
        levels = dataset.frames(clip, np.arange(clip.frames)).reshape(-1, 3) / 127.5 - 1
        assert own["mean"] == pytest.approx(levels.mean(0), abs=0.03)
        assert own["square"] == pytest.approx((levels**2).mean(0), abs=0.05)
    weights = [own["frames"] for own in train]
    mean = np.average([own["mean"] for own in train], axis=0, weights=weights)
    square = np.average([own["square"] for own in train], axis=0, weights=weights)
    assert dataset.facts["mean"] == pytest.approx(mean, abs=1e-9)
    assert dataset.facts["std"] == pytest.approx(np.sqrt(square - mean**2), abs=1e-9)


def test_copies_and_mirror_images_stay_on_one_side(base: Path) -> None:
    sides = defaultdict(set)
    for clip in Dataset.open(base / "dataset").clips:
        sides[clip.original].add((clip.group, clip.split))
    assert sides["00.mp4"] == sides["deep/00.MP4"]
    assert sides["01.mp4"] == sides["mirrored.mp4"]
    assert all(len(found) == 1 for found in sides.values())


def test_an_exact_copy_is_read_once(base: Path) -> None:
    table = pd.read_parquet(base / "dataset" / "catalogue.parquet")
    rows = table[(table["kind"] == "file") & (table["digest"] != "")]
    copies = rows[rows["file"].isin(["00.mp4", "deep/00.MP4"])]
    assert copies["digest"].nunique() == 1
    assert len(done(base / "dataset")) == len(rows) - 1
    clips = table[table["kind"] == "clip"].set_index("file")
    assert clips.loc["00.mp4", "content"] == clips.loc["deep/00.MP4", "content"]


def test_labels_licence_and_source_follow_every_clip(base: Path) -> None:
    folder = base / "dataset"
    lines = [
        {**json.loads(line), "split": split}
        for split in SPLITS
        for line in (folder / split / "metadata.jsonl").read_text().splitlines()
    ]
    table = pd.read_parquet(folder / "catalogue.parquet")
    tables: list[list[dict[str, Any]]] = [
        lines,
        pd.read_parquet(folder / "clips.parquet").to_dict("records"),  # type: ignore[list-item]
        table[table["kind"] == "clip"].rename(columns={"file": "original"}).to_dict("records"),  # type: ignore[list-item]
    ]
    for rows in tables:
        named = {row["original"]: row for row in rows}
        for n in range(GOOD):
            row = named[f"{n:02d}.mp4"]
            assert (row["caption"], row["label"]) == (f"scene {n}", "ab"[n % 2])
            assert (row["source"], row["licence"]) == (f"reel {n}", "CC0" if n % 3 else "CC BY 4.0")
            objects = row["objects"]
            names = objects.split("; ") if isinstance(objects, str) else list(objects)
            assert [name for name in names if name] == ["ball", "dog"][: n % 3]
        assert (named["mirrored.mp4"]["licence"], named[SHOWN]["source"]) == ("", "")


def test_labels_with_times_cut_and_label_clips(base: Path) -> None:
    clips = [c for c in Dataset.open(base / "dataset").clips if c.original == TIMED]
    clips.sort(key=lambda clip: clip.start)
    assert [(c.label, c.start, c.end) for c in clips] == [
        ("walk", 0.0, pytest.approx(1.5)),
        ("run", pytest.approx(1.5), pytest.approx(3.0)),
    ]
    assert [clip.name for clip in clips] == [f"{TIMED}#0", f"{TIMED}#1"]
    assert {clip.licence for clip in clips} == {"own"}


def test_the_digest_is_that_of_the_content(base: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(base / "dataset")
    for clip in dataset.clips:
        assert files.digest(dataset.folder / clip.file) == clip.content
    # Where the footage and the dataset lie is no part of it.
    moved = tmp_path / "moved"
    shutil.copytree(base / "footage", moved, symlinks=True)

    def digest(name: str, **values: Any) -> str:
        shutil.copytree(base / "dataset" / "items", tmp_path / f"{name}.unfinished" / "items")
        made = prepare(moved, tmp_path / name, config=SMALL.with_values(**values))
        return str(made.facts["digest"])

    assert digest("same") == dataset.facts["digest"]
    digests = {
        dataset.facts["digest"],
        digest("seed", seed=3),
        digest("ratios", ratios=(0.5, 0.25, 0.25)),
    }
    (moved / "09.mp4").unlink()
    assert len({*digests, digest("fewer")}) == 4


# --- again and again -----------------------------------------------------------------------------


def test_added_footage_is_read_alone_and_nothing_changes_sides(own: Path) -> None:
    before = Dataset.open(own / "dataset")
    items = done(own / "dataset")
    for number in range(70, 74):
        write_video(scene(number), own / "footage" / f"new {number}.mp4", 24)
    after = prepare(own / "footage", own / "dataset", config=SMALL)
    sides = {clip.original: clip.split for clip in after.clips}
    assert len(after.clips) == len(before.clips) + 4
    assert {clip.original: clip.split for clip in before.clips}.items() <= sides.items()
    now = done(own / "dataset")
    assert items.items() <= now.items()
    assert len(now) == len(items) + 4
    assert sorted(path.name for path in own.iterdir()) == ["dataset", "footage"]


def test_a_dry_run_makes_no_dataset_and_is_not_done_again(base: Path, tmp_path: Path) -> None:
    out = tmp_path / "dataset"
    folder, overview = dry_run(base / "footage", out, config=SMALL)
    assert not out.exists()
    assert (folder / "overview.json").is_file() and not (folder / "dataset.json").exists()
    assert overview["table"]["in"]["files"] == 20
    items = done(folder)
    assert len(items) == 18
    prepare(base / "footage", out, config=SMALL)
    assert done(out) == items
    first = content(base / "dataset")
    assert {n: b for n, b in content(out).items() if not n.startswith("cache/")} == {
        n: b for n, b in first.items() if not n.startswith("cache/")
    }


def test_other_settings_replace_the_dataset_and_its_clips(own: Path) -> None:
    items = done(own / "dataset")
    for path in list((own / "footage").iterdir())[6:]:
        if path.is_file() and path.name != "labels.jsonl":
            path.unlink()
    changed = prepare(own / "footage", own / "dataset", config=SMALL.with_values(size=(40, 32)))
    assert {(clip.height, clip.width) for clip in changed.clips} == {(40, 32)}
    assert changed.facts["size"] == [40, 32]
    assert not items.keys() & done(own / "dataset").keys()
    stored = {path.name for path in (own / "dataset").glob("t*/*.mp4")}
    stored |= {path.name for path in (own / "dataset").glob("validation/*.mp4")}
    assert len(stored) == len(changed.clips)


def test_footage_that_holds_its_own_dataset(own: Path) -> None:
    out = own / "footage" / "dataset"
    first = prepare(own / "footage", out, config=SMALL)
    items = done(out)
    again = prepare(own / "footage", out, config=SMALL)
    assert again.facts == first.facts
    assert first.facts["digest"] == Dataset.open(own / "dataset").facts["digest"]
    assert done(out) == items
    assert len(again.clips) == GOOD + 5


def test_names_of_all_kinds(base: Path, tmp_path: Path) -> None:
    names = [b"a\xe9.mp4", b"a\\xe9.mp4", b"x" * 240 + b".mp4", b"new\nline 'q'\t.mp4", b"-rf.MP4"]
    footage = tmp_path / "footage"
    footage.mkdir()
    for number, name in enumerate(names):
        shutil.copy(base / "footage" / f"{number:02d}.mp4", footage / os.fsdecode(name))
    made = prepare(footage, tmp_path / "dataset", config=SMALL)
    assert len({clip.name for clip in made.clips}) == len(names)
    table = pd.read_parquet(tmp_path / "dataset" / "catalogue.parquet")
    assert len(table[table["kind"] == "file"]["file"].unique()) == len(names)
    assert all(re.fullmatch(r"[a-z]+/[\w-]+\.mp4", clip.file) for clip in made.clips)


def test_a_second_process_is_refused(own: Path) -> None:
    with files.locked(own / "dataset.unfinished", "dataset"):
        error = refused(own / "footage", own / "dataset", None, SMALL, kind=MuybridgeError)
        assert "another process" in error.message
        with pytest.raises(MuybridgeError, match="another process"):
            dry_run(own / "footage", own / "dataset", config=SMALL)


def test_a_full_disk_leaves_the_older_dataset(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    write_video(scene(70), own / "footage" / "new.mp4", 24)
    with monkeypatch.context() as patched:
        patched.setattr("muybridge.data.store.os.link", full)
        patched.setattr("muybridge.data.store.shutil.copyfile", full)
        error = refused(own / "footage", own / "dataset", None, SMALL, kind=MuybridgeError)
    assert "the disk is full" in error.message
    assert len(prepare(own / "footage", own / "dataset", config=SMALL).clips) == GOOD + 6


# --- what is refused -----------------------------------------------------------------------------


def test_a_folder_without_video_says_what_is_there(tmp_path: Path) -> None:
    footage, out = tmp_path / "footage", tmp_path / "dataset"
    footage.mkdir()
    assert "empty" in refused(footage, out).message
    for name in ("a.jpg", "b.jpg", "c"):
        (footage / name).write_text("x")
    error = refused(footage, out)
    assert "2 .jpg" in error.message and "1 no suffix" in error.message
    assert ".mp4" in error.hint
    with pytest.raises(DataError, match="absent"):
        prepare(tmp_path / "absent", out)


def test_what_cannot_be_used_is_counted_and_the_dataset_stays(own: Path) -> None:
    config = SMALL.with_values(min_seconds=60)
    error = refused(own / "footage", own / "dataset", None, config)
    assert (
        f"too short ({GOOD + 5})" in error.message and "prepare.min_seconds = 60" in error.message
    )
    assert "--dry-run" in error.hint


def test_labels_that_name_nothing_say_so(base: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("file_name,label\nfootage/none.mp4,a\n")
    error = refused(base / "footage", tmp_path / "dataset", labels, SMALL)
    assert "footage/none.mp4" in error.message and str(labels) in error.message


def test_too_few_pieces_of_footage_say_so(base: Path, tmp_path: Path) -> None:
    footage = tmp_path / "footage"
    footage.mkdir()
    for name in ("00.mp4", "01.mp4", "mirrored.mp4"):
        shutil.copy(base / "footage" / name, footage)
    error = refused(footage, tmp_path / "dataset", None, SMALL)
    assert "3 clips come from 2 independent pieces" in error.message


def test_something_else_is_never_replaced(base: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert str(tmp_path) in refused(base / "footage", tmp_path, None, SMALL).message
    assert "thesis" in refused(base / "footage", tmp_path / "thesis.txt", None, SMALL).message


@pytest.mark.parametrize("which", ["itself", "parent", "link"])
def test_the_footage_is_never_replaced(own: Path, which: str) -> None:
    # Even where it looks like a dataset.
    shutil.copy(own / "dataset" / "dataset.json", own / "footage")
    shutil.copy(own / "dataset" / "dataset.json", own)
    (own / "link").symlink_to(own / "footage")
    out = {"itself": own / "footage", "parent": own, "link": own / "link"}[which]
    assert "footage" in refused(own / "footage", out, None, SMALL).message


# --- in processes of their own -------------------------------------------------------------------


# Not `muybridge prepare`, which takes seconds to load what only training needs.
PROGRAM = """
import sys
from muybridge.data.prepare import Config, prepare
prepare(*sys.argv[1:3], config=Config(size=(32, 40), fps=12), engine=sys.argv[3])
"""


def start(
    footage: Path, out: Path, environment: Mapping[str, str], engine: str = "local"
) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", PROGRAM, str(footage), str(out), engine]
    return subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_killed_at_twenty_moments_the_same_command_ends_in_the_same_dataset(
    base: Path, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "killed"
    work = out.with_name("killed.unfinished")
    process = start(base / "footage", whole, environment)
    soon(lambda: len(done(whole.with_name("whole.unfinished"))) > 0)
    begun = time.monotonic()
    soon(lambda: len(done(whole.with_name("whole.unfinished"))) == 18)
    reading, storing = time.monotonic() - begun, -time.monotonic()
    assert process.wait() == 0
    storing += time.monotonic()
    chance = random.Random(0)
    seen: dict[str, tuple[int, int]] = {}
    states = Counter[str]()
    for kill in range(20):
        (work / ".lock").unlink(missing_ok=True)  # so that it tells of this process
        process = start(base / "footage", out, environment)
        if kill < 8:  # while files are read: a little after one more was done
            soon(lambda: len(done(work)) > len(seen), process)  # noqa: B023
            time.sleep(chance.uniform(0, reading / 17))  # what a file takes
        else:  # while they are grouped, split and stored, or a moment later
            soon(lambda: (work / ".lock").exists() and len(done(work)) == 18, process)
            time.sleep(chance.uniform(0, 1.2 * storing))
        process.kill()
        ended = process.wait() == 0
        now = done(work) | done(out)
        assert seen.items() <= now.items()
        seen = now
        states["ended" if ended else "read" if len(now) == 18 else "reading"] += 1
    assert states["reading"] >= 4 and states["read"] >= 4, states
    assert start(base / "footage", out, environment).wait() == 0
    assert seen.items() <= done(out).items()
    assert {n: b for n, b in content(out).items() if not n.startswith("cache/")} == {
        n: b for n, b in content(whole).items() if not n.startswith("cache/")
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "whole"]


def soon(true: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> None:
    """Waits until something is true, or a process has ended."""
    end = time.monotonic() + 60
    while not true() and (process is None or process.poll() is None):
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.mark.slow
def test_ray_makes_the_same_dataset(
    base: Path, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    pytest.importorskip("ray")
    out = tmp_path / "dataset"
    assert start(base / "footage", out, environment, "ray").wait() == 0
    assert content(out) == content(base / "dataset")
