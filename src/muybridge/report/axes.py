"""What plots drawn as SVG share: the field, axes with round ticks, and text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple

from .values import number

# In units of the picture, which is about as wide as a phone shows it in pixels.
WIDTH, HEIGHT = 340, 194
LEFT, RIGHT, TOP, BOTTOM = 48, 312, 36, 150  # of the field that is drawn in
TEXT = 12
LETTER = 0.6 * TEXT  # the width of a character; few fonts have wider digits
COLOURS = 4  # that the style sheet has for series


class Axis(NamedTuple):
    """Values from `low` to `high`, drawn from `start` to `end`; `most` is the most ticks."""

    low: float
    high: float
    start: float
    end: float
    most: int
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """Where a value is drawn; one outside the axis is drawn at its end."""
        ends = (self.low, self.high, min(max(value, self.low), self.high))
        low, high, here = (math.log(v) for v in ends) if self.logarithmic else ends
        return self.start + (here - low) / (high - low) * (self.end - self.start)

    def room(self, label: str) -> float:
        """How much of the axis a label takes."""
        return 1.5 * TEXT if self.start > self.end else LETTER * (len(label) + 1)


def picture(words: str, parts: Iterator[str] | Sequence[str], height: float = HEIGHT) -> str:
    """The whole picture as markup; `words` say what it shows to who cannot see it."""
    style = f'font-size="{TEXT}" style="max-width:27rem;fill:var(--soft)"'
    head = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" {style}><title>{escape(words)}</title>'
    return f"{head}{''.join(parts)}</svg>"


def rulers(x: Axis, y: Axis) -> Iterator[str]:
    """A faint line for each tick of `y`, a short one under the field for each of `x`."""
    foot = y.start
    for value, label in ticks(y):
        yield f'<path d="M{LEFT} {y.at(value):.2f}H{RIGHT}" style="stroke:var(--line)"/>'
        yield text(LEFT - 5, y.at(value) + TEXT / 3, label, "end")
    for value, label in ticks(x):
        yield f'<path d="M{x.at(value):.2f} {foot:g}v4" style="stroke:var(--line)"/>'
        yield text(x.at(value), foot + 5 + TEXT, label)


def text(x: float, y: float, words: str, anchor: str = "middle") -> str:
    """Words at a place, their middle, start or end there."""
    return f'<text x="{x:.2f}" y="{y:.2f}" text-anchor="{anchor}">{escape(words)}</text>'


def finite(values: Sequence[object]) -> list[float]:
    """The numbers as they are; a ValueError where one is none."""
    found = [known for value in values if (known := number(value)) is not None]
    if len(found) < len(values):
        raise ValueError("a histogram of what is not a finite number")
    return found


def ticks(axis: Axis) -> list[tuple[float, str]]:
    """Round values on an axis, as many as there is room for, with their labels."""
    found: list[tuple[float, str]] = []
    for scale in _scales(axis):
        found = [(value, _label(value, *rest)) for value, *rest in scale] or found
        places = [(axis.at(value), axis.room(label)) for value, label in found]
        apart = all(2 * abs(b - a) >= one + other for (a, one), (b, other) in pairwise(places))
        inside = all(size / 2 <= place <= WIDTH - size / 2 for place, size in places)
        if found and len(found) <= axis.most and apart and inside:
            return found
    return found[:1]


def _scales(axis: Axis) -> Iterator[list[tuple[float, float, float]]]:
    """Ticks from fine to coarse: value, step to the next, and largest value labelled alike."""
    low, high, slack = axis.low, axis.high, 1e-9
    if axis.logarithmic and high >= 10 * low:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        for digits, stride in (((1, 2, 5), 1), ((1,), 1), ((1,), 2), ((1,), 4), ((1,), 20)):
            powers = [10.0**power for power in range(first, last + 1) if power % stride == 0]
            yield [(d * p, p, d * p) for p in powers for d in digits if low <= d * p <= high]
        return
    power = math.floor(math.log10(high - low)) - 1
    for step in (digit * 10.0**p for p in range(power, power + 3) for digit in (1, 2, 5)):
        count = range(math.ceil(low / step - slack), math.floor(high / step + slack) + 1)
        yield [(i * step, step, max(abs(low), abs(high))) for i in count]


def _label(value: float, step: float, largest: float) -> str:
    """A value with the decimals that its step needs, and thousands, millions as k, M."""
    if not 1e-3 <= largest < 1e10 or not value:
        return f"{value:.6g}"
    size, letter = (1e3, "k") if largest >= 1e4 and step >= 100 else (1.0, "")
    size, letter = (1e6, "M") if largest >= 1e6 and step >= 1e5 else (size, letter)
    decimals = max(0, -math.floor(math.log10(step / size) + 1e-9))
    return f"{value / size:,.{decimals}f}{letter}"
