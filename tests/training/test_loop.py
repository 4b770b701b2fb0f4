"""The loop: exact resume, accumulation, ranks, phases, and stopping."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Generator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from muybridge.core import chance, distributed, files
from muybridge.core.clips import Batch
from muybridge.core.errors import Interrupted, MuybridgeError, RunError
from muybridge.objectives.base import Loss, Objective, Phase, SampleRequest
from muybridge.training import checkpoint, loop, optimizers
from muybridge.training.average import Average
from muybridge.training.monitor import Monitor

CPU = torch.device("cpu")


class Toy(Objective):
    """Two groups of parameters, noise from the clips' seeds, a masked mean."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.generator = nn.ModuleDict(
            {"blocks": nn.ModuleList([nn.Linear(3, 3)]), "head": nn.Linear(3, 3)}
        )
        self.critic = nn.Linear(3, 1)
        self.fail_at: float | None = None

    def phases(self) -> tuple[Phase, ...]:
        return (
            Phase("generator", dict(self.generator.named_parameters())),
            Phase("critic", dict(self.critic.named_parameters()), every=2),
        )

    def weights(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        return {"error": batch.frame_weight.sum(1), "size": torch.ones(len(batch))}

    def loss(self, batch: Batch, phase: str, progress: float) -> Loss:
        noise = chance.normal(batch.seeds, (3,), "toy")
        x = batch.clips.mean((3, 4)) + 0.1 * noise[:, None]
        made = self.generator["head"](self.generator["blocks"][0](x).tanh())
        judged = made if phase == "generator" else self.critic(made.detach())
        error = (
            (judged - x.mean()).square().mean(-1)
            if phase == "critic"
            else (judged - x.flip(1)).square().mean(-1)
        )
        if self.fail_at is not None and progress >= self.fail_at:
            error = error * float("nan")
        return Loss(
            {"error": (error * batch.frame_weight).sum(1), "size": made.square().mean((1, 2))},
            {"size": 0.1},
        )

    def sample(self, request: SampleRequest) -> Tensor:
        raise AssertionError("not sampled")


def batch_at(step: int, size: int = 8, begin: int = 0, end: int | None = None) -> Batch:
    indices = list(range(size))[begin:end]
    seeds = torch.tensor([chance.mix(step, i) for i in indices])
    weight = (chance.normal(seeds, (4,), "weight") > -0.5).float()
    return Batch(
        clips=chance.normal(seeds, (4, 3, 2, 2), "clip"),
        times=torch.zeros(len(indices), 4),
        frame_weight=weight,
        seeds=seeds,
        names=tuple(f"clip-{step}-{i}" for i in indices),
    )


def hooks(seen: list[int] | None = None, losses: list[float] | None = None) -> loop.Hooks:
    def batches(step: int) -> Generator[Batch]:
        while True:
            if seen is not None:
                seen.append(step)
            yield batch_at(step)
            step += 1

    falling = iter(losses or [])
    return loop.Hooks(
        batches=batches,
        epoch=16,
        validate=lambda: {"loss": next(falling, 1.0)},
        preview=lambda step: {"video": f"{step}.mp4"},
        autocast=nullcontext,
        measure=dict,
    )


def until(stop: int) -> Callable[[int], Generator[Batch]]:
    """Batches up to step `stop`; there the run breaks off."""

    def batches(step: int) -> Generator[Batch]:
        for place in range(step, stop):
            yield batch_at(place)
        raise InterruptedError

    return batches


def settings(**values: Any) -> loop.Config:
    return loop.Config(
        **{"steps": 12, "batch": 8, "loggers": (), "log_every": 1, "threads": 1} | values
    )


def weights(run: Path, name: str = "last") -> dict[str, Tensor]:
    _, parts = checkpoint.load(checkpoint.find(run, name), ("model", "average", "optimizer"))
    # Copies: the file behind a loaded tensor may be damaged on purpose later.
    return {f"{part}/{k}": v.clone() for part, tensors in parts.items() for k, v in tensors.items()}


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def log(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_a_run_in_pieces_ends_bit_for_bit_like_a_run_in_one(tmp_path: Path) -> None:
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    loop.train(Toy(), settings(), whole, CPU, hooks())
    for stop in (3, 4, 9, 12):
        # Stopping after `stop` steps as a kill would: same budget, but the batches run out.
        cutting = replace(hooks(), batches=until(stop))
        if stop < 12:
            with pytest.raises(InterruptedError):
                loop.train(Toy(), settings(save_seconds=0.0), pieces, CPU, cutting)
        else:
            loop.train(Toy(), settings(), pieces, CPU, hooks())
    assert equal(weights(whole), weights(pieces))


def test_resuming_takes_up_at_the_next_batch(tmp_path: Path) -> None:
    first: list[int] = []
    loop.train(Toy(), settings(steps=5), tmp_path, CPU, hooks(first))
    second: list[int] = []
    position = loop.train(Toy(), settings(steps=8), tmp_path, CPU, hooks(second))
    assert first[:5] + second[:3] == list(range(8))
    assert position.step == 8


def test_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    loop.train(Toy(), settings(), tmp_path, CPU, hooks())
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "checkpoints").rglob("*.safetensors")}
    loop.train(Toy(), settings(), tmp_path, CPU, hooks())
    assert {
        p: p.stat().st_mtime_ns for p in (tmp_path / "checkpoints").rglob("*.safetensors")
    } == before


