"""What the pairs since the onset say of each feature and label: totals, spread, signs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.features.catalogue import COUNT, FEATURES, NAMED
from promptguard.drift.history.events import Event
from promptguard.drift.history.rows import UNIT, Rows
from promptguard.drift.history.tally import Tally

LABEL_TIER = 3


@dataclass(frozen=True, slots=True)
class Contrast:
    """One feature, label or event over the pairs since the onset."""

    name: str
    kind: str
    tier: float
    binary: bool
    phrase: str
    totals: tuple[float, float]
    variance: float
    plus: int
    minus: int
    column: int
    """feature index, COUNT + label code, or a number beyond those for an event"""
    strength: float = 0.0
    event: Event | None = None
    pattern: str = ""
    pairs: int = 0
    """of an event, the pairs that its totals are of; 0 where they are of all since the onset"""

    @property
    def shift(self) -> float:
        """Candidate's total minus the control's."""
        return self.totals[1] - self.totals[0]

    def before(self, tally: Tally, rows: Rows) -> float:
        """Return the candidate side's mean before, from the tally, or from what is remembered of those pairs."""
        if self.event is not None:
            return float(self.sides(rows)[1].mean()) if len(rows) else 0.0
        return self._total(tally) / tally.pairs

    def _total(self, tally: Tally) -> float:
        if self.column < COUNT:
            return float(tally.sums[1, self.column] / UNIT)
        code = self.column - COUNT
        return float(sum(number for codes, number in tally.labels.items() if codes[1] == code))

    def sides(self, rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return both sides' values, each of shape (rows,)."""
        if self.event is not None:
            return self.event.sides(rows)
        if self.column >= COUNT:
            said = (rows.codes[:, :2] == self.column - COUNT).astype(np.float64)
            return said[:, 0], said[:, 1]
        return rows.values(0, self.column), rows.values(1, self.column)


def contrasts(tally: Tally, names: list[str]) -> list[Contrast]:
    """Return every feature, and every label by its name."""
    count = max(1, tally.pairs)
    totals = tally.sums / UNIT
    means = totals / count
    variances = np.maximum(tally.squares / UNIT**2 / count - (means**2).sum(axis=0), 0.0) / 2.0
    found = [
        Contrast(
            feature.name, feature.kind, feature.tier, feature.binary, feature.phrase,
            (float(totals[0, place]), float(totals[1, place])),
            float(variances[place]), int(tally.plus[place]), int(tally.minus[place]), place,
        )
        for place, feature in ((place, FEATURES[place]) for place in NAMED)
    ]  # fmt: skip
    return found + [_label_contrast(tally, code, name) for code, name in enumerate(names)]


def _label_contrast(tally: Tally, code: int, name: str) -> Contrast:
    control = candidate = plus = minus = 0
    for (first, second, _), number in tally.labels.items():
        control += number * (first == code)
        candidate += number * (second == code)
        plus += number * (second == code != first)
        minus += number * (first == code != second)
    rates = (control / max(1, tally.pairs), candidate / max(1, tally.pairs))
    variance = sum(rate * (1.0 - rate) for rate in rates) / 2.0
    return Contrast(
        f"label:{name}", "label", LABEL_TIER, True, f"the label `{name}`",
        (control, candidate), variance, plus, minus, COUNT + code,
    )  # fmt: skip
