"""What comes out, made small and grey again, is what came in."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from muybridge.generation.faithful import faithful


def waves(count: int = 2) -> Tensor:
    """Smooth clips (count, 3, 3, 32, 48) with edges."""
    torch.manual_seed(0)
    coarse = torch.randn(count * 3, 3, 6, 9)
    smooth = F.interpolate(coarse, (32, 48), mode="bilinear").clamp(-0.9, 0.9)
    return torch.where(smooth > 0.4, 0.7, smooth).view(count, 3, 3, 32, 48)


def small(clips: Tensor, factor: int) -> Tensor:
    """As OpenCV makes pictures smaller (area)."""
    size = (clips.shape[-1] // factor, clips.shape[-2] // factor)
    pictures = clips.flatten(0, -4).permute(0, 2, 3, 1).numpy()
    made = [cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in pictures]
    return torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2).view(*clips.shape[:-2], *size[::-1])


@pytest.mark.parametrize("factor", [2, 4])
def test_made_small_again_it_is_what_was_given(factor: int) -> None:
    real = waves()
    given = small(real, factor)
    made = faithful((real + 0.3 * torch.randn_like(real)).clamp(-1, 1) * 0.8, given)
    assert float((small(made, factor) - given).abs().mean()) < 0.005
    blurred = F.interpolate(given.flatten(0, 1), (32, 48), mode="bicubic").view_as(real)
    nearer = (faithful(blurred, given) - real).square().mean() / (blurred - real).square().mean()
    assert float(nearer) < 0.9


@pytest.mark.parametrize("factor", [1, 2])
def test_made_grey_again_it_is_as_bright_as_what_was_given_and_keeps_its_colours(
    factor: int,
) -> None:
    luma = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    real = waves() * 0.5
    given = small((real * luma).sum(-3, keepdim=True).expand_as(real).contiguous(), factor)
    wrong = real + torch.randn(2, 3, 1, 1, 1) * 0.2
    made = faithful(wrong, given, grey=True)
    seen = small((made * luma).sum(-3, keepdim=True).expand_as(made).contiguous(), factor)
    assert float((seen - given).abs().mean()) < 0.005
    # Differences of colours are not touched.
    torch.testing.assert_close(made - made[:, :, :1], wrong - wrong[:, :, :1])


def test_what_is_true_already_stays() -> None:
    real = waves()
    torch.testing.assert_close(faithful(real, small(real, 2)), real, atol=1e-6, rtol=0)
    # One small clip for several that are made of it.
    both = faithful(real[:1].expand(2, -1, -1, -1, -1) * 0.5, small(real[0], 2))
    torch.testing.assert_close(both[0], both[1])
