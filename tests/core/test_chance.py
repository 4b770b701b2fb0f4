from __future__ import annotations

import itertools
import random as chances
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from muybridge.core import chance

SEEDS = st.integers(0, 2**63 - 1)
USES = st.sampled_from(["noise", "time", "start", "flip"])
PARTS = st.lists(SEEDS | st.text(max_size=5), max_size=4)


@given(PARTS)
def test_mixing_gives_63_bits_always_the_same(parts: list[int | str]) -> None:
    made = chance.mix(*parts)
    assert 0 <= made < 2**63
    assert made == chance.mix(*parts)


def test_mixing_sees_order_place_and_kind() -> None:
    sets: list[tuple[int | str, ...]] = [
        (), (0,), (0, 0), (1,), (1, 0), (0, 1), (2**62,), (-1,), ("a",), ("b",), ("ab",),
        ("a", "b"), ("b", "a"), (1, "a"), ("a", 1), ("1",),
    ]  # fmt: skip
    made = [chance.mix(*parts) for parts in sets]
    assert len(set(made)) == len(made)


def test_mixing_spreads_neighbours() -> None:
    made = [chance.mix(seed, "clip", place) for seed in range(40) for place in range(500)]
    assert len(set(made)) == len(made)
    bits = np.array([[value >> bit & 1 for bit in range(63)] for value in made])
    # Each bit is set half of the time, within five standard errors; and so is each change of it.
    error = 5 * 0.5 / len(made) ** 0.5
    assert np.abs(bits.mean(0) - 0.5).max() < error
    assert np.abs((bits[1:] ^ bits[:-1]).mean(0) - 0.5).max() < error


def test_the_same_seed_draws_the_same() -> None:
    seeds = torch.arange(5)
    assert torch.equal(chance.uniform(seeds, "time"), chance.uniform(seeds, "time"))
    assert torch.equal(chance.normal(seeds, (2, 3), "n"), chance.normal(seeds, (2, 3), "n"))
    assert not torch.equal(chance.uniform(seeds, "time"), chance.uniform(seeds, "drop"))
    assert not torch.equal(chance.normal(seeds, (2, 3), "n"), chance.normal(seeds, (2, 3), "m"))


def test_no_draw_moves_the_chance_of_others() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    chance.normal(torch.arange(3), (4,), "noise")
    chance.uniform(torch.arange(3), "time")
    chance.permutation(9, 1)
    assert torch.equal(torch.get_rng_state(), before)
    first = chance.normal(torch.arange(3), (4,), "noise")
    torch.manual_seed(4)
    assert torch.equal(chance.normal(torch.arange(3), (4,), "noise"), first)


@given(st.lists(SEEDS, min_size=1, max_size=6), USES, st.randoms(use_true_random=False))
def test_a_draw_depends_on_its_own_seed_alone(
    seeds: list[int], use: str, random: chances.Random
) -> None:
    order = list(range(len(seeds)))
    random.shuffle(order)
    batch, shuffled = torch.tensor(seeds), torch.tensor([seeds[i] for i in order])
    draws: list[Callable[[Tensor], Tensor]] = [
        lambda seeds: chance.uniform(seeds, use),
        lambda seeds: chance.normal(seeds, (2, 3), use),
    ]
    for draw in draws:
        together = draw(batch)
        assert torch.equal(draw(shuffled), together[order])
        for index in range(len(seeds)):
            assert torch.equal(draw(batch[index : index + 1])[0], together[index])


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize(("clips", "shape"), [(1, (3,)), (3, (40_000,)), (64, (7, 11))])
def test_threads_do_not_change_a_draw(
    clips: int, shape: tuple[int, ...], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = torch.arange(clips) * 31 + 2**40
    expected = []
    for seed in seeds.tolist():
        own = torch.Generator().manual_seed(chance.mix(seed, "noise"))
        expected.append(torch.empty(shape).normal_(generator=own))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    for _ in range(3):
        assert torch.equal(chance.normal(seeds, shape, "noise"), torch.stack(expected))


def test_no_seeds_draw_nothing() -> None:
    none = torch.arange(0)
    assert chance.normal(none, (2, 3), "noise").shape == (0, 2, 3)
    assert chance.uniform(none, "time").shape == (0,)


def test_noise_is_drawn_the_same_in_inference() -> None:
    expected = chance.normal(torch.arange(3), (4,), "noise")
    with torch.inference_mode():
        assert torch.equal(chance.normal(torch.arange(3), (4,), "noise"), expected)


def test_uniform_numbers_are_uniform() -> None:
    draws = chance.uniform(torch.arange(20_000), "time")
    assert draws.shape == (20_000,) and draws.dtype == torch.float32
    assert float(draws.min()) > 0 and float(draws.max()) < 1
    numbers = np.sort(draws.double().numpy())
    assert numbers.mean() == pytest.approx(0.5, abs=5 * (1 / 12 / 20_000) ** 0.5)
    assert numbers.var() == pytest.approx(1 / 12, abs=5 * (1 / 180 / 20_000) ** 0.5)
    # Kolmogorov and Smirnov: 1.95 / sqrt(n) is passed once in a thousand.
    assert np.abs(numbers - (np.arange(20_000) + 0.5) / 20_000).max() < 1.95 / 20_000**0.5
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 5 / 20_000**0.5


def test_uniform_numbers_are_never_0_or_1(monkeypatch: pytest.MonkeyPatch) -> None:
    for extreme in (0, 2**63 - 1):
        monkeypatch.setattr(chance, "mix", lambda *_, value=extreme: value)
        assert 0 < float(chance.uniform(torch.tensor([1]), "time")) < 1


@pytest.mark.parametrize(("clips", "shape"), [(4, (10_000,)), (4000, (2, 5))])
def test_normal_numbers_are_normal(clips: int, shape: tuple[int, ...]) -> None:
    draws = chance.normal(torch.arange(clips), shape, "noise")
    assert draws.shape == (clips, *shape) and draws.dtype == torch.float32
    numbers = draws.double().numpy().ravel()
    count = len(numbers)
    moments = [numbers.mean(), (numbers**2).mean(), (numbers**3).mean(), (numbers**4).mean()]
    # Standard errors of the first four moments of a normal: sqrt of 1, 2, 15 and 96 over n.
    for moment, true, spread in zip(moments, (0, 1, 0, 3), (1, 2, 15, 96), strict=True):
        assert moment == pytest.approx(true, abs=5 * (spread / count) ** 0.5)


def test_noise_of_different_clips_is_unlike() -> None:
    draws = chance.normal(torch.arange(20), (2000,), "noise").numpy()
    alike = np.corrcoef(draws) - np.eye(20)
    assert np.abs(alike).max() < 5 / 2000**0.5


@given(st.integers(0, 60), PARTS)
def test_a_permutation_holds_each_number_once(count: int, parts: list[int | str]) -> None:
    made = chance.permutation(count, *parts)
    assert made.dtype == torch.int64
    assert sorted(made.tolist()) == list(range(count))
    assert torch.equal(made, chance.permutation(count, *parts))


def test_permutations_are_many() -> None:
    made = [tuple(chance.permutation(4, 7, "epoch", epoch).tolist()) for epoch in range(2400)]
    counts = [made.count(order) for order in itertools.permutations(range(4))]
    # All 24 orders, each about 100 times: chi squared of 23 degrees passes 50 once in a thousand.
    assert sum((count - 100) ** 2 / 100 for count in counts) < 50
