"""Hidden tokens, all at once: which are hidden, what counts, and how they are decided."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from muybridge.core import chance
from muybridge.core.clips import Batch
from muybridge.core.errors import RecipeError
from muybridge.models import token_transformer
from muybridge.objectives.base import Parts, SampleRequest
from muybridge.objectives.masked import Config, Masked, Sampling, hidden_share
from muybridge.objectives.tokens import OPEN

VOCABULARY, HIDDEN = 8, 8


class Paint(nn.Module):
    """A tokenizer: each token is one brightness of 2 frames of 4 x 4 pixels."""

    stride, channels, vocabulary = (2, 4, 4), 1, VOCABULARY

    def tokens(self, clips: Tensor) -> Tensor:
        return ((clips[:, ::2, 0, ::4, ::4] + 1) / 2 * (VOCABULARY - 1)).round().long()

    def from_tokens(self, tokens: Tensor) -> Tensor:
        shades = (tokens / (VOCABULARY - 1) * 2 - 1)[:, :, None]
        for dim, times in ((1, 2), (2, 3), (3, 4), (4, 4)):
            shades = shades.repeat_interleave(times, dim)
        return shades


class Recorder(nn.Module):
    """Keeps what it is shown; its logits are noise, the same each time."""

    def __init__(self, frames: int = 0) -> None:
        super().__init__()
        self.config = SimpleNamespace(labels=3, causal=False, frames=frames)
        self.seen: list[tuple[Tensor, Tensor, Tensor | None]] = []

    def forward(
        self, tokens: Tensor, times: Tensor, label: Tensor | None, *words: object
    ) -> Tensor:
        self.seen.append((tokens.clone(), times, label))
        shape = (len(tokens), *tokens.shape[1:], VOCABULARY)
        return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def network(**settings: Any) -> nn.Module:
    torch.manual_seed(0)
    shape = {"width": 32, "depth": 2, "heads": 2, "vocabulary": VOCABULARY, "text": None}
    made = token_transformer.build(token_transformer.Config(causal=False, **(shape | settings)))
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.2)
    return made


def objective(
    made: nn.Module | None = None, sampling: dict[str, Any] | None = None, **settings: float
) -> Masked:
    parts = Parts(made or network(labels=3), None, [0], [1], Sampling(**sampling or {}), Paint())
    return Masked(Config(**settings), parts)


def batch(count: int = 4, frames: int = 4, given: int = 0, **more: Any) -> Batch:
    torch.manual_seed(1)
    clips = Paint().from_tokens(torch.randint(VOCABULARY, (count, frames // 2, 4, 4)))
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
    return SampleRequest(torch.arange(frames).expand(count, -1) / 8, (16, 16), seeds, **more)


def test_shares_hidden_follow_the_cosine_and_are_spread_evenly_over_a_run() -> None:
    made = objective(Recorder())
    for data in (batch(4000), batch(64, index=torch.arange(5000, 5064))):
        share = made.hidden(data).flatten(1).float().mean(1)
        # Of the cosine's distribution, back to even numbers; a token is a 32th.
        found = share.clamp(max=1).arccos() / (math.pi / 2)
        for level in (0.25, 0.5, 0.75):
            assert float((found < level).float().mean()) == pytest.approx(level, abs=0.07)


def test_any_token_may_be_hidden_but_none_that_is_given() -> None:
    hidden = objective(Recorder()).hidden(batch(2000, given=2)).float()
    assert not hidden[1::2, 0].any()
    often = torch.cat([hidden[::2].mean(0), hidden[1::2, 1:].mean(0)])
    assert float(often.mean()) == pytest.approx(2 / math.pi, abs=0.03)
    assert (often - 2 / math.pi).abs().max() < 0.07
    assert hidden.flatten(1).sum(1).min() >= 1


def test_loss_is_the_cross_entropy_of_hidden_tokens_alone() -> None:
    made, data = objective(replaced=0), batch(given=2)
    data.frame_weight[:, 3] = 0
    tokens, hidden = Paint().tokens(data.clips), made.hidden(data)
    with torch.no_grad():
        sums = made.loss(data, "generator", 0).sums["tokens"]
        shown = torch.where(hidden, HIDDEN, tokens)
        logits = made.generator["network"](shown, data.times.view(4, -1, 2).mean(2))
        each = F.cross_entropy(logits.movedim(-1, 1), tokens, reduction="none")
    weight = hidden * torch.tensor([1.0, 0.5])[:, None, None]
    torch.testing.assert_close(sums, (each * weight).flatten(1).sum(1))
    torch.testing.assert_close(made.weights(data, "generator")["tokens"], weight.flatten(1).sum(1))


def test_what_is_hidden_is_not_shown() -> None:
    recorder = Recorder()
    made, data = objective(recorder, replaced=0), batch()
    made.loss(data, "generator", 0)
    shown, hidden = recorder.seen[0][0], made.hidden(data)
    assert (shown[hidden] == HIDDEN).all()
    assert torch.equal(shown[~hidden], Paint().tokens(data.clips)[~hidden])


def test_chance_belongs_to_the_clip_not_to_its_neighbours() -> None:
    made, data = objective(replaced=0.4), batch(6, label=torch.arange(6) % 3)
    whole = made.loss(data, "generator", 0).sums["tokens"]
    parts = [made.loss(data.part(i, i + 2), "generator", 0).sums["tokens"] for i in (0, 2, 4)]
    torch.testing.assert_close(torch.cat(parts), whole)
    weights = [made.weights(data.part(i, i + 3), "x")["tokens"] for i in (0, 3)]
    assert torch.equal(torch.cat(weights), made.weights(data, "x")["tokens"])


def test_held_out_loss_is_the_same_each_time_and_told_by_share() -> None:
    made, data = objective(), batch(8)
    with torch.no_grad():
        loss, more = made.held_out(data)
        assert made.held_out(data)[0] == loss
    assert list(more["by_share"]) == ["0.98", "0.83", "0.56", "0.20"]
    counts = made.hidden(data, evenly=True).flatten(1).sum(1).view(2, 4).sum(0)
    assert counts.tolist() == [2 * math.ceil(32 * s) for s in (0.981, 0.831, 0.556, 0.195)]
    each = torch.tensor(list(more["by_share"].values()))
    assert float((each * counts).sum() / counts.sum()) == pytest.approx(loss, rel=1e-5)


# --- making clips --------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "calls"), [(None, 12), (5, 5), (1, 1), (40, 40)])
def test_the_network_is_asked_once_a_step_and_all_is_decided(asked: int | None, calls: int) -> None:
    recorder = Recorder()
    made = objective(recorder)
    tokens = made.drawn(request(3, steps=asked), torch.full((3, 2, 4, 4), OPEN))
    assert len(recorder.seen) == calls
    assert ((tokens >= 0) & (tokens < VOCABULARY)).all()


def test_fewer_tokens_are_hidden_each_time_by_the_cosine_and_the_others_stay() -> None:
    recorder = Recorder()
    tokens = objective(recorder).drawn(request(3), torch.full((3, 2, 4, 4), OPEN))
    seen = [shown for shown, _, _ in recorder.seen]
    counts = [(shown == HIDDEN).flatten(1).sum(1).tolist() for shown in seen]
    expected = [round(32 * math.cos(math.pi / 2 * step / 12)) for step in range(12)]
    assert counts == [[count] * 3 for count in expected]
    for shown, following in zip(seen, [*seen[1:], tokens], strict=True):
        kept = shown != HIDDEN
        assert torch.equal(following[kept], shown[kept])


def test_the_surest_are_kept_and_chance_may_choose_others() -> None:
    class Sure(Recorder):
        """Surer of a token the later it is."""

        def forward(self, tokens: Tensor, *rest: Any) -> Tensor:
            super().forward(tokens, *rest)
            surer = torch.linspace(1, 30, 32).view(2, 4, 4, 1)
            return surer * F.one_hot(torch.tensor(3), VOCABULARY).expand(len(tokens), 2, 4, 4, -1)

    for choice, in_order in ((0.0, True), (50.0, False)):
        recorder = Sure()
        made = objective(recorder, {"choice": choice, "top_p": 0.1})
        tokens = made.drawn(request(3), torch.full((3, 2, 4, 4), OPEN))
        assert (tokens == 3).all()
        shown = recorder.seen[6][0].flatten(1) == HIDDEN
        first = torch.arange(32) < shown[0].sum()
        assert torch.equal(shown, first.expand(3, -1)) is in_order
        assert torch.equal(shown[0], shown[1]) is in_order


def test_hidden_shares_begin_with_all_and_end_with_none() -> None:
    shares = hidden_share(torch.linspace(0, 1, 13))
    assert shares[0] == 1
    assert abs(float(shares[-1])) < 1e-6
    assert (shares.diff() < 0).all()


def test_a_few_clips_are_learned_by_heart() -> None:
    made = objective(network(labels=4), {"guidance": 1.0, "top_p": 0.05}, replaced=0, drop=0)
    data = batch(4, label=torch.arange(4))
    steps = torch.optim.Adam(made.parameters(), lr=0.01)
    for step in range(200):
        steps.zero_grad()
        seeds = data.seeds + step
        drawn = Batch(**(vars(data) | {"seeds": seeds, "index": torch.arange(4) + 4 * step}))
        made.loss(drawn, "generator", 0).sums["tokens"].mean().backward()
        steps.step()
    with torch.no_grad():
        found = made.sample(request(4, label=torch.arange(4)))
    torch.testing.assert_close(found, data.clips)


def test_guidance_of_one_equals_none_and_another_shows_both_branches() -> None:
    recorder = Recorder()
    made, label = objective(recorder), torch.tensor([0, 1, 2])
    with torch.no_grad():
        for scale in (1.0, 2.0):
            made.sample(request(3, label=label, guidance=scale, steps=2))
    assert [len(shown) for shown, _, _ in recorder.seen] == [3, 3, 6, 6]
    told = recorder.seen[2][2]
    assert told is not None
    assert told.tolist() == [0, 1, 2, 3, 3, 3]
    real = objective(network(labels=3))
    nn.init.constant_(real.generator["network"].label.weight, 0.1)  # type: ignore[union-attr, arg-type]
    with torch.no_grad():
        one, other = (real.sample(request(3, label=label, guidance=g)) for g in (1.0, 4.0))
    assert torch.equal(one, other)


def test_a_sample_depends_on_its_own_seed_alone() -> None:
    made, asked = objective(), request(3, label=torch.arange(3))
    with torch.no_grad():
        whole = made.sample(asked)
        assert torch.equal(made.sample(asked.part(2, 3)), whole[2:])
    assert not torch.equal(whole[0], whole[1])


def test_what_is_given_comes_back_and_is_seen_throughout() -> None:
    recorder, data = Recorder(), batch(4, given=2)
    noisy = data.clips + 0.01 * torch.randn_like(data.clips)  # no token can say it
    found = objective(recorder).sample(request(4, known=noisy, known_mask=data.known_mask))
    assert torch.equal(found[1::2, :2], noisy[1::2, :2])
    expected = Paint().tokens(data.clips)[1::2, 0]
    for step, (shown, _, _) in enumerate(recorder.seen):
        assert torch.equal(shown[1::2, 0], expected)
        # The schedule is of what is to be made, 32 tokens or 16.
        share = math.cos(math.pi / 2 * step / 12)
        counts = (shown == HIDDEN).flatten(1).sum(1).tolist()
        assert counts == [round(32 * share), round(16 * share)] * 2


def test_longer_clips_keep_the_second_half_of_each_window() -> None:
    recorder = Recorder(frames=8)
    tokens = objective(recorder).drawn(request(2, frames=14), torch.full((2, 7, 4, 4), OPEN))
    first = [shown for shown, _, _ in recorder.seen[::12]]
    assert [(shown == HIDDEN)[0, :, 0, 0].tolist() for shown in first] == [
        [True] * 4, [False, False, True, True], [False, False, False, True],
    ]  # fmt: skip
    for shown, begin in zip(first, (0, 2, 3), strict=True):
        kept = shown != HIDDEN
        assert torch.equal(tokens[:, begin : begin + 4][kept], shown[kept])
    # Each window begins at the moment that clips began at in training.
    assert all(torch.equal(times, recorder.seen[0][1]) for _, times, _ in recorder.seen)


def test_a_causal_network_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"model\.causal = true"):
        objective(network().__class__(token_transformer.Config(vocabulary=8, text=None)))