def gradients(batch: Batch, **values: Any) -> dict[str, Tensor]:
    """Of one update of the generator, as the loop computes them."""
    toy, config = Toy(), settings(**values)
    phase = toy.phases()[0]
    optimizer = optimizers.Optimizer(phase.parameters, config.optimizer)
    parts = loop.TrainingParts(toy, Average(toy.generator, 0.1), {phase.name: optimizer})
    facts = loop._update(parts, phase.name, batch, 0.5, config, hooks())
    made = {name: p.grad for name, p in phase.parameters.items() if p.grad is not None}
    return made | {"loss": torch.tensor(facts["loss"])}


@pytest.mark.parametrize("size", [1, 2, 3])
def test_micro_batches_give_the_gradient_of_the_whole(size: int) -> None:
    whole, cut = gradients(batch_at(0)), gradients(batch_at(0), micro_batch=size)
    assert len(whole) == 5
    for name in whole:
        torch.testing.assert_close(cut[name], whole[name], atol=1e-6, rtol=1e-5)


def test_two_ranks_equal_one(tmp_path: Path) -> None:
    script = textwrap.dedent(
        f"""
        import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
        import torch, test_loop
        from dataclasses import replace
        from pathlib import Path
        from safetensors.torch import save_file
        from muybridge.core import distributed
        from muybridge.training import loop
        distributed.start()
        begin, run = 4 * distributed.rank(), Path(sys.argv[1])
        made = test_loop.gradients(test_loop.batch_at(0, 8, begin, begin + 4))
        save_file(made, run / f"rank-{{distributed.rank()}}.safetensors")
        def batches(step):
            while True:
                yield test_loop.batch_at(step, 8, begin, begin + 4)
                step += 1
        hooks = replace(test_loop.hooks(), batches=batches)
        config = test_loop.settings(steps=3, save_seconds=0.0)
        loop.train(test_loop.Toy(), config, run, torch.device("cpu"), hooks)
        """
    )
    (tmp_path / "worker.py").write_text(script)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }
    ranks = [
        subprocess.Popen(
            [sys.executable, str(tmp_path / "worker.py"), str(tmp_path)],
            env={**os.environ, **world, "RANK": str(rank)},
        )
        for rank in range(2)
    ]
    assert [rank.wait(timeout=120) for rank in ranks] == [0, 0]
    one = gradients(batch_at(0))
    for rank in range(2):
        two = load_file(tmp_path / f"rank-{rank}.safetensors")
        for name, value in one.items():
            torch.testing.assert_close(two[name], value, atol=1e-6, rtol=1e-5)
    assert checkpoint.find(tmp_path, "last").name == "step-00000003"


