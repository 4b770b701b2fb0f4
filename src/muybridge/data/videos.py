"""Exact frames of a dataset's videos, by presentation time.

A seek in a video lands where the container's index says, which may be late, and opening one costs
as much as decoding seven small frames. So the place of every packet is noted once a video; after
that a decoder is given the bytes from the keyframe on, and nothing is opened or sought.
"""

from __future__ import annotations

import functools
import hashlib
import io
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from ..core.errors import DataError
from ..core.video import Frames

if TYPE_CHECKING:
    import av
    from av.video.codeccontext import VideoCodecContext

    from .store import Clip

Indices = npt.NDArray[np.int64]

# Tables of packets kept: about 3 KiB for a hundred frames, so 50 MiB in all.
_TABLES = 16384

# Decoders kept for each thread; videos of one size and one encoder share theirs.
_DECODERS = 8

# Wanted frames this far apart are decoded from a keyframe each, not by way of all between: two
# groups of pictures as `prepare` writes them.
_FAR = 24


@dataclass(frozen=True)
class _Table:
    """Where a video's packets lie in its file, in order of decoding.

    Attributes:
        codec: its name.
        setup: what the decoder must know before the first packet.
        starts: first byte of each packet.
        sizes: bytes of each.
        places: which frame, in order of presentation, each holds.
        keys: from which packets one may begin: nothing from there on needs what was before.
    """

    codec: str
    setup: bytes
    starts: Indices
    sizes: Indices
    places: Indices
    keys: npt.NDArray[np.bool_]


