from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv3d, pad

from muybridge.core.clips import to_float
from muybridge.data.stage import Settings, render
from muybridge.evaluation import distances
from muybridge.evaluation.distances import Features
from muybridge.evaluation.frechet import frechet

# Of the random network's weights. Numbers made with another one are not comparable to earlier ones:
# whoever changes it gives the measure another name.
EXTRACTOR = "99644ff9d2d6c3baf8dc2d12711a3b45542e156eec87e61f89e9bc4250482974"
COUNT = 40


def of_stage(seed: int) -> Tensor:
    clips = [render(Settings((64, 64), 8, 2.0, seed), index)[0] for index in range(COUNT)]
    return torch.from_numpy(to_float(np.stack(clips)))


@pytest.fixture(scope="module")
def real() -> Tensor:
    return of_stage(1)


@pytest.fixture(scope="module")
def other() -> Tensor:
    return of_stage(2)


@pytest.fixture(scope="module")
def appearances(real: Tensor, other: Tensor) -> tuple[Features, float]:
    """Of real clips, and how far other real clips are from them."""
    features = distances.appearance(real)
    return features, distances.distance(distances.appearance(other), features)


@pytest.fixture(scope="module")
def motions(real: Tensor, other: Tensor) -> tuple[Features, float]:
    features = distances.motion(real)
    return features, distances.distance(distances.motion(other), features)


def blurred(clips: Tensor, side: int = 17) -> Tensor:
    kernel = torch.full((3, 1, 1, side, side), 1 / side**2)
    wide = pad(clips.movedim(2, 1), (side // 2,) * 4 + (0, 0), mode="replicate")
    return conv3d(wide, kernel, groups=3).movedim(1, 2)


def test_the_extractor_is_the_one_that_earlier_numbers_were_made_with() -> None:
    assert distances.extractor_digest() == EXTRACTOR


def test_features_are_those_of_the_convolutions_written_out() -> None:
    clips = torch.rand(1, 5, 3, 12, 10, generator=torch.Generator().manual_seed(0)) * 2 - 1
    signal = clips[0].permute(1, 0, 2, 3).double().numpy()  # (channel, time, height, width)
    for kernel, (_, _, size, stride) in zip(distances._kernels(), distances._LAYERS, strict=True):
        side = [(0, 0), *((n // 2, n // 2) for n in size)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(signal, side), size, (1, 2, 3))
        windows = windows[:, :: stride[0], :: stride[1], :: stride[2]]
        signal = np.einsum("ithwabc,oiabc->othw", windows, kernel.double().numpy())
        signal = np.where(signal > 0, signal, 0.1 * signal)
    flat = signal.reshape(len(signal), -1)
    expected = np.concatenate([flat.mean(1), flat.std(1, ddof=1)])
    assert distances.appearance(clips)[0] == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_a_clip_has_its_features_whatever_is_beside_it(real: Tensor) -> None:
    clips = real[:20]
    for extract, width in ((distances.appearance, 128), (distances.motion, 64)):
        together = extract(clips)
        assert together.shape == (20, width) and together.dtype == np.float64
        alone = np.concatenate([extract(clips[i : i + 1]) for i in (0, 17, 19)])
        assert together[[0, 17, 19]] == pytest.approx(alone, rel=1e-4, abs=1e-5)


def test_motion_features_of_a_clip_that_changes_evenly() -> None:
    # Brightness grows by 0.05 a frame on the left half: the first difference is that, the second 0.
    clip = torch.zeros(1, 8, 3, 16, 16)
    clip[..., :8] = torch.arange(8).view(1, 8, 1, 1, 1) * 0.05
    means, spreads, second_means, second_spreads = distances.motion(clip)[0].reshape(4, 4, 4)
    assert means[:, :2] == pytest.approx(np.log(0.051), abs=1e-4)
    assert means[:, 2:] == pytest.approx(np.log(0.001), abs=1e-4)
    assert second_means == pytest.approx(np.log(0.001), abs=1e-3)
    assert spreads == pytest.approx(0, abs=1e-4)
    assert second_spreads == pytest.approx(0, abs=1e-3)


def test_identical_sets_are_at_zero(
    appearances: tuple[Features, float], motions: tuple[Features, float]
) -> None:
    for features, floor in (appearances, motions):
        assert distances.distance(features, features) == pytest.approx(0, abs=1e-6 * floor)
        assert floor > 0


def test_distances_are_measured_in_deviations_of_the_real_clips() -> None:
    random = np.random.default_rng(0)
    real, made = random.normal(size=(30, 4)), random.normal(size=(30, 4))
    scale, shift = np.array([1, 1e3, 1e-3, 7]), np.array([0, 5, -3, 1e4])
    value = distances.distance(made, real)
    # The guard against features that never vary is a millionth.
    assert distances.distance(made * scale + shift, real * scale + shift) == pytest.approx(
        value, rel=0.01
    )
    assert value == pytest.approx(
        frechet((made - real.mean(0)) / real.std(0), (real - real.mean(0)) / real.std(0)), rel=1e-4
    )


def test_a_feature_that_never_varies_does_not_outweigh_the_others() -> None:
    random = np.random.default_rng(0)
    real, made = random.normal(size=(30, 3)), random.normal(size=(30, 3))
    value = distances.distance(made, real)
    constant = np.full((30, 1), 0.25)
    off = constant + 1e-7 * random.normal(size=(30, 1))
    with_constant = distances.distance(np.hstack([made, off]), np.hstack([real, constant]))
    assert with_constant == pytest.approx(value, rel=1e-3)


def test_three_frames_are_enough_for_motion() -> None:
    clips = torch.rand(2, 3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert np.isfinite(distances.motion(clips)).all()


@pytest.mark.parametrize("change", ["frozen", "shuffled", "slow", "noisy"])
def test_wrong_motion_moves_the_motion_distance(
    other: Tensor, motions: tuple[Features, float], change: str
) -> None:
    random = torch.Generator().manual_seed(0)
    made = {
        "frozen": lambda: other[:, :1].expand_as(other),
        "shuffled": lambda: other[:, torch.randperm(16, generator=random)],
        "slow": lambda: other[:, torch.arange(16) // 2],
        "noisy": lambda: other + 0.1 * torch.randn(other.shape, generator=random),
    }[change]()
    features, floor = motions
    assert distances.distance(distances.motion(made), features) > 2 * floor


@pytest.mark.parametrize("change", ["blurred", "tinted", "dark", "grey"])
def test_wrong_looks_move_the_appearance_distance(
    other: Tensor, appearances: tuple[Features, float], change: str
) -> None:
    made = {
        "blurred": lambda: blurred(other),
        "tinted": lambda: (other + torch.tensor([0.3, -0.1, 0]).view(3, 1, 1)).clamp(-1, 1),
        "dark": lambda: other * 0.5 - 0.5,
        "grey": lambda: other.mean(2, keepdim=True).expand_as(other),
    }[change]()
    features, floor = appearances
    assert distances.distance(distances.appearance(made), features) > 1.4 * floor


def test_a_tint_leaves_the_motion_and_shuffling_the_looks(
    other: Tensor, appearances: tuple[Features, float], motions: tuple[Features, float]
) -> None:
    tinted = other * 0.7 + torch.tensor([0.3, -0.1, 0]).view(3, 1, 1)
    assert distances.distance(distances.motion(tinted / 0.7), motions[0]) < 1.5 * motions[1]
    shuffled = other[:, torch.randperm(16, generator=torch.Generator().manual_seed(0))]
    looks = distances.distance(distances.appearance(shuffled), appearances[0])
    assert looks < 1.5 * appearances[1]
