"""The transformer over tokens: what depends on what, and that its cache changes nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from muybridge.core.errors import RecipeError
from muybridge.models import fsq, text
from muybridge.models.token_transformer import Config, TokenTransformer, Vectors, build

GRID, VOCABULARY = (3, 2, 4), 12
SLOTS = math.prod(GRID)


def network(causal: bool = True, **settings: Any) -> TokenTransformer:
    torch.manual_seed(0)
    shape = {"width": 24, "depth": 2, "heads": 2, "vocabulary": VOCABULARY, "text": None}
    made = build(Config(causal=causal, **(shape | settings)))
    # adaLN-zero makes a fresh network blind; tests are about a trained one.
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


def speaking(causal: bool = True) -> TokenTransformer:
    return network(causal, labels=3, text=text.Config(width=8, depth=1, length=5))


def tokens(batch: int = 2, grid: tuple[int, int, int] = GRID) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    times = (torch.arange(grid[0]) / 2).expand(batch, -1)
    return torch.randint(VOCABULARY, (batch, *grid)), times


def said(batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(2)
    mask = torch.arange(5).expand(batch, -1) < 3
    return torch.arange(batch) % 3, torch.randn(batch, 5, 8), mask


@pytest.mark.parametrize("causal", [True, False])
def test_a_fresh_network_thinks_all_tokens_equally_likely(causal: bool) -> None:
    fresh = build(Config(causal=causal, vocabulary=VOCABULARY, labels=2, text=None))
    assert not fresh(*tokens(), torch.tensor([0, 1])).any()


@pytest.mark.parametrize("slot", range(0, SLOTS, 5))
def test_a_later_token_leaves_earlier_logits_as_they_were_and_changes_later_ones(slot: int) -> None:
    made, (given, times) = speaking(), tokens()
    before = made(given, times, *said()).flatten(1, 3)
    given = given.clone()
    given.view(2, -1)[:, slot] += 1
    after = made(given % VOCABULARY, times, *said()).flatten(1, 3)
    assert torch.equal(after[:, : slot + 1], before[:, : slot + 1])
    later = (after - before)[:, slot + 1 :].abs().amax(2)
    assert later.numel() == 0 or later.min() > 1e-6


def test_without_causality_every_token_is_seen_from_everywhere() -> None:
    made, (given, times) = network(causal=False), tokens()
    before = made(given, times)
    for slot in (0, SLOTS - 1):
        other = given.clone()
        other.view(2, -1)[:, slot] = VOCABULARY  # hidden
        assert (made(other, times) - before).abs().amax(-1).min() > 1e-6


def test_a_token_is_shown_as_those_before_above_and_back_of_it() -> None:
    given, _ = tokens()
    before, above, back = network()._around(given)
    (_, h, w), none = GRID, VOCABULARY
    for slot in range(SLOTS):
        step, row, column = slot // (h * w), slot // w % h, slot % w
        flat = given.flatten(1)
        expected = (
            flat[:, slot - 1] if slot else torch.full((2,), none),
            given[:, step, row - 1, column] if row else torch.full((2,), none),
            given[:, step - 1, row, column] if step else torch.full((2,), none),
        )
        for found, right in zip((before, above, back), expected, strict=True):
            assert torch.equal(found[:, slot], right)


def test_without_causality_a_token_is_shown_as_itself_and_all_beside_it() -> None:
    given, _ = tokens()
    padded = torch.full((2, *(side + 2 for side in GRID)), VOCABULARY)
    padded[:, 1:-1, 1:-1, 1:-1] = given
    t, h, w = GRID
    found = {tuple(one.flatten().tolist()) for one in network(causal=False)._around(given)}
    steps = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 0, 0), (0, -1, 0), (0, 0, -1)]
    expected = {
        tuple(padded[:, 1 + a : 1 + a + t, 1 + b : 1 + b + h, 1 + c : 1 + c + w].flatten().tolist())
        for a, b, c in steps
    }
    assert found == expected
    assert len(found) == 7


@pytest.mark.parametrize("begin", [0, 1, 8, 13])
def test_the_cache_changes_nothing(begin: int) -> None:
    made, (given, times) = speaking(), tokens()
    with torch.no_grad():
        whole = made(given, times, *said()).flatten(1, 3)
        cache = made.cache(GRID, times, *said())
        unknown = given.clone()
        unknown.view(2, -1)[:, begin:] = 0  # what is not made yet is not looked at
        for slot in range(begin, SLOTS):
            found = made.next(unknown, slot, cache)
            torch.testing.assert_close(found, whole[:, slot], atol=2e-5, rtol=1e-5)
            unknown.view(2, -1)[:, slot] = given.view(2, -1)[:, slot]


def test_the_cache_is_near_the_whole_in_half_precision() -> None:
    made, (given, times) = network(), tokens()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        whole = made(given, times).flatten(1, 3).float()
        cache = made.cache(GRID, times)
        found = torch.stack([made.next(given, slot, cache).float() for slot in range(SLOTS)], 1)
    assert (found - whole).norm() < 0.02 * whole.norm()


def test_a_slot_that_does_not_follow_the_cache_is_refused() -> None:
    made, (given, times) = network(), tokens()
    cache = made.cache(GRID, times)
    made.next(given, 3, cache)
    with pytest.raises(ValueError, match="slot 5 does not follow"):
        made.next(given, 5, cache)


@pytest.mark.parametrize("causal", [True, False])
def test_label_and_text_matter_from_the_first_token_on(causal: bool) -> None:
    made, (given, times), (label, words, mask) = speaking(causal), tokens(), said()
    usual = made(given, times, label, words, mask)
    for other in ((label + 1, words, mask), (label, -words, mask), (label, words, ~mask)):
        assert (made(given, times, *other) - usual).abs().amax(-1).min() > 1e-6
    unsaid = torch.full_like(label, 3)
    silent = made(given, times, unsaid, words, torch.zeros_like(mask))
    torch.testing.assert_close(made(given, times), silent)


@pytest.mark.parametrize("causal", [True, False])
def test_clips_of_a_batch_do_not_see_each_other(causal: bool) -> None:
    made, (given, times) = speaking(causal), tokens(3)
    whole = made(given, times, *said(3))
    part = made(given[1:2], times[1:2], *(one[1:2] for one in said(3)))
    torch.testing.assert_close(whole[1:2], part, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("grid", [(5, 2, 4), (3, 4, 4), (1, 1, 1)])
def test_longer_and_larger_clips_than_trained_on_are_taken(
    causal: bool, grid: tuple[int, int, int]
) -> None:
    assert network(causal)(*tokens(1, grid)).shape == (1, *grid, VOCABULARY)


def test_time_is_told_in_seconds() -> None:
    given, times = tokens()
    made = network()
    assert (made(given, times) - made(given, 2 * times)).abs().max() > 1e-4


def test_a_tokens_vector_is_its_own_and_one_for_each_number_it_stands_for() -> None:
    levels = (3, 2, 2)
    made = Vectors(Config(vocabulary=12, levels=levels, width=6, heads=1))
    digits = fsq.Levels(levels).digits(torch.arange(12).view(1, 1, 1, 12))[0, 0, :, 0]  # (3, 12)
    found = made()
    for token in range(12):
        expected = made.own[token].clone()
        for place, steps in enumerate(levels):
            step = round(float((digits[place, token] + 1) / 2 * (steps - 1)))
            expected = expected + made.shared[sum(levels[:place]) + step]
        torch.testing.assert_close(found[token], expected)
    torch.testing.assert_close(found[12], made.own[12])  # none is like no other


def test_half_precision_is_near_full() -> None:
    for causal in (True, False):
        made, (given, times), found = speaking(causal), tokens(), []
        for half in (False, True):
            made.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                logits = made(given, times, *said())
            logits.float().square().mean().backward()
            gradient = torch.cat(
                [p.grad.flatten() for p in made.parameters() if p.grad is not None]
            )
            found.append((logits.float(), gradient))
        for full, near in zip(*found, strict=True):
            assert (full - near).norm() < 0.05 * full.norm()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 30, "heads": 4}, "width 30 is not a multiple"),
        ({"vocabulary": 10, "levels": [3, 4]}, "do not make 10 tokens"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Config().with_values(**settings)


def test_matrices_of_layers_are_found_by_the_optimizer() -> None:
    names = [n for n, p in network().named_parameters() if p.ndim == 2 and "blocks" in n.split(".")]
    assert {name.split(".")[2] for name in names} == {"modulation", "qk", "v", "out", "up", "down"}


@pytest.mark.parametrize("causal", [True, False])
def test_dropout_leaves_out_in_training_alone(causal: bool) -> None:
    made, (given, times) = network(causal, dropout=0.5), tokens()
    assert torch.equal(made(given, times), made(given, times))
    made.train()
    assert not torch.equal(made(given, times), made(given, times))
