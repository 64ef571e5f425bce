"""Evidence: what the pay-offs of single pairs add up to, for one group and for all groups together.

Everything in logarithms.

Gate (one comparison): the product M of the pay-offs is a test martingale under "nothing changed", so P(M ever
reaches 1/alpha) <= alpha (Ville 1939). Monitor (watch for ever): R <- (R + 1) e; R_t - t is a martingale, so
an alarm at R >= H/alpha comes within any H pairs of a reset with probability at most alpha, and the average
run length is at least H/alpha (Shin, Ramdas, Rinaldo, arXiv 2203.03532).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from promptguard.verdict import Mode


def epoch_alpha(alpha: float, epoch: int) -> float:
    """Return what the k-th epoch may spend of a lifetime's alpha: 6 alpha / (pi k)^2, which sums to alpha over all k."""
    return alpha * 6.0 / (math.pi * epoch) ** 2


def log_add(first: float, second: float) -> float:
    """Return log(exp(first) + exp(second))."""
    high, low = (first, second) if first >= second else (second, first)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


class Process:
    """One gate product or one monitor statistic, as its logarithm."""

    __slots__ = ("log", "mode")

    def __init__(self, mode: Mode, log: float | None = None) -> None:
        self.mode: Mode = mode
        self.log = log if log is not None else (0.0 if mode == "gate" else -math.inf)

    def pay(self, log_payoff: float) -> None:
        """Take in one pair."""
        self.log = (self.log if self.mode == "gate" else log_add(self.log, 0.0)) + log_payoff

    def charge(self, log_payoff: float) -> None:
        """Take in a pair that lost an answer, at the least it could have paid: no alarm comes of it, and no time passes."""
        self.log += log_payoff


_RECOUNT = 1024
"""Changes after which the sum over groups is counted anew: each may be off by a rounding of the largest part."""
_FARTHEST = 30.0
_MARGIN = 0.01
"""Far more than what roundings can add up to, in the logarithm."""


class Union:
    """Evidence that *something* changed in *some* group.

    It is the mean of three processes over one common order of pairs.

    1. one learner over all pairs (finds what all groups share);
    2. the interleaved product: each pair paid by its own group's learner (many groups changed, each in its
       way);
    3. the sum over groups: in a monitor of the groups' own R_j; in a gate of capital that is split anew,
       before the pair is seen, whenever a new group appears: each of J groups then holds its part, and 1/J of
       everybody's goes to the newcomer (few changed). Each is a martingale (minus t in a monitor) in the
       filtration of the common order, hence so is their mean. With one group the three are the same process
       and nothing is lost.
    """

    __slots__ = ("_changes", "_log", "_scale", "_sum", "capital", "interleaved", "mode", "together")

    def __init__(self, mode: Mode) -> None:
        self.mode: Mode = mode
        self.together = Process(mode)
        self.interleaved = Process(mode)
        self.capital: dict[str, float] = {}
        """log capital (gate) or log R_j (monitor) by group"""
        self._log: float | None = None
        """the logarithm of the mean, once asked for"""
        self._sum: float | None = None
        """the sum over groups, in units of exp(_scale), kept up to date by differences; None until it is counted"""
        self._scale = 0.0
        self._changes = 0

    def pay(self, group: str, log_together: float, log_group: float) -> None:
        """Take in one pair of `group`, paid by the learner of all groups and by the group's own."""
        self._log = None
        if group not in self.capital:
            self._admit(group)
        self.together.pay(log_together)
        self.interleaved.pay(log_group)
        base = self.capital[group]
        held = (base if self.mode == "gate" else log_add(base, 0.0)) + log_group
        self.capital[group] = held
        if self._sum is not None:
            self._change(base, held)

    def charge(self, group: str, log_together: float, log_group: float) -> None:
        """Take in a pair of `group` that lost an answer, at the least it could have paid."""
        self._log = None
        self.together.charge(log_together)
        self.interleaved.charge(log_group)
        if group in self.capital:
            self.capital[group] += log_group
            self._sum = None

    def _admit(self, group: str) -> None:
        if self.mode == "monitor":
            self.capital[group] = -math.inf
            return
        self._sum = None
        number = len(self.capital) + 1
        total = _log_sum(self.capital.values()) if self.capital else 0.0
        kept = math.log1p(-1.0 / number) if number > 1 else 0.0
        for name in self.capital:
            self.capital[name] += kept
        self.capital[group] = total - math.log(number)

    def reaches(self, bar: float) -> bool:
        """Whether `log` is at least `bar`; looks at every group only where a sum kept by differences is near it."""
        if self._log is None and len(self.capital) > 1:
            if self._sum is None or self._changes >= _RECOUNT:
                self._count()
            groups = math.log(self._sum) + self._scale if self._sum else -math.inf
            near = log_add(log_add(self.together.log, self.interleaved.log), groups) - math.log(3.0)
            if near < bar - _MARGIN:
                return False
        return self.log >= bar

    def _count(self) -> None:
        self._scale = max(self.capital.values())
        if self._scale == -math.inf:
            self._scale = 0.0
        self._sum = math.fsum([math.exp(each - self._scale) for each in self.capital.values()])
        self._changes = 0

    def _change(self, before: float, after: float) -> None:
        if after - self._scale > _FARTHEST:
            self._sum = None
            return
        assert self._sum is not None  # noqa: S101 - the caller has looked
        self._sum = max(0.0, self._sum + math.exp(after - self._scale) - math.exp(before - self._scale))
        self._changes += 1

    @property
    def log(self) -> float:
        """The logarithm of the mean of the three; asked for twice a pair, counted once."""
        if self._log is None:
            self._log = self._mean()
        return self._log

    def _mean(self) -> float:
        if len(self.capital) <= 1:
            return self.together.log
        groups = _log_sum(self.capital.values())
        return log_add(log_add(self.together.log, self.interleaved.log), groups) - math.log(3.0)

    def leading(self) -> tuple[str | None, float]:
        """Return the group with the most evidence of its own, and its share of that of all groups."""
        if len(self.capital) < 2:
            return None, 0.0
        name = max(self.capital, key=lambda each: self.capital[each])
        return name, math.exp(self.capital[name] - _log_sum(self.capital.values()))

    def state_dict(self) -> dict[str, object]:
        """Return the three processes; minus infinity as None, for JSON."""
        return {
            "together": _finite(self.together.log),
            "interleaved": _finite(self.interleaved.log),
            "capital": [[name, _finite(value)] for name, value in self.capital.items()],
        }

    @classmethod
    def from_state(cls, mode: Mode, state: dict[str, Any]) -> Union:
        """Rebuild from `state_dict()`."""
        union = cls(mode)
        union.together.log = _restored(state["together"])
        union.interleaved.log = _restored(state["interleaved"])
        union.capital = {name: _restored(value) for name, value in state["capital"]}
        return union


def _log_sum(values: Collection[float]) -> float:
    peak = max(values)
    # fsum: the same bits in every order and version of Python
    return (
        peak if peak == -math.inf else peak + math.log(math.fsum([math.exp(each - peak) for each in values]))
    )


def _finite(value: float) -> float | None:
    return None if value == -math.inf else value


def _restored(value: float | None) -> float:
    return -math.inf if value is None else value
