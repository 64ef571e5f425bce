"""SetMonitor: the detector for prompts that are asked again and again (replay, canary).

Where one prompt has several stored answers, a round compares r of them with s answers of today as sets. That
raises the most one live answer can pay from log 2 toward log 4, and it sees what differences of single pairs
cannot: another spread, and changes that go another way for every prompt.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from promptguard.drift.betting.days import Days
from promptguard.drift.betting.group import Group
from promptguard.drift.betting.partitions import AnswerVector, Round, make_round, paired, vectorise_answer
from promptguard.drift.betting.setbet import SetBet
from promptguard.drift.betting.shift import ShiftBet
from promptguard.drift.checks import group_name
from promptguard.drift.explain.causes import LEVEL
from promptguard.drift.features.answer import Answer
from promptguard.drift.features.labels import Labeller
from promptguard.drift.features.vector import PairVector
from promptguard.drift.history.register import FactRow
from promptguard.drift.monitor import PairMonitor
from promptguard.verdict import Mode, Verdict

SETS = 1
FEWEST = 2
"""answers a side without which a round says nothing of spread"""
MOST_ANSWERS = 64
"""answers a side; distances are between all answers of a round"""


class SetMonitor:
    """Watches one stream of rounds, each some stored answers and some of today's to one prompt.

    Modes, `alpha`, groups, epochs and verdicts are those of `PairMonitor`, but evidence is read **only at the
    ends of rounds**, and `horizon` counts rounds. In verdicts `pairs` and `alarm_at` count live answers that
    had a stored partner; `rounds` and `alarm_round` count rounds.

    The promise holds when, given the past, all answers of a round could be exchanged: every stored answer is
    used in one round only, and stored and live answers are calls alike but for the model.

    `tolerance` and `cause_error`, as for `PairMonitor`: the pairs of the rounds alone are judged then.

    `seed` keys the text hash and the labelings drawn for rounds larger than 5 + 5. It must not depend on the
    answers, and is not part of the state.

    >>> monitor = SetMonitor(alpha=0.01)
    >>> same = [Answer("Yes."), Answer("Yes, it is."), Answer("Yes.")]
    >>> monitor.update(banked=same, live=same).pairs
    3
    """

    def __init__(
        self,
        alpha: float = 0.01,
        mode: Mode = "gate",
        *,
        horizon: int | None = None,
        stream: str = "canary",
        labels: Labeller | None = None,
        seed: bytes = b"",
        tolerance: float | None = None,
        cause_error: float = LEVEL,
    ) -> None:
        self._inner = _Rounds(
            alpha,
            mode,
            horizon=horizon,
            stream=stream,
            labels=labels,
            seed=seed,
            tolerance=tolerance,
            cause_error=cause_error,
        )

    # -- taking rounds in

    def update(
        self,
        banked: Sequence[Answer],
        live: Sequence[Answer],
        group: str | None = None,
        reference: str | None = None,
        response_format: Mapping[str, object] | None = None,
        day: int | None = None,
    ) -> Verdict:
        """Take in one round and return the verdict so far (without explanation).

        `banked` and `live` may differ in number; both are in an order that does not depend on their content
        (the first is paired with the first). A round with fewer than 2 answers on a side is not measured. Of a
        round with a lost answer (one with `error`) nothing is learned: it is charged the least that any answers
        in the place of those could have paid. ValueError names a wrong argument.
        """
        _check_round(banked, live, Answer)
        group_name(group)
        sides = (("control", banked), ("candidate", live))
        lost = [f"{name}_error" for name, answers in sides for each in answers if each.error is not None]
        if lost and min(len(banked), len(live)) >= FEWEST:
            return self._inner.lose_round(lost, min(len(banked), len(live)), group)
        read = partial(
            vectorise_answer,
            seed=self._inner.seed,
            labels=self._inner.labels,
            response_format=response_format,
        )
        first, second = ([read(each) for each in answers if each.error is None] for _, answers in sides)
        return self.observe(first, second, group, reference, day)

    def observe(
        self,
        banked: Sequence[AnswerVector],
        live: Sequence[AnswerVector],
        group: str | None = None,
        reference: str | None = None,
        day: int | None = None,
    ) -> Verdict:
        """Take in one round of measured answers and return the verdict so far; about 4 milliseconds.

        `day` is that of the live answers, as for `PairMonitor.fold`.
        """
        _check_round(banked, live, AnswerVector)
        if min(len(banked), len(live)) < FEWEST:
            return self._inner.skip("short_round", group)
        return self._inner.take(list(banked), list(live), group, reference, day)

    def learn_days(self, days: Sequence[Sequence[tuple[Sequence[Answer], Sequence[Answer]]]]) -> None:
        """Learn before the first round how much days differ: past days two by two, their answers beside each other.

        Each pair of sides is one prompt's. No answer may stand in two of them. Each two count as one reference day.
        """
        if self._inner.whole.rounds:
            raise ValueError("days are learned before the first round")
        inner = self._inner
        other = SetMonitor(
            self.alpha, inner.mode, horizon=inner.horizon, seed=inner.seed, tolerance=inner.tolerance
        )
        for number, rounds in enumerate(days):
            for others, own in rounds:
                other.update(others, own, day=number)
        known = other._inner.whole.days
        self._inner.know(() if known is None else known.all_finished())

    def skip(self, side_reason: str, group: str | None = None) -> Verdict:
        """Count an answer that could not be had, and why; reasons as for `PairMonitor.skip`.

        One that one side lost is charged as a round of the largest size; `update` knows its round, and charges less.
        """
        return self._inner.skip(side_reason, group)

    def acknowledge(self) -> Verdict:
        """Begin a new epoch: evidence, learners and counts start again, and the promise with them."""
        return self._inner.acknowledge()

    # -- telling

    @property
    def alpha(self) -> float:
        """The chance of a false alarm that is promised."""
        return self._inner.alpha

    @property
    def epoch(self) -> int:
        """The number of this epoch, from 1."""
        return self._inner.epoch

    @property
    def rounds(self) -> int:
        """Rounds measured in this epoch."""
        return self._inner.whole.rounds

    @property
    def alarm_round(self) -> int | None:
        """The round whose end rang the alarm, counted from 1 within the epoch."""
        return self._inner.whole.alarm_round

    def brief(self, group: str | None = None) -> Verdict:
        """Return the verdict of all rounds, or of one group, without explanation."""
        return self._inner.brief(group)

    def verdict(self) -> Verdict:
        """Return the verdict with its explanation; the same as `explain()`."""
        return self._inner.explain()

    def explain(self, effect_from: int | None = None) -> Verdict:
        """Return the verdict with onset, changes, ability and groups, from the pairs of the rounds.

        As `PairMonitor.explain`; a change of spread alone may leave `changes` empty.
        """
        return self._inner.explain(effect_from)

    # -- state

    def state_dict(self) -> dict[str, object]:
        """Return everything but the seed as JSON values; `from_state` continues bit for bit."""
        return {"sets": SETS, "drawn": self._inner.drawn, "monitor": self._inner.state_dict()}

    @classmethod
    def from_state(
        cls, state: Mapping[str, Any], *, seed: bytes = b"", labels: Labeller | None = None
    ) -> SetMonitor:
        """Rebuild a monitor from `state_dict()`. ValueError when it is another version or no state at all."""
        if not isinstance(state, Mapping) or state.get("sets") != SETS:
            raise ValueError(f"state must be a state_dict() of SetMonitor, version {SETS}")
        if not isinstance(state.get("monitor"), Mapping) or not isinstance(state.get("drawn"), int):
            raise ValueError("state is damaged")
        inner = _Rounds.from_state(state["monitor"], seed=seed, labels=labels)
        inner.drawn = state["drawn"]
        monitor = cls(inner.alpha, inner.mode, horizon=inner.horizon, stream=inner.stream)
        monitor._inner = inner
        return monitor


class SetGroup(Group):
    """A group whose pairs come in rounds. Its learner plays the pairs; `sets` bets on whole rounds."""

    __slots__ = ("alarm_round", "ceiling", "rounds", "said", "sets")

    def __init__(self, mode: Mode, tolerance: float | None = None) -> None:
        super().__init__(mode, tolerance)
        self.sets = SetBet()
        self.rounds = 0
        self.alarm_round: int | None = None
        self.ceiling = 0.0
        self.said: list[FactRow | None] = []
        """how what the last round's pairs say by place is remembered"""

    @property
    def log_least(self) -> float:
        """The log of the least that a round could pay now, of whatever size: what an answer lost outside of one costs."""
        return self.least(MOST_ANSWERS)

    def least(self, pairs: int) -> float:
        """Return the log of the least that a round of so many pairs could pay now; at most 0."""
        known = self.learner
        return min(0.0, known.log_least_of(pairs) if isinstance(known, ShiftBet) else self.sets.log_least)

    def lose_round(self, reasons: Sequence[str], pairs: int) -> float:
        """Count the answers that a round lost; return log e of it, at most 0: what it is charged."""
        for reason in reasons:
            self.losses.count(reason)
        charge = self.least(pairs)
        self.process.charge(charge)
        return charge

    @property
    def log_ceiling(self) -> float:
        """The log of the most that the rounds measured could have paid."""
        return self.ceiling

    def bet_round(self, seen: Round, day: int | None) -> float:
        """Score the round, then learn from it; return log e."""
        self.rounds += 1
        tolerated = isinstance(self.learner, ShiftBet)
        self.ceiling += len(seen.pairs) * self.learner.log_most if tolerated else seen.log_ceiling
        log_pairs, self.said = 0.0, []
        for pair in seen.pairs:
            log_pairs += self.learner.score_then_learn(pair)
            self.said.append(self.facts.row if self.facts is not None and len(pair.facts) else None)
        # what a round says beyond its pairs knows no tolerance
        payoff = log_pairs if tolerated else self.sets.score_then_learn(seen, log_pairs)
        self.paid(payoff, day, len(seen.pairs))
        return payoff

    def state_dict(self) -> dict[str, object]:
        """Return what a group keeps, and what its rounds add."""
        own = {"rounds": self.rounds, "alarm_round": self.alarm_round, "ceiling": self.ceiling}
        return {**super().state_dict(), **own, "sets": self.sets.state_dict()}

    @classmethod
    def from_state(cls, mode: Mode, state: dict[str, Any]) -> SetGroup:
        """Rebuild a group."""
        plain = Group.from_state(mode, state)
        group = cls(mode)
        for name in Group.__slots__:
            setattr(group, name, getattr(plain, name))
        group.sets = SetBet.from_state(state["sets"])
        group.rounds, group.alarm_round = state["rounds"], state["alarm_round"]
        group.ceiling = state["ceiling"]
        return group


