"""Where a dataset's frames come from: memory-mapped RGB or YUV made of its videos, or those.

A cache is one file of all frames of all clips, `cache/KIND-KEY/frames.u8`. Its key says of which
videos, in which order, it was made, so it is never taken for that of another content.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import itertools
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..core import device, files, progress
from ..core.errors import DataError
from ..core.video import Frames

if TYPE_CHECKING:
    import av.container
    import av.video.stream

    from .store import Clip, Source

# Of the cache files: another number makes them all anew.
FORMAT = 1

# A cache may take half of what is free on its disk: checkpoints and the next dataset need room too.
DISK_SHARE = 0.5
# And half of the memory: beyond that its pages do not stay there beside the training itself, every
# batch is read from disk again, and decoding the far smaller videos is faster.
MEMORY_SHARE = 0.5

# Wanted frames this far apart are read by a seek each, not by decoding all between: two groups of
# pictures as `prepare` writes them.
_FAR = 24

Indices = npt.NDArray[np.int64]


def open_source(folder: Path, clips: Sequence[Clip], fps: float, cache: str) -> Source:
    """Gives access to a dataset's frames; builds the cache where it is wanted and not there.

    Args:
        folder: the dataset.
        clips: all its clips, in order.
        fps: its frames per second.
        cache: `rgb` (fastest), `yuv` (half the room, colours to within rounding), `mp4` (no cache:
            decodes the videos), or `auto`: the first of these that fits disk and memory.

    Raises:
        DataError: a video is damaged or is not the one that the dataset names.
        MuybridgeError: no room for the cache that is asked for.
    """
    home = folder / "cache"
    places = {kind: home / f"{kind}-{_key(kind, clips)}" / "frames.u8" for kind in _BYTES}
    _forget(home, {path.parent.name for path in places.values()})
    kind = _choose(places, clips) if cache == "auto" else cache
    if kind == "mp4":
        return Videos(folder, fps)
    if not _whole(places[kind], kind, clips):
        with _alone(home) as writable:
            if not writable:
                progress.say(f"{home} cannot be written: frames are decoded from the videos")
                return Videos(folder, fps)
            if not _whole(places[kind], kind, clips):  # another process may just have made it
                _build(folder, places[kind], kind, clips, fps)
    return Rgb(places[kind], clips) if kind == "rgb" else Yuv(places[kind], clips)


# --- what is stored ------------------------------------------------------------------------------


def _padded(clip: Clip) -> tuple[int, int]:
    """Height and width as the video has them: even, since colours are stored at half size."""
    return clip.height + clip.height % 2, clip.width + clip.width % 2


def _rgb_bytes(clip: Clip) -> int:
    return clip.height * clip.width * 3


def _yuv_bytes(clip: Clip) -> int:
    height, width = _padded(clip)
    return height * width * 3 // 2


# Bytes of a frame, by kind of cache.
_BYTES = {"rgb": _rgb_bytes, "yuv": _yuv_bytes}


def _sizes(kind: str, clips: Iterable[Clip]) -> list[int]:
    return [_BYTES[kind](clip) * clip.frames for clip in clips]


def _key(kind: str, clips: Iterable[Clip]) -> str:
    """Of the videos' content and order, and of what the cache holds of them."""
    content = [(clip.content, clip.frames, clip.height, clip.width) for clip in clips]
    return files.digest_of(kind, FORMAT, content)[:16]


def _whole(path: Path, kind: str, clips: Sequence[Clip]) -> bool:
    return path.is_file() and path.stat().st_size == sum(_sizes(kind, clips))


def _choose(places: dict[str, Path], clips: Sequence[Clip]) -> str:
    memory = device._memory() * MEMORY_SHARE
    free = shutil.disk_usage(places["rgb"].parents[2]).free * DISK_SHARE
    for kind, path in places.items():
        needed = sum(_sizes(kind, clips))
        if 0 < needed <= memory and (needed <= free or _whole(path, kind, clips)):
            return kind
    return "mp4"


def _forget(home: Path, kept: set[str]) -> None:
    """Removes caches of an older content, and what a killed process left half-written."""
    if not home.is_dir() or not os.access(home, os.W_OK):
        return
    files.sweep(home)
    for path in home.iterdir():
        if path.name.partition("-")[0] in _BYTES and path.name not in kept:
            files.remove(path)


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[bool]:
    """Waits until no other process builds here. Gives False if the folder cannot be written."""
    try:
        home.mkdir(exist_ok=True)
        stream = (home / ".lock").open("a")
    except OSError:
        yield False
        return
    with stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield True


# --- building ------------------------------------------------------------------------------------


