"""Recurrent prediction, with a network whose answers are known, and with a small real one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from muybridge.core import chance
from muybridge.core.clips import Batch
from muybridge.models import convrnn
from muybridge.objectives import losses
from muybridge.objectives.base import Loss, Parts, SampleRequest
from muybridge.objectives.recurrent import Config, Recurrent, Sampling, build, divergence

MEAN, STD = [0.1, -0.2, 0.3], [0.5, 0.4, 0.3]
TIME = 6


class Fixed(nn.Module):
    """Adds the same change to every frame, with the same laws; keeps what it was fed."""

    def __init__(self) -> None:
        super().__init__()
        self.change = nn.Parameter(torch.tensor(0.1))
        self.laws = (torch.tensor([0.0, 0.0]), torch.tensor([1.0, -1.0]))
        self.fed: list[Tensor] = []
        self.seconds: list[Tensor] = []
        self.noise: list[Tensor] = []

    def latents(self, size: tuple[int, int]) -> list[tuple[int, ...]]:
        return [(1, 1, 1), (3, 2, 2)]

    def told(self, count: int, *conditions: Tensor | None) -> Tensor:
        return torch.zeros(count, 1)

    def start(self, count: int, size: tuple[int, int]) -> list[tuple[Tensor, ...]]:
        return [(torch.zeros(count, 1, 1, 1),)] * 2

    def follow(
        self, state: Any, frames: Tensor, seconds: Tensor
    ) -> tuple[list[Tensor], list[tuple[Tensor, ...]]]:
        self.fed.append(frames)
        self.seconds.append(seconds)
        return [torch.zeros(*frames.shape[:2], 1, 1, 1)] * 2, state

    def look(self, frames: Tensor) -> list[Tensor]:
        return [torch.zeros(len(frames), 1, 1, 1)] * 2

    def draw(self, shown: Any, told: Tensor, noise: list[Tensor], seen: Any = None) -> Any:
        self.noise.append(noise[1])
        count = len(told)
        prior = [(torch.zeros(count, 1, 1, 1), torch.zeros(count, 1, 1, 1))] * 2
        posterior = [
            (mean.expand(count, 1, 1, 1), log.expand(count, 1, 1, 1))
            for mean, log in zip(*self.laws, strict=True)
        ]
        change = self.change.expand(count, 3, 4, 4) + 0 * noise[0]
        return change, prior, posterior if seen is not None else []


def fixed(temperature: float = 1.0, **settings: Any) -> tuple[Recurrent, Fixed]:
    network = Fixed()
    parts = Parts(network, None, MEAN, STD, Sampling(temperature=temperature))
    return build(Config(**settings), parts), network


def real(cell: str = "gru", **settings: Any) -> Recurrent:
    torch.manual_seed(0)
    config = convrnn.Config(
        cell=cell, widths=(4, 6, 8), latents=(1, 2, 4), fold=2, labels=2, text=None
    )
    network = convrnn.build(config)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return build(Config(**settings), Parts(network, None, MEAN, STD, Sampling()))


def batch(count: int = 4, size: int = 4, given: int = 0, time: int = TIME, **more: Any) -> Batch:
    torch.manual_seed(0)
    clips = torch.rand(count, time, 3, size, size) * 1.8 - 0.9
    known = None
    if given:
        known = torch.zeros(count, time, 1, size, size)
        known[::2, :given] = 1
    return Batch(
        clips=clips,
        times=torch.arange(time).expand(count, -1) / 8,
        frame_weight=torch.ones(count, time),
        seeds=torch.tensor([chance.mix(7, i) for i in range(count)]),
        known=clips if given else None,
        known_mask=known,
        **more,
    )


def request(count: int = 3, size: int = 8, time: int = TIME, **more: Any) -> SampleRequest:
    seeds = torch.tensor([chance.mix(1, i) for i in range(count)])
    return SampleRequest(torch.arange(time).expand(count, -1) / 8, (size, size), seeds, **more)


def sums(parts: Any) -> dict[str, Tensor]:
    """Of all parts of a loss together."""
    total: dict[str, Tensor] = {}
    for part in parts:
        for name, value in part.sums.items():
            total[name] = total.get(name, torch.zeros(())) + value
    return total


def gradients(made: Recurrent, parts: Any) -> Tensor:
    """Of the parts, each propagated back before the next, as the loop does."""
    made.zero_grad()
    for part in parts:
        shares = [part.shares.get(n, 1.0) * s.sum() for n, s in part.sums.items()]
        torch.stack(shares).sum().backward()
    flat = [torch.zeros_like(p) if p.grad is None else p.grad for p in made.parameters()]
    return torch.cat([one.flatten().clone() for one in flat])


def test_divergence_is_torchs() -> None:
    torch.manual_seed(0)
    mean, log, other, other_log = torch.randn(4, 3, 2, 5, 5)
    first, second = Normal(mean, (log / 2).exp()), Normal(other, (other_log / 2).exp())
    expected = kl_divergence(first, second).sum((1, 2, 3))
    torch.testing.assert_close(divergence((mean, log), (other, other_log)), expected)


def test_loss_is_how_far_each_frame_is_from_the_one_before_it_with_its_change() -> None:
    made, network = fixed(pixels=losses.Config(mse=1.0, l1=0.5), kl=0.3, kl_warmup=0.5)
    data = batch()
    parts = list(made.loss(data, "generator", 0.0))
    std, blank = (torch.tensor(x).view(3, 1, 1) for x in (STD, MEAN))
    before = torch.cat([blank.expand(4, 1, 3, 4, 4), data.clips[:, :-1]], 1)
    off = before + 0.1 * std - data.clips
    found = sums(parts)
    torch.testing.assert_close(found["mse"], off.square().mean((2, 3, 4)).sum(1))
    torch.testing.assert_close(found["l1"], off.abs().mean((2, 3, 4)).sum(1))
    laws = Normal(network.laws[0], (network.laws[1] / 2).exp())
    nats = kl_divergence(laws, Normal(0.0, 1.0))
    assert parts[0].shares == {"mse": 1.0, "l1": 0.5, "kl": pytest.approx(0.3 / 48)}
    # Of two scales, the coarser one's rises twice as long.
    for progress, rises in {0.0: (0.0, 0.0), 0.25: (0.25, 0.5), 0.9: (0.9, 1.0)}.items():
        (part,) = made.loss(data, "generator", progress)
        expected = (nats * torch.tensor(rises)).sum().expand(4) * TIME
        torch.testing.assert_close(part.sums["kl"], expected)
    for name, weight in made.weights(data, "generator").items():
        assert name in found
        assert torch.equal(weight, torch.full((4,), float(TIME)))


def test_the_coarser_a_scale_the_later_its_divergence_counts_in_full() -> None:
    made = real(kl_warmup=0.2, own=0.0)
    assert made.rises(0.2, 3) == pytest.approx([1 / 3, 1 / 2, 1.0])
    assert made.rises(0.6, 3) == pytest.approx([1.0] * 3)
    data = batch(1)
    (early,), (late,) = (made.loss(data, "generator", at) for at in (0.2, 0.6))
    with torch.no_grad():
        nats = torch.tensor(made.held_out(data)[1]["kl_by_scale"]) * TIME
    torch.testing.assert_close(late.sums["kl"], nats.sum()[None], rtol=1e-4, atol=0)
    expected = (nats * torch.tensor([1 / 3, 1 / 2, 1.0])).sum()[None]
    torch.testing.assert_close(early.sums["kl"], expected, rtol=1e-4, atol=0)


def test_nats_below_the_free_ones_cost_nothing() -> None:
    made, network = fixed(free=0.2)
    laws = Normal(network.laws[0], (network.laws[1] / 2).exp())
    nats = kl_divergence(laws, Normal(0.0, 1.0))
    assert (nats > 0.2).any()
    assert (nats < 0.2).any()
    found = sums(made.loss(batch(), "generator", 1.0))["kl"]
    torch.testing.assert_close(found, nats.clamp(min=0.2).sum().expand(4) * TIME)


def test_the_network_is_fed_real_frames_at_first_and_its_own_as_training_goes_on() -> None:
    made, network = fixed(own=0.6, own_rises=(0.2, 0.8))
    data, std = batch(300, time=4), torch.tensor(STD).view(3, 1, 1)
    mean = torch.tensor(MEAN).view(3, 1, 1)
    network.change.data += 1.4  # beyond what a frame can be
    shares = []
    for progress in (0.1, 0.5, 1.0):
        network.fed.clear()
        list(made.loss(data, "generator", progress))
        fed = network.fed[-1] * std + mean  # the last pass is the one that is learned from
        own = (fed[:, 1:] - data.clips[:, :-1]).abs().amax((2, 3, 4)) > 1e-5
        shares.append(float(own.float().mean()))
        assert torch.equal(own.all(1), own.any(1))  # clips follow their own frames all along
        # Its own frame is what it made of the one that it was fed before.
        made_before = (fed[:, :-1] + 1.5 * std).clamp(-1, 1)
        torch.testing.assert_close(fed[:, 1:][own], made_before[own])
        assert torch.equal(fed[:, 0], mean.expand_as(fed[:, 0]))
    assert shares[0] == 0
    assert shares[1] == pytest.approx(0.3, abs=0.05)
    assert shares[2] == pytest.approx(0.6, abs=0.05)
    assert [made.own(p) for p in (0, 0.2, 0.5, 0.8, 1)] == pytest.approx([0, 0, 0.3, 0.6, 0.6])


def test_given_frames_are_fed_as_they_are_and_count_in_no_term() -> None:
    made, network = fixed(own=1.0, own_rises=(0.0, 0.0))
    data, std = batch(given=3), torch.tensor(STD).view(3, 1, 1)
    before = sums(made.loss(data, "generator", 1.0))
    fed = network.fed[-1] * std + torch.tensor(MEAN).view(3, 1, 1)
    torch.testing.assert_close(fed[::2, 1:4], data.clips[::2, :3])
    assert ((fed[1::2, 1:] - data.clips[1::2, :-1]).abs().amax((2, 3, 4)) > 1e-3).all()
    counted = torch.tensor([3.0, 6.0, 3.0, 6.0])
    assert torch.equal(made.weights(data, "generator")["kl"], counted)
    torch.testing.assert_close(before["kl"], counted * before["kl"][1] / 6)
    # A first frame that nobody has to draw can be any.
    data.clips[::2, 0] = 0.5
    after = sums(made.loss(data, "generator", 1.0))
    torch.testing.assert_close(after["mse"], before["mse"])


def test_invented_frames_do_not_count() -> None:
    made, _ = fixed()
    data = batch()
    data.frame_weight[:, -1] = 0
    before = sums(made.loss(data, "generator", 0.0))["mse"]
    data.clips[:, -1] = 0.77
    torch.testing.assert_close(sums(made.loss(data, "generator", 0.0))["mse"], before)
    assert torch.equal(made.weights(data, "generator")["mse"], torch.full((4,), TIME - 1.0))


def test_noise_is_added_to_what_is_fed_in_training_alone_and_only_if_asked_for() -> None:
    made, network = fixed(noise=0.3)
    data, std = batch(64, size=16), torch.tensor(STD).view(3, 1, 1)
    network.draw = _silent(network)  # type: ignore[method-assign]
    list(made.loss(data, "generator", 0.0))
    added = network.fed[-1][:, 1:] * std + torch.tensor(MEAN).view(3, 1, 1) - data.clips[:, :-1]
    level = added.std((1, 2, 3, 4))
    assert float(level.max()) < 0.31
    assert float(level.mean()) == pytest.approx(0.15, abs=0.03)
    assert torch.equal(network.fed[-1][:, 0], torch.zeros_like(network.fed[-1][:, 0]))
    made.held_out(data)
    quiet, other = fixed()
    other.draw = _silent(other)  # type: ignore[method-assign]
    list(quiet.loss(data, "generator", 0.0))
    first_pass = network.fed[1]
    torch.testing.assert_close(first_pass, other.fed[-1])
    torch.testing.assert_close(other.fed[-1][:, 1:] * std + quiet.mean, data.clips[:, :-1])


def _silent(network: Fixed) -> Callable[..., Any]:
    """Draws no change, of any size."""
    plain = Fixed.draw

    def draw(shown: Any, told: Tensor, noise: list[Tensor], seen: Any = None) -> Any:
        _, prior, posterior = plain(network, shown, told, noise, seen)
        return torch.zeros(len(told), 3, 16, 16), prior, posterior

    return draw


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("own", [0.0, 0.7])
def test_in_windows_the_loss_is_the_same(cell: str, own: float) -> None:
    settings = {"own": own, "own_rises": (0.0, 0.0), "noise": 0.1}
    pixels = losses.Config(mse=1.0, motion=0.5)
    whole = real(cell, pixels=pixels, **settings)
    cut = real(cell, pixels=pixels, window=2, **settings)
    data = batch(size=16, given=3, label=torch.tensor([0, 1, 2, 0]))
    parts = list(cut.loss(data, "generator", 0.5))
    assert len(parts) == 3
    for name, value in sums(whole.loss(data, "generator", 0.5)).items():
        torch.testing.assert_close(sums(parts)[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_gradients_of_a_window_stay_in_it(cell: str) -> None:
    settings: dict[str, Any] = {"own": 0.7, "own_rises": (0.0, 0.0)}
    data = batch(size=8, label=torch.tensor([0, 1, 2, 0]))
    made = real(cell, window=4, **settings)
    (first, second) = (gradients(made, [part]) for part in made.loss(data, "generator", 0.5))
    short = dataclasses.replace(
        data,
        clips=data.clips[:, :4],
        times=data.times[:, :4],
        frame_weight=data.frame_weight[:, :4],
    )
    whole = real(cell, **settings)
    cut = gradients(whole, whole.loss(short, "generator", 0.5))
    torch.testing.assert_close(first, cut, rtol=1e-3, atol=1e-6)
    # The learned first state lies before the second window.
    names = [name for name, p in made.named_parameters() for _ in range(p.numel())]
    start = torch.tensor([name.endswith(".first") for name in names])
    assert first[start].abs().max() > 0
    assert not second[start].any()
    both = gradients(whole, whole.loss(data, "generator", 0.5))
    assert (both - first - second).abs().max() > 1e-5


def test_two_halves_of_a_batch_are_the_whole() -> None:
    made = real(own=0.7, own_rises=(0.0, 0.0), noise=0.2)
    data = batch(size=8, given=2, label=torch.tensor([0, 1, 2, 0]))
    whole = sums(made.loss(data, "generator", 0.5))
    expected = gradients(made, made.loss(data, "generator", 0.5))
    halves = [sums(made.loss(data.part(i, i + 2), "generator", 0.5)) for i in (0, 2)]
    for name, value in whole.items():
        torch.testing.assert_close(
            torch.cat([half[name] for half in halves]), value, rtol=1e-4, atol=1e-5
        )
    found = sum(gradients(made, made.loss(data.part(i, i + 2), "generator", 0.5)) for i in (0, 2))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_in_half_precision_parts_asked_for_later_are_still_in_it_and_reach_all_parameters() -> None:
    made = real(own=0.7, own_rises=(0.0, 0.0), window=3)
    data = batch(size=8, label=torch.tensor([0, 1, 2, 0]))
    with torch.autocast("cpu", torch.bfloat16):
        inside = sums(list(made.loss(data, "generator", 0.5)))
        parts = made.loss(data, "generator", 0.5)
    found: list[Loss] = []
    for part in parts:
        assert not torch.is_autocast_enabled("cpu")
        torch.stack([s.sum() for s in part.sums.values()]).sum().backward()
        found.append(part)
    full = sums(made.loss(data, "generator", 0.5))
    for name, value in sums(found).items():
        assert torch.equal(value, inside[name])
        assert not torch.equal(value, full[name])
        torch.testing.assert_close(value, full[name], rtol=0.1, atol=0.1)
    silent = [n for n, p in made.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_a_sample_is_its_frames_and_each_is_there_before_the_next_is_made() -> None:
    made, network = fixed()
    frames = made.frames(request(size=4))
    for place in range(1, 3):
        assert next(frames).shape == (3, 3, 4, 4)
        assert len(network.noise) == place
    whole = real()
    asked = request(label=torch.tensor([0, 1, 2]))
    stacked = torch.stack(list(whole.frames(asked)), 1)
    assert torch.equal(whole.sample(asked), stacked)
    assert stacked.shape == (3, TIME, 3, 8, 8)
    assert float(stacked.abs().max()) <= 1
    assert not stacked.requires_grad


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_longer_clip_begins_as_a_shorter_one(cell: str) -> None:
    made = real(cell)
    short, long = (made.sample(request(time=time)) for time in (1, 9))
    assert torch.equal(long[:, :1], short)
    assert torch.equal(long[:, :6], made.sample(request(time=6)))


def test_given_frames_come_back_unchanged_and_what_follows_heeds_them() -> None:
    made = real()
    clips = torch.rand(3, TIME, 3, 8, 8) * 2 - 1
    mask = torch.zeros(3, TIME, 1, 8, 8)
    mask[0, :2] = mask[1, :4] = 1
    sample = made.sample(request(known=clips, known_mask=mask))
    assert torch.equal(sample[0, :2], clips[0, :2])
    assert torch.equal(sample[1, :4], clips[1, :4])
    free = made.sample(request())
    assert torch.equal(sample[2], free[2])
    assert (sample[0, 2] - free[0, 2]).abs().max() > 1e-3
    # All given: nothing is drawn for them, and what follows is the same.
    both = mask.clone()
    both[:, :2] = 1
    together = made.sample(request(known=clips, known_mask=both))
    torch.testing.assert_close(together[0], sample[0], atol=1e-5, rtol=1e-4)


def test_a_sample_depends_on_its_own_seed_alone() -> None:
    made = real()
    asked = request(label=torch.tensor([0, 1, 2]))
    whole = made.sample(asked)
    torch.testing.assert_close(made.sample(asked.part(1, 2)), whole[1:2], atol=1e-5, rtol=1e-4)
    other = dataclasses.replace(asked, seeds=asked.seeds + 1)
    assert (made.sample(other) - whole).abs().max() > 1e-3


def test_each_frame_has_noise_of_its_own_as_much_as_the_temperature_says() -> None:
    made, network = fixed(temperature=0.5)
    made.sample(request(200, size=4))
    drawn = torch.stack(network.noise, 1)
    assert float(drawn.std()) == pytest.approx(0.5, abs=0.02)
    flat = drawn.flatten(2).flatten(0, 1)
    assert len(flat.unique(dim=0)) == len(flat)
    cold, other = fixed(temperature=0.0)
    cold.sample(request(size=4))
    assert not torch.stack(other.noise).any()


def test_the_network_is_told_the_seconds_between_frames() -> None:
    made, network = fixed()
    asked = dataclasses.replace(request(1, size=4, time=3), times=torch.tensor([[1.0, 1.5, 1.6]]))
    made.sample(asked)
    torch.testing.assert_close(torch.cat(network.seconds, 1), torch.tensor([[0.0, 0.5, 0.1]]))
    data = dataclasses.replace(batch(1, time=3), times=asked.times)
    network.seconds.clear()
    list(made.loss(data, "generator", 0.0))
    torch.testing.assert_close(torch.cat(network.seconds, 1), torch.tensor([[0.0, 0.5, 0.1]]))


def test_held_out_is_the_bound_after_real_frames_whatever_the_progress() -> None:
    made = real(own=0.9, noise=0.3, window=4, free=3.0)
    data = batch(size=8, given=2, label=torch.tensor([0, 1, 2, 0]))
    plain = real(own=0.0, kl_warmup=0.0, free=3.0)
    with torch.no_grad():
        loss, more = made.held_out(data)
        made.progress = 0.1
        assert made.held_out(data) == (loss, more)
        (part,) = plain.loss(data, "generator", 1.0)
    weights = plain.weights(data, "generator")
    means = {n: float(part.sums[n].sum() / weights[n].sum()) for n in weights}
    assert loss == pytest.approx(sum(part.shares[n] * means[n] for n in means), rel=1e-4)
    assert {n: more[n] for n in means} == pytest.approx(means, rel=1e-4)
    still = (data.clips[:, :1] - data.clips[:, 1:]).square().mean((2, 3, 4))
    assert more["psnr_still"] == pytest.approx(float(10 * (4 / still).log10().mean()), rel=1e-4)


def test_nats_of_first_and_later_frames_are_told_apart_from_those_that_are_free() -> None:
    made = real(free=100.0)
    data = batch(size=8, given=2)
    with torch.no_grad():
        more = made.held_out(data)[1]
        unfree = real().held_out(data)[1]
        begun = made.held_out(data.part(0, 1))[1]
    assert "kl_first" not in begun  # nobody has to draw it
    counts = [2.0, 18.0]  # of frames that count: two clips begin from nothing
    average = (2 * more["kl_first"] + (2 * 5 + 2 * 4) * more["kl_later"]) / sum(counts)
    assert sum(more["kl_by_scale"]) == pytest.approx(average, rel=1e-4)
    assert average == pytest.approx(unfree["kl"], rel=1e-4)
    assert more["kl"] == pytest.approx(300)


def test_a_small_network_learns_one_clip() -> None:
    made = real(own_rises=(0.0, 1.0))
    data = batch(1, size=8, time=3)
    fades = torch.tensor([1.0, 0.6, 0.2]).view(1, -1, 1, 1, 1)
    data.clips[:] = torch.linspace(-0.8, 0.8, 8)[:, None] * fades
    optimizer = torch.optim.Adam(made.parameters(), 0.02)

    def error() -> float:
        return sums(made.loss(data, "generator", 0.0))["mse"].item()

    first = error()
    for step in range(80):
        gradients(made, made.loss(data, "generator", step / 80))
        optimizer.step()
    assert error() < first / 5
