"""A dataset on disk: a folder of videos a split, each with its `metadata.jsonl`, and facts.

    dataset.json  clips.parquet  README.md
    train/ validation/ test/     metadata.jsonl and one mp4 a clip (a Hugging Face VideoFolder)
    cache/                       derived from the videos, see `caches`; may be deleted

The videos and `metadata.jsonl` are the truth; `clips.parquet` is the same table for pandas.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from ..core import files
from ..core.errors import DataError
from ..core.video import Frames
from . import caches
from .splits import NAMES

FORMAT = 2

REAL, REPEATED, INTERPOLATED = 0, 1, 2
KINDS = ("real", "repeated", "interpolated")

# Between the names of objects in `metadata.jsonl`.
SEPARATOR = "; "

Cache = Literal["auto", "rgb", "yuv", "mp4"]


@dataclass(frozen=True)
class Clip:
    """One stored clip.

    Attributes:
        name: what it is called, everywhere.
        file: its mp4, relative to the dataset: `train/....mp4`.
        split: `train`, `validation` or `test`.
        group: clips of one group are of one source or alike, and share a split.
        frames: how many.
        height: in pixels.
        width: in pixels.
        label: its class, or "".
        caption: what is to be seen, or "".
        objects: what objects are to be seen.
        source: where the footage is from, or "".
        licence: of the footage, or "".
        original: the footage file, relative to the footage folder.
        start: where it begins there, in seconds.
        end: and ends.
        kinds: how each frame came to be, one byte a frame: REAL, REPEATED or INTERPOLATED.
        content: SHA-256 of the mp4.
    """

    name: str
    file: str
    split: str
    group: int
    frames: int
    height: int
    width: int
    label: str = ""
    caption: str = ""
    objects: tuple[str, ...] = ()
    source: str = ""
    licence: str = ""
    original: str = ""
    start: float = 0.0
    end: float = 0.0
    kinds: bytes = b""
    content: str = ""


# What a line of `metadata.jsonl` holds just as it is.
_TYPES: dict[str, type[str] | type[int] | type[float]] = {
    "name": str, "caption": str, "label": str, "source": str, "licence": str, "original": str,
    "start": float, "end": float, "frames": int, "height": int, "width": int, "group": int,
    "content": str,
}  # fmt: skip


class Source(Protocol):
    """Gives the frames of clips; several threads may ask at once."""

    @property
    def kind(self) -> str:
        """`rgb`, `yuv` or `mp4`."""
        ...

    def frames(self, clip: Clip, indices: npt.NDArray[np.int64]) -> Frames:
        """Frames of a clip by their place in it: uint8 (len(indices), height, width, 3)."""
        ...


@dataclass(frozen=True)
class Dataset:
    """A prepared dataset.

    Attributes:
        folder: where it lies.
        facts: what `dataset.json` says: fps, size (height, width) and all sizes, labels, mean and
            std of the training split per channel in [-1, 1], counts, digest.
        clips: all clips: those of train, of validation, of test, each in their lasting order.
        source: where frames come from: a cache, or the videos themselves.
    """

    folder: Path
    facts: dict[str, Any]
    clips: tuple[Clip, ...]
    source: Source

    @classmethod
    def open(cls, folder: str | Path, cache: Cache = "auto") -> Dataset:
        """Opens what `prepare` wrote, and builds its cache if that is not there.

        Args:
            folder: the dataset.
            cache: where frames are to come from, see `caches.open_source`; `mp4` builds nothing.

        Raises:
            DataError: the folder is no dataset, one of another format, or its parts are damaged or
                do not fit together.
        """
        folder = Path(folder)
        facts = _facts(folder)
        try:
            expected = {split: int(facts["clips"].get(split, 0)) for split in NAMES}
            known = {*facts["labels"], ""}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _damaged(folder, f"dataset.json does not say {error}") from error
        clips: list[Clip] = []
        for split in NAMES:
            own = _read(folder, split) if expected[split] else []
            if len(own) != expected[split]:
                raise _damaged(
                    folder, f"{split}/metadata.jsonl names {len(own)} clips of {expected[split]}"
                )
            clips += own
        absent = [clip.file for clip in clips if not os.path.isfile(folder / clip.file)]
        if absent:
            raise _damaged(
                folder, f"{len(absent)} of its {len(clips)} videos are missing, {absent[0]} first"
            )
        strange = next((clip for clip in clips if clip.label not in known), None)
        if strange is not None:
            raise _damaged(
                folder,
                f"{strange.file} has label {strange.label!r}, which dataset.json does not name",
            )
        source = caches.open_source(folder, clips, float(facts["fps"]), cache)
        return cls(folder, facts, tuple(clips), source)

    @property
    def fps(self) -> float:
        """Stored frames per second."""
        return float(self.facts["fps"])

    @property
    def labels(self) -> list[str]:
        """Names of the classes; a class's number is its place here. Empty where there are none."""
        return list(self.facts["labels"])

    @cached_property
    def objects(self) -> list[str]:
        """Names of all objects that clips name, sorted."""
        return sorted({name for clip in self.clips for name in clip.objects})

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Heights and widths that clips have; the first is the base one."""
        return [(height, width) for height, width in self.facts["sizes"]]

    def of(self, split: str) -> list[Clip]:
        """The clips of one split."""
        return [clip for clip in self.clips if clip.split == split]

    def frames(self, clip: Clip, indices: npt.NDArray[np.int64]) -> Frames:
        """Frames of a clip by their place in it: uint8 (len(indices), height, width, 3).

        They may be a read-only view of the cache.
        """
        return self.source.frames(clip, indices)


def write(folder: Path, clips: Sequence[tuple[Clip, Path]], facts: dict[str, Any]) -> None:
    """Makes a dataset of clips that lie ready as mp4 files.

    Args:
        folder: an existing folder; what it holds beside the dataset's own files stays.
        clips: each clip and its video, which is linked (or else copied) to `clip.file`. Their order
            within a split is kept, and is part of the content.
        facts: what `dataset.json` is to say; `format` is added.

    Raises:
        DataError: two clips of one name or file, or a clip's file is not in its split's folder.
        MuybridgeError: the disk is full, or the folder cannot be written.
    """
    clips = [(_readable(clip), path) for clip, path in clips]
    _check(clips)
    with files.disk_errors(folder):
        files.remove(folder / "dataset.json")  # until all is there again, it is no dataset
        for split in NAMES:
            _write_split(folder, split, [pair for pair in clips if pair[0].split == split], facts)
        ordered = [clip for split in NAMES for clip, _ in clips if clip.split == split]
        _write_table(folder / "clips.parquet", ordered)
        files.write_text(folder / "README.md", _card(ordered))
        files.write_json(folder / "dataset.json", {**facts, "format": FORMAT})


def _readable(clip: Clip) -> Clip:
    """File names may hold bytes that are no text, which neither JSON's readers nor Parquet take."""
    texts = {name: getattr(clip, name) for name, kind in _TYPES.items() if kind is str}
    return replace(
        clip, **{n: text.encode("utf-8", "backslashreplace").decode() for n, text in texts.items()}
    )


