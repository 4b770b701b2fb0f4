"""Clips that cost nothing."""

from __future__ import annotations

import torch

from muybridge.evaluation import baselines
from muybridge.evaluation.clip_sets import CHUNK, of_tensor

COUNT = CHUNK + 3


def clips(seed: int) -> torch.Tensor:
    return torch.rand(COUNT, 5, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_still_holds_the_last_frame_that_was_given() -> None:
    pixels = clips(0)
    real = of_tensor(pixels, 8, "real", captions=[str(i) for i in range(COUNT)])
    for given in (1, 3):
        still = baselines.still(real, given)
        found = still.read(2, 6)
        assert found.shape == (4, 5, 3, 8, 8)
        for frame in range(5):
            assert torch.equal(found[:, frame], pixels[2:6, given - 1])
        assert still.captions == real.captions
        assert still.form == real.form
        assert len(still) == COUNT


def test_mean_clip_is_the_mean_and_has_the_least_squared_error() -> None:
    pixels = clips(0)
    real = of_tensor(clips(1)[:4], 8, "real")
    found = baselines.mean_clip(of_tensor(pixels, 8, "training"), real)
    made = found.read(0, 4)
    torch.testing.assert_close(made, pixels.mean(0).expand(4, -1, -1, -1, -1))
    error = (pixels - made[0]).square().mean()
    for other in (pixels[0], made[0] + 0.01, pixels.median(0).values):
        assert (pixels - other).square().mean() > error
    assert len(found) == 4


def test_replay_is_the_training_clips_asked_for() -> None:
    pixels = clips(0)
    real = of_tensor(clips(1)[:4], 8, "real", captions="abcd")
    found = baselines.replay(of_tensor(pixels, 8, "training"), [7, 0, COUNT - 1, 7], real)
    assert torch.equal(found.read(0, 4), pixels[[7, 0, COUNT - 1, 7]])
    assert torch.equal(found.read(2, 3), pixels[COUNT - 1 :])
    assert found.captions == ("a", "b", "c", "d")
