"""Behaviour or ability: whether a model lost a skill or only a habit.

A fall in accuracy can be a shift of the answer's bias (it now says "no" to everything) or of its
discrimination. Signal detection tells them apart: d' is ability, the criterion is habit (Green & Swets 1966;
log-linear correction of Hautus 1995).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from promptguard.drift.effects import rate_interval
from promptguard.drift.tally import NO_LABEL, Tally

_POSITIVE = ("yes", "true", "positive", "1", "correct", "valid", "spam")
_LEAST_CHANGE = 0.02
"""of accuracy, below which splitting it would be reading tea leaves"""
_Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class SideAbility:
    """One side against the references. The last five only where references are binary; None elsewhere."""

    pairs: int
    accuracy: Measure
    yes_rate: Measure | None = None
    sensitivity: Measure | None = None
    specificity: Measure | None = None
    d_prime: Measure | None = None
    criterion: Measure | None = None


@dataclass(frozen=True, slots=True)
class Habit:
    """What a shift of the criterion explains of a change of accuracy, the rest being discrimination (d').

    `alone` is the share of the change that the new criterion brings with the old d' kept; `shapley` is the mean of
    that and of the share it brings when d' has moved first (Shapley value of two causes). Below 0 or above 1 where
    the two pull in different directions.
    """

    alone: float
    shapley: float


@dataclass(frozen=True, slots=True)
class Ability:
    """Both sides over the pairs from the onset on; `positive` is the label counted as "yes"."""

    positive: str | None
    control: SideAbility
    candidate: SideAbility
    positive_share: float | None = None
    """share of the references that are `positive`"""

    @property
    def habit(self) -> Habit | None:
        """How much of the change of accuracy a changed habit explains; None where it cannot be told."""
        before, after = _point(self.control), _point(self.candidate)
        if self.positive_share is None or before is None or after is None:
            return None
        return _habit(before, after, self.positive_share)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        habit = self.habit
        return {**asdict(self), "habit": None if habit is None else asdict(habit)}

    def turned(self) -> Ability:
        """Return the same with its sides exchanged."""
        return replace(self, control=self.candidate, candidate=self.control)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Ability:
        """Rebuild what `to_dict` told."""
        sides: dict[str, Any] = {
            name: SideAbility(
                **dict[str, Any](
                    (key, Measure(**value) if isinstance(value, Mapping) else value)
                    for key, value in told[name].items()
                )
            )
            for name in ("control", "candidate")
        }
        return cls(told["positive"], **sides, positive_share=told.get("positive_share"))


def signal_detection(hits: int, misses: int, false_alarms: int, rejections: int) -> dict[str, Measure]:
    """Return yes_rate, sensitivity, specificity, d_prime and criterion with 95 % intervals.

    z-values use the log-linear correction (+.5 on counts, +1 on totals); the variance of d' is that of
    Gourevitch & Galanter (1967).
    """
    from statistics import NormalDist

    normal = NormalDist()
    signal, noise = hits + misses, false_alarms + rejections
    z, variance = [], 0.0
    for ones, total in ((hits, signal), (false_alarms, noise)):
        rate = (ones + 0.5) / (total + 1.0)
        z.append(normal.inv_cdf(rate))
        variance += rate * (1.0 - rate) / ((total + 1.0) * normal.pdf(z[-1]) ** 2)
    half = _Z95 * math.sqrt(variance)
    d_prime, criterion = z[0] - z[1], -(z[0] + z[1]) / 2.0
    return {
        "yes_rate": _rate(hits + false_alarms, signal + noise),
        "sensitivity": _rate(hits, signal),
        "specificity": _rate(rejections, noise),
        "d_prime": Measure(d_prime, d_prime - half, d_prime + half),
        "criterion": Measure(criterion, criterion - half / 2.0, criterion + half / 2.0),
    }


def measure_ability(tally: Tally, names: list[str], positive: str | None = None) -> Ability | None:
    """Return both sides' ability over the pairs of `tally`; None without references.

    An answer with no label counts as wrong.
    """
    if not tally.correct[0]:
        return None
    references = {codes[2] for codes in tally.labels if codes[2] != NO_LABEL}
    yes = (
        _positive_code(references, names, positive) if len(references) == 2 and min(references) >= 0 else None
    )
    control, candidate = (_side(tally, side, yes) for side in (0, 1))
    if yes is None:
        return Ability(None, control, candidate)
    positives = sum(number for codes, number in tally.labels.items() if codes[2] == yes)
    return Ability(names[yes], control, candidate, positives / control.pairs)


def _positive_code(references: set[int], names: list[str], positive: str | None) -> int | None:
    wanted = (positive.casefold(),) if positive else _POSITIVE
    return next((code for name in wanted for code in references if names[code].casefold() == name), None)


def _side(tally: Tally, side: int, yes: int | None) -> SideAbility:
    count, right = int(tally.correct[0]), int(tally.correct[1 + side])
    accuracy = _rate(right, count)
    if yes is None:
        return SideAbility(count, accuracy)
    cells = {(said, truth): 0 for said in (True, False) for truth in (True, False)}
    for codes, number in tally.labels.items():
        if codes[2] != NO_LABEL:
            cells[codes[side] == yes, codes[2] == yes] += number
    found = signal_detection(cells[True, True], cells[False, True], cells[True, False], cells[False, False])
    return SideAbility(count, accuracy, **found)


def _point(side: SideAbility) -> tuple[float, float] | None:
    if side.d_prime is None or side.criterion is None:
        return None
    return side.d_prime.value, side.criterion.value


def _habit(before: tuple[float, float], after: tuple[float, float], share: float) -> Habit | None:
    """Split the change of accuracy between criterion and d', both taken from the equal-variance normal model."""
    from statistics import NormalDist

    normal = NormalDist()

    def accuracy(d_prime: float, criterion: float) -> float:
        hit, rejection = normal.cdf(d_prime / 2.0 - criterion), normal.cdf(d_prime / 2.0 + criterion)
        return share * hit + (1.0 - share) * rejection

    first, last = accuracy(*before), accuracy(*after)
    if abs(last - first) < _LEAST_CHANGE:
        return None
    alone = (accuracy(before[0], after[1]) - first) / (last - first)
    after_ability = (last - accuracy(after[0], before[1])) / (last - first)
    return Habit(alone, (alone + after_ability) / 2.0)


def _rate(ones: int, total: int) -> Measure:
    return Measure(ones / total if total else 0.0, *rate_interval(ones, total))
