from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from muybridge.core.errors import MuybridgeError
from muybridge.core.video import read_video
from muybridge.data.casting import row_at
from muybridge.data.stage import (
    COLOURS,
    GRAVITY,
    HELD_OUT,
    MOTIONS,
    SHAPES,
    USUAL,
    Settings,
    caption_of,
    combination_at,
    make_stage,
    mask_of,
    phrasings,
    render,
)

SMALL = Settings((64, 64), 24, 2.0, 5)
ALL = Settings((64, 64), 24, 2.0, 5, tuple(MOTIONS))


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def clips_of(motion: str, count: int = 8) -> list[dict[str, Any]]:
    return [truth for _, truth in drawn_of(motion, count, SMALL if motion in USUAL else ALL)]


def drawn_of(
    motion: str, count: int, settings: Settings = ALL
) -> list[tuple[np.ndarray, dict[str, Any]]]:
    """The first clips of a motion."""
    every = (i for i in range(400) if combination_at(5, i, settings.motions)[2] == motion)
    return [render(settings, index) for index in itertools.islice(every, count)]


def course(truth: dict[str, Any], what: str, thing: int = 0) -> np.ndarray:
    return np.array([frame["objects"][thing][what] for frame in truth["frames"]])


def masks_of(truth: dict[str, Any], thing: int) -> np.ndarray:
    return np.stack([mask_of(truth, i, thing) for i in range(len(truth["frames"]))])


def seen_at(masks: np.ndarray) -> np.ndarray:
    """Centre of each mask in picture heights: (time, 2)."""
    height = masks.shape[1]
    places = [np.argwhere(mask)[:, ::-1].mean(0) for mask in masks]
    return (np.stack(places) + 0.5) / height


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
        for truth in clips_of(motion, 4):
            for thing in range(len(truth["objects"])):
                assert course(truth, "visibility", thing).min() == 1


@pytest.mark.parametrize("size", [(64, 64), (64, 112), (96, 64), (32, 32)])
def test_things_stay_inside_the_picture(size: tuple[int, int]) -> None:
    for index in range(30):
        truth = render(Settings(size, 8, 2.0, 1, tuple(MOTIONS)), index)[1]
        for thing in range(len(truth["objects"])):
            position = course(truth, "position", thing)
            radius = course(truth, "radius", thing)[:, None]
            assert (position >= radius - 1e-6).all()
            assert (position <= np.array([size[1] / size[0], 1]) - radius + 1e-6).all()


# Of the stage as it was when it had these three motions only. Of many clips, these have the same
# bytes whichever vector instructions the processor has.
@pytest.mark.parametrize(
    ("settings", "digests"),
    [
        (SMALL, {0: "c6f4457cee2de446", 1: "fe6098fa33578964", 5: "a6c4efa423c55727"}),
        (
            Settings((64, 112), 12, 1.5, 1),
            {1: "ae6f5ef0429e863b", 3: "4a1a28255b8b91d4", 5: "d9373d2be3abfa88"},
        ),
        (
            Settings((96, 64), 8, 2.0, 3),
            {0: "19db44128a82b10f", 1: "24fce2d1808847ca", 2: "92087080a4069995"},
        ),
    ],
)
def test_clips_of_the_usual_motions_are_what_they_always_were(
    settings: Settings, digests: dict[int, str]
) -> None:
    for index, digest in digests.items():
        frames, truth = render(settings, index)
        assert hashlib.sha256(frames.tobytes()).hexdigest()[:16] == digest
        assert {"size", "fps", "colour", "shape", "motion", "physics", "frames"} <= set(truth)


@pytest.mark.parametrize("motion", MOTIONS)
def test_masks_are_what_the_truth_places_there(motion: str) -> None:
    for _, truth in drawn_of(motion, 6, Settings((64, 96), 8, 2.0, 5, tuple(MOTIONS))):
        for thing, told in enumerate(truth["objects"]):
            masks, area = masks_of(truth, thing), {"ball": np.pi, "square": 4, "triangle": 2}
            for i, frame in enumerate(truth["frames"]):
                state = frame["objects"][thing]
                if state["visibility"] < 1:
                    continue
                inside, doubtful = pixels_in(told["shape"], state, (64, 96))
                assert ((masks[i] == inside) | doubtful).all()
                centre = np.array(state["position"])
                centre[1] += state["radius"] / 3 if told["shape"] == "triangle" else 0
                assert np.abs(seen_at(masks[i : i + 1])[0] - centre).max() < 0.5 / 64
            assert told["mass"] == pytest.approx(area[told["shape"]] * told["radius"] ** 2)


