"""Captions and labels of footage: from class folders, CSV, or `metadata.jsonl`."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import DataError, nearest

FOUND_BY_ITSELF = ("metadata.jsonl", "metadata.csv", "labels.csv", "labels.jsonl")

# The names people use for each column; the first is ours.
COLUMNS = {
    "file_name": ("file_name", "file", "filename", "path", "video"),
    "caption": ("caption", "text", "prompt", "description"),
    "label": ("label", "action", "class", "category"),
    "split": ("split",),
}
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Note:
    """What is known of one file; "" where nothing is."""

    caption: str = ""
    label: str = ""
    split: str = ""


def find(footage: Path) -> Path | None:
    """The labels file lying in a folder of footage, if there is one."""
    return next((footage / n for n in FOUND_BY_ITSELF if (footage / n).is_file()), None)


def read(path: Path) -> dict[str, Note]:
    """Reads a CSV or JSONL of labels: file name (relative to the footage) -> what is known.

    Raises:
        DataError: absent, not readable, without a column of file names, or a split not known.
    """
    rows = _rows(path)
    if not rows:
        raise DataError(f"{path} holds no rows", "a labels file has one row a video")
    names = {key for row in rows for key in row}
    columns = {
        ours: next((theirs for theirs in all_names if theirs in names), "")
        for ours, all_names in COLUMNS.items()
    }
    if not columns["file_name"]:
        close = nearest("file_name", names)
        raise DataError(
            f"{path} has no column of file names; its columns are {', '.join(sorted(names))}",
            f"rename {close or 'one of them'} to file_name",
        )
    notes = {}
    for number, row in enumerate(rows, 1):
        values = {k: _text(row.get(v)) if v else "" for k, v in columns.items()}
        if not values["file_name"]:
            raise DataError(
                f"{path}, row {number}: no file name", "name the video or remove the row"
            )
        split = {"val": "validation", "valid": "validation"}.get(values["split"], values["split"])
        if split and split not in SPLITS:
            raise DataError(
                f"{path}, row {number}: split {split!r} is not one of {', '.join(SPLITS)}",
                "leave it empty to let prepare choose",
            )
        notes[Path(values["file_name"]).as_posix()] = Note(
            values["caption"], values["label"], split
        )
    return notes


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"labels file {path} cannot be read ({error})", "check the path") from error
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        rows = []
        # Not splitlines, which also parts lines at characters that JSON may hold as they are.
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                try:
                    rows.append(dict(json.loads(line)))
                except (ValueError, TypeError) as error:
                    raise DataError(
                        f"{path}, line {number} is not a JSON object ({error})"
                    ) from error
        return rows
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))
    for number, row in enumerate(rows, 1):
        if None in row:
            raise DataError(
                f"{path}, row {number} has more values than there are columns",
                "put a value that holds a comma in double quotes",
            )
    return rows


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def of_folders(files: list[Path], footage: Path) -> dict[str, Note]:
    """Class folders: a file's label is the first folder on its way, where there are two or more."""
    relative = [file.relative_to(footage) for file in files]
    classes = {path.parts[0] for path in relative if len(path.parts) > 1}
    if len(classes) < 2:
        return {}
    return {p.as_posix(): Note(label=p.parts[0]) for p in relative if len(p.parts) > 1}
