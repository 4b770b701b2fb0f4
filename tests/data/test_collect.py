from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muybridge.core import files
from muybridge.core.errors import DataError
from muybridge.data import collect

ODD = ["new\nline.mp4", "it's \"quoted\".mkv", "犬の散歩 🐕.mov", "-rf.mp4", "a b.AVI", "%s.webm",
       "caf\udce9.mp4", "...mp4", "long " + "x" * 240 + ".mp4", "back\\slash.ts"]  # fmt: skip


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(path.name))


def names(folder: Path, **how: list[Path]) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in collect.scan(folder, **how)]


def test_videos_are_found_wherever_they_lie(tmp_path: Path) -> None:
    videos = ["b.mp4", "a/z.MOV", "a/b/c/d.mkv", "a/a.webm", ".hidden/x.avi", "dv/.y.ts"]
    others = ["a/notes.txt", "cover.jpg", "mp4", "a/labels.csv", "x.mp4.part", "a/sound.wav"]
    touch(*(tmp_path / name for name in videos + others))
    assert names(tmp_path) == sorted(videos, key=lambda name: Path(name).parts)
    assert collect.scan(tmp_path) == sorted(collect.scan(tmp_path))


@pytest.mark.parametrize("name", ODD)
def test_odd_names_are_found_and_can_be_said(tmp_path: Path, name: str) -> None:
    touch(tmp_path / name)
    (found,) = collect.scan(tmp_path)
    assert found.read_bytes() == os.fsencode(name)
    said = collect.readable(found, tmp_path)
    said.encode()  # text, whatever its bytes are
    # A backslash is doubled, since it also begins what stands for bytes that are no text.
    assert said == name.replace("\\", "\\\\") or "\udce9" in name
    assert re.fullmatch(r"[A-Za-z0-9_-]+\.mp4", collect.systematic(said, 0))


def test_all_odd_names_together_stay_apart(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in [*ODD, "caf\udce8.mp4", "cafe.mp4", "caf\\xe9.mp4"]))
    found = collect.scan(tmp_path)
    assert len(found) == len(ODD) + 3
    # A name that is no text is told apart from others that are none.
    said = [collect.readable(path, tmp_path) for path in found]
    assert len(set(said)) == len(ODD) + 3


def test_links_are_followed_once(tmp_path: Path) -> None:
    footage, elsewhere = tmp_path / "footage", tmp_path / "elsewhere"
    touch(footage / "a.mp4", elsewhere / "b.mp4", elsewhere / "deep" / "c.mp4")
    (footage / "link").symlink_to(elsewhere)
    (footage / "again").symlink_to(elsewhere)
    (footage / "file.mp4").symlink_to(elsewhere / "b.mp4")
    found = names(footage)
    assert found == ["a.mp4", "again/b.mp4", "again/deep/c.mp4", "file.mp4"]


@pytest.mark.parametrize("target", ["..", ".", "../..", "../a/b"])
def test_circles_end(tmp_path: Path, target: str) -> None:
    footage = tmp_path / "footage"
    touch(footage / "a" / "one.mp4", footage / "a" / "b" / "two.mp4")
    (footage / "a" / "b" / "circle").symlink_to(target)
    (footage / "self.mp4").symlink_to("self.mp4")
    found = [path.name for path in collect.scan(footage)]
    assert sorted(found) == ["one.mp4", "self.mp4", "two.mp4"]


def test_a_link_to_nowhere_is_footage_that_is_missing(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "not there.mp4")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "not there.txt")
    (tmp_path / "gone folder").symlink_to(tmp_path / "no folder")
    found = collect.scan(tmp_path)
    assert [path.name for path in found] == ["a.mp4", "gone.mp4"]
    good, bad = collect.records(found, ["a.mp4", "gone.mp4"], [[1.5], []])
    assert "reason" not in good
    assert good["digest"] == files.digest(tmp_path / "a.mp4")
    assert (good["bytes"], good["boundaries"], good["name"]) == (5, [1.5], "a.mp4")
    assert Path(good["path"]).is_absolute()
    assert bad["reason"].startswith("cannot be opened: ") and bad["digest"] == ""


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    (record,) = collect.records([tmp_path / "folder.mp4"], ["folder.mp4"], [[]])
    assert record["reason"].startswith("cannot be opened: ")


def test_what_a_mac_leaves_beside_files_is_no_video(tmp_path: Path) -> None:
    touch(tmp_path / "._a.mp4", tmp_path / "a.mp4", tmp_path / "b" / "._b.mov")
    assert names(tmp_path) == ["a.mp4"]


def test_a_folder_that_is_named_like_a_video_is_a_folder(tmp_path: Path) -> None:
    touch(tmp_path / "shoot.mp4" / "take.mp4")
    assert names(tmp_path) == ["shoot.mp4/take.mp4"]


