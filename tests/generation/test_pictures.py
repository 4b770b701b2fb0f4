"""Pictures of any size, turn and kind."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from muybridge.core import video
from muybridge.core.errors import DataError
from muybridge.core.video import Frames
from muybridge.generation import pictures

SIZE = (32, 48)


def gradient(height: int, width: int) -> Frames:
    """Red grows to the right, green downwards."""
    made = np.zeros((height, width, 3), np.uint8)
    made[..., 0] = np.linspace(0, 255, width)
    made[..., 1] = np.linspace(0, 255, height)[:, None]
    return made


def write(path: Path, picture: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), picture)
    return path


def bgr(picture: Frames) -> Frames:
    return picture[..., ::-1].copy()


@pytest.mark.parametrize("shape", [(32, 48), (64, 96), (200, 300), (20, 30), (300, 100), (8, 900)])
def test_any_size_covers_the_runs(shape: tuple[int, int], tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", bgr(gradient(*shape)))
    made, done = pictures.picture(path, SIZE, "--image")
    assert made.shape == (*SIZE, 3)
    assert bool(done) == (shape != SIZE)
    # The middle stays the middle, whatever is cut.
    assert abs(float(made[..., 0].mean()) - 127) < 4 and abs(float(made[..., 1].mean()) - 127) < 4
    if shape[0] * 3 != shape[1] * 2:
        assert any("cut to its middle 48x32" in what for what in done)


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_picture_is_turned_as_its_exif_says(turn: int, tmp_path: Path) -> None:
    upright = gradient(64, 96)
    stored = {
        1: lambda p: p, 2: lambda p: p[:, ::-1], 3: lambda p: p[::-1, ::-1], 4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2), 6: lambda p: np.rot90(p, 1),
        7: lambda p: p[::-1, ::-1].transpose(1, 0, 2), 8: lambda p: np.rot90(p, -1),
    }[turn](upright)  # fmt: skip
    done, data = cv2.imencode(".jpg", bgr(np.ascontiguousarray(stored)))
    assert done
    tag = b"\x01\x12\x00\x03\x00\x00\x00\x01" + turn.to_bytes(2) + b"\x00\x00"
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + tag + b"\0\0\0\0"
    whole = data.tobytes()
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2) + exif
    (tmp_path / "a.jpg").write_bytes(whole[:2] + segment + whole[2:])
    made, what = pictures.picture(tmp_path / "a.jpg", SIZE, "--image")
    expected, _ = pictures.fitted(upright, SIZE)
    assert float(np.abs(made.astype(int) - expected).mean()) < 4
    assert any("EXIF" in one for one in what) == (turn != 1)


def test_what_is_see_through_is_put_on_white(tmp_path: Path) -> None:
    picture = np.zeros((32, 48, 4), np.uint8)
    picture[:, :24] = (0, 0, 200, 255)
    picture[:, 36:] = (0, 0, 200, 128)
    made, what = pictures.picture(write(tmp_path / "a.png", picture), SIZE, "--image")
    assert made[5, 5].tolist() == [200, 0, 0]
    assert made[5, 30].tolist() == [255, 255, 255]
    assert made[5, 40].tolist() == [227, 127, 127]
    assert any("white" in one for one in what)


def test_grey_and_deep_pictures(tmp_path: Path) -> None:
    grey = np.full((32, 48), 77, np.uint8)
    made, what = pictures.picture(write(tmp_path / "a.png", grey), SIZE, "--image")
    assert np.unique(made).tolist() == [77] and "grey" in what[0]
    deep = np.full((32, 48, 3), 77 * 257, np.uint16)
    made, what = pictures.picture(write(tmp_path / "b.png", deep), SIZE, "--image")
    assert np.unique(made).tolist() == [77] and "16 bits" in what[0]


def test_what_is_no_picture_is_told(tmp_path: Path, film: Path) -> None:
    with pytest.raises(DataError, match=r"--image .*none.png cannot be read"):
        pictures.picture(tmp_path / "none.png", SIZE, "--image")
    whole = write(tmp_path / "a.png", gradient(64, 64)).read_bytes()
    for content in (b"", b"GIF89a", b"text", whole[:20]):
        (tmp_path / "bad.png").write_bytes(content)
        with pytest.raises(DataError, match="no picture that can be read"):
            pictures.picture(tmp_path / "bad.png", SIZE, "--image")
    with pytest.raises(DataError) as caught:
        pictures.picture(film, SIZE, "--image")
    assert "--prefix" in caught.value.hint


def test_a_videos_frames_at_any_rate_and_size(tmp_path: Path) -> None:
    frames = np.stack([gradient(64, 48) for _ in range(24)])
    frames[..., 2] = (np.arange(24) * 10)[:, None, None]
    video.write_video(frames, tmp_path / "a.mp4", fps=24, quality=0)
    found, what = pictures.frames(tmp_path / "a.mp4", SIZE, 8, "--video")
    assert len(found) == 8 and found[0].shape == (*SIZE, 3)
    blue = [float(one[..., 2].mean()) for one in found]
    assert np.diff(blue) == pytest.approx([30] * 7, abs=3)
    assert any("cut to its middle" in one for one in what)
    assert len(pictures.frames(tmp_path / "a.mp4", SIZE, 8, "--video", most=3)[0]) == 3
    assert pictures.rate(tmp_path / "a.mp4", "--video") == 24


def test_a_damaged_or_empty_video_is_told(tmp_path: Path, film: Path) -> None:
    (tmp_path / "cut.mp4").write_bytes(film.read_bytes()[:200])
    with pytest.raises(DataError):
        pictures.frames(tmp_path / "cut.mp4", SIZE, 8, "--video")
    with pytest.raises(DataError, match="cannot be opened"):
        pictures.frames(tmp_path / "none.mp4", SIZE, 8, "--video")


def test_the_last_frames_are_those_of_all_and_too_many_are_told(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = pictures.frames(film, (32, 32), 8, "--prefix")
    last, _ = pictures.frames(film, (32, 32), 8, "--prefix", last=3)
    assert len(whole) == 12 and np.array_equal(np.stack(last), np.stack(whole[-3:]))
    monkeypatch.setattr(pictures, "LONGEST", 11)
    assert len(pictures.frames(film, (32, 32), 8, "--prefix", last=3)[0]) == 3
    with pytest.raises(DataError, match=r"--video .* has more than 11 frames"):
        pictures.frames(film, (32, 32), 8, "--video")
    assert len(pictures.frames(film, (32, 32), 8, "--video", most=12)[0]) == 12
