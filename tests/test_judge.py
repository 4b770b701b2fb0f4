"""Judging runs and folders: what it writes, what it refuses, and what it does not do twice."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

import muybridge as mb
from muybridge import run as running
from muybridge.cli.main import app
from muybridge.core import video
from muybridge.evaluation import clip_sets, similarity
from muybridge.evaluation.clip_sets import Wanted

SMALL = (
    "data.size=[32,32]", "data.frames=8", "model.width=32", "model.depth=1", "model.heads=2",
    "model.text.width=32", "training.batch=4", "training.minutes=null", "training.steps=2",
    "training.save_seconds=0", "training.validations=1", "training.previews=0",
    "training.precision=fp32", "training.threads=1", "sampling.steps=1", "evaluation.samples=6",
    "evaluation.held_out=4", "evaluation.shown=2", "evaluation.timed=2",
    "evaluation.learned.steps=2", "evaluation.learned.encoder.widths=[4,4]",
)  # fmt: skip
FORM = (8, 32, 32)
QUICK = ("appearance", "motion")

Folder = Callable[..., Path]


@pytest.fixture(scope="module")
def dataset(small_stage: Path) -> Path:
    return small_stage


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = mb.Recipe.load("flow-small", SMALL).with_(data=dataset)
    return recipe.train(tmp_path_factory.mktemp("runs") / "run").folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> mb.Run:
    """A run that nothing was made of yet."""
    return mb.Run.open(shutil.copytree(trained, tmp_path / "run"))


def moving(count: int, seed: int = 0, noise: float = 0.0) -> np.ndarray[Any, Any]:
    """Clips (count, time, height, width, 3) of a bright bar that moves, uint8."""
    draw = np.random.default_rng(seed)
    frames, height, width = FORM
    clips = np.full((count, frames, height, width, 3), 40.0)
    for clip in clips:
        first, pace, colour = draw.integers(0, 12), draw.uniform(0.5, 2), draw.uniform(90, 240, 3)
        for place, frame in enumerate(clip):
            left = int(first + pace * place)
            frame[8:24, left : left + 5] = colour
    clips += noise * draw.standard_normal(clips.shape)
    return np.clip(clips, 0, 255).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Writes clips as the videos of a folder."""

    def write(name: str, clips: np.ndarray[Any, Any], fps: float = 8.0) -> Path:
        for place, clip in enumerate(clips):
            target = tmp_path / name / f"{place:03d}.mp4"
            target.parent.mkdir(exist_ok=True)
            video.write_video(clip, target, fps, quality=0)
        return tmp_path / name

    return write


