"""Errors that say which setting, which value, and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MuybridgeError(Exception):
    """Something a person can put right.

    Args:
        message: what is wrong, naming the setting and its value.
        hint: what to do about it; printed on a line of its own.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class RecipeError(MuybridgeError):
    """A setting that is unknown or has a value it cannot have."""


class DataError(MuybridgeError):
    """Footage or a dataset that cannot be used as it is."""


class RunError(MuybridgeError):
    """A run folder, a checkpoint or a training step that cannot go on."""


class NotFinite(RunError):
    """A loss or a gradient that is no number."""


class Interrupted(MuybridgeError):
    """Someone asked to stop; all that was done is saved."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name most like `name`, or "" when none is close."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return found[0] if found else ""
