"""Rows of the table, and how sure one can be of a figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Task:
    """A function of a module, and what to call it with: both must travel to another process."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Row:
    """One line: a figure beside its target. `met` is None where nothing was promised."""

    name: str
    figure: str
    target: str = ""
    met: bool | None = None
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def word(self) -> str:
        return {True: "pass", False: "SHORT", None: ""}[self.met]


def rate(hits: int, count: int) -> str:
    """A share with its standard error."""
    share, error = hits / count, standard_error(hits, count)
    return f"{share:.4f} ± {error:.4f}"


def standard_error(hits: int, count: int) -> float:
    """The binomial standard error; for no hit at all, that of half a hit."""
    share = max(hits, 0.5) / count
    return math.sqrt(share * (1 - share) / count)


def quantile(values: Sequence[float], share: float) -> float:
    """An order statistic, never an interpolation; infinity stands for "not found"."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % confidence interval of the median, from order statistics."""
    ordered, count = sorted(values), len(values)
    half = 0.98 * math.sqrt(count)
    low, high = math.floor(count / 2 - half), math.ceil(count / 2 + half)
    return ordered[max(0, low)], ordered[min(count - 1, high)]


def upper_interval(values: Sequence[float], share: float = 0.95) -> tuple[float, float]:
    """The 95 % confidence interval of a high quantile, from order statistics."""
    ordered, count = sorted(values), len(values)
    half = 1.96 * math.sqrt(count * share * (1 - share))
    low, high = math.floor(count * share - half), math.ceil(count * share + half)
    return ordered[max(0, low)], ordered[min(count - 1, high)]


def delay(values: Sequence[float]) -> str:
    """Median and 95th percentile, each with its 95 % interval."""
    middle, high = median_interval(values), upper_interval(values)
    return (
        f"{number(quantile(values, 0.5))} [{number(middle[0])}-{number(middle[1])}] / "
        f"{number(quantile(values, 0.95))} [{number(high[0])}-{number(high[1])}]"
    )


def number(value: float) -> str:
    return "none" if math.isinf(value) else f"{value:g}"


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    array = np.asarray(values, dtype=float)
    return float(array.mean()), float(array.std(ddof=1) / math.sqrt(len(array)))


def rendered(rows: Sequence[Row]) -> str:
    """The table as Markdown, columns aligned."""
    cells = [("", "figure", "target", ""), *((row.name, row.figure, row.target, row.word) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
