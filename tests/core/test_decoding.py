from __future__ import annotations

import contextlib
import io
import itertools
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import av.filter
import cv2
import numpy as np
import pytest
from av.stream import Disposition
from hypothesis import given, settings
from hypothesis import strategies as st

from muybridge.core import decoding
from muybridge.core.decoding import Frame, Frames
from muybridge.core.errors import DataError
from muybridge.core.video import png

FULL, LIMITED = 2, 1


def smooth(time: int = 6, height: int = 48, width: int = 64) -> Frames:
    """A gradient that drifts, without symmetry."""
    t, y, x = np.meshgrid(np.arange(time), np.arange(height), np.arange(width), indexing="ij")
    waves = [np.sin(x / 17 + t / 5), np.sin(y / 13 + x / 40 + t / 7), np.cos((x - y) / 29 - t / 9)]
    return np.stack([127.5 + 100 * wave for wave in waves], -1).round().astype(np.uint8)


def flat(levels: Sequence[int], height: int = 32, width: int = 48) -> Frames:
    """Pictures of one grey each: they say which they are."""
    return np.stack([np.full((height, width, 3), level, np.uint8) for level in levels])


def film(
    path: Path,
    frames: Frames,
    stamps: Sequence[int] | None = None,
    base: Fraction = Fraction(1, 24),
    pixels: str = "yuv420p",
    field: str = "",
    aspect: Fraction | None = None,
    **options: str,
) -> Path:
    """Writes H.264: `stamps` are moments in units of `base`; `field` is "tff" or "bff"."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1 / base)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = base
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        interlaced = {"flags": "+ildct+ilme"} if field else {}
        stream.options = {"preset": "veryfast", "crf": "4", "g": "12"} | interlaced | options
        graph = None
        for picture, stamp in zip(frames, stamps or range(len(frames)), strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = stamp, base
            if field:
                if graph is None:
                    graph = av.filter.Graph()
                    source = graph.add_buffer(template=frame)
                    told = graph.add("setfield", f"mode={field}")
                    graph.link_nodes(source, told, graph.add("buffersink"))
                    graph.configure()
                graph.push(frame)
                frame = graph.vpull()
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def ramp(path: Path, pixels: str, full: bool) -> Path:
    """All 256 greys from left to right, stored in full or in limited range."""
    levels = np.arange(256) if full else 16 + np.arange(256) * 219 / 255
    deep = pixels.endswith("10le")
    luma = np.rint(levels * 4 if deep else levels).astype("<u2" if deep else np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 256, 32, pixels
        stream.codec_context.color_range = FULL if full else LIMITED
        stream.options = {"crf": "1"}
        frame = av.VideoFrame(256, 32, pixels)
        for index, plane in enumerate(frame.planes):
            row = luma if index == 0 else np.full(plane.width, 512 if deep else 128, luma.dtype)
            padded = row.tobytes().ljust(plane.line_size, b"\0")
            plane.update(padded * plane.height)
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def turned(content: bytes, matrix: tuple[int, int, int, int]) -> bytes:
    """An mp4 of one track with a display matrix: 36 bytes, 44 after the box's name."""
    begin = content.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in matrix)
    written = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    return content[:begin] + written + content[begin + 36 :]


