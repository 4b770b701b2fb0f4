from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from muybridge.core.errors import MuybridgeError
from muybridge.core.video import read_video
from muybridge.data.stage import (
    COLOURS,
    GRAVITY,
    HELD_OUT,
    MOTIONS,
    SHAPES,
    Settings,
    caption_of,
    combination_at,
    combinations,
    make_stage,
    mask_of,
    phrasings,
    render,
)

SMALL = Settings((64, 64), 24, 2.0, 5)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def clips_of(motion: str, count: int = 8) -> list[dict[str, Any]]:
    indices = [i for i in range(200) if combination_at(SMALL.seed, i)[2] == motion][:count]
    return [render(SMALL, index)[1] for index in indices]


def course(truth: dict[str, Any], what: str) -> np.ndarray:
    return np.array([frame["objects"][0][what] for frame in truth["frames"]])


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stage") / "made"
    make_stage(out, 50, seed=5)
    return out


def test_same_seed_same_bytes_whatever_the_workers(tmp_path: Path) -> None:
    make_stage(tmp_path / "one", 12, seconds=1, workers=1)
    make_stage(tmp_path / "two", 12, seconds=1, workers=2)
    make_stage(tmp_path / "other", 12, seconds=1, seed=1)
    one = files_of(tmp_path / "one")
    assert len(one) == 12 * 2 + 2
    assert one == files_of(tmp_path / "two")
    assert one["clip-00000.mp4"] != files_of(tmp_path / "other")["clip-00000.mp4"]


def test_every_file_is_there_and_has_its_frames(stage: Path) -> None:
    rows = rows_of(stage)
    assert [row["file_name"] for row in rows] == [f"clip-{i:05d}.mp4" for i in range(50)]
    frames, times = read_video(stage / rows[0]["file_name"])
    assert frames.shape == (48, 64, 64, 3)
    assert np.allclose(times, np.arange(48) / 24, atol=1e-3)
    truth = json.loads((stage / "truth" / "clip-00000.json").read_text())
    assert len(truth["frames"]) == 48
    assert (truth["colour"], truth["shape"], truth["motion"]) == combination_at(5, 0)


def test_truth_does_not_depend_on_the_number_of_pixels() -> None:
    small, large = render(SMALL, 3)[1], render(Settings((128, 128), 24, 2.0, 5), 3)[1]
    assert small["physics"] == large["physics"]


def test_falls_with_the_stated_gravity_between_landings() -> None:
    for truth in clips_of("bounce"):
        physics, step = truth["physics"], 1 / 24
        assert physics["gravity"] == GRAVITY
        y, rise = course(truth, "position")[:, 1], course(truth, "velocity")[:, 1]
        times = np.arange(48) / 24
        landings = np.array(physics["landings"])
        assert len(landings) >= 1 and landings[0] <= 1.0
        free = np.array([not ((landings > t) & (landings <= t + step)).any() for t in times[:-1]])
        assert free.sum() > 30
        assert np.allclose(np.diff(rise)[free], GRAVITY * step, atol=1e-4)
        fallen = rise[:-1] * step + GRAVITY * step**2 / 2
        assert np.allclose(np.diff(y)[free], fallen[free], atol=1e-4)


def test_a_bounce_loses_energy_only_by_its_restitution() -> None:
    for truth in clips_of("bounce"):
        physics = truth["physics"]
        height = physics["floor"] - physics["radius"] - course(truth, "position")[:, 1]
        energy = GRAVITY * height + course(truth, "velocity")[:, 1] ** 2 / 2
        assert height.min() > -1e-6
        assert (np.diff(energy) < 1e-4).all()
        assert energy[-1] == pytest.approx(
            energy[0] * physics["restitution"] ** (2 * len(physics["landings"])), rel=1e-3
        )


def test_friction_slows_evenly_until_rest() -> None:
    stopped = 0
    for truth in clips_of("slide", 12):
        speed = np.abs(course(truth, "velocity")[:, 0])
        x = course(truth, "position")[:, 0]
        moving = speed[1:] > 0
        slowing = -np.diff(speed)[moving] * 24
        assert truth["physics"]["friction"] > 0
        assert np.allclose(slowing, truth["physics"]["friction"], atol=1e-3)
        middle = (speed[:-1] + speed[1:])[moving] / 2
        assert np.allclose(np.abs(np.diff(x))[moving] * 24, middle, atol=1e-3)
        stopped += not moving.all()
    assert 0 < stopped < 12


def test_a_hidden_thing_goes_out_of_sight_and_returns_at_one_speed() -> None:
    for truth in clips_of("hide"):
        seen = course(truth, "visibility")
        assert seen[0] > 0.99 and seen[-1] > 0.99
        hidden = np.flatnonzero(seen == 0)
        assert len(hidden) >= 2 and (np.diff(hidden) == 1).all()
        assert (np.diff(seen[: hidden[0]]) <= 1e-3).all()
        left, right = truth["physics"]["pillar"]
        x, radius = course(truth, "position")[:, 0], truth["physics"]["radius"]
        assert ((x[hidden] - radius > left - 0.01) & (x[hidden] + radius < right + 0.01)).all()
        assert np.allclose(np.diff(x) * 24, truth["physics"]["velocity"][0], atol=1e-4)
        assert not mask_of(truth, int(hidden[0])).any()


