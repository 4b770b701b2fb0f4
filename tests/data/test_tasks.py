"""Which pixels of training clips are given."""

from __future__ import annotations

import pydantic
import pytest
import torch

from muybridge.core import chance
from muybridge.core.errors import RecipeError
from muybridge.data import tasks

FRAMES, SIZE = 16, (24, 32)


def masks(count: int = 400, **shares: float) -> torch.Tensor:
    seeds = torch.tensor([chance.mix(3, i) for i in range(count)])
    found = tasks.mask(seeds, FRAMES, SIZE, tasks.Config(**shares))
    assert found is not None
    assert found.shape == (count, FRAMES, 1, *SIZE)
    assert set(found.unique().tolist()) <= {0.0, 1.0}
    return found


def frames(found: torch.Tensor) -> list[list[int]]:
    """Places of the frames that are known, of clips of which whole frames are."""
    assert torch.equal(found.amin((3, 4)), found.amax((3, 4)))
    return [one[:, 0, 0, 0].nonzero().flatten().tolist() for one in found]


def test_each_kind_gives_what_its_name_says() -> None:
    assert frames(masks(20, prefix=1.0)) == [[0, 1, 2, 3]] * 20
    assert frames(masks(20, image=1.0)) == [[0]] * 20
    assert frames(masks(20, ends=1.0)) == [[0, 15]] * 20
    counts = [len(one) for one in frames(masks(prefix=1.0, given=6, vary=True))]
    assert set(counts) == {1, 2, 3, 4, 5, 6}
    some = frames(masks(some=1.0))
    evenly = [list(range(0, 16, step)) for step in (2, 4, 8)]
    assert 0.4 < sum(one in evenly for one in some) / 400 < 0.6
    assert {len(one) for one in some if one not in evenly} <= {1, 2, 3, 4}
    assert {place for one in some for place in one} == set(range(16))


def test_a_region_is_a_rectangle_of_all_frames_or_all_but_one() -> None:
    found = masks(region=1.0)
    assert torch.equal(found.amin(1), found.amax(1))
    inside = 0
    for one in found[:, 0, 0]:
        edge = torch.cat([one[0], one[-1], one[:, 0], one[:, -1]]).mean()
        filled = 1 - one if edge > 0.5 else one
        rows, columns = filled.amax(1), filled.amax(0)
        assert torch.equal(filled, rows[:, None] * columns)
        assert 0.02 < float(filled.mean()) < 0.6
        inside += int(edge <= 0.5)
    assert 120 < inside < 280


def test_with_vary_several_frames_of_both_ends_are_given() -> None:
    found = frames(masks(ends=1.0, given=6, vary=True))
    counts = [len(one) // 2 for one in found]
    assert set(counts) == {1, 2, 3}
    for count, one in zip(counts, found, strict=True):
        assert one == [*range(count), *range(FRAMES - count, FRAMES)]


def test_with_vary_half_of_the_regions_have_first_frames_too() -> None:
    found = masks(region=1.0, given=6, vary=True)
    begun = [one for one in found if bool(one[0].all())]
    assert 160 < len(begun) < 240
    for one in begun:
        count = int(one.flatten(1).all(1).sum())
        assert 1 <= count <= 6
        assert torch.equal(one[count:].amin(0), one[count:].amax(0))


def test_shares_are_kept_and_of_the_rest_nothing_is_given() -> None:
    found = masks(1000, prefix=0.3, image=0.2, ends=0.1)
    kinds = [tuple(one) for one in frames(found)]
    for wanted, share in (((0, 1, 2, 3), 0.3), ((0,), 0.2), ((0, 15), 0.1), ((), 0.4)):
        assert kinds.count(wanted) / 1000 == pytest.approx(share, abs=0.05)
    seeds = torch.tensor([1])
    assert tasks.mask(seeds, FRAMES, SIZE, tasks.Config(sketch=0.5)) is None


def test_a_clips_mask_is_its_seeds_own() -> None:
    shares = {"prefix": 0.2, "some": 0.3, "region": 0.3}
    assert torch.equal(masks(40, **shares)[:10], masks(10, **shares))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(pydantic.ValidationError, match="more than all clips"):
        tasks.Config(prefix=0.6, image=0.5)
    with pytest.raises(RecipeError, match="none is left to be made"):
        masks(2, prefix=1.0, given=16)


def test_a_network_must_look_at_what_is_given() -> None:
    assert tasks.Config().guides == ()
    assert tasks.Config(ends=0.1).guides == ("known",)
    assert tasks.Config(ends=0.1, sketch=0.1, video=0.5).guides == ("known", "sketch", "video")