def _check(clips: Sequence[tuple[Clip, Path]]) -> None:
    for what in ("name", "file"):
        seen = Counter(getattr(clip, what) for clip, _ in clips)
        if twice := [value for value, count in seen.items() if count > 1]:
            raise DataError(f"two clips have the same {what}: {twice[0]!r}")
    for clip, _ in clips:
        parts = PurePosixPath(clip.file).parts
        inside = len(parts) > 1 and parts[0] == clip.split and ".." not in parts
        if clip.split not in NAMES or not inside:
            raise DataError(
                f"clip {clip.name!r} of split {clip.split!r} has the file {clip.file!r}"
            )
        if len(clip.kinds) not in (0, clip.frames):
            raise DataError(f"clip {clip.name!r}: {len(clip.kinds)} kinds for {clip.frames} frames")
        if bad := next((name for name in clip.objects if SEPARATOR.strip() in name), None):
            raise DataError(f"clip {clip.name!r}: {SEPARATOR.strip()!r} in the object {bad!r}")


def _write_split(
    folder: Path, split: str, clips: Sequence[tuple[Clip, Path]], facts: dict[str, Any]
) -> None:
    if not clips:
        files.remove(folder / split)
        return
    with files.atomic(folder / split) as made:
        made.mkdir()
        for clip, path in clips:
            target = made / PurePosixPath(clip.file).relative_to(split)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path.resolve(), target)
            except OSError:  # another disk, or one that knows no links
                shutil.copyfile(path, target)
        lines = [json.dumps(_line(clip, facts["fps"])) + "\n" for clip, _ in clips]
        (made / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")


def record(clip: Clip, fps: float) -> dict[str, Any]:
    """What is known of a clip, as JSON has it: kinds of frames as runs that tell of all of them."""
    runs = [(kind, len(list(same))) for kind, same in groupby(clip.kinds or bytes(clip.frames))]
    return {
        **{name: getattr(clip, name) for name in _TYPES},
        "fps": float(fps),
        "objects": list(clip.objects),
        "kinds": [{"kind": KINDS[kind], "frames": count} for kind, count in runs],
    }


def _line(clip: Clip, fps: float) -> dict[str, Any]:
    """A clip as a line of `metadata.jsonl`.

    Every value has one type in every line: readers take a column's type from the first lines they
    see, and an empty list has none. So the names of objects are joined.
    """
    name = PurePosixPath(clip.file).relative_to(clip.split).as_posix()
    objects = SEPARATOR.join(clip.objects)
    return {"file_name": name, **record(clip, fps), "objects": objects}


def _clip(line: dict[str, Any], split: str) -> Clip:
    values: dict[str, Any] = {name: _value(name, line[name]) for name in _TYPES}
    file = PurePosixPath(split, line["file_name"])
    if ".." in file.parts or file.parts[0] != split:
        raise ValueError(f"file_name {line['file_name']!r} leads out of the folder")
    kinds = b"".join(bytes([KINDS.index(run["kind"])]) * run["frames"] for run in line["kinds"])
    if min(values["frames"], values["height"], values["width"]) < 1:
        raise ValueError("it has no frame or no size")
    if len(kinds) != values["frames"]:
        raise ValueError(f"kinds of {len(kinds)} frames, not of {values['frames']}")
    objects = tuple(name for name in line["objects"].split(SEPARATOR) if name)
    return Clip(file=file.as_posix(), split=split, objects=objects, kinds=kinds, **values)


def _value(name: str, value: Any) -> Any:
    kind = _TYPES[name]
    if not isinstance(value, (int, float) if kind is float else kind) or isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}")
    return kind(value)


