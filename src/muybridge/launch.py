"""Job files for machines elsewhere: a Slurm script, or a task for SkyPilot on any cloud; and, in
`managed`, those for services.

Both run the command that trains here; both give it back its run folder after a pre-emption, where
it goes on from its last checkpoint.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from .core import files
from .core.errors import MuybridgeError
from .recipe import Recipe

CLOUDS = ("aws", "gcp", "azure", "kubernetes", "lambda", "runpod")
PORT = 29500
_CORES = 8
"""Cores for each process on Slurm, whose own default is one; the script can be edited."""
_NOTICE = 120
"""Seconds before a pre-emption at which Slurm asks to stop: enough to end a step and to save."""


@dataclass(frozen=True)
class Job:
    """What is to be run where.

    Attributes:
        recipe: a recipe that ships, or a file.
        data: the dataset here.
        name: of the job.
        gpu: its kind, as "A100", and `gpus` of them on each machine; "" for none.
        nodes: machines.
        hours: most hours; SkyPilot knows none.
        changes: settings, section.key=value.
        bucket: for SkyPilot and SageMaker, where the run is kept, as s3://my-bucket.
        cloud: for SkyPilot; "" for the cheapest that it can reach.
        spot: machines that may be taken away, at less cost.
        image: for managed services, what they run.
        machine: for those, the kind, or Azure ML's compute target.
        role: for SageMaker.
    """

    recipe: str
    data: Path
    name: str
    gpu: str = ""
    gpus: int = 0
    nodes: int = 1
    hours: float = 24.0
    changes: tuple[str, ...] = ()
    bucket: str = ""
    cloud: str = ""
    spot: bool = True
    image: str = ""
    machine: str = ""
    role: str = ""

    @property
    def own(self) -> bool:
        """Whether the recipe is a file."""
        return self.recipe.endswith((".yaml", ".yml"))

    def command(self, recipe: str, data: str, out: str) -> list[str]:
        """What each machine runs, less what torchrun must know of the others."""
        settings = [part for change in self.changes for part in ("--set", change)]
        return ["-m", "muybridge", "train", recipe, "--data", data, "--out", out, *settings]


def parsed(gpus: str) -> tuple[str, int]:
    """("A100", 8) of "A100:8", and ("A100", 1) of "A100".

    Raises:
        MuybridgeError: it is neither.
    """
    found = re.fullmatch(r"([A-Za-z][\w-]*)(?::([1-9]\d*))?", gpus)
    if found is None:
        raise MuybridgeError(f"--gpus {gpus!r} is no kind and number", "write it as A100:8")
    return found[1], int(found[2] or 1)


def check(job: Job, on: str = "slurm") -> None:
    """Finds what would fail far away.

    Raises:
        MuybridgeError: a recipe or a setting that is wrong, a batch that the processes cannot
            share, no dataset, or no place for a run that may be taken away.
    """
    recipe = Recipe.load(job.recipe, job.changes)
    if not (job.data / "dataset.json").is_file():
        raise MuybridgeError(f"--data {job.data} is no dataset", "make one: muybridge prepare")
    if on != "slurm":
        _sendable(recipe)
    processes = job.nodes * max(1, job.gpus)
    if (batch := recipe.training.batch) % processes:
        raise MuybridgeError(
            f"training.batch = {batch} cannot be shared by {processes} processes",
            f"--set training.batch={-(-batch // processes) * processes}",
        )
    if recipe.tokenizer is not None and not recipe.tokenizer.run:
        inner = recipe.first_stage()
        if inner.training.batch % processes:
            raise MuybridgeError(
                f"training.batch = {inner.training.batch} of its tokenizer, {inner.name}, cannot "
                f"be shared by {processes} processes",
                f"train {inner.name} before, and --set tokenizer=RUN; or take fewer processes",
            )


def _sendable(recipe: Recipe) -> None:
    """What the other machine would not find: the dataset and the recipe alone are sent there."""
    tokenizer, perceptual = recipe.tokenizer, recipe.perceptual
    here = {
        "tokenizer.run": tokenizer.run if tokenizer else "",
        "perceptual.run": perceptual.run if perceptual else "",
        "perceptual.weights": perceptual.weights if perceptual else "",
        **{
            f"{name}.kind": part.kind if part.kind.endswith(".py") else ""
            for name, part in (("model", recipe.model), ("objective", recipe.objective))
        },
    }
    for name, path in here.items():
        if path:
            raise MuybridgeError(
                f"{name} = {path} is a file of this machine, and is not sent",
                "use --on slurm, where machines share a disk; or put it into the image or bucket "
                "and edit the job file",
            )


def slurm(job: Job) -> str:
    """A script for sbatch, to be sent from a folder that all machines see."""
    gpus = f"#SBATCH --gpus-per-node={job.gpu}:{job.gpus}\n" if job.gpus else ""
    here = shlex.quote(str(job.data.resolve()))
    hours, minutes = divmod(round(job.hours * 60), 60)
    recipe = str(Path(job.recipe).resolve()) if job.own else job.recipe
    command = shlex.join(job.command(recipe, "@data", "@out"))
    command = command.replace("@data", '"$data"').replace("@out", '"$out"')
    return f"""#!/bin/bash
