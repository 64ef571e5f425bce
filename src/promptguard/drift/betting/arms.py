"""Two arms of a trial: answers of one version and of another, each to a question of its own.

An answer is kept as the difference from no answer at all, so that any two of them make a pair later. If both versions
answer alike and chance alone decided who got which, the two answers of a pair are exchangeable, which is all that `SwapBet`
needs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.betting.evidence import Process
from promptguard.drift.betting.experts import SwapBet, difference
from promptguard.drift.features.answer import Answer
from promptguard.drift.features.catalogue import INDEX, SCALE
from promptguard.drift.features.hashing import quantise
from promptguard.drift.features.vector import PairVector

NOTHING = Answer("")


def feature(vector: PairVector, name: str) -> float:
    """Return one feature of the candidate's answer, in [0, 1]."""
    return float(vector.candidate[INDEX[name]]) / SCALE


class ArmsBet:
    """Evidence that two arms answer differently: an e-value after each pair, at most 1 in the mean if they do not.

    The first 1/alpha that it reaches, whenever anybody looks, is a false one with probability alpha at most (Ville).
    """

    def __init__(self) -> None:
        self._bet = SwapBet()
        self._process = Process("gate")

    @property
    def log(self) -> float:
        """The evidence so far, as the natural logarithm of an e-value."""
        return self._process.log

    def take(self, control: PairVector, treated: PairVector) -> None:
        """Take one answer of each arm, as `vectorise(NOTHING, answer)` made them with one seed."""
        hashed, scale = quantise(_hash_of(control), _hash_of(treated))
        pair = PairVector(
            control.candidate, treated.candidate, hashed, scale, (control.counts[1], treated.counts[1]),
            (control.labels[1], treated.labels[1]),
        )  # fmt: skip
        self._process.pay(self._bet.score_then_learn(difference(pair)))


def _hash_of(vector: PairVector) -> NDArray[np.float64]:
    return vector.hashed.astype(np.float64) * (vector.scale / 127.0)
