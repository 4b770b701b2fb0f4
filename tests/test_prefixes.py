"""Going on from given frames: of a video, of training clips kept in the run, of real clips."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

import muybridge as mb
from muybridge import prefixes
from muybridge import run as running
from muybridge.cli.main import app
from muybridge.core import video
from muybridge.core.clips import to_float
from muybridge.evaluation import clip_sets
from muybridge.samples import generated, part_like, request_like
from muybridge.watch import watch

SMALL = (
    "data.size=[32,32]", "data.frames=8", "model.width=16", "model.depth=1",
    "model.frame_width=8", "model.frames=4", "model.text.width=16", "training.batch=4",
    "training.minutes=null", "training.steps=3", "training.validations=1", "training.previews=1",
    "training.measures=0", "training.precision=fp32", "training.threads=1",
    "training.loggers=[]", "evaluation.samples=6", "evaluation.held_out=4",
    "evaluation.during=[motion]", "evaluation.during_samples=6",
)  # fmt: skip


@pytest.fixture(scope="module")
def dataset(small_stage: Path) -> Path:
    return small_stage


@pytest.fixture(scope="module")
def run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> mb.Run:
    recipe = mb.Recipe.load("simvp", SMALL).with_(data=dataset)
    return recipe.train(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of a wide picture at 24 frames a second that grows brighter."""
    frames = (
        np.zeros((24, 40, 80, 3), np.uint8) + np.arange(24, dtype=np.uint8)[:, None, None, None] * 8
    )
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    video.write_video(frames, path, fps=24, quality=0)
    return path


def real(run: mb.Run) -> clip_sets.ClipSet:
    test = run.loader(mb.Dataset.open(run.recipe.data.folder), "test")
    return clip_sets.of_split(test, 6, "real")


def test_clips_begin_with_the_last_frames_of_the_video_at_the_runs_rate(
    run: mb.Run, film: Path
) -> None:
    made = run.generate(prefix=film, count=2)
    assert made.shape == (2, 8, 3, 32, 32)
    frames, times = video.read_video(film, fps=8)
    assert len(frames) == 8 and times[1] == pytest.approx(1 / 8)
    expected = torch.from_numpy(to_float(frames[-4:])).mean((1, 2, 3))
    torch.testing.assert_close(made[0, :4].mean((1, 2, 3)), expected, atol=0.01, rtol=0)
    assert torch.equal(made[0], made[1])  # this model draws nothing by chance


def test_a_picture_is_cut_to_its_middle(run: mb.Run, tmp_path: Path) -> None:
    frames = np.zeros((8, 32, 64, 3), np.uint8)
    frames[:, :, 16:48] = 200
    video.write_video(frames, tmp_path / "wide.mp4", fps=8, quality=0)
    given = prefixes.of_video(tmp_path / "wide.mp4", run.recipe.data)
    assert given.shape == (1, 4, 3, 32, 32)
    assert float(given[..., 4:-4].min()) > 0.5


def test_longer_and_shorter_continuations_agree(run: mb.Run, film: Path) -> None:
    usual, longer, shorter = (
        run.generate(prefix=film, count=1, seconds=s) for s in (None, 2.0, 0.75)
    )
    assert (longer.shape[1], shorter.shape[1]) == (16, 6)
    torch.testing.assert_close(longer[:, :8], usual)
    torch.testing.assert_close(usual[:, :6], shorter)


def test_without_a_video_it_goes_on_from_training_clips_kept_in_the_run(
    run: mb.Run, dataset: Path, tmp_path: Path
) -> None:
    train = run.loader(mb.Dataset.open(dataset), "train")
    cuts = train.windows(prefixes.KEPT)
    clips = train.read(cuts).clips
    moved = dataset.rename(tmp_path / "away")
    try:
        asked = mb.Run.open(run.folder).request(count=10)
        made = mb.Run.open(run.folder).make(asked)[0]
    finally:
        moved.rename(dataset)
    expected = torch.cat([clips, clips])[:10, :4]
    torch.testing.assert_close(made[:, :4], expected, atol=1e-6, rtol=0)
    said = [cut.said.caption for cut in cuts]
    assert asked.text == tuple((said + said)[:10])
    assert prefixes.count(asked) == [4] * 10
    assert asked.known is not None and not asked.known[:, 4:].any()


def test_words_that_are_said_are_taken_and_of_a_video_nothing_is_said_else(
    run: mb.Run, film: Path
) -> None:
    assert run.request("a red ball", count=2).text == ("a red ball",) * 2
    assert run.request(count=2, prefix=film).text == ("", "")
    assert run.request("a red ball", count=1, prefix=film).text == ("a red ball",)