def _build(folder: Path, path: Path, kind: str, clips: Sequence[Clip], fps: float) -> None:
    sizes = _sizes(kind, clips)
    starts = itertools.accumulate(sizes, initial=0)
    files.need_room(folder, sum(sizes), f"the {kind} cache of {folder}")
    with files.atomic(path.parent) as made, progress.bar(f"{kind} cache", len(clips)) as advance:
        made.mkdir()
        with (made / path.name).open("wb") as stream, ThreadPoolExecutor(device.cores()) as pool:
            stream.truncate(sum(sizes))
            pending: list[Future[None]] = []
            for clip, start in zip(clips, starts, strict=False):
                work = pool.submit(_store, folder, clip, kind, fps, stream.fileno(), start)
                pending.append(work)
                if len(pending) > 2 * device.cores():  # few ahead: an error ends it soon
                    pending.pop(0).result()
                    advance()
            for work in pending:
                work.result()
                advance()


def _store(folder: Path, clip: Clip, kind: str, fps: float, handle: int, start: int) -> None:
    """Decodes a clip into its place, holding one frame at a time."""
    content = (folder / clip.file).read_bytes()
    if hashlib.sha256(content).hexdigest() != clip.content:
        raise _damaged(folder, clip, "it is not the video that the dataset was made with")
    convert, step, expected = _Converter(), _BYTES[kind](clip), 0
    with _opened(folder, clip, io.BytesIO(content)) as video:
        for place, frame in _decoded(video, fps):
            if place != expected:
                raise _damaged(folder, clip, f"frame {expected} is missing")
            picture = convert.rgb(frame, clip) if kind == "rgb" else convert.yuv(frame, clip)
            _put(handle, np.ascontiguousarray(picture), start + place * step)
            expected += 1
    if expected != clip.frames:
        raise _damaged(folder, clip, f"it has {expected} frames, not {clip.frames}")


def _put(handle: int, picture: Frames, start: int) -> None:
    left = memoryview(picture).cast("B")
    while left:
        written = os.pwrite(handle, left, start)
        left, start = left[written:], start + written


# --- decoding ------------------------------------------------------------------------------------


class _Converter:
    """Pictures of decoded frames. Not for several threads at once."""

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()  # shared by all frames: 1.4 times as fast

    def rgb(self, frame: av.VideoFrame, clip: Clip) -> Frames:
        """The clip's picture, (height, width, 3), as a view of the frame's memory."""
        made = self._reformatter.reformat(frame, format="rgb24")
        plane: Any = made.planes[0]
        return np.ndarray(
            (clip.height, clip.width, 3), np.uint8, plane, strides=(plane.line_size, 3, 1)
        )

    def yuv(self, frame: av.VideoFrame, clip: Clip) -> Frames:
        """Brightness, then both colours at half size, (height * 3 / 2, width), padded to even."""
        made = self._reformatter.reformat(
            frame, format="yuv420p", dst_colorspace="ITU601", dst_color_range="MPEG"
        )
        return np.asarray(made.to_ndarray(), np.uint8)


@contextlib.contextmanager
def _opened(
    folder: Path, clip: Clip, source: Any
) -> Iterator[tuple[av.container.InputContainer, av.video.stream.VideoStream]]:
    """A clip's video; what FFmpeg says against it, then or later, becomes a DataError."""
    import av

    try:
        with av.open(source) as container:
            if not container.streams.video:
                raise _damaged(folder, clip, "it holds no picture")
            stream = container.streams.video[0]
            size = (stream.codec_context.height, stream.codec_context.width)
            if size != _padded(clip):
                raise _damaged(folder, clip, f"its picture is {size[1]}x{size[0]}")
            stream.thread_type = "NONE"  # the work is already spread over threads, clip by clip
            yield container, stream
    except (av.error.FFmpegError, ValueError) as error:
        raise _damaged(folder, clip, str(error)) from error


def _damaged(folder: Path, clip: Clip, what: str) -> DataError:
    return DataError(
        f"{folder / clip.file} cannot be used: {what}", "restore it, or prepare the dataset again"
    )


Opened = tuple["av.container.InputContainer", "av.video.stream.VideoStream"]


def _decoded(video: Opened, fps: float) -> Iterator[tuple[int, av.VideoFrame]]:
    """Frames from where the container stands, with their places by presentation time."""
    container, stream = video
    assert stream.time_base is not None
    rate, first = float(stream.time_base) * fps, stream.start_time or 0
    for frame in container.decode(stream):
        if frame.pts is None:
            raise ValueError("a frame has no time")
        exact = (frame.pts - first) * rate
        place = round(exact)
        if abs(exact - place) > 0.25:
            raise ValueError(f"a frame at {exact / fps:.4f} s, between those of {fps:g} a second")
        yield place, frame


