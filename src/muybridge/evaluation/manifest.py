"""How a number came to be, and which numbers may be compared."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ..core import manifests
from ..core.errors import MuybridgeError
from ..core.manifests import differing

__all__ = ["Score", "comparable", "differing", "fields", "unlike"]


@dataclass(frozen=True)
class Score:
    """A number and its manifest.

    Attributes:
        name: what it is called.
        value: the number.
        better: "lower", "higher", or "near" to `target`.
        interval: 95 % interval, or None.
        interval_of: what the interval is of, in words: what would be found by drawing again.
        floor: the same number for real clips in place of generated ones.
        note: what a reader must know.
        values: the measure of each clip, (clips,), where the number is a mean over clips.
        manifest: how it was made; see `comparable`.
    """

    name: str
    value: float
    better: Literal["lower", "higher", "near"]
    manifest: dict[str, Any] = field(default_factory=dict)
    interval: tuple[float, float] | None = None
    floor: float | None = None
    target: float | None = None
    unit: str = ""
    note: str = ""
    interval_of: str = ""
    values: tuple[float, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values for `scores.json`; what is not finite, such as the value of a clip that
        has none, is None."""
        told = [value if math.isfinite(value) else None for value in self.values]
        ends = self.interval if self.interval and all(map(math.isfinite, self.interval)) else None
        floor = self.floor if self.floor is not None and math.isfinite(self.floor) else None
        return asdict(self) | {"values": told, "interval": ends, "floor": floor}


def fields(score: Score) -> dict[str, Any]:
    """All that must agree for a score to be compared: its manifest, and how it is to be read."""
    read = {"better": score.better, "target": score.target, "unit": score.unit}
    return manifests.judged(score.manifest | read)


def unlike(first: Score, second: Score) -> list[tuple[str, str, str]]:
    """The fields in which two scores of one name differ, each with both values as text."""
    one, other = fields(first), fields(second)
    pairs = (
        (name, manifests.as_text(one, name), manifests.as_text(other, name))
        for name in sorted(one.keys() | other.keys())
    )
    return [(name, mine, theirs) for name, mine, theirs in pairs if mine != theirs]


def comparable(first: Score, second: Score) -> None:
    """Raises MuybridgeError, naming the fields and both values, where scores were not made alike.

    A score without a manifest is compared with nothing: how it was made is not known.
    """
    if first.name != second.name:
        raise MuybridgeError(f"{first.name} and {second.name} are different measures")
    if not (first.manifest and second.manifest):
        raise MuybridgeError(
            f"two values of {first.name} cannot be compared: one has no manifest",
            "evaluate it again with this version",
        )
    if found := unlike(first, second):
        told = ", ".join(f"{name} is {mine} and {theirs}" for name, mine, theirs in found)
        raise MuybridgeError(
            f"two values of {first.name} cannot be compared: {told}",
            "evaluate both in the same way",
        )
