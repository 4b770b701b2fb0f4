"""Video files, frame after frame: what is written takes no more memory for being longer."""

from __future__ import annotations

import contextlib
import fractions
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from .decoding import Frames
from .errors import MuybridgeError
from .files import atomic

Add = Callable[[Frames], None]
"""Takes the next uint8 frames (time, height, width, 3)."""

_PNG_HEADER = 33
"""Bytes of a PNG's signature and its first chunk, which has to be the first."""


@contextlib.contextmanager
def film(path: Path, fps: float, quality: int = 16, comment: str = "") -> Iterator[Add]:
    """Writes H.264 mp4, gif, or a folder of numbered PNG frames, whole or not at all.

    Args:
        path: `.mp4` and `.gif` name files, no suffix names a folder.
        fps: frames per second.
        quality: x264's constant rate factor: 0 is lossless, 23 ordinary, 51 worst.
        comment: kept in the file's metadata.

    Raises:
        MuybridgeError: a suffix that is none of these, or a disk that is full.
    """
    kinds = {".mp4": _mp4_file, ".gif": _gif, "": _pictures}
    if path.suffix not in kinds:
        raise MuybridgeError(
            f"{path.name}: {path.suffix} is not a form that videos are written in",
            "name it .mp4 or .gif, or give no suffix for a folder of PNG frames",
        )
    with atomic(path) as place, kinds[path.suffix](place, fps, quality, comment) as add:
        yield add


@contextlib.contextmanager
def mp4(
    target: IO[bytes], fps: float, quality: int = 16, comment: str = "", gop: int | None = None
) -> Iterator[Add]:
    """H.264 mp4 into a file that can be sought in; the same bytes for the same frames.

    Odd sizes are padded by repeating the last row or column, which 4:2:0 colour needs. With `gop`
    there is a key frame every so many frames and nothing refers across it, and decoding is made
    fast: random clips are read several times faster, for about twice the bytes.
    """
    import av

    with av.open(target, "w", format="mp4") as container:
        if comment:
            container.metadata["comment"] = comment
        stream = container.add_stream("libx264", rate=_rate(fps, 1001))
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        # Said, or large pictures would be taken for those of high definition, whose colours differ.
        stream.codec_context.colorspace = av.video.reformatter.Colorspace.ITU601.value
        # No B-frames and no macroblock tree: both look ahead at half size, where x264 reads past a
        # small picture's edge, so that the bytes would differ by what its memory held before.
        stream.options = {
            "crf": str(quality), "preset": "veryfast", "bf": "0", "x264-params": "mbtree=0"
        }  # fmt: skip
        if gop:
            stream.options |= {"g": str(gop), "flags": "+cgop", "tune": "fastdecode"}

        def add(frames: Frames) -> None:
            over = ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0))
            frames = np.pad(frames, over, "edge")
            _mux(container, stream, frames)

        yield add
        container.mux(stream.encode())


def png(picture: Frames, comment: str = "") -> bytes:
    """One picture (height, width, 3) as PNG bytes; the comment as its `Comment` text."""
    import cv2

    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not done:
        raise MuybridgeError(f"a picture of shape {picture.shape} could not be written as PNG")
    whole = data.tobytes()
    if not comment:
        return whole
    text = b"tEXtComment\0" + comment.encode("latin-1", "replace")
    chunk = (len(text) - 4).to_bytes(4) + text + zlib.crc32(text).to_bytes(4)
    return whole[:_PNG_HEADER] + chunk + whole[_PNG_HEADER:]


@contextlib.contextmanager
def _mp4_file(place: Path, fps: float, quality: int, comment: str) -> Iterator[Add]:
    with place.open("wb") as stream, mp4(stream, fps, quality, comment) as add:
        yield add


@contextlib.contextmanager
def _gif(place: Path, fps: float, quality: int, comment: str) -> Iterator[Add]:
    import av

    with place.open("w+b") as target:
        with av.open(target, "w", format="gif") as container:
            stream = container.add_stream("gif", rate=_rate(fps, 100))
            stream.pix_fmt = "rgb8"
            yield lambda frames: _mux(container, stream, frames)
            container.mux(stream.encode())
        if comment:
            # A comment extension in the place of the trailer, which follows it.
            target.seek(-1, 2)
            text = comment.encode("ascii", "replace")[:255]
            target.write(b"\x21\xfe" + bytes([len(text)]) + text + b"\0;")


@contextlib.contextmanager
def _pictures(place: Path, fps: float, quality: int, comment: str) -> Iterator[Add]:
    place.mkdir()
    count = 0

    def add(frames: Frames) -> None:
        nonlocal count
        for frame in frames:
            (place / f"{count:05d}.png").write_bytes(png(frame, comment))
            count += 1

    yield add


def _mux(container: Any, stream: Any, frames: Frames) -> None:
    import av

    for picture in frames:
        if not stream.codec_context.is_open:
            stream.width, stream.height = picture.shape[1], picture.shape[0]
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        container.mux(stream.encode(frame))


def _rate(fps: float, most: int) -> fractions.Fraction:
    return fractions.Fraction(fps).limit_denominator(most)
