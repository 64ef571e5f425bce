"""One examination: pairs come in, and as soon as it is known either way it says so.

`drifted` by the detector's own evidence for a shift beyond the tolerance, `certified` by the bound on every shift: both
hold whenever one looks, so stopping early costs nothing (docs/decisions/0047-certificates.md).
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Literal

from promptguard.certifying.values import Wish
from promptguard.drift import LabelRule, PairMonitor, PairVector, Verdict
from promptguard.drift.betting.bound import ShiftBound
from promptguard.verdict.sentence import change_in_words

Known = Literal["certified", "drifted"]
_RIGHT_SHARE = 0.2
"""of alpha, for the evidence that fewer answers are right; the rest is the detector's"""


class Examination:
    """Compares one version (and remedy) with the reference.

    `with_right`: every question has a true answer, and whether it is given counts as one more feature.
    """

    def __init__(self, wish: Wish, labels: LabelRule | None, *, with_right: bool) -> None:
        self._wish = wish
        share = 1.0 - _RIGHT_SHARE if with_right else 1.0
        self._monitor = PairMonitor(share * wish.alpha, "gate", tolerance=wish.tolerance, labels=labels)
        self._bound = ShiftBound(wish.tolerance, wish.alpha, with_right=with_right)
        self._worse = _Worse(wish.tolerance, _RIGHT_SHARE * wish.alpha) if with_right else None
        self.drifted_at: int | None = None

    def take(self, vector: PairVector, right: tuple[bool, bool] | None) -> None:
        """Take in one pair; `right` says of reference and candidate whether they gave the true answer."""
        alarmed = self._monitor.fold(vector)
        if self._worse is not None and right is not None:
            alarmed = self._worse.take(right) or alarmed
        self._bound.take(vector, right)
        self._note(alarmed=alarmed)

    def lose(self, side: str) -> None:
        """Take in a pair of which `side`, "control", "candidate" or "both", has no answer."""
        self._monitor.skip(f"{side}_error")
        if side != "both":
            self._bound.lose()
        self._note(alarmed=False)

    def _note(self, *, alarmed: bool) -> None:
        if self.drifted_at is None and alarmed:
            self.drifted_at = self.pairs

    @property
    def known(self) -> Known | None:
        """What is known; None while it is not. What is known first stays."""
        certified = self._bound.proven_at
        if self.drifted_at is not None and (certified is None or self.drifted_at <= certified):
            return "drifted"
        return None if certified is None else "certified"

    @property
    def pairs(self) -> int:
        """Pairs compared."""
        return self._bound.pairs

    @property
    def lost(self) -> int:
        """Pairs of which one answer was missing."""
        return self._bound.lost

    @property
    def left(self) -> int | None:
        """About how many more pairs it takes at this pace; None where that cannot be told."""
        share = max(self._bound.share, self._evidence_share)
        if self.pairs < _TOO_FEW or share <= 0.0:
            return None
        return math.ceil(self.pairs * (1.0 - share) / share)

    @property
    def _evidence_share(self) -> float:
        return self._monitor.log10_evidence() / -math.log10(self._wish.alpha)

    @property
    def log10_evidence(self) -> float:
        """Of a shift beyond the tolerance."""
        return self._monitor.log10_evidence()

    @cached_property
    def bound(self) -> float:
        """The smallest shift that is excluded, asked for once all pairs are in."""
        return self._bound.bound()

    @property
    def largest(self) -> tuple[str, float]:
        """The feature whose mean shifted most, and by how much; no bound."""
        return self._bound.largest

    @cached_property
    def verdict(self) -> Verdict:
        """The detector's verdict with its explanation, asked for once all pairs are in."""
        return self._monitor.explain()

    def changes(self) -> tuple[str, ...]:
        """Return what changed, in words; empty unless it drifted."""
        if self.known != "drifted":
            return ()
        found = [change_in_words(change) for change in self.verdict.changes]
        if self._worse is not None and self._worse.has_alarmed:
            found.insert(0, self._worse.sentence())
        return tuple(found)


_TOO_FEW = 5


class _Worse:
    """Evidence that the share of right answers differs by more than the tolerance, as `ShiftBet` has it of features."""

    _BETS = (0.25, 0.55, 0.9)

    def __init__(self, tolerance: float, alpha: float) -> None:
        self._tolerance, self._bar = tolerance, -math.log(alpha)
        self._logs = [[0.0] * len(self._BETS), [0.0] * len(self._BETS)]
        self._pairs, self._right = 0, [0, 0]
        self.has_alarmed = False

    def take(self, right: tuple[bool, bool]) -> bool:
        """Take in one pair; returns whether it has alarmed."""
        self._pairs += 1
        shift = float(right[1]) - float(right[0])
        for side in (0, 1):
            self._right[side] += right[side]
        for sign, logs in zip((1.0, -1.0), self._logs, strict=True):
            for place, bet in enumerate(self._BETS):
                logs[place] += math.log1p(bet / (1.0 + self._tolerance) * (sign * shift - self._tolerance))
        both = [log for logs in self._logs for log in logs]
        top = max(both)
        mixed = top + math.log(math.fsum(math.exp(log - top) for log in both) / len(both))
        self.has_alarmed = self.has_alarmed or mixed >= self._bar
        return self.has_alarmed

    def sentence(self) -> str:
        """Return how many were right."""
        before, after = (100 * count / self._pairs for count in self._right)
        return f"right answers {before:.0f} % -> {after:.0f} %"
