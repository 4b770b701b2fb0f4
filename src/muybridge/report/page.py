"""Assembles the page: one file that opens anywhere, with no network."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..core.errors import RunError
from ..core.files import write_bytes
from . import leaderboard, plots, rivals, scores_table, values
from .curves import Curve, draw_curves
from .run_folder import Record, Subject, data_uri, read_subject
from .scores_file import Evaluation, Row, Score, Wall
from .tables import Table
from .values import mapping, minutes, number

CARDS, SAMPLES, PREVIEWS = 6, 24, 8  # the most that is shown of each, so that a page stays light
FIGURES, WARNINGS = 24, 6  # the most plots of one kind, and warnings before they fold
TINY = 128  # pixels; clips this small are enlarged without blur
RATE = 25.0  # frames per second by which a wall is stepped through, where nothing says it


@dataclass(frozen=True)
class Section:
    """A run or folder with all that its part of the page shows; media are data URIs.

    Attributes:
        spans: what intervals are of, each with the letter that stands for it in the table.
        common: fields of manifests that are the same in all scores.
    """

    subject: Subject
    key: str
    name: str
    summary: tuple[str, ...]
    notices: tuple[str, ...]
    commands: dict[str, str]
    walls: tuple[Wall, ...]
    rate: float
    previews: tuple[dict[str, Any], ...]
    curves: tuple[Curve, ...]
    plots: tuple[tuple[str, tuple[plots.Plot, ...]], ...]
    tables: dict[str, Table]
    spans: dict[str, str]
    common: Mapping[str, Any]
    tiny: bool

    @property
    def evaluation(self) -> Evaluation:
        """What `scores.json` says."""
        return self.subject.evaluation

    @property
    def cards(self) -> list[Score]:
        """The scores to be seen first."""
        return scores_table.leading(self.evaluation.scores, CARDS)


def write_report(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Writes one self-contained HTML page on one run, or on several with a leaderboard first.

    Args:
        runs: run folders, as `muybridge train` makes them, and folders of other people's clips
            that `muybridge evaluate` judged.
        out: the page, or a folder for it; RUN/report.html for one run, ./report.html for several.

    Returns:
        The path of the page.

    Raises:
        RunError: no run is given, a folder is neither a run nor was judged, a file in it is
            damaged, or it names a file outside itself.
    """
    if not runs:
        raise RunError("a report needs a run", "name one or more run folders")
    found = [read_subject(Path(folder)) for folder in runs]
    names = _names(found)
    if out is None:
        out = found[0].folder / "report.html" if len(found) == 1 else Path("report.html")
    elif out.is_dir():
        out = out / "report.html"
    rows = leaderboard.entries(found, names)
    table = leaderboard.columns(rows)
    placed = leaderboard.order(rows, table)
    kinds = "runs" if all(subject.kind == "run" for subject in found) else "subjects"
    html = template("page.html.jinja").render(
        title=names[0] if len(found) == 1 else f"{len(found)} {kinds} compared",
        sections=[
            _section(*one) for one in zip(found, names, range(1, len(found) + 1), strict=True)
        ],
        entries=rows,
        columns=table,
        rows=placed,
        reasons=leaderboard.reasons(table),
        board=leaderboard.copy(rows, table, placed),
        most=WARNINGS,
    )
    # A caption may hold half a character, which UTF-8 cannot write.
    write_bytes(out, html.encode("utf-8", "replace"))
    return out


def template(name: str) -> Any:
    """A template of this folder; what it is given is never markup unless it says so itself."""
    return _environment().get_template(name)


@cache
def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "figure": values.figure,
        "between": values.between,
        "minutes": minutes,
        "count": values.count,
        "shown": values.shown,
        "mapping": mapping,
        "better": scores_table.better,
        "verdict": scores_table.verdict,
        "scale": scores_table.scale,
        "grouped": scores_table.grouped,
        "chance": scores_table.chance,
        "signs": rivals.signs,
        "beaten_by": rivals.beaten_by,
        "beside_baselines": rivals.beside_baselines,
        "dict": dict,
        "hash": lambda text: base64.b64encode(hashlib.sha256(str(text).encode()).digest()).decode(),
    }
    return environment


def _section(subject: Subject, name: str, place: int) -> Section:
    walls, missing = _walls(subject)
    evaluation = subject.evaluation
    sizes = [mapping(subject.environment.get("dataset")).get("size")]
    sizes += [score.manifest.get("size") for score in evaluation.scores[:1]]
    size = next((size for size in sizes if isinstance(size, list)), [])
    sides = [number(side) for side in size]
    spans = dict.fromkeys(s.interval_of for s in evaluation.scores if s.interval and s.interval_of)
    return Section(
        subject=subject,
        key=f"run-{place}",
        name=name,
        summary=_summary(subject),
        notices=(*subject.notices, *missing),
        commands=_commands(subject),
        walls=walls,
        rate=_rate(subject),
        previews=_previews(subject),
        curves=tuple(draw_curves(subject.log)),
        plots=_plots(evaluation),
        tables=_tables(evaluation, name),
        spans={words: _letter(i) for i, words in enumerate(spans)},
        common=_common(evaluation.scores),
        tiny=bool(sides) and all(side is not None and side <= TINY for side in sides),
    )


