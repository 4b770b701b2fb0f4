"""`muybridge prepare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Json, Out, Set


def prepare(
    footage: Annotated[Path, typer.Argument(help="Folder of videos.", show_default=False)],
    out: Out,
    labels: Annotated[
        Path | None, typer.Option(help="CSV or JSONL: file_name, caption, label, split.")
    ] = None,
    recipe: Annotated[
        str, typer.Option(help="Recipe whose prepare and data settings count.")
    ] = "flow-small",
    changes: Set = [],  # noqa: B006
    json: Json = False,
) -> None:
    """Make a dataset of a folder of clips: decode, resize, group copies, split, store."""
    from ..core.progress import say
    from ..data.prepare import prepare as run
    from ..recipe import Recipe

    dataset = run(footage, out, labels, Recipe.load(recipe, tuple(changes)).prepare)
    facts = dataset.facts
    if json:
        import json as writer

        print(writer.dumps(facts))
        return
    say(describe(facts))
    say(f"dataset in {out}\nnext: muybridge train flow-small --data {out} --out run")


def describe(facts: dict[str, object]) -> str:
    """A dataset in a few lines."""
    clips, seconds = facts["clips"], facts["seconds"]
    aside = facts["set_aside"]
    assert isinstance(clips, dict) and isinstance(seconds, dict) and isinstance(aside, dict)
    lines = [f"{facts['files']} files, {sum(clips.values())} clips, {facts['groups']} independent"]
    lines += [
        f"  {name:<11}{clips.get(name, 0):>5} clips {seconds[name]:>8.1f} s" for name in seconds
    ]
    lines += [f"  set aside  {count:>5} {reason}" for reason, count in aside.items()]
    if facts["sound_dropped"]:
        lines.append(f"  sound of {facts['sound_dropped']} files was dropped")
    return "\n".join(lines)
