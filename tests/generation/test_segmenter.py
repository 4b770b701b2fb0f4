"""What finds things by having learned them on the stage."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import muybridge as mb
from muybridge.cli.main import app
from muybridge.core import video
from muybridge.core.errors import DataError
from muybridge.core.video import Frames
from muybridge.data import stage
from muybridge.generation import foreground, segmenter


@pytest.fixture(scope="module")
def made() -> segmenter.Segmenter:
    return segmenter.train(40)


def test_things_are_found_that_training_never_drew_better_than_by_the_background(
    made: segmenter.Segmenter,
) -> None:
    for motion in ("hide", "grow"):
        clips = segmenter.kept_clips(motion, 6)
        own = [segmenter.overlap(made.foreground(frames), real) for frames, real in clips]
        other = [segmenter.overlap(foreground.foreground(frames), real) for frames, real in clips]
        assert np.median(own) > 0.7, motion
        assert np.median(own) > np.median(other) - 0.05, motion


def test_what_is_kept_for_judging_is_never_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    render = stage.render
    monkeypatch.setattr(segmenter, "_KEPT", 5)
    monkeypatch.setattr(stage, "render", lambda s, n: (drawn.append(n), render(s, n))[1])
    segmenter.train(2)
    assert len(drawn) == len(set(drawn)) == 16 and not [n for n in drawn if n % 5 == 0]
    drawn.clear()
    segmenter.kept_clips("slide", 2)
    assert drawn and all(n % 5 == 0 for n in drawn)


def test_masks_are_those_of_all_things() -> None:
    frames, truth = stage.render(stage.Settings((64, 64), 8, 2.0, 1, ("pair",)), 0)
    masks = segmenter.true_masks(truth)
    assert masks.shape == frames.shape[:3]
    both = [stage.mask_of(truth, 3, n) for n in range(2)]
    assert (masks[3] == (both[0] | both[1])).all() and both[1].any()


def test_the_same_seed_gives_the_same_weights_which_come_back_from_a_file(tmp_path: Path) -> None:
    torch.manual_seed(5)
    one = segmenter.train(2, seed=3)
    torch.manual_seed(6)
    two = segmenter.train(2, seed=3)
    one.save(tmp_path / "one")
    back = segmenter.load(tmp_path / "one")
    assert back.facts == two.facts
    for name, value in two.network.state_dict().items():
        assert torch.equal(back.network.state_dict()[name], value)
    (tmp_path / "rubbish").write_bytes(b"rubbish")
    with pytest.raises(DataError, match="is no segmenter"):
        segmenter.load(tmp_path / "rubbish")


def test_pictures_of_any_size_are_looked_at(made: segmenter.Segmenter) -> None:
    frames, real = segmenter.kept_clips("slide", 1)[0]
    large = [cv2.resize(f, (150, 130), interpolation=cv2.INTER_CUBIC) for f in frames]
    found = made.foreground(large)
    assert found[0].shape == (130, 150)
    back = [cv2.resize(one, (64, 64), interpolation=cv2.INTER_AREA) for one in found]
    assert segmenter.overlap(back, real) > 0.6


def test_a_shot_is_looked_at_in_parts_as_if_at_once(
    made: segmenter.Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = list(np.random.default_rng(0).integers(0, 255, (11, 32, 32, 3), np.uint8))
    whole = made.foreground(frames)
    monkeypatch.setattr(segmenter, "_AT_ONCE", 4)
    for one, other in zip(whole, made.foreground(frames), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_another_background_is_put_behind_what_it_finds(
    run: mb.Run, made: segmenter.Segmenter, tmp_path: Path
) -> None:
    height, width = run.recipe.data.size
    frames: list[Frames] = []
    for at in range(run.recipe.data.frames):
        frame = np.full((height, width, 3), 90, np.uint8)
        frame[8:20, 4 + at : 16 + at] = (220, 30, 30)
        frames.append(frame)
    clip = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)[None].float() / 127.5 - 1
    video.write_video(clip, tmp_path / "film.mp4", run.recipe.data.fps)
    made.save(tmp_path / "weights")
    out = run.generate(
        video=tmp_path / "film.mp4", background=Path("#0000ff"), segmenter=tmp_path / "weights",
        steps=1,
    )  # fmt: skip
    pixels = video.to_uint8(out[0])
    assert pixels[2, -4:, -4:, 2].mean() > 200 and pixels[2, -4:, -4:, 0].mean() < 60
    with pytest.raises(mb.MuybridgeError, match="segmenter needs background or mask"):
        run.generate(video=tmp_path / "film.mp4", segmenter=tmp_path / "weights", loop=True)


def test_the_command_says_how_well_it_does_and_overwrites_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from muybridge.cli import segmenter as verb

    monkeypatch.setattr(verb, "JUDGED", 1)
    out = tmp_path / "weights"
    asked = ["segmenter", "--out", str(out), "--steps", "1"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert {line.split()[0] for line in done.stdout.splitlines() if line} >= {*stage.MOTIONS}
    before = out.read_bytes()
    assert CliRunner().invoke(app, asked).exit_code != 0
    assert out.read_bytes() == before
