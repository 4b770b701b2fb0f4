from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from muybridge.core import measures
from muybridge.evaluation import similarity
from muybridge.evaluation.similarity import PSNR_CAP, over_time, successive_ssim


def clips(count: int = 3, time: int = 5, side: int = 24) -> tuple[Tensor, Tensor]:
    """Made clips that leave the truth more and more, and the truth."""
    draw = torch.Generator().manual_seed(0)
    truth = torch.rand(count, time, 3, side, side, generator=draw) - 0.5
    noise = torch.randn(truth.shape, generator=draw)
    strength = torch.linspace(0.02, 0.3, time).view(time, 1, 1, 1)
    return truth + strength * noise, truth


def far(first: Tensor, second: Tensor) -> Tensor:
    """Stands for a network."""
    return (first - second).abs().mean((1, 2, 3))


def test_each_frame_has_its_own_value() -> None:
    made, truth = clips()
    for name in ("psnr", "ssim", "ms_ssim"):
        table = getattr(similarity, name)(made, truth)
        assert table.shape == (3, 5)
        assert table.dtype == np.float64
        alone = getattr(measures, name)(made[1, 3].double(), truth[1, 3].double()).item()
        assert table[1, 3] == pytest.approx(alone, abs=1e-12)
        assert (np.diff(table, axis=1) < 0).all()
    table = over_time(far, made, truth)
    assert table[2, 4] == pytest.approx(float((made[2, 4] - truth[2, 4]).abs().mean()))
    assert (np.diff(table, axis=1) > 0).all()


def test_frames_that_were_given_are_neither_seen_nor_counted() -> None:
    made, truth = clips()
    whole = similarity.psnr(made, truth)
    spoilt = made.clone()
    spoilt[:, :2] = torch.nan
    table = similarity.psnr(spoilt, truth, given=2)
    assert np.isnan(table[:, :2]).all()
    np.testing.assert_array_equal(table[:, 2:], whole[:, 2:])
    ends = torch.tensor([True, False, False, False, True])
    table = similarity.psnr(made, truth, given=ends)
    assert (np.isnan(table) == ends.numpy()).all()
    each = torch.zeros(3, 5, dtype=torch.bool)
    each[1, 2] = True
    seen: list[int] = []
    table = over_time(lambda a, b: seen.append(len(a)) or far(a, b), made, truth, given=each)  # type: ignore[func-returns-value]
    assert (np.isnan(table) == each.numpy()).all()
    assert sum(seen) == 14


def test_identical_frames_count_as_the_cap() -> None:
    made, truth = clips()
    made[0, 0] = truth[0, 0]
    made[1, 0] = truth[1, 0] + 1e-7
    table = similarity.psnr(made, truth)
    assert table[0, 0] == PSNR_CAP
    assert table[1, 0] == PSNR_CAP
    assert (table[2] < PSNR_CAP).all()
    assert np.isfinite(table).all()


def test_the_mean_is_of_decibels() -> None:
    truth = torch.zeros(1, 2, 3, 16, 16)
    made = torch.stack([truth[:, 0] + 0.02, truth[:, 1] + 0.2], 1)
    np.testing.assert_allclose(similarity.psnr(made, truth), [[40, 20]], rtol=1e-6)


def test_pictures_go_through_in_small_numbers() -> None:
    made, truth = clips(2, 9)
    sizes: list[int] = []

    def measure(first: Tensor, second: Tensor) -> Tensor:
        sizes.append(len(first))
        return far(first, second)

    whole = over_time(measure, made, truth, given=1)
    assert sizes == [16]
    few = over_time(measure, made, truth, given=1, chunk=7)
    assert sizes[1:] == [7, 7, 2]
    np.testing.assert_array_equal(whole, few)
    over_time(measure, torch.zeros(1, 5, 3, 256, 256), torch.zeros(1, 5, 3, 256, 256))
    assert sizes[4:] == [1] * 5


def test_successive_frames() -> None:
    _, truth = clips(2)
    truth[0, 3] = truth[0, 2]
    table = successive_ssim(truth)
    assert table.shape == (2, 4)
    assert table[0, 2] == pytest.approx(1)
    assert (np.delete(table.ravel(), 2) < 0.9).all()
    alone = measures.ssim(truth[1, 1].double(), truth[1, 0].double()).item()
    assert table[1, 0] == pytest.approx(alone, abs=1e-12)
    assert successive_ssim(truth, "luma")[1, 0] != table[1, 0]


def test_what_cannot_be_judged() -> None:
    made, truth = clips()
    with pytest.raises(ValueError, match=r"\(3, 5, 3, 24, 24\) and \(3, 4, 3, 24, 24\)"):
        similarity.ssim(made, truth[:, :4])
    with pytest.raises(ValueError, match="cannot be compared"):
        similarity.ssim(made[:0], truth[:0])
    for given in (-1, 6):
        with pytest.raises(ValueError, match="frames of clips of 5"):
            similarity.ssim(made, truth, given)
    with pytest.raises(ValueError, match="none is left"):
        similarity.ssim(made, truth, 5)
    with pytest.raises(ValueError, match="must be bool"):
        similarity.ssim(made, truth, torch.zeros(5))
    with pytest.raises(ValueError, match="successive"):
        successive_ssim(truth[:, :1])
    made[2, 4, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="finite"):
        similarity.psnr(made, truth)
