"""Values of JSON files that anyone may have written: checked, and as a person would write them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def number(value: object) -> float | None:
    """A finite number as float; anything else is None."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value) if math.isfinite(value) else None
        except OverflowError:  # JSON knows whole numbers that no float can hold
            return None
    return None


def mapping(value: object) -> Mapping[str, Any]:
    """A mapping as it is; anything else is an empty one."""
    return value if isinstance(value, Mapping) else {}


def figure(value: float | None, unit: str = "") -> str:
    """A number with four digits that count, and its unit."""
    if value is None:
        return "not measured"
    # Rounded first, so that 12345.6 is not written as 1.235e+04.
    text = f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"
    return f"{text}{unit}" if unit in ("", "%") else f"{text} {unit}"


def between(ends: tuple[float, float] | None) -> str:
    """An interval in words; "" where there is none."""
    return f"{figure(ends[0])} to {figure(ends[1])}" if ends else ""


def short(value: object) -> str:
    """A number with three digits that count, for labels and captions."""
    found = number(value)
    if found is None:
        return "unknown"
    return f"{found:,.0f}" if 1000 <= abs(found) < 1e9 else f"{found:.3g}"


def minutes(seconds: float) -> str:
    """A span of time: seconds, or minutes from two of them on."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:,.1f} min"


def count(value: object) -> str:
    """How many, with M for millions and B for milliards."""
    amount = number(value)
    if amount is None:
        return "unknown"
    for size, word in ((1e9, "B"), (1e6, "M")):
        if amount >= size:
            return f"{amount / size:.3g} {word}"
    return f"{amount:,.0f}"


def shown(value: object) -> str:
    """A value of a JSON file as a person would write it."""
    if isinstance(value, str):
        return value
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    return json.dumps(value, default=str)