def test_nothing_else_is_ever_out_of_sight() -> None:
    for motion in set(MOTIONS) - {"hide"}:
        assert all(course(truth, "visibility").min() == 1 for truth in clips_of(motion, 4))


@pytest.mark.parametrize("size", [(64, 64), (64, 112), (96, 64)])
def test_things_stay_inside_the_picture(size: tuple[int, int]) -> None:
    for index in range(30):
        truth = render(Settings(size, 12, 2.0, 1), index)[1]
        position, radius = course(truth, "position"), truth["physics"]["radius"]
        assert (position >= radius - 1e-6).all()
        assert (position <= np.array([size[1] / size[0], 1]) - radius + 1e-6).all()


def test_truth_masks_agree_with_the_hue_in_decoded_pictures(stage: Path) -> None:
    overlaps = []
    for row in rows_of(stage)[::4]:
        truth = json.loads((stage / "truth" / row["file_name"]).with_suffix(".json").read_text())
        frames, _ = read_video(stage / row["file_name"])
        own = cv2.cvtColor(np.uint8([[COLOURS[row["colour"]]]]), cv2.COLOR_RGB2HSV)[0, 0, 0]
        for i in range(0, 48, 6):
            mask = mask_of(truth, i)
            if mask.sum() < 100:
                continue
            hsv = cv2.cvtColor(frames[i], cv2.COLOR_RGB2HSV).astype(int)
            near = np.abs((hsv[..., 0] - own + 90) % 180 - 90) < 12
            found = near & (hsv[..., 1] > 110) & (hsv[..., 2] > 50)
            overlaps.append((mask & found).sum() / (mask | found).sum())
    assert len(overlaps) > 50
    assert np.mean(overlaps) > 0.88 and np.min(overlaps) > 0.7


def test_held_out_pairs_are_in_the_test_split_and_nowhere_else(stage: Path) -> None:
    rows = rows_of(stage)
    for row in rows:
        assert ((row["colour"], row["shape"]) in HELD_OUT) == (row.get("split") == "test")
    assert 2 <= sum(row.get("split") == "test" for row in rows) <= 5
    pairs = {(row["colour"], row["shape"]) for row in rows}
    assert pairs == {(colour, shape) for colour in COLOURS for shape in SHAPES}


def test_combinations_are_even_and_all_come() -> None:
    seen, unseen = combinations(held_out=False), combinations(held_out=True)
    assert len(seen) + len(unseen) == len(COLOURS) * len(SHAPES) * len(MOTIONS)
    assert not set(seen) & set(unseen)
    made = [combination_at(9, index) for index in range(48 * 3)]
    assert {made.count(one) for one in seen} == {3}
    assert {made.count(one) for one in unseen} == {1}
    assert made[:48] != sorted(made[:48])


def test_captions_name_the_colour_and_shape(stage: Path) -> None:
    rows = rows_of(stage)
    assert all({row["colour"], row["shape"]} <= set(row["caption"].split()) for row in rows)
    assert len({row["caption"] for row in rows}) > 40
    for motion in MOTIONS:
        said = {caption_of("red", "ball", motion, i) for i in range(len(phrasings(motion)))}
        assert len(said) == len(phrasings(motion)) >= 3
        assert all("{" not in caption for caption in said)


def test_a_larger_count_adds_clips_and_mends_what_is_missing(tmp_path: Path) -> None:
    make_stage(tmp_path / "grown", 4, seconds=0.5)
    kept = (tmp_path / "grown" / "clip-00001.mp4").stat().st_mtime_ns
    (tmp_path / "grown" / "clip-00002.mp4").unlink()
    make_stage(tmp_path / "grown", 6, seconds=0.5)
    make_stage(tmp_path / "whole", 6, seconds=0.5)
    assert files_of(tmp_path / "grown") == files_of(tmp_path / "whole")
    assert (tmp_path / "grown" / "clip-00001.mp4").stat().st_mtime_ns == kept


def test_refuses_a_folder_that_holds_something_else(tmp_path: Path) -> None:
    (tmp_path / "holiday.mp4").write_bytes(b"mine")
    with pytest.raises(MuybridgeError, match="no stage"):
        make_stage(tmp_path, 2)
    make_stage(tmp_path / "a", 2, seconds=0.5)
    with pytest.raises(MuybridgeError, match=r"seed 0 \(asked: 3\)"):
        make_stage(tmp_path / "a", 2, seconds=0.5, seed=3)
    with pytest.raises(MuybridgeError, match=r"count 2 \(asked: 1\)"):
        make_stage(tmp_path / "a", 1, seconds=0.5)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"count": 0}, "count is 0"),
        ({"size": (16, 64)}, "size is 16x64"),
        ({"size": (65, 64)}, "size is 65x64"),
        ({"fps": 0}, "fps is 0"),
        ({"seconds": -1}, "seconds is -1"),
        ({"seconds": 0.01}, "no frame"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_out_of_range_are_named(wrong: dict[str, Any], named: str, tmp_path: Path) -> None:
    with pytest.raises(MuybridgeError, match=named) as caught:
        make_stage(tmp_path / "x", **({"count": 2} | wrong))
    assert caught.value.hint
    assert not (tmp_path / "x").exists()


def test_unknown_words_are_named_with_the_nearest() -> None:
    with pytest.raises(MuybridgeError, match="did you mean 'purple'"):
        caption_of("purpel", "ball", "slide")
    with pytest.raises(MuybridgeError, match="motion"):
        phrasings("fly")
