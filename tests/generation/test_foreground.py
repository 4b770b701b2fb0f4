"""What moves before a background that stands still."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import muybridge as mb
from muybridge.core import video
from muybridge.core.config import parse
from muybridge.core.errors import DataError
from muybridge.core.video import Frames
from muybridge.data import stage
from muybridge.generation import foreground, making
from muybridge.generation.asked import Asked


@pytest.mark.parametrize("motion", ["bounce", "slide"])
def test_things_of_the_stage_are_found(motion: str) -> None:
    settings = stage.Settings((64, 64), 8, 2.0, 1, (motion,))
    overlaps = []
    for index in range(6):
        frames, truth = stage.render(settings, index)
        found = foreground.foreground(list(frames))
        for at, share in enumerate(found):
            real = stage.mask_of(truth, at)
            if real.any():
                overlaps.append(((share > 0.5) & real).sum() / ((share > 0.5) | real).sum())
    assert np.median(overlaps) > 0.8


def test_a_thing_that_stays_for_most_of_the_time_is_not_its_background() -> None:
    frames = np.full((12, 40, 40, 3), 120, np.uint8)
    frames[:8, 10:20, 10:20] = frames[8:, 24:34, 10:20] = (230, 30, 30)
    found = foreground.foreground(list(frames))
    assert found[0][15, 15] > 0.9 and found[0][29, 15] < 0.1
    assert found[11][15, 15] < 0.1 and found[11][29, 15] > 0.9


def test_of_a_long_shot_frames_spread_over_it_tell_the_background() -> None:
    frames = [np.full((40, 40, 3), 120, np.uint8) for _ in range(600)]
    for at, frame in enumerate(frames):
        left = at * 30 // 600
        frame[10:20, left : left + 10] = (230, 30, 30)
    assert len(foreground.spread(frames)) == 120 and len(foreground.spread(frames[:128])) == 128
    found = foreground.foreground(frames)
    assert len(found) == 600
    for at in (0, 299, 599):
        left = at * 30 // 600
        assert found[at][15, left + 5] > 0.9 and found[at][15, (left + 20) % 40] < 0.1


def test_what_cannot_be_told_apart_is_refused() -> None:
    frame = np.full((40, 40, 3), 120, np.uint8)
    with pytest.raises(DataError, match="nothing moves"):
        foreground.foreground([frame] * 5)
    with pytest.raises(DataError, match="2 frames"):
        foreground.foreground([frame] * 2)
    noise = np.random.default_rng(0).integers(0, 255, (8, 40, 40, 3), np.uint8)
    smooth = [np.kron(one[::10, ::10], np.ones((10, 10, 1), np.uint8)) for one in noise]
    with pytest.raises(DataError, match="the camera does"):
        foreground.foreground(smooth)


def plan(run: mb.Run, **asked: Any) -> making.Plan:
    return making.plan(run, parse(Asked, asked, ""))


def test_another_background_is_put_behind_what_moves(
    run: mb.Run, film: Path, frames: Frames, tmp_path: Path
) -> None:
    made = video.to_uint8(run.generate(video=film, background="#00ff00")[0])
    assert made.shape == frames.shape
    assert made[0, 28, 28].tolist() == [0, 255, 0] and made[11, 2, 2].tolist() == [0, 255, 0]
    assert np.abs(made[3, 14, 9].astype(int) - frames[3, 14, 9]).max() < 12
    with pytest.raises(mb.MuybridgeError, match="no colour"):
        run.generate(video=film, background="#0f")


@pytest.mark.parametrize("what", ["things", "background"])
def test_what_moves_or_what_stands_still_is_made_anew(
    what: str, run: mb.Run, film: Path, frames: Frames
) -> None:
    canvas = plan(run, video=film, mask=what).canvas
    kept = canvas.known[3].where
    assert kept is not None
    assert bool(kept[14, 9]) == (what == "background")
    assert bool(kept[28, 28]) == (what == "things")
    made = run.generate(video=film, mask=what)[0]
    expected = video.read_video(film, fps=8)[0][3]
    assert np.array_equal(video.to_uint8(made)[3][kept], expected[kept])
