"""Gradients of an update where some clips go through a part of the network and others do not."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from muybridge.core import distributed
from muybridge.core.clips import Batch
from muybridge.core.errors import RunError
from muybridge.objectives.base import Loss, Objective, Phase, SampleRequest
from muybridge.training import loop, memory, optimizers
from muybridge.training.average import Average

BRIGHT, DARK = 1.0, -1.0


class Forked(Objective):
    """Bright clips go through one part, dark ones through another; nothing through the third."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        names = {"bright": nn.Linear(3, 2), "dark": nn.Linear(3, 5), "idle": nn.Linear(3, 1)}
        self.generator = nn.ModuleDict(names)
        self.critic = nn.Linear(3, 1)

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("generator", dict(self.generator.named_parameters())),)

    def weights(self, batch: Batch, phase: str) -> dict[str, Tensor]:
        return {"error": torch.ones(len(batch))}

    def loss(self, batch: Batch, phase: str, progress: float) -> Loss:
        colours = batch.clips.mean((1, 3, 4))
        parts = ["bright" if float(colour.mean()) > 0 else "dark" for colour in colours]
        errors = [
            self.generator[part](colour).square().mean()
            for part, colour in zip(parts, colours, strict=True)
        ]
        return Loss({"error": torch.stack(errors)})

    def sample(self, request: SampleRequest) -> Tensor:
        raise AssertionError("not sampled")


def batch(*values: float) -> Batch:
    count = len(values)
    return Batch(
        clips=torch.tensor(values).view(-1, 1, 1, 1, 1).expand(count, 2, 3, 2, 2),
        times=torch.zeros(count, 2),
        frame_weight=torch.ones(count, 2),
        seeds=torch.arange(count),
    )


def update(objective: Forked, given: Batch, size: int | None = None) -> optimizers.Optimizer:
    config = loop.Config(steps=1, micro_batch=size)
    optimizer = optimizers.Optimizer(objective.phases()[0].parameters, config.optimizer)
    hooks = loop.Hooks(
        batches=lambda step: iter(()),  # type: ignore[arg-type, return-value]
        epoch=1,
        validate=dict,
        preview=lambda step: {},
        autocast=nullcontext,
        measure=dict,
    )
    parts = loop.TrainingParts(
        objective, Average(objective.generator, 0.1), {"generator": optimizer}
    )
    loop._update(parts, "generator", given, 0.5, config, hooks)
    return optimizer


def gradients(objective: Forked) -> dict[str, Tensor | None]:
    return {name: p.grad for name, p in objective.generator.named_parameters()}


@pytest.mark.parametrize("value", [BRIGHT, DARK])
def test_a_part_that_no_clip_went_through_has_a_gradient_of_zeros(value: float) -> None:
    objective = Forked()
    update(objective, batch(value, value))
    went = "bright" if value == BRIGHT else "dark"
    for name, gradient in gradients(objective).items():
        assert gradient is not None
        assert bool(gradient.any()) == name.startswith(went)


def test_what_an_update_before_left_is_not_kept() -> None:
    objective = Forked()
    update(objective, batch(BRIGHT, BRIGHT))
    update(objective, batch(DARK, DARK))
    assert all(
        g is not None and not g.any() for n, g in gradients(objective).items() if n[0] == "b"
    )


def test_parameters_of_other_phases_are_left_alone() -> None:
    objective = Forked()
    update(objective, batch(BRIGHT))
    assert objective.critic.weight.grad is None


def test_ranks_agree_on_what_is_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    summed: list[list[torch.Size]] = []

    def add_up(tensors: Iterable[Tensor]) -> None:
        summed[-1] += [tensor.shape for tensor in tensors]

    monkeypatch.setattr(distributed, "add_up", add_up)
    for values in ((BRIGHT, BRIGHT), (DARK, DARK), (BRIGHT, DARK)):
        summed.append([])
        update(Forked(), batch(*values))
    assert summed[0] == summed[1] == summed[2]
    # The weights of the terms, the terms, two parameters of each of three parts, and which of
    # these have a gradient.
    assert len(summed[0]) == 1 + 1 + 6 + 1


def test_ranks_whose_clips_part_sum_to_the_gradient_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = Forked()
    update(alone, batch(BRIGHT, BRIGHT, DARK, DARK))

    # Two ranks one after the other: the second meets what the first put into each sum. The count
    # of clips, which is summed first, is known to both.
    others: list[Tensor] = []

    def first_rank(tensors: Iterable[Tensor]) -> None:
        given = list(tensors)
        if len(given) == 1:
            given[0].fill_(4)
        else:
            others.extend(tensor.clone() for tensor in given)

    def second_rank(tensors: Iterable[Tensor]) -> None:
        given = list(tensors)
        if len(given) == 1:
            given[0].fill_(4)
        else:
            for tensor, other in zip(given, others, strict=True):
                tensor += other

    monkeypatch.setattr(distributed, "add_up", first_rank)
    update(Forked(), batch(BRIGHT, BRIGHT))
    monkeypatch.setattr(distributed, "add_up", second_rank)
    together = Forked()
    update(together, batch(DARK, DARK))
    for name, expected in gradients(alone).items():
        gradient = gradients(together)[name]
        assert gradient is not None and expected is not None
        torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("size", [1, 2])
