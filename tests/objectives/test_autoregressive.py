"""Tokens one by one: the loss against torch's own, and clips made with and without the cache."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from muybridge.core import chance
from muybridge.core.clips import Batch
from muybridge.core.errors import RecipeError
from muybridge.models import fsq, token_transformer
from muybridge.objectives import tokens as base
from muybridge.objectives.autoregressive import Autoregressive, Config, Sampling
from muybridge.objectives.base import Parts, SampleRequest

VOCABULARY, GRID = 12, (2, 2, 3)


class Paint(nn.Module):
    """A tokenizer: each token is one brightness of 2 frames of 4 x 4 pixels."""

    stride, channels, vocabulary, levels = (2, 4, 4), 1, VOCABULARY, fsq.Levels((VOCABULARY,))

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.seen: list[tuple[int, ...]] = []

    def tokens(self, clips: Tensor) -> Tensor:
        self.seen.append(tuple(clips.shape))
        return self.levels.numbers(clips[:, ::2, :1, ::4, ::4])

    def from_tokens(self, tokens: Tensor) -> Tensor:
        digits = self.levels.digits(tokens) * self.weight
        for dim, times in ((1, 2), (2, 3), (3, 4), (4, 4)):
            digits = digits.repeat_interleave(times, dim)
        return digits


class Words(nn.Module):
    """A text encoder of one feature: the length of the caption."""

    def tokenize(self, captions: tuple[str, ...]) -> tuple[Tensor, Tensor]:
        lengths = torch.tensor([[len(c)] for c in captions])
        return lengths, lengths > 0

    def forward(self, lengths: Tensor, mask: Tensor) -> Tensor:
        return lengths[..., None].float()


def network(causal: bool = True, **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    shape = {"width": 32, "depth": 2, "heads": 2, "vocabulary": VOCABULARY, "text": None}
    made = token_transformer.build(token_transformer.Config(causal=causal, **(shape | settings)))
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.2)
    return made


def objective(
    made: nn.Module | None = None, sampling: dict[str, Any] | None = None, **settings: float
) -> Autoregressive:
    parts = Parts(made or network(labels=3), None, [0], [1], Sampling(**sampling or {}), Paint())
    return Autoregressive(Config(**settings), parts)


def batch(count: int = 4, frames: int = 4, given: int = 0, **more: Any) -> Batch:
    torch.manual_seed(1)
    clips = Paint().from_tokens(torch.randint(VOCABULARY, (count, frames // 2, 2, 3)))
    if given:
        mask = (torch.arange(frames) < given).float().view(1, -1, 1, 1, 1)
        mask = mask * (torch.arange(count) % 2).view(-1, 1, 1, 1, 1)  # of every second clip
        more |= {"known": clips, "known_mask": mask}
    return Batch(
        clips=clips,
        times=torch.arange(frames).expand(count, -1) / 8,
        frame_weight=torch.ones(count, frames),
        seeds=torch.tensor([chance.mix(7, i) for i in range(count)]),
        **more,
    )


def request(count: int = 4, frames: int = 4, **more: Any) -> SampleRequest:
    seeds = torch.tensor([chance.mix(1, i) for i in range(count)])
    return SampleRequest(torch.arange(frames).expand(count, -1) / 8, (8, 12), seeds, **more)


def plain(made: Autoregressive, data: Batch) -> Tensor:
    """Cross-entropy of each token by torch's own function."""
    tokens = made.tokenizer.tokens(data.clips)
    logits = made.generator["network"](tokens, data.times.view(len(data), -1, 2).mean(2))
    return F.cross_entropy(logits.movedim(-1, 1), tokens, reduction="none")


def test_loss_is_the_cross_entropy_in_nats_a_token() -> None:
    made, data = objective(replaced=0), batch()
    with torch.no_grad():
        sums = made.loss(data, "generator", 0).sums["tokens"]
        expected = plain(made, data)
    torch.testing.assert_close(sums, expected.flatten(1).sum(1))
    assert made.weights(data, "generator")["tokens"].tolist() == [12.0] * 4
    loss, more = made.held_out(data)
    assert loss == pytest.approx(float(expected.mean()), rel=1e-5)
    assert more["perplexity"] == pytest.approx(float(expected.mean().exp()), rel=1e-5)


