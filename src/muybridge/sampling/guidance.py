"""Guidance: how far a sample follows its conditions."""

from __future__ import annotations

from torch import Tensor


def guide(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance (Ho and Salimans 2022, eq. 6, in their w = scale - 1).

    1 follows the condition as trained, more than 1 exaggerates it, 0 ignores it.
    """
    return unconditional + scale * (conditional - unconditional)
