"""One file of made footage through the stage that reads it."""

from __future__ import annotations

import fractions
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muybridge.core.video import Frames, read_video
from muybridge.data.prepare import Config
from muybridge.data.reading import read
from muybridge.data.store import INTERPOLATED, REAL, REPEATED

FPS = 24
BASE = Config(size=(32, 48), max_gap=0.25, min_seconds=0.5)


def scene(seed: int, count: int, height: int = 64, width: int = 96, step: int = 2) -> Frames:
    """A texture that moves to one side: uint8 (count, height, width, 3)."""
    chance = np.random.default_rng(seed)
    wide = chance.integers(0, 256, (height, width + step * count, 3), np.uint8)
    wide = cv2.normalize(cv2.GaussianBlur(wide, (0, 0), 2), None, 30, 230, cv2.NORM_MINMAX)
    return np.stack([wide[:, step * i : step * i + width] for i in range(count)])


def write(
    path: Path,
    frames: Frames,
    times: Sequence[int] | None = None,
    rate: int = FPS,
    aspect: fractions.Fraction | None = None,
    sound: bool = False,
) -> Path:
    """Nearly lossless; frame i is shown at times[i] / rate seconds."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv444p"
        # One thread and no look-ahead, which reads past a small picture's edge: the same bytes
        # for the same frames, whatever else the machine does.
        stream.codec_context.thread_count = 1
        stream.options = {
            "crf": "4", "preset": "veryfast", "bf": "0", "x264-params": "mbtree=0"
        }  # fmt: skip
        stream.codec_context.time_base = fractions.Fraction(1, rate)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        voice = container.add_stream("aac", rate=16000) if sound else None
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = times[index] if times is not None else index
            frame.time_base = fractions.Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if voice is not None:
            silence = np.zeros((1, 1024), np.float32)
            quiet = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
            quiet.rate, quiet.pts = 16000, 0
            container.mux(voice.encode(quiet))
            container.mux(voice.encode())
    return path


class Reading:
    """What became of a file."""

    def __init__(self, path: Path, folder: Path, config: Config, boundaries: Sequence[float] = ()):
        folder.mkdir(parents=True)
        record = {"path": str(path), "digest": "d", "boundaries": list(boundaries)}
        (self.item,) = read(record, config.reading, folder)
        json.dumps(self.item, allow_nan=False)
        self.folder: Path = folder
        self.parts: list[dict[str, Any]] = self.item["parts"]
        self.clips: list[dict[str, Any]] = self.item["clips"]
        with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
            self.kinds = [arrays[f"kinds_{i}"] for i in range(len(self.clips))]
            self.signatures = [arrays[f"signature_{i}"] for i in range(len(self.clips))]
        self.check()

    def check(self) -> None:
        """What holds for every file."""
        edges = [0.0, *(part["end"] for part in self.parts)]
        assert [part["start"] for part in self.parts] == edges[:-1]
        assert all(part["end"] > part["start"] for part in self.parts)
        assert not self.parts or self.item["facts"]["seconds"] == pytest.approx(edges[-1])
        kept = [part for part in self.parts if part["fate"] == "kept"]
        assert [part["clip"] for part in kept] == list(range(len(self.clips)))
        assert bool(self.item["reason"]) == (not self.clips)
        for part in self.parts:
            assert bool(part["reason"]) == (part["fate"] == "set aside")
            assert part["strip"] is None or (self.folder / part["strip"]).is_file()
        for part, clip, kinds in zip(kept, self.clips, self.kinds, strict=True):
            assert part["start"] == pytest.approx(clip["start"], abs=0.05)
            content = (self.folder / clip["video"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == clip["content"]
            assert len(kinds) == clip["frames"]
            counts = np.bincount(kinds, minlength=3).tolist()
            assert clip["kinds"] == dict(
                zip(("real", "repeated", "interpolated"), counts, strict=True)
            )
            assert clip["frames"] == pytest.approx(
                (clip["end"] - clip["start"]) * clip["fps"], abs=1.5
            )

    def frames(self, clip: int = 0) -> Frames:
        return read_video(self.folder / self.clips[clip]["video"])[0]

    @property
    def words(self) -> list[str]:
        return [part["reason"].partition(":")[0] or "kept" for part in self.parts]


Reader = Callable[..., Reading]


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """Writes frames as a file and reads it; settings beside those of BASE by name."""
    count = iter(range(1000))

    def run(
        frames: Frames, boundaries: Sequence[float] = (), how: Any = None, **values: Any
    ) -> Reading:
        number = next(count)
        path = write(tmp_path / f"{number}.mkv", frames, **(how or {}))
        return Reading(path, tmp_path / f"out {number}", BASE.with_values(**values), boundaries)

    return run


def difference(first: Any, second: Any) -> float:
    """Mean difference of brightness: colours are stored at half the size."""
    return float(np.abs(np.mean(first, -1) - np.mean(second, -1)).mean())


def grey(frames: Frames) -> Frames:
    return np.repeat(frames.mean(-1, keepdims=True), 3, -1).astype(np.uint8)


def small(frames: Frames, size: tuple[int, int] = (32, 48)) -> Frames:
    pictures = [cv2.resize(f, size[::-1], interpolation=cv2.INTER_AREA) for f in frames]
    return np.stack(pictures).astype(np.uint8)


# --- parts ---------------------------------------------------------------------------------------


@settings(max_examples=12)
@given(
    shots=st.lists(st.integers(4, 40), min_size=1, max_size=4),
    holes=st.lists(st.tuples(st.integers(0, 100), st.integers(1, 20)), max_size=2),
    black=st.tuples(st.integers(0, 100), st.integers(0, 12)),
)
def test_parts_touch_and_cover_whatever_the_footage(
    tmp_path_factory: pytest.TempPathFactory,
    shots: list[int],
    holes: list[tuple[int, int]],
    black: tuple[int, int],
) -> None:
    frames = np.concatenate([scene(seed, count) for seed, count in enumerate(shots)])
    frames[black[0] : black[0] + black[1]] = 0
    lost = {place for start, length in holes for place in range(start, start + length)}
    shown = [i for i in range(len(frames)) if i not in lost] or [0]
    folder = tmp_path_factory.mktemp("parts")
    path = write(folder / "a.mkv", frames[shown], shown)
    found = Reading(path, folder / "out", BASE)
    covered = sum(part["end"] - part["start"] for part in found.parts)
    assert covered == pytest.approx((shown[-1] - shown[0] + 1) / FPS, abs=0.05)
    edges = np.cumsum(shots)[:-1] / FPS
    for clip in found.clips:
        start = clip["start"] + shown[0] / FPS
        assert not any(start + 0.02 < e < start + clip["end"] - clip["start"] - 0.02 for e in edges)


def test_a_clip_holds_the_frames_of_its_shot(reader: Reader) -> None:
    frames = np.concatenate([scene(1, 30), scene(2, 40)])
    found = reader(frames)
    assert found.words == ["kept", "kept"]
    assert [clip["end"] for clip in found.clips] == pytest.approx([30 / 24, 70 / 24], abs=2e-3)
    assert difference(found.frames(0), small(frames[:30])) < 6
    assert difference(found.frames(1), small(frames[30:])) < 6
    assert all((kinds == REAL).all() for kinds in found.kinds)


def test_short_shots_are_set_aside_and_long_ones_cut_evenly(reader: Reader) -> None:
    frames = np.concatenate([scene(1, 20), scene(2, 72)])
    found = reader(frames, min_seconds=1.0, max_seconds=1.1)
    assert found.words == ["too short", "kept", "kept", "kept"]
    counts = [clip["frames"] for clip in found.clips]
    assert sum(counts) == 72 and max(counts) - min(counts) <= 2  # Matroska counts milliseconds
    assert found.parts[0]["reason"].endswith("prepare.min_seconds = 1")


def test_boundaries_are_cut_at_whatever_is_seen(reader: Reader) -> None:
    found = reader(scene(1, 60), boundaries=[1.0])
    assert [clip["start"] for clip in found.clips] == pytest.approx([0, 1.0], abs=2e-3)
    assert [clip["frames"] for clip in found.clips] == [24, 36]


# --- repair --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["black", "frozen", "missing"])
def test_short_runs_are_filled_in_and_marked_and_long_ones_cut(reader: Reader, how: str) -> None:
    def spoiled(length: int) -> Reading:
        frames, places = scene(1, 72), list(range(72))
        if how == "black":
            frames[30 : 30 + length] = 0
        elif how == "frozen":
            frames[30 : 30 + length] = frames[29]
        else:
            places = [i for i in places if not 30 <= i < 30 + length]
        return reader(frames[places], how={"times": places})

    short = spoiled(4)
    assert short.words == ["kept"]
    assert short.kinds[0].tolist() == [REAL] * 30 + [INTERPOLATED] * 4 + [REAL] * 38
    # The scene moves steadily, so that what was lost is known.
    truth = small(scene(1, 72))[30:34]
    held = np.repeat(small(scene(1, 72))[29:30], 4, 0)
    assert difference(short.frames()[30:34], truth) < 0.6 * difference(held, truth)
    long = spoiled(9)
    assert long.words == ["kept", "gap" if how == "missing" else how, "kept"]
    (lost,) = (part for part in long.parts if part["fate"] == "set aside")
    assert (lost["start"], lost["end"]) == pytest.approx((30 / 24, 39 / 24), abs=2e-3)


# --- rates ---------------------------------------------------------------------------------------


def test_slow_footage_is_repeated_or_invented_and_marked(reader: Reader) -> None:
    frames = scene(1, 36, step=4)
    repeated = reader(frames, how={"rate": 12})
    assert repeated.kinds[0].tolist()[:8] == [REAL, REPEATED] * 4
    assert difference(repeated.frames()[2], repeated.frames()[3]) < 3
    invented = reader(frames, how={"rate": 12}, slow="interpolate")
    assert invented.kinds[0].tolist()[:8] == [REAL, INTERPOLATED] * 4
    # The same scene, twice as many frames a second.
    between = np.arange(1, 69, 2)
    truth = small(scene(1, 72, step=2))[between]
    held, made = repeated.frames()[between], invented.frames()[between]
    assert difference(made, truth) < 0.6 * difference(held, truth)


@pytest.mark.parametrize("rate", [10, 25, 30, 50])
def test_every_moment_gets_the_frame_nearest_in_time(reader: Reader, rate: int) -> None:
    frames = scene(1, 2 * rate, step=3)
    found = reader(frames, how={"rate": rate}, quality=2)
    stored, given = found.frames(), small(frames)
    for moment, kind in enumerate(found.kinds[0]):
        at = moment / 24 * rate
        best = min(range(len(given)), key=lambda i: difference(stored[moment], given[i]))
        assert abs(best - at) <= 0.5 + 0.05
        assert kind in (REAL, REPEATED)
    assert np.bincount(found.kinds[0])[0] == min(len(frames), found.clips[0]["frames"])


# --- the picture ---------------------------------------------------------------------------------


def test_black_bars_are_cropped_unless_told_not_to_be(reader: Reader) -> None:
    barred = np.zeros((30, 96, 96, 3), np.uint8)
    barred[:, 16:80] = scene(1, 30)
    found = reader(barred)
    assert found.item["facts"]["letterbox"] == pytest.approx([1 / 6, 5 / 6, 0, 1], abs=0.02)
    assert difference(found.frames(), small(scene(1, 30))) < 8
    whole = reader(barred, letterbox=False, size=(48, 48))
    assert whole.item["facts"]["letterbox"] is None
    assert whole.frames()[:, :6].max() < 40


def test_pixels_that_are_not_square_are_made_so(reader: Reader) -> None:
    narrow = np.stack([cv2.resize(f, (48, 64), interpolation=cv2.INTER_AREA) for f in scene(1, 30)])
    found = reader(narrow, how={"aspect": fractions.Fraction(2, 1)})
    assert found.item["facts"]["aspect"] == 2
    assert difference(found.frames(), small(scene(1, 30))) < 8


def test_each_file_gets_the_size_of_the_nearest_shape(reader: Reader) -> None:
    buckets = ((32, 32), (24, 48), (48, 24))
    for shape, size in (((64, 70), (32, 32)), ((48, 96), (24, 48)), ((96, 50), (48, 24))):
        clip = reader(scene(1, 20, *shape), buckets=buckets).clips[0]
        assert (clip["height"], clip["width"]) == size


def test_a_crop_follows_what_moves(reader: Reader) -> None:
    chance = np.random.default_rng(0)
    wall = cv2.GaussianBlur(chance.integers(0, 256, (48, 192, 3), np.uint8), (0, 0), 2)
    frames = np.repeat((60 + wall // 4)[None], 72, 0)
    frames = np.clip(frames + chance.normal(0, 2, frames.shape), 0, 255).astype(np.uint8)
    for index, frame in enumerate(frames):  # a yellow ball at one side, that bobs
        cv2.circle(
            frame, (160 + index // 6, 24 + round(8 * np.sin(index / 3))), 7, (250, 220, 20), -1
        )
    yellow = {
        crop: (lambda f: ((f[..., 0] > 160) & (f[..., 2] < 120)).mean())(
            reader(frames, size=(32, 32), crop=crop).frames()
        )
        for crop in ("centre", "motion")
    }
    assert yellow["centre"] < 0.005 < 0.03 < yellow["motion"]


def test_a_mirrored_file_gives_mirrored_clips(reader: Reader) -> None:
    frames = grey(scene(1, 30, 67, 121))
    plain, mirrored = reader(frames, quality=2), reader(frames[:, :, ::-1], quality=2)
    assert difference(plain.frames(), mirrored.frames()[:, :, ::-1]) < 1


def test_noise_is_measured_and_removed_when_asked(reader: Reader) -> None:
    clean = grey(np.repeat(scene(1, 1), 30, 0))
    noisy = clean + np.random.default_rng(0).normal(0, 8, clean.shape)
    noisy = np.clip(noisy, 0, 255).astype(np.uint8)
    loud, quiet = reader(noisy, size=(64, 96)), reader(noisy, size=(64, 96), denoise="median")
    truth = small(clean, (64, 96))
    assert difference(quiet.frames(), truth) < 0.8 * difference(loud.frames(), truth)
    assert quiet.clips[0]["figures"]["noise"] == loud.clips[0]["figures"]["noise"] > 3


# --- settings ------------------------------------------------------------------------------------


def test_the_same_file_gives_the_same_bytes(reader: Reader) -> None:
    frames = np.concatenate([scene(1, 30), scene(2, 40)])
    first, second = reader(frames), reader(frames)
    assert first.item == {**second.item, "facts": first.item["facts"]}
    names = sorted(path.name for path in first.folder.iterdir())
    assert names == sorted(path.name for path in second.folder.iterdir())
    assert all((first.folder / n).read_bytes() == (second.folder / n).read_bytes() for n in names)


def test_a_setting_changes_what_it_names_alone(reader: Reader) -> None:
    frames = np.concatenate([scene(1, 30), scene(2, 40)])
    base = reader(frames)

    def kept(found: Reading, *names: str) -> list[list[Any]]:
        return [[clip[name] for name in names] for clip in found.clips]

    coarser = reader(frames, quality=30)
    assert kept(coarser, "start", "end", "frames", "mean", "kinds", "figures") == kept(
        base, "start", "end", "frames", "mean", "kinds", "figures"
    )
    assert kept(coarser, "content") != kept(base, "content")
    slower = reader(frames, fps=12)
    assert kept(slower, "start", "end", "height") == kept(base, "start", "end", "height")
    assert [clip["frames"] for clip in slower.clips] == [15, 20]
    stricter = reader(frames, min_seconds=1.4)
    assert kept(stricter, "content") == kept(base, "content")[1:]
    assert stricter.words == ["too short", "kept"]


def test_sound_is_noted(reader: Reader) -> None:
    assert reader(scene(1, 20), how={"sound": True}).item["facts"]["sound"] is True
    assert reader(scene(1, 20)).item["facts"]["sound"] is False


@pytest.mark.parametrize(
    ("word", "spoil"),
    [
        ("underexposed", lambda f: 255 * (f / 255) ** 6),
        ("overexposed", lambda f: 242 + f // 25),
        ("blurred", lambda f: np.stack([cv2.GaussianBlur(p, (0, 0), 6) for p in f])),
        ("noisy", lambda f: np.clip(f + np.random.default_rng(0).normal(0, 40, f.shape), 0, 255)),
        ("static", lambda f: np.repeat(f[:1], len(f), 0)),
        ("out of order", lambda f: f[np.arange(len(f)) ^ 1]),
        ("too small", lambda f: f[:, :24]),
    ],
)
def test_bad_footage_is_named(reader: Reader, word: str, spoil: Callable[[Frames], Any]) -> None:
    found = reader(np.asarray(spoil(scene(1, 80)), np.uint8))
    assert found.item["reason"].partition(":")[0] == word
    assert not found.clips