#SBATCH --job-name={job.name}
#SBATCH --nodes={job.nodes}
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task={_CORES * max(1, job.gpus)}
{gpus}#SBATCH --time={hours:02d}:{minutes:02d}:00
#SBATCH --signal=TERM@{_NOTICE}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output={job.name}-%j.log
set -uo pipefail
data={here}
out="$SLURM_SUBMIT_DIR"/{shlex.quote(job.name)}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

srun --cpus-per-task={_CORES * max(1, job.gpus)} --kill-on-bad-exit=1 \\
  torchrun --nnodes="$SLURM_NNODES" --nproc-per-node={max(1, job.gpus)} \\
  --rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d --rdzv-endpoint="$head":{PORT} \\
  {command}
code=$?
# Asked to stop, it saved and ended: the same command goes on where it was. A loss that is not a
# number would be none again.
if [ $code -ne 0 ] && [ -f "$out/recipe.yaml" ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt 20 ] \\
  && ! ls "$out"/nonfinite-*.json > /dev/null 2>&1 \\
  && ! tail -n 1 "$out/log.jsonl" | grep -q '"kind": "end"'; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit $code
"""


def skypilot(job: Job) -> str:
    """A task for `sky jobs launch`, which begins it again where a machine is taken away."""
    if not job.bucket:
        raise MuybridgeError(
            "--bucket is not given: a run on machines that come and go must be kept elsewhere",
            "give --bucket s3://NAME, or gs://NAME",
        )
    resources: dict[str, object] = {"use_spot": job.spot}
    if job.gpus:
        resources["accelerators"] = f"{job.gpu}:{job.gpus}"
    if job.cloud:
        resources["infra"] = job.cloud
    mounts: dict[str, object] = {
        "/data": str(job.data.resolve()),
        "/runs": {"source": job.bucket, "mode": "MOUNT_CACHED"},
    }
    recipe = job.recipe
    if job.own:
        recipe = f"/recipe/{Path(job.recipe).name}"
        mounts[recipe] = str(Path(job.recipe).resolve())
    command = shlex.join(job.command(recipe, "/data", f"/runs/{job.name}"))
    task = {
        "name": job.name,
        "num_nodes": job.nodes,
        "resources": resources,
        "file_mounts": mounts,
        "setup": "pip install muybridge\n",
        "run": 'head=$(echo "$SKYPILOT_NODE_IPS" | head -n 1)\n'
        + 'torchrun --nnodes="$SKYPILOT_NUM_NODES" --node-rank="$SKYPILOT_NODE_RANK" '
        + f"--nproc-per-node={max(1, job.gpus)} "
        + f'--master-addr="$head" --master-port={PORT} {command}\n',
    }
    return yaml.safe_dump(task, sort_keys=False)


def write(job: Job, on: str, out: Path) -> str:
    """Writes a job file; gives the command that sends it off.

    Raises:
        MuybridgeError: something that would fail there.
    """
    from . import managed

    check(job, on)
    makers: dict[str, Callable[[], tuple[str, str]]] = {
        "slurm": lambda: (slurm(job), f"sbatch {out}"),
        "skypilot": lambda: (skypilot(job), f"sky jobs launch {out}"),
        "sagemaker": lambda: managed.sagemaker(job, out),
        "azureml": lambda: managed.azureml(job, out),
    }
    if on not in makers:
        raise MuybridgeError(f"--on {on}: no such place", f"give one of {', '.join(makers)}")
    if job.cloud and job.cloud.split("/")[0] not in CLOUDS:
        raise MuybridgeError(f"--cloud {job.cloud}: not known", f"one of {', '.join(CLOUDS)}")
    text, command = makers[on]()
    files.write_text(out, text)
    return command
