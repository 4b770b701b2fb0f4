"""Files of labels as people have them: CSV, TSV, JSONL, Kinetics tables, lists as UCF's."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from ..core.errors import DataError, nearest
from ..core.progress import say
from ..core.video import SUFFIXES

# The names people use for each column, in any case, with spaces or hyphens; the first is ours.
# An id names a file only where no other column does; such a table says nothing of folders or
# suffixes (Kinetics).
COLUMNS = {
    "file_name": (
        "file_name", "file", "filename", "path", "video", "video_path", "file_path", "filepath",
        "video_name", "clip", "youtube_id", "video_id",
    ),
    "caption": ("caption", "text", "prompt", "description"),
    "label": ("label", "action", "class", "category"),
    "objects": ("objects", "object", "object_labels"),
    "split": ("split", "subset"),
    "source": ("source", "video_id", "youtube_id", "origin", "url"),
    "licence": ("licence", "license"),
    "start": ("start", "start_time", "time_start", "begin"),
    "end": ("end", "end_time", "time_end"),
}  # fmt: skip
IDS = ("youtube_id", "video_id")
# What Hugging Face and the makers of Kinetics call each split.
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "validate", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
LISTS = (".txt", ".lst", ".list")
CLASSES = ("classInd.txt", "classes.txt", "label_map*.txt")

_UCF_LIST = re.compile(r"(?:train|test)list(\d*)\.txt")
_UCF_NAME = re.compile(r"v_(.+)_g\d+_c\d+")
_NAMED_FOR_SPLIT = re.compile(r"(?:.*[_-])?([a-z]+?)(?:list)?[_-]?\d*")
_SUFFIXES = "|".join(sorted(suffix[1:] for suffix in SUFFIXES))
_LISTED = re.compile(rf"(.*?\.(?:{_SUFFIXES}))(?:[\s,]+(.*))?", re.IGNORECASE)
_TIME = re.compile(r"(?:(?:(\d+):)?(\d+):)?((?:\d+[.,]?\d*|[.,]\d+)(?:[eE]-?\d+)?)")

Row = dict[str, Any]


@dataclass(frozen=True)
class Note:
    """What is known of a file, or of a stretch of it; "" where nothing is.

    `split` is the one asked for. `start` and `end` are seconds in the file; None is the file's own
    beginning or end, so that a note with neither holds for all of it.
    """

    caption: str = ""
    label: str = ""
    objects: tuple[str, ...] = ()
    split: str = ""
    source: str = ""
    licence: str = ""
    start: float | None = None
    end: float | None = None


def read(path: Path) -> dict[str, list[Note]]:
    """Reads one file of labels: file name, as it stands there -> what is known, row by row.

    A name is a path from the footage's folder or, in a `metadata` file, from that file's own; or an
    id where the table has nothing else. UCF's lists are read with their sister, `trainlist01.txt`
    with `testlist01.txt`, and class numbers become names where `classInd.txt` or `classes.txt` lies
    beside a list.

    Raises:
        DataError: absent, not readable, without a column of file names, or a row that cannot be
            what it says; the message names the row and the column.
    """
    match = _UCF_LIST.fullmatch(path.name)
    sisters = (f"{side}list{match[1]}.txt" for side in ("train", "test")) if match else ()
    notes: dict[str, list[Note]] = {}
    for each in [path.with_name(s) for s in sisters if path.with_name(s).is_file()] or [path]:
        text = _text_of(each)
        found = _from_list(each, text) if _is_list(each, text) else _from_table(each, text)
        for name, note in found:
            if note not in notes.setdefault(name, []):
                notes[name].append(note)
    return notes


def published(path: Path) -> bool:
    """Whether a file of a common name, as train.csv, is a table of Kinetics or a list of videos."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as stream:
            first = stream.readline(4096).strip()
    except OSError:
        return False
    return bool(_LISTED.fullmatch(first)) or "youtube_id" in map(_plain, first.split(","))


def split_named(name: str) -> str:
    """The split that a folder or a value of this name means, or ""."""
    plain = name.strip().lower()
    return next((split for split, names in SPLITS.items() if plain in names), "")


