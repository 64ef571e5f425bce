"""Behaviour or ability, as values: each side against the references, and what a changed habit explains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

_LEAST_CHANGE = 0.02
"""of accuracy, below which splitting it would be reading tea leaves"""


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

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON values."""
        habit = self.habit
        return {**asdict(self), "habit": None if habit is None else asdict(habit)}

    def turned(self) -> Ability:
        """Return the same with its sides exchanged."""
        return replace(self, control=self.candidate, candidate=self.control)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Ability:
        """Rebuild what `to_dict` told."""
        control, candidate = _side(told["control"]), _side(told["candidate"])
        return cls(told["positive"], control, candidate, positive_share=told.get("positive_share"))


def _side(told: Mapping[str, Any]) -> SideAbility:
    measured: dict[str, Any] = {
        name: Measure(**value) if isinstance(value, Mapping) else value for name, value in told.items()
    }
    return SideAbility(**measured)


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
