"""The page on footage: what came in, what went out and why, to be looked at before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import RunError
from ..core.files import read_json, write_bytes
from . import histograms
from .page import template
from .run_folder import data_uri
from .values import number

FORMAT = 1
LINES, REASONS = 20, 6  # the most of the short form, and of its reasons
WIDTH = 100  # characters of a line of the short form


def write_page(folder: Path) -> Path:
    """Writes `report.html` beside the `overview.json` of a dataset: one page, whole by itself.

    Returns:
        The path of the page.

    Raises:
        RunError: the overview is damaged, of another format, or names a picture outside the folder.
        MuybridgeError: there is no overview.
    """
    overview = read_json(folder / "overview.json", "overview")
    if not isinstance(overview, dict) or overview.get("format") != FORMAT:
        raise RunError(
            f"{folder / 'overview.json'} is not an overview of format {FORMAT}",
            "run muybridge prepare again with this version",
        )
    try:
        html = template("footage.html.jinja").render(_content(folder, overview))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{folder / 'overview.json'} is not as `muybridge prepare` writes it ({error!r})",
            "run muybridge prepare again",
        ) from error
    page = folder / "report.html"
    # A file's name may hold bytes that are no text, which UTF-8 cannot write.
    write_bytes(page, html.encode("utf-8", "replace"))
    return page


def _content(folder: Path, overview: Mapping[str, Any]) -> dict[str, Any]:
    def shown(pictures: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [
            dict(one) | {"uri": data_uri(folder, one["file"]) if one["file"] else None}
            for one in pictures
        ]

    def sheets(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [dict(sheet) | {"pictures": shown(sheet["pictures"])} for sheet in found]

    alike = overview["alike"]
    return {
        **overview,
        "kept": sheets(overview["kept"]),
        "aside": sheets(overview["aside"]),
        "alike": {"all": alike["all"], "rows": sheets(alike["rows"])},
        "distributions": [histograms.by_split(one) for one in overview["distributions"]],
        "thresholds": [histograms.with_threshold(one) for one in overview["thresholds"]],
        "duration": duration,
        "share": lambda part: _share(part, overview["table"]["in"]["seconds"]),
        "clock": clock,
    }


def duration(seconds: object) -> str:
    """Seconds as a person would say them."""
    found = number(seconds)
    if found is None:
        return "unknown"
    for size, unit in ((3600, "h"), (60, "min")):
        if found >= 2 * size:
            return f"{found / size:,.1f} {unit}"
    return f"{found:.1f} s"


def clock(seconds: float) -> str:
    """A place in a video: minutes, seconds and tenths."""
    tenths = round(10 * seconds)
    return f"{tenths // 600}:{tenths % 600 / 10:04.1f}"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "0%"


def short(overview: Mapping[str, Any]) -> str:
    """The overview for a terminal: the table and the warnings, in at most twenty lines."""
    table = overview["table"]
    arrived, kept, aside = table["in"], table["kept"], table["aside"]
    sides = ", ".join(f"{name} {side['clips']}" for name, side in table["splits"].items())
    lost = sum(row["seconds"] for row in aside)
    lines = [
        _line("came in", arrived["files"], arrived["seconds"], ""),
        _line("kept", kept["files"], kept["seconds"], _clips(kept["clips"], sides)),
        _line("set aside", arrived["files"] - kept["files"], lost, ""),
        *(_line(f"  {r['reason']}", r["files"], r["seconds"], _touched(r)) for r in _few(aside)),
    ]
    found = overview["warnings"]
    room = LINES - len(lines)
    told = found if len(found) <= room else found[: room - 1]
    lines += [f"! {one['says']}: {one['figure']}" for one in told]
    if len(told) < len(found):
        lines.append(f"! and {len(found) - len(told)} more, which the page tells")
    return "\n".join(_printable(line) for line in lines)


def _clips(count: int, sides: str) -> str:
    words = f"{count:,} clip{'s' * (count != 1)}"
    return f"{words}: {sides}" if sides else words


def _touched(row: Mapping[str, Any]) -> str:
    more = row["touched"] - row["files"]
    return f"and parts of {more:,}" if more else ""


def _few(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    if len(rows) <= REASONS:
        return list(rows)
    rest = rows[REASONS - 1 :]
    sums = {key: sum(row[key] for row in rest) for key in ("files", "touched", "seconds")}
    return [*rows[: REASONS - 1], {"reason": f"{len(rest)} other reasons", **sums}]


def _line(name: str, files: int, seconds: float, more: str) -> str:
    unit = "file " if files == 1 else "files"
    return f"{name:<20}{files:>8,} {unit}{duration(seconds):>12}   {more}".rstrip()


def _printable(line: str) -> str:
    """A label may hold what would steer a terminal."""
    plain = "".join(c if c.isprintable() else "?" for c in line)
    return plain if len(plain) <= WIDTH else plain[: WIDTH - 3] + "..."