def test_accuracy_is_the_share_of_tokens_thought_likeliest() -> None:
    class Knowing(nn.Module):
        config = SimpleNamespace(labels=0, causal=True, frames=0)

        def forward(self, tokens: Tensor, *rest: object) -> Tensor:
            right = F.one_hot(tokens, VOCABULARY).float()
            right[:, 0, 0] = 0  # half of the first step is not known, and token 0 is guessed
            return right

    data = batch(200)
    unlucky = (Paint().tokens(data.clips)[:, 0, 0] > 0).float().mean() / 4
    found = objective(Knowing()).held_out(data)[1]["accuracy"]
    assert found == pytest.approx(1 - float(unlucky), abs=1e-6)


def test_a_token_counts_as_the_mean_of_its_frames() -> None:
    made, data = objective(replaced=0), batch()
    data.frame_weight[:, 1], data.frame_weight[:, 2:] = 0, 0
    with torch.no_grad():
        sums = made.loss(data, "generator", 0).sums["tokens"]
        torch.testing.assert_close(sums, plain(made, data)[:, 0].flatten(1).sum(1) / 2)
    assert made.weights(data, "generator")["tokens"].tolist() == [3.0] * 4


def test_label_smoothing_spreads_a_share_of_the_target() -> None:
    made, data = objective(replaced=0, label_smoothing=0.3), batch()
    tokens = made.tokenizer.tokens(data.clips)
    logits = made.generator["network"](tokens, data.times.view(4, -1, 2).mean(2))
    likely = logits.log_softmax(-1)
    target = 0.7 * F.one_hot(tokens, VOCABULARY) + 0.3 / VOCABULARY
    expected = -(target * likely).flatten(1).sum(1)
    torch.testing.assert_close(made.loss(data, "generator", 0).sums["tokens"], expected)


def test_given_tokens_are_encoded_by_themselves_and_carry_no_loss() -> None:
    made, data = objective(replaced=0), batch(given=2)
    with torch.no_grad():
        sums = made.loss(data, "generator", 0).sums["tokens"]
        expected = plain(made, data)
    expected[1::2, 0] = 0
    torch.testing.assert_close(sums, expected.flatten(1).sum(1))
    assert made.weights(data, "generator")["tokens"].tolist() == [12.0, 6.0, 12.0, 6.0]
    assert (2, 2, 3, 8, 12) in made.latents.module.seen  # type: ignore[operator]


def test_latents_that_come_with_a_batch_are_taken() -> None:
    made, data = objective(), batch()
    expected = made.loss(data, "generator", 0).sums["tokens"]
    kept = Batch(**(vars(data) | {"latents": data.clips[:, ::2, :1, ::4, ::4]}))
    made.latents.module.tokens = None  # type: ignore[assignment]
    torch.testing.assert_close(made.loss(kept, "generator", 0).sums["tokens"], expected)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([1, 1, 1, 0], "data.tasks.given = 3: given frames fill whole tokens of 2 frames"),
        ([0, 0, 1, 1], "not the first"),
    ],
)
def test_what_is_given_fills_whole_tokens_from_the_first(mask: list[int], message: str) -> None:
    data = batch(2)
    shown = torch.tensor(mask).float().view(1, -1, 1, 1, 1).expand(2, -1, -1, -1, -1)
    known = {"known": data.clips, "known_mask": shown}
    for given in (Batch(**(vars(data) | known)), request(2, **known)):
        with pytest.raises(RecipeError, match=message):
            objective().given(given)


def test_a_share_of_the_tokens_shown_is_replaced_and_none_that_is_given() -> None:
    made, data = objective(replaced=0.3), batch(400, given=2)
    tokens = made.tokenizer.tokens(data.clips)
    changed = made._replaced(data, tokens) != tokens
    share = 0.3 * (1 - 1 / VOCABULARY)  # some are replaced by what they are
    assert float(changed[:, 1].float().mean()) == pytest.approx(share, abs=0.03)
    assert not changed[1::2, 0].any()
    others = made._replaced(data, tokens)[changed]
    assert torch.bincount(others, minlength=VOCABULARY).min() > 0.7 * len(others) / VOCABULARY


