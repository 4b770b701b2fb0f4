"""The convolutional recurrent network: cells against torch's own, and what depends on what."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from muybridge.models import convrnn, text
from muybridge.models.convrnn import LEAST, MOST, Cell, normal
from muybridge.training.optimizers import _hidden

CELLS = ["gru", "lstm"]


def network(cell: str = "gru", labels: int = 0, words: bool = False) -> convrnn.ConvRNN:
    settings = text.Config(width=16, depth=1, vocabulary=300, length=5) if words else None
    config = convrnn.Config(
        cell=cell, widths=(6, 8, 10), latents=(1, 2, 5), fold=2, labels=labels, text=settings
    )
    torch.manual_seed(0)
    made = convrnn.build(config)
    # A fresh network changes nothing; tests are about a trained one.
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    return made


def frames(batch: int = 2, time: int = 3, height: int = 8, width: int = 8) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(batch, time, 3, height, width), torch.full((batch, time), 1 / 8)


def noise(made: convrnn.ConvRNN, count: int, size: tuple[int, int] = (8, 8)) -> list[Tensor]:
    torch.manual_seed(2)
    return [torch.randn(count, *shape) for shape in made.latents(size)]


def drawn(
    made: convrnn.ConvRNN, clips: Tensor, pace: Tensor, **more: Tensor | None
) -> convrnn.Drawn:
    """What is drawn after the last of the frames, from the prior, or the posterior of `seen`."""
    size = (clips.shape[-2], clips.shape[-1])
    shown, _ = made.follow(made.start(len(clips), size), clips, pace)
    told = more.get("told")
    seen = more.get("seen")
    return made.draw(
        [x[:, -1] for x in shown],
        made.told(len(clips)) if told is None else told,
        noise(made, len(clips), size),
        None if seen is None else made.look(seen),
    )


@pytest.mark.parametrize("kind", CELLS)
def test_with_a_kernel_of_one_a_cell_is_torchs_own_at_each_place(kind: str) -> None:
    torch.manual_seed(0)
    ours = Cell(kind, 5, 7, kernel=1)
    theirs = (nn.LSTMCell if kind == "lstm" else nn.GRUCell)(5, 7)
    pairs = {"weight_ih": ours.given.weight, "bias_ih": ours.given.bias}
    pairs |= {"weight_hh": ours.kept.weight, "bias_hh": ours.kept.bias}
    for name, parameter in pairs.items():
        assert parameter is not None
        getattr(theirs, name).data = parameter.data.flatten(1) if parameter.ndim > 1 else parameter
    x = torch.randn(2, 4, 5, 3, 2)
    state = tuple(torch.randn(2, 7, 3, 2) for _ in range(ours.states))
    shown, last = ours(x.flatten(0, 1), state, 4)

    def rows(maps: Tensor) -> Tensor:
        return maps.permute(0, 2, 3, 1).flatten(0, 2)

    theirs_state = tuple(rows(one) for one in state)
    for time in range(4):
        given = theirs_state if kind == "lstm" else theirs_state[0]
        found = theirs(rows(x[:, time]), given)
        theirs_state = found if kind == "lstm" else (found,)
        torch.testing.assert_close(rows(shown[:, time]), theirs_state[0])
    for one, other in zip(last, theirs_state, strict=True):
        torch.testing.assert_close(rows(one), other)


@pytest.mark.parametrize("kind", CELLS)
def test_a_cell_remembers_its_neighbourhood_and_takes_in_its_own_place(kind: str) -> None:
    cell = Cell(kind, 4, 4, kernel=3)
    x = torch.randn(1, 4, 5, 5, requires_grad=True)
    state = tuple(torch.randn(1, 4, 5, 5, requires_grad=True) for _ in range(cell.states))
    cell(x, state, 1)[0][0, 0, 0, 2, 2].backward()
    assert x.grad is not None
    assert state[0].grad is not None
    own = {tuple(place) for place in x.grad[0].abs().sum(0).nonzero().tolist()}
    near = {tuple(place) for place in state[0].grad[0].abs().sum(0).nonzero().tolist()}
    assert own == {(2, 2)}
    assert near == {(row, column) for row in (1, 2, 3) for column in (1, 2, 3)}


def test_channels_of_a_place_are_normalised() -> None:
    x = normal(torch.randn(2, 64, 3, 4) * 5 + 2)
    torch.testing.assert_close(x.mean(1), torch.zeros(2, 3, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.var(1, correction=0), torch.ones(2, 3, 4), atol=1e-3, rtol=0)


def test_a_fresh_network_changes_nothing_and_knows_nothing() -> None:
    fresh = convrnn.build(network().config)
    clips, pace = frames()
    found = drawn(fresh, clips, pace, seen=clips[:, 0])
    assert not found.change.any()
    assert len(found.prior) == len(found.posterior) == 3
    for law in (*found.prior, *found.posterior):
        assert not law.mean.any()
        assert not law.log_variance.any()


@pytest.mark.parametrize("kind", CELLS)
def test_frames_at_once_are_followed_as_one_by_one(kind: str) -> None:
    made, (clips, pace) = network(kind), frames()
    state = made.start(2, (8, 8))
    together, last = made.follow(state, clips, pace)
    for time in range(3):
        shown, state = made.follow(state, clips[:, time : time + 1], pace[:, time : time + 1])
        for one, all_ in zip(shown, together, strict=True):
            torch.testing.assert_close(one[:, 0], all_[:, time], atol=1e-5, rtol=1e-4)
    for one, other in zip(state, last, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", CELLS)
def test_what_is_shown_follows_from_the_frames_so_far_of_the_same_clip(kind: str) -> None:
    made, (clips, pace) = network(kind), frames()
    clips.requires_grad_()
    shown, _ = made.follow(made.start(2, (8, 8)), clips, pace)
    sum(x[1, 1].sum() for x in shown).backward()  # type: ignore[union-attr]
    assert clips.grad is not None
    touched = clips.grad.abs().sum((2, 3, 4)) > 0
    assert touched.tolist() == [[False] * 3, [True, True, False]]


def test_how_fast_frames_come_matters() -> None:
    made, (clips, pace) = network(), frames()
    slow, fast = drawn(made, clips, pace).change, drawn(made, clips, pace / 3).change
    assert (slow - fast).abs().max() > 1e-3


def test_the_frame_itself_is_seen_by_the_posterior_alone() -> None:
    made, (clips, pace) = network(), frames()
    one, other = (drawn(made, clips, pace, seen=seen) for seen in (clips[:, 0], clips[:, 1]))
    # The coarsest prior comes before any latent.
    torch.testing.assert_close(one.prior[0], other.prior[0])
    torch.testing.assert_close(one.prior[0], drawn(made, clips, pace).prior[0])
    for first, second in zip(one.posterior, other.posterior, strict=True):
        assert (first.mean - second.mean).abs().max() > 1e-3
    assert (one.change - other.change).abs().max() > 1e-3
    assert drawn(made, clips, pace).posterior == []


def test_the_posterior_is_a_correction_of_the_prior() -> None:
    made, (clips, pace) = network(), frames()
    for scale in made.blocks:
        convrnn._silenced(scale.correct)  # type: ignore[arg-type]
    found = drawn(made, clips, pace, seen=clips[:, 0])
    assert all(law.mean.any() for law in found.prior)
    torch.testing.assert_close(found.posterior, found.prior)


def test_each_scale_has_a_say_and_the_coarsest_everywhere() -> None:
    made, (clips, pace) = network(), frames(1)
    shown, _ = made.follow(made.start(1, (8, 8)), clips, pace)
    latents = [one.requires_grad_() for one in noise(made, 1)]
    assert [tuple(one.shape[1:]) for one in latents] == [(5, 1, 1), (2, 2, 2), (1, 4, 4)]
    change = made.draw([x[:, -1] for x in shown], made.told(1), latents).change
    change[..., 0, 0].sum().backward(retain_graph=True)
    change[..., 7, 7].sum().backward()
    for one in latents:
        assert one.grad is not None
        assert one.grad.abs().sum() > 0


def test_log_variances_stay_between_their_limits() -> None:
    made, (clips, pace) = network(), frames()
    for parameter in made.parameters():
        parameter.data *= 20
    found = drawn(made, clips, pace, seen=clips[:, 0])
    for law in (*found.prior, *found.posterior):
        assert bool(((law.log_variance >= LEAST) & (law.log_variance <= MOST)).all())
    logs = torch.cat([law.log_variance.flatten() for law in found.prior])
    assert ((logs == LEAST) | (logs == MOST)).any()  # where they would have gone further


def test_other_sizes_than_square_are_drawn() -> None:
    made = network()
    for height, width in ((4, 8), (12, 8), (16, 32)):
        clips, pace = frames(1, 2, height, width)
        assert drawn(made, clips, pace, seen=clips[:, 0]).change.shape == clips[:, 0].shape


def test_clips_are_multiples_of_the_coarsest_place() -> None:
    assert convrnn.Config().patch == (1, 16, 16)
    assert convrnn.Config(widths=(8, 8), latents=(1, 1), fold=8).patch == (1, 8, 8)
    with pytest.raises(ValidationError, match="not of as many scales"):
        convrnn.Config(widths=(8, 8, 8))


@pytest.mark.parametrize("size", list(convrnn.SIZES))
def test_named_sizes_are_settings_that_can_be(size: str) -> None:
    config = convrnn.Config(**convrnn.SIZES[size])
    assert len(config.widths) == len(config.latents)


def test_labels_matter_and_none_is_not_said() -> None:
    made, (clips, pace) = network(labels=3), frames()
    one, two, unsaid = (
        drawn(made, clips, pace, told=made.told(2, torch.full((2,), i))).change for i in (0, 1, 3)
    )
    assert (one - two).abs().max() > 1e-3
    assert torch.equal(unsaid, drawn(made, clips, pace).change)


def test_words_behind_the_mask_do_not_matter() -> None:
    made, (clips, pace) = network(words=True), frames()
    words, mask = torch.randn(2, 5, 16), torch.tensor([[True, True, False, False, False]] * 2)

    def change(words: Tensor, mask: Tensor) -> Tensor:
        return drawn(made, clips, pace, told=made.told(2, None, words, mask)).change

    hidden = torch.where(mask[..., None], words, torch.randn(2, 5, 16))
    assert torch.equal(change(words, mask), change(hidden, mask))
    assert (change(words, mask) - change(words + 1, mask)).abs().max() > 1e-3
    none = torch.zeros_like(mask)
    assert torch.equal(change(words, none), drawn(made, clips, pace).change)


def test_kernels_of_all_scales_are_hidden_and_nothing_else_is() -> None:
    config = convrnn.Config(widths=(6, 8, 10), latents=(2, 2, 5), fold=2, labels=2)
    made = convrnn.build(config)
    hidden = {name for name, one in made.named_parameters() if _hidden(name, one)}
    inside = {n: m for n, m in made.named_modules() if isinstance(m, nn.Conv2d)}
    says = {f"blocks.{place}.say.weight" for place in range(3)}
    assert hidden == {f"{name}.weight" for name in inside} | says


@pytest.mark.parametrize("kind", CELLS)
def test_half_precision_is_near_full(kind: str) -> None:
    made, (clips, pace) = network(kind, labels=2, words=True), frames(4, 4)
    given = (torch.tensor([0, 1, 2, 0]), torch.randn(4, 5, 16), torch.rand(4, 5) > 0.4)
    found = []
    for half in (False, True):
        made.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            made_ = drawn(made, clips, pace, told=made.told(4, *given), seen=clips[:, 0])
        (made_.change - clips[:, 0]).square().mean().backward()
        gradients = [p.grad.flatten() for p in made.parameters() if p.grad is not None]
        found.append((made_.change.detach(), torch.cat(gradients)))
    for full, rounded in zip(*found, strict=True):
        assert full.shape == rounded.shape
        assert float((rounded - full).norm() / full.norm()) < 0.08


def test_what_stands_still_does_not_change() -> None:
    made, (clips, pace) = network(), frames()
    with torch.no_grad():
        changed = drawn(made, clips, pace).change
        assert changed.shape == (2, 3, 8, 8)
        assert changed.abs().mean() > 0.1
        # A place of 2 x 2 pixels has four channels a pixel; the last says how much stays.
        made.head.weight.view(4, 4, -1)[-1] = 0
        made.head.bias.view(4, 4)[-1] = 30
        assert drawn(made, clips, pace).change.abs().max() < 1e-5