def _names(subjects: Sequence[Subject]) -> list[str]:
    """Short names, or paths where two share a name."""
    short = [s.name for s in subjects]
    return [
        n if short.count(n) == 1 else str(s.folder) for n, s in zip(short, subjects, strict=True)
    ]


def _tables(evaluation: Evaluation, name: str) -> dict[str, Table]:
    """The tables to copy, by the part of the page under which they stand."""
    found = {}
    if evaluation.scores:
        found["scores"] = scores_table.of_scores(evaluation.scores, f"Scores of {name}")
    if evaluation.baselines:
        found["baselines"] = scores_table.of_baselines(evaluation, name)
    if evaluation.comparison:
        found["comparison"] = scores_table.of_comparison(evaluation.comparison, name)
    return found


def _plots(evaluation: Evaluation) -> tuple[tuple[str, tuple[plots.Plot, ...]], ...]:
    kinds = (
        ("Over time", plots.lines, evaluation.curves),
        ("Distributions", plots.spread, evaluation.histograms),
        ("Where the clips lie", plots.clouds, evaluation.scatter),
    )
    return tuple(
        (title, tuple(draw(figure) for figure in figures[:FIGURES]))
        for title, draw, figures in kinds
        if figures
    )


def _letter(place: int) -> str:
    """a, b, ... z, a1, b1, ..."""
    return "abcdefghijklmnopqrstuvwxyz"[place % 26] + (str(place // 26) if place > 25 else "")


def _common(scores: Sequence[Score]) -> dict[str, Any]:
    """Fields that all manifests have alike; none where there is only one."""
    tables = [score.manifest for score in scores if score.manifest]
    if len(tables) < 2:
        return {}
    first, *others = tables
    return {k: v for k, v in first.items() if all(k in one and one[k] == v for one in others)}


def _rate(subject: Subject) -> float:
    """Frames per second of the clips, as a score's manifest or the recipe says."""
    said = [score.manifest.get("fps") for score in subject.evaluation.scores[:1]]
    rates = [number(value) for value in (*said, subject.part("data").get("fps"))]
    return next((rate for rate in rates if rate and 0.1 <= rate <= 1000), RATE)


def _commands(subject: Subject) -> dict[str, str]:
    """The commands that make what is not there yet."""
    data = mapping(subject.environment.get("dataset")).get("folder")
    folder = shlex.quote(str(subject.folder))
    recipe = shlex.quote(str(subject.folder / "recipe.yaml"))
    dataset = shlex.quote(str(data)) if data else "DATASET"
    return {
        "train": f"muybridge train {recipe} --data {dataset} --out {folder}",
        "evaluate": f"muybridge evaluate {folder}",
        "generate": f'muybridge generate {folder} --out {folder}/samples --text "..."',
    }


def _summary(subject: Subject) -> tuple[str, ...]:
    if subject.kind == "folder":
        return ("clips from elsewhere, judged as they are",)
    parts = [f"{subject.steps:,} steps in {minutes(subject.seconds)}"] if subject.log else []
    parts += [subject.family]
    parameters = number(subject.environment.get("parameters"))
    if parameters:
        parts.append(f"{values.count(parameters)} parameters")
    clips = mapping(mapping(subject.environment.get("dataset")).get("clips")).get("train")
    if clips:
        parts.append(f"{clips} clips to learn from")
    return tuple(parts)


def _walls(subject: Subject) -> tuple[tuple[Wall, ...], tuple[str, ...]]:
    """Walls with data URIs for paths, and what is to be said about files that are not there."""
    plain = [*subject.evaluation.walls]
    if subject.samples:
        plain.append(Wall("Generated on request", (), subject.samples))
    walls, missing = [], []
    for wall in plain:
        filled = []
        for row in wall.rows[:SAMPLES]:
            videos = tuple(name and data_uri(subject.folder, name) for name in row.videos)
            missing += [n for n, v in zip(row.videos, videos, strict=True) if n and not v]
            filled.append(Row(row.caption, videos))
        all_ = len(wall.rows)
        more = f" (the first {SAMPLES} of {all_})" if all_ > SAMPLES else ""
        walls.append(Wall(f"{wall.title}{more}", wall.columns, tuple(filled)))
    if not missing:
        return tuple(walls), ()
    named = ", ".join(missing[:3]) + (" and others" if len(missing) > 3 else "")
    return tuple(walls), (f"Absent or too large to embed: {named}.",)


def _previews(subject: Subject) -> tuple[dict[str, Any], ...]:
    """Previews spread evenly over training, the first and the last among them."""
    records = subject.log.get("preview", ())
    count = min(len(records), PREVIEWS)
    picks = sorted({round(i * (len(records) - 1) / max(count - 1, 1)) for i in range(count)})
    return tuple(_preview(subject, records[i]) for i in picks)


def _preview(subject: Subject, record: Record) -> dict[str, Any]:
    media = {
        key: data_uri(subject.folder, str(record[key])) if record.get(key) else None
        for key in ("video", "sheet")
    }
    captions = record.get("captions")
    return media | {
        "step": int(number(record.get("step")) or 0),
        "seconds": number(record.get("seconds")) or 0.0,
        "captions": [str(c) for c in captions] if isinstance(captions, list) else [],
    }
