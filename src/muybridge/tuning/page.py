"""A page on a search: the trials in turn, what mattered, and what went together."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..core import files
from .search import Study, Trial


def write_page(study: Study, path: Path) -> Path:
    """Writes one HTML file that opens anywhere, with no network."""
    picture = base64.b64encode(_drawn(study)).decode()
    names = list(study.best.values)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("trial", "held-out loss", *names))
    rows = "".join(_row(one, names) for one in sorted(study.trials, key=_rank))
    recipe = html.escape(study.recipe.read_text(encoding="utf-8"))
    command = html.escape(f"muybridge train {study.recipe.name} --data DATASET --out run")
    files.write_text(
        path,
        f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Tuning</title>
<style>body{{font:15px sans-serif;max-width:60em;margin:2em auto;padding:0 1em}}
td,th{{text-align:right;padding:.2em .8em}}img{{max-width:100%}}pre{{background:#eee;padding:1em}}
@media (prefers-color-scheme:dark){{body{{background:#111;color:#ddd}}pre{{background:#222}}
img{{background:#fff}}}}</style>
<h1>Tuning</h1><p>{html.escape(told(study))}</p>
<img alt="Losses of the trials, importance of settings, parallel coordinates"
src="data:image/png;base64,{picture}">
<h2>Trials</h2><table><tr>{head}</tr>{rows}</table>
<h2>The best recipe</h2><p><code>{command}</code></p><pre>{recipe}</pre></html>
""",
    )
    return path


def told(study: Study) -> str:
    """What came of it, in a sentence or two."""
    own = next((one for one in study.trials if one.number == 0), None)
    pruned = sum(one.state == "pruned" for one in study.trials)
    minutes = sum(one.seconds for one in study.trials) / 60
    counted = f"{len(study.trials)} trials, {pruned} of them ended early, in {minutes:.1f} minutes."
    best = f"The best held-out loss is {study.best.loss:.4g}"
    if not study.own:
        return f"{counted} {best}; the recipe as it is lies outside of the space: it was not tried."
    if own is None or own.loss is None:
        return f"{counted} {best}; the recipe as it is did not come to its end."
    if study.best.number == 0:
        return f"{counted} The recipe as it is, {own.loss:.4g}, was not beaten."
    return (
        f"{counted} The best held-out loss is {study.best.loss:.4g}, of trial {study.best.number}; "
        f"of the recipe as it is, {own.loss:.4g}."
    )


def _rank(one: Trial) -> float:
    return float("inf") if one.loss is None else one.loss


def _row(one: Trial, names: list[str]) -> str:
    loss = one.state if one.loss is None else f"{one.loss:.4g}"
    values = [one.values.get(name, "") for name in names]
    shown = [f"{value:.3g}" if isinstance(value, float) else str(value) for value in values]
    return "<tr>" + "".join(f"<td>{html.escape(x)}</td>" for x in (str(one.number), loss, *shown))


def _drawn(study: Study) -> bytes:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 9), layout="constrained")
    history, matters, together = figure.subplots(3, 1)
    done = [one for one in study.trials if one.loss is not None]
    losses = [_rank(one) for one in done]
    numbers = [one.number for one in done]
    history.plot(numbers, losses, "o", label="trials")
    history.step(numbers, np.minimum.accumulate(losses), where="post", label="best so far")
    for one in study.trials:
        if one.loss is None:
            history.axvline(one.number, color="grey", alpha=0.2)
    history.set(xlabel="trial (grey: ended early)", ylabel="held-out loss")
    history.legend()
    names = sorted(study.importance, key=lambda name: study.importance[name])
    matters.barh(names, [study.importance[name] for name in names])
    matters.set(xlabel="share of the differences that it explains")
    _parallel(together, done)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()


def _parallel(axes: Any, done: list[Trial]) -> None:
    """A line a trial over the settings, each from its least to its largest; better is darker."""
    names = list(done[0].values)
    columns = []
    for name in names:
        values = [one.values[name] for one in done]
        told = [yaml.safe_dump(value) for value in values]  # a choice may be a list
        kinds = sorted(set(told))
        numeric = all(isinstance(v, int | float) and v > 0 for v in values)
        column = np.log(values) if numeric else np.array([kinds.index(v) for v in told], float)
        width = float(column.max() - column.min())
        columns.append((column - column.min()) / width if width else np.full(len(column), 0.5))
    order = np.argsort([-_rank(one) for one in done])
    for place, which in enumerate(order):
        shade = 0.15 + 0.85 * place / max(1, len(order) - 1)
        axes.plot([column[which] for column in columns], color="tab:blue", alpha=shade)
    axes.set_xticks(range(len(names)), [name.rsplit(".", 1)[-1] for name in names])
    axes.set_yticks([0, 1], ["least", "most"])
