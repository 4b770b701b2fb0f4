"""Training killed by SIGKILL at random moments, on one process and on two: does it end the same?

    python benchmarks/kills.py [--kills 4] [--families flow-nano,gru,...]

Every family that ships is trained for a few updates without a break, and again with kills: of the
process, or of torchrun or one of its two, at a moment drawn evenly over the time that it lasts,
saves included (one after each update). Then it goes on to its end. Weights, their average and all
moments are compared bit for bit.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from common import report
from safetensors.torch import load_file

import muybridge as mb
from muybridge.core import progress
from muybridge.data.prepare import Config
from muybridge.recipe import shipped
from muybridge.training import checkpoint

STEPS = 8
SMALL = (
    "data.size=[32,32]", "data.frames=8", "data.fps=8", "training.batch=4", "training.minutes=null",
    f"training.steps={STEPS}", "training.validations=2", "training.previews=1",
    "training.threads=1", "training.loggers=[]", "training.save_seconds=0",
    "evaluation.held_out=2", "training.measures=0", "training.precision=fp32", "model.size=nano",
)  # fmt: skip
OWN = {
    "simvp": ("model.frames=4",), "flow-any": ("data.tasks.given=6",),
    "flow-few": ("sampling.steps=2",), "vae": ("sampling.steps=2",),
}  # fmt: skip
LATENT = "tokenizer.set=[model.size=nano,model.prior=null,model.text=null]"
TOKENS = "tokenizer.set=[model.size=nano]"
FAMILIES = [n for n in shipped() if n not in ("flow-base", "flow-small", "fsq")]


def command(name: str, data: Path, out: Path, ranks: int) -> list[str]:
    """What trains a family."""
    tokenizer = mb.Recipe.load(name).tokenizer
    inner = () if tokenizer is None else (TOKENS if tokenizer.recipe == "fsq" else LATENT,)
    given = [part for one in (*SMALL, *OWN.get(name, ()), *inner) for part in ("--set", one)]
    many = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    train = ["-m", "muybridge", "train", name, "--data", str(data), "--out", str(out), *given]
    return [sys.executable, *(many if ranks > 1 else ()), *train]


def begun(name: str, data: Path, out: Path, ranks: int) -> subprocess.Popen[str]:
    """Training in processes of a group of their own."""
    return subprocess.Popen(
        command(name, data, out, ranks), text=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, start_new_session=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def whole(name: str, data: Path, out: Path, ranks: int) -> None:
    """Trains to the end."""
    training = begun(name, data, out, ranks)
    _, told = training.communicate()
    if training.returncode:
        raise SystemExit(f"{name} on {ranks}: {told[-2000:]}")


def children(of: int) -> list[int]:
    """Processes that another one began: those that train, of torchrun."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True).stdout
    rows = [line.split() for line in listed.splitlines()[1:]]
    return [int(process) for process, parent in rows if int(parent) == of]


def killed(name: str, data: Path, out: Path, ranks: int, lasts: float, draw: random.Random) -> str:
    """Trains until a kill; says what was going on."""
    training = begun(name, data, out, ranks)
    time.sleep(lasts * draw.random())
    if training.poll() is not None:
        return "ended"
    there = [training.pid, *(children(training.pid) if ranks > 1 else ())]
    os.kill(draw.choice(there), signal.SIGKILL)
    saving = any(out.rglob(".*.tmp"))
    training.communicate()
    return "in a save" if saving else "elsewhere"


def weights(run: Path) -> dict[str, torch.Tensor]:
    """All that the end of a run holds."""
    folder = checkpoint.find(run, "last")
    parts = ("model", "average", "optimizer")
    return {
        f"{part}/{name}": value
        for part in parts
        for name, value in load_file(folder / f"{part}.safetensors").items()
    }


def measured(name: str, ranks: int, data: Path, place: Path, kills: int) -> dict[str, Any]:
    """One family, with and without kills."""
    draw = random.Random(f"{name} {ranks}")
    began = time.perf_counter()
    whole(name, data, place / "whole", ranks)
    lasts = time.perf_counter() - began
    where = [killed(name, data, place / "parts", ranks, lasts, draw) for _ in range(kills)]
    whole(name, data, place / "parts", ranks)
    one, two = weights(place / "whole"), weights(place / "parts")
    alike = one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
    return {
        "family": name, "processes": ranks, "kills": len(where) - where.count("ended"),
        "in a save": where.count("in a save"), "bit for bit": "yes" if alike else "NO",
    }  # fmt: skip


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--families", default=",".join(FAMILIES))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        mb.make_stage(place / "footage", 24, size=(32, 32), fps=8)
        mb.prepare(place / "footage", place / "data", config=Config(size=(32, 32), fps=8))
        asked = [(name, ranks) for name in args.families.split(",") for ranks in (1, 2)]
        rows = []
        # What was measured is kept when it is broken off, by SIGTERM too.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            for name, ranks in progress.track(asked, "kills"):
                out = place / f"{name}-{ranks}"
                rows.append(measured(name, ranks, place / "data", out, args.kills))
    report("kills", rows, kills=sum(row["kills"] for row in rows), steps=STEPS)


if __name__ == "__main__":
    main()
