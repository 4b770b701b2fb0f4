"""The convolutional predictor: its large kernel, what depends on what, and its shapes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from muybridge.models import simvp, text
from muybridge.training.optimizers import _hidden


def network(labels: int = 0, words: bool = False, **settings: int) -> simvp.SimVP:
    told = text.Config(width=16, depth=1, vocabulary=300, length=5) if words else None
    shape = {"width": 8, "depth": 1, "frame_width": 6, "given": 2, "frames": 3} | settings
    torch.manual_seed(0)
    made = simvp.build(simvp.Config(**shape, labels=labels, text=told))
    # A fresh network changes nothing; tests are about a trained one.
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    return made


def frames(batch: int = 2, given: int = 2, height: int = 16, width: int = 24) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(batch, given, 3, height, width)


def test_a_fresh_network_holds_the_last_frame() -> None:
    shown = frames()
    fresh = simvp.build(simvp.Config(width=8, frame_width=6, given=2, frames=3, text=None))
    assert torch.equal(fresh(shown), shown[:, -1:].expand(-1, 3, -1, -1, -1))


@pytest.mark.parametrize("reach", [2, 9])
def test_far_is_a_depthwise_convolution_over_columns_and_rows(reach: int) -> None:
    torch.manual_seed(0)
    far = simvp.Far(5, reach)
    x = torch.randn(2, 6, 7, 5)
    y = F.conv2d(x.permute(0, 3, 1, 2), far.rows[..., None], padding=(reach, 0), groups=5)
    y = F.conv2d(y, far.columns[:, :, None], padding=(0, reach), groups=5)
    torch.testing.assert_close(far(x), y.permute(0, 2, 3, 1), atol=1e-5, rtol=1e-5)


def test_one_block_sees_across_the_picture() -> None:
    shown = frames(1, height=64, width=64).requires_grad_()
    network()(shown)[..., 0, 0].sum().backward()
    assert shown.grad is not None
    assert shown.grad[0, 0, :, -8:, -8:].any()


def test_every_given_frame_counts_and_every_made_one_is_its_own() -> None:
    made, shown = network(), frames()
    first = made(shown)
    for place in range(2):
        other = shown.clone()
        other[:, place] += 0.5
        assert ((made(other) - first).abs().amax((0, 2, 3, 4)) > 1e-3).all()
    assert (first[:, 1:] - first[:, :-1]).abs().amax((0, 2, 3, 4)).min() > 1e-3


def test_clips_of_a_batch_do_not_see_each_other() -> None:
    made, shown = network(), frames(3)
    torch.testing.assert_close(made(shown)[1:2], made(shown[1:2]), atol=1e-4, rtol=1e-4)


def test_label_and_words_matter_and_not_said_is_the_same_as_none() -> None:
    made, shown = network(labels=3, words=True), frames()
    words, none = torch.randn(2, 5, 16), torch.zeros(2, 5, dtype=torch.bool)
    unsaid = made(shown)
    torch.testing.assert_close(made(shown, torch.tensor([3, 3]), words, none), unsaid)
    assert (made(shown, torch.tensor([1, 1])) - unsaid).abs().max() > 1e-3
    some = none.clone()
    some[:, :2] = True
    told = made(shown, None, words, some)
    assert (told - unsaid).abs().max() > 1e-3
    words[:, 2:] = 9.0  # behind the mask
    torch.testing.assert_close(made(shown, None, words, some), told)


def test_kernels_that_mix_channels_are_muons_and_the_depthwise_ones_are_not() -> None:
    hidden = {n for n, p in network().named_parameters() if _hidden(n, p)}
    assert {"blocks.0.around.weight", "blocks.1.gate.weight", "blocks.1.up.weight"} <= hidden
    assert not {"blocks.1.far.rows", "blocks.1.near1.weight", "join.weight"} & hidden


@pytest.mark.parametrize("size", ["nano", "small"])
def test_sizes_train_in_half_precision(size: str) -> None:
    made = simvp.build(simvp.Config(**simvp.SIZES[size], text=None))
    nn.init.normal_(made.head.weight, std=0.1)
    shown = frames(1, given=4, height=16, width=16)
    with torch.autocast("cpu", torch.bfloat16):
        half = made(shown)
    half.float().square().mean().backward()
    assert half.shape == (1, 12, 3, 16, 16)
    torch.testing.assert_close(half.float(), made(shown), atol=0.1, rtol=0.1)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())