def test_a_pipe_is_no_video(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    assert names(tmp_path) == ["a.mp4"]


def test_datasets_and_what_is_to_be_left_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4", tmp_path / "made" / "train" / "clip.mp4", tmp_path / "out" / "b.mp4",
          tmp_path / "deep" / "made" / "items" / "x" / "clip_000.mp4")  # fmt: skip
    for folder in ("made", "deep/made"):
        (tmp_path / folder / "dataset.json").write_text("{}")
    assert names(tmp_path) == ["a.mp4", "out/b.mp4"]
    assert names(tmp_path, leave=[tmp_path / "out"]) == ["a.mp4"]
    (tmp_path / "link").symlink_to(tmp_path / "out")
    assert names(tmp_path, leave=[tmp_path / "link"]) == ["a.mp4"]
    # But a dataset that is given as footage is footage.
    assert [p.name for p in collect.scan(tmp_path / "made")] == ["clip.mp4"]


def test_a_folder_of_no_video_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="empty") as caught:
        collect.scan(tmp_path)
    assert str(tmp_path) in caught.value.message and caught.value.hint
    touch(tmp_path / "a.JPG", tmp_path / "b.jpg", tmp_path / "c.txt")
    with pytest.raises(DataError, match=r"2 \.jpg, 1 \.txt"):
        collect.scan(tmp_path)
    for path in (tmp_path / "absent", tmp_path / "a.JPG"):
        with pytest.raises(DataError, match="not a folder"):
            collect.scan(path)


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=80)


@given(st.lists(NAMES, min_size=1, max_size=20, unique=True), st.integers(0, 999))
def test_systematic_names_are_safe_and_apart(footage: list[str], number: int) -> None:
    made = [collect.systematic(name, number) for name in footage]
    # Also on a disk that does not tell "A" from "a".
    assert len({name.lower() for name in made}) == len(footage)
    for name in made:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_]*-[0-9a-f]{8}-\d{3}\.mp4", name)
        assert len(name) <= 80
    assert collect.systematic(footage[0], number) == made[0]
    assert collect.systematic(footage[0], number + 1) != made[0]


def test_a_systematic_name_can_be_recognised() -> None:
    assert collect.systematic("dogs/Rex walks.mp4", 7).startswith("dogs_Rex_walks-")
    assert collect.systematic("dogs/Rex walks.mp4", 7).endswith("-007.mp4")
    long = collect.systematic("a_" * 100 + ".mp4", 0)
    assert long.startswith("a_a_") and len(long) <= 80
    assert collect.systematic("a.mp4", 0) != collect.systematic("a.mov", 0)


def item(folder: Path, key: str, *, finished: bool = True) -> None:
    touch(folder / key / "clip_000.mp4", folder / key / "arrays.npz")
    if finished:
        (folder / key / "records.json").write_text(f'["{key}"]')


def test_finished_items_of_an_earlier_dataset_are_linked(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new" / "items"
    item(old, "done")
    item(old, "half", finished=False)
    item(old, "other")
    item(old, "here already")
    item(new, "here already")
    (new / "here already" / "records.json").write_text("mine")
    collect.take_over(old, new, ["done", "half", "absent", "here already", "done"])
    assert sorted(path.name for path in new.iterdir()) == ["done", "here already"]
    assert (new / "here already" / "records.json").read_text() == "mine"
    for path in (old / "done").iterdir():
        assert (new / "done" / path.name).samefile(path), "it was copied"
    assert len(list((new / "done").iterdir())) == 3
    collect.take_over(old, new, ["done"])


def filled(folder: Path, content: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "dataset.json").write_text(content)
    return folder


@pytest.mark.parametrize("before", [False, True])
def test_a_finished_folder_takes_its_place(tmp_path: Path, before: bool) -> None:
    out = tmp_path / "out"
    if before:
        filled(out, "old")
        (out / "stale").touch()
    collect.put(filled(tmp_path / ".work", "new"), out)
    assert [path.name for path in out.iterdir()] == ["dataset.json"]
    assert (out / "dataset.json").read_text() == "new"
    assert list(tmp_path.iterdir()) == [out]


def test_a_kill_between_the_renames_loses_nothing(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    out = filled(tmp_path / "out", "old")
    work = filled(tmp_path / "work", "new")
    code = """
import os, signal, sys
from pathlib import Path
from muybridge.data import collect
work, out, replace = Path(sys.argv[1]), Path(sys.argv[2]), os.replace
def rename(old, new):
    if Path(new) == out:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(old, new)
os.replace = rename
collect.put(work, out)
"""
    command = [sys.executable, "-c", code, str(work), str(out)]
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL
    assert not out.exists() and (work / "dataset.json").read_text() == "new"
    files.sweep(tmp_path)
    assert (out / "dataset.json").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "work"]
    # And the next try succeeds.
    collect.put(work, out)
    assert (out / "dataset.json").read_text() == "new"