def spoil(path: Path, number: int, count: int = 100_000) -> Path:
    """A copy of a file with bytes of one frame inverted, but for the packet's first."""
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    begin = content.index(packets[number]) + min(40, len(packets[number]) // 2)
    end = content.index(packets[number]) + len(packets[number])
    for place in range(begin, min(end, begin + count)):
        content[place] ^= 0xFF
    other = path.with_name(f"spoilt {path.name}")
    other.write_bytes(content)
    return other


def key_frames(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    return [index for index, packet in enumerate(packets) if packet.is_keyframe]


def seen(path: Path) -> tuple[list[float], list[bool], list[Frames]]:
    """Times, damage and pictures."""
    found = [(f.seconds, f.damaged, f.picture()) for f in decoding.frames(path)]
    times, damaged, pictures = (list(column) for column in zip(*found, strict=True))
    return times, damaged, pictures


def psnr(first: Frames, second: Frames) -> float:
    assert first.shape == second.shape
    return float(-10 * np.log10(np.square((first.astype(float) - second) / 255).mean() + 1e-12))


@settings(max_examples=10)
@given(st.lists(st.integers(5, 400), min_size=1, max_size=12), st.sampled_from(["0", "3"]))
def test_each_frame_has_its_own_time(
    tmp_path_factory: pytest.TempPathFactory, gaps: list[int], backward: str
) -> None:
    stamps = np.cumsum([0, *gaps]).tolist()
    levels = [20 + 16 * index for index in range(len(stamps))]
    path = tmp_path_factory.getbasetemp() / "variable.mkv"
    film(path, flat(levels), stamps, Fraction(1, 1000), bf=backward)
    times, damaged, pictures = seen(path)
    assert times == pytest.approx([stamp / 1000 for stamp in stamps], abs=1.1e-3)
    assert [float(p.mean()) for p in pictures] == pytest.approx(levels, abs=3)
    assert not any(damaged)


@pytest.mark.parametrize("suffix", ["ts", "mkv", "mp4"])
def test_the_first_frame_is_at_zero_whenever_the_file_begins(tmp_path: Path, suffix: str) -> None:
    path = film(tmp_path / f"late.{suffix}", flat([40, 90, 140, 190]), [96, 97, 98, 100])
    with av.open(str(path)) as container:
        first = next(container.decode(video=0))
        assert first.time is not None
        assert suffix == "mp4" or first.time > 3, "the file begins at 0"
    times, _, pictures = seen(path)
    assert times == pytest.approx([0, 1 / 24, 2 / 24, 4 / 24], abs=1.1e-3)
    assert float(pictures[0].mean()) == pytest.approx(40, abs=3)


def test_avi_whose_times_jump_back_is_even(shared: Path) -> None:
    path = shared / "footage/real/test.avi"
    with av.open(str(path)) as container:
        stamps = [frame.pts for frame in container.decode(video=0) if frame.pts is not None]
    assert stamps != sorted(stamps)
    times, _, pictures = seen(path)
    assert times == pytest.approx(np.arange(164) * 0.04)
    # Frames out of order would go to and fro: the second next would be the nearer one.
    small = np.stack([cv2.resize(p, (32, 24)) for p in pictures]).astype(float)
    one, two = (np.abs(small[n:] - small[:-n]).mean((1, 2, 3)) for n in (1, 2))
    assert (one[:-1] <= two + 0.05).mean() > 0.95


@pytest.mark.parametrize(
    ("name", "count", "steps"),
    [
        ("damaged/dropped_12_frames.mp4", 88, {1, 13}),
        ("damaged/variable_rate.mp4", 66, {1, 2, 3}),
    ],
)
def test_frames_about_missing_ones_keep_their_time(
    shared: Path, name: str, count: int, steps: set[int]
) -> None:
    whole = {round(25 * frame.seconds): frame.picture((68, 160)) for frame in
             decoding.frames(shared / "footage/real/bikes.mp4") if frame.seconds < 4.2}  # fmt: skip
    found = [(25 * f.seconds, f.picture((68, 160))) for f in
             decoding.frames(shared / "footage" / name)]  # fmt: skip
    places = [place for place, _ in found]
    assert len(found) == count
    assert places == pytest.approx([round(place) for place in places], abs=1e-6)
    assert set(np.diff(np.rint(places)).astype(int)) == steps
    for place, picture in found:
        likeness = {p: psnr(picture, whole[p]) for p in range(round(place) - 1, round(place) + 2)
                    if p in whole}  # fmt: skip
        assert max(likeness, key=lambda p: likeness[p]) == round(place)


@pytest.mark.parametrize("name", ["pancake.mkv", "asl_bird.mkv"])
def test_a_file_without_a_frame_count_gives_all_its_frames(shared: Path, name: str) -> None:
    path = shared / "footage/real" / name
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 0
        packets = sum(packet.size > 0 for packet in container.demux(video=0))
    frames = list(decoding.frames(path))
    assert len(frames) == packets
    assert not any(frame.damaged for frame in frames)


def test_rotated_files_are_upright(shared: Path) -> None:
    real = shared / "footage/real"
    found = {t: next(decoding.frames(real / f"rotated_{t}.mov")) for t in (0, 90, 180, 270)}
    pictures = {t: f.picture((f.size[0] // 2, f.size[1] // 2), grey=True) for t, f in found.items()}
    # A key that three of them show, and one that the fourth shows too.
    keys = {(0, 270): pictures[90][250:272, 78:125], (180,): pictures[90][228:246, 134:160]}
    for turns, key in keys.items():
        for turn in turns:
            likeness = []
            for quarter in range(4):
                other = np.ascontiguousarray(np.rot90(pictures[turn], quarter))
                sizes = [cv2.resize(key, None, fx=f, fy=f) for f in np.linspace(0.7, 1.3, 9)]
                likeness.append(max(cv2.matchTemplate(other, k, cv2.TM_CCOEFF_NORMED).max()
                                 for k in sizes))  # fmt: skip
            assert likeness[0] > max(likeness[1:]) + 0.05, turn
    shapes = [(p.shape[0] < p.shape[1]) for p in pictures.values()]
    assert shapes == [True, False, True, False]


def disc(height: int, width: int, across: float) -> Frames:
    """A disc that is round where a pixel is `across` times as wide as it is high."""
    y, x = np.mgrid[:height, :width]
    inside = ((x - width / 2) * across) ** 2 + (y - height / 2) ** 2 < (height / 3) ** 2
    return np.repeat(np.where(inside, 230, 30).astype(np.uint8)[None, ..., None], 3, -1)


@pytest.mark.parametrize("matrix", [(1, 0, 0, 1), (0, 1, -1, 0)])
@pytest.mark.parametrize("aspect", [Fraction(2), Fraction(4, 3), Fraction(2, 3)])
def test_pixels_that_are_not_square_are_widened(
    tmp_path: Path, aspect: Fraction, matrix: tuple[int, int, int, int]
) -> None:
    path = film(tmp_path / "wide.mp4", disc(96, 96, float(aspect)), aspect=aspect)
    path.write_bytes(turned(path.read_bytes(), matrix))
    assert decoding.probe(path).aspect == pytest.approx(float(aspect))
    (frame,) = decoding.frames(path)
    size = (96, round(96 * aspect))
    assert frame.size == (size if matrix[0] else size[::-1])
    for picture in (frame.picture(), frame.picture(grey=True)):
        assert picture.shape[:2] == frame.size
        lit = picture.reshape(*frame.size, -1)[..., 0] > 128
        assert lit.any(0).sum() == pytest.approx(64, abs=2)
        assert lit.any(1).sum() == pytest.approx(64, abs=2)


def test_a_picture_is_scaled_to_what_is_asked(tmp_path: Path) -> None:
    frames = smooth(1, 96, 128)
    (frame,) = decoding.frames(film(tmp_path / "film.mp4", frames))
    for height, width in [(48, 64), (24, 96), (192, 256)]:
        expected = cv2.resize(frames[0], (width, height), interpolation=cv2.INTER_AREA)
        assert psnr(np.asarray(expected, np.uint8), frame.picture((height, width))) > 33


@pytest.mark.parametrize(
    ("full", "limited"), [("yuvj420p", "yuv420p"), ("yuv444p10le", "yuv420p10le")]
)
@pytest.mark.parametrize("size", [None, (16, 256)])
@pytest.mark.parametrize("grey", [False, True])
def test_full_and_limited_range_are_the_same_picture(
    tmp_path: Path, full: str, limited: str, size: tuple[int, int] | None, grey: bool
) -> None:
    pictures = []
    for name, pixels, is_full in (("full", full, True), ("limited", limited, False)):
        (frame,) = decoding.frames(ramp(tmp_path / f"{name}.mp4", pixels, is_full))
        picture = frame.picture(size, grey).astype(int)
        expected = np.arange(256).reshape(1, 256, *[1] * (picture.ndim - 2))
        assert np.abs(picture - expected).max() <= 3
        assert np.abs(picture - expected).mean() < 1
        pictures.append(picture)
    assert np.abs(pictures[0] - pictures[1]).max() <= 2


def one_colour(path: Path, height: int, width: int, space: int, pixels: str = "yuv420p") -> Frames:
    """The colour that is shown of Y, Cb, Cr = 100, 90, 180 in full range."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.codec_context.color_range, stream.codec_context.colorspace = FULL, space
        stream.options = {"crf": "1", "preset": "ultrafast"}
        frame = av.VideoFrame(width, height, pixels)
        for plane, level in zip(frame.planes, (100, 90, 180), strict=True):
            plane.update(bytes([level]) * plane.buffer_size)
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (shown,) = decoding.frames(path)
    assert shown.raw.colorspace == space
    return np.asarray(shown.picture()[height // 2, width // 2])


def of_space(red: float, blue: float) -> list[float]:
    """The colour of Y, Cb, Cr = 100, 90, 180 by the shares of red and blue in luma."""
    y, cb, cr = 100, 90 - 128, 180 - 128
    r, b = y + 2 * (1 - red) * cr, y + 2 * (1 - blue) * cb
    return [r, (y - red * r - blue * b) / (1 - red - blue), b]


BT601, BT709, BT2020 = (0.299, 0.114), (0.2126, 0.0722), (0.2627, 0.0593)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(576, 64, BT601), (480, 854, BT601), (720, 64, BT709), (64, 1280, BT709)],
)
def test_colours_of_no_named_space_go_by_the_size(
    tmp_path: Path, height: int, width: int, expected: tuple[float, float]
) -> None:
    shown = one_colour(tmp_path / "film.mp4", height, width, 2)
    assert np.abs(shown - np.array(of_space(*expected))).max() <= 3


@pytest.mark.parametrize(
    ("space", "expected"),
    [(1, BT709), (5, BT601), (6, BT601), (9, BT2020)],
)
@pytest.mark.parametrize("height", [64, 720])
def test_colours_of_a_named_space_do_not_go_by_the_size(
    tmp_path: Path, height: int, space: int, expected: tuple[float, float]
) -> None:
    shown = one_colour(tmp_path / "film.mp4", height, 64, space)
    assert np.abs(shown - np.array(of_space(*expected))).max() <= 3


@pytest.mark.parametrize("space", [8, 10, 11, 12, 13, 14])
def test_colours_of_a_space_that_nobody_knows_are_shown(tmp_path: Path, space: int) -> None:
    shown = one_colour(tmp_path / "film.mp4", 64, 64, space)
    assert np.abs(shown - np.array(of_space(*BT601))).max() <= 3


@pytest.mark.parametrize(
    "pixels", ["yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le"]
)
def test_deep_and_full_colour_sources(tmp_path: Path, pixels: str) -> None:
    frames = smooth(3)
    path = film(tmp_path / "film.mkv", frames, pixels=pixels)
    assert decoding.probe(path).pixels == pixels
    times, _, pictures = seen(path)
    assert times == pytest.approx(np.arange(3) / 24, abs=1.1e-3)
    for before, after in zip(frames, pictures, strict=True):
        assert after.dtype == np.uint8
        assert psnr(before, after) > 38


def test_full_colour_is_not_halved(tmp_path: Path) -> None:
    # Stripes of one column each, red and blue: 4:2:0 would make one colour of them.
    stripes = np.zeros((1, 32, 64, 3), np.uint8)
    stripes[:, :, ::2, 0] = stripes[:, :, 1::2, 2] = 200
    (frame,) = decoding.frames(film(tmp_path / "film.mkv", stripes, pixels="yuv444p", crf="1"))
    assert np.abs(frame.picture().astype(int) - stripes[0]).mean() < 4


def test_rgb_and_transparent_sources(tmp_path: Path) -> None:
    frames = smooth(2)
    for codec, pixels in (("libx264rgb", "rgb24"), ("qtrle", "argb"), ("ffv1", "bgr0")):
        path = tmp_path / f"{codec}.{'mov' if codec == 'qtrle' else 'mkv'}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=24)
            stream.height, stream.width, stream.pix_fmt = 48, 64, pixels
            stream.options = {"crf": "1"} if codec == "libx264rgb" else {}
            for picture in frames:
                made = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)
                container.mux(stream.encode(made))
            container.mux(stream.encode())
        for before, frame in zip(frames, decoding.frames(path), strict=True):
            assert psnr(before, frame.picture()) > 45
            luma = np.rint(before @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
            assert psnr(luma, frame.picture(grey=True)) > 40


def bars(count: int, field: str = "") -> Frames:
    """A bright bar that goes right by 6 columns a frame; interlaced, its later field by 3 more."""
    made = np.full((count, 64, 160, 3), 60, np.uint8)
    later = {"": None, "tff": 1, "bff": 0}[field]
    for index, picture in enumerate(made):
        for row in range(64):
            at = (6 * index + 3 * (row % 2 == later)) % 140
            picture[row, at : at + 12] = 220
    return made


def combing(picture: Frames) -> float:
    """Mean difference of rows from the mean of the two beside them."""
    rows = picture[2:-2].astype(float)
    return float(np.abs(2 * rows[1:-1] - rows[:-2] - rows[2:]).mean())


@pytest.mark.parametrize("field", ["tff", "bff"])
@pytest.mark.parametrize("suffix", ["mkv", "ts"])
def test_interlaced_footage_has_no_combs(tmp_path: Path, field: str, suffix: str) -> None:
    woven, whole = bars(20, field), bars(20)
    path = film(tmp_path / f"film.{suffix}", woven, field=field, bf="0")
    times, damaged, pictures = seen(path)
    assert times == pytest.approx(np.arange(20) / 24, abs=1.1e-3)
    assert not any(damaged)
    assert combing(woven[3]) > 10
    for index, (picture, expected) in enumerate(zip(pictures, whole, strict=True)):
        assert combing(picture) < (1 if index else 2)
        # The field that came first is what is shown at a frame's time.
        assert np.abs(picture.astype(int) - expected).mean() < 2


def test_an_interlaced_picture_alone_is_shown(tmp_path: Path) -> None:
    times, _, pictures = seen(film(tmp_path / "film.mkv", bars(1, "tff"), field="tff"))
    assert times == [0] and pictures[0].shape == (64, 160, 3)


def test_progressive_footage_is_not_touched(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mkv", bars(4, "tff"))
    for before, after in zip(bars(4, "tff"), seen(path)[2], strict=True):
        assert np.abs(after.astype(int) - before).mean() < 2


def test_interlaced_footage_may_change_its_size(tmp_path: Path) -> None:
    pieces = [film(tmp_path / "a.ts", bars(12, "tff"), field="tff", bf="0"),
              film(tmp_path / "b.ts", bars(12, "tff")[:, :48, :144], range(12, 24), field="tff",
                   bf="0")]  # fmt: skip
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    times, _, pictures = seen(path)
    assert [p.shape[:2] for p in pictures] == [(64, 160)] * 12 + [(48, 144)] * 12
    assert times == pytest.approx(np.arange(24) / 24, abs=1e-3)
    assert np.abs(pictures[20].astype(int) - bars(9)[8, :48, :144]).mean() < 2


@pytest.mark.parametrize("field", ["", "tff"])
@pytest.mark.parametrize("number", [3, 8, 14])
def test_frames_from_damage_to_the_next_key_frame_are_marked(
    tmp_path: Path, field: str, number: int
) -> None:
    # Without arithmetic coding, whose damage a decoder may not notice.
    settings = {"bf": "0", "x264-params": "scenecut=0:cabac=0"}
    frames = smooth(30, 96, 128) // 2 + np.random.default_rng(0).integers(0, 60, (30, 96, 128, 3))
    path = film(tmp_path / "film.mkv", frames.astype(np.uint8), field=field, crf="20", **settings)
    keys = key_frames(path)
    assert keys == [0, 12, 24]
    intact = dict(zip(*(seen(path)[i] for i in (0, 2)), strict=True))
    times, damaged, pictures = seen(spoil(path, number))
    until = next((key for key in keys if key > number), 30)
    for time, bad, picture in zip(times, damaged, pictures, strict=True):
        assert bad == (number <= round(24 * time) < until)
        # Deinterlacing looks one frame ahead and back.
        near = field and round(24 * time) in (number - 1, until)
        if not bad:
            assert np.abs(picture.astype(int) - intact[time]).mean() < (8 if near else 0.01)
    assert {round(24 * t) for t in times} >= {*range(number), *range(until, 30)}


def doubted(path: Path) -> list[int]:
    """Places of frames of which the decoder itself says that they are corrupt."""
    found = []
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "NONE"
        for packet in container.demux(video=0):
            with contextlib.suppress(av.error.InvalidDataError):
                found += [round(24 * f.time) for f in packet.decode() if f.is_corrupt and f.time]
    return found


def test_no_frame_after_a_marked_one_is_trusted_before_a_key_frame(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    frames = (smooth(30, 96, 128) // 2 + draw.integers(0, 60, (30, 96, 128, 3))).astype(np.uint8)
    path = film(tmp_path / "film.mkv", frames, crf="20", bf="0", **{"x264-params": "scenecut=0"})
    intact = dict(zip(*(seen(path)[i] for i in (0, 2)), strict=True))
    doubts = 0
    for number, count in itertools.product((2, 14, 17), (30, 100, 300)):
        other = spoil(path, number, count)
        times, damaged, pictures = seen(other)
        bad = [round(24 * time) for time, one in zip(times, damaged, strict=True) if one]
        given = [round(24 * time) for time in times]
        doubts += len(doubted(other))
        assert {n for n in doubted(other) if n in given} <= set(bad)
        if bad:
            until = 12 * (bad[0] // 12 + 1)
            assert bad == [n for n in given if bad[0] <= n < until]
            for time, picture in zip(times, pictures, strict=True):
                if time < (number - 0.5) / 24 or time > (until - 0.5) / 24:
                    assert np.array_equal(picture, intact[time])
    assert doubts > 0


def test_what_is_not_marked_in_rotten_footage_is_as_it_was(shared: Path) -> None:
    intact = {round(1000 * frame.seconds): frame.picture((120, 213)) for frame in
              decoding.frames(shared / "footage/real/pancake.mkv")}  # fmt: skip
    found = list(decoding.frames(shared / "footage/damaged/bit_rot.mkv"))
    apart = [np.abs(frame.picture((120, 213)).astype(int)
             - intact[round(1000 * frame.seconds)]).mean() for frame in found]  # fmt: skip
    damaged = [frame.damaged for frame in found]
    assert any(damaged) and not all(damaged)
    assert max(far for far, bad in zip(apart, damaged, strict=True) if not bad) < 3
    assert max(far for far, bad in zip(apart, damaged, strict=True) if bad) > 10


def test_a_real_file_that_does_not_decode_cleanly(shared: Path) -> None:
    found = list(decoding.frames(shared / "footage/real/corrupted.mp4"))
    damaged = [frame.damaged for frame in found]
    assert any(damaged) and not damaged[0]
    times = [frame.seconds for frame in found]
    assert all(second > first for first, second in itertools.pairwise(times))


@pytest.mark.parametrize("part", [0.3, 0.75])
def test_a_file_that_breaks_off_just_ends(shared: Path, tmp_path: Path, part: float) -> None:
    whole = shared / "footage/real/asl_bird.mkv"
    content = whole.read_bytes()
    (tmp_path / "part.mkv").write_bytes(content[: round(part * len(content))])
    earlier = list(
        zip(decoding.frames(tmp_path / "part.mkv"), decoding.frames(whole), strict=False)
    )
    assert 0.5 * part < len(earlier) / sum(1 for _ in decoding.frames(whole)) < 1
    for broken, intact in earlier:
        assert broken.seconds == intact.seconds
        if not broken.damaged:
            assert np.array_equal(broken.picture(), intact.picture())
    assert sum(not broken.damaged for broken, _ in earlier) > 5


def test_real_footage_that_breaks_off_just_ends(shared: Path) -> None:
    whole = decoding.frames(shared / "footage/real/pancake.mkv")
    broken = list(decoding.frames(shared / "footage/damaged/truncated.mkv"))
    assert 100 < len(broken) < 310
    for first, second in zip(broken[:-1], whole, strict=False):
        assert first.seconds == second.seconds and not first.damaged
        assert np.array_equal(first.picture((60, 106)), second.picture((60, 106)))


def sound(suffix: str) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=suffix) as container:
        stream = container.add_stream("aac", rate=44100)
        stream.codec_context.layout = "mono"
        for index in range(20):
            made = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            made.sample_rate, made.pts = 44100, 1024 * index
            container.mux(stream.encode(made))
        container.mux(stream.encode())
    return buffer.getvalue()


def with_cover(content: bytes, cover: Frames) -> bytes:
    """Sound with an ID3 tag (version 2.3) before it, which holds a front cover."""
    picture = b"\0image/png\0\x03\0" + png(cover)
    field = b"APIC" + struct.pack(">IH", len(picture), 0) + picture
    size = bytes(len(field) >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + size + field + content


def test_the_cover_of_a_sound_file_is_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "song.aac"
    path.write_bytes(with_cover(sound("adts"), smooth(1)[0]))
    with av.open(str(path)) as container:
        assert container.streams.audio and container.streams.video
    for read in (decoding.probe, lambda path: list(decoding.frames(path))):
        with pytest.raises(DataError, match="no picture") as caught:
            read(path)
        assert str(path) in caught.value.message and caught.value.hint
    with pytest.raises(DataError, match="no picture"):
        decoding.sample(path, 4, lambda frame: None)


def test_the_cover_of_a_film_is_not_the_film(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        cover, stream = container.add_stream("png"), container.add_stream("libx264", rate=24)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "rgb24"
        cover.disposition = Disposition.attached_pic
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        picture = av.VideoFrame.from_ndarray(smooth(1)[0], format="rgb24")
        container.mux([*cover.encode(picture), *cover.encode()])
        for level in (50, 100, 150):
            grey = np.full((32, 48, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 2
    assert (decoding.probe(path).width, decoding.probe(path).codec) == (48, "h264")
    assert [p.shape for p in seen(path)[2]] == [(32, 48, 3)] * 3


def test_a_header_that_lies_is_refused_before_any_picture_is_made(tmp_path: Path) -> None:
    path = tmp_path / "huge.y4m"
    path.write_bytes(b"YUV4MPEG2 W16000 H12000 F25:1 C420jpeg\nFRAME\n" + bytes(1000))

    def never(frame: Frame) -> None:
        raise AssertionError

    with pytest.raises(DataError, match="16000 x 12000"):
        next(decoding.frames(path))
    with pytest.raises(DataError, match="16000 x 12000"):
        decoding.sample(path, 4, never)


@pytest.mark.parametrize("content", [b"", b"hello\n", bytes(5000), b"\0\0\0\x18ftypmp42" * 50])
def test_what_is_no_film_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    for read in (decoding.probe, lambda path: next(decoding.frames(path))):
        with pytest.raises(DataError) as caught:
            read(path)
        assert str(path) in caught.value.message and caught.value.hint


def test_a_name_that_is_no_text_can_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "caf\udce9.mp4"
    film(tmp_path / "film.mp4", flat([50, 100])).rename(path)
    assert decoding.probe(path).width == 48
    assert [frame.seconds for frame in decoding.frames(path)] == pytest.approx([0, 1 / 24])


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi"])
@pytest.mark.parametrize("start", [0, 240])
def test_a_sample_is_spread_over_the_file(tmp_path: Path, suffix: str, start: int) -> None:
    levels = [40 + index for index in range(192)]
    stamps = range(start, start + 192) if suffix != "avi" else range(192)
    path = film(tmp_path / f"film.{suffix}", flat(levels), stamps, bf="0")
    found: list[Frame] = []
    decoding.sample(path, 8, found.append)
    places = [float(frame.picture().mean()) - 40 for frame in found]
    assert [24 * frame.seconds for frame in found] == pytest.approx(places, abs=2)
    if (suffix, start) == ("mkv", 240):  # its length counts from before its first frame
        assert len(found) >= 5 and places[-1] > 150 and max(np.diff(places)) < 60
    else:
        assert places == pytest.approx(np.arange(8) * 24, abs=13)
    found.clear()
    decoding.sample(path, 1, found.append)
    assert float(found[0].picture().mean()) == pytest.approx(40, abs=2)


def test_a_sample_of_a_damaged_file_is_what_can_be_had(shared: Path) -> None:
    for name in ("real/corrupted.mp4", "damaged/bit_rot.mkv", "damaged/truncated.mkv"):
        found: list[Frame] = []
        decoding.sample(shared / "footage" / name, 8, found.append)
        assert 1 <= len(found) <= 8


def test_a_probe_says_what_a_file_says(shared: Path) -> None:
    real = shared / "footage/real"
    cockatoo, carphone = (decoding.probe(real / f"{n}.mp4") for n in ("cockatoo", "carphone"))
    assert (cockatoo.width, cockatoo.height, cockatoo.pixels) == (1280, 720, "yuv444p")
    assert cockatoo.fps == pytest.approx(20)
    assert carphone.fps == pytest.approx(30000 / 1001)
    assert (carphone.width, carphone.height) == (176, 144)
    assert decoding.probe(real / "av1.mkv").codec in ("libdav1d", "av1", "libaom-av1")
    assert decoding.probe(real / "h265.mp4").codec == "hevc"
    assert decoding.probe(real / "asl_book.mkv").pixels == "yuvj420p"