@pytest.fixture
def made_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where a clip is generated, or a network that judges is trained or read."""

    def forbidden(*_: object, **__: object) -> Tensor:
        raise AssertionError("this should have been refused before")

    monkeypatch.setattr(running.Run, "sample", forbidden)
    monkeypatch.setattr("muybridge.evaluation.tools.choose", forbidden)


def by_name(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {score["name"]: score for score in found["scores"]}


def values(found: dict[str, Any]) -> dict[str, Any]:
    return {score["name"]: (score["value"], score["interval"]) for score in found["scores"]}


# --- folders -------------------------------------------------------------------------------------


def test_a_folder_is_judged_against_a_folder(folder: Folder) -> None:
    made, real = folder("made", moving(6, 1, noise=30)), folder("real", moving(8, 2))
    found = mb.evaluate(made, real=real, metrics=("appearance", "motion", "time", "manifold"))
    assert found == json.loads((made / "scores.json").read_text())
    assert (found["format"], found["kind"], found["subject"]) == (2, "folder", "made")
    scores = by_name(found)
    assert scores.keys() > {"appearance distance", "motion distance", "flicker", "recall"}
    for score in scores.values():
        facts = score["manifest"]
        assert (facts["generated"], facts["real_windows"]) == (6, 8)
        assert (facts["frames"], facts["fps"], facts["size"]) == (8, 8.0, [32, 32])
    distance = scores["motion distance"]
    assert distance["value"] > distance["floor"] > 0
    wall = found["walls"][0]
    assert wall["columns"] == ["generated", "real, held out"]
    for row in wall["rows"]:
        assert [video.read_video(made / name)[0].shape for name in row["videos"]] == [
            (8, 32, 32, 3)
        ] * 2


def test_what_judging_wrote_is_not_judged_the_next_time(folder: Folder) -> None:
    made, real = folder("made", moving(5, 1)), folder("real", moving(5, 2))
    first = mb.evaluate(made, real=real, metrics=QUICK)
    second = mb.evaluate(made, real=real, metrics=QUICK)
    assert list((made / "samples").rglob("*.mp4"))
    assert values(first) == values(second)
    assert by_name(second)["motion distance"]["manifest"]["generated"] == 5


def test_a_rival_is_told_apart_where_it_differs_and_not_where_it_does_not(folder: Folder) -> None:
    real = folder("real", moving(12, 3))
    noisy, clean = folder("noisy", moving(12, 1, noise=40)), folder("clean", moving(12, 1))
    same = shutil.copytree(clean, clean.with_name("same"))

    def verdicts(made: Path, against: Path) -> dict[str, str]:
        found = mb.evaluate(made, real=real, against=against, metrics=("time",))["comparison"]
        assert found["against"] == against.name and not found["refused"]
        return {row["name"]: row["verdict"] for row in found["rows"]}

    assert set(verdicts(clean, same).values()) == {"not told apart"}
    assert verdicts(noisy, clean)["sharpness"] == "worse"
    assert verdicts(clean, noisy)["sharpness"] == "better"


def test_unlike_numbers_are_not_compared_and_the_field_is_named(folder: Folder) -> None:
    real, made = folder("real", moving(8, 3)), folder("made", moving(8, 1))
    fewer = folder("fewer", moving(5, 2))
    found = mb.evaluate(made, real=real, against=fewer, metrics=QUICK)["comparison"]
    assert found["rows"] == []
    refused = {(one["name"], one["field"], tuple(one["values"])) for one in found["refused"]}
    assert ("motion distance", "generated", ("8", "5")) in refused


def test_a_broken_video_is_set_aside_and_told(folder: Folder) -> None:
    made, real = folder("made", moving(5, 1)), folder("real", moving(5, 2))
    (made / "broken.mp4").write_bytes(b"not a video")
    whole = (made / "000.mp4").read_bytes()
    (made / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    found = mb.evaluate(made, real=real, metrics=QUICK)
    facts = by_name(found)["motion distance"]["manifest"]
    assert facts["generated"] == 5
    assert sum(facts["run_set_aside"].values()) == 2
    told = "\n".join(found["warnings"])
    assert "broken.mp4 was set aside: cannot be opened" in told
    assert "cut.mp4 was set aside" in told


def test_clips_of_other_lengths_and_sizes_need_a_word_that_the_manifest_keeps(
    folder: Folder,
) -> None:
    made, real = folder("made", moving(5, 1)), folder("real", moving(5, 2))
    video.write_video(moving(1, 7)[0][:6], made / "short.mp4", 8)
    with pytest.raises(mb.MuybridgeError, match=r"not of one length.*short\.mp4.*6 frames"):
        mb.evaluate(made, real=real, metrics=QUICK)
    found = mb.evaluate(made, real=real, metrics=QUICK, wanted=Wanted(frames=6))
    facts = by_name(found)["motion distance"]["manifest"]
    assert (facts["frames"], facts["run_cut"]) == (6, "the first frames")
    (made / "short.mp4").unlink()
    video.write_video(moving(1, 7)[0][:, :24], made / "small.mp4", 8)
    with pytest.raises(mb.MuybridgeError, match="not of one size") as caught:
        mb.evaluate(made, real=real, metrics=QUICK)
    assert "--size" in caught.value.hint
    found = mb.evaluate(made, real=real, metrics=QUICK, wanted=Wanted(size=(32, 32)))
    facts = by_name(found)["motion distance"]["manifest"]
    assert facts["generated_resize"].startswith("stretched to 32x32")
    assert "run_cut" not in facts


def test_frames_that_were_given_are_not_judged(folder: Folder) -> None:
    truth = moving(6, 1)
    spoilt = truth.copy()
    spoilt[:, :3] = 0
    real, made = folder("real", truth), folder("made", spoilt)
    metrics = ("appearance", "motion", "truth", "time", "baselines")
    found = mb.evaluate(made, real=real, metrics=metrics, given=3)
    scores = by_name(found)
    assert scores["motion distance"]["value"] == pytest.approx(0, abs=1e-6)
    assert scores["SSIM"]["value"] == pytest.approx(1, abs=1e-6)
    assert all(score["manifest"]["conditioning_frames"] == 3 for score in scores.values())
    curve = next(one for one in found["curves"] if one["title"] == "SSIM over time")
    assert curve["lines"][0]["x"] == [place / 8 for place in range(3, 8)]
    # The baseline holds the last frame that was given.
    still = next(one for one in found["baselines"] if one["name"] == "one frame held still")
    ssim = {score["name"]: score["value"] for score in still["scores"]}["SSIM"]
    stored = np.stack([video.read_video(path)[0] for path in sorted(real.glob("*.mp4"))])
    clips = torch.from_numpy(np.moveaxis(stored, -1, 2)).float() / 127.5 - 1
    held = clips[:, 2:3].expand(-1, 5, -1, -1, -1)
    assert ssim == pytest.approx(float(similarity.ssim(held, clips[:, 3:]).mean()), abs=1e-5)
    untouched = mb.evaluate(made, real=real, metrics=("truth",))
    assert by_name(untouched)["SSIM"]["value"] < 0.9


def test_a_folder_against_a_dataset_is_looked_through_for_copies(
    folder: Folder, dataset: Path
) -> None:
    loaded = running.Loader(
        mb.Dataset.open(dataset),
        "train",
        mb.Recipe.load("flow-small", SMALL).data.with_values(folder=str(dataset)),
    )
    # Windows at which copies are looked for: learnt by heart, and written down again.
    learnt = loaded.fixed(8 * len(loaded.clips)).clips[:6]
    made = folder("made", np.stack([video.to_uint8(clip) for clip in learnt]))
    fresh = folder("fresh", moving(6, 1))
    found = mb.evaluate(made, real=dataset, metrics=("copying",))
    assert by_name(found)["copies"]["value"] == 100
    assert found["walls"][1]["title"] == "Nearest training clips"
    assert by_name(mb.evaluate(fresh, real=dataset, metrics=("copying",)))["copies"]["value"] == 0


def test_absent_weights_are_named_and_the_rest_goes_on(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "TORCH_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    made, real = folder("made", moving(4, 1)), folder("real", moving(4, 2))
    (tmp_path / "weights").mkdir()
    found = mb.evaluate(
        made, real=real, metrics=("appearance", "fvd", "fid"), weights=str(tmp_path / "weights")
    )
    assert list(by_name(found)) == ["appearance distance"]
    missing = {one["name"]: one for one in found["missing"]}
    assert missing.keys() == {"FVD and KVD", "FID and KID"}
    for one in missing.values():
        assert re.search("SHA-256 [0-9a-f]{8}", one["hint"]) and str(tmp_path) in one["hint"]


def test_a_measure_that_was_asked_for_and_says_nothing_is_named(folder: Folder) -> None:
    made, real = folder("made", moving(4, 1)), folder("real", moving(4, 2))
    (made / "000.mp4").rename(made / "other.mp4")
    asked = ("appearance", "stage", "labels", "copying", "truth", "speed")
    found = mb.evaluate(made, real=real, metrics=asked)
    assert {one["name"] for one in found["missing"]} == set(asked) - {"appearance"}
    assert all(one["hint"] for one in found["missing"])
    assert mb.evaluate(made, real=real)["missing"] != found["missing"]


# --- what is refused, and when -------------------------------------------------------------------


def test_what_cannot_be_done_is_refused_before_any_work(
    run: mb.Run, dataset: Path, folder: Folder, tmp_path: Path, made_nothing: None
) -> None:
    made, real = folder("made", moving(4, 1)), folder("real", moving(4, 2))
    one, empty, file = folder("one", moving(1)), tmp_path / "empty", tmp_path / "note.txt"
    wide = folder("wide", np.repeat(moving(4), 2, axis=3))
    empty.mkdir()
    file.write_text("kept")
    cases: list[tuple[Path, dict[str, Any], str, str]] = [
        (made, {}, "nothing says what they are judged against", "--real"),
        (tmp_path / "none", {"real": real}, "neither a run nor a folder", "train"),
        (file, {"real": real}, "neither a run nor a folder", "train"),
        (dataset, {"real": real}, "is a dataset", "--real"),
        (empty, {"real": real}, "holds no video", "videos end in"),
        (made, {"real": empty}, "holds no video", "videos end in"),
        (made, {"real": file}, "--real .*note.txt is not a folder", "dataset"),
        (made, {"real": run.folder}, "is a run, not real footage", "dataset"),
        (made, {"real": real, "against": tmp_path / "none"}, "none is neither a run", "train"),
        (made, {"real": real, "metrics": ("apearance",)}, "'apearance'", "did you mean appearance"),
        (made, {"real": real, "weights": str(tmp_path / "w")}, "--weights .*w does not", "caches"),
        (made, {"real": real, "out": file}, "--out .*note.txt is a file", "folder"),
        (made, {"real": real, "given": 6}, "--given 6: of 8 frames", "0 and 5"),
        (made, {"real": real, "given": -1}, "--given -1", "0 and 5"),
        (made, {"real": one}, "4 clips of .*made and 1 of real", "more clips"),
        (one, {"real": real}, "1 clips of .*one", "more clips"),
        (wide, {"real": real}, "32x64 .*32x32", "--size"),
        (wide, {"real": dataset}, "32x64.* 32x32", "--size 32x32"),
        (run.folder, {"metrics": ("fdv",)}, "'fdv'", "fvd"),
        (run.folder, {"samples": 1}, "--samples 1", "leave it out"),
        (run.folder, {"checkpoint": "777"}, "--checkpoint 777", "last"),
        (run.folder, {"given": 8}, "--given 8", "0 and 5"),
        (run.folder, {"against": wide, "wanted": Wanted(size=(32, 64))}, "alike", "--size"),
    ]
    for subject, asked, message, hint in cases:
        with pytest.raises(mb.MuybridgeError, match=f"(?s){message}") as caught:
            mb.evaluate(subject, **asked)
        assert hint in caught.value.hint, message
        assert not (run.folder / "evaluation").exists() and not (made / "scores.json").exists()
    assert file.read_text() == "kept"


def test_a_run_whose_dataset_is_away_asks_for_another(
    run: mb.Run, folder: Folder, dataset: Path, tmp_path: Path
) -> None:
    moved = dataset.rename(tmp_path / "away")
    try:
        with pytest.raises(mb.MuybridgeError, match="was trained on is not there") as caught:
            mb.evaluate(run.folder)
        assert "--real" in caught.value.hint
        real = folder("real", moving(5, 2))
        found = mb.evaluate(run.folder, real=real, metrics=(*QUICK, "copying"))
        assert by_name(found)["motion distance"]["manifest"]["generated"] == 5
        assert [one["name"] for one in found["missing"]] == ["copying"]
    finally:
        moved.rename(dataset)


def test_what_trained_a_run_does_not_judge_it(run: mb.Run) -> None:
    asked = {"metrics": ("learned",)}
    digest = by_name(mb.evaluate(run.folder, **asked))["learned distance"]["manifest"]  # trains it
    told = json.loads((run.folder / "environment.json").read_text())
    told["reward"] = {"network": digest["extractor_sha256"]}
    (run.folder / "environment.json").write_text(json.dumps(told))
    with pytest.raises(
        mb.MuybridgeError, match=r"learned extractor cannot judge.*that very network"
    ):
        mb.evaluate(run.folder, **asked)


# --- runs ----------------------------------------------------------------------------------------


def counted(monkeypatch: pytest.MonkeyPatch, fail_at: int = -1) -> list[int]:
    """Clips of each call to `Run.sample`; the call of that number breaks off."""
    calls: list[int] = []
    sample = running.Run.sample

    def counting(self: mb.Run, objective: Any, request: Any, what: str = "") -> Tensor:
        if len(calls) == fail_at:
            raise KeyboardInterrupt
        calls.append(len(request))
        return sample(self, objective, request, what)

    monkeypatch.setattr(running.Run, "sample", counting)
    return calls


def test_a_run_is_judged_and_twice_gives_the_same_numbers(
    run: mb.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = ("appearance", "motion", "manifold", "copying", "speed", "baselines", "stage")
    first = mb.evaluate(run.folder, metrics=metrics)
    assert (first["kind"], first["checkpoint"]) == ("run", "step-00000002")
    assert [one["name"] for one in first["baselines"]] == [
        "one frame held still", "mean clip", "nearest training clip", "real, validation split",
    ]  # fmt: skip
    facts = by_name(first)["motion distance"]["manifest"]
    assert (facts["generated"], facts["real_split"], facts["checkpoint_step"]) == (6, "test", 2)
    assert (facts["run_seed"], facts["run_sampling"]["steps"]) == (0, 1)
    assert by_name(first)["parameters"]["value"] > 0
    assert by_name(first)["shape as asked"]["manifest"]["generated"] == 6
    calls = counted(monkeypatch)
    second = mb.evaluate(run.folder, metrics=metrics[:4])
    assert calls == [], "clips that were there were made again"
    kept = values(second)
    assert kept == {name: value for name, value in values(first).items() if name in kept}


def test_generating_goes_on_where_it_was_cut_off(
    run: mb.Run, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_sets, "CHUNK", 2)
    whole = mb.evaluate(shutil.copytree(trained, tmp_path / "whole"), metrics=QUICK)
    with monkeypatch.context() as patched:
        counted(patched, fail_at=2)
        with pytest.raises(KeyboardInterrupt):
            mb.evaluate(run.folder, metrics=QUICK)
    assert not (run.folder / "scores.json").exists()
    assert len(list((run.folder / "evaluation").rglob("[!.]*.npy"))) == 2
    calls = counted(monkeypatch)
    assert values(mb.evaluate(run.folder, metrics=QUICK)) == values(whole)
    assert calls == [2]


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_a_damaged_chunk_is_made_again(
    run: mb.Run, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_sets, "CHUNK", 2)
    first = values(mb.evaluate(run.folder, metrics=QUICK))
    chunk = sorted((run.folder / "evaluation").rglob("*.npy"))[1]
    content = chunk.read_bytes()
    with chunk.open("wb") as stream:
        if damage == "other":
            np.save(stream, np.zeros((2, 3, 3, 3), np.uint8))
        else:
            stream.write(content[: len(content) // 2] if damage == "cut" else b"")
    calls = counted(monkeypatch)
    assert values(mb.evaluate(run.folder, metrics=QUICK)) == first
    assert calls == [2]
    assert chunk.read_bytes() == content


def test_other_clips_are_kept_until_the_new_ones_are_whole(
    run: mb.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept() -> set[str]:
        return {path.name for path in (run.folder / "evaluation").iterdir()}

    monkeypatch.setattr(clip_sets, "CHUNK", 2)
    mb.evaluate(run.folder, metrics=QUICK)
    old = kept()
    recipe = run.folder / "recipe.yaml"
    begin, _, end = recipe.read_text().partition("evaluation:")
    assert "seed: 0" in end
    recipe.write_text(begin + "evaluation:" + end.replace("seed: 0", "seed: 5"))
    with monkeypatch.context() as patched:
        counted(patched, fail_at=1)
        with pytest.raises(KeyboardInterrupt):
            mb.evaluate(run.folder, metrics=QUICK)
    assert kept() > old
    mb.evaluate(run.folder, metrics=QUICK)
    seeded = kept()
    assert len(seeded) == 1 and not seeded & old
    mb.evaluate(run.folder, metrics=QUICK, checkpoint="1")
    assert len(kept()) == 1 and not kept() & (seeded | old)


def test_a_run_is_compared_with_an_earlier_moment_of_its_own(run: mb.Run) -> None:
    found = mb.evaluate(run.folder, against=run.folder, checkpoint="1", metrics=(*QUICK, "time"))
    rows = found["comparison"]["rows"]
    assert rows and not found["comparison"]["refused"]
    assert any(row["values"][0] != row["values"][1] for row in rows)
    assert len(list((run.folder / "evaluation").iterdir())) == 2


def test_a_run_and_a_folder_of_the_same_clips_are_alike(run: mb.Run, folder: Folder) -> None:
    """Other people's clips can be compared with a run's where they show the same captions."""
    mb.evaluate(run.folder, metrics=QUICK)
    chunk = next((run.folder / "evaluation").rglob("*.npy"))
    made = folder("made", np.load(chunk))
    split = running.Loader(mb.Dataset.open(run.recipe.data.folder), "test", run.recipe.data)
    for place, cut in enumerate(split.windows(6)):
        told = json.dumps({"caption": cut.clip.caption})
        (made / f"{place:03d}.json").write_text(told)
    found = mb.evaluate(run.folder, against=made, metrics=(*QUICK, "time"))["comparison"]
    assert found["refused"] == []
    assert {row["verdict"] for row in found["rows"]} == {"not told apart"}


def test_a_sample_that_is_not_finite_is_named(run: mb.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = running.Run.sample

    def diverged(self: mb.Run, objective: Any, request: Any, what: str = "") -> Tensor:
        made = sample(self, objective, request, what).clone()
        made[3, 1, 0, 0, 0] = float("nan")
        return made

    monkeypatch.setattr(running.Run, "sample", diverged)
    with pytest.raises(mb.MuybridgeError, match=r"sample 3 of step-00000002.*not finite"):
        mb.evaluate(run.folder, metrics=QUICK)
    assert not (run.folder / "scores.json").exists()


# --- the command ---------------------------------------------------------------------------------


def test_scores_are_printed_as_asked(folder: Folder, tmp_path: Path) -> None:
    made, real = folder("made", moving(4, 1)), folder("real", moving(4, 2))
    common = ["evaluate", str(made), "--real", str(real), "--metrics", "appearance, motion"]

    def printed(*options: str) -> str:
        done = CliRunner().invoke(app, [*common, *options])
        assert done.exit_code == 0, done.output
        return done.stdout

    plain = printed()
    assert plain.startswith("appearance distance") and "(lower is better)" in plain
    out = tmp_path / "out"
    assert json.loads(printed("--json", "--out", str(out))) == json.loads(
        (out / "scores.json").read_text()
    )
    assert (out / "samples/evaluation/made-000.mp4").is_file()
    assert "| score | value |" in printed("--format", "markdown")
    assert r"\begin{tabular}" in printed("--format", "latex")
