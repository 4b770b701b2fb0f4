"""Making 256 tokens a clip: one by one, with and without the cache, and all at once in 12 steps.

Seconds are those of one core's own time, which other work on the machine changes least.

python benchmarks/decoding.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from common import report
from torch import Tensor, nn

from muybridge.models import fsq, token_transformer
from muybridge.models.token_transformer import Cache, TokenTransformer
from muybridge.objectives import autoregressive, masked
from muybridge.objectives.base import Parts, SampleRequest

LEVELS, STEPS = (8, 5, 5, 5), 12


class Stub(nn.Module):
    """A tokenizer that costs nothing: a clip is its own tokens' numbers."""

    stride, channels, vocabulary, levels = (4, 8, 8), 4, 1000, fsq.Levels(LEVELS)

    def from_tokens(self, tokens: Tensor) -> Tensor:
        """The numbers, as if they were a picture."""
        return tokens[:, :, None] / 1000


def objective(causal: bool) -> Any:
    """Of the recipes' size, with random weights."""
    torch.manual_seed(0)
    shape = token_transformer.SIZES["small"]
    network = token_transformer.build(
        token_transformer.Config(
            causal=causal, vocabulary=1000, levels=LEVELS, labels=4, text=None, **shape
        )
    )
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.05)
    kind = autoregressive if causal else masked
    parts = Parts(network.eval(), None, [0], [1], kind.Sampling(), Stub())
    return kind.build(kind.Config(), parts)  # type: ignore[attr-defined]


def without_cache(network: TokenTransformer) -> Callable[..., Tensor]:
    """In place of `network.next`: all that comes before a token is computed again."""
    plain = network.next
    return lambda tokens, slot, cache: plain(tokens, slot, Cache(cache.told))


def timed(made: Any, clips: int, guidance: float, turns: int = 1) -> tuple[float, Tensor]:
    """Seconds of sampling, the best of a few turns, and the tokens."""
    times, numbers = (torch.arange(16) / 8).expand(clips, -1), torch.arange(clips)
    asked = SampleRequest(times, (64, 64), numbers, label=numbers % 4, guidance=guidance)
    best, found = float("inf"), torch.empty(0)
    for _ in range(turns):
        begun = time.process_time()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            found = made.sample(asked)
        best = min(best, time.process_time() - begun)
    return best, found


def main() -> None:
    """All in turns, in one run."""
    torch.set_num_threads(1)
    rows = []
    for clips, guidance in ((1, 1.0), (1, 2.0), (8, 2.0)):
        one_by_one, at_once = objective(True), objective(False)
        network = one_by_one.generator["network"]
        cached, tokens = timed(one_by_one, clips, guidance, 3)
        together, _ = timed(at_once, clips, guidance, 3)
        network.next = without_cache(network)
        plain, same = timed(one_by_one, clips, guidance)
        rows.append({"clips": clips, "guidance": guidance, "without cache s": plain,
                     "with cache s": cached, "times as fast": plain / cached,
                     "same tokens": bool(torch.equal(tokens, same)),
                     f"masked, {STEPS} steps s": together})  # fmt: skip
    report("decoding", rows, tokens=256, vocabulary=1000, size="small")


if __name__ == "__main__":
    main()
