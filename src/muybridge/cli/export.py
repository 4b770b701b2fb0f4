"""`muybridge export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Json, Out


def export(
    dataset: Annotated[Path, typer.Argument(help="As prepare made it.", show_default=False)],
    out: Out,
    shard_mib: Annotated[float, typer.Option(min=0.001, help="The most a tar file takes.")] = 256,
    splits: Annotated[str, typer.Option(help="Which.")] = "train,validation,test",
    json: Json = False,
) -> None:
    """Write a dataset as WebDataset tar files, for training elsewhere."""
    from ..core.progress import say
    from ..data.export import export as run
    from ..data.store import Dataset

    names = [name.strip() for name in splits.split(",") if name.strip()]
    made = run(Dataset.open(dataset, "mp4"), out, shard_mib, names)
    if json:
        import json as writer

        print(writer.dumps(made))
        return
    for shard in made["shards"]:
        say(f"{shard['file']}: {shard['clips']} clips, {shard['bytes'] / 2**20:.1f} MiB")
    say(f"WebDataset in {out}")
