"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Option("--out", help="Folder to write.", show_default=False)]
Set = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a setting; may be given again.",
        show_default=False,
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Of all chance.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON to stdout.")]
Checkpoint = Annotated[str, typer.Option("--checkpoint", help="last, best, or a step's number.")]
