"""Many things to be made, a JSON line each; what was made already is not made again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ..core import files, progress
from ..core.config import parse
from ..core.errors import DataError, MuybridgeError
from ..run import Run
from ..training.checkpoint import find
from .asked import Asked
from .making import plan
from .writing import Format, write

Lines = Sequence[tuple[str, Asked]]
_DONE = "asked.json"


def read(path: Path) -> Lines:
    """The lines of a file, each a JSON object of `Asked`'s settings and, if it likes, a `name`;
    files that it names are found from its own folder.

    Raises:
        DataError: no such file, a line that is no JSON object, or two of one name.
        RecipeError: a setting that is unknown or wrong.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--batch {path} cannot be read: {error}", "check the path") from error
    found: dict[str, Asked] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path.name}, line {number}"
        try:
            values = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{where} is not JSON: {error}", "mend the line") from error
        if not isinstance(values, dict):
            raise DataError(f"{where} is no JSON object", 'write it as {"text": "..."}')
        name = str(values.pop("name", f"{number:05d}"))
        if name in found or Path(name).name != name or name in (".", ".."):
            raise DataError(
                f"{where}: the name {name!r} is there twice, or is no folder's",
                "give each line a plain name of its own, or none",
            )
        asked = parse(Asked, values, where)
        found[name] = asked.seen_from(path.parent)
    return tuple(found.items())


def write_all(
    run: Run, lines: Lines, out: Path, checkpoint: str = "last", format: Format = Format.mp4
) -> None:
    """Makes what all lines ask for, each in a folder of its name; all are checked before the first
    is made.

    Raises:
        MuybridgeError: a line asks for what cannot be made, or a folder holds what another line
            asked for.
    """
    left = []
    # Another run, more training or another picture of the same name make other clips.
    made_by = {"run": str(run.folder.resolve()), "step": find(run.folder, checkpoint).name}
    for name, asked in lines:
        try:
            plan(run, asked)
        except MuybridgeError as error:
            raise type(error)(f"{name}: {error.message}", error.hint) from error
        settings = {
            **made_by,
            "checkpoint": checkpoint,
            "format": format.value,
            "inputs": [files.digest(path) for path in asked.files()],
            **asked.model_dump(mode="json"),
        }
        if not (out / name / _DONE).is_file():
            left.append((name, asked, settings))
        elif files.read_json(out / name / _DONE, "line") != settings:
            raise DataError(
                f"{out / name} holds what another line, run or file made",
                "give another --out, another name, or remove that folder",
            )
    for name, asked, settings in progress.track(left, "lines"):
        write(plan(run, asked), asked, out / name, checkpoint, format)
        files.write_json(out / name / _DONE, settings)
    progress.say(f"{len(left)} of {len(lines)} lines made, the others were there, in {out}")
