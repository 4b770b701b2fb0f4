from __future__ import annotations

import io
import itertools
import struct
import weakref
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from muybridge.core.clips import to_float
from muybridge.core.errors import DataError, MuybridgeError
from muybridge.core.video import (
    Frames,
    at_rate,
    contact_sheet,
    decode,
    encode,
    png,
    probe,
    read_video,
    tile,
    to_uint8,
    write_video,
)

# a, b, c, d of a display matrix: the picture's point (x, y) is shown at (a x + c y, b x + d y).
MATRICES = {
    "as it is": (1, 0, 0, 1),
    "clockwise": (0, 1, -1, 0),
    "upside down": (-1, 0, 0, -1),
    "counter-clockwise": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
    "mirrored and upside down": (1, 0, 0, -1),
    "mirrored and clockwise": (0, -1, -1, 0),
    "mirrored and counter-clockwise": (0, 1, 1, 0),
}


def smooth(time: int = 6, height: int = 48, width: int = 64) -> Frames:
    """A gradient that drifts, without symmetry."""
    t, y, x = np.meshgrid(np.arange(time), np.arange(height), np.arange(width), indexing="ij")
    waves = [np.sin(x / 17 + t / 5), np.sin(y / 13 + x / 40 + t / 7), np.cos((x - y) / 29 - t / 9)]
    return np.stack([127.5 + 100 * wave for wave in waves], -1).round().astype(np.uint8)


def psnr(first: Frames, second: Frames) -> float:
    assert first.shape == second.shape
    return float(-10 * np.log10(np.square((first.astype(float) - second) / 255).mean() + 1e-12))


def displayed(picture: Frames, matrix: tuple[int, int, int, int]) -> Frames:
    """A picture as the QuickTime file format says that a display matrix shows it."""
    a, b, c, d = matrix
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    across, down = a * x + c * y, b * x + d * y
    across, down = across - across.min(), down - down.min()
    shown = np.zeros((down.max() + 1, across.max() + 1, 3), np.uint8)
    shown[down, across] = picture
    return shown


def raw_frames(path: Path) -> list[Frames]:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return [np.asarray(frame, np.uint8) for frame in frames]