def test_micro_batches_through_different_parts_give_the_gradient_of_the_whole(size: int) -> None:
    whole, cut = Forked(), Forked()
    given = batch(BRIGHT, BRIGHT, DARK, DARK)
    update(whole, given)
    update(cut, given, size)
    for name, expected in gradients(whole).items():
        gradient = gradients(cut)[name]
        assert gradient is not None and expected is not None
        torch.testing.assert_close(gradient, expected)


class Large(Forked):
    """Fits no more than some clips at once; tells how many came."""

    def __init__(self, fits: int, error: BaseException) -> None:
        super().__init__()
        self.fits, self.error, self.seen = fits, error, list[int]()

    def loss(self, batch: Batch, phase: str, progress: float) -> Loss:
        self.seen.append(len(batch))
        made = super().loss(batch, phase, progress)
        if len(batch) > self.fits:
            made.sums["error"].sum().backward()  # what is left of it must not count
            raise self.error
        return made


FULL = [
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
]


@pytest.mark.parametrize("error", FULL, ids=lambda e: type(e).__name__)
def test_out_of_memory_cuts_the_batch_and_the_gradient_is_that_of_the_whole(
    error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    given, whole, large = batch(*[BRIGHT, DARK] * 4), Forked(), Large(3, error)
    update(whole, given)
    update(large, given)
    assert large.seen == [8, 4, 2, 2, 2, 2]
    for name, expected in gradients(whole).items():
        gradient = gradients(large)[name]
        assert gradient is not None and expected is not None
        torch.testing.assert_close(gradient, expected)
    said = capsys.readouterr().err
    assert said.count("out of memory") == 2 and "training.micro_batch=2" in said


def test_it_stays_so_and_where_one_clip_does_not_fit_it_says_what_to_do() -> None:
    micro, tried = memory.Micro(), list[int]()

    def compute(size: int) -> int:
        tried.append(size)
        if size > 2:
            raise FULL[0]
        return size

    assert [memory.fitting(micro, 8, compute) for _ in range(2)] == [2, 2]
    assert tried == [8, 4, 2, 2]
    with pytest.raises(RunError, match="not suffice for one clip") as caught:
        update(Large(0, FULL[0]), batch(BRIGHT, DARK))
    assert "model.recompute" in caught.value.hint


def test_where_ranks_must_agree_on_the_number_it_is_told_and_not_changed() -> None:
    tried = list[int]()

    def compute(size: int) -> int:
        tried.append(size)
        raise FULL[0]

    with pytest.raises(RunError) as caught:
        memory.fitting(memory.Micro(settled=True), 8, compute)
    assert tried == [8] and "training.micro_batch=4" in caught.value.hint


@pytest.mark.parametrize("error", FULL, ids=lambda e: type(e).__name__)
def test_where_judging_does_not_fit_it_says_what_to_lower(error: BaseException) -> None:
    with pytest.raises(RunError, match="does not suffice to judge") as caught, memory.judging():
        raise error
    assert "evaluation.held_out" in caught.value.hint
    with pytest.raises(RuntimeError, match="shapes"), memory.judging():
        raise RuntimeError("shapes do not match")


def test_what_was_settled_after_out_of_memory_is_kept_in_the_checkpoint() -> None:
    micro, after = memory.Micro(4), memory.Micro()
    after.restore(micro.state())
    assert after.most == 4
    after.restore(memory.Micro().state())
    assert after.most is None


def test_other_errors_are_not_taken_for_it() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        update(Large(1, RuntimeError("shapes do not fit")), batch(BRIGHT, DARK))


@pytest.mark.parametrize("kind", ["muon", "adamw", "sgd", "rmsprop"])
def test_what_no_clip_went_through_is_left_as_it_is_and_then_begins_anew(kind: str) -> None:
    """A level of a network that grows: Adam's counts would make its first updates ten times as
    large."""
    torch.manual_seed(0)
    config = optimizers.Config(kind=kind, betas=(0.0, 0.99), weight_decay=0.1, warmup=0, decay=0)
    late, fresh = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    early = torch.nn.Parameter(torch.ones(3))
    begun = optimizers.Optimizer({"blocks.early": early, "late": late}, config)
    for _ in range(200):
        early.grad, late.grad = torch.randn(3), None
        begun.gradients()
        begun.step(1.0)
    assert torch.equal(late, torch.ones(3)) and not torch.equal(early, torch.ones(3))
    other = optimizers.Optimizer({"late": fresh}, config)
    for _ in range(3):
        late.grad, early.grad, fresh.grad = torch.full((3,), 0.5), None, torch.full((3,), 0.5)
        for optimizer in (begun, other):
            optimizer.gradients()
            optimizer.step(1.0)
    torch.testing.assert_close(late, fresh)


def test_what_a_clip_of_another_process_went_through_is_updated() -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = optimizers.Optimizer({"w": parameter}, optimizers.Config(kind="sgd", momentum=0))
    gradient, reached = optimizer.gradients()
    assert reached.tolist() == [0]
    gradient += 1.0  # as the sum over processes does
    reached += 1.0
    optimizer.step(1.0)
    assert float(parameter[0]) < 1
