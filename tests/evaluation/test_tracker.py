from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from muybridge.core.errors import MuybridgeError
from muybridge.core.video import Frames, read_video
from muybridge.data.casting import row_at
from muybridge.data.shapes import BELOW
from muybridge.data.stage import (
    COLOURS,
    MOTIONS,
    PERIODS,
    SHAPES,
    Settings,
    coverage,
    make_stage,
    render,
)
from muybridge.evaluation.course import Track, motion_of, motion_together
from muybridge.evaluation.segments import SMALLEST
from muybridge.evaluation.tracker import KEYS, following, judged, track, tracks

FPS = 8


ALL = tuple(MOTIONS)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stage") / "made"
    make_stage(out, 64, seed=3, motions="all")
    return out


@pytest.fixture(scope="module")
def rows(stage: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (stage / "metadata.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def clips(stage: Path, rows: list[dict[str, Any]]) -> list[Frames]:
    """As prepared: compressed, and read at another rate."""
    return [read_video(stage / row["file_name"], fps=FPS)[0][:16] for row in rows]


def drawn(shape: str, rgb: tuple[int, int, int], path: np.ndarray) -> Frames:
    """A flat shape on grey, its centre on `path` (time, 2)."""
    cover = coverage(shape, path, 0.15, (64, 64))[..., None]
    return (120 * (1 - cover) + np.array(rgb) * cover).astype(np.uint8)


def across(y: np.ndarray | float = 0.7, begin: float = 0.2, end: float = 0.8) -> np.ndarray:
    x = np.linspace(begin, end, 16)
    return np.stack([x, np.broadcast_to(y, x.shape)], 1)


def test_errs_seldom_on_compressed_clips(clips: list[Frames], rows: list[dict[str, Any]]) -> None:
    shares = following(clips, rows, FPS)
    assert shares["of"] == dict.fromkeys((*KEYS, "all"), 64)
    assert shares["all"] > 0.98


def test_errs_seldom_on_fresh_clips() -> None:
    count, settings = 112, Settings((64, 64), FPS, 2.0, 11, ALL)
    fresh = [render(settings, index)[0] for index in range(count)]
    rows = [row_at(11, index, ALL) for index in range(count)]
    assert following(fresh, rows, FPS)["all"] > 0.98


def test_errs_seldom_on_blurred_and_noisy_clips(
    clips: list[Frames], rows: list[dict[str, Any]]
) -> None:
    noise = np.random.default_rng(0).normal(0, 10, clips[0].shape)
    worse = [
        np.clip(np.stack([cv2.GaussianBlur(f, (0, 0), 1.3) for f in clip]) + noise, 0, 255)
        for clip in clips
    ]
    shares = following([clip.astype(np.uint8) for clip in worse], rows, FPS)
    assert shares["colour"] > 0.94 and shares["shape"] > 0.8 and shares["motion"] > 0.9


def test_courses_are_the_true_ones(
    stage: Path, clips: list[Frames], rows: list[dict[str, Any]]
) -> None:
    off, sizes, turns = [], [], []
    for clip, row in zip(clips, rows, strict=True):
        truth = json.loads((stage / "truth" / row["file_name"]).with_suffix(".json").read_text())
        found = {track.colour: track for track in tracks(clip, FPS)}
        for number, thing in enumerate(truth["objects"]):
            track_ = found[thing["colour"]]
            told = [truth["frames"][3 * i]["objects"][number] for i in range(16)]
            for i, now in enumerate(told):
                assert track_.visible[i] or now["visibility"] < 0.35
                if now["visibility"] < 1:
                    continue
                down = BELOW[thing["shape"]] * now["radius"]
                off.append(track_.position[i] - now["position"] - [0, down])
                sizes.append(track_.radius[i] / now["radius"] - 1)
            if row["motion"] == "spin":
                turn = track_.angle - [now["angle"] for now in told]
                turns.append(turn - np.round(np.median(turn) / (p := PERIODS[row["shape"]])) * p)
    assert len(off) > 800 and len(turns) > 4
    assert np.linalg.norm(off, axis=1).max() < 0.04
    assert np.abs(np.mean(off, axis=0)).max() < 0.005
    assert np.nanmedian(np.abs(sizes)) < 0.03 and np.nanquantile(np.abs(sizes), 0.99) < 0.15
    assert np.abs(turns).max() < 0.15


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


def test_motions_read_the_same_mirrored_and_but_for_growing_backwards(
    clips: list[Frames], rows: list[dict[str, Any]]
) -> None:
    for clip, row in zip(clips[:32], rows, strict=False):
        motion = motion_together(tracks(clip, FPS))
        assert motion_together(tracks(clip[:, :, ::-1], FPS)) == motion
        back = motion_together(tracks(clip[::-1], FPS))
        assert back == (None if row["motion"] == "grow" else motion)


def test_what_stands_still_has_no_motion(clips: list[Frames]) -> None:
    for clip in clips[:32]:
        assert motion_together(tracks(np.repeat(clip[:1], 16, axis=0), FPS)) is None


def two(first: np.ndarray, second: np.ndarray) -> Frames:
    clip, more = drawn("ball", COLOURS["red"], first), drawn("square", COLOURS["blue"], second)
    return np.where((more != 120).any(-1, keepdims=True), more, clip)


def test_two_things_are_followed_each_by_its_colour() -> None:
    bounce = across(0.8 - 0.5 * np.abs(np.cos(np.arange(16) / 3)), 0.2, 0.3)
    slide = across(0.8, 0.6, 0.85)
    found = tracks(two(bounce, slide), FPS)
    assert {(t.colour, t.shape, t.motion) for t in found} == {
        ("red", "ball", "bounce"),
        ("blue", "square", "slide"),
    }
    for track_, path in zip(
        sorted(found, key=lambda t: str(t.colour)), (slide, bounce), strict=True
    ):
        np.testing.assert_allclose(track_.position, path, atol=0.01)


def test_words_of_two_things_belong_to_their_colours() -> None:
    bounce = across(0.8 - 0.5 * np.abs(np.cos(np.arange(16) / 3)), 0.2, 0.3)
    slide = across(0.8, 0.6, 0.85)
    found = tracks(two(bounce, slide), FPS)
    asked = {"colour": "red", "shape": "ball", "motion": "pair"}
    asked |= {"colour2": "blue", "shape2": "square"}
    right = {"colour": True, "shape": True, "motion": True, "all": True}
    assert judged(found, asked) == right
    # Whichever comes first in the picture, the one that bounces was to be red.
    assert judged(tracks(two(slide, bounce), FPS), asked) == right | {"motion": False, "all": False}
    swapped = asked | {"shape": "square", "shape2": "ball"}
    assert judged(found, swapped) == right | {"shape": False, "all": False}
    assert judged(found, asked | {"colour2": "green"}) == right | {"colour": False, "all": False}
    # A second thing that is missing, and one too many.
    alone = judged(tracks(drawn("ball", COLOURS["red"], bounce), FPS), asked)
    assert alone == dict.fromkeys(right, False)
    single = {"colour": "blue", "shape": "square", "motion": "slide"}
    assert not judged(found, single)["motion"]


def test_things_that_pass_through_each_other_do_not_collide() -> None:
    left, right = across(0.8, 0.2, 0.8), across(0.8, 0.8, 0.2)
    assert motion_together(tracks(two(left, right), FPS)) is None
    turned = np.concatenate([left[:6], left[5::-1], left[:4]])
    back = np.concatenate([right[:6], right[5::-1], right[:4]])
    assert motion_together(tracks(two(turned[:12], back[:12]), FPS)) == "collide"


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


def test_a_thing_about_as_large_as_what_is_seen_at_all_has_a_course_of_its_seen_frames() -> None:
    seen = np.array([True, True, False, True, True, False, True, True])
    times = np.arange(8) / FPS
    x = np.where(seen, 0.2 + 0.08 * np.arange(8), np.nan)
    position = np.column_stack([x, np.where(seen, 0.5, np.nan)])
    blank = np.full(8, np.nan)
    course = Track(
        times, position, np.full((8, 4), np.nan), SMALLEST * np.where(seen, 1.05, 0.95), seen,
        np.zeros(8, bool), np.full((8, len(SHAPES)), np.nan), blank, blank,
    )  # fmt: skip
    assert motion_of(course) == "slide"
