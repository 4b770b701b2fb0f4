"""The video transformer: shapes, positions, conditions, and what depends on what."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from muybridge.models import dit, text
from muybridge.models.filters import stilled
from muybridge.models.patches import from_patches, to_patches, waves


def network(labels: int = 0, words: bool = False) -> dit.DiT:
    torch.manual_seed(0)
    settings = text.Config(width=16, depth=1, vocabulary=300, length=5) if words else None
    made = dit.build(
        dit.Config(width=48, depth=2, heads=2, patch=(2, 4, 4), labels=labels, text=settings)
    )
    # adaLN-zero makes a fresh network blind; tests are about a trained one.
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made.eval()


def clips(batch: int = 2, time: int = 4, height: int = 8, width: int = 8) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    times = (torch.arange(time) / 8).expand(batch, -1)
    return torch.randn(batch, time, 3, height, width), times


def level(value: float, batch: int = 2) -> Tensor:
    return torch.full((batch,), value)


def test_a_fresh_network_predicts_zero() -> None:
    x, times = clips()
    fresh = dit.build(dit.Config(width=48, depth=2, heads=2, patch=(2, 4, 4), text=None))
    assert not fresh(x, level(0.5), times).any()


@pytest.mark.parametrize("width", [48, 144])
def test_a_fresh_network_sees_the_slowest_waves_each_in_a_channel(width: int) -> None:
    fresh = dit.build(dit.Config(width=width, depth=1, heads=2, patch=(2, 4, 4), text=None))
    slow = waves((2, 4, 4), 3, width)
    assert torch.equal(fresh.embed.weight[: len(slow)], slow)
    assert not fresh.embed.weight[len(slow) :].any()


def test_noise_levels_near_one_are_told_apart() -> None:
    one, other = dit._fourier(torch.tensor([0.99, 0.995]))
    far = dit._fourier(torch.tensor([0.5, 0.505]))
    assert (one - other).norm() > 20 * (far[0] - far[1]).norm()
    assert dit._fourier(torch.tensor([0.0, 1.0])).isfinite().all()


def test_neighbours_are_mixed_in_space_and_in_time_but_never_with_words() -> None:
    torch.manual_seed(0)
    around = dit.Around(6)
    x = torch.randn(2, 5 + 24, 6, requires_grad=True)
    around(x, (2, 3, 4))[0, 5 + 5, 0].backward()  # frame 0, row 1, column 1
    assert x.grad is not None
    touched = x.grad[0].abs().sum(-1) > 0
    assert not touched[:5].any()
    places = {tuple(p) for p in touched[5:].view(2, 3, 4).nonzero().tolist()}
    assert places == {(t, h, w) for t in (0, 1) for h in (0, 1, 2) for w in (0, 1, 2)}
    assert torch.equal(around(x, (2, 3, 4))[:, :5], x[:, :5])


def test_tokens_without_noise_are_told_so_and_the_others_what_they_have() -> None:
    x, times = clips()
    none, one = torch.zeros(2, 2, 2, 2, dtype=torch.bool), torch.zeros(2, 2, 2, 2)
    one[:, 0, 1] = 1
    for made, words in ((network(), None), (network(words=True), torch.randn(2, 5, 16))):
        mask = None if words is None else torch.ones(2, 5, dtype=torch.bool)
        told = (times, None, words, mask)
        whole = made(x, level(0.3), *told)
        same = made(x, level(0.3), *told, clean=none)
        torch.testing.assert_close(whole, same, atol=2e-4, rtol=1e-3)
        other = made(x, level(0.3), *told, clean=one > 0)
        assert (other - whole).abs().amax((0, 2, 3, 4)).min() > 1e-4
        if words is None:  # then all that a clip's tokens are told is that
            every, clear = made(x, level(0.3), *told, clean=~none), made(x, level(0.0), *told)
            torch.testing.assert_close(every, clear, atol=2e-4, rtol=1e-3)


def test_what_stands_beside_a_clip_is_looked_at_where_it_stands() -> None:
    torch.manual_seed(0)
    settings = {"width": 48, "depth": 1, "heads": 2, "patch": (2, 4, 4), "text": None}
    made = dit.build(dit.Config(**settings, guides=("known", "sketch")))
    (x, times), beside = clips(), torch.randn(2, 4, 3, 8, 8)
    plain = dit.build(dit.Config(**settings))
    assert not any(name.startswith("beside") for name, _ in plain.named_parameters())
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    nothing = made(x, level(0.5), times)
    torch.testing.assert_close(made(x, level(0.5), times, beside=beside * 0), nothing)
    seen = made(x, level(0.5), times, beside=beside)
    for place in range(3):
        less = beside.clone()
        less[:, :, place] = 0
        assert (made(x, level(0.5), times, beside=less) - seen).abs().max() > 1e-3


def test_clips_of_a_batch_do_not_see_each_other() -> None:
    x, times = clips()
    made = network()
    both = made(x, level(0.5), times)
    torch.testing.assert_close(
        both[:1], made(x[:1], level(0.5, 1), times[:1]), atol=1e-4, rtol=1e-3
    )


def test_a_clip_is_seen_whole() -> None:
    x, times = clips()
    x.requires_grad_()
    network()(x, level(0.5), times)[0, 0, 0, 0, 0].backward()
    assert x.grad is not None
    assert (x.grad[0].abs().amax((1, 2, 3)) > 0).all()
    assert not x.grad[1].any()


def test_longer_and_larger_clips_than_trained_on_are_taken() -> None:
    made = network()
    for time, height, width in ((8, 8, 8), (4, 16, 8), (2, 8, 24)):
        x, times = clips(1, time, height, width)
        assert made(x, level(0.5, 1), times).shape == x.shape


def test_positions_count_seconds_not_frames() -> None:
    slow, _ = dit._positions(torch.arange(8)[None] / 8, (4, 1, 1), 2, 24)
    fast, _ = dit._positions(torch.arange(16)[None] / 16, (4, 1, 1), 4, 24)
    torch.testing.assert_close(slow[:, 1:] - slow[:, :1], fast[:, 1:] - fast[:, :1])


def test_attention_depends_on_distances_in_time_only() -> None:
    here, _ = dit._positions(torch.arange(4)[None] / 8, (4, 2, 2), 1, 24)
    later, _ = dit._positions(torch.arange(4)[None] / 8 + 5, (4, 2, 2), 1, 24)
    torch.testing.assert_close(here - here[:, :1], later - later[:, :1], atol=1e-4, rtol=1e-4)


def test_lapped_patches_are_used_where_asked() -> None:
    x, times = clips()
    plain = network()
    lapped = dit.build(plain.config.with_values(lapped=not plain.config.lapped))
    lapped.load_state_dict(plain.state_dict())
    assert (plain(x, level(0.5), times) - lapped(x, level(0.5), times)).abs().max() > 1e-3


@pytest.mark.parametrize("lapped", [False, True])
def test_clips_are_read_and_drawn_in_the_patches_asked_for(lapped: bool) -> None:
    x, times = clips()
    made = network()
    made.config = made.config.with_values(lapped=lapped)
    read: list[Tensor] = []
    made.embed.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    torch.nn.init.zeros_(made.head.weight)
    drawn = made(x, level(0.5), times)
    torch.testing.assert_close(read[0], to_patches(x, (2, 4, 4), lapped))
    tokens = made.head.bias.expand(2, 8, -1)
    whole = from_patches(tokens, (2, 2, 2), (2, 4, 4), 4, lapped)
    torch.testing.assert_close(drawn, stilled(whole[:, :, :3], whole[:, :, 3:].sigmoid()))


def test_of_clips_of_which_something_is_known_each_frame_is_drawn_by_itself() -> None:
    x, times = clips()
    made = dit.build(network().config.with_values(guides=("known",)))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    mask = torch.zeros(2, x.shape[1], 1, *x.shape[-2:])
    mask[1, 0, :, :4] = 1
    assert made.copies is not None
    drawn: list[Tensor] = []
    made.copies.register_forward_pre_hook(lambda _, given: drawn.append(given[0]))
    tokens: list[Tensor] = []
    made.head.register_forward_hook(lambda *given: tokens.append(given[2]))
    made(x, level(0.5), times, beside=mask)
    whole = from_patches(tokens[0], (2, 2, 2), (2, 4, 4), 4, lapped=True)
    still = stilled(whole[:, :, :3], whole[:, :, 3:].sigmoid())
    torch.testing.assert_close(drawn[0][0], still[0])
    torch.testing.assert_close(drawn[0][1], whole[1, :, :3])
    assert (still[1] - whole[1, :, :3]).abs().max() > 1e-2


def test_without_stillness_each_frame_is_drawn_by_itself() -> None:
    x, times = clips()
    made = dit.build(network().config.with_values(still=False))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    drawn = made(x, level(0.5), times)
    tokens: list[Tensor] = []
    made.head.register_forward_hook(lambda *given: tokens.append(given[2]))
    made(x, level(0.5), times)
    grid, patch = (2, 2, 2), (2, 4, 4)
    torch.testing.assert_close(drawn, from_patches(tokens[0], grid, patch, 3, lapped=True))


def test_half_precision_is_near_full() -> None:
    x, times = clips(4)
    made = network(labels=2, words=True)
    given = (torch.tensor([0, 1, 2, 0]), torch.randn(4, 5, 16), torch.rand(4, 5) > 0.4)
    found = []
    for half in (False, True):
        made.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            predicted = made(x, level(0.5, 4), times, *given)
        (predicted.float() - x).square().mean().backward()
        gradients = [p.grad.flatten() for p in made.parameters() if p.grad is not None]
        found.append((predicted.detach().float(), torch.cat(gradients)))
    for full, rounded in zip(*found, strict=True):
        assert full.shape == rounded.shape
        assert float((rounded - full).norm() / full.norm()) < 0.05


def test_recomputed_layers_give_the_same_gradients() -> None:
    x, times = clips()
    found = []
    for recompute in (False, True):
        made = network(labels=2, words=True).train()
        made.config = made.config.with_values(recompute=recompute)
        words = torch.ones(2, 5, 16, requires_grad=True)
        mask = torch.ones(2, 5, dtype=torch.bool)
        made(x, level(0.5), times, torch.tensor([0, 1]), words, mask).square().sum().backward()
        found.append([words.grad, *(p.grad for p in made.parameters())])
    for first, second in zip(*found, strict=True):
        assert first is not None
        assert second is not None
        torch.testing.assert_close(first, second)


def test_recomputed_layers_keep_less() -> None:
    x, times = clips()
    kept = []
    for recompute in (False, True):
        made = network().train()
        made.config = made.config.with_values(recompute=recompute)
        sizes: list[int] = []

        def pack(tensor: Tensor, sizes: list[int] = sizes) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            made(x, level(0.5), times)
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 2


def test_dropout_leaves_out_in_training_alone() -> None:
    made, (x, times) = network(), clips()
    plain = made(x, level(0.5), times)
    made.blocks[0].drop.p = 0.5
    assert torch.equal(made(x, level(0.5), times), plain)
    made.train()
    one, two = (made(x, level(0.5), times) for _ in range(2))
    assert (one - two).abs().amax((1, 2, 3, 4)).min() > 0
    config = dit.Config(width=48, heads=2, depth=1, text=None, dropout=0.3)
    assert dit.build(config).blocks[0].drop.p == 0.3


def test_labels_matter_and_none_is_not_said() -> None:
    x, times = clips()
    made = network(labels=3)
    one, two, unsaid = (made(x, level(0.5), times, torch.full((2,), i)) for i in (0, 1, 3))
    assert (one - two).abs().max() > 1e-3
    assert torch.equal(unsaid, made(x, level(0.5), times))


def test_words_behind_the_mask_do_not_matter() -> None:
    x, times = clips()
    made = network(words=True)
    words, mask = (
        torch.randn(2, 5, 16),
        torch.tensor([[True, True, False, False, False]]).expand(2, -1),
    )
    before = made(x, level(0.5), times, None, words, mask)
    changed = torch.where(mask[..., None], words, torch.randn(2, 5, 16))
    assert torch.equal(before, made(x, level(0.5), times, None, changed, mask))
    assert not torch.equal(before, made(x, level(0.5), times, None, words + 1, mask))
    none = torch.zeros_like(mask)
    assert torch.equal(made(x, level(0.5), times, None, words, none), made(x, level(0.5), times))


@pytest.mark.parametrize("size", sorted(dit.SIZES))
def test_named_sizes_are_valid(size: str) -> None:
    config = dit.Config(**dit.SIZES[size])
    assert config.width % (2 * config.heads) == 0