def ucf_class(name: str) -> str:
    """The class in a file name of UCF101, v_ApplyEyeMakeup_g08_c01.avi, or ""."""
    match = _UCF_NAME.fullmatch(PurePosixPath(name).stem)
    return match[1] if match else ""


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"labels file {path} cannot be read ({error})", "save it as UTF-8"
        ) from error
    except OSError as error:
        raise DataError(f"labels file {path} cannot be read ({error})", "check the path") from error


def _is_list(path: Path, text: str) -> bool:
    """Whether the file has no header: some give lists the suffix of a table."""
    if path.suffix.lower() in LISTS:
        return True
    first = next((line.strip() for line in text.split("\n") if line.strip()), "")
    return path.suffix.lower() in (".csv", ".tsv") and bool(_LISTED.fullmatch(first))


def _split_of_file(path: Path) -> str:
    """trainlist01.txt, val.txt and kinetics_test.csv hold one split each."""
    match = _NAMED_FOR_SPLIT.fullmatch(path.stem.lower())
    return split_named(match[1]) if match else ""


# Tables


def _from_table(path: Path, text: str) -> Iterable[tuple[str, Note]]:
    rows = _json_rows(path, text) if path.suffix.lower() in (".jsonl", ".ndjson") else None
    rows = _csv_rows(path, text) if rows is None else rows
    if not rows:
        raise DataError(f"{path} holds no rows", "a labels file has one row a video")
    columns = _columns(path, rows)
    # A table of ids is a published one, and its file is named for its split.
    usual = _split_of_file(path) if _plain(columns["file_name"]) in IDS else ""
    for number, row in enumerate(rows, 1):
        name, note = _of_row(row, columns, f"{path}, row {number}")
        if usual and "split" not in columns:
            note = replace(note, split=usual)
        yield name, note


def _json_rows(path: Path, text: str) -> list[Row]:
    rows: list[Row] = []
    # Not splitlines, which also parts lines at characters that JSON may hold as they are.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows.append(dict(json.loads(line)))
            except (ValueError, TypeError) as error:
                raise DataError(
                    f"{path}, line {number} is not a JSON object ({error})",
                    'each line is one row, as {"file_name": "a.mp4", "caption": "a cat"}',
                ) from error
    return rows


def _csv_rows(path: Path, text: str) -> list[Row]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    rows: list[Row] = []
    try:
        for row in csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter):
            rows.append(dict(row))
    except csv.Error as error:
        raise DataError(
            f"{path}, row {len(rows) + 1} cannot be read ({error})", "look for a quote left open"
        ) from error
    for number, row in enumerate(rows, 1):
        if None in row:
            raise DataError(
                f"{path}, row {number} has more values than there are columns",
                "put a value that holds a comma in double quotes",
            )
    return rows


def _columns(path: Path, rows: list[Row]) -> dict[str, str]:
    """Our name of each column that is there -> theirs; says which of theirs are not used."""
    theirs = {_plain(key): key for row in reversed(rows) for key in reversed(row)}
    columns = {
        ours: theirs[next(name for name in names if name in theirs)]
        for ours, names in COLUMNS.items()
        if any(name in theirs for name in names)
    }
    if "file_name" not in columns:
        close = nearest("file_name", theirs.values())
        raise DataError(
            f"{path} has no column of file names; its columns are "
            f"{', '.join(sorted(theirs.values()))}",
            f"rename {close or 'one of them'} to file_name",
        )
    unused = sorted(set(theirs.values()) - set(columns.values()))
    if unused:
        say(f"{path}: columns not used: {', '.join(unused)}")
    return columns


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", str(name).strip().lower())