def test_a_phase_is_updated_on_its_own_steps_only(tmp_path: Path) -> None:
    loop.train(Toy(), settings(steps=5), tmp_path, CPU, hooks())
    state = weights(tmp_path)
    assert state["optimizer/critic/weight/step"] == 3  # steps 0, 2 and 4
    assert state["optimizer/generator/head.weight/step"] == 5


def test_the_log_has_the_losses_of_each_phase_by_name(tmp_path: Path) -> None:
    loop.train(Toy(), settings(steps=2, log_every=1), tmp_path, CPU, hooks())
    first, second = (line["losses"] for line in log(tmp_path) if line["kind"] == "train")
    assert first.keys() == {"error", "size", "critic error", "critic size"}
    assert first["error"] != first["critic error"]
    assert second.keys() == {"error", "size"}  # the critic rests on every second step


class Dropping(Toy):
    """Leaves numbers out at random."""

    def loss(self, batch: Batch, phase: str, progress: float) -> Loss:
        kept = nn.functional.dropout(batch.clips, 0.5, self.training)
        return super().loss(replace(batch, clips=kept), phase, progress)


def test_what_dropout_leaves_out_follows_from_the_step_alone(tmp_path: Path) -> None:
    loop.train(Dropping(), settings(steps=4), tmp_path / "one", CPU, hooks())
    torch.manual_seed(99)
    loop.train(Dropping(), settings(steps=4), tmp_path / "two", CPU, hooks())
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert equal(one, two)
    loop.train(Toy(), settings(steps=4), tmp_path / "plain", CPU, hooks())
    assert not equal(weights(tmp_path / "plain"), one)


def test_not_a_number_stops_before_the_weights_change_and_names_the_clips(tmp_path: Path) -> None:
    toy = Toy()
    toy.fail_at = 0.5
    with pytest.raises(RunError, match=r"step 7: loss is nan.*clip-6-0") as caught:
        loop.train(toy, settings(save_seconds=0.0), tmp_path, CPU, hooks())
    assert caught.value.hint
    assert all(value.isfinite().all() for value in weights(tmp_path).values())
    report = json.loads((tmp_path / "nonfinite-00000007.json").read_text())
    assert len(report["clips"]) == 8
    kept = load_file(tmp_path / "nonfinite-00000007.safetensors")
    batch = batch_at(6)
    assert kept.keys() == {"clips", "times", "frame_weight", "seeds"}
    assert torch.equal(kept["clips"], batch.clips) and torch.equal(kept["seeds"], batch.seeds)
    assert all(math.isfinite(p.sum()) for p in toy.parameters())


def test_an_interrupt_saves_and_the_run_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    def interrupted(step: int) -> Generator[Batch]:
        while True:
            if step == 5:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch_at(step)
            step += 1

    def judged(run: Path) -> list[tuple[str, int]]:
        shown = [line for line in log(run) if line["kind"] in ("validation", "preview", "end")]
        return [(line["kind"], line["step"]) for line in shown]

    marks = settings(validations=2, previews=2)
    with pytest.raises(Interrupted, match="stopped at step 6"):
        loop.train(Toy(), marks, tmp_path / "a", CPU, replace(hooks(), batches=interrupted))
    # Judging may take longer than there is time; it is made up for.
    assert judged(tmp_path / "a") == [("validation", 0)]
    loop.train(Toy(), marks, tmp_path / "a", CPU, hooks())
    loop.train(Toy(), marks, tmp_path / "b", CPU, hooks())
    assert equal(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert judged(tmp_path / "a") == judged(tmp_path / "b")
    assert judged(tmp_path / "b")[1:3] == [("validation", 6), ("preview", 6)]


def test_a_stop_before_or_after_the_last_step_is_no_end(tmp_path: Path) -> None:
    def interrupted(step: int, at: int) -> Generator[Batch]:
        while True:
            if step == at:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch_at(step)
            step += 1

    for at, stop in ((0, 1), (11, 12)):
        stopping = replace(hooks(), batches=partial(interrupted, at=at))
        with pytest.raises(Interrupted, match=f"stopped at step {stop}"):
            loop.train(Toy(), settings(), tmp_path, CPU, stopping)
        assert log(tmp_path)[-1]["kind"] != "end"
    assert loop.train(Toy(), settings(), tmp_path, CPU, hooks()).step == 12
    assert [line["kind"] for line in log(tmp_path)][-2:] == ["preview", "end"]


def test_a_budget_that_was_made_longer_is_judged_to_its_end(tmp_path: Path) -> None:
    loop.train(Toy(), settings(steps=4, validations=4), tmp_path, CPU, hooks())
    loop.train(Toy(), settings(steps=8, validations=4), tmp_path, CPU, hooks())
    steps = [line["step"] for line in log(tmp_path) if line["kind"] == "validation"]
    assert steps == [0, 1, 2, 3, 4, 6, 8]


def test_a_damaged_last_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loop.train(Toy(), settings(save_seconds=0.0), tmp_path / "a", CPU, hooks())
    good = weights(tmp_path / "a")
    path = checkpoint.find(tmp_path / "a", "last") / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError, match="SHA-256"):
        checkpoint.load(path.parent, ("model",))
    loop.train(Toy(), settings(save_seconds=0.0), tmp_path / "a", CPU, hooks())
    assert "passing over step-00000012" in capsys.readouterr().err
    assert equal(weights(tmp_path / "a"), good)


