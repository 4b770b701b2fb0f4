"""Pictures and videos of any size, turn and kind, as a run's frames; and what was done to them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from ..core import decoding, video
from ..core.errors import DataError
from ..core.video import Frames, at_rate
from ..data import framing

Size = tuple[int, int]
LONGEST = 3600 * 8
"""Frames of a video that is taken whole: an hour at eight a second."""


def is_video(path: Path) -> bool:
    """Whether a file is a video, by its name."""
    return path.suffix.lower() in video.SUFFIXES - {".apng"}


def picture(path: Path, size: Size, option: str) -> tuple[Frames, list[str]]:
    """A picture upright, on white where it is see-through, scaled and cut to its middle.

    Args:
        path: of any kind that OpenCV reads: PNG, JPEG, WebP, TIFF, BMP and others.
        size: height and width.
        option: its name for errors.

    Returns:
        uint8 (height, width, 3), and what was done, in words.

    Raises:
        DataError: it cannot be read.
    """
    plain, done = _read(path, option)
    made, how = fitted(plain, size)
    return made, [f"{option} {path.name}: {what}" for what in (*done, *how)]


def _read(path: Path, option: str) -> tuple[Frames, list[str]]:
    """As it is meant to be seen, (height, width, 3) RGB."""
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise DataError(
            f"{option} {path} cannot be read: {error.strerror}", "check the path"
        ) from error
    raw = _decoded(content, cv2.IMREAD_UNCHANGED)
    upright = _decoded(content, cv2.IMREAD_COLOR)
    if raw is None or upright is None:
        hint = (
            f"it is a video: give it as {'--prefix' if option == '--image' else '--video'}"
            if is_video(path)
            else "give a whole PNG or JPEG"
        )
        raise DataError(f"{option} {path} is no picture that can be read", hint)
    done = []
    if raw.ndim == 2 or raw.shape[2] == 1:
        done.append("grey, in three channels")
    if raw.dtype != np.uint8:
        done.append(f"{8 * raw.dtype.itemsize} bits a channel made 8")
    stored = _decoded(content, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if stored is not None and not np.array_equal(stored, upright):
        done.append("turned upright as its EXIF says")
    if raw.ndim == 3 and raw.shape[2] == 4 and raw.shape[:2] == upright.shape[:2]:
        alpha = raw[..., 3:].astype(np.float32) / np.iinfo(raw.dtype).max
        if float(alpha.min()) < 1:
            upright = (upright * alpha + 255 * (1 - alpha)).round().astype(np.uint8)
            done.append("put on white where it is see-through")
    return cv2.cvtColor(upright, cv2.COLOR_BGR2RGB).astype(np.uint8), done


def _decoded(content: Frames, how: int) -> Frames | None:
    try:
        return cv2.imdecode(content, how)  # type: ignore[return-value]
    except cv2.error:
        return None


def fitted(frame: Frames, size: Size) -> tuple[Frames, list[str]]:
    """A picture (height, width, 3) scaled to cover `size` and cut to its middle."""
    shape = (frame.shape[0], frame.shape[1])
    if shape == size:
        return frame, []
    scaled, inner = framing.cover(shape, framing.WHOLE, size)
    smaller = scaled[0] * scaled[1] < shape[0] * shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    resized = np.asarray(cv2.resize(frame, scaled[::-1], interpolation=how), np.uint8)
    return framing.crop(resized[inner], (0.5, 0.5), size), _said(shape, scaled, size)


def _said(shape: Size, scaled: Size, size: Size) -> list[str]:
    """What became of a picture, in words; sizes as width x height."""
    done = []
    if scaled != shape:
        word = "enlarged" if scaled[0] > shape[0] else "scaled"
        done.append(f"{word} from {_size(shape)} to {_size(scaled)}")
    if scaled != size:
        lost = 1 - size[0] * size[1] / (scaled[0] * scaled[1])
        done.append(f"cut to its middle {_size(size)}, without {lost:.0%} of the picture")
    return done


def _size(size: Size) -> str:
    return f"{size[1]}x{size[0]}"


def frames(
    path: Path,
    size: Size,
    fps: float | None,
    option: str,
    most: int | None = None,
    last: int | None = None,
) -> tuple[list[Frames], list[str]]:
    """A video's frames at a rate, scaled and cut as a picture is; a picture is one frame.

    Args:
        path: the file.
        size: height and width.
        fps: frames a second; None for the file's own.
        option: its name for errors.
        most: frames to stop after; where it is left out, no more than LONGEST are taken.
        last: how many of the last ones to give.

    Raises:
        DataError: it cannot be read, is damaged, has no frame, or too many.
    """
    if path.exists() and not is_video(path):
        one, done = picture(path, size, option)
        return [one], done
    shape: list[Size] = []
    found: deque[Frames] = deque(maxlen=last)
    decoded = _pictures(path, size, option, shape)
    for _, one in decoded if fps is None else at_rate(decoded, fps):
        if most is None and len(found) == LONGEST:
            raise DataError(
                f"{option} {path} has more than {LONGEST} frames, which are taken at once",
                "give a part of it, or say --seconds",
            )
        found.append(one)
        if len(found) == most:
            break
    if not found:
        raise DataError(f"{option} {path} holds no frame", "give another video")
    scaled, _ = framing.cover(shape[0], framing.WHOLE, size)
    return list(found), [f"{option} {path.name}: {what}" for what in _said(shape[0], scaled, size)]


def rate(path: Path, option: str) -> float:
    """Frames a second of a video, as its file says.

    Raises:
        DataError: it does not, or cannot be opened.
    """
    said = decoding.probe(path).fps
    if not said:
        raise DataError(f"{option} {path} does not say how many frames a second it has", "")
    return said


def _pictures(
    path: Path, size: Size, option: str, shape: list[Size]
) -> Iterator[tuple[float, Frames]]:
    for frame in decoding.frames(path):
        if frame.damaged:
            raise DataError(
                f"{option} {path} is damaged after {frame.seconds:.2f} s", "give another video"
            )
        shape[:] = shape or [frame.size]
        scaled, inner = framing.cover(frame.size, framing.WHOLE, size)
        yield frame.seconds, framing.crop(frame.picture(scaled)[inner], (0.5, 0.5), size)
