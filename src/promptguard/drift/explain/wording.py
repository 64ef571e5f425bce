"""The wording: what the text hash sees, when no named feature says what it is.

Before each pair is told, the hash learners bet which side is the control; `Rows.edges` keeps those bets. Since
they were made before, their record is honest: guesses are right half of the time when nothing changed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.explain.effects import FEWEST, betting_interval, rate_interval
from promptguard.drift.history.history import NO_EDGE
from promptguard.drift.history.rows import Rows
from promptguard.verdict import WORDING, Change

_MUCH_MORE = 2.0
"""times the evidence of the best named feature, beyond which wording is told beside named changes"""
_MORE = 5.0
"""nats above the best named feature, beyond which wording is told when none of those stands on its own"""


@dataclass(frozen=True, slots=True)
class Wording:
    """The record of the hash learners over some pairs."""

    log_evidence: float
    """log of what their bets paid"""
    right: float
    """share of pairs guessed right; a pair of equal wordings counts half"""
    pairs: int


def record(rows: Rows, log_evidence: float) -> Wording:
    """Return the record over `rows`, whose bets paid `log_evidence`."""
    guesses = _guesses(rows)
    return Wording(log_evidence, 0.5 + 0.5 * float(guesses.mean()) if len(rows) else 0.5, len(rows))


def is_apart(wording: Wording, best: float, named: bool) -> bool:
    """Whether the wording is a change of its own, beside the best named feature with the log evidence `best`.

    `named` says whether a named feature may be said at all.
    """
    return wording.log_evidence > (_MUCH_MORE * best if named else best + _MORE)


def change(wording: Wording, effect_rows: Rows) -> Change:
    """Return it as a change.

    `candidate` is the share of pairs whose sides the wording gave away before they were told, `control` the
    share in which it misled.
    """
    right = wording.right
    interval = betting_interval(_guesses(effect_rows)) if len(effect_rows) >= FEWEST else None
    low, high = rate_interval(right * wording.pairs, wording.pairs)
    return Change(
        feature=WORDING,
        kind=WORDING,
        control=1.0 - right,
        candidate=right,
        difference=2.0 * right - 1.0,
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        phrase="the wording",
        binary=False,
        strength=abs(2.0 * right - 1.0),
        effect_pairs=len(effect_rows),
        control_interval=(1.0 - high, 1.0 - low),
        candidate_interval=(low, high),
    )


def clearest(rows: Rows) -> list[int]:
    """Return up to three pairs that the wording gave away most plainly, earliest first."""
    edges = np.where(rows.edges == NO_EDGE, 0, rows.edges).astype(np.int64)
    order = np.argsort(-edges, kind="stable")[:3]
    return sorted(int(rows.numbers[place]) for place in order if edges[place] > 0)


def _guesses(rows: Rows) -> NDArray[np.float64]:
    return np.sign(np.where(rows.edges == NO_EDGE, 0, rows.edges)).astype(np.float64)