def test_a_state_of_which_any_bit_was_turned_is_passed_over(tmp_path: Path) -> None:
    loop.train(Toy(), settings(save_seconds=0.0), tmp_path, CPU, hooks())
    path = checkpoint.find(tmp_path, "last") / "state.json"
    whole = path.read_bytes()
    for place in range(0, 8 * len(whole), 5):
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        path.write_bytes(content)
        found = checkpoint.resume(tmp_path, ("model",))
        assert found is not None
        # A space that became another one, say, is no damage: what is read is what was written.
        assert found[0].step == 11 or json.loads(content) == json.loads(whole)


class FullDisk:
    """A logger whose disk is full."""

    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def log(self, numbers: Any, step: int) -> None:
        raise self.error

    def close(self) -> None:
        raise self.error


def test_a_log_on_a_full_disk_says_so_and_hides_nothing(tmp_path: Path) -> None:
    def write() -> None:
        with Monitor(tmp_path, 0) as monitor:
            monitor._loggers = [FullDisk()]
            monitor.write("train", 1, loss=1.0)

    with pytest.raises(MuybridgeError, match="disk"):
        write()


def test_where_no_checkpoint_can_be_read_the_run_is_not_begun_anew(tmp_path: Path) -> None:
    loop.train(Toy(), settings(save_seconds=0.0), tmp_path, CPU, hooks())
    for path in (tmp_path / "checkpoints").glob("step-*"):
        (path / "model.safetensors").write_bytes(b"rubbish")
    with pytest.raises(RunError, match=r"no checkpoint of .* can be read"):
        loop.train(Toy(), settings(), tmp_path, CPU, hooks())
    assert log(tmp_path)[-1]["kind"] == "end"


def test_new_checkpoints_outlive_damaged_later_ones(tmp_path: Path) -> None:
    loop.train(Toy(), settings(save_seconds=0.0, keep=4), tmp_path, CPU, hooks())
    for step in (11, 12):
        path = tmp_path / "checkpoints" / f"step-{step:08d}" / "model.safetensors"
        path.write_bytes(b"rubbish")
    cutting = replace(hooks(), batches=until(11))
    with pytest.raises(InterruptedError):
        loop.train(Toy(), settings(save_seconds=0.0), tmp_path, CPU, cutting)
    assert checkpoint.find(tmp_path, "last").name == "step-00000011"
    checkpoint.load(checkpoint.find(tmp_path, "last"), ("model", "average", "optimizer"))


def test_the_best_is_the_best_also_where_a_later_step_was_taken_again(tmp_path: Path) -> None:
    checkpoint.save_best(tmp_path, checkpoint.Position(500), 2.0, {"w": torch.zeros(1)})
    checkpoint.save_best(tmp_path, checkpoint.Position(490), 1.0, {"w": torch.ones(1)})
    checkpoint.rotate(tmp_path, keep=2, step=490)
    assert checkpoint.find(tmp_path, "best").name == "best-00000490"
    assert not (tmp_path / "checkpoints" / "best-00000500").exists()


