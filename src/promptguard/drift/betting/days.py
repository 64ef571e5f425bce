"""Days: evidence that has to outlast one day, and to exceed what days usually differ by.

A provider's day is a random effect: within a day answers share it, so that pairs of a day agree with each other though the
model is the same, and many of them add up to an alarm. What makes up for it, where a stream's pairs compare different days:

* **past days are the reference.** How fast evidence grew on the days before (nats a pair, less what chance does) is how
  much days differ; `FACTOR` times the largest of the last `MOST_REFERENCES` is charged to every pair. The days since
  evidence began to grow are left out, or a change would become its own reference. Before there are `WANTED` of them nothing
  is judged this way;
* **one day is not enough.** Of what an alarm takes, one day may bring `DAY_SHARE`;
* **unless it is sudden:** a run of at least `FEWEST` pairs that pay on average what no usual day pays, and reach the
  threshold alone. Of a change of every answer pays each pair about 0.6, the largest wobble of a day 0.1.

It only ever withholds an alarm, so the promise for days that are alike stands. That it holds for days that differ is
measured (docs/explanation), not a theorem.
"""

from __future__ import annotations

import math
from typing import Any

from promptguard.drift.betting.evidence import log_add
from promptguard.verdict import Mode
from promptguard.verdict.days import WANTED, DaysTold, Wobble

MOST_REFERENCES = 14
FACTOR = 2.0
FEWEST, SUDDEN, BEYOND_USUAL = 30, 0.3, 5.0
"""pairs of a sudden run; nats that each pays on average; and how many times the usual growth of a day that is at least"""
DAY_SHARE = 0.6
"""Share of ln(1/alpha) that one day may bring, unless the change is sudden. Of a monitor's threshold the rest, ln(horizon),
is in part there before any evidence is."""
CHANCE = 2.0
"""Nats that a day's evidence may grow by chance, in pairs; rounds of sets see so much that any growth is the day's."""
_MOST_WOBBLES = 5
_LN10 = math.log(10.0)


class Days:
    """The days of one group's pairs.

    `charged` is its evidence less the charge, `excess` what days of this run have brought above their share.
    `stake` is ln(1/alpha).
    """

    __slots__ = (
        "_growing",
        "_growing_days",
        "_mode",
        "_run",
        "_run_pairs",
        "_today",
        "_today_pairs",
        "_withheld",
        "chance",
        "charged",
        "day",
        "excess",
        "finished",
        "growth",
        "known",
        "most",
        "of_day",
        "wobbles",
    )  # fmt: skip

    def __init__(self, mode: Mode, stake: float, chance: float = CHANCE) -> None:
        self._mode: Mode = mode
        self.day: int | None = None
        self.finished: list[tuple[float, int]] = []
        """(evidence that grew, pairs) of the days before, oldest first"""
        self.known: list[tuple[float, int]] = []
        """the same of days that were known before the first pair: those of a bank against each other"""
        self.wobbles: list[tuple[int, float]] = []
        """(day, evidence that grew) of days that would have rung and did not last"""
        self._today, self._today_pairs = 0.0, 0
        self._run, self._run_pairs = 0.0, 0
        self.charged = self.excess = self.of_day = 0.0
        self.most = DAY_SHARE * stake
        self.chance = chance
        self.growth = 0.0
        self._withheld = False
        self._growing, self._growing_days = 0.0, 0
        """evidence since it last began to grow, and for how many finished days it has"""

    @property
    def references(self) -> int:
        """How many past days are the reference."""
        return len(self._reference())

    def pay(self, day: int, log_payoff: float, pairs: int = 1) -> None:
        """Take in what a pair paid, or a round of several pairs, made on a day (counted from any one)."""
        # Processes write their pairs as they come: one of yesterday after midnight is no new day.
        if self.day is None or day > self.day:
            self._begin(day)
        self._today += log_payoff
        self._today_pairs += pairs
        self._run += log_payoff
        self._run_pairs += pairs
        # a run lasts while it pays on average what no usual day does
        if self._run <= self._run_pairs * max(SUDDEN, BEYOND_USUAL * self.growth):
            self._run, self._run_pairs = 0.0, 0
        if self.references < WANTED:
            return
        less = log_payoff - pairs * FACTOR * self.growth
        self.charged = (log_add(self.charged, 0.0) if self._mode == "monitor" else self.charged) + less
        self.of_day += less

    def _begin(self, day: int) -> None:
        if self.day is not None:
            self.finished = [*self.finished, (self._today, self._today_pairs)][-2 * MOST_REFERENCES :]
            self._growing = max(0.0, self._growing + self._today)
            self._growing_days = min(MOST_REFERENCES, self._growing_days + 1) if self._growing else 0
            if self._withheld and self._today > CHANCE:
                self.wobbles = [*self.wobbles, (self.day, self._today)][-_MOST_WOBBLES:]
        self.excess = self._excess() if self._growing else 0.0
        self.of_day = 0.0
        self.day, self._today, self._today_pairs, self._withheld = day, 0.0, 0, False
        self.growth = max(
            (max(0.0, grew - self.chance) / pairs for grew, pairs in self._reference()), default=0.0
        )

    def _reference(self) -> list[tuple[float, int]]:
        settled = self.finished[: max(0, len(self.finished) - max(1, self._growing_days))]
        return [*self.known, *settled][-MOST_REFERENCES:]

    def of_epoch(self, stake: float) -> Days:
        """Return what the next epoch begins with: the days that are a reference in this one."""
        days = Days(self._mode, stake, self.chance)
        days.known = self._reference()
        return days

    def of_group(self) -> Days:
        """Return the days of a group that is seen for the first time: what is known of all groups' days holds for it."""
        days = Days(self._mode, self.most / DAY_SHARE, self.chance)
        days.known = self._reference() or self.finished[:1]
        return days

    def all_finished(self) -> list[tuple[float, int]]:
        """Return (evidence that grew, pairs) of every day so far, today included."""
        return (
            [*self.finished, (self._today, self._today_pairs)] if self._today_pairs else list(self.finished)
        )

    def _excess(self) -> float:
        return self.excess + max(0.0, self.of_day - self.most)

    def allows(self, bar: float) -> bool:
        """Whether evidence that has reached `bar` is more than the wobble of a day; asked only when it has."""
        if not self.finished and not self.known:
            return True  # there is no other day to tell it from
        sudden = self._run >= bar and self._run_pairs >= FEWEST
        lasting = self.references >= WANTED and self.charged - self._excess() >= bar
        self._withheld = not (sudden or lasting)
        return sudden or lasting

    def told(self) -> DaysTold:
        """Return what a verdict says of days."""
        wobbles = tuple(Wobble(day, grew / _LN10) for day, grew in self.wobbles)
        return DaysTold(min(self.references, WANTED), WANTED, wobbles)

    def state_dict(self) -> dict[str, object]:
        """Return it as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "_mode"}

    @classmethod
    def from_state(cls, mode: Mode, state: dict[str, Any]) -> Days:
        """Rebuild it; it continues bit for bit."""
        days = cls(mode, 0.0)
        for name, value in state.items():
            setattr(days, name, value)
        days.finished = [(float(grew), int(pairs)) for grew, pairs in state["finished"]]
        days.known = [(float(grew), int(pairs)) for grew, pairs in state["known"]]
        days.wobbles = [(int(day), float(grew)) for day, grew in state["wobbles"]]
        return days
