"""ShiftBet: evidence that a *known* difference grew beyond a tolerance, for candidates that are expected to differ.

When the second model is another model, "the sides could be exchanged" is false by design and SwapBet alarms, rightly
and uselessly. The question is then whether some feature shifted by more than e: the null is |E[d_j | past]| <= e for
every feature j, d = candidate minus control. For a bet l in (0, 1/(1 + e)) the pay-off 1 + l (d_j - e) is positive and
its mean under the null is at most 1; so is that of 1 + l (-d_j - e), and of every mixture whose weights are fixed
before the pair is seen (Waudby-Smith & Ramdas, arXiv 2010.09686; Richter et al., arXiv 2410.19406, ask the same of
distances). The product of such pay-offs exceeds 1/alpha with probability at most alpha, at any time.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.betting.experts import SHARE, Difference
from promptguard.drift.features.catalogue import COUNT
from promptguard.drift.history.onset import most_probable
from promptguard.drift.history.rows import Rows
from promptguard.verdict import Onset

Floats = NDArray[np.float64]

BETS = np.array([0.08, 0.25, 0.55, 0.9])
"""shares of the largest bet allowed: small ones find small excesses late, large ones find large ones soon"""
_SIGNS = np.array([1.0, -1.0])
EXPERTS = len(_SIGNS) * len(BETS) * COUNT
_PRIOR = 1.0 / EXPERTS


class ShiftBet:
    """The learner of one group under a tolerance. Weights have shape (2 directions, 4 bets, COUNT features)."""

    __slots__ = ("edge", "pairs", "tolerance", "weights")

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self.weights: Floats = np.full((len(_SIGNS), len(BETS), COUNT), _PRIOR)
        self.pairs = 0
        self.edge: float | None = None
        """for the onset's sake, as in SwapBet: nothing is learned of the text hash here"""

    def score_then_learn(self, seen: Difference) -> float:
        """Return log e of this pair under weights fixed before it, then move them towards what paid."""
        self.pairs += 1
        bets = BETS / (1.0 + self.tolerance)
        excess = _SIGNS[:, None] * seen.features - self.tolerance
        payoffs = 1.0 + bets[None, :, None] * excess[:, None, :]
        payoff = float(np.add.reduce(self.weights * payoffs, axis=None))
        # -- nothing below this line may reach back
        self.weights *= payoffs * ((1.0 - SHARE) / payoff)
        self.weights += SHARE * _PRIOR
        return math.log(payoff)

    @property
    def log_least(self) -> float:
        """The log of the least that any pair could pay now."""
        return self.log_least_of(1)

    def log_least_of(self, pairs: int) -> float:
        """Return the log of the least that the next so many pairs could pay together, or of a little less.

        What a feature's bets pay is linear in its difference in each pair, so it is least where every difference is at an
        end: only how many are at which end counts. Capital that stays where it is has (1 - SHARE) of itself from one pair
        to the next, and what moves only adds.
        """
        bets = BETS / (1.0 + self.tolerance)
        high, low = np.log1p(bets * (1.0 - self.tolerance)), np.log1p(-bets * (1.0 + self.tolerance))
        up = np.arange(pairs + 1)[:, None]
        rising = np.exp(up * high + (pairs - up) * low)
        ends = np.stack([rising, rising[::-1]], axis=1)  # (pairs at the upper end, direction, bet)
        paid = np.einsum("nsb,sbj->nj", ends, self.weights)
        return math.log(float(np.add.reduce(paid.min(axis=0)))) + (pairs - 1) * math.log1p(-SHARE)

    @property
    def log_most(self) -> float:
        """The log of the most that one pair can pay."""
        return math.log1p(BETS[-1] * (1.0 - self.tolerance) / (1.0 + self.tolerance))

    def state_dict(self) -> dict[str, object]:
        """Return weights and counts by name."""
        return {"tolerance": self.tolerance, "weights": self.weights, "pairs": self.pairs}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ShiftBet:
        """Rebuild a learner; it continues bit for bit."""
        learner = cls(state["tolerance"])
        learner.weights, learner.pairs = state["weights"], state["pairs"]
        return learner


def onset_beyond(rows: Rows, tolerance: float, latest: int) -> Onset | None:
    """Return since when some feature has been beyond the tolerance, with the hull of its 90 % set; None without rows.

    As `find_onset`, with what the bets would have paid from each start on in place of likelihood ratios.
    """
    rows_left = rows.numbers <= latest
    if not bool(rows_left.any()):
        return None
    values = (rows.roots / 255.0) ** 2
    excess = _SIGNS[:, None] * (values[:, 1] - values[:, 0])[:, None, :] - tolerance
    bets = BETS / (1.0 + tolerance)
    paid = np.log1p(bets[None, None, :, None] * excess[:, :, None, :]).reshape(len(values), -1)
    score = np.cumsum(paid[::-1], axis=0)[::-1].copy()
    score[~rows_left] = -np.inf
    return most_probable(score, rows.numbers)
