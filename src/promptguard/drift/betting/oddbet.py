"""OddBet bets on the odd one of three answers to one request: two of one model, one of another.

If nothing changed, the three are exchangeable: each is the candidate's with chance 1/3, given all three and the past. A
forecaster p over the three then pays e = 3 p(the candidate's), which has mean 1, and the e of the three placements sum
to 3 whatever was learned. So does every mixture with weights fixed beforehand. Three answers tell what two cannot: how
far apart two draws of one model are on this very prompt.

Forecasters: for each statistic of the three answers (how alike each is to the others, by hash, features, words; and
each feature itself), the place of the candidate's in the order of the three, by how often it had that place before; and
two softmax learners, on features and on the text hash. Nothing here sees which answer is whose before it has bet.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.features.catalogue import COUNT
from promptguard.drift.features.hashing import DIMENSIONS
from promptguard.drift.features.third import LIKENESSES
from promptguard.drift.features.vector import PairVector

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

SHARE = 0.001
HELD = 0.5
"""share of a group's capital that goes to OddBet with the first second control, and back to it after each"""
CANDIDATE = 2
"""the place of the candidate's answer among the three; 0 and 1 are the controls'"""
_ALIKE = 2 + LIKENESSES
_STATISTICS = _ALIKE + COUNT
_PLACES = 6
"""places in an order of three with ties: (how many below, how many above)"""
_CODES = np.array([[0, 1, 2], [3, 4, 0], [5, 0, 0]])
_DECAY = np.array([1.0, 0.98], dtype=np.float32)[:, None, None]
_KAPPA = np.array([0.5, 0.2], dtype=np.float32)[:, None, None]
_RECORDS = 2
_FEATURE_RATES = np.array([0.1, 0.5, 2.0, 8.0], dtype=np.float32)[:, None]
_HASH_RATES = np.array([0.25, 2.0, 8.0, 32.0], dtype=np.float32)[:, None]
_SOFT_DECAY = np.array([1.0, 0.999, 0.995, 0.995], dtype=np.float32)[:, None]
_FLOOR = 0.02
"""what the softmax learners always leave to chance"""
_ROUNDED_DOWN = 1.0 - 1e-5
_COUNTED = _RECORDS * _STATISTICS
_PRIOR = np.concatenate(
    [
        np.tile(
            np.concatenate([np.full(_ALIKE, 0.3 / _ALIKE), np.full(COUNT, 0.1 / COUNT)]) / _RECORDS, _RECORDS
        ),
        np.full(4, 0.3 / 4),
        np.full(4, 0.3 / 4),
    ]
)
"""likenesses, features, softmax on the hash, softmax on features"""
_ROWS = np.arange(_STATISTICS)


