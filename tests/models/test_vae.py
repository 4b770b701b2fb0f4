"""The autoencoder: causal, the same in pieces, and what its latents are."""

from __future__ import annotations

import pytest
import torch

from muybridge.models import fsq, vae

SMALL = {"widths": (8, 12), "depth": (1, 2), "channels": 5, "text": None, "prior": None}


def network(**changes: object) -> vae.VAE:
    torch.manual_seed(0)
    made = vae.build(vae.Config(**(SMALL | changes)))  # type: ignore[arg-type]
    for parameter in made.parameters():  # nothing that begins at zero hides what follows it
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return made.eval()


def clips(frames: int = 16, side: int = 32) -> torch.Tensor:
    return torch.rand(2, frames, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("levels", [(), (4, 3)])
def test_latents_have_the_shape_that_the_stride_tells(levels: tuple[int, ...]) -> None:
    made = network(levels=levels)
    latents = made.encode(clips())
    assert latents.shape == (2, 16 // 4, made.channels, 32 // 8, 32 // 8)
    assert made.channels == (len(levels) or 5)
    assert made.decode(latents).shape == (2, 16, 3, 32, 32)


def test_a_latent_depends_on_its_own_frames_and_those_before_alone() -> None:
    made, first = network(), clips()
    other = first.clone()
    other[:, 8:] = 0
    with torch.no_grad():
        a, b = made.encode(first), made.encode(other)
        torch.testing.assert_close(a[:, :2], b[:, :2])
        assert (a[:, 2] - b[:, 2]).abs().max() > 1e-3
        changed = a.clone()
        changed[:, 2:] = 0
        c, d = made.decode(a), made.decode(changed)
        torch.testing.assert_close(c[:, :8], d[:, :8])
        assert (c[:, 8:12] - d[:, 8:12]).abs().max() > 1e-3


@pytest.mark.parametrize("frames", [4, 8])
def test_pieces_of_a_clip_give_what_the_whole_gives(frames: int) -> None:
    made, whole = network(), clips(24)
    with torch.no_grad():
        latents = made.encode(whole)
        pieces = list(made.encode_pieces(whole, frames))
        assert len(pieces) == 24 // frames
        torch.testing.assert_close(torch.cat(pieces, 1), latents)
        back = torch.cat(list(made.decode_pieces(latents, frames // 4)), 1)
        torch.testing.assert_close(back, made.decode(latents))


@pytest.mark.parametrize("levels", [(), (4, 3)])
def test_a_trained_network_takes_long_clips_in_pieces_and_large_ones_in_tiles(
    levels: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, clip = network(levels=levels, depth=(1, 1)), clips(24, 64)
    seen: list[tuple[int, ...]] = []
    take = made.moments

    def watched(x: torch.Tensor, past: vae.Memory | None) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(tuple(x.shape[1:]))
        return take(x, past)

    monkeypatch.setattr(made, "moments", watched)
    with torch.no_grad():
        whole, back = made.encode(clip), made.decode(made.encode(clip))
        monkeypatch.setattr(vae, "_PIECE", 2)
        torch.testing.assert_close(made.encode(clip), whole)
        torch.testing.assert_close(made.decode(whole), back)
        made.config = made.config.with_values(tile=32)
        seen.clear()
        cut = made.encode(clip)
        assert set(seen) == {(8, 3, 32, 32)} and len(seen) == 3 * 9
        assert cut.shape == whole.shape
        assert made.decode(whole).shape == back.shape
        if not levels:  # borders of tiles see less, the middle of a frame's corner as much
            torch.testing.assert_close(cut[..., :1, :1], whole[..., :1, :1])
        made.train()
        torch.testing.assert_close(made.encode(clip), whole)


def test_tiles_are_of_whole_patches() -> None:
    with pytest.raises(ValueError, match="multiple of 4 square patches"):
        vae.Config(tile=40)


def test_what_stands_still_is_kept_as_much_as_is_drawn() -> None:
    made = network()
    latents = made.encode(clips())
    last = made.decoder.blocks[-1]
    assert isinstance(last, vae.Unfold)
    with torch.no_grad():
        plain = made.decode(latents)
        assert (plain[:, 1:] - plain[:, :-1]).abs().max() > 1e-2
        # Of a place's channels, each pixel's fourth says how much of it is kept.
        last.mix.weight.view(2, 4, 4, 4, -1)[..., 3, :] = 0
        last.mix.bias.view(2, 4, 4, 4)[..., 3] = 30
        kept = made.decode(latents)
        torch.testing.assert_close(kept, kept[:, :1].expand_as(kept))
        torch.testing.assert_close(kept[:, 0], plain[:, 0])


def test_brightness_elsewhere_changes_nothing_here() -> None:
    made, first = network(depth=(1, 1)), clips(4, 96)
    other = first.clone()
    other[..., 64:] = 1
    with torch.no_grad():
        torch.testing.assert_close(made.encode(first)[..., :2], made.encode(other)[..., :2])


def test_the_codec_and_the_rest_share_the_parameters_between_them() -> None:
    made = network(prior={"width": 16, "depth": 1, "heads": 2})
    names = {name.split(".")[0] for name in made.codec()}
    assert names == {"encoder", "decoder", "straight"}
    rest = {name.split(".")[0] for name, _ in made.named_parameters()} - names
    assert rest == {"prior", "middle", "log_scale"}


def test_standardising_is_undone() -> None:
    made = network()
    with torch.no_grad():
        made.middle.normal_()
        made.log_scale.normal_()
        latents = torch.randn(2, 3, 5, 2, 2)
        torch.testing.assert_close(made.restored(made.standardised(latents)), latents)


def test_patches_of_odd_sides_are_refused() -> None:
    with pytest.raises(ValueError, match="even numbers"):
        vae.Config(patch=(3, 8, 8))


def test_every_token_has_one_number_and_one_set_of_digits() -> None:
    levels = fsq.Levels((5, 2, 3))
    numbers = torch.arange(30).view(1, 1, 5, 6)
    digits = levels.digits(numbers)
    assert digits.shape == (1, 1, 3, 5, 6)
    assert len(set(map(tuple, digits.permute(0, 1, 3, 4, 2).reshape(-1, 3).tolist()))) == 30
    assert torch.equal(levels.numbers(digits), numbers)
    assert float(digits.min()) == -1
    assert float(digits.max()) == 1


def test_rounding_gives_the_nearest_step_and_passes_the_gradient() -> None:
    levels = fsq.Levels((4, 3))
    x = torch.randn(3, 2, 2, 5, 5, requires_grad=True)
    made = levels.rounded(x)
    for channel, steps in enumerate((4, 3)):
        grid = torch.linspace(-1, 1, steps)
        far = (torch.tanh(x[:, :, channel, ..., None]) - grid).abs()
        torch.testing.assert_close(made[:, :, channel], grid[far.argmin(-1)])
    made.sum().backward()
    torch.testing.assert_close(x.grad, 1 - torch.tanh(x.detach()) ** 2)


def test_tokens_come_back_as_the_clip_that_their_latents_decode_to() -> None:
    made = network(levels=(4, 3))
    assert made.vocabulary == 12
    with torch.no_grad():
        tokens = made.tokens(clips())
        assert tokens.shape == (2, 4, 4, 4)
        assert int(tokens.max()) < 12
        want = made.decode(made.encode(clips())).clamp(-1, 1)
        torch.testing.assert_close(made.from_tokens(tokens), want)
