"""Frames that a run goes on from: the last of a video, or the first of training clips it keeps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from .core import decoding, files
from .core.clips import to_float
from .core.errors import DataError, MuybridgeError, RunError
from .core.video import Frames, at_rate, to_uint8
from .data import framing, loader, tasks
from .objectives.base import SampleRequest

FILE = "prefixes.npz"
KEPT = 8


@dataclass(frozen=True)
class Start:
    """What clips go on from, in turn.

    Attributes:
        frames: float32 (count, given, 3, height, width) in [-1, 1].
        said: `text` and `label` of each, as a run's conditions have them; "" where nothing says.
    """

    frames: Tensor
    said: Sequence[dict[str, str]]


def start(folder: Path, data: loader.Config, video: str | Path | None) -> Start | None:
    """What a run's clips go on from: a video where one is given, else, where the run cannot do
    without, what it keeps; None for nothing.

    Raises:
        MuybridgeError: a run that was not trained to go on from frames, or a video that is too
            short.
    """
    if video is not None:
        if not data.tasks.prefix:
            raise MuybridgeError(
                f"--prefix {video}: {folder} makes clips from nothing, and was not trained to go "
                "on from given frames (data.tasks.prefix = 0)",
                "leave --prefix out; a model that can go on is simvp, or another recipe that has "
                "data.tasks.prefix above 0",
            )
        return Start(of_video(Path(video), data), [{"text": "", "label": ""}])
    return kept(folder) if data.tasks.always else None


def given(request: SampleRequest, frames: Tensor) -> SampleRequest:
    """A request whose clips begin with these frames, (n, given, 3, height, width), in turn.

    Raises:
        MuybridgeError: its clips are no longer than that.
    """
    count, length, known = len(request), request.times.shape[1], frames.shape[1]
    if length <= known:
        raise MuybridgeError(
            f"a clip of {length} frames, of which the first {known} are given, leaves none to be "
            "made",
            "raise --seconds",
        )
    clips = frames.new_zeros(len(frames), length, *frames.shape[2:])
    clips[:, :known] = frames
    turn = torch.arange(count) % len(frames)
    clips = clips.expand(count, -1, -1, -1, -1) if len(frames) == 1 else clips[turn]
    mask = tasks.first(length, known).expand(count, -1, 1, *request.size)
    return replace(request, known=clips, known_mask=mask)


def count(request: SampleRequest) -> list[int]:
    """How many frames of each clip of a request are given."""
    if request.known_mask is None:
        return [0] * len(request)
    found: list[int] = request.known_mask[:, :, 0, 0, 0].sum(1).int().tolist()
    return found


def of_video(path: Path, data: loader.Config) -> Tensor:
    """The last frames of a video at a run's rate and size, (1, given, 3, height, width) in [-1, 1].

    Pictures are scaled and cut to their middle as `muybridge prepare` does it; black bars stay.

    Raises:
        DataError: the file cannot be read, or is too short.
    """
    wanted = data.tasks.given
    frames = at_rate(_pictures(path, data.size), data.fps)
    last = [picture for _, picture in deque(frames, maxlen=wanted)]
    if len(last) < wanted:
        raise DataError(
            f"--prefix {path} is too short: it has {len(last)} frames at {data.fps:g} frames/s, "
            f"and {wanted} are gone on from",
            f"give a video of {wanted / data.fps:g} s or more",
        )
    return torch.from_numpy(to_float(np.stack(last)))[None]


def _pictures(path: Path, size: tuple[int, int]) -> Iterator[tuple[float, Frames]]:
    for frame in decoding.frames(path):
        if frame.damaged:
            raise DataError(
                f"--prefix {path} is damaged after {frame.seconds:.2f} s", "give another video"
            )
        scaled, inner = framing.cover(frame.size, framing.WHOLE, size)
        yield frame.seconds, framing.crop(frame.picture(scaled)[inner], (0.5, 0.5), size)


def keep(train: loader.Loader, folder: Path) -> None:
    """Writes the first frames of some training clips, and what is said of them, into a run."""
    cuts = train.windows(KEPT)
    first = train.read(cuts).clips[:, : train.config.tasks.given]
    with files.atomic(folder / FILE) as place, place.open("wb") as stream:
        np.savez(
            stream,
            frames=np.stack([to_uint8(clip) for clip in first]),
            text=np.array([cut.said.caption for cut in cuts]),
            labels=np.array([cut.said.label for cut in cuts]),
        )


def kept(folder: Path) -> Start:
    """What `keep` wrote.

    Raises:
        RunError: it is not there, or damaged.
    """
    try:
        with np.load(folder / FILE, allow_pickle=False) as found:
            frames, text, labels = (found[name] for name in ("frames", "text", "labels"))
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise RunError(
            f"{folder} can only go on from given frames, and its own {FILE} cannot be read",
            "give a video: --prefix VIDEO",
        ) from error
    pairs = zip(text.tolist(), labels.tolist(), strict=True)
    said = [{"text": words, "label": label} for words, label in pairs]
    return Start(torch.from_numpy(to_float(frames)), said)
