"""`muybridge prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Json, Out, Set

if TYPE_CHECKING:
    from ..data.prepare import Config
    from ..data.store import Dataset


def prepare(
    footage: Annotated[Path, typer.Argument(help="Folder of videos.", show_default=False)],
    out: Out,
    labels: Annotated[
        Path | None,
        typer.Option(help="Labels: CSV, JSONL, lists; columns file_name, label, caption, ..."),
    ] = None,
    recipe: Annotated[
        str, typer.Option(help="Recipe whose prepare and data settings count.")
    ] = "flow-small",
    changes: Set = [],  # noqa: B006
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would become of the footage; no dataset.")
    ] = False,
    engine: Annotated[str, typer.Option(help="local, or ray for Ray Data.")] = "local",
    json: Json = False,
) -> None:
    """Make a dataset of footage: clean, cut, align, repair, crop, group copies, split, store."""
    from ..core.progress import say
    from ..recipe import Recipe

    config = Recipe.load(recipe, tuple(changes)).prepare
    if dry_run:
        _look(footage, out, labels, config, engine, json)
        return
    dataset = make(footage, out, labels, config, engine)
    if json:
        import json as writer

        print(writer.dumps(dataset.facts))
        return
    say(
        f"dataset: {out}\nlook:    {out / 'report.html'}\n"
        f"next:    muybridge train {recipe} --data {out} --out run"
    )


def make(
    footage: Path,
    out: Path,
    labels: Path | None = None,
    config: Config | None = None,
    engine: str = "local",
) -> Dataset:
    """Prepares a dataset, writes its page, and says what came of the footage."""
    from ..core import files, progress
    from ..data.prepare import prepare as run
    from ..report import footage as page

    dataset = run(footage, out, labels, config, engine)
    page.write_page(out)
    progress.say(page.short(files.read_json(out / "overview.json", "overview")))
    if count := dataset.facts["sound_dropped"]:
        progress.say(f"sound of {count} files was dropped: Muybridge makes pictures only")
    return dataset


def _look(
    footage: Path, out: Path, labels: Path | None, config: Config, engine: str, json: bool
) -> None:
    from ..core.progress import say
    from ..data.prepare import dry_run as run
    from ..report import footage as page

    folder, overview = run(footage, out, labels, config, engine)
    path = page.write_page(folder)
    if json:
        import json as writer

        print(writer.dumps(overview))
        return
    say(page.short(overview))
    say(f"look: {path}\nmuybridge prepare without --dry-run goes on from here")
