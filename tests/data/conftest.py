"""Small datasets, as the tests of what lies on disk need them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from muybridge.core.video import Frames
from muybridge.data.store import Clip, write

Written = Callable[..., list[Clip]]
FPS = 24.0


def moving(count: int, height: int, width: int, seed: int = 0) -> Frames:
    """A colourful picture that shifts by three pixels a frame: no two frames are the same."""
    chance = np.random.default_rng(seed)
    wide = chance.integers(0, 256, (height, width + 3 * count, 3), np.uint8)
    wide = cv2.normalize(cv2.GaussianBlur(wide, (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX)
    return np.stack([wide[:, 3 * i : 3 * i + width] for i in range(count)])


def video_of(
    frames: Frames, fps: float = FPS, colours: tuple[int, int] = (2, 0), **options: str
) -> bytes:
    """An mp4, by default as datasets hold them: closed groups of 12 pictures, no B-frames.

    `colours` are FFmpeg's numbers of a colour space and a range.
    """
    buffer = io.BytesIO()
    high, wide = frames.shape[1] % 2, frames.shape[2] % 2
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=round(fps))
        stream.height, stream.width = frames.shape[1] + high, frames.shape[2] + wide
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.colorspace, stream.codec_context.color_range = colours
        wanted = {"g": "12", "bf": "0", "tune": "fastdecode", "x264-params": "mbtree=0"} | options
        stream.options = {"preset": "veryfast", "crf": "16"} | wanted
        for picture in np.pad(frames, ((0, 0), (0, high), (0, wide), (0, 0)), "edge"):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def write_clips(
    folder: Path,
    sizes: Sequence[tuple[int, int, int]],
    options: dict[str, str] | None = None,
    colours: tuple[int, int] = (2, 0),
    **facts: Any,
) -> list[Clip]:
    """A dataset of clips of these (frames, height, width), their splits in turn.

    Gives the clips in the order in which they are written.
    """
    items = folder / "items"
    items.mkdir(parents=True, exist_ok=True)
    pairs = []
    for index, (count, height, width) in enumerate(sizes):
        content = video_of(moving(count, height, width, index), colours=colours, **(options or {}))
        path = items / f"clip_{index:03d}.mp4"
        path.write_bytes(content)
        split = ("train", "train", "validation", "test")[index % 4]
        clip = Clip(
            name=f"walk/clip {index}@0.0", file=f"{split}/clip{index}.mp4", split=split,
            group=index, frames=count, height=height, width=width, label=("", "walk")[index % 2],
            caption=f"caption {index}", objects=("dog", "red ball")[: index % 3],
            source="own", licence="CC0", original=f"walk/{index}.mov", start=0.5, end=2.0,
            kinds=bytes([0] * (count - 3) + [2, 1, 0]),
            content=hashlib.sha256(content).hexdigest(),
        )  # fmt: skip
        pairs.append((clip, path))
    splits = [clip.split for clip, _ in pairs]
    known = {
        "fps": FPS, "size": list(sizes[0][1:]),
        "sizes": [list(size) for size in dict.fromkeys(size[1:] for size in sizes)],
        "labels": ["walk"], "captioned": len(pairs), "mean": [0.0] * 3, "std": [0.5] * 3,
        "clips": {split: splits.count(split) for split in splits}, "digest": "d",
    }  # fmt: skip
    write(folder, pairs, known | facts)
    return [clip for clip, _ in pairs]


@pytest.fixture(scope="session")
def written() -> Written:
    """`write_clips`: makes a dataset."""
    return write_clips


@pytest.fixture(scope="session")
def coded() -> Callable[..., bytes]:
    """`video_of`: makes an mp4."""
    return video_of


@pytest.fixture(scope="session")
def pictures() -> Callable[..., Frames]:
    """`moving`: makes frames."""
    return moving
