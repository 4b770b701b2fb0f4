"""Frames of a video file as they are meant to be seen: when, which way up, in what colours, and
whether they can be trusted."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .errors import DataError

if TYPE_CHECKING:
    import av
    import av.container
    import av.filter
    import av.video.stream
    from av.video.reformatter import VideoReformatter

Frames = npt.NDArray[np.uint8]
Size = tuple[int, int]

# From this height or width on, colours that a file does not name are those of high definition.
_HIGH, _WIDE = 720, 1280
_BT709, _BT601 = 1, 5
# Colour spaces that FFmpeg's scaler knows; it refuses the others, which footage hardly ever names.
_KNOWN = frozenset((_BT709, 4, _BT601, 6, 7, 9))
# What no camera makes and no machine should try: headers that lie ask for such pictures.
LARGEST = 16384 * 16384 // 4


@dataclass(frozen=True)
class Probe:
    """What a file says of its picture. `seconds` and `fps` are None where it does not say.

    `width` and `height` are those of the picture as stored: before rotation, and of pixels that are
    `aspect` times as wide as they are high.
    """

    width: int
    height: int
    fps: float | None
    seconds: float | None
    codec: str
    pixels: str
    sound: bool
    aspect: float = 1.0
    container: str = ""


@dataclass(frozen=True)
class Frame:
    """One decoded frame, upright.

    Attributes:
        seconds: presentation time since the file's first frame.
        damaged: the decoder met an error since the last key frame: the picture cannot be trusted.
        raw: the decoder's own frame.
        scaler: shared by the frames of a file: it keeps its tables from frame to frame.
        aspect: width of a pixel over its height.
    """

    seconds: float
    damaged: bool
    raw: av.VideoFrame = field(repr=False)
    scaler: VideoReformatter = field(repr=False)
    aspect: float = 1.0

    @property
    def turns(self) -> tuple[bool, bool, bool]:
        """What the display matrix asks for: swap the axes, then flip rows, then flip columns."""
        matrix: Any = self.raw.side_data.get("DISPLAYMATRIX")
        if matrix is None:
            return False, False, False
        # (x, y) is shown at (ax + cy, bx + dy).
        a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
        swap = abs(b) > abs(a)
        if swap:
            a, d = c, b
        return swap, d < 0, a < 0

    @property
    def size(self) -> Size:
        """Height and width as it is to be seen: upright, with square pixels."""
        height, width = self.raw.height, max(1, round(self.raw.width * self.aspect))
        return (width, height) if self.turns[0] else (height, width)

    def picture(self, size: Size | None = None, grey: bool = False) -> Frames:
        """The picture, uint8 (height, width, 3) RGB, or (height, width) of luma if `grey`.

        Args:
            size: height and width to scale to, its own where None.
            grey: luma alone, which costs less.
        """
        from av.video.reformatter import Interpolation

        swap, rows, columns = self.turns
        height, width = size or self.size
        if swap:
            height, width = width, height
        raw = self.raw
        smaller = height * width < raw.height * raw.width
        matrix = raw.colorspace
        if matrix not in _KNOWN:
            matrix = _BT709 if raw.height >= _HIGH or raw.width >= _WIDE else _BT601
        how = Interpolation.AREA if smaller else Interpolation.BICUBIC
        deep = raw.format.components[0].bits > 8
        if (height, width) == (raw.height, raw.width) and not deep:
            how = Interpolation.BILINEAR  # of the colour planes alone
        else:
            how |= Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
        scaled = self.scaler.reformat(
            raw,
            width=width,
            height=height,
            format="gray" if grey else "rgb24",
            src_colorspace=matrix,
            dst_colorspace=matrix,
            dst_color_range="JPEG",
            interpolation=how,
            threads=1,
        )
        picture = np.asarray(scaled.to_ndarray(), np.uint8)
        if swap:
            picture = picture.swapaxes(0, 1)
        return np.ascontiguousarray(picture[:: -1 if rows else 1, :: -1 if columns else 1])


def probe(path: Path) -> Probe:
    """Reads a file's header.

    Raises:
        DataError: the file cannot be opened or holds no picture.
    """
    import av

    with opened(path) as container:
        stream = _stream(container, path)
        rate = stream.average_rate
        seconds: float | None = None
        if stream.duration is not None and stream.time_base is not None:
            seconds = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            seconds = container.duration / av.time_base
        return Probe(
            width=stream.codec_context.width,
            height=stream.codec_context.height,
            fps=float(rate) if rate else None,
            seconds=seconds,
            codec=stream.codec_context.name,
            pixels=str(stream.codec_context.pix_fmt),
            sound=bool(container.streams.audio),
            aspect=_aspect(stream),
            container=container.format.name,
        )


@contextlib.contextmanager
def opened(path: Path) -> Iterator[av.container.InputContainer]:
    """The container of a file.

    Raises:
        DataError: it cannot be opened.
    """
    import av

    with contextlib.ExitStack() as stack:
        source: Any = str(path)
        try:
            source.encode()
        except UnicodeEncodeError:  # a name that is no text can only be opened by us
            source = stack.enter_context(open(os.fsencode(path), "rb"))
        try:
            container = stack.enter_context(av.open(source))
        except (av.error.FFmpegError, ValueError) as error:
            if path.exists() and path.stat().st_size == 0:
                raise DataError(
                    f"{path} is empty (0 bytes)", "copy it again from its source"
                ) from error
            why = getattr(error, "strerror", None) or str(error)
            raise DataError(
                f"{path} cannot be opened as video ({why})", "is it a video file?"
            ) from error
        yield container


def _stream(container: av.container.InputContainer, path: Path) -> av.video.stream.VideoStream:
    from av.stream import Disposition

    # A cover picture of a sound file is a video stream too, of one frame.
    found = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not found:
        raise DataError(f"{path} holds no picture", "it may be sound only")
    stream = found[0]
    if stream.codec_context is None:
        raise DataError(f"{path} is in a codec that is not known", "convert it to H.264 first")
    # Decoding slices in threads hides damage, and an error must be told, not painted over.
    stream.thread_type = "NONE"
    stream.codec_context.options = {"err_detect": "explode"}
    return stream


def _aspect(stream: av.video.stream.VideoStream) -> float:
    """Width of a pixel over its height, 1 where the file says nothing sensible."""
    told = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    return float(told) if told and Fraction(1, 4) <= told <= 4 else 1.0


def frames(path: Path) -> Iterator[Frame]:
    """Decodes a file: frames in order of presentation, each later than the one before.

    After an error of the decoder the frames up to the next key frame are marked `damaged`. Footage
    that is interlaced is deinterlaced. A file that breaks off just ends.

    Raises:
        DataError: the file cannot be opened or holds no picture.
    """
    from av.video.reformatter import VideoReformatter

    with opened(path) as container:
        stream = _stream(container, path)
        scaler = VideoReformatter()
        _check_size(stream.codec_context.width, stream.codec_context.height, path)
        aspect = _aspect(stream)
        first, last = None, -1.0
        step = 1 / float(stream.average_rate or stream.guessed_rate or 25)
        progressive = _Deinterlacer()
        for damaged, raw, clock in _timed(_decoded(container, stream)):
            for bad, frame in progressive(damaged, raw):
                _check_size(frame.width, frame.height, path)
                count = getattr(frame, clock)
                if count is None or frame.time_base is None:
                    seconds = 0.0 if first is None else first + last + step
                else:
                    seconds = float(count * frame.time_base)
                first = seconds if first is None else first
                if seconds - first > last:
                    last = seconds - first
                    yield Frame(last, bad, frame, scaler, aspect)


def _timed(
    decoded: Iterator[tuple[bool, av.VideoFrame | None]],
) -> Iterator[tuple[bool, av.VideoFrame | None, str]]:
    """Adds which of a frame's clocks tells when it is shown: `pts`, but `dts` where the first
    frames' `pts` jump back, as in AVI files that hold B-frames."""
    ahead = list(itertools.islice(decoded, 16))
    clocks = {
        name: [t for _, raw in ahead if raw is not None and (t := getattr(raw, name)) is not None]
        for name in ("pts", "dts")
    }
    falls = {
        name: sum(b <= a for a, b in itertools.pairwise(times)) + (len(ahead) - len(times))
        for name, times in clocks.items()
    }
    clock = "dts" if falls["dts"] < falls["pts"] else "pts"
    for damaged, raw in itertools.chain(ahead, decoded):
        yield damaged, raw, clock


