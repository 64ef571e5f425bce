"""SwapBet: a mixture of bettors on "which of these two answers is the control?".

Each expert k gives a probability from the past only; the pair then pays e_k = 2 p_k(truth), so E[e_k | past]
= 1 when the sides are exchangeable (Shekhar & Ramdas, arXiv 2112.09162; Podkopaev & Ramdas 2023). The mixture
keeps that property. The order "score, then learn" is what makes it a theorem: `score_then_learn` is the only
way in.

Every expression is odd in the difference of the sides, so swapping the sides of all pairs leaves every e_k
unchanged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.betting.factbet import FactBet, held_of
from promptguard.drift.features.catalogue import COUNT, SCALE
from promptguard.drift.features.facts import NO_FACTS, Facts
from promptguard.drift.features.hashing import DIMENSIONS
from promptguard.drift.features.vector import PairVector

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

PRIOR_SIGNS, PRIOR_FEATURES, PRIOR_HASH = 0.4, 0.3, 0.3
SHARE = 0.001
"""fixed share (Herbster & Warmuth 1998): weight that flows back to the prior after each pair"""
CLIP = 0.01

_SIGN_DECAY = np.array([[1.0], [0.98], [0.98]], dtype=np.float32)
_TWICE_KAPPA = 2.0 * np.array([[0.5], [0.5], [0.1]], dtype=np.float32)
_FEATURE_RATES = np.array([0.1, 0.5, 2.0, 8.0])
_HASH_RATES = np.array([0.25, 2.0, 8.0, 32.0])
_DECAYS = np.array([[1.0], [0.999], [0.995], [0.995]], dtype=np.float32)
_HALF_RATES = 0.5 * np.concatenate([_FEATURE_RATES, _HASH_RATES])
_SIGN_COUNT = 3 * COUNT
_HASH = slice(_SIGN_COUNT + 4, _SIGN_COUNT + 8)
_EDGE_LOW, _EDGE_HIGH = 2.0 * CLIP - 1.0, 1.0 - 2.0 * CLIP
EXPERTS = _SIGN_COUNT + 8
_PRIOR = np.concatenate(
    [
        np.full(_SIGN_COUNT, PRIOR_SIGNS / _SIGN_COUNT),
        np.full(4, PRIOR_FEATURES / 4),
        np.full(4, PRIOR_HASH / 4),
    ]
)
_SHARED = SHARE * _PRIOR
_ONE_STEP = 1.0 / SCALE
_LONGEST_HASH = 2.2
"""length of the hash difference at most: that of two unit vectors, and what rounding to integers adds"""
_ROUNDED_UP = 1.001
"""more than what single precision may hide"""


@dataclass(frozen=True, slots=True)
class Difference:
    """What the bettors see of a pair: candidate minus control."""

    features: Floats
    """shape (COUNT,), in [-1, 1]"""
    signs: Singles
    """shape (2, 1, COUNT): the signs, and whether there is one"""
    hashed: Singles
    """shape (512,)"""
    reworded: bool
    tied: bool
    facts: Facts = NO_FACTS
    triple: PairVector | None = None
    """the pair itself where a second control stands beside it"""


def difference(vector: PairVector) -> Difference:
    """Return the signed difference of a pair; exact negation under a swap of its sides."""
    features = vector.candidate.astype(np.float64)
    features -= vector.control
    signs = np.empty((2, 1, COUNT), dtype=np.float32)
    np.sign(features, out=signs[0, 0])
    np.abs(signs[0, 0], out=signs[1, 0])
    features *= _ONE_STEP
    # single precision: half the memory of a group is these weights, and rounding is even in the sides
    hashed = vector.hashed.astype(np.float32)
    hashed *= np.float32(vector.scale / 127.0)
    reworded = vector.scale != 0.0
    tied = not reworded and not np.count_nonzero(features)
    triple = None if vector.third is None else vector
    return Difference(features, signs, hashed, reworded, tied, vector.facts, triple)


class SwapBet:
    """The learner of one group: its experts, their weights, nothing about evidence gathered.

    Cost about 30 microseconds a pair, 12 KB of state.
    """

    __slots__ = (
        "edge",
        "facts",
        "feature_weights",
        "hash_weights",
        "held",
        "pairs",
        "signs",
        "square_sum",
        "weights",
    )

    def __init__(self) -> None:
        self.weights: Floats = _PRIOR.copy()
        self.signs: Singles = np.zeros((2, 3, COUNT), dtype=np.float32)
        """decayed sums of the signs, and of their absolute values"""
        self.square_sum: Floats = np.full(COUNT, 1e-30)
        """never 0: where it is this small the difference is 0 too"""
        self.feature_weights: Singles = np.zeros((4, COUNT), dtype=np.float32)
        self.hash_weights: Singles = np.zeros((4, DIMENSIONS), dtype=np.float32)
        self.pairs = 0
        self.edge: float | None = None
        """2 p(truth) - 1 of the hash learners together, of the last pair; None where its wordings were equal"""
        self.facts: FactBet | None = None
        """bets on places, once an answer had some"""
        self.held = 0.0
        """the share of the capital that is bet by `facts`"""

    @property
    def log_most(self) -> float:
        """The log of the most that one pair can pay."""
        return math.log(2.0)

    @property
    def log_least(self) -> float:
        """The log of the least that any pair could pay now, or of a little less: what one that lost an answer is charged.

        The sign bettors of one feature see one sign; a logistic learner sees a vector of bounded length.
        """
        held = self.weights[:_SIGN_COUNT].reshape(3, COUNT)
        staked = np.add.reduce(held * (self.signs[0] / (self.signs[1] + _TWICE_KAPPA)), axis=0)
        lengths = np.concatenate(
            [
                np.sqrt(np.add.reduce(self.feature_weights.astype(np.float64) ** 2, axis=1)),
                _LONGEST_HASH * np.sqrt(np.add.reduce(self.hash_weights.astype(np.float64) ** 2, axis=1)),
            ]
        )
        edges = np.maximum(np.tanh(-0.5 * _ROUNDED_UP * lengths), _EDGE_LOW)
        learned = float(np.add.reduce(self.weights[_SIGN_COUNT:] * (1.0 + edges)))
        least = float(np.add.reduce(held, axis=None) - np.add.reduce(np.abs(staked))) + learned
        if self.facts is not None:
            least = (1.0 - self.held) * least + self.held * self.facts.least
        return math.log(max(least, 1e-300))

    def score_then_learn(self, seen: Difference) -> float:
        """Return log e of this pair under what was known before it, then learn from it."""
        self.pairs += 1
        payoff = self._of_wording(seen)
        records = len(seen.facts)
        if self.facts is None and not records:
            return math.log(payoff)
        if self.facts is None:
            self.facts = FactBet()
            self.held = held_of(records)
        said = self.facts.score_then_learn(seen.facts) if records else 1.0
        both = (1.0 - self.held) * payoff + self.held * said
        self.held = (1.0 - SHARE) * self.held * said / both + SHARE * held_of(len(self.facts.register.places))
        return math.log(both)

    def _of_wording(self, seen: Difference) -> float:
        """Return e of what named features and the text hash bet, and let them learn."""
        if seen.tied:
            # a full tie pays exactly 1 whatever the experts think
            self.edge = None
            self._share(1.0)
            return 1.0
        scaled = self._normalised(seen.features)
        payoffs, step = self._payoffs(seen, scaled)
        paid = self.weights * payoffs
        payoff = float(np.add.reduce(paid))
        self.edge = self._hash_edge(paid) if seen.reworded else None
        # -- nothing above this line may depend on which side is which; nothing below it may reach back
        self.weights = paid
        self._share(payoff)
        self._learn(seen, scaled, step)
        return payoff

    def _hash_edge(self, paid: Floats) -> float:
        held, gained = self.weights[_HASH].tolist(), paid[_HASH].tolist()
        edge: float = _total(gained) / _total(held) - 1.0
        return edge

    def _normalised(self, features: Floats) -> Singles:
        """Divide by the running root mean square, clip, scale to unit length.

        The square is even in the sides, so this pair may be part of it.
        """
        self.square_sum += features * features
        scaled = features * np.sqrt(self.pairs / self.square_sum)
        np.minimum(np.maximum(scaled, -3.0, out=scaled), 3.0, out=scaled)
        length = math.sqrt(np.add.reduce(scaled * scaled))
        if length:
            scaled /= length
        return scaled.astype(np.float32)

    def _payoffs(self, seen: Difference, scaled: Singles) -> tuple[Floats, Singles]:
        payoffs = np.empty(EXPERTS)
        signs, edges = payoffs[:_SIGN_COUNT].reshape(3, COUNT), payoffs[_SIGN_COUNT:]
        np.divide(self.signs[0], self.signs[1] + _TWICE_KAPPA, out=signs)
        signs *= seen.signs[0]
        # sums of products, not BLAS: the same bits whatever the alignment, so that replay equals live
        edges[:4] = np.add.reduce(self.feature_weights * scaled, axis=1)
        edges[4:] = np.add.reduce(self.hash_weights * seen.hashed, axis=1)
        edges *= 0.5
        np.tanh(edges, out=edges)
        # 2 p(truth) = 1 + tanh(z / 2); the step of a logistic learner is 1 - p = (1 - tanh(z / 2)) / 2
        step = _HALF_RATES * (1.0 - edges)
        np.minimum(np.maximum(edges, _EDGE_LOW, out=edges), _EDGE_HIGH, out=edges)
        payoffs += 1.0
        return payoffs, step[:, None].astype(np.float32)

    def _share(self, payoff: float) -> None:
        self.weights *= (1.0 - SHARE) / payoff
        self.weights += _SHARED

    def _learn(self, seen: Difference, scaled: Singles, step: Singles) -> None:
        self.signs *= _SIGN_DECAY
        self.signs += seen.signs
        self.feature_weights *= _DECAYS
        self.feature_weights += step[:4] * scaled
        self.hash_weights *= _DECAYS
        self.hash_weights += step[4:] * seen.hashed

    def state_dict(self) -> dict[str, object]:
        """Return arrays and counts by name; `frozen.py` turns arrays into JSON."""
        state: dict[str, object] = {name: getattr(self, name) for name in _STATE}
        return {**state, "held": self.held, "facts": None if self.facts is None else self.facts.state_dict()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> SwapBet:
        """Rebuild a learner; it continues bit for bit. ValueError for arrays of another shape."""
        learner = cls()
        for name in _STATE:
            found, expected = state[name], getattr(learner, name)
            if name != "pairs" and (found.shape != expected.shape or found.dtype != expected.dtype):
                raise ValueError(f"state holds {name} of the wrong shape")
            setattr(learner, name, found)
        learner.held = state["held"]
        learner.facts = None if state["facts"] is None else FactBet.from_state(state["facts"])
        return learner


_STATE = ("feature_weights", "hash_weights", "pairs", "signs", "square_sum", "weights")


def _total(four: list[float]) -> float:
    # not sum(), which rounds in another way since Python 3.12
    return four[0] + four[1] + four[2] + four[3]
