"""What a run folder holds, read for showing. Whatever is not there yet is simply empty."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.errors import MuybridgeError, RunError
from ..core.files import each_line, read_json

FORMAT = 1
MEDIA = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".gif": "image/gif",
}
LARGEST = 32 * 2**20  # bytes of one embedded file: a page of larger ones would not open

Record = dict[str, Any]


@dataclass(frozen=True)
class Score:
    """A number; `manifest` says how it was made, `better` is lower, higher or near (`target`)."""

    name: str
    value: float | None
    interval: tuple[float, float] | None
    floor: float | None
    better: str
    target: float | None
    unit: str
    note: str
    manifest: Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """Videos of one caption, a path inside the run (or None) for each column of a wall."""

    caption: str
    videos: tuple[str | None, ...]


@dataclass(frozen=True)
class Wall:
    """Samples in rows, what they are compared with beside them."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Run:
    """A run folder. `folder` is the path as it was given, so that commands can name it so."""

    folder: Path
    name: str
    recipe_text: str
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]
    log: Mapping[str, tuple[Record, ...]]
    finished: bool
    checkpoint: str = ""
    scores: tuple[Score, ...] = ()
    walls: tuple[Wall, ...] = ()
    samples: tuple[Row, ...] = ()
    notices: tuple[str, ...] = field(default=())

    @property
    def steps(self) -> int:
        """The last step that the log tells of."""
        return max((int(number(r.get("step")) or 0) for r in self._records()), default=0)

    @property
    def seconds(self) -> float:
        """Seconds of training."""
        return max((number(r.get("seconds")) or 0.0 for r in self._records()), default=0.0)

    @property
    def family(self) -> str:
        """The kinds of model and objective, as the recipe names them."""
        kinds = (part.get("kind") for part in map(self.part, ("model", "objective")))
        return " + ".join(dict.fromkeys(str(kind) for kind in kinds if kind)) or "unknown"

    def part(self, name: str) -> Mapping[str, Any]:
        """A section of the recipe; empty where there is none."""
        return mapping(self.recipe.get(name))

    def _records(self) -> list[Record]:
        return [record for records in self.log.values() for record in records]


def read_run(folder: Path) -> Run:
    """Reads a run folder.

    Raises:
        RunError: it is not a run folder, a file in it names one outside it, or a file is damaged.
    """
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder", "give the --out folder of `muybridge train`")
    if not (folder / "recipe.yaml").is_file():
        raise RunError(
            f"{folder} is not a run: it holds no recipe.yaml",
            "give the --out folder of `muybridge train`",
        )
    text = inside(folder, "recipe.yaml").read_text(encoding="utf-8", errors="replace")
    log, finished, notices = _log(folder)
    scores = _document(folder, "scores.json")
    try:
        return Run(
            folder=folder,
            name=folder.resolve().name or str(folder),
            recipe_text=text,
            recipe=_yaml(folder, text),
            environment=_document(folder, "environment.json"),
            log=log,
            finished=finished,
            checkpoint=str(scores.get("checkpoint") or ""),
            scores=tuple(_score(entry) for entry in scores.get("scores") or ()),
            walls=tuple(_wall(entry) for entry in scores.get("walls") or ()),
            samples=_samples(folder),
            notices=notices,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{folder / 'scores.json'} is not as `muybridge evaluate` writes it ({error!r})",
            f"make it again: muybridge evaluate {folder}",
        ) from error


def inside(folder: Path, name: str) -> Path:
    """The file `name` of a run, which may not lead outside the folder, by `..` or by a link.

    Raises:
        RunError: it does.
    """
    root = folder.resolve()
    path = (root / name).resolve()
    if not path.is_relative_to(root):
        raise RunError(
            f"{folder} names the file {name}, which lies outside the run folder",
            "a page shows only what is in the run; copy the file into it, or remove its mention",
        )
    return path


