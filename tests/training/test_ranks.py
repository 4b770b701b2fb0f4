"""Several processes that train as one: what they share and what they spread comes out the same."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import muybridge as mb
from muybridge import stages
from muybridge.assembly import assemble
from muybridge.core import chance, distributed
from muybridge.core.clips import Batch
from muybridge.core.errors import RunError
from muybridge.recipe import shipped
from muybridge.training import checkpoint, loop, sharding

STEPS = 20
SMALL = (
    "data.size=[32,32]", "data.frames=8", "data.fps=8", "training.batch=4",
    "training.minutes=null", f"training.steps={STEPS}", "training.validations=1",
    "training.previews=0", "training.threads=1",
    "training.loggers=[]", "training.save_seconds=1e9", "evaluation.held_out=2",
    "training.measures=0", "training.precision=fp32", "model.size=nano",
    # Muon rounds to bf16, and what differs by 1e-16 may then differ by 1e-3.
    "training.optimizer.kind=adamw", "training.optimizer.learning_rate=1e-3",
)  # fmt: skip
OWN = {"simvp": ("model.frames=4",), "flow-any": ("data.tasks.given=6",)}
TOKENIZERS = {"vae": ("model.prior=null", "model.text=null"), "fsq": ()}
FAMILIES = [n for n in shipped() if n not in ("flow-base", "flow-small", "flow-latent", "fsq")]
SPREAD = ("flow-nano", "flow-any", "simvp", "transformer-ar", "transformer-masked")


class Masked:
    """Batches in float64 in which some frames do not count."""

    def __init__(self, run: mb.Run, cut: int) -> None:
        self.cut = cut
        self.loader = run.loader(mb.Dataset.open(run.recipe.data.folder), "train")
        self.size = run.recipe.training.batch

    def __call__(self, step: int) -> Generator[Batch]:
        for place in range(step, STEPS + 1):
            if place == self.cut:
                raise InterruptedError
            batch = self.loader.batch(place, self.size, distributed.rank(), distributed.world())
            weight = (batch.seeds[:, None] % torch.arange(2, 2 + batch.clips.shape[1]) > 0).double()
            doubled = {
                name: value.double()
                for name, value in vars(batch).items()
                if isinstance(value, Tensor) and value.is_floating_point()
            }
            yield replace(batch, **(doubled | {"frame_weight": weight}))


def recipe(name: str, data: Path) -> mb.Recipe:
    """`data` holds a dataset, and tokenizers that were trained on it."""
    wanted = mb.Recipe.load(name, (*SMALL, *OWN.get(name, ()))).with_(data=data / "dataset")
    if wanted.tokenizer is None:
        return wanted
    return wanted.with_(f"tokenizer={{run: {data / wanted.tokenizer.recipe}}}")


@contextlib.contextmanager
def in_float64() -> Iterator[None]:
    """Within, what is asked to be in float32 is in float64."""
    patch = pytest.MonkeyPatch()
    patch.setattr(Tensor, "float", Tensor.double)
    for name in ("normal", "uniform", "even"):
        plain = getattr(chance, name)
        patch.setattr(chance, name, lambda *a, plain=plain: plain(*a).double())
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        patch.undo()


def train(name: str, data: Path, out: Path, shard: str = "none", cut: int = STEPS + 1) -> None:
    """From the run's fresh weights, or from where it stands; broken off before step `cut`."""
    run = assemble(recipe(name, data), out)
    stages.first(run, mb.Dataset.open(data / "dataset"))
    with in_float64():
        objective = run.objective().double()
        config = run.recipe.second_stage().with_values(shard=shard)
        if cut < STEPS:
            config = config.with_values(save_seconds=0)
        hooks = loop.Hooks(
            Masked(run, cut),
            1,
            lambda: {"loss": 1.0},
            lambda step: {},
            contextlib.nullcontext,
            dict,
        )
        with contextlib.suppress(InterruptedError):
            loop.train(objective, config, out, torch.device("cpu"), hooks)