def test_chance_belongs_to_the_clip_not_to_its_neighbours() -> None:
    made, data = objective(replaced=0.5, drop=0.3), batch(6, label=torch.arange(6) % 3)
    whole = made.loss(data, "generator", 0).sums["tokens"]
    parts = [made.loss(data.part(i, i + 2), "generator", 0).sums["tokens"] for i in (0, 2, 4)]
    torch.testing.assert_close(torch.cat(parts), whole)
    assert not torch.allclose(whole, objective(replaced=0).loss(data, "x", 0).sums["tokens"])


def test_the_tokenizer_is_no_part_of_the_state() -> None:
    made = objective()
    assert all(name.startswith("generator.network.") for name in made.state_dict())
    assert not any(p.requires_grad for p in made.latents.module.parameters())
    assert list(made.phases()[0].parameters) == [n for n, _ in made.generator.named_parameters()]


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(RecipeError, match="tokenizer is not set"):
        Autoregressive(Config(), Parts(network(), None, [0], [1], Sampling()))
    with pytest.raises(RecipeError, match="latents are no tokens"):
        Autoregressive(Config(), Parts(network(), None, [0], [1], Sampling(), nn.Identity()))
    with pytest.raises(RecipeError, match=r"model\.causal = false"):
        objective(network(causal=False))


# --- making clips --------------------------------------------------------------------------------


def without_cache(made: Autoregressive, asked: SampleRequest, scale: float) -> Tensor:
    """Tokens drawn by computing all of the clip again for each."""
    (t, h, w), count = GRID, len(asked)
    tokens = torch.zeros(count, t * h * w, dtype=torch.long)
    times, net = asked.times.view(count, t, -1).mean(2), made.generator["network"]
    for slot in range(t * h * w):
        step, place = divmod(slot, h * w)
        noise = base.races(asked.seeds, (h * w, VOCABULARY), f"tokens {step}")
        told = net(tokens.view(count, t, h, w), times, asked.label)
        untold = net(tokens.view(count, t, h, w), times)
        logits = (untold + scale * (told - untold)).flatten(1, 3)[:, slot]
        tokens[:, slot] = base.draw(logits, noise[:, place], made.sampling)
    return made.tokenizer.from_tokens(tokens.view(count, t, h, w))


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_the_cache_gives_the_same_clips_token_for_token(scale: float, half: bool) -> None:
    made = objective(sampling={"temperature": 2.0, "top_p": 0.9})
    asked = request(8, label=torch.arange(8) % 3, guidance=scale)
    with torch.no_grad():
        expected = without_cache(made, asked, scale)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            assert torch.equal(made.sample(asked), expected)
    assert len(expected.unique()) > VOCABULARY // 2


def test_a_few_clips_are_learned_by_heart() -> None:
    made = objective(network(labels=4), {"guidance": 1.0, "top_p": 0.05}, replaced=0, drop=0)
    data = batch(4, label=torch.arange(4))
    steps = torch.optim.Adam(made.parameters(), lr=0.01)
    for _ in range(60):
        steps.zero_grad()
        made.loss(data, "generator", 0).sums["tokens"].mean().backward()
        steps.step()
    with torch.no_grad():
        assert torch.equal(made.sample(request(4, label=torch.arange(4))), data.clips)


def test_guidance_of_one_equals_none_and_another_shows_both_branches() -> None:
    made, rows = objective(), []
    net = made.generator["network"]
    net.blocks[0].register_forward_hook(lambda _, given, __: rows.append(len(given[0])))  # type: ignore[union-attr, index]
    label = torch.tensor([0, 1, 2])
    with torch.no_grad():
        plain_ = made.sample(request(3, label=label, guidance=1.0))
        assert set(rows) == {3}
        rows.clear()
        made.sample(request(3, label=label, guidance=2.0))
        assert set(rows) == {6}
        assert len(rows) == 12  # a call for each token
        # Where both branches are the same, guidance is nothing.
        nn.init.constant_(net.label.weight, 0.1)  # type: ignore[union-attr, arg-type]
        one, other = (made.sample(request(3, label=label, guidance=g)) for g in (1.0, 4.0))
    assert torch.equal(one, other)
    assert not torch.equal(one, plain_)


