"""Sets of clips of folders and splits: nothing is brought to one form in silence."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from muybridge.core.errors import MuybridgeError
from muybridge.core.video import Frames, encode
from muybridge.data import store
from muybridge.data.loader import Config, Loader
from muybridge.evaluation import clip_sets
from muybridge.evaluation.clip_sets import ClipSet, Wanted, of_folder, of_split, of_tensor


def counting(count: int, size: tuple[int, int] = (32, 32), first: int = 20) -> Frames:
    """Even pictures whose grey level tells their place: 8 levels a frame."""
    levels = first + 8 * np.arange(count)
    return np.broadcast_to(levels[:, None, None, None], (count, *size, 3)).astype(np.uint8)


def put(path: Path, count: int = 8, size: tuple[int, int] = (32, 32), fps: float = 8.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(counting(count, size), fps, quality=1))


def put_timed(path: Path, milliseconds: Sequence[int]) -> None:
    """A file whose frames come at these times, as phones make them."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=1000)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.options = {"crf": "1", "bf": "0"}
        for picture, time in zip(counting(len(milliseconds)), milliseconds, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    path.write_bytes(buffer.getvalue())


def places(clips: torch.Tensor) -> list[list[int]]:
    """Which frame of `counting` each frame of the clips is."""
    levels = (clips.mean((2, 3, 4)) + 1) * 127.5
    return ((levels - 20) / 8).round().int().tolist()


def test_a_folder_is_read_whole_where_its_files_are_alike(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.mp4", "deep/c.mp4"):
        put(tmp_path / name)
    found = of_folder(tmp_path, "made")
    assert found.names == ("a.mp4", "b.mp4", "deep/c.mp4")
    assert found.owners == found.names
    assert found.form == clip_sets.Form(8, 8.0, (32, 32))
    assert places(found.read(0, 3)) == [list(range(8))] * 3
    assert found.read(1, 2).dtype == torch.float32
    assert not found.warnings
    assert {name: found.facts[name] for name in ("resize", "windows", "set_aside")} == {
        "resize": "none", "windows": 3, "set_aside": {},
    }  # fmt: skip
    assert not {"rate", "cut"} & found.facts.keys()


def test_the_digest_is_that_of_the_files(tmp_path: Path) -> None:
    put(tmp_path / "one" / "a.mp4")
    put(tmp_path / "two" / "a.mp4")
    put(tmp_path / "three" / "a.mp4", 8, (32, 48))
    one, two, three = (
        of_folder(tmp_path / n, "made").facts["digest"] for n in ("one", "two", "three")
    )
    assert one == two != three


def test_one_broken_video_is_set_aside_and_named(tmp_path: Path) -> None:
    for name in ("a.mp4", "c.mp4"):
        put(tmp_path / name)
    whole = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "b.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "d.mp4").write_bytes(b"")
    found = of_folder(tmp_path, "made")
    assert found.names == ("a.mp4", "c.mp4")
    assert len(found.warnings) == 2
    assert "b.mp4 was set aside: cannot be opened" in found.warnings[0]
    assert "d.mp4 was set aside" in found.warnings[1]
    assert "empty" in found.warnings[1]
    assert found.facts["set_aside"] == {"cannot be opened": 2}


def test_damage_inside_is_set_aside_unless_it_lies_after_what_is_judged(tmp_path: Path) -> None:
    put(tmp_path / "a.mp4", 24)
    draw = np.random.default_rng(0)
    frames = draw.integers(0, 255, (24, 32, 32, 3), np.uint8)
    content = bytearray(encode(frames, 8.0))
    begin = content.index(b"mdat") + (len(content) - content.index(b"mdat")) * 3 // 4
    content[begin : begin + 400] = bytes(400)
    (tmp_path / "b.mp4").write_bytes(content)
    found = of_folder(tmp_path, "made")
    assert found.names == ("a.mp4",)
    assert "b.mp4 was set aside: damaged: after " in found.warnings[0]
    assert of_folder(tmp_path, "made", Wanted(frames=8)).names == ("a.mp4", "b.mp4")


@pytest.mark.parametrize(
    ("other", "what", "option", "values"),
    [
        ({"count": 12}, "length", "--frames", ("8 frames", "12 frames")),
        ({"size": (48, 32)}, "size", "--size", ("32x32", "48x32")),
        ({"fps": 12.0}, "rate", "--fps", ("8 frames/s", "12 frames/s")),
    ],
)
def test_files_that_differ_are_refused_by_name_with_the_way_out(
    tmp_path: Path, other: dict[str, float], what: str, option: str, values: tuple[str, str]
) -> None:
    for name in ("a.mp4", "b.mp4"):
        put(tmp_path / name)
    put(tmp_path / "c.mp4", **other)  # type: ignore[arg-type]
    with pytest.raises(MuybridgeError, match=f"not of one {what}") as caught:
        of_folder(tmp_path, "made")
    for told in ("a.mp4", "c.mp4", *values):
        assert told in caught.value.message
    assert option in caught.value.hint


def test_what_is_wanted_is_done_and_in_the_facts(tmp_path: Path) -> None:
    put(tmp_path / "a.mp4", 8, (32, 32), 8.0)
    put(tmp_path / "b.mp4", 24, (64, 48), 24.0)
    put(tmp_path / "short.mp4", 3, (32, 32), 8.0)
    found = of_folder(tmp_path, "made", Wanted(6, 8.0, (32, 32)))
    assert found.names == ("a.mp4", "b.mp4")
    assert found.form == clip_sets.Form(6, 8.0, (32, 32))
    # Of 24 frames a second every third is nearest to the moments of 8.
    assert places(found.read(0, 2)) == [[0, 1, 2, 3, 4, 5], [0, 3, 6, 9, 12, 15]]
    assert found.facts["resize"].startswith("stretched to 32x32")
    assert found.facts["rate"] == "nearest frame in time"
    assert found.facts["cut"] == "the first frames"
    assert found.facts["set_aside"] == {"too short": 1}
    assert found.warnings == (f"{tmp_path / 'short.mp4'} was set aside: too short: 3 frames of 6",)


def test_a_larger_picture_is_stretched_by_area(tmp_path: Path) -> None:
    """Half of the pixels white, in stripes of one pixel: by area all is grey."""
    stripes = np.zeros((4, 64, 64, 3), np.uint8)
    stripes[:, :, ::2] = 255
    tmp_path.joinpath("a.mp4").write_bytes(encode(stripes, 8.0, quality=1))
    found = of_folder(tmp_path, "made", Wanted(size=(32, 32)))
    assert found.read(0, 1).abs().max() < 0.1


def test_a_rule_that_changes_nothing_is_none(tmp_path: Path) -> None:
    put(tmp_path / "a.mp4")
    plain = of_folder(tmp_path, "made").facts
    same = of_folder(tmp_path, "made", Wanted(8, 8.0, (32, 32))).facts
    assert {k: v for k, v in same.items() if k != "cut"} == plain


def test_an_uneven_rate_is_set_aside_or_brought_to_the_nearest_frames(tmp_path: Path) -> None:
    put(tmp_path / "a.mp4", 8, fps=8.0)
    # The last gap is far shorter than the others.
    times = [0, 125, 250, 400, 500, 800, 900, 1000, 1010]
    put_timed(tmp_path / "b.mp4", times)
    found = of_folder(tmp_path, "made")
    assert found.names == ("a.mp4",)
    assert "uneven rate" in found.warnings[0]
    both = of_folder(tmp_path, "made", Wanted(8, 8.0))
    moments = np.arange(8) * 125
    nearest = np.abs(moments[:, None] - np.array(times)).argmin(1).tolist()
    assert places(both.read(1, 2)) == [nearest]


@pytest.mark.parametrize("last", [1010, 1120, 1300])
def test_a_clip_that_is_counted_is_read(tmp_path: Path, last: int) -> None:
    put_timed(tmp_path / "a.mp4", [*range(0, 1001, 125), last])
    found = of_folder(tmp_path, "made", Wanted(fps=16.0))
    assert found.read(0, 1).shape[1] == found.form.frames


@pytest.mark.parametrize("fps", [24, 30, 60])
def test_times_in_whole_milliseconds_are_no_other_rate(tmp_path: Path, fps: int) -> None:
    put(tmp_path / "a.mp4", 12, fps=fps)
    with av.open(str(tmp_path / "b.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for picture in counting(12):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    assert of_folder(tmp_path, "made").form.fps == fps


def test_captions_and_labels_come_from_what_lies_beside(tmp_path: Path) -> None:
    for name in ("run/a.mp4", "walk/b.mp4"):
        put(tmp_path / name)
    of_folders = of_folder(tmp_path, "made")
    assert of_folders.labels == ("run", "walk")
    assert of_folders.captions == ("", "")
    rows = [{"file_name": "run/a.mp4", "caption": "one runs", "label": "running"}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    table = of_folder(tmp_path, "made")
    assert table.captions == ("one runs", "")
    assert table.labels[0] == "running"
    (tmp_path / "run" / "a.json").write_text(json.dumps({"caption": "a dog runs"}))
    beside = of_folder(tmp_path, "made")
    assert beside.captions == ("a dog runs", "")
    assert beside.labels[0] == "running"


def test_a_sidecar_that_is_no_json_is_named(tmp_path: Path) -> None:
    put(tmp_path / "a.mp4")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(MuybridgeError, match=r"a\.json is not JSON"):
        of_folder(tmp_path, "made")


def test_what_judging_wrote_and_hidden_folders_are_not_judged(tmp_path: Path) -> None:
    put(tmp_path / "a.mp4")
    for name in ("samples/evaluation/made-000.mp4", "evaluation/b.mp4", ".cache/c.mp4"):
        put(tmp_path / name)
    assert of_folder(tmp_path, "made").names == ("a.mp4",)
    put(tmp_path / "walk" / "samples" / "d.mp4")  # a person's own folder further down
    assert of_folder(tmp_path, "made").names == ("a.mp4", "walk/samples/d.mp4")


def test_no_videos_no_folder_and_only_broken_ones_are_errors(tmp_path: Path) -> None:
    with pytest.raises(MuybridgeError, match="is not a folder"):
        of_folder(tmp_path / "absent", "made")
    with pytest.raises(MuybridgeError, match="holds no video"):
        of_folder(tmp_path, "made")
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(MuybridgeError, match=r"holds no video.*a\.mp4: cannot be opened"):
        of_folder(tmp_path, "made")
    put(tmp_path / "b.mp4", 1)
    with pytest.raises(MuybridgeError, match=r"b\.mp4: too short: it has 1 frame"):
        of_folder(tmp_path, "made")


def test_one_clip_is_a_set(tmp_path: Path) -> None:
    put(tmp_path / "a.mp4")
    assert len(of_folder(tmp_path, "made")) == 1


def test_a_file_that_changes_meanwhile_is_an_error(tmp_path: Path) -> None:
    put(tmp_path / "a.mp4")
    found = of_folder(tmp_path, "made")
    put(tmp_path / "a.mp4", 5)
    with pytest.raises(MuybridgeError, match="changed while it was judged"):
        found.read(0, 1)


# --- splits, and any set -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Loader:
    """Six clips of three pieces of footage, of which windows of eight frames are cut."""
    folder = tmp_path_factory.mktemp("dataset")
    pairs = []
    (folder / "items").mkdir()
    for index in range(6):
        path = folder / "items" / f"{index}.mp4"
        content = encode(counting(24, (32, 32), 10 + 3 * index), 24, quality=1, gop=12)
        path.write_bytes(content)
        clip = store.Clip(
            name=f"clip {index}@0.0", file=f"test/{index}.mp4", split="test", group=index // 2,
            frames=24, height=32, width=32, label=("walk", "run")[index % 2],
            caption=f"caption {index}", objects=("dog",) * (index % 2), source="own",
            licence="CC0", original=f"{index}.mov", start=0.0, end=1.0, kinds=bytes(24),
            content=hashlib.sha256(content).hexdigest(),
        )  # fmt: skip
        pairs.append((clip, path))
    facts = {
        "fps": 24.0, "size": [32, 32], "sizes": [[32, 32]], "labels": ["run", "walk"],
        "captioned": 6, "mean": [0.0] * 3, "std": [0.5] * 3, "clips": {"test": 6}, "digest": "d",
    }  # fmt: skip
    store.write(folder, pairs, facts)
    config = Config(folder=str(folder), frames=4, fps=12.0, size=(32, 32))
    return Loader(store.Dataset.open(folder), "test", config)


def test_a_split_s_clips_are_those_of_the_loader(loader: Loader) -> None:
    found = of_split(loader, 9, "real")
    batch = loader.fixed(9)
    assert torch.equal(found.read(0, 9), batch.clips)
    assert len(found) == 9
    assert found.form == clip_sets.Form(4, 12.0, (32, 32))
    cuts = loader.windows(9)
    assert found.owners == tuple(f"group {cut.clip.group}" for cut in cuts)
    assert len(set(found.owners)) == 3
    assert found.captions == tuple(cut.clip.caption for cut in cuts)
    assert found.labels == tuple(cut.clip.label for cut in cuts)
    assert found.objects == tuple(cut.clip.objects for cut in cuts)
    assert len(set(found.names)) == 9
    assert found.facts["windows"] == 9
    assert (found.facts["split"], found.facts["digest"]) == ("test", "d")
    assert found.facts["sources"] == 3


def in_parts(clips: ClipSet, size: int) -> torch.Tensor:
    return torch.cat(list(clips.chunks(size=size)))


@pytest.mark.parametrize("size", [1, 4, 9, 100])
def test_clips_do_not_depend_on_how_many_are_read_at_once(loader: Loader, size: int) -> None:
    found = of_split(loader, 9, "real")
    assert torch.equal(in_parts(found, size), found.read(0, 9))
    assert torch.equal(found.some([7, 0, 7]), found.read(0, 9)[[7, 0, 7]])


def test_folders_do_not_depend_on_it_either(tmp_path: Path) -> None:
    for index in range(5):
        put(tmp_path / f"{index}.mp4", 4, fps=8.0)
    found = of_folder(tmp_path, "made")
    assert torch.equal(in_parts(found, 2), found.read(0, 5))


def test_clips_in_memory_are_each_of_footage_of_its_own() -> None:
    clips = torch.rand(2, 4, 3, 8, 12)
    made = of_tensor(clips, 8.0, "made", captions=("a", "b"))
    assert made.captions == ("a", "b")
    assert made.labels == ("", "")
    assert len(set(made.owners)) == 2
    assert made.form == clip_sets.Form(4, 8.0, (8, 12))
    assert torch.equal(made.read(0, 2), clips)
