from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from muybridge.core.clips import to_float
from muybridge.core.measures import SCALES, luma, ms_ssim, ms_ssim_scales, psnr, ssim

Bytes = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float64]
SEEDS = st.integers(0, 2**32 - 1)


def pair(seed: int, height: int, width: int, strength: float) -> tuple[Bytes, Bytes]:
    """A smooth picture and a distorted one, uint8 (height, width, 3)."""
    draw = np.random.default_rng(seed)
    first = scipy.ndimage.gaussian_filter(draw.uniform(0, 255, (height, width, 3)), (2, 2, 0))
    first = (first - first.mean()) * 5 + 128
    second = first + draw.normal(0, strength, first.shape) + draw.uniform(-20, 20)
    made = [np.clip(np.rint(picture), 0, 255).astype(np.uint8) for picture in (first, second)]
    return made[0], made[1]


def tensor(picture: Bytes) -> Tensor:
    """(3, height, width) in [-1, 1]."""
    return torch.from_numpy(picture).double().movedim(-1, -3) / 127.5 - 1


@settings(max_examples=25)
@given(SEEDS, st.integers(11, 40), st.integers(11, 40), st.floats(1, 80))
def test_scikit_image_says_the_same(seed: int, height: int, width: int, strength: float) -> None:
    first, second = pair(seed, height, width, strength)
    expected = peak_signal_noise_ratio(first, second, data_range=255)
    assert psnr(tensor(first), tensor(second)).item() == pytest.approx(expected, abs=1e-6)
    full = structural_similarity(
        first, second, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        data_range=255, channel_axis=-1, full=True,
    )[1]  # fmt: skip
    expected = full[5 : height - 5, 5 : width - 5].mean()
    assert ssim(tensor(first), tensor(second)).item() == pytest.approx(expected, abs=1e-6)


@settings(max_examples=10)
@given(SEEDS, st.integers(11, 40), st.floats(1, 80))
def test_the_variant_on_luma_is_that_of_a_grey_picture(
    seed: int, side: int, strength: float
) -> None:
    first, second = pair(seed, side, side, strength)
    grey = [picture @ np.array([0.299, 0.587, 0.114]) for picture in (first, second)]
    full = structural_similarity(
        *grey, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255,
        full=True,
    )[1]  # fmt: skip
    made = ssim(tensor(first), tensor(second), "luma").item()
    assert made == pytest.approx(full[5 : side - 5, 5 : side - 5].mean(), abs=1e-6)
    assert made != ssim(tensor(first), tensor(second)).item()
    expected = torch.from_numpy(grey[0]) / 127.5 - 1
    torch.testing.assert_close(luma(tensor(first)), expected)