def _of_row(row: Row, columns: dict[str, str], where: str) -> tuple[str, Note]:
    values = {
        ours: _text(row.get(theirs), f"{where}, column {theirs}")
        for ours, theirs in columns.items()
        if ours != "objects"
    }
    if not values["file_name"]:
        raise DataError(f"{where}: no file name", "name the video or remove the row")
    asked = values.get("split", "")
    split = split_named(asked)
    if asked and not split:
        raise DataError(
            f"{where}: split {asked!r} is not one of {', '.join(SPLITS)}",
            "leave it empty to let prepare choose",
        )
    start, end = (
        _seconds(values.get(name, ""), f"{where}, column {columns.get(name, name)}")
        for name in ("start", "end")
    )
    if end is not None and end <= (start or 0):
        raise DataError(
            f"{where}: it ends at {end:g} s and starts at {start or 0:g} s",
            "give both as seconds or as hh:mm:ss from the beginning of the file",
        )
    theirs = columns.get("objects", "")
    objects = _objects(row.get(theirs), f"{where}, column {theirs}") if theirs else ()
    plain = {name: values.get(name, "") for name in ("caption", "label", "source", "licence")}
    name = PurePosixPath(values["file_name"]).as_posix()
    return name, Note(**plain, objects=objects, split=split, start=start, end=end)


def _text(value: Any, where: str) -> str:
    if isinstance(value, list | dict):
        raise DataError(
            f"{where}: {json.dumps(value)[:60]} is not one value",
            "give each caption or action a row of its own; things that are seen go in objects",
        )
    absent = value is None or value != value  # what pandas writes for nothing is no number
    return "" if absent else str(value).strip()


def _objects(value: Any, where: str) -> tuple[str, ...]:
    """A list, or "ball; pillar" or "ball|pillar" in a cell; each once."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise DataError(
                f"{where}: {value[:60]!r} is not a JSON list", "use ball; box"
            ) from error
    if not isinstance(value, list):
        value = re.split(r"[;|]", _text(value, where))
    names = [_text(item, where) for item in value]
    return tuple(dict.fromkeys(name for name in names if name))


def _seconds(value: str, where: str) -> float | None:
    """Seconds, mm:ss or hh:mm:ss, with a fraction after a point or a comma."""
    if not value:
        return None
    match = _TIME.fullmatch(value)
    parts = [float((part or "0").replace(",", ".")) for part in match.groups()] if match else []
    if match is None or (match[1] and parts[1] >= 60) or (match[2] and parts[2] >= 60):
        raise DataError(
            f"{where}: {value!r} is not a time", "give seconds, as 62.5, or hh:mm:ss, as 00:01:02.5"
        )
    return parts[0] * 3600 + parts[1] * 60 + parts[2]


# Lists


def _from_list(path: Path, text: str) -> Iterable[tuple[str, Note]]:
    lines = [(n, line.strip()) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise DataError(f"{path} holds no rows", "a list has one line a video: its path, its label")
    classes, split = _classes(path.parent), _split_of_file(path)
    for number, line in lines:
        match = _LISTED.fullmatch(line)
        # Without a suffix the last word is the label, for a path may hold spaces.
        name, _, label = (match[1], "", match[2]) if match else line.rpartition(" ")
        if not name:
            name, label = line, ""
        label = (label or "").strip()
        if label.isdecimal() and classes:
            if int(label) not in classes:
                raise DataError(
                    f"{path}, line {number}: class {label} is not in the list of classes beside it",
                    f"{', '.join(CLASSES)} has {min(classes)} to {max(classes)}",
                )
            label = classes[int(label)]
        elif not label or label.isdecimal():
            label = ucf_class(name) or label
        yield PurePosixPath(name).as_posix(), Note(label=label, split=split)


def _classes(folder: Path) -> dict[int, str]:
    """Names by number: "1 ApplyEyeMakeup" a line, or one name a line, counted from 0."""
    found = next((p for pattern in CLASSES for p in sorted(folder.glob(pattern))), None)
    if found is None:
        return {}
    lines = [line.strip() for line in _text_of(found).split("\n") if line.strip()]
    numbered = [re.fullmatch(r"(\d+)[\s,]+(.+)", line) for line in lines]
    if all(numbered):
        return {int(match[1]): match[2] for match in numbered if match}
    return dict(enumerate(lines))
