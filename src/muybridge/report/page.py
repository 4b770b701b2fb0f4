"""Assembles the page: one file that opens anywhere, with no network."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import RunError
from ..core.files import write_bytes
from .curves import Curve, draw_curves
from .leaderboard import columns, order, reasons
from .run_folder import Record, Row, Run, Score, data_uri, mapping, number, read_run

CARDS, SAMPLES, PREVIEWS = 6, 24, 8  # the most that is shown of each, so that a page stays light
TINY = 128  # pixels; clips this small are enlarged without blur
BETTER = {"lower": "lower is better", "higher": "higher is better", "near": "nearest is best"}


@dataclass(frozen=True)
class Section:
    """A run with all that its part of the page shows; media are data URIs."""

    run: Run
    name: str
    summary: tuple[str, ...]
    notices: tuple[str, ...]
    commands: dict[str, str]
    walls: tuple[tuple[str, tuple[str, ...], tuple[Row, ...]], ...]
    previews: tuple[dict[str, Any], ...]
    curves: tuple[Curve, ...]
    markdown: str
    tiny: bool


def write_report(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Writes one self-contained HTML page on one run, or on several with a leaderboard first.

    Args:
        runs: run folders, as `muybridge train` makes them.
        out: the page, or a folder for it; RUN/report.html for one run, ./report.html for several.

    Returns:
        The path of the page.

    Raises:
        RunError: no run is given, a folder is not a run, a file in it is damaged, or it names a
            file outside itself.
    """
    if not runs:
        raise RunError("a report needs a run", "name one or more run folders")
    found = [read_run(Path(folder)) for folder in runs]
    names = _names(found)
    if out is None:
        out = found[0].folder / "report.html" if len(found) == 1 else Path("report.html")
    elif out.is_dir():
        out = out / "report.html"
    table = columns(found, names)
    html = template("page.html.jinja").render(
        title=names[0] if len(found) == 1 else f"{len(found)} runs compared",
        sections=[_section(run, name) for run, name in zip(found, names, strict=True)],
        columns=table,
        rows=order(found, table),
        reasons=reasons(table),
    )
    # A caption may hold half a character, which UTF-8 cannot write.
    write_bytes(out, html.encode("utf-8", "replace"))
    return out


