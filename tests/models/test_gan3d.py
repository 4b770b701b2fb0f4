"""The two networks of a GAN, and the pieces they are built from."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from muybridge.models import gan3d
from muybridge.models.volumes import Conv3d, enlarged, folded, halved, places_of

TINY = {"widths": (8, 6, 4), "latent": 5, "fold": (1, 2, 2), "text": None}


def networks(**changes: object) -> gan3d.Gan:
    torch.manual_seed(0)
    gan = gan3d.build(gan3d.Config(**{**TINY, **changes}))  # type: ignore[arg-type]
    with torch.no_grad():  # branches that begin at zero must be seen to do something
        for parameter in gan.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return gan


def times(count: int = 3) -> Tensor:
    return torch.arange(8).expand(count, -1) / 4


def make(gan: gan3d.Gan, level: float, count: int = 3, **more: object) -> Tensor:
    latent = torch.randn(count, 5, generator=torch.Generator().manual_seed(1))
    return gan.generator(latent, times(count), (16, 16), level, **more)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("stride", "padding", "kernel"), [(1, 1, 3), (2, 0, 2), (1, 0, 1)])
def test_the_gradients_gradient_of_a_convolution_is_torchs(
    stride: int, padding: int, kernel: int
) -> None:
    torch.manual_seed(0)
    ours = Conv3d(3, 4, kernel, stride, padding).double()
    theirs = nn.Conv3d(3, 4, kernel, stride, padding).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 4, 4, 4, dtype=torch.float64)
    found = []
    for layer in (ours, theirs):
        given = x.clone().requires_grad_()
        score = layer(given).sin().sum()
        (slope,) = torch.autograd.grad(score, given, create_graph=True)
        (slope.square().sum() + score).backward()
        found.append([given.grad, *(p.grad for p in layer.parameters())])
    for mine, reference in zip(*found, strict=True):
        torch.testing.assert_close(mine, reference)


def test_enlarging_is_trilinear_interpolation_and_halving_is_a_mean() -> None:
    clips = torch.randn(2, 4, 3, 6, 8)
    reference = F.interpolate(clips.transpose(1, 2), scale_factor=2, mode="trilinear")
    torch.testing.assert_close(enlarged(clips), reference.transpose(1, 2))
    reference = F.avg_pool3d(clips.transpose(1, 2), 2)
    torch.testing.assert_close(halved(clips), reference.transpose(1, 2))


def test_folding_keeps_every_pixel_in_its_place() -> None:
    clips = torch.arange(2 * 4 * 3 * 4 * 8).float().view(2, 4, 3, 4, 8)
    x = folded(clips, (2, 2, 4))
    assert x.shape == (2, 48, 2, 2, 2)
    one = clips[1, 2:4, :, 2:4, 0:4]  # second clip; second pair of frames; lower left
    torch.testing.assert_close(x[1, :, 1, 1, 0], one.flatten())


def test_places_are_told_apart() -> None:
    features = places_of(times(1), (2, 4, 4)).view(32, -1)
    assert torch.linalg.matrix_rank(features) == 32


@pytest.mark.parametrize(("level", "side"), [(0, 4), (0.5, 8), (1, 8), (1.25, 16), (2, 16)])
def test_a_level_has_its_extent_on_both_sides(level: float, side: int) -> None:
    gan = networks()
    made = make(gan, level)
    assert made.shape == (3, side // 2, 3, side, side)
    assert make(gan, level, full=True).shape == (3, 8, 3, 16, 16)
    real = gan.reduced(torch.randn(3, 8, 3, 16, 16), level)
    assert real.shape == made.shape
    assert gan.discriminator(real, times(), level).shape == (3,)


@pytest.mark.parametrize("level", [0, 1])
def test_a_new_level_begins_as_the_one_below_enlarged(level: int) -> None:
    gan = networks()
    below, above = make(gan, level), make(gan, level + 1e-12)
    torch.testing.assert_close(above, enlarged(below))
    real = torch.randn_like(above)
    torch.testing.assert_close(
        gan.discriminator(real, times(), level + 1e-12),
        gan.discriminator(halved(real), times(), level),
    )


def test_the_fade_is_smooth() -> None:
    gan = networks()
    whole = (make(gan, 2) - make(gan, 1.0001)).abs().max()
    for level in (1.25, 1.5, 1.75, 1.999):
        step = (make(gan, level + 0.001) - make(gan, level)).abs().max()
        assert 0 < step < 0.0011 * whole
    assert make(gan, 1.999).shape == make(gan, 2).shape


def test_a_clip_does_not_depend_on_its_neighbours() -> None:
    gan = networks(labels=2)
    label = torch.tensor([0, 1, 2])
    whole = make(gan, 2, label=label)
    scores = gan.discriminator(whole, times(), 2, label)
    latent = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    for i in range(3):
        alone = gan.generator(latent[i : i + 1], times(1), (16, 16), 2, label[i : i + 1])
        torch.testing.assert_close(alone[0], whole[i])
        one = gan.discriminator(whole[i : i + 1], times(1), 2, label[i : i + 1])
        torch.testing.assert_close(one[0], scores[i])


def test_what_is_told_is_heard_by_both() -> None:
    gan = networks(labels=2, picture=True, text={"width": 4})
    words, mask = torch.randn(3, 2, 4), torch.ones(3, 2, dtype=torch.bool)
    told = {
        "label": torch.tensor([0, 1, 2]),
        "words": words,
        "mask": mask,
        "picture": torch.randn(3, 4, 16, 16),
    }
    real = torch.randn(3, 8, 3, 16, 16)
    for name, other in {
        "label": torch.tensor([1, 0, 0]),
        "words": words + 1,
        "mask": ~mask,
        "picture": told["picture"] + 1,
    }.items():
        changed = told | {name: other}
        assert (make(gan, 2, **changed) - make(gan, 2, **told)).flatten(1).abs().amax(
            1
        ).min() > 1e-5
        scores = [gan.discriminator(real, times(), 2, **one) for one in (told, changed)]
        assert (scores[0] - scores[1]).abs().min() > 1e-5


def test_nothing_said_is_the_same_however_it_is_said() -> None:
    gan = networks(labels=2, text={"width": 4})
    words, mask = torch.randn(3, 2, 4), torch.zeros(3, 2, dtype=torch.bool)
    unsaid = make(gan, 2, label=torch.full((3,), 2), words=words, mask=mask)
    torch.testing.assert_close(make(gan, 2), unsaid)


def test_truncation_draws_clips_together() -> None:
    gan = networks(labels=2)
    label = torch.tensor([0, 0, 0])
    with torch.no_grad():
        spread = [
            float(make(gan, 2, label=label, truncation=share).std(0).mean())
            for share in (0.0, 0.5, 1.0)
        ]
    assert spread[0] == pytest.approx(0, abs=1e-5)
    assert spread[0] < spread[1] < spread[2]


def test_every_parameter_has_a_gradient_when_grown() -> None:
    gan = networks(labels=2, picture=True, text={"width": 4})
    words, mask = torch.randn(3, 2, 4), torch.tensor([[True] * 2, [True] * 2, [False] * 2])
    told = (torch.tensor([0, 1, 2]), words, mask, torch.randn(3, 4, 16, 16))
    latent = torch.randn(3, 5)
    made = gan.generator(latent, times(), (16, 16), 2, *told)
    gan.discriminator(made, times(), 2, *told).sin().sum().backward()
    missing = [n for n, p in gan.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


def test_spectral_weights_stretch_nothing_by_more_than_one_and_all_of_them_learn() -> None:
    torch.manual_seed(0)
    judge = gan3d.build(gan3d.Config(**{**TINY, "spectral": True})).discriminator  # type: ignore[arg-type]
    clips = torch.randn(3, 8, 3, 16, 16)
    for _ in range(30):  # each look brings the estimate nearer
        scores = judge(clips, times(), 2)
    scores.sin().sum().backward()
    layers = [m for m in judge.modules() if isinstance(m, nn.Conv3d | nn.Linear)]
    assert len(layers) > 10
    for layer in layers:
        assert float(torch.linalg.matrix_norm(layer.weight.flatten(1), 2)) == pytest.approx(1, 0.02)
    assert all(p.grad is not None and p.grad.any() for p in judge.parameters())
    plain = gan3d.build(gan3d.Config(**TINY)).generator  # type: ignore[arg-type]
    assert not any("parametrizations" in name for name, _ in plain.named_parameters())


@pytest.mark.parametrize("size", gan3d.SIZES)
def test_sizes_are_of_the_recipes_clips(size: str) -> None:
    config = gan3d.Config(**gan3d.SIZES[size])
    clip = (48, 256, 256) if size == "base" else (16, 32, 32)
    assert all(side % step == 0 for side, step in zip(clip, config.patch, strict=True))


def test_it_computes_in_bf16_near_to_what_it_does_in_fp32() -> None:
    gan = networks()
    made = make(gan, 2)
    with torch.autocast("cpu", torch.bfloat16):
        low = make(gan, 2)
        scores = gan.discriminator(made, times(), 2)
    assert low.dtype == scores.dtype == torch.float32
    assert (low - made).abs().max() < 0.05 * made.std() + 0.05
    exact = gan.discriminator(made, times(), 2)
    assert (scores - exact).abs().max() < 0.1 * exact.abs().max() + 0.02
    assert math.isfinite(float(scores.sum()))
