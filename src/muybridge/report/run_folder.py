"""What a run folder, or one with other people's clips, holds. What is not there yet is empty."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.errors import MuybridgeError, RunError
from ..core.files import each_line, read_json
from .scores_file import FORMATS, Evaluation, Row, parse
from .values import mapping, number

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
class Subject:
    """What a page is about. `folder` is the path as it was given, so that commands can name it.

    A run has a recipe; a folder of clips from elsewhere, `kind` "folder", has scores alone.
    """

    folder: Path
    name: str
    kind: str = "run"
    recipe_text: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    log: Mapping[str, tuple[Record, ...]] = field(default_factory=dict)
    finished: bool = False
    evaluation: Evaluation = field(default_factory=Evaluation)
    samples: tuple[Row, ...] = ()
    notices: tuple[str, ...] = ()

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


def read_subject(folder: Path) -> Subject:
    """Reads a run folder, or a folder that `muybridge evaluate` judged.

    Raises:
        RunError: it is neither, a file in it names one outside it, or a file is damaged.
    """
    hint = "give the --out folder of `muybridge train`, or a folder that was evaluated"
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder", hint)
    name = folder.resolve().name or str(folder)
    if not (folder / "recipe.yaml").is_file():
        if not (folder / "scores.json").is_file():
            raise RunError(
                f"{folder} is not a run, nor was it judged: it holds no recipe.yaml and no "
                "scores.json",
                hint,
            )
        evaluation = _evaluation(folder)
        return Subject(folder, evaluation.subject or name, "folder", evaluation=evaluation)
    text = inside(folder, "recipe.yaml").read_text(encoding="utf-8", errors="replace")
    log, finished, notices = _log(folder)
    return Subject(
        folder=folder,
        name=name,
        recipe_text=text,
        recipe=_yaml(folder, text),
        environment=_document(folder, "environment.json"),
        log=log,
        finished=finished,
        evaluation=_evaluation(folder),
        samples=_samples(folder),
        notices=notices,
    )


def inside(folder: Path, name: str) -> Path:
    """The file `name` of a run, which may not lead outside the folder, by `..` or by a link.

    Raises:
        RunError: it does, or no file can have that name.
    """
    root = folder.resolve()
    try:
        path = (root / name).resolve()
        path.exists()
    except (OSError, ValueError, RuntimeError) as error:
        raise RunError(
            f"{folder} names the file {name[:200]!r}, which cannot be ({error})",
            "what names it is damaged; make it again, or remove it",
        ) from error
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


def _evaluation(folder: Path) -> Evaluation:
    document = _document(folder, "scores.json", FORMATS)
    try:
        return parse(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{folder / 'scores.json'} is not as `muybridge evaluate` writes it ({error!r})",
            f"make it again: muybridge evaluate {folder}",
        ) from error


def _document(folder: Path, name: str, formats: tuple[int, ...] = (1,)) -> Mapping[str, Any]:
    path = inside(folder, name)
    if not path.is_file():
        return {}
    try:
        content = read_json(path, name)
    except (ValueError, RecursionError) as error:  # a number, or a nesting, beyond all measure
        raise RunError(
            f"{folder / name} cannot be read ({error})", "it is damaged; restore a copy"
        ) from error
    if not isinstance(content, dict):
        raise RunError(f"{folder / name} holds no JSON object", "remove it or restore a copy")
    if content.get("format", 1) not in formats:
        known = " and ".join(map(str, formats))
        raise RunError(
            f"{folder / name} has format {content['format']}; this version reads {known}",
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
