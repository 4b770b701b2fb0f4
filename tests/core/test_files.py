from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muybridge.core import files
from muybridge.core.errors import MuybridgeError

KINDS = ("file", "folder")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def put(path: Path, kind: str, content: str) -> None:
    """Writes a file, or a folder of two files, not atomically."""
    if kind == "file":
        path.write_text(content)
    else:
        path.mkdir()
        (path / "a").write_text(content)
        (path / "inner").mkdir()
        (path / "inner/b").write_text(content)


def content_of(path: Path) -> str:
    """What `put` wrote, whole; anything half-written fails."""
    if path.is_file():
        return path.read_text()
    assert sorted(p.relative_to(path).as_posix() for p in path.rglob("*")) == [
        "a",
        "inner",
        "inner/b",
    ]
    (content,) = {(path / "a").read_text(), (path / "inner/b").read_text()}
    return content


def beside(path: Path) -> list[Path]:
    return [other for other in path.parent.iterdir() if other != path]


def child(
    code: str, *arguments: Path | str, environment: Mapping[str, str]
) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def enter(folder: Path) -> None:
    with files.locked(folder, "run"):
        pass


@pytest.mark.parametrize("kind", KINDS)
def test_new_content_appears_only_at_the_end(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "deep" / "thing"
    with files.atomic(path) as temporary:
        put(temporary, kind, "old")
        assert not path.exists()
    assert content_of(path) == "old"
    with files.atomic(path) as temporary:
        put(temporary, kind, "new")
        assert content_of(path) == "old"
    assert content_of(path) == "new"
    assert beside(path) == []


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_inside_leaves_the_old_content(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thing"
    put(path, kind, "old")

    def interrupted() -> None:
        with files.atomic(path) as temporary:
            put(temporary, kind, "half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert content_of(path) == "old"
    assert beside(path) == []


@pytest.mark.parametrize("kind", KINDS)
def test_content_is_on_disk_before_it_has_its_name(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[tuple[str, str]] = []
    path, sync, replace = tmp_path / "thing", os.fsync, os.replace

    def fsync(handle: int) -> None:
        happened.append(("fsync", os.readlink(f"/proc/self/fd/{handle}")))
        sync(handle)

    def rename(old: Path, new: Path) -> None:
        happened.append(("rename", str(new)))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", rename)
    with files.atomic(path) as temporary:
        put(temporary, kind, "new")
        written = [temporary, *(temporary.rglob("*") if temporary.is_dir() else [])]
    named = happened.index(("rename", str(path)))
    assert {("fsync", str(p)) for p in written} <= set(happened[:named])
    assert ("fsync", str(tmp_path)) in happened[named:]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("death", ["os._exit(1)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_killed_writer_leaves_the_old_content(
    tmp_path: Path, kind: str, death: str, environment: Mapping[str, str]
) -> None:
    code = f"""
import os, signal, sys
from pathlib import Path
from muybridge.core import files
with files.atomic(Path(sys.argv[1])) as temporary:
    if sys.argv[2] == "folder":
        temporary.mkdir()
        temporary /= "a"
    temporary.write_text("half")
    {death}
"""
    path = tmp_path / "thing"
    put(path, kind, "old")
    child(code, path, kind, environment=environment).communicate()
    assert content_of(path) == "old"
    assert len(beside(path)) == 1, "the writer was not killed in the middle"
    files.sweep(tmp_path)
    assert content_of(path) == "old"
    assert beside(path) == []


def test_a_folder_survives_a_kill_between_its_two_renames(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from muybridge.core import files
path, replace = Path(sys.argv[1]), os.replace
def rename(old, new):
    if Path(new) == path:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(old, new)
with files.atomic(path) as temporary:
    temporary.mkdir()
    (temporary / "a").write_text("new")
    (temporary / "inner").mkdir()
    (temporary / "inner/b").write_text("new")
    os.replace = rename
"""
    path = tmp_path / "thing"
    put(path, "folder", "old")
    process = child(code, path, environment=environment)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    files.sweep(tmp_path)
    assert path.exists(), "sweep removed both the old folder and the new one"
    assert content_of(path) in ("old", "new")
    assert beside(path) == []


def test_a_folder_that_cannot_take_its_name_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, replace = tmp_path / "thing", os.replace
    put(path, "folder", "old")

    def rename(old: Path, new: Path) -> None:
        if Path(new) == path and "old" not in Path(old).name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(old, new)

    monkeypatch.setattr(os, "replace", rename)
    with pytest.raises(MuybridgeError, match="disk is full"), files.atomic(path) as temporary:
        put(temporary, "folder", "new")
    monkeypatch.undo()
    files.sweep(tmp_path)
    assert path.exists() and content_of(path) == "old"


def test_sweep_leaves_what_another_process_is_writing(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    code = """
import sys
from pathlib import Path
from muybridge.core import files
with files.atomic(Path(sys.argv[1])) as temporary:
    temporary.write_text("new")
    print("writing", flush=True)
    sys.stdin.readline()
"""
    with child(code, tmp_path / "theirs", environment=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        files.sweep(tmp_path)
        process.communicate("go on\n")
    assert process.returncode == 0
    assert (tmp_path / "theirs").read_text() == "new"


@pytest.mark.parametrize("name", [".settings.tmp", "a.123.tmp", ".a.b.old.tmp"])
def test_sweep_leaves_files_that_are_not_ours(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("someone's")
    files.sweep(tmp_path)
    assert (tmp_path / name).read_text() == "someone's"


def test_sweep_of_a_name_leaves_other_names(tmp_path: Path, environment: Mapping[str, str]) -> None:
    code = """
import os, sys
from pathlib import Path
from muybridge.core import files
held = [files.atomic(Path(sys.argv[1]) / name) for name in ("one", "other.one", "one.other")]
for one in held:
    one.__enter__().write_text("half")
os._exit(1)
"""
    child(code, tmp_path, environment=environment).communicate()
    left = {path.name.split(".", 1)[1].rsplit(".", 2)[0] for path in tmp_path.iterdir()}
    assert left == {"one", "other.one", "one.other"}
    files.sweep(tmp_path, "one")
    left = {path.name.split(".", 1)[1].rsplit(".", 2)[0] for path in tmp_path.iterdir()}
    assert left == {"other.one", "one.other"}


def test_sweeping_nothing(tmp_path: Path) -> None:
    files.sweep(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("where", ["write", "fsync"])
def test_a_full_disk_is_named(
    tmp_path: Path, number: int, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "thing"
    path.write_text("old")
    place: tuple[Any, str] = {"write": (Path, "write_bytes"), "fsync": (os, "fsync")}[where]
    monkeypatch.setattr(*place, full)
    with pytest.raises(MuybridgeError) as caught:
        files.write_bytes(path, b"new")
    monkeypatch.undo()
    assert str(path) in caught.value.message and "full" in caught.value.message
    assert "--out" in caught.value.hint
    assert path.read_text() == "old"
    assert beside(path) == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_a_forbidden_place_is_named(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", forbidden)
    with pytest.raises(MuybridgeError) as caught:
        files.write_text(tmp_path / "thing", "new")
    assert str(tmp_path / "thing") in caught.value.message
    assert os.strerror(number) in caught.value.message
    assert caught.value.hint


def test_other_errors_of_the_disk_are_not_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        files.write_text(tmp_path / "thing", "new")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if (
        os.geteuid()
        or shutil.which("mount") is None
        or subprocess.run(command, capture_output=True).returncode
    ):
        pytest.skip("a disk cannot be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    path = small_disk / "thing"
    files.write_bytes(path, b"old")
    with pytest.raises(MuybridgeError, match="disk is full") as caught:
        files.write_bytes(path, bytes(2**20))
    assert str(path) in caught.value.message
    assert path.read_bytes() == b"old"
    assert beside(path) == []

    def folder() -> None:
        with files.atomic(path) as temporary:
            temporary.mkdir()
            (temporary / "large").write_bytes(bytes(2**20))

    with pytest.raises(MuybridgeError, match="disk is full"):
        folder()
    assert beside(path) == []
    files.write_bytes(path, b"fits again")


def test_a_disk_that_is_really_read_only(small_disk: Path) -> None:
    files.write_bytes(small_disk / "thing", b"old")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for path in (small_disk / "thing", small_disk / "new" / "thing"):
        with pytest.raises(MuybridgeError, match="cannot be written") as caught:
            files.write_bytes(path, b"new")
        assert str(path) in caught.value.message
    with pytest.raises(MuybridgeError, match="cannot be written"):
        enter(small_disk / "run")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_really_forbidden(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    with pytest.raises(MuybridgeError, match="cannot be written") as caught:
        files.write_text(closed / "thing", "new")
    assert str(closed / "thing") in caught.value.message


@pytest.mark.parametrize("work", ["write", "lock"])
def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path, work: str) -> None:
    (tmp_path / "file").write_text("")
    use = {"write": lambda path: files.write_text(path, "new"), "lock": enter}[work]
    with pytest.raises(MuybridgeError, match="file"):
        use(tmp_path / "file" / "thing")


def test_a_folder_where_a_file_should_be_is_named(tmp_path: Path) -> None:
    put(tmp_path / "thing", "folder", "old")
    with pytest.raises(MuybridgeError, match="thing"):
        files.write_text(tmp_path / "thing", "new")
    assert content_of(tmp_path / "thing") == "old"
    assert beside(tmp_path / "thing") == []


def test_text_is_utf8(tmp_path: Path) -> None:
    files.write_text(tmp_path / "thing", "å — 例\n")
    assert (tmp_path / "thing").read_bytes() == "å — 例\n".encode()


@given(JSON)
def test_json_comes_back(tmp_path_factory: pytest.TempPathFactory, content: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "content.json"
    files.write_json(path, content)
    assert path.read_bytes().endswith(b"\n")
    assert files.read_json(path) == content


def test_json_refuses_what_is_not_json(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    files.write_json(path, {"value": 1.0})
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(path, {"value": float("nan")})
    assert files.read_json(path) == {"value": 1.0}
    assert beside(path) == []


@pytest.mark.parametrize("content", [None, b'{"a": 1', b"\xff\xfe", b""])
def test_json_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "scores.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MuybridgeError) as caught:
        files.read_json(path, "scores of the run")
    assert f"scores of the run {path}" in caught.value.message
    assert caught.value.hint


@given(st.binary(max_size=4096))
def test_digest_is_sha256(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "content"
    path.write_bytes(content)
    assert files.digest(path) == hashlib.sha256(content).hexdigest()


def test_digest_of_values_sees_values_and_not_their_order() -> None:
    assert files.digest_of({"a": 1, "b": [2, "x"]}, 3) == files.digest_of(
        {"b": [2, "x"], "a": 1}, 3
    )
    other = [
        ({"a": 1, "b": [2, "y"]}, 3),
        ({"a": 1, "b": [2, "x"]}, 4),
        ({"a": 1}, [2, "x"], 3),
        (3,),
    ]
    made = {files.digest_of(*parts) for parts in [({"a": 1, "b": [2, "x"]}, 3), *other]}
    assert len(made) == 1 + len(other)


def test_digest_of_values_is_the_same_in_every_process(environment: Mapping[str, str]) -> None:
    code = """
from pathlib import Path
from muybridge.core.files import digest_of
print(digest_of({"b": "x", "a": 1}, Path("p")))
"""
    made = {
        child(code, environment={**environment, "PYTHONHASHSEED": seed}).communicate()[0].strip()
        for seed in ("1", "2")
    }
    assert made == {files.digest_of({"a": 1, "b": "x"}, Path("p"))}


HOLD = """
import sys
from pathlib import Path
from muybridge.core import files
with files.locked(Path(sys.argv[1]), "run"):
    print("held", flush=True)
    sys.stdin.readline()
print("left", flush=True)
sys.stdin.readline()
"""


def test_a_lock_keeps_a_second_process_out_until_it_is_left(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    folder = tmp_path / "run"
    with child(HOLD, folder, environment=environment) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(MuybridgeError) as caught:
            enter(folder)
        assert f"run {folder}" in caught.value.message and caught.value.hint
        enter(tmp_path / "another run")
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "left\n"
        enter(folder)
        process.communicate("\n")


def test_a_lock_ends_with_a_killed_process(tmp_path: Path, environment: Mapping[str, str]) -> None:
    with child(HOLD, tmp_path, environment=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        process.kill()
    enter(tmp_path)


def test_a_lock_is_left_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), files.locked(tmp_path, "run"):
        raise ZeroDivisionError
    enter(tmp_path)


@given(st.lists(st.dictionaries(st.text(), JSON, max_size=3), max_size=4), st.data())
def test_an_unfinished_last_line_is_passed_over(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]], data: st.DataObject
) -> None:
    lines = [json.dumps(record).encode() + b"\n" for record in records]
    text = b"".join(lines)
    cut = data.draw(st.integers(0, len(text)))
    ends = [sum(map(len, lines[: i + 1])) for i in range(len(lines))]
    whole = sum(end <= cut for end in ends)
    path = tmp_path_factory.getbasetemp() / "log.jsonl"
    path.write_bytes(text[:cut])
    found: list[dict[str, Any]] = []
    assert files.each_line(path, found.append) == sum(map(len, lines[:whole]))
    assert found == records[:whole]


def test_a_log_that_is_absent_has_no_lines(tmp_path: Path) -> None:
    def never(_: dict[str, Any]) -> None:
        raise AssertionError

    assert files.each_line(tmp_path / "log.jsonl", never) == 0


Usage = namedtuple("Usage", ["total", "used", "free"])


def usage(free: int, seen: list[Path]) -> Callable[[Path], Usage]:
    def disk_usage(path: Path) -> Usage:
        seen.append(Path(path))
        return Usage(0, 0, free)

    return disk_usage


def test_too_little_room_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []
    monkeypatch.setattr(shutil, "disk_usage", usage(3 * 2**30, seen))
    folder = tmp_path / "not" / "yet" / "there"
    files.need_room(folder, 3 * 2**30, "the dataset")
    with pytest.raises(MuybridgeError) as caught:
        files.need_room(folder, 5 * 2**30, "the dataset")
    for told in ("the dataset", "5.0 GiB", "3.0 GiB", str(folder)):
        assert told in caught.value.message
    assert caught.value.hint
    assert set(seen) == {tmp_path}
    assert not (tmp_path / "not").exists()
