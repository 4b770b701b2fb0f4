"""Pieces with hand-written backward passes against their plain forms, left to autograd."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from muybridge.models import fused

Turn = tuple[Tensor, Tensor]


def plain_normal(x: Tensor) -> Tensor:
    spread = x.var(-1, unbiased=False, keepdim=True)
    return (x - x.mean(-1, keepdim=True)) / (spread + 1e-5).sqrt()


def plain_modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return plain_normal(x) * (1 + scale) + shift


def plain_attention(qk: Tensor, v: Tensor, turn: Turn, causal: bool = False) -> Tensor:
    # A pair of channels is a complex number, and a turn a product with another.
    turned = torch.complex(*plain_normal(qk).chunk(2, -1)) * torch.complex(*turn)
    q, k = torch.cat([turned.real, turned.imag], -1).unbind(2)
    logits = torch.einsum("bqhc,bkhc->bhqk", q, k) / q.shape[-1] ** 0.5
    if causal:
        later = torch.ones(logits.shape[-2:]).triu(1).bool()
        logits = logits.masked_fill(later, -torch.inf)
    return torch.einsum("bhqk,bkhc->bqhc", logits.softmax(-1), v).flatten(2)


def results(function: Callable[..., Tensor], *given: Tensor) -> list[Tensor]:
    """What it makes, and the gradients of a weighted sum of that."""
    leaves = [one.detach().clone().requires_grad_() for one in given]
    made = function(*leaves)
    weight = torch.randn(made.shape, generator=torch.Generator().manual_seed(9)).to(made.dtype)
    return [made.detach(), *torch.autograd.grad((made * weight).sum(), leaves)]


def assert_alike(made: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(made, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def assert_near(made: list[Tensor], expected: list[Tensor], error: float) -> None:
    """Each within a share of its own size."""
    for one, other in zip(made, expected, strict=True):
        assert float((one.double() - other).norm()) < error * float(other.norm())


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def turning(batch: int, tokens: int, pairs: int) -> Turn:
    angle = 3 * draw(batch, tokens, 1, 1, pairs, seed=5)
    return angle.cos(), angle.sin()


def drawn(batch: int, tokens: int, heads: int, channels: int) -> tuple[Tensor, Tensor]:
    """Queries and keys of another mean and spread than the normalised, and values."""
    qk = 2 * draw(batch, tokens, 2, heads, channels, seed=1) + 0.7
    return qk, draw(batch, tokens, heads, channels, seed=2)


@pytest.mark.parametrize(("batch", "tokens", "width"), [(1, 1, 4), (3, 7, 6), (2, 33, 48)])
@pytest.mark.parametrize("each", [False, True])
def test_modulate_equals_its_plain_form(batch: int, tokens: int, width: int, each: bool) -> None:
    given = [2 * draw(batch, tokens, width) + 0.5]
    given += [draw(batch, tokens if each else 1, width, seed=seed) for seed in (1, 2)]
    assert_alike(results(fused.modulate, *given), results(plain_modulate, *given))


def test_modulate_takes_parts_of_a_larger_tensor() -> None:
    # As a block does: six parts of one projection, and tokens behind the words.
    x, parts = draw(2, 9, 5), draw(2, 1, 15, seed=1)

    def parted(function: Callable[..., Tensor], x: Tensor, parts: Tensor) -> Tensor:
        _, shift, scale = parts.chunk(3, -1)
        return function(x[:, 3:], shift, scale)

    assert_alike(
        results(partial(parted, fused.modulate), x, parts),
        results(partial(parted, plain_modulate), x, parts),
    )


def test_squared_relu_equals_its_plain_form() -> None:
    given = torch.cat([draw(200), torch.zeros(3), torch.tensor([-1e3, 1e3])]).double()
    assert_alike(results(fused.squared_relu, given), results(lambda x: x.clamp(min=0) ** 2, given))


@pytest.mark.parametrize(
    ("batch", "tokens", "heads", "channels"),
    [(1, 1, 1, 2), (2, 5, 3, 4), (3, 17, 2, 8), (1, 40, 1, 64)],
)
@pytest.mark.parametrize("own_turns", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_equals_its_plain_form(
    batch: int, tokens: int, heads: int, channels: int, own_turns: bool, causal: bool
) -> None:
    qk, v = drawn(batch, tokens, heads, channels)
    turn = turning(batch if own_turns else 1, tokens, channels // 2)
    assert_alike(
        results(partial(fused.attention, turn=turn, causal=causal), qk, v),
        results(partial(plain_attention, turn=turn, causal=causal), qk, v),
    )


def test_attention_takes_parts_of_a_larger_tensor() -> None:
    whole = draw(2, 11, 3, 4, 6)
    turn = turning(1, 7, 3)

    def parted(attend: Callable[[Tensor, Tensor, Turn], Tensor], whole: Tensor) -> Tensor:
        inner = whole[:, 4:]
        return attend(inner[:, :, :2], inner[:, :, 2], turn).unflatten(-1, (4, 6)).transpose(1, 2)

    assert_alike(
        results(partial(parted, fused.attention), whole),
        results(partial(parted, plain_attention), whole),
    )


def test_gradients_of_a_plain_sum_are_taken() -> None:
    # Their memory is one number, spread over the shape.
    x, shift, scale = draw(2, 6, 4), draw(2, 1, 4, seed=1), draw(2, 1, 4, seed=2)
    qk, v = drawn(2, 6, 2, 4)
    turn = turning(1, 6, 2)
    pairs: list[tuple[Callable[..., Tensor], Callable[..., Tensor], list[Tensor]]] = [
        (fused.modulate, plain_modulate, [x, shift, scale]),
        (fused.squared_relu, lambda x: x.clamp(min=0) ** 2, [x]),
        (partial(fused.attention, turn=turn), partial(plain_attention, turn=turn), [qk, v]),
    ]
    for ours, plain, given in pairs:
        leaves = [one.requires_grad_() for one in given]
        assert_alike(
            list(torch.autograd.grad(ours(*leaves).sum(), leaves)),
            list(torch.autograd.grad(plain(*leaves).sum(), leaves)),
        )


@pytest.mark.parametrize("name", ["modulate", "squared_relu", "attention"])
def test_what_is_given_stays_and_can_be_gone_back_through_twice(name: str) -> None:
    qk, v = drawn(2, 5, 2, 4)
    given = {
        "modulate": [draw(2, 5, 4), draw(2, 1, 4, seed=1), draw(2, 1, 4, seed=2)],
        "squared_relu": [draw(2, 5, 4)],
        "attention": [qk, v],
    }[name]
    turn = turning(1, 5, 2)
    before = [one.clone() for one in (*given, *turn)]
    leaves = [one.requires_grad_() for one in given]
    made = getattr(fused, name)(*leaves, *([turn] if name == "attention" else []))
    gradient = draw(*made.shape, seed=3)
    kept = gradient.clone()
    first = torch.autograd.grad(made, leaves, gradient, retain_graph=True)
    second = torch.autograd.grad(made, leaves, gradient)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(gradient, kept)
    assert all(torch.equal(a, b) for a, b in zip((*given, *turn), before, strict=True))


@pytest.mark.parametrize("name", ["modulate", "squared_relu", "attention"])
def test_second_derivatives_are_right_or_refused(name: str) -> None:
    qk, v = drawn(1, 3, 1, 4)
    turn = turning(1, 3, 2)
    ours, plain, given = {
        "modulate": (fused.modulate, plain_modulate, [draw(1, 3, 4), *draw(2, 1, 1, 4, seed=1)]),
        "squared_relu": (fused.squared_relu, lambda x: x.clamp(min=0) ** 2, [draw(1, 3, 4)]),
        "attention": (
            partial(fused.attention, turn=turn),
            partial(plain_attention, turn=turn),
            [qk, v],
        ),
    }[name]

    def second(function: Callable[..., Tensor]) -> Tensor:
        leaves = [one.detach().clone().requires_grad_() for one in given]
        made = function(*leaves).square().sum()
        first = torch.autograd.grad(made, leaves, create_graph=True)
        steepness = torch.stack([one.square().sum() for one in first]).sum()
        return torch.autograd.grad(steepness, leaves)[0]

    expected = second(plain)
    try:
        made = second(ours)
    except RuntimeError:
        return
    torch.testing.assert_close(made, expected)


def test_turns_keep_length_and_only_their_differences_matter() -> None:
    qk, v = drawn(2, 9, 2, 8)
    angle, more = draw(1, 9, 1, 1, 4), draw(1, 1, 1, 1, 4, seed=3)
    turned = fused._turned(qk, angle.cos(), angle.sin())
    torch.testing.assert_close(turned.norm(dim=-1), qk.norm(dim=-1))
    made = fused.attention(qk, v, (angle.cos(), angle.sin()))
    later = angle + more
    torch.testing.assert_close(fused.attention(qk, v, (later.cos(), later.sin())), made)
    other = 2 * angle
    assert (fused.attention(qk, v, (other.cos(), other.sin())) - made).abs().max() > 1e-2


def test_turning_into_memory_equals_turning() -> None:
    qk, (cos, sin) = draw(2, 9, 2, 3, 8), turning(2, 9, 4)
    made = torch.full_like(qk, float("nan"))
    torch.testing.assert_close(fused._turn_into(made, qk, cos, sin), fused._turned(qk, cos, sin))


@pytest.mark.parametrize(("tokens", "torchs_own"), [(16, False), (17, True)])
@pytest.mark.parametrize("causal", [False, True])
def test_above_the_limit_torchs_own_attention_gives_the_same(
    tokens: int, torchs_own: bool, causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "_WHOLE_TABLE", 16)
    own, calls = torch.nn.functional.scaled_dot_product_attention, []

    def counted(*given: Tensor, **how: bool) -> Tensor:
        calls.append(given[0].shape)
        return own(*given, **how)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", counted)
    qk, v = drawn(2, tokens, 2, 8)
    turn = turning(2, tokens, 4)
    made = results(partial(fused.attention, turn=turn, causal=causal), qk, v)
    assert bool(calls) == torchs_own
    assert_alike(made, results(partial(plain_attention, turn=turn, causal=causal), qk, v))


def halved(values: tuple[Tensor, ...]) -> list[Tensor]:
    return [one.bfloat16() for one in values]


def doubled(values: list[Tensor]) -> list[Tensor]:
    """What bf16 could hold of them: so that only the computing differs."""
    return [one.double() for one in values]


def test_half_precision_is_near_full() -> None:
    modulating = halved((draw(2, 64, 48), draw(2, 1, 48, seed=1), draw(2, 1, 48, seed=2)))
    attending = halved(drawn(2, 64, 2, 32))
    half_turn = halved(turning(1, 64, 16))
    turn = (half_turn[0], half_turn[1])
    whole = (half_turn[0].double(), half_turn[1].double())
    pairs: list[tuple[Callable[..., Tensor], Callable[..., Tensor], list[Tensor]]] = [
        (fused.modulate, plain_modulate, modulating),
        (fused.squared_relu, lambda x: x.clamp(min=0) ** 2, modulating[:1]),
        (partial(fused.attention, turn=turn), partial(plain_attention, turn=whole), attending),
    ]
    for ours, plain, given in pairs:
        made = results(ours, *given)
        assert all(one.dtype == torch.bfloat16 for one in made)
        assert_near(made, results(plain, *doubled(given)), 0.02)


def test_sums_over_many_tokens_keep_their_precision_in_half() -> None:
    # Adding 4096 ones one by one in bf16 would stop at 256.
    x = draw(1, 4096, 8).bfloat16()
    shift, scale = torch.zeros(2, 1, 1, 8, dtype=torch.bfloat16).requires_grad_().unbind(0)
    (back,) = torch.autograd.grad(fused.modulate(x, shift, scale).sum(), shift)
    assert torch.equal(back, torch.full_like(back, 4096))


@pytest.mark.parametrize("channels", [64, 256])
def test_large_logits_do_not_overflow_in_half(channels: int) -> None:
    # All queries and keys point one way, so that each logit is as large as can be.
    qk = (1e4 * draw(1, 1, 1, 1, channels)).expand(2, 512, 2, 1, channels)
    v, turn = draw(2, 512, 1, channels, seed=1), (torch.ones(1, 1, 1, 1, 1), torch.zeros(1))
    half = (turn[0].bfloat16(), turn[1].bfloat16())
    made = results(partial(fused.attention, turn=half), *halved((qk, v)))
    assert all(one.isfinite().all() for one in made)
    mean = v.mean(1).flatten(1)[:, None].expand(-1, 512, -1)
    assert float((made[0].double() - mean).abs().max()) < 0.01


def test_sharp_attention_finds_its_key_in_half() -> None:
    # Each token's query and key are one direction, far from those of others.
    qk = torch.eye(64).view(1, 64, 1, 1, 64).expand(-1, -1, 2, -1, -1)
    v = torch.eye(64).view(1, 64, 1, 64)
    still = (torch.ones(1, 1, 1, 1, 1), torch.zeros(1, 1, 1, 1, 1))
    made = fused.attention(qk.bfloat16(), v.bfloat16(), (still[0].bfloat16(), still[1].bfloat16()))
    shares = made[0].float()
    assert torch.equal(shares.argmax(-1), torch.arange(64))
    torch.testing.assert_close(shares.sum(-1), torch.ones(64), atol=0.02, rtol=0)