def data_uri(folder: Path, name: str) -> str | None:
    """A video or picture of the run as a data URI; None where it is absent or over `LARGEST`.

    Raises:
        RunError: the file lies outside the run folder, or its suffix is no video's or picture's.
    """
    path = inside(folder, name)
    kind = MEDIA.get(path.suffix.lower())
    if kind is None:
        raise RunError(
            f"{folder} names {name} as a video or picture, which its suffix does not say",
            f"files shown are {', '.join(MEDIA)}",
        )
    if not path.is_file() or path.stat().st_size > LARGEST:
        return None
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def number(value: object) -> float | None:
    """A finite number as float; anything else is None."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def mapping(value: object) -> Mapping[str, Any]:
    """A mapping as it is; anything else is an empty one."""
    return value if isinstance(value, Mapping) else {}


def _document(folder: Path, name: str) -> Mapping[str, Any]:
    path = inside(folder, name)
    if not path.is_file():
        return {}
    content = read_json(path, name)
    if not isinstance(content, dict):
        raise RunError(f"{folder / name} holds no JSON object", "remove it or restore a copy")
    if content.get("format", FORMAT) != FORMAT:
        raise RunError(
            f"{folder / name} has format {content['format']}; this version reads {FORMAT}",
            "use the version of Muybridge that wrote it, or a newer one",
        )
    return content


def _yaml(folder: Path, text: str) -> Mapping[str, Any]:
    import yaml

    try:
        return mapping(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise RunError(
            f"{folder / 'recipe.yaml'} is not YAML ({str(error).splitlines()[0]})",
            "it is damaged; restore a copy",
        ) from error


def _log(folder: Path) -> tuple[dict[str, tuple[Record, ...]], bool, tuple[str, ...]]:
    """Records by kind, whether training came to its end, and what was wrong with the file."""
    log: dict[str, list[Record]] = {}
    last = ""
    notices: tuple[str, ...] = ()

    def keep(record: Record) -> None:
        nonlocal last
        kind = str(mapping(record).get("kind"))
        log.setdefault(kind, []).append(record)
        last = kind if kind in ("train", "resume", "end") else last

    try:
        each_line(inside(folder, "log.jsonl"), keep)
    except ValueError:
        count = sum(map(len, log.values()))
        notices = (f"log.jsonl is damaged after {count} lines; only those are shown.",)
    log.pop("None", None)
    return {kind: tuple(records) for kind, records in log.items()}, last == "end", notices


def _score(entry: Record) -> Score:
    low_high = [number(end) for end in entry.get("interval") or ()]
    interval = None
    if len(low_high) == 2 and low_high[0] is not None and low_high[1] is not None:
        interval = (low_high[0], low_high[1])
    return Score(
        name=str(entry["name"]),
        value=number(entry.get("value")),
        interval=interval,
        floor=number(entry.get("floor")),
        better=str(entry.get("better") or ""),
        target=number(entry.get("target")),
        unit=str(entry.get("unit") or ""),
        note=str(entry.get("note") or ""),
        manifest=dict(entry.get("manifest") or {}),
    )


def _wall(entry: Record) -> Wall:
    rows = tuple(
        Row(
            str(row.get("caption") or ""),
            tuple(None if name is None else str(name) for name in row["videos"]),
        )
        for row in entry["rows"]
    )
    columns = tuple(str(column) for column in entry.get("columns") or ())
    return Wall(str(entry.get("title") or "Samples"), columns, rows)


def _samples(folder: Path) -> tuple[Row, ...]:
    """What `muybridge generate` put into the run, with the captions beside it."""
    rows = []
    for video in sorted((folder / "samples").glob("*.mp4")):
        try:
            caption = _document(folder, f"samples/{video.stem}.json").get("caption")
        except RunError:
            raise
        except MuybridgeError:
            caption = None  # a damaged caption is no reason to hide the video
        rows.append(Row(str(caption or ""), (f"samples/{video.name}",)))
    return tuple(rows)