class OddBet:
    """The learner of one group's triples. Some 18 KB; about 100 microseconds a triple."""

    __slots__ = ("exposures", "feature_weights", "hash_weights", "hits", "square_sum", "triples", "weights")

    def __init__(self) -> None:
        self.weights: Floats = _PRIOR.copy()
        self.hits: Singles = np.zeros((_RECORDS, _STATISTICS, _PLACES), dtype=np.float32)
        """decayed counts of the candidate's place"""
        self.exposures: Singles = np.zeros((_RECORDS, _STATISTICS, _PLACES), dtype=np.float32)
        """the same of all three answers"""
        self.square_sum: Floats = np.full(COUNT, 1e-30)
        self.feature_weights: Singles = np.zeros((4, COUNT), dtype=np.float32)
        self.hash_weights: Singles = np.zeros((4, DIMENSIONS), dtype=np.float32)
        self.triples = 0

    def score_then_learn(self, vector: PairVector) -> float:
        """Return e of this triple under what was known before it, then learn from it."""
        assert vector.third is not None  # noqa: S101 - the caller has looked
        self.triples += 1
        features, hashed = _three(vector)
        scaled = self._normalised(features)
        places = _places(_statistics(vector, features, scaled, hashed))
        length = math.sqrt(float(np.maximum.reduce(np.add.reduce(scaled * scaled, axis=1))))
        inputs = (scaled / length if length else scaled).astype(np.float32)
        words = (hashed * (vector.third.scale / 127.0)).astype(np.float32)
        payoffs = np.concatenate(
            [
                self._by_place(places).reshape(_COUNTED, 3),
                _softmax(self.hash_weights, words),
                _softmax(self.feature_weights, inputs),
            ]
        )
        paid = self.weights * payoffs[:, CANDIDATE]
        payoff = float(np.add.reduce(paid))
        # -- nothing above this line may depend on which answer is the candidate's; nothing below it may reach back
        self.weights = paid * ((1.0 - SHARE) / payoff)
        self.weights += SHARE * _PRIOR
        self._learn(places, payoffs, words, inputs)
        return payoff

    def _normalised(self, features: Floats) -> Floats:
        """Divide what tells the answers apart by its running root mean square; even in the three."""
        # three times the distance to the mean, in whole numbers: sums have the same bits in any order
        apart = 3.0 * features - np.add.reduce(features, axis=0)
        self.square_sum += np.add.reduce(apart * apart, axis=0) / 2.0
        scaled: Floats = apart * np.sqrt(self.triples / self.square_sum)
        return np.minimum(np.maximum(scaled, -3.0), 3.0)

    def _by_place(self, places: NDArray[np.intp]) -> Floats:
        """Return e for each record, statistic and answer: how much oftener than chance its place was the candidate's."""
        rates = (self.hits + _KAPPA) / (self.exposures / 3.0 + _KAPPA)
        each = rates[:, _ROWS[:, None], places].astype(np.float64)
        result: Floats = 3.0 * each / np.add.reduce(each, axis=2, keepdims=True)
        return result

    @property
    def least(self) -> float:
        """The least that any triple could pay now, or a little less."""
        rates = (self.hits + _KAPPA) / (self.exposures / 3.0 + _KAPPA)
        low, high = rates.min(axis=2).astype(np.float64), rates.max(axis=2).astype(np.float64)
        by_place = (3.0 * low / (low + 2.0 * high)).reshape(_COUNTED)
        learned = float(np.add.reduce(self.weights[_COUNTED:])) * _FLOOR
        return _ROUNDED_DOWN * (float(np.add.reduce(self.weights[:_COUNTED] * by_place)) + learned)

    def _learn(self, places: NDArray[np.intp], payoffs: Floats, words: Singles, inputs: Singles) -> None:
        self.hits *= _DECAY
        self.exposures *= _DECAY
        for answer in range(3):
            self.exposures[:, _ROWS, places[:, answer]] += 1.0
        self.hits[:, _ROWS, places[:, CANDIDATE]] += 1.0
        chances = (payoffs[_COUNTED:] / 3.0).astype(np.float32)
        self.hash_weights *= _SOFT_DECAY
        self.hash_weights += _HASH_RATES * _surprise(chances[:4], words)
        self.feature_weights *= _SOFT_DECAY
        self.feature_weights += _FEATURE_RATES * _surprise(chances[4:], inputs)

    def state_dict(self) -> dict[str, object]:
        """Return arrays and counts by name."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> OddBet:
        """Rebuild a learner; it continues bit for bit. ValueError for arrays of another shape."""
        learner = cls()
        for name in cls.__slots__:
            found, expected = state[name], getattr(learner, name)
            if name != "triples" and (found.shape != expected.shape or found.dtype != expected.dtype):
                raise ValueError(f"state holds {name} of the wrong shape")
            setattr(learner, name, found if name == "triples" else found.copy())
        return learner


def _three(vector: PairVector) -> tuple[Floats, Floats]:
    """Return features, shape (3, COUNT), and hashes around their mean, shape (3, 512), both in whole numbers."""
    third = vector.third
    assert third is not None  # noqa: S101 - the caller has looked
    features = np.stack((vector.control, third.values, vector.candidate)).astype(np.float64)
    return features, third.hashed.astype(np.float64)


def _statistics(vector: PairVector, features: Floats, scaled: Floats, hashed: Floats) -> Floats:
    """Return every statistic of each answer, shape (_STATISTICS, 3)."""
    third = vector.third
    assert third is not None  # noqa: S101 - the caller has looked
    found = np.empty((_STATISTICS, 3))
    # the nearer to the mean of the three, the more alike to the others; sums of products, not BLAS: the same bits anywhere
    found[0] = -np.add.reduce(hashed * hashed, axis=1)
    found[1] = -np.add.reduce(scaled * scaled, axis=1)
    both, with_control, with_second = third.likeness.astype(np.float64).T
    found[2:_ALIKE] = np.stack((both + with_control, both + with_second, with_control + with_second), axis=1)
    found[_ALIKE:] = features.T
    return found


def _places(statistics: Floats) -> NDArray[np.intp]:
    below = np.add.reduce(statistics[:, None, :] < statistics[:, :, None], axis=2, dtype=np.intp)
    above = np.add.reduce(statistics[:, None, :] > statistics[:, :, None], axis=2, dtype=np.intp)
    found: NDArray[np.intp] = _CODES[below, above]
    return found


def _surprise(chances: Singles, seen: Singles) -> Singles:
    """Return the candidate's answer less what each learner expected of it."""
    found: Singles = seen[CANDIDATE] - np.add.reduce(chances[:, :, None] * seen, axis=1)
    return found


def _softmax(weights: Singles, seen: Singles) -> Floats:
    """Return e for each learner and answer."""
    scores = np.add.reduce(weights[:, None, :] * seen, axis=2).astype(np.float64)
    scores -= np.maximum.reduce(scores, axis=1, keepdims=True)
    powers = np.exp(scores)
    chances = powers / np.add.reduce(powers, axis=1, keepdims=True)
    result: Floats = 3.0 * (1.0 - _FLOOR) * chances + _FLOOR
    return result
