"""Losses made larger for fp16: an update is the same, and one that overflows is left out."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import muybridge as mb
from muybridge.recipe import Recipe
from muybridge.training import checkpoint
from muybridge.training.loss_scale import LossScale

SMALL = (
    "data.size=[32,32]", "data.frames=8", "training.batch=2", "training.minutes=null",
    "training.steps=6", "training.validations=1", "training.previews=0", "training.threads=1",
    "training.loggers=[]", "training.save_seconds=0", "evaluation.held_out=2",
    "training.measures=0", "training.log_every=1", "model.width=32",
)  # fmt: skip


def of(norm: float, loss: float = 1.0) -> dict[str, float]:
    return {"loss": loss, "gradient_norm": norm}


@pytest.mark.parametrize("wanted", [True, False])
def test_gradients_are_those_of_the_loss_itself(wanted: bool) -> None:
    layer, x = nn.Linear(3, 2), torch.randn(5, 3)
    plain = torch.autograd.grad(layer(x).square().mean(), layer.weight)[0]
    scale = LossScale(wanted)
    loss = scale.up(layer(x).square().mean())
    loss.backward()
    scale.down(layer.parameters())
    torch.testing.assert_close(layer.weight.grad, plain)


def test_gradients_too_small_for_fp16_are_kept() -> None:
    layer = nn.Linear(1, 1, bias=False).half()
    x = torch.full((1, 1), 1e-3, dtype=torch.float16)
    for wanted in (False, True):
        layer.weight.grad = None
        scale = LossScale(wanted)
        scale.up((1e-5 * layer(x).float()).sum()).backward()
        # What fp16 cannot hold is 0: the product of 1e-5 and 1e-3 is less than 2**-24 / 2.
        assert bool(layer.weight.grad.any()) == wanted


def test_an_overflow_halves_the_factor_and_leaves_the_update_out() -> None:
    scale = LossScale(True)
    before = scale.factor
    assert not scale.too_high(of(1.0))
    assert scale.too_high(of(math.inf))
    assert scale.factor == before / 2
    assert not scale.too_high(of(math.nan, loss=math.nan))  # that of the loss is another matter
    while scale.factor > 1:
        assert scale.too_high(of(math.nan))
    assert not scale.too_high(of(math.nan))
    assert not LossScale(False).too_high(of(math.inf))


def test_after_many_good_updates_it_grows_and_a_stop_does_not_set_the_count_back() -> None:
    one, two = LossScale(True), LossScale(True)
    for n in range(2000):
        if n == 1500:
            two.restore(one.state())
        if n >= 1500:
            assert not two.too_high(of(1.0))
        assert not one.too_high(of(1.0))
    assert one.factor == two.factor == 2.0**17


def test_a_run_in_fp16_learns_as_in_fp32_and_goes_on_with_its_factor(
    small_stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(name: str, precision: str, *more: str) -> mb.Run:
        given = (*SMALL, f"training.precision={precision}", *more)
        return Recipe.load("flow-nano", given).with_(data=small_stage).train(tmp_path / name)

    # So large at first that updates are left out until it fits.
    plain = LossScale.__init__

    def large(self: LossScale, wanted: bool) -> None:
        plain(self, wanted)
        self.factor = 2.0**40 if wanted else 1.0

    monkeypatch.setattr(LossScale, "__init__", large)
    half, full = (trained(name, name, "training.steps=40") for name in ("fp16", "fp32"))
    state = load_file(checkpoint.find(half.folder, "last") / "optimizer.safetensors")
    halved = 40 - math.log2(float(state["loss_scale/factor"]))
    steps = {float(value) for name, value in state.items() if name.endswith("/step")}
    assert 0 < halved < 40 and steps == {40 - halved}
    assert 0 < float(state["loss_scale/good"]) <= 40 - halved
    moments = load_file(checkpoint.find(full.folder, "last") / "optimizer.safetensors")
    assert state.keys() - moments.keys() == {"loss_scale/factor", "loss_scale/good"}
    before, after = (one.generator.state_dict() for one in (half.objective(), half.trained()[0]))
    moved = [(after[name] - value).float() for name, value in before.items()]
    assert all(bool(one.isfinite().all()) for one in moved) and any(bool(m.any()) for m in moved)
