"""The autoencoder's loss against closed forms, and its prior."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from muybridge.core import chance
from muybridge.core.clips import Batch
from muybridge.core.errors import MuybridgeError
from muybridge.models import vae
from muybridge.objectives import losses
from muybridge.objectives.autoencoder import Autoencoder, Config, Sampling
from muybridge.objectives.base import Loss, Parts, SampleRequest

PRIOR = {"width": 16, "depth": 1, "heads": 2}


def objective(prior: bool = True, config: Config | None = None, **shape: object) -> Autoencoder:
    torch.manual_seed(0)
    shape = {"widths": (8, 12), "depth": (1, 1), "channels": 4, "text": None, "labels": 2} | shape
    network = vae.build(vae.Config(**shape, prior=PRIOR if prior else None))  # type: ignore[arg-type]
    parts = Parts(network, None, [0.0] * 3, [1.0] * 3, Sampling(steps=2, shift=1))
    return Autoencoder(config or Config(), parts)


def batch(count: int = 4, frames: int = 8, **more: object) -> Batch:
    seeds = torch.tensor([chance.mix(3, i) for i in range(count)])
    return Batch(
        clips=chance.normal(seeds, (frames, 3, 16, 16), "clip").clamp(-1, 1),
        times=(torch.arange(frames) / 8).expand(count, -1),
        frame_weight=torch.ones(count, frames),
        seeds=seeds,
        label=torch.arange(count) % 2,
        **more,  # type: ignore[arg-type]
    )


def test_divergence_is_that_of_the_gaussians() -> None:
    made, data = objective(), batch()
    with torch.no_grad():
        mean, log_variance = made.network.moments(data.clips)
        want = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0))
        found = made.loss(data, "codec", 0.0).sums["kl"] / 8
    torch.testing.assert_close(found, want.mean((1, 2, 3, 4)))


def test_its_weight_falls_by_equal_ratios() -> None:
    made = objective(config=Config(kl=(1e-2, 1e-6)))
    shares = [made.loss(batch(), "codec", p).shares["kl"] for p in (0.0, 0.5, 1.0)]
    assert shares == pytest.approx([1e-2, 1e-4, 1e-6])


def test_phases_hold_each_parameter_once() -> None:
    made = objective()
    held = [p for phase in made.phases() for p in phase.parameters.values()]
    assert len(held) == len({id(p) for p in held}) == len(list(made.generator.parameters()))
    assert len(made.state_dict()) == len(made.generator.state_dict())


def test_the_prior_leaves_the_codec_alone() -> None:
    made = objective()
    loss = made.loss(batch(), "prior", 0.5)
    torch.stack([sums.sum() for sums in loss.sums.values()]).sum().backward()
    codec, prior = (phase.parameters for phase in made.phases())
    assert all(p.grad is None for p in codec.values())
    assert prior["network.middle"].grad is not None


def test_spread_is_least_at_the_latents_own_mean_and_deviation() -> None:
    made, data = objective(), batch(8)
    with torch.no_grad():
        latents = made.network.encode(data.clips).transpose(1, 2)
        std, mean = torch.std_mean(latents, (0, 2, 3, 4), correction=0)
        made.network.middle.copy_(mean.view(-1, 1, 1) / vae._PACE)
        made.network.log_scale.copy_(std.log().view(-1, 1, 1) / vae._PACE)
        standard = made.network.standardised(latents.transpose(1, 2)).transpose(1, 2)
    spread, middle = torch.std_mean(standard, (0, 2, 3, 4), correction=0)
    torch.testing.assert_close(spread, torch.ones_like(spread))
    torch.testing.assert_close(middle, torch.zeros_like(middle), atol=1e-4, rtol=0)
    made.loss(data, "prior", 0.5).sums["spread"].sum().backward()
    assert float(made.network.middle.grad.abs().max()) < 1e-4
    assert float(made.network.log_scale.grad.abs().max()) < 1e-4


@pytest.mark.parametrize("phase", ["codec", "prior"])
def test_a_clips_loss_is_its_own(phase: str) -> None:
    made, data = objective(), batch(4)
    with torch.no_grad():
        whole, part = made.loss(data, phase, 0.3), made.loss(data.part(1, 3), phase, 0.3)
    for name, sums in whole.sums.items():
        torch.testing.assert_close(part.sums[name], sums[1:3])
        assert name in made.weights(data, phase)


def test_invented_frames_do_not_count() -> None:
    made, data = objective(), batch()
    with torch.no_grad():
        whole = made.loss(data, "codec", 0.0).sums["l1"]
        data.frame_weight[:, 4:] = 0
        half = made.loss(data, "codec", 0.0).sums["l1"]
        data.frame_weight[:, :4], data.frame_weight[:, 4:] = 0, 1
        other = made.loss(data, "codec", 0.0).sums["l1"]
    torch.testing.assert_close(half + other, whole)


def test_samples_are_of_their_seed_and_of_the_size_asked_for() -> None:
    made = objective().eval()
    request = SampleRequest(
        times=(torch.arange(12) / 8).expand(3, -1),
        size=(16, 24),
        seeds=torch.tensor([1, 2, 3]),
        label=torch.tensor([0, 1, 2]),
    )
    with torch.no_grad():
        clips = made.sample(request)
        assert clips.shape == (3, 12, 3, 16, 24)
        torch.testing.assert_close(made.sample(request.part(1, 2)), clips[1:2])


def test_a_tokenizer_without_prior_says_that_it_makes_no_clips() -> None:
    made = objective(prior=False, levels=(4, 4, 4, 4))
    assert [phase.name for phase in made.phases()] == ["codec"]
    request = SampleRequest(torch.zeros(1, 8), (16, 16), torch.tensor([1]))
    with pytest.raises(MuybridgeError, match=r"(?s)no prior.*tokenizer: RUN"):
        made.sample(request)


@pytest.mark.parametrize("levels", [(), (4, 4, 4)])
def test_it_learns_to_give_back_what_it_is_shown(levels: tuple[int, ...]) -> None:
    made = objective(
        prior=False, levels=levels, channels=8, config=Config(pixels=losses.Config(mse=1.0))
    )
    data = batch(2)
    # Clips of one colour each, which few numbers can tell.
    flat = torch.tensor([[0.8, -0.5, 0.1], [-0.7, 0.6, 0.4]]).view(2, 1, 3, 1, 1)
    data.clips.copy_(flat.expand_as(data.clips))
    optimizer = torch.optim.Adam(made.parameters(), lr=3e-3)
    for _ in range(120):
        optimizer.zero_grad()
        loss = made.loss(data, "codec", 0.5)
        assert isinstance(loss, Loss)
        (loss.sums["mse"].sum() / 16).backward()
        optimizer.step()
    with torch.no_grad():
        error, figures = made.held_out(data)
        assert error < 0.02
        assert figures["psnr"] > 20
        torch.testing.assert_close(made.reconstructed(data.clips), data.clips, atol=0.5, rtol=0)


def test_clips_between_two_begin_and_end_with_them() -> None:
    made, data = objective(), batch(2)
    with torch.no_grad():
        a, b = data.clips[:1], data.clips[1:]
        way = list(made.interpolated(a, b, 5))
        torch.testing.assert_close(way[0], made.reconstructed(a))
        torch.testing.assert_close(way[-1], made.reconstructed(b))
        steps = [float((x - y).abs().mean()) for x, y in pairwise(way)]
    assert max(steps) < 3 * min(steps)
