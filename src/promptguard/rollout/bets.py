"""Bets on bounded differences, new version minus old: evidence of a worsening, and how large a worsening can still be.

For differences D in [-1, 1] whose mean, given all before, is at most t under the null, a bet of a share b of the capital on
"worse" makes the capital the product of 1 + b (D - t), which is at most 1 in the mean at any time that looks choose (Ville;
Waudby-Smith & Ramdas, arXiv 2010.09686). A mean over several b is such a capital again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_BETS: Sequence[tuple[float, float]] = (
    (0.98, 0.4),
    (0.8, 0.2),
    (0.5, 0.15),
    (0.25, 0.1),
    (0.1, 0.1),
    (0.03, 0.05),
)
"""(share of the largest bet that cannot ruin, weight in the mean): most on large changes, which must be seen soon"""
_MEANS: Sequence[float] = tuple(number / 50.0 for number in range(1, 51))
_LARGEST = 4.0
"""Bets against a worsening of almost everything need not be larger."""


class WorseBet:
    """Evidence that the mean difference is above `tolerance`; a difference is in [-1, 1], above 0 for worse."""

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self._logs = [math.log(weight) for _, weight in _BETS]
        self._bets = [share / (1.0 + tolerance) for share, _ in _BETS]

    @property
    def log(self) -> float:
        """The natural logarithm of the e-value."""
        return log_sum(self._logs)

    def take(self, difference: float) -> None:
        """Take the next difference."""
        gain = difference - self._tolerance
        for place, bet in enumerate(self._bets):
            self._logs[place] += math.log1p(bet * gain)


class Bound:
    """The largest mean difference that is not ruled out yet, at a level that holds at every look."""

    def __init__(self) -> None:
        weights = [math.log(weight) for _, weight in _BETS]
        self._logs = [list(weights) for _ in _MEANS]
        self._bets = [
            [share * min(_LARGEST, 1.0 / max(1.0 - mean, 1e-9)) for share, _ in _BETS] for mean in _MEANS
        ]

    def take(self, difference: float) -> None:
        """Take the next difference."""
        for mean, logs, bets in zip(_MEANS, self._logs, self._bets, strict=True):
            gain = mean - difference
            for place, bet in enumerate(bets):
                logs[place] += math.log1p(bet * gain)

    def upper(self, level: float) -> float:
        """Return the smallest mean of the grid from which on all are ruled out with error `level`, 1 where none is."""
        bar, found = -math.log(level), 1.0
        for mean, logs in zip(reversed(_MEANS), reversed(self._logs), strict=True):
            if log_sum(logs) < bar:
                break
            found = mean
        return found


def log_sum(logs: Sequence[float]) -> float:
    """Return log(sum(exp(each)))."""
    peak = max(logs)
    return peak if peak == -math.inf else peak + math.log(sum(math.exp(each - peak) for each in logs))
