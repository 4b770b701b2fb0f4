"""The Inception Score: of frames by Inception, of video by C3D."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..core.chance import permutation
from .frechet import Array, checked


def inception_score(
    predictions: npt.ArrayLike, *, logits: bool = False, splits: int = 10, seed: int = 0
) -> tuple[float, float]:
    """The exponential of the mean divergence of p(class | clip) from p(class) (Salimans et al.
    2016): its mean and standard deviation (over `splits`) over parts of the clips.

    Between 1 and the number of classes, and never above the clips in a part: with ten parts of
    few clips it is low for any model. It looks at no real clip, rewards one sure clip a class, and
    depends on the classifier's weights (Barratt and Sharma 2018, "A note on the Inception Score"):
    no model should be chosen by it.

    Args:
        predictions: (n, classes), probabilities that sum to 1; logits if so said.
        logits: whether `predictions` are logits, to be put through a softmax in float64.
        splits: parts of equal size, or one clip apart.
        seed: of the order of clips; parts would otherwise depend on how they were made.

    Raises:
        ValueError: more splits than clips, probabilities that are none, or rows not finite.
    """
    rows = checked(predictions, "predicted", 1)
    if not 1 <= splits <= len(rows):
        raise ValueError(f"{len(rows)} clips cannot be split into {splits} parts")
    p = _softmax(rows) if logits else _probabilities(rows)
    p = p[permutation(len(p), seed, "inception score").numpy()]
    scores = [float(np.exp(_divergence(part))) for part in np.array_split(p, splits)]
    return float(np.mean(scores)), float(np.std(scores))


def _softmax(rows: Array) -> Array:
    powers = np.exp(rows - rows.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def _probabilities(rows: Array) -> Array:
    sums = rows.sum(1, keepdims=True)
    bad = int(((rows < 0).any(1) | (abs(sums[:, 0] - 1) > 1e-3)).sum())
    if bad:
        raise ValueError(f"{bad} of {len(rows)} rows are no probabilities; are they logits?")
    return np.asarray(rows / sums)


def _divergence(p: Array) -> float:
    """Mean over rows of sum p log(p / mean p); a term is 0 where p or the mean p is."""
    mean = np.broadcast_to(p.mean(0), p.shape)
    ratio = np.divide(p, mean, out=np.ones_like(p), where=(p > 0) & (mean > 0))
    return float((p * np.log(ratio)).sum(1).mean())
