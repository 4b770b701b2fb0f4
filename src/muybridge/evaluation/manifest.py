"""How a number came to be, and which numbers may be compared."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ..core.errors import MuybridgeError

# Fields that begin so may differ between numbers that are compared: they say whose clips they are,
# not how they were judged.
SUBJECT = ("run", "checkpoint")


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
        """Plain values for `scores.json`."""
        return asdict(self)


def differing(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Fields in which two manifests differ, those that name whose clips they are left out."""
    names = [name for name in first.keys() | second.keys() if not name.startswith(SUBJECT)]
    return sorted(name for name in names if first.get(name) != second.get(name))


def comparable(first: Score, second: Score) -> None:
    """Raises MuybridgeError, naming the fields, where two scores were not made alike."""
    fields = differing(first.manifest, second.manifest)
    if first.name != second.name:
        raise MuybridgeError(f"{first.name} and {second.name} are different measures")
    if fields:
        told = ", ".join(
            f"{name} is {first.manifest.get(name)!r} and {second.manifest.get(name)!r}"
            for name in fields
        )
        raise MuybridgeError(
            f"two values of {first.name} cannot be compared: {told}",
            "evaluate both in the same way",
        )
