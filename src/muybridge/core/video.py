"""Video files in and out, by presentation time. Arrays are uint8 RGB, (time, height, width, 3)."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import decoding
from .decoding import Frames, probe
from .errors import DataError, MuybridgeError
from .film import film, mp4, png

__all__ = [
    "SUFFIXES", "Frames", "at_rate", "contact_sheet", "decode", "encode", "film", "jpeg", "png",
    "probe",
    "read_video", "tile", "to_uint8", "write_video",
]  # fmt: skip

SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        "mp4", "m4v", "mov", "qt", "mkv", "mk3d", "webm", "avi", "divx", "mpg", "mpeg", "mpe",
        "m1v", "m2v", "vob", "ts", "m2ts", "mts", "m2t", "tod", "mod", "wmv", "asf", "flv", "f4v",
        "ogv", "ogm", "3gp", "3g2", "mxf", "dv", "dif", "rm", "rmvb", "gif", "apng", "y4m", "nut",
        "ivf", "mjpg", "mjpeg", "h264", "264", "avc", "h265", "265", "hevc", "obu", "wtv", "amv",
        "nsv",
    )
)  # fmt: skip


def decode(path: Path) -> Iterator[tuple[float, Frames]]:
    """Gives (seconds since the first frame, picture (height, width, 3)) in order of presentation,
    as `decoding.frames` does.

    Raises:
        DataError: the file cannot be opened, holds no picture, or is damaged.
    """
    for frame in decoding.frames(path):
        if frame.damaged:
            raise DataError(
                f"{path} is damaged after {frame.seconds:.2f} s",
                "copy it again from its source; muybridge prepare keeps what is whole of it",
            )
        yield frame.seconds, frame.picture()


def at_rate(frames: Iterable[tuple[float, Frames]], fps: float) -> Iterator[tuple[float, Frames]]:
    """Resamples decoded frames to a constant rate, holding no more than two of them.

    For each of the moments 0, 1/fps, 2/fps, ... it gives (source frame's own time, picture) of the
    frame nearest in time, until half a source frame after the last one.
    """
    held: tuple[float, Frames] | None = None
    count, gap = 0, 1.0 / fps
    for seconds, picture in frames:
        if held is not None:
            gap = seconds - held[0]
            while count / fps <= (held[0] + seconds) / 2:
                yield held
                count += 1
        held = (seconds, picture)
    while held is not None and count / fps < held[0] + gap / 2 - 1e-9:
        yield held
        count += 1


def read_video(
    path: str | Path, fps: float | None = None
) -> tuple[Frames, npt.NDArray[np.float64]]:
    """Reads a whole video.

    Args:
        path: the file.
        fps: frames per second to sample at, by presentation time; None keeps the file's own frames.

    Returns:
        Frames (time, height, width, 3) uint8, and their presentation times (time,) in seconds.

    Raises:
        DataError: it cannot be opened or decoded, or holds no frame.
    """
    decoded = decode(Path(path))
    pairs = list(decoded if fps is None else at_rate(decoded, fps))
    if not pairs:
        raise DataError(f"{path} holds no frame", "copy it again from its source")
    return np.stack([picture for _, picture in pairs]), np.array([seconds for seconds, _ in pairs])


def to_uint8(clip: Any) -> Frames:
    """One clip as uint8 (time, height, width, 3).

    Takes that itself, or float (time, channel, height, width) in [-1, 1], as array or tensor.
    """
    array = np.asarray(clip.detach().cpu().numpy() if hasattr(clip, "detach") else clip)
    if array.dtype == np.uint8:
        return array
    array = np.moveaxis(array, 1, -1)
    return np.clip(np.rint((array + 1.0) * 127.5), 0, 255).astype(np.uint8)


def write_video(
    clips: Any, path: str | Path, fps: float = 8, quality: int = 16, comment: str = ""
) -> None:
    """Writes one clip, or several side by side, as H.264 mp4, gif, or numbered PNG frames.

    Args:
        clips: one clip or a batch of clips, as `to_uint8` takes them.
        path: where; `.mp4` and `.gif` name files, no suffix names a folder of PNG frames.
        fps: frames per second.
        quality: x264's constant rate factor: 0 is lossless, 23 ordinary, 51 worst.
        comment: kept in the file's metadata.

    Raises:
        MuybridgeError: a suffix that is none of these, or a disk that is full.
    """
    one = tile([to_uint8(clip) for clip in clips]) if len(clips.shape) == 5 else to_uint8(clips)
    with film(Path(path), fps, quality, comment) as add:
        add(one)


def encode(
    frames: Frames, fps: float, quality: int = 16, comment: str = "", gop: int | None = None
) -> bytes:
    """H.264 mp4 of uint8 frames (time, height, width, 3); the same bytes for the same frames."""
    buffer = io.BytesIO()
    with mp4(buffer, fps, quality, comment, gop) as add:
        add(frames)
    return buffer.getvalue()


def jpeg(picture: Frames, quality: int = 85) -> bytes:
    """One picture (height, width, 3) as JPEG bytes."""
    import cv2

    settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), settings)
    if not done:
        raise MuybridgeError(f"a picture of shape {picture.shape} could not be written as JPEG")
    return data.tobytes()


def tile(clips: Sequence[Frames], columns: int | None = None, gap: int = 2) -> Frames:
    """Clips of one shape (time, height, width, 3) as one video, in rows, on white."""
    columns = columns or int(np.ceil(np.sqrt(len(clips))))
    rows = -(-len(clips) // columns)
    time, height, width, _ = clips[0].shape
    wall = np.full(
        (time, rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8
    )
    for index, clip in enumerate(clips):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        wall[:, top : top + height, left : left + width] = clip
    return wall


def contact_sheet(
    clips: Sequence[Frames], captions: Sequence[str] = (), frames: int = 8, scale: int = 1
) -> Frames:
    """One picture: a row a clip, `frames` moments of it from left to right, its caption beneath.

    Returns uint8 (height, width, 3), to be written with `png`.
    """
    import cv2

    rows = []
    for index, clip in enumerate(clips):
        chosen = clip[np.linspace(0, len(clip) - 1, min(frames, len(clip))).round().astype(int)]
        strip = tile(list(chosen[:, None]), columns=len(chosen))[0]
        strip = cv2.resize(strip, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
        rows.append(strip)
        caption = captions[index] if index < len(captions) else ""
        label = np.full((14 if caption else 3, strip.shape[1], 3), 255, np.uint8)
        if caption:
            printable = caption.encode("ascii", "replace").decode()
            cv2.putText(
                label, printable, (2, 10), cv2.FONT_HERSHEY_SIMPLEX, 0.34, (0, 0, 0), 1, cv2.LINE_AA
            )
        rows.append(label)
    return np.concatenate(rows)
