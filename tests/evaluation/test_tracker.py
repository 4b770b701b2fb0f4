from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from muybridge.core.errors import MuybridgeError
from muybridge.core.video import Frames, read_video
from muybridge.data.stage import COLOURS, SHAPES, coverage, make_stage
from muybridge.evaluation.tracker import KEYS, following, track

FPS = 8


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stage") / "made"
    make_stage(out, 96, seed=3)
    return out


@pytest.fixture(scope="module")
def rows(stage: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (stage / "metadata.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def clips(stage: Path, rows: list[dict[str, Any]]) -> list[Frames]:
    return [read_video(stage / row["file_name"], fps=FPS)[0][:16] for row in rows]


def drawn(shape: str, rgb: tuple[int, int, int], path: np.ndarray) -> Frames:
    """A flat shape on grey, its centre on `path` (time, 2)."""
    cover = coverage(shape, path, 0.15, (64, 64))[..., None]
    return (120 * (1 - cover) + np.array(rgb) * cover).astype(np.uint8)


def across(y: np.ndarray | float = 0.7, begin: float = 0.2, end: float = 0.8) -> np.ndarray:
    x = np.linspace(begin, end, 16)
    return np.stack([x, np.broadcast_to(y, x.shape)], 1)


def test_errs_seldom_on_real_clips(clips: list[Frames], rows: list[dict[str, Any]]) -> None:
    shares = following(clips, rows, FPS)
    assert shares["of"] == dict.fromkeys((*KEYS, "all"), 96)
    assert shares["colour"] > 0.98 and shares["shape"] > 0.98 and shares["motion"] > 0.97


def test_errs_seldom_on_blurred_and_noisy_clips(
    clips: list[Frames], rows: list[dict[str, Any]]
) -> None:
    noise = np.random.default_rng(0).normal(0, 10, clips[0].shape)
    worse = [
        np.clip(np.stack([cv2.GaussianBlur(f, (0, 0), 1.3) for f in clip]) + noise, 0, 255)
        for clip in clips[:40]
    ]
    shares = following([clip.astype(np.uint8) for clip in worse], rows[:40], FPS)
    assert shares["all"] > 0.94


def test_position_is_the_true_one_where_the_thing_is_whole(
    stage: Path, clips: list[Frames], rows: list[dict[str, Any]]
) -> None:
    off = []
    for clip, row in zip(clips[:30], rows, strict=False):
        truth = json.loads((stage / "truth" / row["file_name"]).with_suffix(".json").read_text())
        found = track(clip, FPS)
        for i in range(16):
            thing = truth["frames"][3 * i]["objects"][0]
            assert found.visible[i] or thing["visibility"] < 0.35
            if thing["visibility"] == 1:
                down = truth["physics"]["radius"] / 3 if row["shape"] == "triangle" else 0
                off.append(found.position[i] - thing["position"] - [0, down])
    assert len(off) > 300
    assert np.linalg.norm(off, axis=1).max() < 0.04
    assert np.abs(np.mean(off, axis=0)).max() < 0.005


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("shape", SHAPES)
def test_tells_every_colour_and_shape(colour: str, shape: str) -> None:
    found = track(drawn(shape, COLOURS[colour], across()), FPS)
    assert (found.colour, found.shape, found.motion) == (colour, shape, "slide")


def test_finds_nothing_where_there_is_nothing() -> None:
    noise = np.random.default_rng(0).integers(90, 130, (16, 64, 64, 1))
    clip = np.broadcast_to(noise, (16, 64, 64, 3)).astype(np.uint8)
    found = track(clip, FPS)
    assert (found.colour, found.shape, found.motion) == (None, None, None)
    assert not found.visible.any() and np.isnan(found.position).all()


def test_a_thing_at_rest_has_no_motion() -> None:
    found = track(drawn("ball", COLOURS["red"], across(0.7, 0.5, 0.5)), FPS)
    assert (found.colour, found.shape, found.motion) == ("red", "ball", None)


def test_a_fall_without_a_rebound_is_no_bounce() -> None:
    fall = drawn("ball", COLOURS["blue"], across(np.linspace(0.2, 0.8, 16)))
    bounce = drawn("ball", COLOURS["blue"], across(0.8 - 0.5 * np.abs(np.cos(np.arange(16) / 3))))
    assert track(fall, FPS).motion is None
    assert track(bounce, FPS).motion == "bounce"


def test_motions_read_the_same_backwards_and_mirrored(
    clips: list[Frames], rows: list[dict[str, Any]]
) -> None:
    hidden = [clip for clip, row in zip(clips, rows, strict=True) if row["motion"] == "hide"][:6]
    for clip in hidden:
        assert track(clip[::-1], FPS).motion == "hide"
        assert track(clip[:, :, ::-1], FPS).motion == "hide"


def test_vanishing_or_blinking_is_not_hiding(
    clips: list[Frames], rows: list[dict[str, Any]]
) -> None:
    clip = next(c for c, row in zip(clips, rows, strict=True) if row["motion"] == "hide")
    gone = np.flatnonzero(~track(clip, FPS).visible)
    assert len(gone)
    assert track(clip[: gone[-1] + 1], FPS).motion != "hide"
    blinking = np.concatenate([clip[:3], clip[gone[:1]], clip[2::-1]])
    assert track(blinking, FPS).motion != "hide"


def test_the_larger_coherent_thing_wins_over_specks() -> None:
    clip = drawn("square", COLOURS["green"], across())
    clip[:, 2:6:2, ::3] = COLOURS["red"]
    found = track(clip, FPS)
    assert (found.colour, found.shape) == ("green", "square")


def test_following_counts_only_what_was_asked() -> None:
    clips = [drawn("ball", COLOURS["red"], across()), drawn("square", COLOURS["blue"], across())]
    shares = following(clips, [{"colour": "red", "shape": "square"}, {"colour": "blue"}], FPS)
    assert shares == {
        "colour": 1.0,
        "shape": 0.0,
        "all": 0.5,
        "right": {"colour": 2, "shape": 0, "motion": 0, "all": 1},
        "of": {"colour": 2, "shape": 1, "motion": 0, "all": 2},
    }


def test_wrong_input_is_named() -> None:
    clip = drawn("ball", COLOURS["red"], across())
    with pytest.raises(MuybridgeError, match="float64 of shape"):
        track(clip / 255, FPS)
    with pytest.raises(MuybridgeError, match="fps is 0"):
        track(clip, 0)
    with pytest.raises(MuybridgeError, match="1 clips, but 0 requests"):
        following([clip], [])