class Videos:
    """Decodes frames of the videos themselves, each time anew; several threads may ask at once."""

    kind = "mp4"

    def __init__(self, folder: Path, fps: float) -> None:
        self.folder, self._fps, self._own = folder, fps, _Own()
        self._table = functools.lru_cache(_TABLES)(self._examine)

    def frames(self, clip: Clip, indices: Indices) -> Frames:
        """Uint8 (len(indices), height, width, 3).

        Raises:
            DataError: the video is damaged, or is not the one that the dataset names.
        """
        indices = checked(clip, indices)
        wanted, back = np.unique(indices, return_inverse=True)
        made = np.empty((len(wanted), clip.height, clip.width, 3), np.uint8)
        breaks = np.flatnonzero(np.diff(wanted) > _FAR) + 1
        for rows in np.split(np.arange(len(wanted)), breaks) if len(wanted) else []:
            row = dict(zip(wanted[rows].tolist(), rows.tolist(), strict=True))
            for place, frame in self.decoded(clip, min(row), max(row) + 1):
                if place in row:
                    made[row[place]] = self._own.pictures.rgb(frame, clip)
        return made if np.array_equal(wanted, indices) else made[back]

    def decoded(self, clip: Clip, first: int, end: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Frames `first` up to `end` with their places, in order of presentation.

        To be gone through to its end, or left alone, before this thread asks for others.

        Raises:
            DataError: as `frames`.
        """
        import av

        expected = first
        try:
            for frame in self._from_keyframe(clip, self._table(clip), first):
                if frame.is_corrupt:
                    raise damaged(self.folder, clip, f"frame {frame.pts} is broken")
                if frame.pts is None or frame.pts < first:
                    continue
                if frame.pts != expected:
                    break
                yield expected, frame
                expected += 1
                if expected == end:
                    return
        except (av.error.FFmpegError, OSError) as error:
            raise damaged(self.folder, clip, str(error)) from error
        raise damaged(self.folder, clip, f"frame {expected} does not come out of it")

    def _from_keyframe(self, clip: Clip, table: _Table, first: int) -> Iterator[av.VideoFrame]:
        """What the decoder gives from the last keyframe not after `first` on."""
        import av

        decoder = self._own.decoder(table.codec, table.setup)
        begin = int(np.flatnonzero(table.keys & (table.places <= first))[-1])
        handle = os.open(self.folder / clip.file, os.O_RDONLY)
        try:
            for number in range(begin, len(table.places)):
                content = os.pread(handle, table.sizes[number], table.starts[number])
                if len(content) < table.sizes[number]:
                    raise damaged(self.folder, clip, "it was cut off")
                packet = av.Packet(content)
                packet.pts = int(table.places[number])
                yield from decoder.decode(packet)
            yield from decoder.decode(None)
        finally:
            os.close(handle)

    def _examine(self, clip: Clip) -> _Table:
        import av

        content = whole(self.folder, clip)
        try:
            with av.open(io.BytesIO(content), "r") as container:
                stream = container.streams.video[0]
                context = stream.codec_context
                size, setup = (context.height, context.width), bytes(context.extradata or b"")
                packets = [packet for packet in container.demux(stream) if packet.size]
                places = _places(packets, float(stream.time_base or 0) * self._fps)
                keys = np.array([packet.is_keyframe for packet in packets], np.bool_)
                # In an open group, frames that are shown before the keyframe come after it and
                # need what was before.
                closed = places == np.minimum.accumulate(places[::-1])[::-1]
                table = _Table(
                    context.name,
                    setup,
                    np.array([packet.pos for packet in packets], np.int64),
                    np.array([packet.size for packet in packets], np.int64),
                    places,
                    keys & closed,
                )
        except (av.error.FFmpegError, ValueError, IndexError) as error:
            raise damaged(self.folder, clip, str(error)) from error
        if size != padded(clip):
            raise damaged(self.folder, clip, f"its picture is {size[1]}x{size[0]}")
        if not np.array_equal(np.sort(table.places), np.arange(clip.frames)):
            raise damaged(self.folder, clip, f"it does not hold {clip.frames} frames in a row")
        if not table.keys[table.places.argmin()]:
            raise damaged(self.folder, clip, "it does not begin with a keyframe")
        return table


def _places(packets: list[Any], beat: float) -> Indices:
    """Which frame each packet holds, by its time; `beat` is frames in a unit of time."""
    times = np.array([packet.pts for packet in packets if packet.pts is not None], np.float64)
    if len(times) < len(packets) or not packets:
        raise ValueError("a frame has no time")
    exact = (times - times.min()) * beat
    places = np.rint(exact)
    if np.abs(exact - places).max() > 0.25:
        raise ValueError("its frames are not evenly spaced at the dataset's rate")
    return np.asarray(places, np.int64)


def whole(folder: Path, clip: Clip) -> bytes:
    """A clip's video.

    Raises:
        DataError: it cannot be read, or is not the one that the dataset names.
    """
    try:
        content = (folder / clip.file).read_bytes()
    except OSError as error:
        raise damaged(folder, clip, str(error.strerror)) from error
    if hashlib.sha256(content).hexdigest() != clip.content:
        raise damaged(folder, clip, "it is not the video that the dataset was made with")
    return content


def checked(clip: Clip, indices: Indices) -> Indices:
    """The indices as int64.

    Raises:
        IndexError: one is not in the clip.
    """
    indices = np.asarray(indices, np.int64)
    if len(indices) and (indices.min() < 0 or indices.max() >= clip.frames):
        raise IndexError(f"frames {indices.min()} to {indices.max()} of {clip.frames}: {clip.name}")
    return indices


def padded(clip: Clip) -> tuple[int, int]:
    """Height and width as the video has them: even, since colours are stored at half size."""
    return clip.height + clip.height % 2, clip.width + clip.width % 2


def damaged(folder: Path, clip: Clip, what: str) -> DataError:
    """An error that names the clip's video."""
    return DataError(
        f"{folder / clip.file} cannot be used: {what}", "restore it, or prepare the dataset again"
    )


class Pictures:
    """Pictures of frames. Not for several threads at once."""

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()  # one for all frames: 1.4 times as fast

    def rgb(self, frame: av.VideoFrame, clip: Clip) -> Frames:
        """The clip's picture, uint8 (height, width, 3), as a view of memory of its own."""
        return self.whole(frame)[: clip.height, : clip.width]

    def whole(self, frame: av.VideoFrame) -> Frames:
        """All of a frame's picture, uint8 (height, width, 3), as a view of memory of its own."""
        made = self._reformatter.reformat(frame, format="rgb24", threads=1)
        plane: Any = made.planes[0]
        shape = (made.height, made.width, 3)
        return np.ndarray(shape, np.uint8, plane, strides=(plane.line_size, 3, 1))


class _Own(threading.local):
    """What each thread has for itself."""

    def __init__(self) -> None:
        self.pictures = Pictures()
        self._decoders: dict[tuple[str, bytes], VideoCodecContext] = {}

    def decoder(self, codec: str, setup: bytes) -> VideoCodecContext:
        """A decoder that remembers no frame."""
        from av.codec import CodecContext

        decoder = self._decoders.pop((codec, setup), None)
        if decoder is None:
            decoder = cast("VideoCodecContext", CodecContext.create(codec, "r"))
            decoder.extradata = setup
            decoder.thread_count = 1  # the work is already spread over threads, clip by clip
            decoder.open()
        else:
            decoder.flush_buffers()
        while len(self._decoders) >= _DECODERS:
            del self._decoders[next(iter(self._decoders))]
        self._decoders[codec, setup] = decoder
        return decoder
