"""Sets of clips to be judged, read a few at a time: of a dataset's split, of a folder, made.

All clips of a set have one length, rate and size. Where those of a folder differ, nothing is
decided in silence: either the caller says what they are brought to, which the manifest records, or
the difference is an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from ..core import files
from ..core.clips import to_float
from ..core.decoding import frames as decoded
from ..core.decoding import probe
from ..core.errors import DataError, MuybridgeError
from ..core.progress import track
from ..core.video import SUFFIXES, Frames, at_rate, decode
from ..data import labels
from ..data.loader import Loader

CHUNK = 16
# What is done to clips that already are as they are wanted.
WHOLE = {"resize": "none"}
# Folders that judging itself writes into what it judges.
OWN = ("evaluation", "samples")


@dataclass(frozen=True)
class Form:
    """Frames, rate (frames per second) and size (height, width) of a set's clips."""

    frames: int
    fps: float
    size: tuple[int, int]


@dataclass(frozen=True)
class Wanted:
    """What clips are to be brought to; None leaves each as it is, and then all must agree."""

    frames: int | None = None
    fps: float | None = None
    size: tuple[int, int] | None = None


AS_THEY_ARE = Wanted()


@dataclass(frozen=True)
class ClipSet:
    """Clips of one form.

    Attributes:
        name: what they are called in tables.
        form: their length, rate and size.
        names: of each clip.
        owners: the footage each was cut from; clips of one owner are not independent.
        captions: what each shows, in words; "" where nothing says.
        labels: the class of each; "" where nothing says.
        read: clips `begin` up to `end`, float32 (n, time, 3, height, width) in [-1, 1].
        facts: how they were chosen and made alike, for the manifest.
        warnings: what a reader must know, such as files that were set aside.
        objects: what is named to be seen in each clip; () where nothing says.
    """

    name: str
    form: Form
    names: tuple[str, ...]
    owners: tuple[str, ...]
    captions: tuple[str, ...]
    labels: tuple[str, ...]
    read: Callable[[int, int], Tensor]
    facts: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    objects: tuple[tuple[str, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def chunks(self, what: str = "", size: int = CHUNK) -> Iterator[Tensor]:
        """All clips, `size` at a time; with a bar named `what`."""
        begins = range(0, len(self), size)
        for begin in track(begins, what) if what else begins:
            yield self.read(begin, min(begin + size, len(self)))

    def some(self, indices: Sequence[int]) -> Tensor:
        """The clips of these places, (len(indices), time, 3, height, width)."""
        return torch.cat([self.read(index, index + 1) for index in indices])


def of_split(loader: Loader, count: int, name: str) -> ClipSet:
    """`count` windows spread evenly over a split and over the length of its clips.

    Windows of one piece of footage share an owner, also where it lies in several clips.
    """
    cuts = loader.windows(count)
    clips = [cut.clip for cut in cuts]
    return ClipSet(
        name,
        Form(loader.config.frames, loader.config.fps, (clips[0].height, clips[0].width)),
        tuple(cut.name(loader.dataset.fps) for cut in cuts),
        tuple(f"group {clip.group}" for clip in clips),
        tuple(clip.caption for clip in clips),
        tuple(clip.label for clip in clips),
        lambda begin, end: loader.fixed(count, begin, end).clips,
        {"split": loader.split, "split_clips": len(loader.clips), "windows": count,
         "sources": len({clip.group for clip in clips}), "digest": loader.dataset.facts["digest"]},
        objects=tuple(clip.objects for clip in clips),
    )  # fmt: skip


def of_tensor(
    clips: Tensor, fps: float, name: str, captions: Sequence[str] = (), labels: Sequence[str] = ()
) -> ClipSet:
    """Clips in memory, (n, time, 3, height, width) in [-1, 1], each of footage of its own.

    `captions` and `labels` are () or have one for each.
    """
    names = tuple(f"{name} {index}" for index in range(len(clips)))
    return ClipSet(
        name,
        Form(clips.shape[1], fps, (clips.shape[3], clips.shape[4])),
        names,
        names,
        tuple(captions) or ("",) * len(clips),
        tuple(labels) or ("",) * len(clips),
        lambda begin, end: clips[begin:end],
        {"resize": "none"},
    )


@dataclass(frozen=True)
class _Video:
    """A file of a folder; `reason` says why it is set aside, "" if it is not."""

    path: Path
    name: str
    frames: int = 0
    fps: float = 0.0
    size: tuple[int, int] = (0, 0)
    reason: str = ""


def of_folder(folder: Path, name: str, wanted: Wanted = AS_THEY_ARE) -> ClipSet:
    """The videos in a folder and its subfolders, one clip each.

    Rules, all in the manifest: files of which not all that is judged can be decoded are set aside;
    with `wanted.frames` a clip is the first so many frames, and shorter files are set aside; with
    `wanted.fps` the frame nearest in time is taken; with `wanted.size` pictures are stretched. A
    rate or size that all files have is no rule: what it gives is what they hold.

    Raises:
        MuybridgeError: no video can be used, or they differ in length, rate or size and `wanted`
            does not say what to do.
    """
    found = _videos(folder, wanted)
    usable = [video for video in found if not video.reason]
    aside = [video for video in found if video.reason]
    if not usable:
        told = "; ".join(f"{v.name}: {v.reason}" for v in aside[:3])
        raise MuybridgeError(
            f"{folder} holds no video that can be judged" + (f" ({told})" if told else ""),
            f"videos end in {', '.join(sorted(SUFFIXES)[:6])} and others",
        )
    if wanted.frames is None:
        _agree(folder, usable, "length", {v.name: f"{v.frames} frames" for v in usable},
               f"--frames {_most(usable)} takes the first so many of each")  # fmt: skip
    if wanted.fps is None:
        _agree(folder, usable, "rate", {v.name: f"{v.fps:g} frames/s" for v in usable},
               f"--fps {min(v.fps for v in usable):g} brings all to one")  # fmt: skip
    if wanted.size is None:
        _agree(folder, usable, "size", {v.name: f"{v.size[0]}x{v.size[1]}" for v in usable},
               "--size 64x64, or another, brings all to one")  # fmt: skip
    first = usable[0]
    form = Form(wanted.frames or first.frames, wanted.fps or first.fps, wanted.size or first.size)
    captions, classes = _said(folder, usable)
    counts = Counter(video.reason.split(":")[0] for video in aside)
    return ClipSet(
        name,
        form,
        tuple(video.name for video in usable),
        tuple(video.name for video in usable),
        captions,
        classes,
        lambda begin, end: _read(usable[begin:end], form, wanted),
        {
            "split": "folder", "windows": len(usable), "sources": len(usable),
            "digest": files.digest_of(*(files.digest(v.path) for v in usable)),
            "set_aside": dict(counts),
            **_rules(usable, form),
        },
        tuple(f"{folder / v.name} was set aside: {v.reason}" for v in aside),
    )  # fmt: skip


def _videos(folder: Path, wanted: Wanted) -> list[_Video]:
    if not folder.is_dir():
        raise MuybridgeError(f"{folder} is not a folder", "give a run, a dataset or a folder")
    paths = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES and path.is_file() and not _own(path, folder)
    ]
    return [_examined(path, folder, wanted) for path in track(paths, folder.name or "folder")]


def _own(path: Path, folder: Path) -> bool:
    inner = path.relative_to(folder).parts[:-1]
    return any(part.startswith(".") for part in inner) or inner[:1] in [(own,) for own in OWN]


def _examined(path: Path, folder: Path, wanted: Wanted) -> _Video:
    """Length, rate and size of a file, by decoding as much of it as will be judged."""
    name = path.relative_to(folder).as_posix()
    enough = wanted.frames / wanted.fps + 1 if wanted.frames and wanted.fps else inf
    times, size = [], (0, 0)
    try:
        for frame in decoded(path):
            if frame.damaged:
                return _Video(path, name, reason=f"damaged: after {frame.seconds:.2f} s")
            times.append(frame.seconds)
            size = frame.size
            # One frame more than is taken tells whether there is more than is taken.
            if frame.seconds > enough or (not wanted.fps and len(times) > (wanted.frames or inf)):
                break
    except DataError as error:
        return _Video(path, name, reason=f"cannot be opened: {error.message}")
    gaps = np.diff(times)
    if len(times) < 2 or gaps.min() <= 0:
        return _Video(path, name, reason=f"too short: it has {len(times)} frames")
    gap = float(np.median(gaps))
    if wanted.fps is None and np.abs(gaps - gap).max() > 0.3 * gap:
        return _Video(path, name, reason="uneven rate: --fps brings it to an even one")
    count = len(times)
    if wanted.fps is not None:
        count = int(np.ceil((times[-1] + gaps[-1] / 2 - 1e-9) * wanted.fps))  # as `at_rate` does
    if wanted.frames is not None and count < wanted.frames:
        return _Video(path, name, reason=f"too short: {count} frames of {wanted.frames}")
    return _Video(path, name, count, _rate(path, times), size)


def _rate(path: Path, times: Sequence[float]) -> float:
    """Frames a second by the frames' times, or as the file states it where these agree: some files
    hold times in whole milliseconds."""
    stated, gaps = probe(path).fps, len(times) - 1
    if stated and abs(gaps / stated - times[-1]) < 1.5e-3:
        return round(stated, 2)
    return round(gaps / times[-1], 2)


def _rules(videos: Sequence[_Video], form: Form) -> dict[str, str]:
    """What is done to bring videos to one form."""
    height, width = form.size
    rules = dict(WHOLE)
    if any(video.size != form.size for video in videos):
        rules["resize"] = f"stretched to {height}x{width}, by area where smaller, else cubic"
    if any(video.fps != form.fps for video in videos):
        rules["rate"] = "nearest frame in time"
    if any(video.frames != form.frames for video in videos):
        rules["cut"] = "the first frames"
    return rules


def _most(videos: Sequence[_Video]) -> int:
    """The length that most videos reach: the tenth percentile."""
    return int(np.quantile([video.frames for video in videos], 0.1, method="lower"))


def _agree(
    folder: Path, videos: Sequence[_Video], what: str, values: dict[str, str], remedy: str
) -> None:
    """Raises MuybridgeError where the values differ."""
    first, kinds = videos[0].name, Counter(values.values())
    other = next((name for name, value in values.items() if value != values[first]), None)
    if other is not None:
        raise MuybridgeError(
            f"the videos in {folder} are not of one {what}: {first} has {values[first]}, {other} "
            f"has {values[other]} ({len(kinds)} kinds in {len(videos)} videos)",
            f"{remedy}; what is done is written into the manifest",
        )


def _read(videos: Sequence[_Video], form: Form, wanted: Wanted) -> Tensor:
    clips = np.stack([_clip(video, form, wanted) for video in videos])
    return torch.from_numpy(to_float(clips))


def _clip(video: _Video, form: Form, wanted: Wanted) -> Frames:
    frames = decode(video.path)
    if wanted.fps is not None:
        frames = at_rate(frames, form.fps)
    pictures = [picture for _, picture in islice(frames, form.frames)]
    if len(pictures) < form.frames:
        raise DataError(f"{video.path} changed while it was judged", "judge again")
    height, width = form.size
    if pictures[0].shape[:2] != form.size:
        smaller = height * width < pictures[0].shape[0] * pictures[0].shape[1]
        way = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
        resized = [cv2.resize(p, (width, height), interpolation=way) for p in pictures]
        return np.asarray(np.stack(resized), np.uint8)
    return np.stack(pictures)


def _said(folder: Path, videos: Sequence[_Video]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Captions and labels: from the JSON beside a video, a table in the folder, or its folders."""
    notes = labels.gather([video.path for video in videos], folder)
    captions, classes = [], []
    for video in videos:
        beside = video.path.with_suffix(".json")
        told = files.read_json(beside) if beside.is_file() else {}
        told = told if isinstance(told, dict) else {}
        note = next(iter(notes[video.name]), labels.Note())
        captions.append(str(told.get("caption") or note.caption))
        classes.append(str(told.get("label") or note.label))
    return tuple(captions), tuple(classes)
