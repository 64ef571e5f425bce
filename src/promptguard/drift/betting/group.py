"""What is known of one group: its learner, its evidence, its past and its losses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.betting.days import Days
from promptguard.drift.betting.evidence import Process
from promptguard.drift.betting.experts import Difference, SwapBet
from promptguard.drift.betting.factbet import FactBet
from promptguard.drift.betting.losses import Losses, is_one_sided
from promptguard.drift.betting.oddbet import HELD, SHARE, OddBet
from promptguard.drift.betting.shift import ShiftBet
from promptguard.drift.features.vector import PairVector
from promptguard.drift.history.history import NO_EDGE, History
from promptguard.drift.history.register import Register
from promptguard.verdict import Mode, Status

_MORE = math.log(3.0) - math.log(2.0)
"""what a triple can pay above a pair, as a logarithm"""


class Group:
    """What is known of one group, or of all groups together."""

    __slots__ = ("days", "history", "learner", "losses", "odd", "odd_held", "process")

    def __init__(self, mode: Mode, tolerance: float | None = None) -> None:
        self.learner: SwapBet | ShiftBet = SwapBet() if tolerance is None else ShiftBet(tolerance)
        self.process = Process(mode)
        self.history = History()
        self.losses = Losses()
        self.days: Days | None = None
        """what is known of days; None in a stream whose pairs are of one moment each"""
        self.odd: OddBet | None = None
        """bets on which of three answers is the odd one, once a second control stood beside a pair"""
        self.odd_held = 0.0
        """the share of the capital that is bet by `odd`"""

    @property
    def pairs(self) -> int:
        """Pairs measured in this epoch."""
        return self.history.pairs

    def lose(self, reason: str) -> float:
        """Count a pair that was not had; return log e of it, at most 0: what it is charged."""
        self.losses.count(reason)
        charge = self.log_least if is_one_sided(reason) else 0.0
        self.process.charge(charge)
        return charge

    @property
    def log_least(self) -> float:
        """The log of the least that any pair could pay now, with or without a second control."""
        alone = min(0.0, self.learner.log_least)
        if self.odd is None:
            return alone
        return min(alone, math.log((1.0 - self.odd_held) * math.exp(alone) + self.odd_held * self.odd.least))

    def status(self, alarm_at: int | None, threshold: float) -> tuple[Status, str | None]:
        """Return the status with its reason; `alarm_at` where the stream has alarmed too, `threshold` a logarithm."""
        if alarm_at is not None:
            return "drift", None
        lost = self.losses.problem(self.pairs)
        if lost is not None:
            return "unmeasured", lost
        # what is below this ceiling could not have been enough, whatever the answers said
        if self.log_ceiling < threshold - 1e-9:
            return "unmeasured", "too few pairs"
        return "no_drift", None

    @property
    def log_ceiling(self) -> float:
        """The log of the most that what was measured could have paid."""
        more = self.odd.triples * _MORE if self.odd is not None else 0.0
        return self.pairs * self.learner.log_most + more

    def bet(self, seen: Difference, day: int | None = None) -> float:
        """Score the pair, then learn from it; return log e."""
        payoff = self.learner.score_then_learn(seen)
        if seen.triple is not None and isinstance(self.learner, SwapBet):
            payoff = self._with_the_odd_one(payoff, seen.triple)
        self.paid(payoff, day)
        return payoff

    def paid(self, payoff: float, day: int | None, pairs: int = 1) -> None:
        """Take in what a pair has paid, or a round of several, and on which day."""
        self.process.pay(payoff)
        if day is not None and self.days is not None:
            self.days.pay(day, payoff, pairs)

    def rings(self, bar: float) -> bool:
        """Whether the evidence has reached `bar`, and is more than the wobble of a day."""
        return self.process.log >= bar and self.allows(bar)

    def allows(self, bar: float) -> bool:
        """Whether evidence that has reached `bar` is more than the wobble of a day."""
        return self.days is None or self.days.allows(bar)

    def _with_the_odd_one(self, log_payoff: float, triple: PairVector) -> float:
        """Return log e of a pair with a second control beside it: both games, mixed by shares fixed before."""
        if self.odd is None:
            self.odd, self.odd_held = OddBet(), HELD
        swapped, odd = math.exp(log_payoff), self.odd.score_then_learn(triple)
        both = (1.0 - self.odd_held) * swapped + self.odd_held * odd
        self.odd_held = (1.0 - SHARE) * self.odd_held * odd / both + SHARE * HELD
        return math.log(both)

    def remember(self, vector: PairVector, roots: NDArray[np.uint8]) -> None:
        """Keep the pair just bet on; `roots` are its features as they are remembered (`history.roots_of`)."""
        edge = self.learner.edge
        facts = self.facts
        row = None if facts is None or not len(vector.facts) else facts.row
        self.history.add(vector, NO_EDGE if edge is None else round(127.0 * edge), row, roots)

    @property
    def facts(self) -> FactBet | None:
        """The bets on places; None before an answer had some, and under a tolerance."""
        return self.learner.facts if isinstance(self.learner, SwapBet) else None

    @property
    def register(self) -> Register | None:
        """The places that `facts` bets on."""
        return None if self.facts is None else self.facts.register

    def state_dict(self) -> dict[str, object]:
        """Return learner, evidence, past and losses."""
        return {
            "learner": self.learner.state_dict(),
            "log": None if self.process.log == -math.inf else self.process.log,
            "history": self.history.state_dict(),
            "losses": list(self.losses.state_dict().items()),
            "days": None if self.days is None else self.days.state_dict(),
            "odd": None if self.odd is None else self.odd.state_dict(),
            "odd_held": self.odd_held,
        }

    @classmethod
    def from_state(cls, mode: Mode, state: dict[str, Any]) -> Group:
        """Rebuild a group."""
        group = cls(mode)
        learner = state["learner"]
        group.learner = (ShiftBet if "tolerance" in learner else SwapBet).from_state(learner)
        group.process = Process(mode, -math.inf if state["log"] is None else state["log"])
        group.history = History.from_state(state["history"])
        group.losses = Losses(dict(state["losses"]))
        days = state.get("days")  # older states know none
        group.days = None if days is None else Days.from_state(mode, days)
        group.odd_held = state["odd_held"]
        group.odd = None if state["odd"] is None else OddBet.from_state(state["odd"])
        return group
