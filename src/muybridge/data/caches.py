"""Where a dataset's frames come from: memory-mapped RGB or YUV made of its videos, or those.

A cache is one file of all frames of all clips, `cache/KIND-KEY/frames.u8`. Its key says of which
videos, in which order, it was made, so it is never taken for that of another content.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core import device, files, progress
from ..core.errors import DataError
from ..core.video import Frames
from .videos import Indices, Pictures, Videos, checked, padded

if TYPE_CHECKING:
    from .store import Clip, Source

# Of the cache files: another number makes them all anew.
FORMAT = 1

# A cache may take half of what is free on its disk: checkpoints and the next dataset need room too.
DISK_SHARE = 0.5
# And half of the memory: beyond that its pages do not stay there beside the training itself, every
# batch is read from disk again, and decoding the far smaller videos is faster.
MEMORY_SHARE = 0.5

# A pixel format, colour space and range, by FFmpeg's names and numbers.
Colours = tuple[str, int, int]
_COLOURS = "colours.json"

# Bytes of YUV turned into pictures at once: what stays in a core's own cache.
_AT_ONCE = 2**20

# Prepared conversions that a thread keeps, each for one size.
_PREPARED = 32


def open_source(folder: Path, clips: Sequence[Clip], fps: float, cache: str) -> Source:
    """Gives access to a dataset's frames; builds the cache where it is wanted and not there.

    Args:
        folder: the dataset.
        clips: all its clips, in order.
        fps: its frames per second.
        cache: `rgb` (fastest), `yuv` (half the room), `mp4` (no cache: decodes the videos), or
            `auto`: the first of these that fits disk and memory. The frames are the same.

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
                files.sweep(home)
                _build(folder, places[kind], kind, clips, fps)
    return Rgb(places[kind], clips) if kind == "rgb" else Yuv(places[kind], clips)


# --- what is stored ------------------------------------------------------------------------------


def _rgb_bytes(clip: Clip) -> int:
    return clip.height * clip.width * 3


def _yuv_bytes(clip: Clip) -> int:
    height, width = padded(clip)
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
    memory = device.memory() * MEMORY_SHARE
    free = shutil.disk_usage(places["rgb"].parents[2]).free * DISK_SHARE
    for kind, path in places.items():
        needed = sum(_sizes(kind, clips))
        if 0 < needed <= memory and (needed <= free or _whole(path, kind, clips)):
            return kind
    return "mp4"


def _forget(home: Path, kept: set[str]) -> None:
    """Removes caches of an older content."""
    if not home.is_dir() or not os.access(home, os.W_OK):
        return
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
    videos = Videos(folder, fps)
    files.need_room(folder, sum(sizes), f"the {kind} cache of {folder}")
    with files.atomic(path.parent) as made, progress.bar(f"{kind} cache", len(clips)) as advance:
        made.mkdir()
        colours: set[Colours] = set()
        with (made / path.name).open("wb") as stream, ThreadPoolExecutor(device.cores()) as pool:
            stream.truncate(sum(sizes))
            pending: list[Future[set[Colours]]] = []
            for clip, start in zip(clips, starts, strict=False):
                work = pool.submit(_store, videos, clip, kind, stream.fileno(), start)
                pending.append(work)
                if len(pending) > 2 * device.cores():  # few ahead: an error ends it soon
                    colours |= pending.pop(0).result()
                    advance()
            for work in pending:
                colours |= work.result()
                advance()
        if kind == "yuv":
            strange = [found for found in colours if found[0] not in ("yuv420p", "yuvj420p")]
            if strange or len(colours) > 1:
                raise DataError(
                    f"{folder} holds videos of colours {sorted(colours)}, which no one yuv cache "
                    "can hold",
                    "prepare it again, or use the rgb cache",
                )
            files.write_json(made / _COLOURS, colours.pop())


def _store(videos: Videos, clip: Clip, kind: str, handle: int, start: int) -> set[Colours]:
    """Decodes a clip into its place, holding one frame at a time; gives what its colours mean."""
    pictures, step, colours = Pictures(), _BYTES[kind](clip), set()
    for place, frame in videos.decoded(clip, 0, clip.frames):
        made = pictures.rgb(frame, clip) if kind == "rgb" else frame.to_ndarray()
        _put(handle, np.ascontiguousarray(made, np.uint8), start + place * step)
        colours.add((frame.format.name, int(frame.colorspace), int(frame.color_range)))
    return colours


def _put(handle: int, picture: Frames, start: int) -> None:
    left = picture.reshape(-1)
    while len(left):
        written = os.pwrite(handle, left.data, start)
        left, start = left[written:], start + written


# --- reading -------------------------------------------------------------------------------------


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
        found = _rows(self._stored(clip), checked(clip, indices))
        return found.reshape(-1, clip.height, clip.width, 3)


class Yuv(_Mapped):
    """Frames as planes of brightness and, at half size, colours.

    They are turned into pictures just as decoding does it, so they are the same to the last bit.
    """

    kind = "yuv"

    def __init__(self, path: Path, clips: Sequence[Clip]) -> None:
        super().__init__(path, clips)
        self._colours = files.read_json(path.parent / _COLOURS, "a cache's")
        self._own = threading.local()

    def frames(self, clip: Clip, indices: Indices) -> Frames:
        """Uint8 (len(indices), height, width, 3)."""
        planes = _rows(self._stored(clip), checked(clip, indices))
        most = max(1, _AT_ONCE // planes.shape[1])
        if len(planes) <= most and len(planes):
            return self._pictures(planes, clip)
        made = np.empty((len(planes), clip.height, clip.width, 3), np.uint8)
        for first in range(0, len(planes), most):
            part = planes[first : first + most]
            made[first : first + most] = self._pictures(part, clip)
        return made

    def _pictures(self, planes: Frames, clip: Clip) -> Frames:
        """Of planes (frames, bytes): as one tall picture, since each conversion has its price."""
        from av import VideoFrame

        count, (height, width) = len(planes), padded(clip)
        whole, cut = height * width, (0, height * width, height * width * 5 // 4, planes.shape[1])
        tall = np.empty((count * height * 3 // 2, width), np.uint8)
        parts = np.split(tall.reshape(-1), [count * whole, count * whole * 5 // 4])
        for part, first, end in zip(parts, cut, cut[1:], strict=False):
            part.reshape(count, -1)[:] = planes[:, first:end]
        name, space, span = self._colours
        frame = VideoFrame.from_numpy_buffer(tall, format=name)
        frame.colorspace, frame.color_range = space, span
        plane = self._own_pictures(frame.height, frame.width).whole(frame)
        line = plane.strides[0]
        stacked = np.lib.stride_tricks.as_strided(
            plane, (count, height, width, 3), (height * line, line, 3, 1)
        )
        return stacked[:, : clip.height, : clip.width]

    def _own_pictures(self, height: int, width: int) -> Pictures:
        """This thread's for frames of this size: they prepare themselves anew for each other."""
        known: dict[tuple[int, int], Pictures] = vars(self._own).setdefault("known", {})
        if (height, width) not in known:
            if len(known) >= _PREPARED:
                known.clear()
            known[height, width] = Pictures()
        return known[height, width]
