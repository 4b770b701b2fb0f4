"""Job files for managed services, which run an image (see `Dockerfile`): SageMaker and Azure ML.

Each runs the command that trains here, and keeps the run where a job that was cut off finds it.
"""

from __future__ import annotations

import json
import re
import shlex
import time
from pathlib import Path

import yaml

from .core.errors import MuybridgeError
from .launch import PORT, Job

_CHECKPOINTS = "/opt/ml/checkpoints"
_INPUTS = "/opt/ml/input/data"
_GIB = 200
"""Disk of a machine on SageMaker: a dataset, and the checkpoints of a run."""


def sagemaker(job: Job, out: Path) -> tuple[str, str]:
    """A request to create a training job, and the commands that send it off.

    Raises:
        MuybridgeError: the image, the machine, the role or the bucket is not given.
    """
    _given(job, "image", "machine", "role", "bucket")
    hours = round(job.hours * 3600)
    recipe, channels = job.recipe, {"data": f"{job.bucket}/{job.name}/data"}
    copies = [f"aws s3 sync {shlex.quote(str(job.data))} {channels['data']}"]
    if job.own:
        channels["recipe"] = f"{job.bucket}/{job.name}/recipe"
        recipe = f"{_INPUTS}/recipe/{Path(job.recipe).name}"
        copies.append(f"aws s3 cp {shlex.quote(job.recipe)} {channels['recipe']}/")
    torchrun = [
        "torchrun", f"--nnodes={job.nodes}", f"--nproc-per-node={max(1, job.gpus)}",
        "--rdzv-backend=c10d", f"--rdzv-id={job.name}", f"--rdzv-endpoint=algo-1:{PORT}",
    ]  # fmt: skip
    request = {
        # No name is taken twice, and none has an underscore; the run is kept by the job's own.
        "TrainingJobName": f"{re.sub('[^0-9A-Za-z-]', '-', job.name)[:40]}-{time.time():.0f}",
        "RoleArn": job.role,
        "AlgorithmSpecification": {
            "TrainingImage": job.image,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": torchrun,
            "ContainerArguments": job.command(
                recipe, f"{_INPUTS}/data", f"{_CHECKPOINTS}/{job.name}"
            ),
        },
        "InputDataConfig": [
            {
                "ChannelName": name,
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": place,
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
            for name, place in channels.items()
        ],
        # What is written there comes back to each job that keeps its run there.
        "CheckpointConfig": {"S3Uri": f"{job.bucket}/{job.name}/run", "LocalPath": _CHECKPOINTS},
        "OutputDataConfig": {"S3OutputPath": f"{job.bucket}/{job.name}/output"},
        "ResourceConfig": {
            "InstanceType": job.machine, "InstanceCount": job.nodes, "VolumeSizeInGB": _GIB,
        },
        "EnableManagedSpotTraining": job.spot,
        "StoppingCondition": {"MaxRuntimeInSeconds": hours}
        | ({"MaxWaitTimeInSeconds": 2 * hours} if job.spot else {}),
    }  # fmt: skip
    send = f"aws sagemaker create-training-job --cli-input-json file://{out}"
    return json.dumps(request, indent=2) + "\n", " && ".join([*copies, send])


def azureml(job: Job, out: Path) -> tuple[str, str]:
    """A command job, and the command that sends it off; it takes the dataset from here.

    Raises:
        MuybridgeError: the image or the machine is not given.
    """
    _given(job, "image", "machine")
    inputs: dict[str, object] = {"data": {"type": "uri_folder", "path": str(job.data.resolve())}}
    if job.own:
        inputs["recipe"] = {"type": "uri_file", "path": str(Path(job.recipe).resolve())}
    words = job.command("@recipe" if job.own else job.recipe, "@data", "@out")
    command = shlex.join(["python", *words])
    for mark, place in {
        "@recipe": "${{inputs.recipe}}",
        "@data": "${{inputs.data}}",
        "@out": f"${{{{outputs.runs}}}}/{job.name}",
    }.items():
        command = command.replace(mark, place)
    task = {
        "$schema": "https://azuremlschemas.azureedge.net/latest/commandJob.schema.json",
        "type": "command",
        "display_name": job.name,
        "experiment_name": "muybridge",
        "command": command,
        "environment": {"image": job.image},
        "compute": f"azureml:{job.machine}",
        "inputs": inputs,
        "outputs": {"runs": {"type": "uri_folder", "mode": "rw_mount"}},
        # It begins the processes itself, and tells each of them its rank.
        "distribution": {"type": "pytorch", "process_count_per_instance": max(1, job.gpus)},
        "resources": {"instance_count": job.nodes},
        "limits": {"timeout": round(job.hours * 3600)},
    }
    return yaml.safe_dump(task, sort_keys=False), f"az ml job create --file {out}"


def _given(job: Job, *names: str) -> None:
    said = {
        "image": "an image that both you and the service can pull, as the Dockerfile builds it",
        "machine": "its kind, as ml.p4d.24xlarge; on Azure ML a compute target's name",
        "role": "the role that SageMaker acts in, as arn:aws:iam::NUMBER:role/NAME",
        "bucket": "where the dataset and the run are kept, as s3://NAME",
    }
    for name in names:
        if not getattr(job, name):
            raise MuybridgeError(f"--{name} is not given", f"give {said[name]}")
