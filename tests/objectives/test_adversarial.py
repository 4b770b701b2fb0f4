"""The adversarial objective against closed forms, and as a game on a toy."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from muybridge.core import chance
from muybridge.core.clips import Batch
from muybridge.core.errors import RecipeError
from muybridge.models import gan3d
from muybridge.objectives.adversarial import Adversarial, Config, Sampling, build
from muybridge.objectives.base import Loss, Parts, SampleRequest

MEAN, STD = [0.1, -0.2, 0.3], [0.5, 0.4, 0.3]
FRAMES, SIDE = 8, 16
TINY: dict[str, Any] = {"widths": (8, 6, 4), "latent": 5, "fold": (1, 2, 2), "text": None}


class Words(nn.Module):
    """A text encoder of one feature that is learned: the length of the caption, scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.1))

    def tokenize(self, captions: tuple[str, ...]) -> tuple[Tensor, Tensor]:
        tokens = torch.tensor([[len(c)] for c in captions])
        return tokens, tokens > 0

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return tokens[..., None] * self.scale


class Maker(nn.Module):
    """Makes one clip."""

    def __init__(self) -> None:
        super().__init__()
        self.clip = nn.Parameter(torch.randn(2, 3, 4, 4))

    def forward(self, latent: Tensor, times: Tensor, *rest: Any, **more: Any) -> Tensor:
        return self.clip.expand(len(latent), -1, -1, -1, -1)


class Linear(nn.Module):
    """A discriminator whose gradient is its weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 3, 4, 4) * 0.1)

    def forward(self, clips: Tensor, times: Tensor, level: float, *told: Any) -> Tensor:
        return (clips * self.weight).sum((1, 2, 3, 4))


class Plain(nn.Module):
    """Both, in place of `models/gan3d.py`."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = 1
        self.config = SimpleNamespace(labels=0, latent=3, picture=False)
        self.generator, self.discriminator = Maker(), Linear()

    def reduced(self, clips: Tensor, level: float) -> Tensor:
        return clips


def plain(**settings: Any) -> Adversarial:
    torch.manual_seed(0)
    config = Config(**{"augment": {"probability": 0}, **settings})
    return build(config, Parts(Plain(), None, [0.0] * 3, [1.0] * 3, Sampling()))


def full(text: bool = False, sampling: Sampling | None = None, **settings: Any) -> Adversarial:
    torch.manual_seed(0)
    shape = {k: settings.pop(k) for k in ("labels", "picture", "widths") if k in settings}
    words = {"text": {"width": 1}} if text else {}
    network = gan3d.build(gan3d.Config(**{**TINY, **shape, **words}))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    parts = Parts(network, Words() if text else None, MEAN, STD, sampling or Sampling())
    return build(Config(**settings), parts)


def batch(count: int = 4, frames: int = FRAMES, side: int = SIDE, **more: Any) -> Batch:
    drawn = torch.rand(count, frames, 3, side, side, generator=torch.Generator().manual_seed(0))
    return Batch(
        clips=drawn * 2 - 1,
        times=torch.arange(frames).expand(count, -1) / 4,
        frame_weight=torch.ones(count, frames),
        seeds=torch.tensor([chance.mix(7, i) for i in range(count)]),
        **more,
    )


def request(count: int = 3, **more: Any) -> SampleRequest:
    seeds = torch.tensor([chance.mix(1, i) for i in range(count)])
    return SampleRequest(torch.arange(FRAMES).expand(count, -1) / 4, (SIDE, SIDE), seeds, **more)


def total(objective: Adversarial, data: Batch, phase: str, progress: float = 1.0) -> Tensor:
    loss = objective.loss(data, phase, progress)
    assert isinstance(loss, Loss)
    weights = objective.weights(data, phase)
    assert loss.sums.keys() == weights.keys()
    return torch.stack(
        [loss.shares.get(n, 1.0) * s.sum() / weights[n].sum() for n, s in loss.sums.items()]
    ).sum()