def _check_size(width: int, height: int, path: Path) -> None:
    if width * height > LARGEST:
        raise DataError(f"{path} says its picture is {width} x {height} pixels: its header lies")


def _decoded(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> Iterator[tuple[bool, av.VideoFrame | None]]:
    """(an error came since the last key frame, frame), and at the end None, once."""
    import av

    damaged = False
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.error.FFmpegError, OSError):
            packet = None  # it breaks off here
        if packet is None:
            break
        damaged |= packet.is_corrupt
        try:
            made = packet.decode()
        except av.error.EOFError:
            continue
        except (av.error.FFmpegError, ValueError):
            damaged = True
            continue
        for frame in made:
            if frame.key_frame and not packet.is_corrupt:
                damaged = False
            damaged |= frame.is_corrupt
            yield damaged, frame
    yield damaged, None


class _Deinterlacer:
    """Passes frames on, each with whether it is damaged; from the first interlaced one on, through
    FFmpeg's bwdif, which gives a frame when it has seen the next."""

    def __init__(self) -> None:
        self._graph: av.filter.Graph | None = None
        self._form: object = None
        self._marks: deque[bool] = deque()

    def __call__(
        self, damaged: bool, frame: av.VideoFrame | None
    ) -> list[tuple[bool, av.VideoFrame]]:
        if frame is None:
            return self._push(None)
        made: list[tuple[bool, av.VideoFrame]] = []
        form = (frame.width, frame.height, frame.format.name)
        if self._form not in (None, form):  # a graph is for one size
            made = self._push(None)
            self._graph = self._form = None
        if self._graph is None:
            if not frame.interlaced_frame:
                return [*made, (damaged, frame)]
            self._graph, self._form = _bwdif(frame), form
        self._marks.append(damaged)
        return made + self._push(frame)

    def _push(self, frame: av.VideoFrame | None) -> list[tuple[bool, av.VideoFrame]]:
        import av

        made: list[tuple[bool, av.VideoFrame]] = []
        if self._graph is None:
            return made
        with contextlib.suppress(av.error.EOFError):
            self._graph.push(frame)
        with contextlib.suppress(av.error.BlockingIOError, av.error.EOFError):
            while True:
                passed = self._graph.vpull()
                made.append((self._marks.popleft(), passed))
        return made