def _read(folder: Path, split: str) -> list[Clip]:
    path, number = folder / split / "metadata.jsonl", 0
    try:
        with path.open(encoding="utf-8") as stream:
            clips = []
            for text in stream:
                number += 1
                clips.append(_clip(json.loads(text), split))
            return clips
    except OSError as error:
        raise _damaged(folder, f"{split}/metadata.jsonl: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise _damaged(folder, f"{split}/metadata.jsonl, line {number}: {said}") from error


def _facts(folder: Path) -> dict[str, Any]:
    if not (folder / "dataset.json").is_file():
        raise DataError(
            f"data {str(folder)!r} is not a dataset: it has no dataset.json",
            f"make one with: muybridge prepare FOOTAGE --out {folder}",
        )
    facts = files.read_json(folder / "dataset.json", "dataset")
    if not isinstance(facts, dict) or not isinstance(facts.get("format"), int):
        raise _damaged(folder, "dataset.json does not say its format")
    if facts["format"] != FORMAT:
        older = facts["format"] < FORMAT
        raise DataError(
            f"dataset {folder} has format {facts['format']}, this version reads {FORMAT}",
            "prepare it again with this version" if older else "a newer version made it: update",
        )
    return facts


def _damaged(folder: Path, what: str) -> DataError:
    return DataError(f"dataset {folder} is damaged: {what}", "restore it, or prepare it again")


def _write_table(path: Path, clips: Iterable[Clip]) -> None:
    import pandas as pd

    rows = [vars(clip) | {"objects": list(clip.objects)} for clip in clips]
    with files.atomic(path) as temporary:
        pd.DataFrame(rows, columns=[field.name for field in fields(Clip)]).to_parquet(temporary)


def _card(clips: Sequence[Clip]) -> str:
    """A dataset card: by it `datasets.load_dataset(folder)` finds the splits and nothing else."""
    counts = Counter(clip.split for clip in clips)
    splits = "".join(f"  - split: {name}\n    path: {name}/**\n" for name in NAMES if counts[name])
    shares = ", ".join(f"{counts[name]} of {name}" for name in NAMES if counts[name])
    return (
        f"---\nconfigs:\n- config_name: default\n  data_files:\n{splits}---\n"
        f"Clips for training video generators: {shares}. Each split's `metadata.jsonl` says what\n"
        "is known of each clip: caption, labels, source, licence, and which frames are real.\n"
    )
