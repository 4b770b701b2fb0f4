"""Films, what is written beside them, and batches of lines."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import muybridge as mb
from muybridge.cli.main import app
from muybridge.core import files, video
from muybridge.core import film as films
from muybridge.core.config import parse
from muybridge.core.video import Frames
from muybridge.generation import batches, making, writing
from muybridge.generation.asked import Asked


def test_a_film_written_in_pieces_is_the_film_written_at_once(
    frames: Frames, tmp_path: Path
) -> None:
    with films.film(tmp_path / "a.mp4", 8, comment="x") as add:
        for piece in (frames[:1], frames[1:7], frames[7:]):
            add(piece)
    assert (tmp_path / "a.mp4").read_bytes() == video.encode(frames, 8, comment="x")


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a"])
def test_any_film_says_that_it_is_synthetic(name: str, frames: Frames, tmp_path: Path) -> None:
    path = tmp_path / name
    video.write_video(frames, path, fps=8, comment="synthetic: made by Muybridge")
    whole = path if path.is_file() else path / "00003.png"
    assert b"synthetic: made by Muybridge" in whole.read_bytes()
    if path.is_dir():
        back = cv2.cvtColor(cv2.imread(str(whole)), cv2.COLOR_BGR2RGB)
        assert np.array_equal(back, frames[3])
    else:
        with av.open(path) as container:
            assert sum(1 for _ in container.decode(video=0)) == len(frames)


def test_a_film_that_is_broken_off_leaves_nothing(frames: Frames, tmp_path: Path) -> None:
    def broken() -> None:
        with films.film(tmp_path / "a.mp4", 8) as add:
            add(frames)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert list(tmp_path.iterdir()) == []


def test_clips_are_written_with_what_makes_them_again(
    run: mb.Run, film: Path, tmp_path: Path
) -> None:
    asked = parse(
        Asked, {"prefix": film, "extend": 1, "count": 2, "seed": 3, "text": "a red x"}, ""
    )
    made = writing.write(making.plan(run, asked), asked, tmp_path / "out")
    assert [path.name for path in made] == ["clip-0000.mp4", "clip-0001.mp4"]
    how = json.loads((tmp_path / "out" / "clip-0001.json").read_text())
    assert how["inputs"] == {str(film): files.digest(film)}
    assert (how["given_frames"], how["frames"], how["synthetic"]) == (12, 20, True)
    assert any("never heard" in line and "x" in line for line in how["done"])
    again = run.generate(how["checkpoint"], **how["asked"])
    found = video.read_video(made[1])[0]
    expected = video.to_uint8(again[how["clip"]])
    assert float(np.abs(found.astype(int) - expected).mean()) < 4
    sheet = cv2.imread(str(tmp_path / "out" / "contact-sheet.png"))
    assert sheet.shape[1] == (8 * 34 - 2) * 2


def test_lines_are_made_once_and_gone_on_with(
    run: mb.Run, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [{"name": "one", "text": "a red ball", "count": 1}, {"prefix": film.name}]
    (film.parent / "lines.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    out = tmp_path / "out"

    def go(checkpoint: str = "last") -> None:
        batches.write_all(run, batches.read(film.parent / "lines.jsonl"), out, checkpoint)

    whole, calls = writing.write, []

    def cut(plan: Any, asked: Asked, folder: Path, *more: Any) -> Any:
        calls.append(folder.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(plan, asked, folder, *more)

    monkeypatch.setattr(batches, "write", cut)
    with pytest.raises(KeyboardInterrupt):
        go()
    go()
    go()
    assert calls == ["one", "00002", "00002"]
    assert sorted(path.name for path in out.iterdir()) == ["00002", "one"]
    assert (out / "00002" / "clip-0000.mp4").is_file()
    with pytest.raises(mb.MuybridgeError, match="holds what another line, run or file made"):
        go("best")
    monkeypatch.chdir(film.parent)  # the same files, named otherwise
    batches.write_all(run, batches.read(Path("lines.jsonl")), out)
    assert len(calls) == 3
    film.rename(film.with_suffix(".old.mp4"))
    try:
        video.write_video(np.zeros((12, 32, 32, 3), np.uint8), film, fps=8)
        with pytest.raises(mb.MuybridgeError, match="run or file made"):
            go()
    finally:
        film.with_suffix(".old.mp4").rename(film)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("{", "line 1 is not JSON"), ("[1]", "no JSON object"), ('{"txt": "a"}', "txt is not a"),
        ('{"name": "a"}\n{"name": "a"}', "there twice"), ('{"name": "../a"}', "no folder's"),
        ('{"label": "dog"}', "00001: --label"), ('{"image": "none.png"}', "cannot be read"),
    ],
)  # fmt: skip
def test_lines_that_are_wrong_are_told_before_any_is_made(
    lines: str, message: str, run: mb.Run, tmp_path: Path
) -> None:
    (tmp_path / "lines.jsonl").write_text(lines)
    with pytest.raises(mb.MuybridgeError, match=re.escape(message)):
        batches.write_all(run, batches.read(tmp_path / "lines.jsonl"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_line_has_all_that_can_be_asked_for(
    run: mb.Run, film: Path, tmp_path: Path
) -> None:
    told = CliRunner().invoke(app, ["generate", "--help"]).output
    for name in Asked.model_fields:
        assert f"--{name.replace('_', '-')} " in told, name
    out = tmp_path / "out"
    command = ["generate", str(run.folder), "--out", str(out), "--between", str(film), str(film)]
    done = CliRunner().invoke(app, [*command, "--format", "png", "--seed", "3", "--text", "a"])
    assert done.exit_code == 0, done.output
    how = json.loads((out / "clip-0000.json").read_text())
    assert how["asked"] == {"text": ["a"], "between": [str(film), str(film)], "seed": 3}
    assert len(list((out / "clip-0000").iterdir())) == 28


def test_bytes_of_a_buffer_are_those_of_a_file(frames: Frames, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with films.mp4(buffer, 8) as add:
        add(frames)
    video.write_video(frames, tmp_path / "a.mp4", fps=8)
    assert buffer.getvalue() == (tmp_path / "a.mp4").read_bytes()