def template(name: str) -> Any:
    """A template of this folder; what it is given is never markup unless it says so itself."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "figure": figure,
        "minutes": _minutes,
        "count": _count,
        "better": _better,
        "verdict": verdict,
        "scale": _scale,
        "shown": _shown,
        "mapping": mapping,
        "hash": lambda text: base64.b64encode(hashlib.sha256(str(text).encode()).digest()).decode(),
    }
    environment.globals["cards"] = CARDS
    return environment.get_template(name)


def _section(run: Run, name: str) -> Section:
    commands = _commands(run)
    walls, missing = _walls(run)
    size = mapping(run.environment.get("dataset")).get("size")
    sides = [number(side) for side in size] if isinstance(size, list) else []
    return Section(
        run=run,
        name=name,
        summary=_summary(run),
        notices=(*run.notices, *missing),
        commands=commands,
        walls=walls,
        previews=_previews(run),
        curves=tuple(draw_curves(run.log)),
        markdown=_markdown(run.scores),
        tiny=bool(sides) and all(side is not None and side <= TINY for side in sides),
    )


def _names(runs: Sequence[Run]) -> list[str]:
    """Short names, or paths where two runs share a name."""
    short = [run.name for run in runs]
    return [n if short.count(n) == 1 else str(r.folder) for n, r in zip(short, runs, strict=True)]


def _commands(run: Run) -> dict[str, str]:
    """The commands that make what is not there yet."""
    data = mapping(run.environment.get("dataset")).get("folder")
    folder = shlex.quote(str(run.folder))
    recipe = shlex.quote(str(run.folder / "recipe.yaml"))
    dataset = shlex.quote(str(data)) if data else "DATASET"
    return {
        "train": f"muybridge train {recipe} --data {dataset} --out {folder}",
        "evaluate": f"muybridge evaluate {folder}",
        "generate": f'muybridge generate {folder} --out {folder}/samples --text "..."',
    }


def _summary(run: Run) -> tuple[str, ...]:
    parts = [f"{run.steps:,} steps in {_minutes(run.seconds)}"] if run.log else []
    parts += [run.family]
    parameters = number(run.environment.get("parameters"))
    if parameters:
        parts.append(f"{_count(parameters)} parameters")
    clips = mapping(mapping(run.environment.get("dataset")).get("clips")).get("train")
    if clips:
        parts.append(f"{clips} clips to learn from")
    return tuple(parts)


def _walls(
    run: Run,
) -> tuple[tuple[tuple[str, tuple[str, ...], tuple[Row, ...]], ...], tuple[str, ...]]:
    """Walls with data URIs for paths, and what is to be said about files that are not there."""
    plain = [(wall.title, wall.columns, wall.rows) for wall in run.walls]
    if run.samples:
        more = f" (the first {SAMPLES} of {len(run.samples)})" if len(run.samples) > SAMPLES else ""
        plain.append((f"Generated on request{more}", (), run.samples[:SAMPLES]))
    walls, missing = [], []
    for title, heads, rows in plain:
        filled = []
        for row in rows:
            videos = tuple(name and data_uri(run.folder, name) for name in row.videos)
            missing += [n for n, v in zip(row.videos, videos, strict=True) if n and not v]
            filled.append(Row(row.caption, videos))
        walls.append((title, heads, tuple(filled)))
    if not missing:
        return tuple(walls), ()
    named = ", ".join(missing[:3]) + (" and others" if len(missing) > 3 else "")
    return tuple(walls), (f"Absent or too large to embed: {named}.",)


def _previews(run: Run) -> tuple[dict[str, Any], ...]:
    """Previews spread evenly over training, the first and the last among them."""
    records = run.log.get("preview", ())
    count = min(len(records), PREVIEWS)
    picks = sorted({round(i * (len(records) - 1) / max(count - 1, 1)) for i in range(count)})
    return tuple(_preview(run, records[i]) for i in picks)


def _preview(run: Run, record: Record) -> dict[str, Any]:
    media = {
        key: data_uri(run.folder, str(record[key])) if record.get(key) else None
        for key in ("video", "sheet")
    }
    captions = record.get("captions")
    return media | {
        "step": int(number(record.get("step")) or 0),
        "seconds": number(record.get("seconds")) or 0.0,
        "captions": [str(c) for c in captions] if isinstance(captions, list) else [],
    }


def figure(value: float | None, unit: str = "") -> str:
    """A number with four digits that count, and its unit."""
    if value is None:
        return "not measured"
    # Rounded first, so that 12345.6 is not written as 1.235e+04.
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{text}{unit}" if unit in ("", "%") else f"{text} {unit}"


def verdict(score: Score) -> str:
    """What a score says beside its floor or target, in plain words; "" where it says nothing."""
    value, floor, ends = score.value, score.floor, score.interval
    if value is None:
        return ""
    if score.better == "near" and score.target is not None:
        met = ends is not None and ends[0] <= score.target <= ends[1]
        return "the target lies in the interval" if met else "the target lies outside the interval"
    if floor is None or score.better not in ("lower", "higher"):
        return ""
    sign = 1 if score.better == "lower" else -1
    nearest = min(sign * end for end in ends or (value,))
    if nearest <= sign * floor:
        return "not told apart from real clips"
    ratio = value / floor if floor else 0.0
    return f"{ratio:.3g} times what real clips score" if ratio > 0 else "not yet like real clips"


def _better(score: Score) -> str:
    if score.better == "near" and score.target is not None:
        return f"nearest to {figure(score.target, score.unit)} is best"
    return BETTER.get(score.better, "")


def _scale(score: Score) -> dict[str, float]:
    """Where value, interval, floor and target stand on a line, in percent; {} for a lone value."""
    low, high = score.interval or (None, None)
    marks = {
        "value": score.value,
        "low": low,
        "high": high,
        "floor": score.floor,
        "target": score.target,
    }
    known = {name: mark for name, mark in marks.items() if mark is not None}
    least, most = min(known.values(), default=0.0), max(known.values(), default=0.0)
    if score.value is None or least == most:
        return {}
    return {name: round(4 + 92 * (m - least) / (most - least), 2) for name, m in known.items()}


def _markdown(scores: Sequence[Score]) -> str:
    if not scores:
        return ""
    lines = ["| score | value | interval | real against real | better |", "|---|---|---|---|---|"]
    for score in scores:
        ends = " to ".join(map(figure, score.interval)) if score.interval else ""
        floor = "" if score.floor is None else figure(score.floor)
        name = f"{score.name} ({score.note})" if score.note else score.name
        cells = (name, figure(score.value, score.unit), ends, floor, _better(score))
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", r"\|").split())


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:,.1f} min"


def _count(value: object) -> str:
    amount = number(value)
    if amount is None:
        return "unknown"
    for size, word in ((1e9, "B"), (1e6, "M")):
        if amount >= size:
            return f"{amount / size:.3g} {word}"
    return f"{amount:,.0f}"


def _shown(value: object) -> str:
    """A value of a JSON file as a person would write it."""
    if isinstance(value, str):
        return value
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return json.dumps(value, default=str)
