"""`muybridge launch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Set


def launch(
    recipe: Annotated[
        str, typer.Argument(help="A recipe that ships, or a YAML file.", show_default=False)
    ],
    data: Annotated[Path, typer.Option(help="Dataset, as prepare made it.", show_default=False)],
    on: Annotated[
        str, typer.Option(help="slurm, skypilot, sagemaker or azureml.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="Job file to write.", show_default=False)],
    gpus: Annotated[str, typer.Option(help="Of each machine, as A100:8; none: CPUs.")] = "",
    nodes: Annotated[int, typer.Option(min=1, help="Machines.")] = 1,
    hours: Annotated[float, typer.Option(help="Most hours; SkyPilot knows none.")] = 24,
    cloud: Annotated[str, typer.Option(help="aws, gcp, azure, ...; the cheapest if none.")] = "",
    bucket: Annotated[str, typer.Option(help="Where the run is kept: s3://NAME.")] = "",
    spot: Annotated[bool, typer.Option(help="Machines that may be taken away.")] = True,
    image: Annotated[str, typer.Option(help="What SageMaker and Azure ML run.")] = "",
    machine: Annotated[
        str, typer.Option(help="Kind on SageMaker, compute target on Azure ML.")
    ] = "",
    role: Annotated[str, typer.Option(help="That SageMaker acts in.")] = "",
    name: Annotated[str, typer.Option(help="Of the job; the recipe's when left out.")] = "",
    changes: Set = [],  # noqa: B006
) -> None:
    """Write a job file that trains on Slurm or in a cloud, and goes on after a pre-emption."""
    from ..core.progress import say
    from ..launch import Job, parsed, write

    kind, count = parsed(gpus) if gpus else ("", 0)
    job = Job(
        recipe, data, name or Path(recipe).stem, kind, count, nodes, hours, tuple(changes), bucket,
        cloud, spot, image, machine, role,
    )  # fmt: skip
    command = write(job, on, out)
    say(f"{out} is written; to send it off: {command}")