def _bwdif(frame: av.VideoFrame) -> av.filter.Graph:
    import av.filter

    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width,
        height=frame.height,
        format=frame.format,
        time_base=frame.time_base or Fraction(1, 1000),
    )
    # One frame out for each frame in, so that times stay.
    graph.link_nodes(
        source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink")
    )
    graph.configure()
    return graph


def sample(path: Path, count: int, use: Callable[[Frame], None]) -> None:
    """Calls `use` on up to `count` key frames spread over the file, which costs little.

    A file that cannot be sought gives its first frame only.

    Raises:
        DataError: the file cannot be opened or holds no picture.
    """
    import av
    from av.video.reformatter import VideoReformatter

    with opened(path) as container:
        stream = _stream(container, path)
        _check_size(stream.codec_context.width, stream.codec_context.height, path)
        aspect, scaler = _aspect(stream), VideoReformatter()
        length, first = container.duration or 0, None
        seen: set[int] = set()
        for index in range(count):
            try:
                if index:
                    container.seek(container.start_time + length * index // count)
                raw = next(container.decode(stream), None)
            except (av.error.FFmpegError, ValueError, TypeError):
                raw = None
            if raw is not None and raw.pts not in seen:
                seen.add(raw.pts or 0)
                first = raw.time or 0.0 if first is None else first
                use(Frame((raw.time or 0.0) - first, raw.is_corrupt, raw, scaler, aspect))
            if not length:
                return
