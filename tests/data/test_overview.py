"""The overview holds what is true of the footage, and its pictures show it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from muybridge.core import video
from muybridge.core.errors import DataError
from muybridge.data import overview

SETTINGS = {"min_seconds": 0.5, "max_brightness": 0.9, "min_height": 32, "seed": 0, "max_odd": 3}


def write(footage: Any, folder: Path, **more: Any) -> dict[str, Any]:
    return overview.write(
        folder, footage.items, footage.folders, footage.clips, SETTINGS, **more
    )  # fmt: skip


def test_what_is_written_is_what_is_returned(footage: Any, tmp_path: Path) -> None:
    made = write(footage, tmp_path)
    assert json.loads((tmp_path / "overview.json").read_text()) == made
    named = [p["file"] for sheet in made["kept"] + made["aside"] for p in sheet["pictures"]]
    named += [p["file"] for row in made["alike"]["rows"] for p in row["pictures"]]
    there = {path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("pictures/*")}
    assert {name for name in named if name} == there


def test_a_broken_sum_stops_it(footage: Any, tmp_path: Path) -> None:
    footage.items[3]["parts"].pop()
    footage.items[3]["reason"] = "crashed: signal 11"
    with pytest.raises(DataError, match="do not add up"):
        write(footage, tmp_path)


def test_each_reason_has_its_sheet_with_file_and_time(footage: Any, tmp_path: Path) -> None:
    sheets = {sheet["reason"]: sheet for sheet in write(footage, tmp_path)["aside"]}
    reasons = {p["reason"].partition(":")[0] for i in footage.items for p in i["parts"]} - {""}
    assert set(sheets) == reasons | {"cannot be opened"}
    black = sheets["black"]["pictures"]
    assert [(p["name"], p["start"], p["end"]) for p in black] == [
        ("cats/b.mp4", 1.0, 1.5), ("two ways.mp4", 0.0, 1.0)
    ]  # fmt: skip
    strip = (footage.folders[2] / "part_001.jpg").read_bytes()
    assert (tmp_path / black[0]["file"]).read_bytes() == strip
    unseen = sheets["cannot be opened"]["pictures"][0]
    assert unseen["file"] is None
    assert unseen["note"] == "cannot be opened: empty.mp4 is empty (0 bytes)"  # not where it lay


def test_pictures_of_kept_clips_are_moments_of_them(footage: Any, tmp_path: Path) -> None:
    sheets = {sheet["split"]: sheet for sheet in write(footage, tmp_path)["kept"]}
    assert {name: sheet["all"] for name, sheet in sheets.items()} == {
        "train": 6, "validation": 1, "test": 1
    }  # fmt: skip
    picture = cv2.imread(str(tmp_path / sheets["test"]["pictures"][0]["file"]))[..., ::-1]
    frames, _ = video.read_video(footage.folders[4] / "clip_000.mp4")
    places = np.linspace(0, len(frames) - 1, 4).round().astype(int)
    large = [
        cv2.resize(frames[place], (128, 96), interpolation=cv2.INTER_CUBIC) for place in places
    ]
    expected = video.tile([frame[None] for frame in large], columns=4)[0]
    assert np.abs(picture.astype(float) - expected).mean() < 4


def test_sheets_are_bounded_and_show_many_files(footage: Any, tmp_path: Path) -> None:
    for number in range(30):
        footage.items.append(
            footage.items[6] | {"name": f"more/{number}.mp4"}  # blurred
        )
        footage.folders.append(footage.folders[6])
    many = dict(footage.items[7], name="long.mp4")
    part = many["parts"][1]
    many["parts"] = [part | {"start": float(i), "end": i + 1.0} for i in range(100)]
    many["facts"] = many["facts"] | {"seconds": 100.0}
    footage.items.append(many)
    footage.folders.append(footage.folders[7])
    sheets = {sheet["reason"]: sheet for sheet in write(footage, tmp_path)["aside"]}
    blurred, static = sheets["blurred"], sheets["static"]
    assert (blurred["all"], len(blurred["pictures"])) == (31, 12)
    assert len({p["name"] for p in blurred["pictures"]}) == 12
    assert (static["all"], len(static["pictures"])) == (101, 12)
    assert {p["name"] for p in static["pictures"]} == {"two ways.mp4", "long.mp4"}


def test_near_duplicates_lie_side_by_side(footage: Any, tmp_path: Path) -> None:
    alike = write(footage, tmp_path)["alike"]
    assert alike["all"] == 1
    names = [p["name"] for p in alike["rows"][0]["pictures"]]
    assert names == ["dogs/a.mp4", "dogs/copy of a.mp4"]
    first, second = ((tmp_path / p["file"]).read_bytes() for p in alike["rows"][0]["pictures"])
    assert first == second  # they are drawn alike here
    # Pairs that are known are shown as they are; two clips of one file are no news.
    rows = write(footage, tmp_path, pairs=[(0, 1, "copy"), (0, 2, "mirrored"), (4, 6, "reversed")])
    told = [(row["how"], *(p["name"] for p in row["pictures"])) for row in rows["alike"]["rows"]]
    assert told == [
        ("mirrored", "dogs/a.mp4", "dogs/copy of a.mp4"),
        ("reversed", "cats/b.mp4", "dogs/d.mp4"),
    ]


def test_histograms_count_every_clip_once(footage: Any, tmp_path: Path) -> None:
    made = write(footage, tmp_path)
    names = [one["figure"] for one in made["distributions"]]
    assert {"seconds", "brightness", "motion", "sharpness", "noise", "height"} <= set(names)
    for one in made["distributions"]:
        assert {name: sum(counts) for name, counts in one["splits"].items()} == {
            "train": 6, "validation": 1, "test": 1
        }  # fmt: skip
        assert np.all(np.diff(one["edges"]) > 0)
    seconds = made["distributions"][names.index("seconds")]
    assert seconds["medians"]["train"] == np.median([1.5, 1.0, 1.5, 1.0, 2.0, 2.0])
    words = {one["title"]: one["rows"] for one in made["words"]}
    assert words["Label"] == {
        "dog": {"train": 3, "validation": 0, "test": 1},
        "cat": {"train": 2, "validation": 1, "test": 0},
    }
    assert words["Size of the footage"].keys() == {"640 x 360"}


def test_thresholds_stand_in_the_distribution_of_all_parts(footage: Any, tmp_path: Path) -> None:
    made = {one["name"]: one for one in write(footage, tmp_path)["thresholds"]}
    assert set(made) == {"min_seconds", "max_brightness", "min_height"}  # what has a figure
    lengths = [
        (part["end"] - part["start"], part["fate"] == "kept")
        for item in footage.items for part in item["parts"]
    ]  # fmt: skip
    one = made["min_seconds"]
    assert sum(one["kept"]) == pytest.approx(sum(s for s, kept in lengths if kept))
    assert sum(one["aside"]) == pytest.approx(sum(s for s, kept in lengths if not kept))
    assert one["beyond"] == {
        "set": pytest.approx(sum(s for s, _ in lengths if s < 0.5)),
        "half": 0.0,
        "twice": pytest.approx(sum(s for s, _ in lengths if s < 1.0)),
    }
    assert one["edges"][0] <= 0.5 <= one["edges"][-1]
    assert made["max_brightness"]["beyond"]["set"] == 0.0


def test_before_there_are_splits_or_mp4s_it_still_tells_all(footage: Any, tmp_path: Path) -> None:
    """As `--dry-run` needs it."""
    for item in footage.items:
        for clip in item["clips"]:
            clip["video"] = "not there.mp4"
    made = overview.write(tmp_path, footage.items, footage.folders, None, SETTINGS)
    assert [(sheet["split"], sheet["all"]) for sheet in made["kept"]] == [("", 8)]
    assert all(p["file"] is None for p in made["kept"][0]["pictures"])
    assert list(made["distributions"][0]["splits"]) == ["kept"]
    assert made["alike"] == {"all": 0, "rows": []}


def test_files_outside_an_item_are_not_shown(footage: Any, tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    footage.items[6]["parts"][0]["strip"] = str(tmp_path / "secret.jpg")
    sheets = {sheet["reason"]: sheet for sheet in write(footage, tmp_path / "out")["aside"]}
    assert sheets["blurred"]["pictures"][0]["file"] is None


def test_nothing_kept_or_nothing_known_is_no_error(footage: Any, tmp_path: Path) -> None:
    footage.items, footage.folders = footage.items[-1:], footage.folders[-1:]
    made = overview.write(tmp_path, footage.items, footage.folders, None, SETTINGS)
    assert made["table"]["in"] == {"files": 1, "seconds": 0.0, "unknown": 1}
    assert made["distributions"] == made["kept"] == made["warnings"] == []
