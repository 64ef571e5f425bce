"""From the detector's scales to units that people have: characters, words a sentence, per cent of the answers.

The detector keeps every feature in [0, 1], counts on a logarithm (drift/features/measure.py). Shown is the value whose
feature is the mean: of counts, a typical answer's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptguard.verdict.values import Change

_COUNTS: dict[str, tuple[int, str]] = {
    "length": (16_384, "characters"),
    "lines": (400, "lines"),
    "words_per_line": (400, "words a line"),
    "questions": (32, "question marks"),
    "exclamations": (32, "exclamation marks"),
    "reasoning": (32, "reasoning words"),
    "sentence_length": (100, "words a sentence"),
    "word_length": (64, "characters a word"),
}
"""Features that are log1p(count) / log1p(cap): the cap, and what is counted."""
NAMES = frozenset(("json_schema", "tool_name"))
"""Features that tell one name from another and have no order."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a change in natural units, with the ends of its 95 % interval where there is one."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Shown:
    """A change in natural units: both sides, what they count, and the ends of an axis that holds them."""

    first: Side
    second: Side
    unit: str
    low: float
    high: float

    def text(self, value: float) -> str:
        """Return a value with its unit."""
        return f"{figure(value)} %" if self.unit == "%" else f"{figure(value)} {self.unit}"


def shown(change: Change) -> Shown | None:
    """Return a change in natural units; None for one that has none: names, and what the wording alone gives away."""
    if change.feature in NAMES or change.is_of_wording:
        return None
    if (
        not change.binary
        and change.unit
        and change.control_units is not None
        and change.candidate_units is not None
    ):
        sides = Side(change.control_units, None, None), Side(change.candidate_units, None, None)
        return _on_axis(*sides, change.unit)
    name = "" if change.binary else change.feature

    def side(rate: float, interval: tuple[float, float]) -> Side:
        return Side(*(natural(name, value)[0] for value in (rate, *interval)))

    first = side(change.control, change.control_interval)
    second = side(change.candidate, change.candidate_interval)
    return _on_axis(first, second, natural(name, 0.0)[1])


def natural(feature: str, value: float) -> tuple[float, str]:
    """Return a feature's value in [0, 1] in its own unit, and that unit; per cent where it is a share.

    >>> natural("digits", 0.5), round(natural("length", 1.0)[0])
    ((50.0, '%'), 16384)
    """
    cap, unit = _COUNTS.get(feature, (0, "%"))
    return (math.expm1(max(0.0, value) * math.log1p(cap)) if cap else 100.0 * value), unit


def figure(value: float) -> str:
    """Return a number with as many digits as a reader needs."""
    size = abs(value)
    if size >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.0f}" if size >= 10 else f"{value:.1f}" if size >= 1 else f"{value:.2f}"


def _on_axis(first: Side, second: Side, unit: str) -> Shown:
    if unit == "%" and max(first.value, second.value) > 40:
        return Shown(first, second, unit, 0.0, 100.0)
    ends = [end for side in (first, second) for end in (side.value, side.high) if end is not None]
    return Shown(first, second, unit, 0.0, _round_up(max(ends)) or 1.0)


def _round_up(value: float) -> float:
    """Return the next round number above a value."""
    if value <= 0:
        return 0.0
    size = 10.0 ** math.floor(math.log10(value))
    return next(times * size for times in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if times * size >= value)