def pixels_in(
    shape: str, state: dict[str, Any], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels whose centres lie in a turned shape, by its corners, and those on its outline."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    radius, angle = state["radius"], state["angle"]
    across = (columns + 0.5) / size[0] - state["position"][0]
    down = (rows + 0.5) / size[0] - state["position"][1]
    if shape == "ball":
        within = radius - np.hypot(across, down)
        return within > 0, np.abs(within) < 1e-4
    corners = {"square": [-1 - 1j, 1 - 1j, 1 + 1j, -1 + 1j], "triangle": [-1j, 1 + 1j, -1 + 1j]}
    flat = np.array(corners[shape])
    middle = flat.mean()
    flat = radius * ((flat - middle) * np.exp(1j * angle) + middle)
    sides = np.roll(flat, -1) - flat
    points = (across + 1j * down)[..., None] - flat
    within = (np.conj(sides) * points).imag / np.abs(sides)
    return (within > 0).all(-1), (np.abs(within) < 1e-4).any(-1)


@pytest.mark.parametrize("motion", ["collide", "pair"])
def test_two_things_are_never_seen_in_one_place(motion: str) -> None:
    for _, truth in drawn_of(motion, 8):
        one, two = masks_of(truth, 0), masks_of(truth, 1)
        assert not (one & two).any() and one.any((1, 2)).all() and two.any((1, 2)).all()


def test_things_that_collide_are_seen_to_touch_and_only_at_the_contact() -> None:
    for _, truth in drawn_of("collide", 12):
        # Columns between the two, in each frame: none or few at the contact.
        columns = [masks_of(truth, thing).any(1) for thing in (0, 1)]
        if truth["objects"][0]["position"][0] > truth["objects"][1]["position"][0]:
            columns.reverse()
        last = 63 - columns[0][:, ::-1].argmax(1)
        gap = columns[1].argmax(1) - last
        contact = truth["physics"]["contact"] * 24
        assert abs(gap.argmin() - contact) < 3 and gap[0] > gap.min() + 2 < gap[-1] + 1


def test_the_turn_that_is_seen_is_the_turn_that_is_told() -> None:
    large = Settings((128, 128), 8, 2.0, 5, ("spin",))
    shapes = set()
    for index in range(14):
        frames, truth = render(large, index)
        shape, angle = truth["shape"], course(truth, "angle")
        shapes.add(shape)
        weights = masks_of(truth, 0).astype(float)
        fold = {"square": 4, "triangle": 3, "ball": 2}[shape]
        if shape == "ball":
            # Its bar is what is darker than the ball's own mean at that place over the clip.
            bright = frames.max(-1).astype(float)
            weights *= np.maximum(np.median(bright, 0) - bright, 0)
        rows, columns = np.mgrid[:128, :128]
        middle = seen_at(masks_of(truth, 0)) * 128 - 0.5
        across, down = columns - middle[:, :1, None], rows - middle[:, 1:, None]
        moment = (weights * (across + 1j * down) ** fold).sum((1, 2))
        # Of an upright square the corners lie at 45 degrees, of a triangle one at -90, of a ball
        # the bar at 0.
        upright = {"square": np.pi / 4, "triangle": -np.pi / 2, "ball": 0.0}[shape]
        found = np.angle(moment) / fold - upright
        period = 2 * np.pi / fold
        wrong = (found - angle + period / 2) % period - period / 2
        assert np.abs(wrong).mean() < 0.05 and np.abs(wrong).max() < 0.2
        assert np.allclose(np.diff(angle) * 8, truth["physics"]["angular_speed"], atol=1e-4)
    assert shapes == set(SHAPES)


def test_truth_tells_each_thing_and_agrees_with_the_row() -> None:
    brief = Settings((32, 32), 4, 2.0, 5, tuple(MOTIONS))
    for index in range(30):
        row, truth = row_at(5, index, "all"), render(brief, index)[1]
        json.dumps(truth)
        assert truth["format"] == 2
        assert [truth[key] for key in ("colour", "shape", "motion")] == [
            row[key] for key in ("colour", "shape", "motion")
        ]
        first, *others = truth["objects"]
        assert (first["colour"], first["shape"]) == (row["colour"], row["shape"])
        told = [(other["colour"], other["shape"]) for other in others]
        assert told == ([(row["colour2"], row["shape2"])] if "colour2" in row else [])
        own = (
            ["bounce", "slide"] if row["motion"] == "pair" else [row["motion"]] * (1 + len(others))
        )
        assert [thing["motion"] for thing in truth["objects"]] == own
        for key in set(first) & set(truth["physics"]):
            assert first[key] == truth["physics"][key]
        for thing, constants in enumerate(truth["objects"]):
            for key in ("position", "velocity", "radius"):
                assert np.allclose(course(truth, key, thing)[0], constants[key], atol=1e-6)


def test_truth_masks_agree_with_the_hue_in_decoded_pictures(stage: Path) -> None:
    overlaps = []
    for row in rows_of(stage)[::4]:
        frames, truth = decoded(stage, row)
        for i in range(0, 48, 6):
            mask = mask_of(truth, i)
            if mask.sum() < 100:
                continue
            found = of_colour(frames[i], row["colour"])
            overlaps.append((mask & found).sum() / (mask | found).sum())
    assert len(overlaps) > 50
    assert np.mean(overlaps) > 0.88 and np.min(overlaps) > 0.7


def test_hue_alone_tells_where_each_thing_is(tmp_path: Path) -> None:
    motions = tuple(MOTIONS)[3:]
    make_stage(tmp_path / "made", 24, seed=2, seconds=1, motions=motions)
    rim, beyond = np.ones((3, 3), np.uint8), {motion: [0] for motion in motions}
    for row in rows_of(tmp_path / "made"):
        frames, truth = decoded(tmp_path / "made", row)
        for i, thing in itertools.product(range(0, 24, 5), range(len(truth["objects"]))):
            mask = mask_of(truth, i, thing).astype(np.uint8)
            found = of_colour(frames[i], truth["objects"][thing]["colour"])
            # But for the pixels along its outline it is found whole, with any mark or highlight.
            assert found[cv2.erode(mask, rim) > 0].all()
            stray = found & (cv2.dilate(mask, rim) == 0)
            beyond[row["motion"]].append(stray.sum() / mask.sum())
    assert all(len(shares) > 5 and np.mean(shares) < 0.02 for shares in beyond.values())


def decoded(folder: Path, row: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    """A clip's frames and truth, from its files."""
    truth = (folder / "truth" / row["file_name"]).with_suffix(".json").read_text()
    return read_video(folder / row["file_name"])[0], json.loads(truth)


def of_colour(picture: np.ndarray, colour: str) -> np.ndarray:
    """Where a picture has the hue of a colour of the stage."""
    own = cv2.cvtColor(np.uint8([[COLOURS[colour]]]), cv2.COLOR_RGB2HSV)[0, 0, 0]
    hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV).astype(int)
    near = np.abs((hsv[..., 0] - own + 90) % 180 - 90) < 12
    return near & (hsv[..., 1] > 110) & (hsv[..., 2] > 50)


def test_held_out_pairs_are_in_the_test_split_and_nowhere_else(stage: Path) -> None:
    rows = rows_of(stage)
    for row in rows:
        assert ((row["colour"], row["shape"]) in HELD_OUT) == (row.get("split") == "test")
    assert 2 <= sum(row.get("split") == "test" for row in rows) <= 5
    pairs = {(row["colour"], row["shape"]) for row in rows}
    assert pairs == {(colour, shape) for colour in COLOURS for shape in SHAPES}


def test_captions_name_the_colour_and_shape(stage: Path) -> None:
    rows = rows_of(stage)
    assert all({row["colour"], row["shape"]} <= set(row["caption"].split()) for row in rows)
    assert len({row["caption"] for row in rows}) > 40
    for motion in USUAL:
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
    with pytest.raises(MuybridgeError, match=r"motions \['bounce', .* \(asked: \['spin'\]\)"):
        make_stage(tmp_path / "a", 2, seconds=0.5, motions="spin")


def test_a_stage_records_its_motions_and_adds_clips_of_them(tmp_path: Path) -> None:
    make_stage(tmp_path / "grown", 3, seconds=0.5, motions="spin,pair")
    make_stage(tmp_path / "grown", 5, seconds=0.5, motions=["pair", "spin"])
    make_stage(tmp_path / "whole", 5, seconds=0.5, motions=("pair", "spin"))
    assert files_of(tmp_path / "grown") == files_of(tmp_path / "whole")
    settings = json.loads((tmp_path / "grown" / "stage.json").read_text())
    assert settings["motions"] == ["spin", "pair"]
    assert {row["motion"] for row in rows_of(tmp_path / "grown")} <= {"spin", "pair"}


def test_a_stage_of_before_motions_could_be_chosen_is_gone_on_with(tmp_path: Path) -> None:
    out = tmp_path / "old"
    make_stage(out, 3, seconds=0.5)
    whole = files_of(out)
    settings = json.loads((out / "stage.json").read_text()) | {"format": 1}
    del settings["motions"]
    (out / "stage.json").write_text(json.dumps(settings))
    for sidecar in (out / "truth").glob("*.json"):
        truth = json.loads(sidecar.read_text()) | {"format": 1}
        del truth["objects"]
        sidecar.write_text(json.dumps(truth))
    drawn = (out / "clip-00001.mp4").stat().st_mtime_ns
    with pytest.raises(MuybridgeError, match="motions"):
        make_stage(out, 3, seconds=0.5, motions="all")
    assert "objects" not in json.loads((out / "truth" / "clip-00000.json").read_text())
    make_stage(out, 3, seconds=0.5)
    # Its truth now tells as much as any; its clips were left as they are.
    assert files_of(out) == whole
    assert (out / "clip-00001.mp4").stat().st_mtime_ns == drawn


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"count": 0}, "count is 0"),
        ({"size": (16, 64)}, "size is 16x64"),
        ({"size": (65, 64)}, "size is 65x64"),
        ({"size": (400, 32)}, "size is 400x32"),
        ({"fps": 0}, "fps is 0"),
        ({"seconds": -1}, "seconds is -1"),
        ({"seconds": 0.01}, "no frame"),
        ({"seed": -1}, "seed is -1"),
        ({"motions": "bounce,colide"}, "'colide'; did you mean 'collide'"),
    ],
)
def test_settings_out_of_range_are_named(wrong: dict[str, Any], named: str, tmp_path: Path) -> None:
    with pytest.raises(MuybridgeError, match=named) as caught:
        make_stage(tmp_path / "x", **({"count": 2} | wrong))
    assert caught.value.hint
    assert not (tmp_path / "x").exists()