def _decoded_from(video: Opened, fps: float, first: int) -> Iterator[tuple[int, av.VideoFrame]]:
    """Frames from `first` or a little before. A seek may land late: then from further back."""
    container, stream = video
    assert stream.time_base is not None
    step, back = 1 / (float(stream.time_base) * fps), 0
    while True:
        target = max(first - back, 0)
        container.seek(round(target * step) + (stream.start_time or 0), stream=stream)
        frames = _decoded(video, fps)
        head = next(frames, None)
        if head is not None and head[0] <= first:
            return itertools.chain([head], frames)
        if target == 0:
            raise ValueError(f"frame {first} is missing")
        back = 2 * back + 12


# --- reading -------------------------------------------------------------------------------------


def _checked(clip: Clip, indices: Indices) -> Indices:
    indices = np.asarray(indices, np.int64)
    if len(indices) and (indices.min() < 0 or indices.max() >= clip.frames):
        raise IndexError(f"frames {indices.min()} to {indices.max()} of {clip.frames}: {clip.name}")
    return indices


def _rows(stored: Frames, indices: Indices) -> Frames:
    """Rows by their places: a view where these are evenly spaced, which costs no copy."""
    if len(indices) > 1:
        steps = np.diff(indices)
        if steps[0] > 0 and (steps == steps[0]).all():
            return stored[indices[0] : indices[-1] + 1 : steps[0]]
    return stored[indices]


class _Mapped:
    """All frames of all clips in one memory-mapped file."""

    kind: str

    def __init__(self, path: Path, clips: Sequence[Clip]) -> None:
        self._bytes = np.asarray(np.memmap(path, np.uint8, "r"))
        starts = itertools.accumulate(_sizes(self.kind, clips), initial=0)
        self._starts = {clip.file: start for clip, start in zip(clips, starts, strict=False)}

    def _stored(self, clip: Clip) -> Frames:
        """Of one clip, (frames, bytes of a frame)."""
        start, step = self._starts[clip.file], _BYTES[self.kind](clip)
        return self._bytes[start : start + step * clip.frames].reshape(clip.frames, step)


class Rgb(_Mapped):
    """Frames as they are wanted: reading is copying."""

    kind = "rgb"

    def frames(self, clip: Clip, indices: Indices) -> Frames:
        """Uint8 (len(indices), height, width, 3); a view where `indices` are evenly spaced."""
        found = _rows(self._stored(clip), _checked(clip, indices))
        return found.reshape(-1, clip.height, clip.width, 3)


class Yuv(_Mapped):
    """Frames as planes of brightness and, at half size, colours."""

    kind = "yuv"

    def frames(self, clip: Clip, indices: Indices) -> Frames:
        """Uint8 (len(indices), height, width, 3)."""
        import cv2

        height, width = _padded(clip)
        planes = self._stored(clip).reshape(clip.frames, height * 3 // 2, width)
        made = np.empty((len(indices), height, width, 3), np.uint8)
        for row, index in zip(made, _checked(clip, indices), strict=True):
            cv2.cvtColor(planes[index], cv2.COLOR_YUV2RGB_I420, dst=row)
        return made[:, : clip.height, : clip.width]


class Videos:
    """Decodes the videos themselves, each time anew."""

    kind = "mp4"

    def __init__(self, folder: Path, fps: float) -> None:
        self._folder, self._fps, self._own = folder, fps, threading.local()

    def frames(self, clip: Clip, indices: Indices) -> Frames:
        """Uint8 (len(indices), height, width, 3).

        Raises:
            DataError: the video is damaged or lacks a frame.
        """
        indices = _checked(clip, indices)
        if not hasattr(self._own, "convert"):
            self._own.convert = _Converter()
        wanted, back = np.unique(indices, return_inverse=True)
        made = np.empty((len(wanted), clip.height, clip.width, 3), np.uint8)
        runs = np.split(np.arange(len(wanted)), np.flatnonzero(np.diff(wanted) > _FAR) + 1)
        with _opened(self._folder, clip, str(self._folder / clip.file)) as video:
            for rows in runs if len(wanted) else []:
                self._read(video, clip, dict(zip(wanted[rows].tolist(), rows, strict=True)), made)
        return made if np.array_equal(wanted, indices) else made[back]

    def _read(self, video: Opened, clip: Clip, rows: dict[int, int], made: Frames) -> None:
        """Fills the rows that are named by the places of frames, which lie close together."""
        for place, frame in _decoded_from(video, self._fps, min(rows)):
            if (row := rows.pop(place, None)) is not None:
                made[row] = self._own.convert.rgb(frame, clip)
            if not rows:
                return
        raise ValueError(f"frame {min(rows)} is missing")