def test_kept_frames_that_are_gone_or_damaged_are_told(run: mb.Run, tmp_path: Path) -> None:
    copy = mb.Run.open(shutil.copytree(run.folder, tmp_path / "run"))
    (copy.folder / prefixes.FILE).write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(mb.MuybridgeError, match="cannot be read") as caught:
        copy.request(count=1)
    assert "--prefix" in caught.value.hint
    (copy.folder / prefixes.FILE).unlink()
    with pytest.raises(mb.MuybridgeError, match="cannot be read"):
        copy.request(count=1)


def test_what_cannot_be_gone_on_from_is_refused(run: mb.Run, film: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.mp4"
    video.write_video(np.zeros((6, 32, 32, 3), np.uint8), short, fps=24)
    with pytest.raises(mb.MuybridgeError, match="too short: it has 2 frames at 8") as caught:
        run.generate(prefix=short)
    assert "0.5 s" in caught.value.hint
    with pytest.raises(mb.MuybridgeError, match="cannot be opened"):
        run.generate(prefix=tmp_path / "none.mp4")
    with pytest.raises(mb.MuybridgeError, match=r"clip of 4 frames.*first 4 are given"):
        run.generate(prefix=film, seconds=0.5)


def without(run: mb.Run, prefix: float) -> mb.Run:
    """The run as if it had been trained with another share of given frames."""
    tasks = run.recipe.data.tasks.with_values(prefix=prefix)
    data = run.recipe.data.with_values(tasks=tasks)
    return replace(run, recipe=replace(run.recipe, data=data))


def test_a_run_that_does_not_go_on_refuses_a_video_and_keeps_none(run: mb.Run, film: Path) -> None:
    with pytest.raises(mb.MuybridgeError, match=r"data.tasks.prefix = 0") as caught:
        without(run, 0).request(prefix=film)
    assert "leave --prefix out" in caught.value.hint
    assert without(run, 0).request(count=1).known is None
    assert without(run, 0.7).request(count=1).known is None
    assert without(run, 0.7).request(count=1, prefix=film).known is not None


def test_frames_that_leave_none_to_be_made_are_refused(dataset: Path, tmp_path: Path) -> None:
    changes = (*SMALL, "data.tasks.given=8", "model.given=8")
    with pytest.raises(mb.MuybridgeError, match=r"data.tasks.given = 8 of data.frames = 8"):
        mb.Recipe.load("simvp", changes).with_(data=dataset).train(tmp_path / "run")


def test_generate_writes_how_many_frames_were_given(
    run: mb.Run, film: Path, tmp_path: Path
) -> None:
    words = ["generate", str(run.folder), "--out", str(tmp_path / "o"), "--count", "2"]
    done = CliRunner().invoke(app, [*words, "--prefix", str(film)])
    assert done.exit_code == 0, done.output
    for place in range(2):
        told = json.loads((tmp_path / f"o/clip-{place:04d}.json").read_text())
        assert (told["given_frames"], told["frames"], told["caption"]) == (4, 8, "")
    assert (tmp_path / "o/contact-sheet.png").is_file()


def test_judged_clips_go_on_from_the_real_ones_read_a_few_at_a_time(
    run: mb.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_sets, "CHUNK", 4)
    clips, reads = real(run), []

    def read(begin: int, end: int) -> Tensor:
        reads.append(end - begin)
        return real(run).read(begin, end)

    config = run.recipe.evaluation
    made = generated(run, replace(clips, read=read), config, "last")
    assert reads == [4, 2]
    begun, wanted = made.clips.read(0, 6)[:, :4], clips.read(0, 6)[:, :4]
    torch.testing.assert_close(begun, wanted, atol=1e-6, rtol=0)
    assert made.manifest["given_frames"] == 4
    generated(run, replace(clips, read=read), config, "last")
    assert reads == [4, 2]  # what is kept is not made again
    other = generated(
        run, replace(clips, facts=clips.facts | {"digest": "another"}), config, "last"
    )
    assert other.kept != made.kept


def test_the_rest_of_a_real_clip_is_never_given(run: mb.Run) -> None:
    asked = part_like(run, request_like(run, real(run), 0), real(run), 2, 5)
    assert asked.known is not None and asked.known.shape == (3, 8, 3, 32, 32)
    torch.testing.assert_close(asked.known[:, :4], real(run).read(2, 5)[:, :4])
    assert not asked.known[:, 4:].any()
    few = without(run, 0.5)
    assert part_like(few, request_like(few, real(few), 0), real(few), 2, 5).known is None


def test_scores_while_training_go_on_from_real_clips_too(
    run: mb.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    sample = running.Run.sample

    def watched(self: mb.Run, objective: Any, request: Any, what: str = "") -> Tensor:
        seen.append(request.known)
        return sample(self, objective, request, what)

    monkeypatch.setattr(running.Run, "sample", watched)
    data = mb.Dataset.open(run.recipe.data.folder)
    train, validation = (run.loader(data, split) for split in ("train", "validation"))
    assert "motion distance" in watch(run, run.trained()[0], train, validation)()
    torch.testing.assert_close(seen[0][:, :4], validation.fixed(6).clips[:, :4])