def weights(run: Path) -> dict[str, Tensor]:
    folder = checkpoint.find(run, "last")
    parts = ("model", "average", "optimizer")
    return {
        f"{part}/{name}": value
        for part in parts
        for name, value in load_file(folder / f"{part}.safetensors").items()
    }


def check_no_threads_are_left() -> None:
    """A group's threads that outlive the interpreter may abort the process. Where weights were
    spread PyTorch keeps the group, and the command ends otherwise."""
    if "torch.distributed.fsdp" in sys.modules:
        return
    threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    if any("gloo" in name for name in threads):
        print("left at the end:", *threads, flush=True)
        os._exit(1)


def together(code: str, environment: Mapping[str, str], count: int = 2, **more: str) -> list[str]:
    """Runs code in several processes that know each other; gives what each printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    start = f"""if True:
        import atexit, sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_ranks import *
        atexit.register(check_no_threads_are_left)  # after what is registered later
        torch.set_num_threads(1); distributed.start()
    """
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(count)} | more
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(start) + textwrap.dedent(code)], text=True,
            env={**os.environ, **environment, **world, "RANK": str(rank)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for rank in range(count)
    ]  # fmt: skip
    told = [rank.communicate(timeout=600)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * count, told
    return told


def unlike(first: Path, second: Path, by: float) -> list[str]:
    one, two = weights(first), weights(second)
    assert one.keys() == two.keys()
    return [n for n in one if not torch.allclose(one[n].double(), two[n].double(), rtol=0, atol=by)]


@pytest.fixture(scope="module")
def data(small_stage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "dataset").symlink_to(small_stage)
    for name, more in TOKENIZERS.items():
        few = ("training.steps=2", "training.optimizer.kind=muon", *more)
        mb.Recipe.load(name, (*SMALL, *few)).with_(data=small_stage).train(folder / name)
    return folder


def call(name: str, data: Path, out: Path, **more: Any) -> str:
    """Code that trains."""
    return f"train({name!r}, Path({str(data)!r}), Path({str(out)!r}), **{more!r})"


@pytest.mark.slow
def test_shared_and_spread_over_two_ranks_equal_one(
    data: Path, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    ways = [(n, how) for n in FAMILIES for how in ("none", "full") if how == "none" or n in SPREAD]
    two = [call(name, data, tmp_path / f"{name}-{how}", shard=how) for name, how in ways]
    together("\n".join(two), environment)
    # By a process of its own too: here, matrices may be kept that were made in float32.
    together("\n".join(call(n, data, tmp_path / n) for n in FAMILIES), environment, count=1)
    wrong = [
        (name, how, found[:3])
        for name, how in ways
        if (found := unlike(tmp_path / name, tmp_path / f"{name}-{how}", 1e-8))
    ]
    assert not wrong


def test_what_is_spread_is_a_part_of_it_and_ends_in_a_checkpoint_for_any_number_of_ranks(
    data: Path, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    begun = call("flow-nano", data, tmp_path / "two", shard="full", cut=4)
    told = together(
        f"""
        {begun}
        run = mb.Run.open({str(tmp_path / "two")!r})
        objective = run.objective()
        whole = sum(p.numel() for p in objective.parameters())
        sharding.shard(objective, "full")
        own = sum(p.to_local().numel() for p in objective.parameters() if p.ndim)
        print("share", own / whole)
        """,
        environment,
    )
    shares = [
        float(line.split()[1]) for text in told for line in text.splitlines() if "share" in line
    ]
    assert shares == pytest.approx([0.5, 0.5], abs=0.02)
    assert checkpoint.find(tmp_path / "two", "last").name == "step-00000004"
    # One process goes on with what two began.
    both = [call("flow-nano", data, tmp_path / name) for name in ("two", "one")]
    together("\n".join(both), environment, count=1)
    assert not unlike(tmp_path / "one", tmp_path / "two", 1e-8)


def test_machines_that_hold_all_each_equal_one_process(
    data: Path, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    four = call("flow-nano", data, tmp_path / "four", shard="hybrid", cut=5)
    together(four, environment, count=4, LOCAL_WORLD_SIZE="2")
    together(call("flow-nano", data, tmp_path / "one", cut=5), environment, count=1)
    assert not unlike(tmp_path / "one", tmp_path / "four", 1e-8)


def test_the_command_trains_judges_shows_and_goes_on_with_weights_spread(
    data: Path, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    small = [
        *SMALL, "training.previews=1", "training.measures=1", "evaluation.during=[appearance]",
        "evaluation.during_samples=4", "sampling.steps=2", "training.validations=2",
        "training.save_seconds=0", "training.log_every=1",
    ]  # fmt: skip
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    losses = {}
    for name, how, shard in (("one", [], "none"), ("two", two, "full")):
        settings = [x for one in (*small, f"training.shard={shard}") for x in ("--set", one)]
        given = ["flow-nano", "--data", str(data / "dataset"), "--out", str(tmp_path / name)]
        for steps in (3, 6):  # the second call goes on
            command = [sys.executable, *how, "-m", "muybridge", "train", *given, *settings]
            budget = ["--set", f"training.steps={steps}"]
            subprocess.run([*command, *budget], check=True, env={**os.environ, **environment})
        text = (tmp_path / name / "log.jsonl").read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text.splitlines()]
        assert [x["step"] for x in lines if x["kind"] == "train"] == [1, 2, 3, 4, 5, 6]
        assert {"preview", "scores", "resume", "end"} <= {x["kind"] for x in lines}
        losses[name] = [x["loss"] for x in lines if x["kind"] in ("train", "validation")]
    assert losses["two"] == pytest.approx(losses["one"], rel=2e-3)


def test_machines_that_share_no_disk_train_a_tokenizer_and_a_model_over_it_and_go_on(
    data: Path, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    """Each process has a folder and temporary files of its own; the second is begun anew by a
    machine that has neither, and by one whose copies are of long ago."""
    changes = (*SMALL, "training.validations=2", "tokenizer.set=[model.text=null,model.prior=null]")
    code = """
        import tempfile
        own = Path({place!r}) / str(distributed.rank()); own.mkdir(exist_ok=True)
        tempfile.tempdir = str(own / "tmp" / {machine!r})
        Path(tempfile.tempdir).mkdir(parents=True, exist_ok=True)
        wanted = mb.Recipe.load("flow-latent", {changes!r}).with_(
            "training.steps={steps}", data={data!r})
        print(wanted.train(own / "run").folder)
    """
    given = {"place": str(tmp_path), "data": str(data / "dataset"), "changes": changes}
    for steps, machine in ((10, "a"), (15, "b"), (20, "a")):
        call = code.format(**given, steps=steps, machine=machine)
        told = together(call, environment, LOCAL_RANK="0")
        places = [Path(one.splitlines()[-1]) for one in told]
        assert places[0] == tmp_path / "0" / "run" and not (tmp_path / "1" / "run").exists()
        assert places[1].is_relative_to(tmp_path / "1" / "tmp" / machine)
        # What came from the first machine, and not what only it looks at.
        here, there = ({p.name for p in place.iterdir()} for place in places)
        assert {"log.jsonl", "checkpoints", "tokenizer"} <= here
        assert {"recipe.yaml", "vocabulary.json", "tokenizer"} <= there <= here - {"log.jsonl"}
    lines = (tmp_path / "0" / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(x)["step"] for x in lines if '"resume"' in x] == [6, 11]
    alone = mb.Recipe.load("flow-latent", changes).with_(data=data / "dataset")
    for steps in (10, 15, 20):
        alone.with_(f"training.steps={steps}").train(tmp_path / "alone")
    for part in (".", "tokenizer"):
        assert not unlike(tmp_path / "0" / "run" / part, tmp_path / "alone" / part, 5e-3)


@pytest.mark.parametrize("name", sorted({*FAMILIES} - {*SPREAD}))
def test_what_cannot_be_spread_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch, data: Path, tmp_path: Path
) -> None:
    run = assemble(recipe(name, data), tmp_path)
    stages.first(run, mb.Dataset.open(data / "dataset"))
    monkeypatch.setattr(distributed, "world", lambda: 2)
    with pytest.raises(RunError, match=r"training\.shard = full"):
        sharding.shard(run.objective(), "full")