def test_text_is_read_and_hidden() -> None:
    torch.manual_seed(0)
    settings = token_transformer.text_module.Config(width=1, length=1)
    parts = Parts(network(text=settings), Words(), [0], [1], Sampling(), Paint())
    made = Autoregressive(Config(drop=0), parts)
    short, long = (made.loss(batch(4, text=(t,) * 4), "generator", 0) for t in ("a", "a ball"))
    assert (short.sums["tokens"] - long.sums["tokens"]).abs().min() > 1e-4
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert made.sample(request(2, text=("a", "a ball"), guidance=3.0)).shape == (2, 4, 3, 8, 12)


def test_a_sample_depends_on_its_own_seed_alone() -> None:
    made, asked = objective(), request(3, label=torch.arange(3))
    with torch.no_grad():
        whole = made.sample(asked)
        assert torch.equal(made.sample(asked.part(2, 3)), whole[2:])
    assert not torch.equal(whole[0], whole[1])


def test_what_is_given_comes_back_and_is_gone_on_from() -> None:
    made, data = objective(), batch(4, given=2)
    noisy = data.clips + 0.01 * torch.randn_like(data.clips)  # no token can say it
    known = {"known": noisy, "known_mask": data.known_mask}
    with torch.no_grad():
        made_, free = made.sample(request(4, **known)), made.sample(request(4))
    assert torch.equal(made_[1::2, :2], noisy[1::2, :2])
    assert torch.equal(made_[::2], free[::2])  # of these nothing was given
    assert not torch.equal(made_[1::2, 2:], free[1::2, 2:])


def test_longer_clips_go_on_from_a_window_that_slides() -> None:
    made = objective(network(labels=3, frames=4))
    seen: list[Tensor] = []
    told = made.generator["network"].told
    made.generator["network"].told = lambda grid, times, *rest: (  # type: ignore[assignment]
        seen.append(times) or told(grid, times, *rest)  # type: ignore[operator, func-returns-value]
    )
    with torch.no_grad():
        short, long = made.sample(request(2)), made.sample(request(2, frames=8))
        assert torch.equal(long[:, :4], short)
        # Each window begins at the moment that clips began at in training.
        assert len(seen) == 1 + 3
        assert all(torch.equal(times, seen[0]) for times in seen)
        # The third step of tokens is made from the second alone, as if that came first.
        tokens = made.tokenizer.tokens(long)
        begun = tokens.clone()
        begun[:, 2:] = base.OPEN
        asked = SampleRequest(seen[0], (8, 12), request(2).seeds)
        again = made.filled(begun[:, 1:3], asked, made._guided(asked), 1)
    assert torch.equal(again, tokens[:, 1:3])


# --- draws ---------------------------------------------------------------------------------------


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0]).log_softmax(0)
    noise = base.races(torch.arange(50), (400, 4), "draws")
    assert float(noise.mean()) == pytest.approx(2, abs=0.05)
    for temperature in (1.0, 0.5, 2.0):
        found = base.draw(
            logits.expand(50, 400, 4), noise, Sampling(temperature=temperature, top_p=1)
        )
        shares = torch.bincount(found.flatten(), minlength=4) / found.numel()
        torch.testing.assert_close(shares, (logits / temperature).softmax(0), atol=0.01, rtol=0)


@pytest.mark.parametrize(
    ("top_p", "kept"), [(0.4, [3]), (0.6, [0, 3]), (0.85, [0, 2, 3]), (1, [0, 1, 2, 3])]
)
def test_the_fewest_tokens_that_are_likely_enough_are_drawn_from(
    top_p: float, kept: list[int]
) -> None:
    logits = torch.tensor([0.3, 0.1, 0.15, 0.45]).log()
    noise = base.races(torch.arange(20), (100, 4), "draws")
    found = base.draw(logits.expand(20, 100, 4), noise, Sampling(top_p=top_p))
    assert found.unique().tolist() == kept
