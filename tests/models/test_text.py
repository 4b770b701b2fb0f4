"""Captions to features."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muybridge.models.text import PAD, Config, TextEncoder, learn_vocabulary

CAPTIONS = ["a red ball bouncing", "a blue square slides", "a green triangle behind a pillar"]
VOCABULARY = learn_vocabulary(CAPTIONS, 320)


def encoder(length: int = 8) -> TextEncoder:
    torch.manual_seed(0)
    return TextEncoder(Config(width=32, depth=2, vocabulary=320, length=length), VOCABULARY).eval()


def test_the_vocabulary_does_not_depend_on_the_order_of_captions() -> None:
    assert learn_vocabulary(reversed(CAPTIONS), 320) == VOCABULARY


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40))
def test_any_text_can_be_encoded(caption: str) -> None:
    tokens, mask = encoder().tokenize([caption])
    assert tokens.shape == mask.shape == (1, 8)
    assert torch.equal(mask, tokens != PAD)
    assert int(tokens.max()) < encoder().embed.num_embeddings


def test_case_is_folded_and_seen_words_are_whole() -> None:
    one = encoder()
    tokens, mask = one.tokenize(["A RED Ball", "a red ball"])
    assert torch.equal(tokens[0], tokens[1])
    assert mask[0].sum() == 3


def test_empty_text_has_no_token_and_is_finite() -> None:
    one = encoder()
    tokens, mask = one.tokenize([""])
    assert not mask.any()
    assert one(tokens, mask).isfinite().all()


def test_padding_does_not_change_the_words_before_it() -> None:
    one = encoder(12)
    tokens, mask = one.tokenize(["a red ball"])
    whole = one(tokens, mask)
    changed = torch.where(mask, tokens, 7)
    torch.testing.assert_close(one(changed, mask)[mask], whole[mask])


def test_order_of_words_matters() -> None:
    one = encoder()
    for block in one.blocks:
        for parameter in block.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    first, second = (one(*one.tokenize([t])) for t in ("a red ball", "ball red a"))
    assert (first.sum(1) - second.sum(1)).abs().max() > 1e-3


def test_long_text_is_cut() -> None:
    _, mask = encoder().tokenize(["ball " * 10_000])
    assert mask.all()