def test_losses_are_those_of_the_paper_for_a_linear_discriminator() -> None:
    objective, data = plain(gamma=(4, 4)), batch(frames=2, side=4)
    judge, maker = (
        objective.discriminator["network"].weight,
        objective.generator["network"].clip,
    )
    lead = (data.clips * judge).sum((1, 2, 3, 4)) - (maker * judge).sum()
    first = objective.loss(data, "discriminator", 0.3)
    torch.testing.assert_close(first.sums["pairs"], torch.log1p(torch.exp(-lead)))
    steep = judge.square().sum().expand(4)
    torch.testing.assert_close(first.sums["r1"], steep)
    torch.testing.assert_close(first.sums["r2"], steep)
    assert first.shares["r1"] == pytest.approx(4 / 2 * math.sqrt(2 * 3 * 16 / (3 * 64 * 64)))
    second = objective.loss(data, "generator", 0.3)
    torch.testing.assert_close(second.sums["pairs"], torch.log1p(torch.exp(lead)))


def test_penalties_have_the_gradient_of_their_closed_form() -> None:
    objective, data = plain(), batch(frames=2, side=4)
    judge = objective.discriminator["network"].weight
    sums = objective.loss(data, "discriminator", 0.0).sums
    for name in ("r1", "r2"):
        (found,) = torch.autograd.grad(sums[name].sum(), judge, retain_graph=True)
        torch.testing.assert_close(found, 2 * 4 * judge.detach())


def test_gamma_falls_along_a_cosine() -> None:
    objective, clips = plain(gamma=(10, 2)), torch.zeros(1, 1, 3, 64, 64)
    assert [objective.gamma(p, clips) for p in (0, 0.5, 1)] == pytest.approx([10, 6, 2])


def test_phases_hold_all_parameters_each_once_and_reach_no_others() -> None:
    objective = full(text=True, labels=2, picture=True)
    phases = {phase.name: phase.parameters for phase in objective.phases()}
    assert list(phases) == ["discriminator", "generator"]
    held = [id(p) for parameters in phases.values() for p in parameters.values()]
    assert len(held) == len(set(held))
    assert set(held) == {id(p) for p in objective.parameters()}
    mask = torch.zeros(4, FRAMES, 1, SIDE, SIDE)
    mask[:, 0] = 1
    data = batch(label=torch.tensor([0, 1, 0, 2]), text=("a", "bb", "", "c"))
    data = replace(data, known=data.clips, known_mask=mask)
    for name, parameters in phases.items():
        objective.zero_grad(set_to_none=True)
        total(objective, data, name).backward()
        reached = {n for n, p in objective.named_parameters() if p.grad is not None}
        assert all(n.startswith(name) for n in reached)
        missing = [n for n, p in parameters.items() if p.grad is None or not p.grad.any()]
        # A constant cannot matter where only differences of scores do.
        assert missing in ([], ["network.score.bias"])
    assert all(p.requires_grad for p in objective.parameters())


