"""A passage between two scenes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from muybridge.core.video import Frames
from muybridge.generation.dissolve import dissolved, unlike
from muybridge.objectives.base import SampleRequest


def scene(seed: int, count: int = 12) -> list[Frames]:
    """A thing that moves before a background of its own."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (8, 8, 3), np.uint8)
    back = np.kron(coarse, np.ones((8, 8, 1), np.uint8))
    frames = []
    for at in range(count):
        one = back.copy()
        one[20:34, 4 + 3 * at : 18 + 3 * at] = 255 - back[0, 0]
        frames.append(one)
    return frames


def test_two_scenes_are_told_from_one_that_goes_on() -> None:
    one, other = scene(1), scene(2)
    assert unlike(one, other, 8)
    assert not unlike(one[:6], one[6:], 8)
    assert unlike(one[:1], other[:1], 8)
    assert not unlike(one[:1], one[3:4], 8)


def request(mask: Tensor) -> SampleRequest:
    known = torch.rand(2, 10, 3, 4, 4) * mask
    times = torch.arange(10).expand(2, 10) / 8
    return SampleRequest(times, (4, 4), torch.arange(2), known=known, known_mask=mask)


def test_each_scene_goes_on_and_one_turns_into_the_other() -> None:
    asked: list[SampleRequest] = []

    def sample(one: SampleRequest) -> Tensor:
        """What knows the beginning is made dark, and what knows the end light."""
        asked.append(one)
        assert one.known is not None and one.known_mask is not None
        made = torch.full((2, 10, 3, 4, 4), -0.5 if bool(one.known_mask[0, 0].all()) else 0.5)
        return torch.where(one.known_mask > 0, one.known, made)

    mask = torch.zeros(2, 10, 1, 4, 4)
    mask[:, :3] = mask[:, 7:9] = 1  # the last frame lies beyond the end of what is made
    given = request(mask)
    made = dissolved(sample, given)
    assert len(asked) == 2
    assert [one.known_mask[0, :, 0, 0, 0].tolist() for one in asked if one.known_mask is not None] \
        == [[1] * 3 + [0] * 7, [0] * 7 + [1] * 2 + [0]]  # fmt: skip
    assert given.known is not None
    whole = mask.expand(-1, -1, 3, -1, -1) > 0
    assert torch.equal(made[whole], given.known[whole])
    passage = made[:, 3:7].flatten(2)
    torch.testing.assert_close(passage.mean((0, 2)), torch.tensor([-0.3, -0.1, 0.1, 0.3]))
    assert float(passage.std(2).max()) < 1e-6

    mask = torch.zeros(2, 10, 1, 4, 4)
    mask[:, :3] = 1
    asked.clear()
    only = dissolved(sample, request(mask))
    assert len(asked) == 1 and float(only[:, 3:].max()) == -0.5
