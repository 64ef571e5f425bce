"""ShiftBound: evidence that *no* feature shifted by more than e, the other way round than `ShiftBet` asks.

The claim "no shift larger than e" is false as soon as one feature j and one direction s have s E[d_j | past] > e. For each
of them the pay-off 1 + l (e - s d_j), 0 < l < 1/(1 - e), is positive and its mean under "s E[d_j | past] >= e" is at most
1, so its product, and a mixture of such products, exceeds 1/alpha with probability at most alpha at any time (Ville 1939;
Waudby-Smith & Ramdas, arXiv 2010.09686). The claim is made once *every* feature's capital has done so: were it false, the
capital of the feature that makes it false would have had to. So alpha is not divided between features (an
intersection-union test: Berger 1982), and one may look after every pair and stop then.

A pair that lost an answer counts as the worst that it could have been, in every direction at once.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.features.catalogue import COUNT, FEATURES, SCALE
from promptguard.drift.features.vector import PairVector

Floats = NDArray[np.float64]

BETS: Floats = np.array([0.06, 0.2, 0.5, 0.95])
"""shares of the largest bet allowed, of equal weight: small ones for features with noise, large ones for quiet features"""
RIGHT = "right answers"
"""what is bounded beside the features, where every question has a true answer"""
_SIGNS: Floats = np.array([1.0, -1.0])
_HALVINGS = 16


class ShiftBound:
    """Bounds the shift of every feature between the sides of pairs, at any time.

    `tolerance` is the shift e that is to be excluded, `alpha` the chance that it is wrongly excluded. With `with_right`,
    whether answers agree with the references is one more feature.

    >>> bound = ShiftBound(0.1, 0.05)
    >>> bound.is_proven
    False
    """

    def __init__(self, tolerance: float, alpha: float, *, with_right: bool = False) -> None:
        self.tolerance = tolerance
        self.alpha = alpha
        self.with_right = with_right
        self.names: tuple[str, ...] = (*(feature.phrase for feature in FEATURES), *((RIGHT,) * with_right))
        self.pairs = 0
        self.lost = 0
        self._log = np.zeros((len(_SIGNS), len(BETS), COUNT + with_right))
        self._rows: list[Floats] = []
        self.proven_at: int | None = None
        """the number of pairs, lost ones too, after which the claim could be made; it stays"""

    def take(self, vector: PairVector, right: tuple[bool, bool] | None = None) -> bool:
        """Take in a pair; `right` says of control and candidate whether they are. Returns whether the claim is proven."""
        row = (vector.candidate.astype(np.float64) - vector.control) / SCALE
        if self.with_right:
            shift = 0.0 if right is None else float(right[1]) - float(right[0])
            row = np.append(row, shift)
        self.pairs += 1
        self._rows.append(row)
        return self._pay(_SIGNS[:, None] * row)

    def lose(self) -> bool:
        """Take in a pair that lost an answer, as if it had been the worst one; returns whether the claim is proven."""
        self.lost += 1
        return self._pay(np.ones((len(_SIGNS), COUNT + self.with_right)))

    def _pay(self, shifts: Floats) -> bool:
        bets = BETS / (1.0 - self.tolerance)
        self._log += np.log1p(bets[None, :, None] * (self.tolerance - shifts)[:, None, :])
        if self.proven_at is None and self.log_evidence >= -math.log(self.alpha):
            self.proven_at = self.pairs + self.lost
        return self.is_proven

    @property
    def is_proven(self) -> bool:
        """Whether no feature shifted by more than the tolerance, at confidence 1 - alpha."""
        return self.proven_at is not None

    @property
    def log_evidence(self) -> float:
        """The log of the capital of the feature that has least."""
        return float(_mixed(self._log).min())

    @property
    def share(self) -> float:
        """How much of the evidence that the claim needs is there, 0 to 1; grows evenly with the pairs."""
        spread = math.log(len(BETS))  # what it costs that the best bet is not known before
        best = float(self._log.max(axis=1).min())
        return min(1.0, max(0.0, best / (spread - math.log(self.alpha))))

    @property
    def largest(self) -> tuple[str, float]:
        """Return the feature whose mean shifted most so far, and by how much, with its sign; no bound."""
        if not self._rows:
            return "", 0.0
        means = np.mean(self._rows, axis=0)
        place = int(np.abs(means).argmax())
        return self.names[place], float(means[place])

    def bound(self) -> float:
        """Return the smallest shift that these pairs exclude at confidence 1 - alpha, to a thousandth; 1.0 for none.

        Inverts the same test, so it holds at any time as well. Costs some milliseconds for a thousand pairs.
        """
        if not self._rows:
            return 1.0
        rows = np.concatenate([np.array(self._rows), -np.array(self._rows)], axis=1)
        low, high = np.zeros(rows.shape[1]), np.ones(rows.shape[1])
        for _ in range(_HALVINGS):
            middle = (low + high) / 2.0
            excluded = self._excluded(rows, middle)
            low, high = np.where(excluded, low, middle), np.where(excluded, middle, high)
        return min(1.0, math.ceil(1000.0 * float(high.max())) / 1000.0)

    def _excluded(self, rows: Floats, shifts: Floats) -> NDArray[np.bool_]:
        bets = BETS[:, None, None] / (1.0 - np.minimum(shifts, 1.0 - 1e-9))
        paid = np.log1p(bets * (shifts - rows[None])).sum(axis=1)
        paid += self.lost * np.log1p(bets[:, 0] * (shifts - 1.0))
        capital = np.logaddexp.reduce(paid, axis=0) - math.log(len(BETS))
        enough: NDArray[np.bool_] = capital >= -math.log(self.alpha)
        return enough


def _mixed(logs: Floats) -> Floats:
    mixed: Floats = np.logaddexp.reduce(logs, axis=1) - math.log(len(BETS))
    return mixed


def quiet_pairs(tolerance: float, alpha: float) -> int:
    """Return how many pairs the claim takes where nothing differs at all: no fewer are ever enough.

    >>> quiet_pairs(0.1, 0.05), quiet_pairs(0.05, 0.05)
    (42, 87)
    """
    steps = np.log1p(BETS * tolerance / (1.0 - tolerance))
    bar, pairs = -math.log(alpha) + math.log(len(BETS)), 1
    while float(np.logaddexp.reduce(pairs * steps)) < bar:
        pairs += 1
    return pairs