@pytest.mark.parametrize("phase", ["discriminator", "generator"])
def test_micro_batches_equal_the_whole_batch(phase: str) -> None:
    objective = full(labels=2, text=True)
    data = batch(label=torch.tensor([0, 1, 0, 2]), text=("a", "bb", "ccc", "d"))
    data.frame_weight[1, 2:] = 0
    whole = objective.loss(data, phase, 0.5).sums
    parts = [objective.loss(data.part(i, i + 1), phase, 0.5).sums for i in range(4)]
    for name, sums in whole.items():
        alone = torch.cat([part[name] for part in parts])
        torch.testing.assert_close(alone, sums, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("phase", ["discriminator", "generator"])
def test_invented_frames_teach_nothing(phase: str) -> None:
    objective, data = full(), batch()
    data.frame_weight[:, 5] = 0
    before = objective.loss(data, phase, 1.0).sums
    data.clips[:, 5] = 0.9
    for name, sums in objective.loss(data, phase, 1.0).sums.items():
        torch.testing.assert_close(sums, before[name])
    torch.testing.assert_close(objective.weights(data, phase)["pairs"], torch.full((4,), 7 / 8))


def test_levels_share_what_they_grow_in() -> None:
    objective = full(grow=0.6)
    expected = {0: 0, 0.23: 0, 0.24: 0, 0.3: 0.5, 0.36: 1, 0.47: 1, 0.54: 1.5, 0.6: 2, 1: 2}
    for progress, level in expected.items():
        assert objective.level(progress) == pytest.approx(level, abs=1e-6)
    assert full().level(0) == 2


@pytest.mark.parametrize("boundary", [0.24, 0.36, 0.48, 0.6])
def test_samples_are_continuous_where_a_stage_begins_or_a_fade_ends(boundary: float) -> None:
    objective = full(grow=0.6)
    made = []
    for objective.progress in (boundary - 1e-4, boundary + 1e-4):
        with torch.no_grad():
            made.append(objective.sample(request()))
    assert (made[0] - made[1]).abs().max() < 5e-3
    assert made[0].shape == (3, FRAMES, 3, SIDE, SIDE)


def test_progress_alone_says_how_far_a_model_has_grown() -> None:
    objective, other = full(grow=0.6), full(grow=0.6)
    other.load_state_dict(objective.state_dict())
    for moment in (0.5, 0.4, 0.5):  # it came another way; what it makes is the same
        other.progress = moment
        with torch.no_grad():
            other.sample(request())
    objective.progress = 0.5
    with torch.no_grad():
        assert torch.equal(objective.sample(request()), other.sample(request()))
    # In the middle of a fade a resumed step is the step that would have been.
    data = batch()
    losses = [total(one, data, "discriminator", 0.35).item() for one in (objective, other)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("phase", ["discriminator", "generator"])
def test_layers_of_levels_to_come_are_left_alone(phase: str) -> None:
    objective = full(grow=0.6)
    total(objective, batch(), phase, 0.1).backward()
    side = objective.get_submodule(phase)
    for name, parameter in side.named_parameters():
        later = name.startswith(("network.blocks.1", "network.blocks.2"))
        assert not later or parameter.grad is None


def test_a_sample_is_its_own_seeds_and_its_first_frame_the_given_one() -> None:
    objective = full(picture=True, labels=2)
    mask = torch.zeros(3, FRAMES, 1, SIDE, SIDE)
    mask[:2, 0] = 1
    known = torch.rand(3, FRAMES, 3, SIDE, SIDE) * 2 - 1
    asked = request(known=known, known_mask=mask, label=torch.tensor([0, 1, 2]))
    with torch.no_grad():
        made = objective.sample(asked)
        torch.testing.assert_close(objective.sample(asked.part(1, 3)), made[1:])
        unseen = objective.sample(request(label=torch.tensor([0, 1, 2])))
    torch.testing.assert_close(made[:2, 0], known[:2, 0])
    assert (made[:2, 1:] - unseen[:2, 1:]).abs().amax((1, 2, 3, 4)).min() > 1e-4
    torch.testing.assert_close(made[2], unseen[2])  # no picture is the same however it is said


def test_frames_given_to_networks_that_look_at_none_are_refused() -> None:
    mask = torch.ones(3, FRAMES, 1, SIDE, SIDE)
    with pytest.raises(RecipeError, match=r"model\.picture = false"):
        full().sample(request(known=torch.zeros(3, FRAMES, 3, SIDE, SIDE), known_mask=mask))


def test_truncation_is_of_sampling_alone() -> None:
    objective = full(sampling=Sampling(truncation=0.0))
    with torch.no_grad():
        made = objective.sample(request())
        _, figures = objective.held_out(batch())
    torch.testing.assert_close(made, made[:1].expand_as(made), atol=1e-5, rtol=1e-5)
    assert figures["variety"]["pictures"] > 1e-3


class Echo(Maker):
    """Makes again what it is handed."""

    def forward(self, latent: Tensor, times: Tensor, *rest: Any, **more: Any) -> Tensor:
        return self.clip


def test_the_criterion_tells_a_good_generator_from_a_bad_one() -> None:
    objective, data = plain(), batch(40, frames=2, side=8)
    objective.discriminator["network"].weight.data = torch.ones(2, 3, 8, 8)
    objective.generator["network"] = Echo()
    alike = torch.rand_like(data.clips) * 2 - 1
    found = {}
    for name, clips in {
        "alike": alike,
        "one clip": alike[:1].expand_as(alike),
        "dark": alike * 0.5 - 0.5,
        "still": alike[:, :1].expand_as(alike),
    }.items():
        objective.generator["network"].clip.data = clips
        with torch.no_grad():
            found[name] = objective.held_out(data)
    assert abs(found["alike"][0]) < 0.02
    assert min(found[name][0] for name in found if name != "alike") > 0.05
    assert found["one clip"][1]["variety"]["pictures"] == pytest.approx(0, abs=1e-6)
    assert found["alike"][1]["variety"]["pictures"] == pytest.approx(1, abs=0.1)
    assert found["still"][1]["energy"]["motion"] > found["still"][1]["energy"]["pictures"]
    assert found["dark"][1]["told_apart"] > 0.99
    assert found["alike"][1]["told_apart"] == pytest.approx(0.5, abs=0.2)


def test_held_out_is_the_same_each_time_and_in_bf16_near() -> None:
    objective, data = full(labels=2), batch(8, label=torch.arange(8) % 3)
    with torch.no_grad():
        loss, figures = objective.held_out(data)
        assert objective.held_out(data) == (loss, figures)
        with torch.autocast("cpu", torch.bfloat16):
            low, _ = objective.held_out(data)
    assert low == pytest.approx(loss, abs=0.05)


def test_bf16_steps_have_the_gradients_of_fp32_ones() -> None:
    objective, data = full(), batch()
    for phase in ("discriminator", "generator"):
        found = []
        for low in (False, True):
            objective.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                loss = total(objective, data, phase)
            loss.backward()
            grads = [p.grad.flatten() for p in objective.parameters() if p.grad is not None]
            found.append(torch.cat(grads))
        assert torch.cosine_similarity(found[0], found[1], 0) > 0.98


class Halves(nn.Module):
    """A tokenizer: latents are means over two frames and four rows and columns, colours doubled to
    six channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stride, self.channels = (2, 4, 4), 6

    def encode(self, clips: Tensor) -> Tensor:
        small = nn.functional.avg_pool3d(clips.transpose(1, 2), self.stride).transpose(1, 2)
        return torch.cat([small, 2 * small], 2)

    def decode(self, latents: Tensor) -> Tensor:
        a, b, c = self.stride
        whole = latents[:, :, :3].repeat_interleave(a, 1)
        return whole.repeat_interleave(b, 3).repeat_interleave(c, 4)


def of_latents(**more: Any) -> Adversarial:
    torch.manual_seed(0)
    own = {"widths": (8, 6), "fold": (1, 1, 1), "channels": 6, "stride": (2, 4, 4)}
    shape = gan3d.Config(**{**TINY, **own, **more})
    network, std = gan3d.build(shape), [0.2] * 3 + [0.4] * 3
    parts = Parts(network, None, [0.0] * 6, std, Sampling(), Halves())
    return build(Config(), parts)


def test_over_latents_both_sides_see_latents_and_clips_come_out() -> None:
    objective, data = of_latents(), batch()
    for phase in ("discriminator", "generator"):
        whole = objective.loss(data, phase, 1.0)
        assert isinstance(whole, Loss)
        latents = replace(data, latents=Halves().encode(data.clips))
        cached = objective.loss(latents, phase, 1.0)
        assert isinstance(cached, Loss)
        for name, values in whole.sums.items():
            torch.testing.assert_close(values, cached.sums[name])
    made = objective.sample(request())
    assert made.shape == (3, FRAMES, 3, SIDE, SIDE)
    torch.testing.assert_close(made, Halves().decode(Halves().encode(made)))  # as one decodes
    loss, figures = objective.held_out(data)
    assert math.isfinite(loss)
    assert 0 <= figures["told_apart"] <= 1


def test_over_latents_a_first_frame_is_seen_by_both_sides_and_kept() -> None:
    objective, data = of_latents(picture=True), batch()
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    mask = torch.zeros(4, FRAMES, 1, SIDE, SIDE)
    mask[:2, 0] = 1
    given = replace(data, known=data.clips * mask, known_mask=mask)
    for phase in ("discriminator", "generator"):
        losses = [objective.loss(one, phase, 1.0) for one in (data, given)]
        plain, shown = (loss.sums["pairs"] for loss in losses if isinstance(loss, Loss))
        assert (plain - shown)[:2].abs().min() > 0
        torch.testing.assert_close(plain[2:], shown[2:])
    asked = request(4, known=given.known, known_mask=mask)
    made, other = objective.sample(asked), objective.sample(request(4))
    assert torch.equal(made[:2, 0], data.clips[:2, 0])
    assert (made[:2, 1:] - other[:2, 1:]).abs().amax((1, 2, 3, 4)).min() > 0
    torch.testing.assert_close(made[2:], other[2:])
