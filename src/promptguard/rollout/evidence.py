"""The evidence of one rollout: a fold over its outcomes, the same for every process and reader.

Outcomes come in blocks: a block ends as soon as it has one of each version, and gives one pair. Which version an outcome is
of was decided by a hash alone, so within a block the mean of the new version's minus that of the old one's has the true
difference as its mean, whatever came before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from promptguard.core.rollouts import Guard, Rollout
from promptguard.drift.betting.arms import ArmsBet
from promptguard.drift.features.vector import PairVector
from promptguard.rollout.bets import Bound, WorseBet, log_sum
from promptguard.rollout.outcome import Outcome

BOUND_LEVEL = 0.05
"""Error of the upper bounds on a worsening, all guards together."""
QUIET = math.log(20.0)
"""Evidence of another behaviour from which on no step is taken."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one guard says. `log_evidence` is the natural logarithm of its e-value for a worsening.

    `bound` is the largest worsening that is not ruled out: of the share of bad answers, or, of cost and latency, of the
    share of pairs in which the new version is worse than tolerated over those in which it is not. None where none is
    computed.
    """

    guard: Guard
    pairs: int
    log_evidence: float
    bound: float | None
    mean_before: float | None
    mean_now: float | None


class _Bettor(Protocol):
    pairs: int

    def take(self, before: Sequence[Outcome], now: Sequence[Outcome]) -> None: ...
    @property
    def log(self) -> float: ...
    def upper(self, level: float) -> float | None: ...


class _Shares:
    """A guard on what an answer is or is not: bad answers of the new version less those of the old one."""

    def __init__(self, is_bad: Callable[[Outcome], bool | None], tolerance: float) -> None:
        self._is_bad = is_bad
        self._worse, self._bound = WorseBet(tolerance), Bound()
        self.pairs = 0

    def take(self, before: Sequence[Outcome], now: Sequence[Outcome]) -> None:
        old, new = (_mean([self._is_bad(each) for each in side]) for side in (before, now))
        if old is not None and new is not None:
            self.pairs += 1
            self._worse.take(new - old)
            self._bound.take(new - old)

    @property
    def log(self) -> float:
        return self._worse.log

    def upper(self, level: float) -> float | None:
        return self._bound.upper(level)


class _Sizes:
    """A guard on an amount: which of two is larger, and by how much of both.

    Under the null an amount of the new version is no larger, in distribution, than one of the old version times
    1 + `tolerance`. Then any function that grows with the first, falls with the second and changes its sign when they are
    exchanged has a mean of at most 0: the sign is one, (new - old) / (new + old) another, which sees rare large amounts.
    """

    def __init__(self, amount: Callable[[Outcome], float | None], tolerance: float) -> None:
        self._amount = amount
        self._more = 1.0 + tolerance
        self._signs, self._shares, self._bound = WorseBet(0.0), WorseBet(0.0), Bound()
        self.pairs = 0

    def take(self, before: Sequence[Outcome], now: Sequence[Outcome]) -> None:
        old = [known * self._more for known in map(self._amount, before) if known is not None]
        new = [known for known in map(self._amount, now) if known is not None]
        if not old or not new:
            return
        pairs = [(a, b) for a in new for b in old]
        sign = sum((a > b) - (a < b) for a, b in pairs) / len(pairs)
        self.pairs += 1
        self._signs.take(sign)
        self._shares.take(sum((a - b) / (a + b) if a + b > 0 else 0.0 for a, b in pairs) / len(pairs))
        self._bound.take(sign)

    @property
    def log(self) -> float:
        return log_sum((self._signs.log, self._shares.log)) - math.log(2.0)

    def upper(self, level: float) -> float | None:
        return self._bound.upper(level)


class _Behaviour:
    """A guard on how answers are: any difference is one, be it better or worse."""

    def __init__(self) -> None:
        self._bet = ArmsBet()
        self.pairs = 0

    def take(self, before: Sequence[Outcome], now: Sequence[Outcome]) -> None:
        old, new = (
            next((each.answer for each in reversed(side) if each.answer), None) for side in (before, now)
        )
        if old is None or new is None:
            return
        try:
            vectors = PairVector.from_bytes(old), PairVector.from_bytes(new)
        except ValueError:  # damaged: not known
            return
        self.pairs += 1
        self._bet.take(*vectors)

    @property
    def log(self) -> float:
        return self._bet.log

    def upper(self, level: float) -> float | None:  # noqa: ARG002 - the interface of bettors
        return None


def _unusable(outcome: Outcome) -> bool | None:
    return None if outcome.usable is None else not outcome.usable


def _bettor(guard: Guard, tolerance: float) -> _Bettor:
    if guard == "usable":
        return _Shares(_unusable, tolerance)
    if guard == "refusal":
        return _Shares(lambda outcome: outcome.refused, tolerance)
    if guard == "cost":
        return _Sizes(lambda outcome: outcome.usd, tolerance)
    if guard == "latency":
        return _Sizes(lambda outcome: outcome.latency, tolerance)
    return _Behaviour()


_VALUES: dict[Guard, Callable[[Outcome], float | bool | None]] = {
    "usable": lambda outcome: outcome.usable,
    "refusal": lambda outcome: outcome.refused,
    "cost": lambda outcome: outcome.usd,
    "latency": lambda outcome: outcome.latency,
}


class Evidence:
    """The fold of one rollout's outcomes, in the order in which they were committed."""

    def __init__(self, rollout: Rollout) -> None:
        self.rollout = rollout
        self._bettors: dict[Guard, _Bettor] = {
            guard: _bettor(guard, rollout.tolerance.get(guard, 0.0)) for guard in rollout.guards
        }
        self._block: tuple[list[Outcome], list[Outcome]] = ([], [])
        self._sums: dict[tuple[Guard, bool], tuple[float, int]] = {}
        self.pairs = 0
        self.outcomes = [0, 0]
        """of the old version, of the new one"""
        self._step_pairs: dict[int, int] = {}

    def take(self, outcome: Outcome) -> bool:
        """Take the next outcome; returns whether it completed a pair."""
        self.outcomes[outcome.is_treated] += 1
        for guard, value in _VALUES.items():
            seen = value(outcome)
            if seen is not None:
                total, count = self._sums.get((guard, outcome.is_treated), (0.0, 0))
                self._sums[guard, outcome.is_treated] = total + seen, count + 1
        before, now = self._block
        (now if outcome.is_treated else before).append(outcome)
        if not before or not now:
            return False
        self._block = ([], [])
        self.pairs += 1
        self._step_pairs[outcome.step] = self._step_pairs.get(outcome.step, 0) + 1
        for bettor in self._bettors.values():
            bettor.take(before, now)
        return True

    def pairs_of(self, step: int) -> int:
        """Return how many pairs were completed at a step."""
        return self._step_pairs.get(step, 0)

    @property
    def log(self) -> float:
        """The natural logarithm of the e-value of all guards together, which is their mean."""
        return log_sum([bettor.log for bettor in self._bettors.values()]) - math.log(len(self._bettors))

    def told(self) -> tuple[Told, ...]:
        """Return what each guard says."""
        level = BOUND_LEVEL / len(self._bettors)
        return tuple(
            Told(
                guard, bettor.pairs, bettor.log, bettor.upper(level), self._average(guard, False),
                self._average(guard, True),
            )
            for guard, bettor in self._bettors.items()
        )  # fmt: skip

    def _average(self, guard: Guard, treated: bool) -> float | None:
        total, count = self._sums.get((guard, treated), (0.0, 0))
        return total / count if count else None


def _mean(flags: Sequence[bool | None]) -> float | None:
    known = [flag for flag in flags if flag is not None]
    return sum(known) / len(known) if known else None
