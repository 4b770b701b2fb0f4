from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from muybridge.core.clips import to_float
from muybridge.data.stage import Settings, render
from muybridge.evaluation.copying import (
    COPY_RATIO,
    Copying,
    distances,
    group_numbers,
    nearest,
    thumbnails,
    variety,
)

COUNT, MOMENTS = 30, (0, 4, 8)


def of_stage(seed: int, count: int, seconds: float) -> Tensor:
    clips = [render(Settings((64, 64), 8, seconds, seed), index)[0] for index in range(count)]
    return torch.from_numpy(to_float(np.stack(clips)))


@pytest.fixture(scope="module")
def clips() -> Tensor:
    """Training clips of three seconds, of which windows of two are cut."""
    return of_stage(3, COUNT, 3.0)


@pytest.fixture(scope="module")
def training(clips: Tensor) -> tuple[Tensor, Tensor]:
    """Thumbnails of several moments of each clip, and whose they are."""
    small = [thumbnails(clips[:, begin : begin + 16]) for begin in MOMENTS]
    return torch.cat(small), torch.arange(COUNT).repeat(len(MOMENTS))


def judged(clips: Tensor, training: tuple[Tensor, Tensor]) -> Copying:
    return nearest(thumbnails(clips), *training)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("noise", [0, 0.05])
@pytest.mark.parametrize("begin", MOMENTS)
def test_copies_are_called_copies(
    clips: Tensor, training: tuple[Tensor, Tensor], begin: int, noise: float, mirrored: bool
) -> None:
    copies = clips[:, begin : begin + 16].flip(-1) if mirrored else clips[:, begin : begin + 16]
    random = torch.Generator().manual_seed(0)
    found = judged(copies + noise * torch.randn(copies.shape, generator=random), training)
    assert found.share == 1
    assert (found.nearest % COUNT == np.arange(COUNT)).all()
    assert found.ratio.max() < COPY_RATIO


def test_other_clips_of_the_same_kind_are_not(training: tuple[Tensor, Tensor]) -> None:
    found = judged(of_stage(4, 40, 2.0), training)
    assert found.share == 0
    assert found.ratio.min() > COPY_RATIO


def test_the_share_is_that_of_the_copies(clips: Tensor, training: tuple[Tensor, Tensor]) -> None:
    mixed = torch.cat([clips[:3, :16], of_stage(5, 9, 2.0)])
    assert judged(mixed, training).share == 0.25


def test_distances_are_those_of_the_pixels() -> None:
    random = torch.Generator().manual_seed(0)
    clips, own = (torch.rand(4, 6, 3, 16, 16, generator=random) * 2 - 1 for _ in range(2))
    groups = torch.tensor([0, 0, 1, 2])
    found = nearest(thumbnails(clips), thumbnails(own), groups)
    for index, clip in enumerate(clips[:, ::2]):
        table = [
            min(
                float((clip - other).square().mean()),
                float((clip - other.flip(-1)).square().mean()),
            )
            ** 0.5
            for other in own[:, ::2]
        ]
        best = int(np.argmin(table))
        elsewhere = [table[i] for i in range(4) if groups[i] != groups[best]]
        assert found.nearest[index] == best
        assert found.distance[index] == pytest.approx(table[best], rel=1e-4)
        assert found.ratio[index] == pytest.approx(table[best] / min(elsewhere), rel=1e-4)


def test_moments_of_one_clip_are_no_second_clip(
    training: tuple[Tensor, Tensor], clips: Tensor
) -> None:
    small, _ = training
    apart = nearest(thumbnails(clips[:, :16]), small, torch.arange(len(small)))
    together = judged(clips[:, :16], training)
    # Beside itself at another moment a copy would not look much nearer than the next.
    assert np.median(together.ratio) <= np.median(apart.ratio)
    still = torch.zeros(2, 16, 3, 16, 16)
    still[1] = 1
    windows, groups = thumbnails(torch.cat([still, still])), torch.tensor([0, 1, 0, 1])
    assert nearest(thumbnails(still + 0.01), windows, groups).share == 1


def test_thumbnails_are_means_of_every_second_frame() -> None:
    clip = torch.rand(1, 5, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    expected = clip[:, ::2].reshape(1, 3, 3, 16, 2, 16, 3).mean((4, 6)).reshape(1, -1)
    assert torch.allclose(thumbnails(clip), expected, atol=1e-6)


def test_with_one_piece_of_footage_nothing_is_called_a_copy_for_want_of_a_second(
    clips: Tensor, training: tuple[Tensor, Tensor]
) -> None:
    small, groups = training
    one = nearest(thumbnails(of_stage(4, 5, 2.0)), small, torch.zeros_like(groups))
    assert one.share == 0


def test_the_second_is_the_nearest_of_other_footage() -> None:
    random = torch.Generator().manual_seed(0)
    clips, own = (torch.rand(n, 4, 3, 16, 16, generator=random) * 2 - 1 for n in (5, 12))
    groups = torch.arange(12) % 4
    found = nearest(thumbnails(clips), thumbnails(own), groups)
    for index in range(len(clips)):
        table = distances(thumbnails(clips[index : index + 1]), thumbnails(own))[0].numpy()
        best = int(table.argmin())
        others = [i for i in range(12) if groups[i] != groups[best]]
        assert found.nearest[index] == best
        assert found.second[index] == min(others, key=lambda i: table[i])
        assert groups[found.second[index]] != groups[best]


def test_without_other_footage_the_second_is_the_nearest() -> None:
    random = torch.Generator().manual_seed(0)
    clips = thumbnails(torch.rand(3, 4, 3, 16, 16, generator=random))
    found = nearest(clips, clips, torch.zeros(3, dtype=torch.int64))
    assert (found.second == found.nearest).all()
    assert (found.ratio == 1).all()


def test_groups_are_numbers_equal_for_equal_owners() -> None:
    assert group_numbers(["b", "a", "b", "c", "a"]).tolist() == [0, 1, 0, 2, 1]


def test_what_is_found_does_not_depend_on_how_many_are_looked_at_at_once(
    training: tuple[Tensor, Tensor],
) -> None:
    clips = thumbnails(of_stage(6, 3, 2.0)).repeat(100, 1)  # more than are compared at once
    whole, few = nearest(clips, *training), nearest(clips[:3], *training)
    assert (whole.nearest == np.tile(few.nearest, 100)).all()
    np.testing.assert_allclose(whole.distance, np.tile(few.distance, 100), rtol=1e-5)


def test_variety_is_the_mean_distance_to_others_of_the_label() -> None:
    rows = torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0], [1.0, 1.0]])
    found = variety(rows, ["a", "a", "a", "b"])
    unit = 2**0.5  # of two features
    np.testing.assert_allclose(found, [7.5 / unit, 5 / unit, 7.5 / unit, np.nan])
    alike = variety(rows[:1].expand(3, -1), [""] * 3)
    np.testing.assert_allclose(alike, 0)