class _Rounds(PairMonitor):
    """The bookkeeping of PairMonitor (groups, losses, history, telling), fed by rounds."""

    _group_type = SetGroup
    _chance = 0.0
    drawn = 0
    """rounds of all epochs: each draws its own labelings"""

    @property
    def whole(self) -> SetGroup:
        assert isinstance(self._all, SetGroup)  # noqa: S101 -- narrows the type; `_group_type` makes it so
        return self._all

    def know(self, days: Sequence[tuple[float, int]]) -> None:
        """Take days (evidence that grew, pairs) as known before the first round."""
        self.whole.days = Days(self.mode, -math.log(self.alpha), self._chance)
        self.whole.days.known = list(days)

    def take(
        self,
        banked: list[AnswerVector],
        live: list[AnswerVector],
        group: str | None,
        reference: str | None,
        day: int | None,
    ) -> Verdict:
        name = group_name(group)
        own, whole = self._group(name), self.whole
        assert isinstance(own, SetGroup)  # noqa: S101
        # as many pairs as both sides allow; the rest of the longer side plays in the set game only
        vectors = [paired(*answers, reference, self.seed) for answers in zip(banked, live, strict=False)]
        self.drawn += 1
        seen = make_round(banked, live, vectors, (self.seed, self.drawn))
        self._know_days(own, day)
        together = whole.bet_round(seen, day)
        self._union.pay(name, together, together if own is whole else own.bet_round(seen, day))
        self._remember(own, vectors)
        # the process is a martingale at the ends of rounds only: nothing may look earlier
        self._ring(own)
        for seat in (whole, own):
            if seat.history.alarm_at is not None and seat.alarm_round is None:
                seat.alarm_round = seat.rounds
        return self.brief()

    def lose_round(self, reasons: Sequence[str], pairs: int, group: str | None) -> Verdict:
        name = group_name(group)
        own, whole = self._group(name), self.whole
        assert isinstance(own, SetGroup)  # noqa: S101
        together = whole.lose_round(reasons, pairs)
        self._union.charge(name, together, together if own is whole else own.lose_round(reasons, pairs))
        return self.brief()

    def _remember(self, own: SetGroup, vectors: list[PairVector]) -> None:
        for group in (self.whole,) if own is self._all else (self.whole, own):
            for vector, said in zip(vectors, group.said, strict=True):
                group.history.add(vector, facts=said)


def _check_round(banked: object, live: object, kind: type) -> None:
    for name, answers in (("banked", banked), ("live", live)):
        if isinstance(answers, (str, bytes)) or not isinstance(answers, Sequence):
            raise ValueError(f"{name} must be a list, not {type(answers).__name__}")
        if len(answers) > MOST_ANSWERS:
            raise ValueError(f"{name} must hold at most {MOST_ANSWERS} answers, not {len(answers)}")
        for answer in answers:
            if not isinstance(answer, kind):
                raise ValueError(f"{name} must hold {kind.__name__} values, not {type(answer).__name__}")
