"""Job files: what they run, and what is told before they are sent off."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import muybridge as mb
from muybridge import launch


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "my data"
    folder.mkdir()
    (folder / "dataset.json").write_text("{}")
    return folder


def job(data: Path, **more: Any) -> launch.Job:
    return launch.Job("flow-small", data, "first", **more)


def run_script(
    script: str, folder: Path, srun: str
) -> tuple[subprocess.CompletedProcess[str], str]:
    """Runs a script with commands that only say what they were called with."""
    tools = folder / "bin"
    tools.mkdir(exist_ok=True)
    bodies = {
        "scontrol": 'echo "scontrol $*" >> "$CALLS"; echo host-1; echo host-2',
        "srun": f'printf "%s\\n" "$@" > "$CALLS.srun"; {srun}',
    }
    for name, body in bodies.items():
        (tools / name).write_text(f"#!/bin/bash\n{body}\n")
        (tools / name).chmod(stat.S_IRWXU)
    (folder / "job.sh").write_text(script)
    env = {
        "PATH": f"{tools}:{os.environ['PATH']}", "CALLS": str(folder / "calls"),
        "SLURM_NNODES": "2", "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "host-[1-2]",
        "SLURM_SUBMIT_DIR": str(folder),
    }  # fmt: skip
    done = subprocess.run(
        ["bash", folder / "job.sh"], env=env, capture_output=True, text=True, check=False
    )
    return done, (folder / "calls").read_text()


def test_the_script_for_slurm_runs_the_command_on_all_machines(data: Path, tmp_path: Path) -> None:
    script = launch.slurm(job(data, gpu="A100", gpus=8, nodes=2, changes=("training.batch=64",)))
    done, calls = run_script(script, tmp_path, "exit 0")
    assert done.returncode == 0, done.stderr
    assert "requeue" not in calls
    called = (tmp_path / "calls.srun").read_text().splitlines()
    assert "torchrun" in called and "--nnodes=2" in called and "--nproc-per-node=8" in called
    assert "--cpus-per-task=64" in called and "#SBATCH --cpus-per-task=64\n" in script
    assert "--rdzv-endpoint=host-1:29500" in called
    begin = called.index("-m")
    assert called[begin:] == [
        "-m", "muybridge", "train", "flow-small", "--data", str(data), "--out",
        str(tmp_path / "first"), "--set", "training.batch=64",
    ]  # fmt: skip
    assert "#SBATCH --gpus-per-node=A100:8\n" in script and "#SBATCH --time=24:00:00\n" in script


TRAIN, END = '{"kind": "train"}\n', '{"kind": "end"}\n'


@pytest.mark.parametrize(
    ("begun", "log", "again"),
    [
        (True, TRAIN, True), (True, TRAIN + END, False), (False, "", False),
        (True, "", True),  # its tokenizer is trained first
        (True, END + TRAIN, True),  # gone on with, for longer
    ],
)  # fmt: skip
def test_what_was_cut_off_is_queued_again_and_what_failed_or_ended_is_not(
    begun: bool, log: str, again: bool, data: Path, tmp_path: Path
) -> None:
    if begun:
        (tmp_path / "first").mkdir()
        (tmp_path / "first" / "recipe.yaml").write_text("")
    if log:
        (tmp_path / "first" / "log.jsonl").write_text(log)
    done, calls = run_script(launch.slurm(job(data)), tmp_path, "exit 143")
    assert done.returncode == 143
    assert ("scontrol requeue 7" in calls) == again


def test_a_loss_that_is_not_a_number_is_not_tried_again(data: Path, tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "log.jsonl").write_text(TRAIN)
    for name in ("recipe.yaml", "nonfinite-00000003.json"):
        (tmp_path / "first" / name).write_text("")
    _, calls = run_script(launch.slurm(job(data)), tmp_path, "exit 1")
    assert "requeue" not in calls


@pytest.mark.parametrize("on", ["skypilot", "sagemaker", "azureml"])
def test_files_that_are_not_sent_are_told_before(on: str, data: Path, tmp_path: Path) -> None:
    changes = ("tokenizer=/elsewhere/vae",)
    made = launch.Job("flow-latent", data, "mine", bucket="s3://runs", changes=changes)
    with pytest.raises(mb.MuybridgeError, match=r"tokenizer\.run = /elsewhere/vae is a file"):
        launch.write(made, on, tmp_path / "job")
    assert launch.write(made, "slurm", tmp_path / "job.sh").startswith("sbatch")


def test_the_task_for_skypilot_keeps_the_run_in_a_bucket(data: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("training: {minutes: 5, batch: 32}\n")
    made = launch.Job(
        str(recipe), data, "mine", "H100", 8, 4, bucket="s3://runs", cloud="aws/us-east-1"
    )
    out = tmp_path / "task.yaml"
    assert launch.write(made, "skypilot", out) == f"sky jobs launch {out}"
    task = yaml.safe_load(out.read_text())
    assert task["num_nodes"] == 4
    assert task["resources"] == {
        "use_spot": True,
        "accelerators": "H100:8",
        "infra": "aws/us-east-1",
    }
    assert task["file_mounts"]["/data"] == str(data)
    assert task["file_mounts"]["/runs"]["source"] == "s3://runs"
    assert task["file_mounts"]["/recipe/mine.yaml"] == str(recipe)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2",
           "SKYPILOT_NUM_NODES": "4", "SKYPILOT_NODE_RANK": "1"}  # fmt: skip
    (tmp_path / "torchrun").write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
    (tmp_path / "torchrun").chmod(stat.S_IRWXU)
    done = subprocess.run(
        ["bash", "-c", task["run"]], env=env, capture_output=True, text=True, check=True
    )
    called = done.stdout.splitlines()
    assert "--master-addr=10.0.0.1" in called and "--node-rank=1" in called
    assert called[-6:] == ["train", "/recipe/mine.yaml", "--data", "/data", "--out", "/runs/mine"]


@pytest.mark.slow
def test_skypilot_itself_reads_the_task(data: Path, tmp_path: Path) -> None:
    """Its own parser, installed apart."""
    place, out = tmp_path / "sky", tmp_path / "task.yaml"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--target", str(place), "skypilot==0.14.1"]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"SkyPilot cannot be installed here: {done.stderr[-200:]}")
    made = launch.Job(
        "flow-small", data, "mine", "A100", 8, 2, bucket="s3://my-runs", cloud="aws/us-east-1"
    )
    launch.write(made, "skypilot", out)
    code = f"""if True:
        import sys; sys.path.insert(0, {str(place)!r})
        import sky
        task = sky.Task.from_yaml({str(out)!r})
        [wanted] = task.resources
        print(task.num_nodes, wanted.cloud, wanted.region, wanted.accelerators, wanted.use_spot)
        kept = [(to, one.source, one.mode.value) for to, one in task.storage_mounts.items()]
        print(task.file_mounts, kept)
    """
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "SKYPILOT_DISABLE_USAGE_COLLECTION": "1",
    }
    read = subprocess.run(
        [sys.executable, "-S", "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert read.returncode == 0, read.stderr
    assert read.stdout.splitlines()[-2:] == [
        "2 AWS us-east-1 {'A100': 8} True",
        f"{{'/data': {str(data)!r}}} [('/runs', 's3://my-runs', 'MOUNT_CACHED')]",
    ]


def test_what_would_fail_there_is_told_here(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "job"

    def refused(match: str, on: str = "slurm", **more: Any) -> None:
        with pytest.raises(mb.MuybridgeError, match=match):
            launch.write(
                launch.Job(**{"recipe": "flow-small", "data": data, "name": "a"} | more), on, out
            )
        assert not out.exists()

    refused("cannot be shared by 24", gpu="A100", gpus=8, nodes=3)
    refused(
        "16 of its tokenizer", recipe="flow-latent", changes=("training.batch=32",), gpus=8, nodes=4
    )
    refused("is no dataset", data=tmp_path)
    refused("training.bach", changes=("training.bach=3",))
    refused("flow-smal", recipe="flow-smal")
    refused("--bucket is not given", on="skypilot")
    refused("no such place", on="moon")
    refused("--cloud moon", on="skypilot", bucket="s3://a", cloud="moon")
    assert launch.parsed("A100:8") == ("A100", 8) and launch.parsed("H100") == ("H100", 1)
    for wrong in ("8", "A100:0", "A100:x", ""):
        with pytest.raises(mb.MuybridgeError, match="--gpus"):
            launch.parsed(wrong)


MANAGED: dict[str, Any] = {
    "gpu": "A100", "gpus": 8, "nodes": 2, "image": "me/muybridge:1", "machine": "ml.p4d.24xlarge",
}  # fmt: skip


def test_the_request_to_sagemaker_keeps_the_run_and_runs_the_command_on_all_machines(
    data: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("training: {minutes: 5, batch: 32}\n")
    given = MANAGED | {"bucket": "s3://runs", "role": "arn:aws:iam::1:role/me", "hours": 2}
    made = launch.Job(str(recipe), data, "mine", **given, changes=("training.batch=64",))
    out = tmp_path / "job.json"
    sent = launch.write(made, "sagemaker", out)
    request = json.loads(out.read_text())
    algorithm, kept = request["AlgorithmSpecification"], request["CheckpointConfig"]
    called = algorithm["ContainerEntrypoint"] + algorithm["ContainerArguments"]
    assert max(map(len, called)) <= 256  # of each word, by the service's reference
    assert called[:3] == ["torchrun", "--nnodes=2", "--nproc-per-node=8"]
    assert called[called.index("-m") :] == [
        "-m", "muybridge", "train", "/opt/ml/input/data/recipe/mine.yaml", "--data",
        "/opt/ml/input/data/data", "--out", f"{kept['LocalPath']}/mine", "--set",
        "training.batch=64",
    ]  # fmt: skip
    channels = {
        one["ChannelName"]: one["DataSource"]["S3DataSource"]["S3Uri"]
        for one in request["InputDataConfig"]
    }
    assert f"aws s3 sync '{data}' {channels['data']}" in sent
    assert f"aws s3 cp {recipe} {channels['recipe']}/" in sent
    assert sent.endswith(f"--cli-input-json file://{out}")
    stop = request["StoppingCondition"]
    assert stop["MaxRuntimeInSeconds"] == 7200 <= stop["MaxWaitTimeInSeconds"]


def test_the_job_of_azure_ml_takes_the_dataset_from_here(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "job.yaml"
    made = job(data, **MANAGED | {"machine": "my-cluster"}, changes=("training.batch=64",))
    assert launch.write(made, "azureml", out) == f"az ml job create --file {out}"
    task = yaml.safe_load(out.read_text())
    assert task["command"] == (
        "python -m muybridge train flow-small --data ${{inputs.data}} "
        "--out ${{outputs.runs}}/first --set training.batch=64"
    )
    assert task["inputs"]["data"]["path"] == str(data) and task["compute"] == "azureml:my-cluster"
    assert task["distribution"]["process_count_per_instance"] == 8
    assert task["resources"] == {"instance_count": 2}


@pytest.mark.parametrize("missing", ["image", "machine", "role", "bucket"])
def test_what_a_service_must_know_is_asked_for(missing: str, data: Path, tmp_path: Path) -> None:
    given = MANAGED | {"bucket": "s3://runs", "role": "arn:aws:iam::1:role/me"} | {missing: ""}
    with pytest.raises(mb.MuybridgeError, match=f"--{missing} is not given"):
        launch.write(job(data, **given), "sagemaker", tmp_path / "job.json")