def by_definition(first: Array, second: Array, scales: int) -> float:
    """MS-SSIM of one channel in [0, 255], as its authors' own program goes about it."""
    places = np.arange(-5, 6)
    window = np.exp(-(places[:, None] ** 2 + places**2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(picture: Array) -> Array:
        return np.asarray(scipy.ndimage.correlate(picture, window)[5:-5, 5:-5])

    value = 1.0
    for scale in range(scales):
        mx, my = mean(first), mean(second)
        vx, vy = mean(first**2) - mx**2, mean(second**2) - my**2
        cs = (2 * (mean(first * second) - mx * my) + 58.5225) / (vx + vy + 58.5225)
        light = (2 * mx * my + 6.5025) / (mx**2 + my**2 + 6.5025)
        term = (light * cs).mean() if scale == scales - 1 else cs.mean()
        value *= max(term, 0) ** (SCALES[scale] / sum(SCALES[:scales]))
        # A window of 2 x 2 whose other pixel is the next one, then every second place.
        first, second = (
            scipy.ndimage.uniform_filter(p, 2, origin=-1, mode="reflect")[::2, ::2]
            for p in (first, second)
        )
    return value


@pytest.mark.parametrize(("height", "width", "scales"), [(176, 181, 5), (64, 64, 3), (23, 31, 2)])
@pytest.mark.parametrize("strength", [3, 30])
def test_scales_are_as_defined(height: int, width: int, scales: int, strength: float) -> None:
    first, second = pair(height, height, width, strength)
    expected = np.mean(
        [by_definition(first[..., c] * 1.0, second[..., c] * 1.0, scales) for c in range(3)]
    )
    assert ms_ssim_scales(height, width) == scales
    assert ms_ssim(tensor(first), tensor(second)).item() == pytest.approx(expected, abs=1e-9)


def test_as_many_scales_as_the_window_fits_into() -> None:
    sides = (10, 11, 20, 21, 40, 41, 80, 81, 160, 161, 1000)
    assert [ms_ssim_scales(side, 2000) for side in sides] == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert ms_ssim_scales(2000, 41) == 3
    first, second = (tensor(picture) for picture in pair(0, 45, 45, 20))
    one = ms_ssim(first, second, scales=1)
    torch.testing.assert_close(one, ssim(first, second))
    assert ms_ssim(first, second, scales=2) != ms_ssim(first, second)
    for scales in (0, 4):
        with pytest.raises(ValueError, match="1 to 3 scales"):
            ms_ssim(first, second, scales=scales)


@pytest.mark.parametrize("measure", [psnr, ssim, ms_ssim])
def test_more_noise_is_less_alike(measure: object) -> None:
    assert callable(measure)
    first = tensor(pair(1, 48, 48, 1)[0])
    noise = torch.randn(first.shape, generator=torch.Generator().manual_seed(0)).double()
    values = [measure(first, first + size * noise).item() for size in (0.01, 0.03, 0.1, 0.3, 1)]
    assert all(a > b for a, b in itertools.pairwise(values))


@pytest.mark.parametrize("measure", [psnr, ssim, ms_ssim])
def test_each_picture_is_judged_alone(measure: object) -> None:
    assert callable(measure)
    made = [pair(seed, 24, 30, 5 + seed) for seed in range(6)]
    first, second = (torch.stack([tensor(p[i]) for p in made]) for i in (0, 1))
    whole = measure(first.view(2, 3, 3, 24, 30), second.view(2, 3, 3, 24, 30))
    alone = torch.stack([measure(a, b) for a, b in zip(first, second, strict=True)])
    torch.testing.assert_close(whole, alone.view(2, 3))
    torch.testing.assert_close(measure(second, first), alone)


def test_identical_pictures() -> None:
    picture = tensor(pair(2, 24, 24, 1)[0])
    assert psnr(picture, picture) == torch.inf
    assert ssim(picture, picture).item() == pytest.approx(1, abs=1e-12)
    assert ms_ssim(picture, picture).item() == pytest.approx(1, abs=1e-12)


def test_a_negative_has_no_likeness_over_scales() -> None:
    picture = tensor(pair(3, 48, 48, 1)[0])
    assert ssim(picture, -picture) < 0
    assert ms_ssim(picture, -picture) == 0


@pytest.mark.parametrize("measure", [psnr, ssim, ms_ssim])
def test_gradients(measure: object) -> None:
    assert callable(measure)
    draw = torch.Generator().manual_seed(0)
    first, second = torch.rand(2, 3, 22, 22, generator=draw, dtype=torch.float64) * 2 - 1
    second = (0.7 * first + 0.3 * second).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: measure(first, x), second, fast_mode=True)


def test_a_negative_has_a_finite_gradient() -> None:
    picture = tensor(pair(3, 48, 48, 1)[0])
    other = (-picture).requires_grad_()
    (ms_ssim(picture, other) + ssim(picture, other)).backward()
    assert other.grad is not None
    assert other.grad.isfinite().all()


def test_single_precision_stays_near() -> None:
    first, second = (tensor(p) for p in pair(5, 64, 64, 10))
    for measure in (psnr, ssim, ms_ssim):
        rough = measure(first.float(), second.float())
        assert rough.dtype == torch.float32
        assert rough.item() == pytest.approx(measure(first, second).item(), rel=1e-4)


def test_a_uint8_picture_as_the_loader_gives_it() -> None:
    first, second = pair(6, 32, 32, 10)
    expected = peak_signal_noise_ratio(first, second, data_range=255)
    made = psnr(*(torch.from_numpy(to_float(p)).double() for p in (first, second))).item()
    assert made == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (torch.zeros(3, 16, 16), torch.zeros(3, 16, 17), r"\(3, 16, 16\) and \(3, 16, 17\)"),
        (torch.zeros(1, 16, 16), torch.zeros(1, 16, 16), "3, height, width"),
        (torch.zeros(16, 16), torch.zeros(16, 16), "3, height, width"),
        (torch.zeros(3, 16, 16).byte(), torch.zeros(3, 16, 16).byte(), "uint8"),
    ],
)
def test_pictures_that_cannot_be_compared(first: Tensor, second: Tensor, told: str) -> None:
    for measure in (psnr, ssim, ms_ssim):
        with pytest.raises(ValueError, match=told):
            measure(first, second)


def test_what_ssim_cannot_do() -> None:
    small, large = torch.zeros(3, 10, 30), torch.zeros(3, 11, 30)
    for measure in (ssim, ms_ssim):
        with pytest.raises(ValueError, match="11 x 11"):
            measure(small, small)
        with pytest.raises(ValueError, match="'gaussian'"):
            measure(large, large, "gaussian")  # type: ignore[arg-type]
