"""Filters of a guiding video, against convolutions by scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from muybridge.models.dit import Config, DiT
from muybridge.models.filters import Copies, Filters, Strokes, carried, held, stilled


def filtered(filters: Filters, tokens: Tensor, grid: tuple[int, int, int], video: Tensor) -> Tensor:
    """A video by itself, nothing being drawn."""
    there = torch.cat([video, torch.ones_like(video[:, :, :1])], 2)
    return filters(torch.zeros_like(video), tokens, grid, there)


def test_weights_that_are_alike_everywhere_are_a_convolution() -> None:
    torch.manual_seed(0)
    filters, video = Filters(8), torch.randn(2, 5, 3, 8, 12)
    with torch.no_grad():
        filters.weigh.weight.zero_()
        filters.weigh.bias.copy_(torch.randn(12))
        made = filtered(filters, torch.randn(2, 24, 8), (2, 3, 4), video)
        kernel = np.zeros((3, 3, 3))
        kernel[1] = filters.weigh.bias[:9].view(3, 3).numpy()
        kernel[0, 1, 1], kernel[2, 1, 1] = filters.weigh.bias[9:11].tolist()
    for clip, found in zip(video, made, strict=True):
        for channel in range(3):
            expected = ndimage.correlate(clip[:, channel].numpy(), kernel, mode="nearest")
            np.testing.assert_allclose(found[:, channel].numpy(), expected, atol=1e-4)


def test_weights_change_smoothly_from_token_to_token() -> None:
    filters, video = Filters(1), torch.ones(1, 4, 1, 16, 16)
    with torch.no_grad():
        filters.weigh.weight.zero_()
        filters.weigh.weight[4] = 1
        filters.weigh.bias.zero_()
        tokens = torch.tensor([0.0, 1.0, 0.0, 1.0]).view(1, 4, 1)
        made = filtered(filters, tokens, (1, 2, 2), video)[0, 0, 0]
    assert float(made[0, 0]) == 0 and float(made[0, -1]) == 1
    assert float(made.diff(dim=1).abs().max()) < 0.2


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_tokens_say_how_much_of_what_is_drawn_is_seen_beside_what_is_given(share: float) -> None:
    torch.manual_seed(0)
    made, tokens = torch.randn(2, 4, 3, 8, 8), torch.randn(2, 8, 6)
    there = torch.ones(2, 4, 1, 8, 8)
    filters = Filters(6)
    filters.begin()
    copies = Copies(6, (2, 4, 4), lapped=True)
    copies.begin()
    with torch.no_grad():
        filters.weigh.bias[-1] = share
        copies.shares.bias.view(2, 3, -1)[:, 2] = share
        other = torch.randn(2, 4, 3, 8, 8)
        shown = filters(made, tokens, (2, 2, 2), torch.cat([other, there], 2))
        torch.testing.assert_close(shown, other + share * made)
        shown = copies(made, tokens, (2, 2, 2), other, there)
        torch.testing.assert_close(shown, other + share * made, atol=1e-5, rtol=1e-5)


def test_what_stands_still_is_the_mean_of_the_frames_in_which_it_does() -> None:
    torch.manual_seed(0)
    made, share = torch.randn(2, 6, 3, 4, 4), torch.zeros(2, 6, 1, 4, 4)
    share[0, :4, :, 0] = 1  # a row of the first clip stands still in four of its frames
    found = stilled(made, share)
    mean = made[0, :4, :, 0].mean(0)
    torch.testing.assert_close(found[0, :4, :, 0], mean.expand(4, -1, -1))
    moves = share.expand_as(made) == 0
    assert torch.equal(found[moves], made[moves])
    half = stilled(made, torch.full_like(share, 0.5))
    torch.testing.assert_close(half, (made + made.mean(1, keepdim=True)) / 2)


def test_a_share_of_a_frame_is_the_frame_before_as_it_was_drawn() -> None:
    made, share = torch.randn(2, 4, 3, 2, 2), torch.zeros(2, 4, 1, 2, 2)
    share[0, 2:] = 1
    share[1, 1] = 0.25
    found = held(made, share)
    assert torch.equal(found[0], made[0, [0, 1, 1, 1]])
    torch.testing.assert_close(found[1, 1], 0.75 * made[1, 1] + 0.25 * made[1, 0])
    assert torch.equal(found[1, 2:], made[1, 2:])
    # Piece by piece it is the same: what is kept of the first frame of a piece is the one before.
    share = torch.rand(2, 4, 1, 2, 2)
    whole = held(made, share)
    torch.testing.assert_close(held(made[:, 2:], share[:, 2:], whole[:, 1]), whole[:, 2:])


def test_only_clips_that_have_a_video_beside_them_are_changed_by_it() -> None:
    torch.manual_seed(0)
    config = Config(
        width=16, depth=1, heads=1, patch=(2, 4, 4), text=None, guides=("known", "video")
    )
    network = DiT(config)
    assert network.filters is not None
    clips, level, times = torch.randn(3, 4, 3, 8, 8), torch.rand(3), torch.zeros(3, 4)
    beside = torch.zeros(3, 4, 5, 8, 8)
    assert float(network(clips, level, times, beside=beside).abs().max()) == 0
    beside[1, :, 1:] = torch.cat([torch.randn(4, 3, 8, 8), torch.ones(4, 1, 8, 8)], 1)
    made = network(clips, level, times, beside=beside)
    assert not made[0].any() and not made[2].any()
    torch.testing.assert_close(made[1], beside[1, :, 1:4])


def test_lines_add_what_tokens_say_beside_them_and_only_in_frames_that_have_some() -> None:
    torch.manual_seed(0)
    strokes, lines = Strokes(6), torch.rand(2, 4, 8, 12) < 0.2
    lines[0, 1] = lines[1, 3] = False
    sketch = torch.stack([lines * 2.0 - 1, torch.ones(lines.shape)], 2)
    sketch[0, 1] = sketch[1, 3] = 0
    made, tokens = torch.randn(2, 4, 3, 8, 12), torch.randn(2, 2 * 2 * 3, 6)
    strokes.begin()
    assert torch.equal(strokes(made, tokens, (2, 2, 3), sketch), made)
    with torch.no_grad():
        strokes.weigh.weight.zero_()
        strokes.weigh.bias.normal_()
        added = strokes(made, tokens, (2, 2, 3), sketch) - made
        kernels = strokes.weigh.bias.view(3, 5, 5).numpy()
    assert not added[0, 1].any() and not added[1, 3].any()
    for place in np.ndindex(2, 4, 3):
        clip, at, channel = place
        drawn = lines[clip, at].numpy().astype(float)
        expected = ndimage.correlate(drawn, kernels[channel], mode="constant")
        np.testing.assert_allclose(added[place].numpy(), expected, atol=1e-5)


def test_each_frame_is_drawn_on_as_its_own_tokens_say() -> None:
    strokes = Strokes(1)
    sketch = torch.ones(2, 4, 2, 4, 4)
    with torch.no_grad():
        strokes.weigh.weight.zero_()
        strokes.weigh.weight[12] = 1  # the first colour, the line itself
        strokes.weigh.bias.zero_()
        tokens = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(2, 2, 1)
        made = strokes(torch.zeros(2, 4, 3, 4, 4), tokens, (2, 1, 1), sketch)
    assert not made[:, :, 1:].any()
    expected = torch.tensor([[1.0, 1, 2, 2], [3, 3, 4, 4]])[..., None, None].expand(2, 4, 4, 4)
    torch.testing.assert_close(made[:, :, 0], expected)


def test_known_pixels_are_carried_to_the_frames_around_them() -> None:
    torch.manual_seed(0)
    clips, mask = torch.randn(2, 6, 3, 4, 4), (torch.rand(2, 6, 1, 4, 4) < 0.4).float()
    before, after = carried(clips, mask)
    for place in np.ndindex(2, 6, 4, 4):
        clip, at, row, column = place
        known = [t for t in range(6) if mask[clip, t, 0, row, column]]
        last = [t for t in known if t <= at][-1:]
        following = [t for t in known if t >= at][:1]
        for made, where in ((before, last), (after, following)):
            found = made[clip, at, :, row, column]
            where = where or following or last
            expected = clips[clip, where[0], :, row, column] if where else torch.zeros(3)
            assert torch.equal(found, expected)


def test_a_background_is_copied_where_tokens_say_so_and_elsewhere_left_alone() -> None:
    torch.manual_seed(0)
    patch = (2, 4, 4)
    network = DiT(
        Config(width=16, depth=1, heads=1, patch=patch, text=None, guides=("known",), lapped=False)
    )
    assert network.copies is not None
    clips, level, times = torch.randn(2, 4, 3, 8, 8), torch.rand(2), torch.zeros(2, 4)
    mask = torch.zeros(2, 4, 1, 8, 8)
    mask[0, 1] = mask[0, 3] = 1
    made = network(clips, level, times, beside=mask)  # at first, the mean of those around
    assert not made[1].any()
    torch.testing.assert_close(made[0, 0], clips[0, 1])
    torch.testing.assert_close(made[0, 2], (clips[0, 1] + clips[0, 3]) / 2)
    with torch.no_grad():
        network.copies.shares.bias.view(2, 3, 16)[:, 0] = 1.0
        network.copies.shares.bias.view(2, 3, 16)[:, 1] = 0.0
        made = network(clips, level, times, beside=mask)
    torch.testing.assert_close(made[0, 1:3], clips[0, 1].expand(2, -1, -1, -1))