def test_checkpoints_are_rotated_and_the_best_is_kept(tmp_path: Path) -> None:
    losses = [5.0, 3.0, 1.0, 2.0, 4.0]
    config = settings(save_seconds=0.0, keep=2, validations=4)
    loop.train(Toy(), config, tmp_path, CPU, hooks(losses=losses))
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["best-00000006", "step-00000011", "step-00000012"]
    assert checkpoint.find(tmp_path, "best").name == "best-00000006"
    with pytest.raises(RunError, match="has best-00000006, step-00000011, step-00000012"):
        checkpoint.find(tmp_path, "step-00000003")


def test_the_log_holds_each_step_once_after_a_kill(tmp_path: Path) -> None:
    with pytest.raises(InterruptedError):
        loop.train(
            Toy(), settings(save_seconds=1e9), tmp_path, CPU, replace(hooks(), batches=until(9))
        )
    with (tmp_path / "log.jsonl").open("a") as stream:
        stream.write('{"kind": "tra')
    loop.train(Toy(), settings(), tmp_path, CPU, hooks())
    assert [line["step"] for line in log(tmp_path) if line["kind"] == "train"] == list(range(1, 13))


def test_a_budget_in_minutes_goes_on_from_its_stored_time(tmp_path: Path) -> None:
    loop.train(Toy(), settings(), tmp_path, CPU, hooks())
    name = checkpoint.find(tmp_path, "last")
    state = json.loads((name / "state.json").read_text())
    later = {n: v for n, v in state.items() if n != "digest"} | {"seconds": 3600.0}
    text = json.dumps(later | {"digest": files.digest_of(later)})
    (name / "state.json").write_text(text)
    config = settings(steps=None, minutes=30.0)
    assert loop.train(Toy(), config, tmp_path, CPU, hooks()).step == 12


def test_a_budget_in_epochs_counts_clips(tmp_path: Path) -> None:
    config = settings(steps=None, epochs=3.0)
    assert (
        loop.train(Toy(), config, tmp_path, CPU, hooks()).step == 6
    )  # 3 x 16 clips in batches of 8


def test_validation_and_previews_come_at_even_marks(tmp_path: Path) -> None:
    loop.train(Toy(), settings(validations=4, previews=2), tmp_path, CPU, hooks())
    steps = {
        k: [x["step"] for x in log(tmp_path) if x["kind"] == k] for k in ("validation", "preview")
    }
    assert steps == {"validation": [0, 3, 6, 9, 12], "preview": [6, 12]}


def test_looking_does_not_change_the_course(tmp_path: Path) -> None:
    def draw() -> dict[str, Any]:
        torch.rand(10)
        return {"loss": 1.0}

    loop.train(
        Toy(), settings(validations=12), tmp_path / "a", CPU, replace(hooks(), validate=draw)
    )
    loop.train(Toy(), settings(validations=0, previews=0), tmp_path / "b", CPU, hooks())
    assert equal(weights(tmp_path / "a"), weights(tmp_path / "b"))


def test_a_full_disk_is_said_and_nothing_saved_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop.train(Toy(), settings(), tmp_path / "whole", CPU, hooks())
    with pytest.raises(InterruptedError):
        loop.train(
            Toy(), settings(save_seconds=0.0), tmp_path, CPU, replace(hooks(), batches=until(4))
        )
    good = weights(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(MuybridgeError, match="disk is full"):
        loop.train(Toy(), settings(), tmp_path, CPU, hooks())
    assert equal(weights(tmp_path), good)
    assert not list((tmp_path / "checkpoints").glob(".*"))
    monkeypatch.undo()
    loop.train(Toy(), settings(), tmp_path, CPU, hooks())
    assert equal(weights(tmp_path), weights(tmp_path / "whole"))


def test_a_batch_that_ranks_cannot_share_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "world", lambda: 3)
    with pytest.raises(RunError, match=r"training\.batch = 8 cannot be shared by 3"):
        loop.train(Toy(), settings(), tmp_path, CPU, hooks())