def planes(
    levels: tuple[int, int, int], pixels: str, full: bool, space: int, size: int = 32
) -> bytes:
    """A video of one colour, given by its levels of Y, Cb and Cr."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width = stream.height = size
        stream.pix_fmt = pixels
        stream.codec_context.color_range = 2 if full else 1
        stream.codec_context.colorspace = space
        stream.options = {"crf": "1"}
        frame = av.VideoFrame(size, size, pixels)
        for plane, level in zip(frame.planes, levels, strict=True):
            plane.update(bytes([level]) * plane.buffer_size)
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


@pytest.mark.parametrize("fps", [8, 12.5, 24, 30000 / 1001, 60])
def test_frames_and_their_times_come_back(tmp_path: Path, fps: float) -> None:
    frames = smooth(9)
    (tmp_path / "clip.mp4").write_bytes(encode(frames, fps))
    decoded, times = read_video(tmp_path / "clip.mp4")
    assert decoded.dtype == np.uint8
    assert [psnr(*pair) > 30 for pair in zip(frames, decoded, strict=True)] == [True] * 9
    assert times == pytest.approx(np.arange(9) / fps, abs=1e-4)
    facts = probe(tmp_path / "clip.mp4")
    assert (facts.width, facts.height, facts.sound) == (64, 48, False)
    assert facts.fps == pytest.approx(fps, rel=1e-4)
    assert facts.seconds == pytest.approx(9 / fps, abs=1e-3)


def test_a_lower_quality_is_smaller_and_worse(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    made = [encode(frames, 8, quality) for quality in (1, 23, 45)]
    assert len(made[0]) > len(made[1]) > len(made[2])
    errors = []
    for content in made:
        (tmp_path / "clip.mp4").write_bytes(content)
        errors.append(psnr(frames, read_video(tmp_path / "clip.mp4")[0]))
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("size", [(64, 64), (48, 64), (32, 32), (33, 37)])
def test_the_same_frames_give_the_same_bytes(size: tuple[int, int]) -> None:
    frames, made, litter = smooth(16, *size), set(), []
    for repeat in range(20):
        # What memory held before must not matter.
        made.add(encode(frames, 24))
        litter.append(np.full(10_000 * (repeat + 1), repeat % 251, np.uint8))
    assert len(made) == 1
    assert encode(frames[::-1], 24) not in made


@pytest.mark.parametrize("size", [(33, 48), (32, 47), (31, 31), (2, 1), (1, 2)])
def test_odd_sizes_are_padded_with_their_edge(tmp_path: Path, size: tuple[int, int]) -> None:
    height, width = size
    frames = smooth(3, height, width)
    (tmp_path / "clip.mp4").write_bytes(encode(frames, 8, quality=4))
    decoded = read_video(tmp_path / "clip.mp4")[0]
    assert decoded.shape == (3, height + height % 2, width + width % 2, 3)
    assert psnr(frames, decoded[:, :height, :width]) > 30
    padded = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), "edge")
    assert psnr(padded, decoded) > 30


def test_a_comment_is_kept(tmp_path: Path) -> None:
    write_video(smooth(), tmp_path / "clip.mp4", comment="synthetic: made by a test")
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert container.metadata["comment"] == "synthetic: made by a test"


def marked(count: int) -> list[Frames]:
    """Pictures that say which they are."""
    return [np.full((1, 1, 3), index, np.uint8) for index in range(count)]


def nearest_in_time(times: list[float], fps: float) -> list[set[int]]:
    """For each moment the frames nearest to it, until half a gap after the last."""
    gap = times[-1] - times[-2] if len(times) > 1 else 1 / fps
    found: list[set[int]] = []
    for count in itertools.count():
        moment = count / fps
        if moment >= times[-1] + gap / 2 - 1e-9:
            return found
        away = [abs(moment - time) for time in times]
        found.append({index for index, far in enumerate(away) if far <= min(away) + 1e-9})
    raise AssertionError


@given(
    st.lists(st.integers(1, 40), max_size=40)
    | st.builds(lambda gap, n: [gap] * n, st.integers(1, 9), st.integers(0, 80)),
    st.sampled_from([0.5, 1, 7, 8, 12.5, 24000 / 1001, 24, 25, 30000 / 1001, 30, 60, 64, 128, 500]),
)
def test_a_rate_takes_the_frame_nearest_in_time(gaps: list[int], fps: float) -> None:
    times = [float(Fraction(sum(gaps[:n]), 64)) for n in range(len(gaps) + 1)]
    made = list(at_rate(zip(times, marked(len(times)), strict=True), fps))
    expected = nearest_in_time(times, fps)
    assert len(made) == len(expected)
    for (seconds, picture), nearest in zip(made, expected, strict=True):
        assert int(picture[0, 0, 0]) in nearest
        assert seconds == times[int(picture[0, 0, 0])]


@given(
    st.integers(1, 200),
    st.sampled_from([1, 7.5, 8, 24000 / 1001, 25, 30000 / 1001, 50, 59.94, 240]),
)
def test_its_own_rate_gives_each_frame_once(count: int, fps: float) -> None:
    frames = [(index / fps, picture) for index, picture in enumerate(marked(count))]
    made = list(at_rate(frames, fps))
    assert [int(picture[0, 0, 0]) for _, picture in made] == list(range(count))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 60))
def test_a_rate_keeps_the_length(fps: int, source: int, count: int) -> None:
    made = list(at_rate([(n / source, p) for n, p in enumerate(marked(count))], fps))
    if count > 1:
        # Moments from 0 until half a frame after the last one's time.
        assert abs(len(made) / fps - (count - 0.5) / source) <= 1 / fps
    else:
        assert len(made) == 1


def test_no_frames_stay_none() -> None:
    assert list(at_rate([], 8)) == []


@pytest.mark.parametrize("fps", [3, 8, 60])
def test_a_rate_holds_no_more_than_two_frames(fps: float) -> None:
    born: list[weakref.ref[Frames]] = []

    def alive() -> int:
        return sum(one() is not None for one in born)

    def source() -> Iterator[tuple[float, Frames]]:
        for index in range(60):
            picture = np.full((4, 4, 3), index, np.uint8)
            born.append(weakref.ref(picture))
            assert alive() <= 2
            yield index / 24, picture

    for pair in at_rate(source(), fps):
        del pair
        assert alive() <= 2
    assert len(born) == 60


@pytest.mark.parametrize(
    ("name", "fps"), [("damaged/variable_rate.mp4", 8), ("damaged/dropped_12_frames.mp4", 24)]
)
def test_real_footage_of_variable_rate_is_taken_by_time(
    shared: Path, name: str, fps: float
) -> None:
    path = shared / "footage" / name
    _, own = read_video(path)
    _, taken = read_video(path, fps)
    assert len({round(gap, 4) for gap in np.diff(own)}) > 1, "the footage is of constant rate"
    expected = nearest_in_time(own.tolist(), fps)
    assert len(taken) == len(expected)
    for time, nearest in zip(taken, expected, strict=True):
        assert time in {own[index] for index in nearest}


@pytest.mark.parametrize("how", MATRICES)
def test_the_display_matrix_is_applied(tmp_path: Path, how: str) -> None:
    frames, matrix = smooth(3, 48, 80), MATRICES[how]
    content = encode(frames, 8, quality=4)
    # The matrix is 36 bytes, 40 after the name and version of the track's header.
    begin = content.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in matrix)
    written = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    (tmp_path / "clip.mp4").write_bytes(content[:begin] + written + content[begin + 36 :])
    decoded = read_video(tmp_path / "clip.mp4")[0]
    assert decoded.flags.c_contiguous
    for frame, shown in zip(frames, decoded, strict=True):
        expected = displayed(frame, matrix)
        assert shown.shape == expected.shape
        assert psnr(expected, shown) > 30


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_real_phone_is_held_upright(shared: Path, turn: int) -> None:
    path = shared / f"footage/real/rotated_{turn}.mov"
    content, matrix = path.read_bytes(), None
    for begin in range(len(content)):
        begin = content.find(b"tkhd", begin)
        values = struct.unpack(">9i", content[begin + 44 : begin + 80])
        if struct.unpack(">I", content[begin + 80 : begin + 84])[0]:  # a width: it is the picture's
            matrix = tuple(values[place] >> 16 for place in (0, 1, 3, 4))
            break
    a, b, c, d = matrix or (0, 0, 0, 0)
    assert (a, b, c, d) == list(MATRICES.values())[turn // 90]
    raw, decoded = raw_frames(path), [picture for _, picture in decode(path)]
    assert len(raw) == len(decoded) == 3
    for before, shown in zip(raw, decoded, strict=True):
        # Our colours are rounded with more care than FFmpeg's quickest way: by 2 levels at most.
        expected = displayed(before, (a, b, c, d)).astype(int)
        assert np.abs(expected - shown).max() <= 2


@pytest.mark.parametrize("pixels", ["yuv420p", "yuvj420p"])
@pytest.mark.parametrize("level", [0, 16, 128, 235, 255])
def test_full_range_is_not_stretched(tmp_path: Path, pixels: str, level: int) -> None:
    (tmp_path / "clip.mp4").write_bytes(planes((level, 128, 128), pixels, full=True, space=2))
    grey = read_video(tmp_path / "clip.mp4")[0]
    assert np.abs(grey.astype(int) - level).max() <= 2


@pytest.mark.parametrize(("level", "grey"), [(16, 0), (126, 128), (235, 255)])
def test_ordinary_range_is_stretched(tmp_path: Path, level: int, grey: int) -> None:
    (tmp_path / "clip.mp4").write_bytes(planes((level, 128, 128), "yuv420p", full=False, space=2))
    decoded = read_video(tmp_path / "clip.mp4")[0]
    assert np.abs(decoded.astype(int) - grey).max() <= 2


@pytest.mark.parametrize(("space", "red", "blue"), [(1, 0.2126, 0.0722), (6, 0.299, 0.114)])
def test_colours_follow_the_space_that_the_file_names(
    tmp_path: Path, space: int, red: float, blue: float
) -> None:
    levels = (100, 90, 180)
    (tmp_path / "clip.mp4").write_bytes(planes(levels, "yuv420p", full=True, space=space))
    y, cb, cr = levels[0], levels[1] - 128, levels[2] - 128
    r, b = y + 2 * (1 - red) * cr, y + 2 * (1 - blue) * cb
    expected = [r, (y - red * r - blue * b) / (1 - red - blue), b]
    shown = read_video(tmp_path / "clip.mp4")[0][0, 16, 16]
    assert np.abs(shown - np.array(expected)).max() <= 3


def test_real_full_range_footage(shared: Path) -> None:
    path = shared / "footage/real/asl_book.mkv"
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    luma, cb, cr = (
        np.frombuffer(bytes(plane), np.uint8)
        .reshape(plane.height, -1)[:, : plane.width]
        .astype(float)
        for plane in frame.planes
    )
    cb, cr = (chroma.repeat(2, 0).repeat(2, 1) - 128 for chroma in (cb, cr))
    green = luma - 0.344136 * cb - 0.714136 * cr
    expected = np.stack([luma + 1.402 * cr, green, luma + 1.772 * cb], -1).clip(0, 255)
    shown = next(decode(path))[1]
    assert np.abs(shown - expected).mean() < 1.5


def test_frames_come_in_the_order_they_are_shown(tmp_path: Path) -> None:
    levels = np.random.default_rng(3).permutation(24) * 10
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "4", "bf": "3", "x264-params": "b-adapt=0:scenecut=0"}
        for level in levels:
            picture = np.full((32, 32, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    path = tmp_path / "clip.mp4"
    path.write_bytes(buffer.getvalue())
    with av.open(str(path)) as container:
        stamps = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert stamps != sorted(stamps), "no packet is out of order"
    frames, times = read_video(path)
    assert frames.mean((1, 2, 3)) == pytest.approx(levels, abs=4)
    assert times == pytest.approx(np.arange(24) / 24, abs=1e-4)


def test_real_footage_with_packets_out_of_order(shared: Path) -> None:
    path = shared / "footage/real/unordered.mov"
    with av.open(str(path)) as container:
        unit = container.streams.video[0].time_base
        assert unit is not None
        stamps = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert stamps != sorted(stamps)
    frames, times = read_video(path)
    assert times.tolist() == [float((stamp - min(stamps)) * unit) for stamp in sorted(stamps)]
    assert len(frames) == 4


@pytest.mark.parametrize("name", ["empty.mp4", "text_named.mp4", "audio_only.mp4", "truncated.mp4"])
def test_files_without_a_picture_are_named(shared: Path, name: str) -> None:
    path = shared / "footage/damaged" / name
    for read in (probe, read_video):
        with pytest.raises(DataError) as caught:
            read(path)
        assert str(path) in caught.value.message
        assert caught.value.hint


def test_what_is_wrong_with_a_file_is_said(shared: Path, tmp_path: Path) -> None:
    damaged = shared / "footage/damaged"
    with pytest.raises(DataError, match="0 bytes"):
        read_video(damaged / "empty.mp4")
    with pytest.raises(DataError, match="no picture"):
        read_video(damaged / "audio_only.mp4")
    with pytest.raises(DataError, match="cannot be opened"):
        read_video(tmp_path / "absent.mp4")
    with pytest.raises(DataError, match="cannot be opened"):
        read_video(tmp_path)


def test_footage_that_is_damaged_is_named_with_the_moment(shared: Path) -> None:
    path = shared / "footage/real/corrupted.mp4"
    times: list[float] = []
    with pytest.raises(DataError) as caught:
        times.extend(seconds for seconds, _ in decode(path))
    assert times == sorted(times) and len(times) > 1
    # The file says 10 frames a second: the next one after the last whole one is the damaged one.
    assert f"{path} is damaged after {times[-1] + 0.1:.2f} s" in caught.value.message


def test_every_level_survives_being_a_float() -> None:
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    floats = torch.from_numpy(to_float(levels))
    assert floats.shape == (1, 3, 16, 16)
    assert (float(floats.min()), float(floats.max())) == (-1, 1)
    assert np.array_equal(to_uint8(floats), levels)
    assert np.array_equal(to_uint8(floats.numpy()), levels)
    assert to_uint8(levels) is levels
    assert to_uint8(torch.full((1, 3, 1, 1), 7.0)).item(0) == 255
    assert to_uint8(torch.full((1, 3, 1, 1), -7.0)).item(0) == 0


def test_writing_mp4(tmp_path: Path) -> None:
    frames = smooth()
    write_video(torch.from_numpy(to_float(frames)), tmp_path / "new" / "clip.mp4", fps=12)
    decoded, times = read_video(tmp_path / "new" / "clip.mp4")
    assert psnr(frames, decoded) > 30
    assert times[1] == pytest.approx(1 / 12)


def test_writing_gif(tmp_path: Path) -> None:
    frames = np.zeros((5, 16, 24, 3), np.uint8)
    for index, frame in enumerate(frames):
        frame[:, 4 * index : 4 * index + 4] = (255, 0, 0)
    write_video(frames, tmp_path / "clip.gif", fps=10)
    content = (tmp_path / "clip.gif").read_bytes()
    assert content[:6] in (b"GIF87a", b"GIF89a")
    decoded, times = read_video(tmp_path / "clip.gif")
    assert np.array_equal(decoded > 127, frames > 127)
    assert times == pytest.approx(np.arange(5) / 10, abs=0.011)


def test_writing_png(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3), np.uint8)
    write_video(frames, tmp_path / "clip")
    names = sorted(path.name for path in (tmp_path / "clip").iterdir())
    assert names == ["00000.png", "00001.png", "00002.png"]
    for name, frame in zip(names, frames, strict=True):
        shown = cv2.imread(str(tmp_path / "clip" / name), cv2.IMREAD_COLOR)
        assert shown is not None
        assert np.array_equal(shown[..., ::-1], frame)


def test_writing_a_batch_puts_clips_side_by_side(tmp_path: Path) -> None:
    clips = [smooth()[..., list(order)] for order in itertools.permutations(range(3))]
    write_video(np.stack(clips), tmp_path / "wall.mp4")
    decoded = read_video(tmp_path / "wall.mp4")[0]
    wall = tile(clips)
    assert decoded.shape[1:3] == (2 * 48 + 2, 3 * 64 + 4)
    assert psnr(decoded, wall) > 25


@pytest.mark.parametrize("name", ["clip.webm", "clip.mp5", "clip.png"])
def test_a_wrong_suffix_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(MuybridgeError) as caught:
        write_video(smooth(), tmp_path / name)
    assert name in caught.value.message
    assert ".mp4" in str(caught.value) and ".gif" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@given(st.integers(1, 10), st.none() | st.integers(1, 5), st.integers(0, 3))
def test_tiles_lie_in_rows_on_white(count: int, columns: int | None, gap: int) -> None:
    clips = [np.full((2, 3, 5, 3), index, np.uint8) for index in range(count)]
    wall = tile(clips, columns, gap)
    across = columns or next(n for n in range(1, 5) if n * n >= count)
    rows = (count + across - 1) // across
    assert wall.shape == (2, rows * 3 + (rows - 1) * gap, across * 5 + (across - 1) * gap, 3)
    white = np.ones(wall.shape, bool)
    for index in range(count):
        row, column = divmod(index, across)
        top, left = row * (3 + gap), column * (5 + gap)
        place = np.s_[:, top : top + 3, left : left + 5]
        assert (wall[place] == index).all()
        white[place] = False
    assert (wall[white] == 255).all()


def test_a_contact_sheet_has_a_row_a_clip(tmp_path: Path) -> None:
    # Clip c shows 100 c + its frame's number.
    clips = [
        np.stack([np.full((6, 10, 3), 100 * c + t, np.uint8) for t in range(n)])
        for c, n in enumerate((15, 3))
    ]
    sheet = contact_sheet(clips[:1] * 2, frames=8)
    assert sheet.shape == (2 * (6 + 3), 8 * 12 - 2, 3)
    shown = sheet[0, ::12, 0].tolist()
    assert shown == sorted(shown) and (shown[0], shown[-1], len(set(shown))) == (0, 14, 8)
    assert (sheet[6:9] == 255).all()
    short = contact_sheet(clips[1:], frames=8)
    assert short[0, ::12, 0].tolist() == [100, 101, 102]


def test_a_contact_sheet_writes_captions_beneath(tmp_path: Path) -> None:
    clips = [np.full((4, 20, 40, 3), level, np.uint8) for level in (10, 20)]
    plain = contact_sheet(clips, frames=2, scale=3)
    sheet = contact_sheet(clips, ["a ball — 例"], frames=2, scale=3)
    height = 20 * 3
    assert sheet.shape[1] == 3 * (2 * 40 + 2)
    assert sheet.shape[0] == plain.shape[0] + 11
    assert (sheet[:height] == plain[:height]).all()
    label = sheet[height : height + 14]
    assert label.min() < 100 and (label[:, 120:] == 255).all()
    assert (sheet[height + 14 : 2 * height + 14, :120] == 20).all()
    (tmp_path / "sheet.png").write_bytes(png(sheet))
    read = cv2.imread(str(tmp_path / "sheet.png"))
    assert read is not None
    assert np.array_equal(read[..., ::-1], sheet)
