"""SwapBet: a mixture of bettors on "which of these two answers is the control?".

Each expert k gives a probability from the past only; the pair then pays e_k = 2 p_k(truth), so E[e_k | past]
= 1 when the sides are exchangeable (Shekhar & Ramdas, arXiv 2112.09162; Podkopaev & Ramdas 2023). The mixture
keeps that property. The order "score, then learn" is what makes it a theorem: `score_then_learn` is the only
way in.

Experts are of two kinds. *Sign bettors* follow one feature each. *Blends* add up scores in log-odds: of two logistic
learners over all features, two over the text hash, and of all sign records together. Where a change moves many things a
little, their sum knows the side long before any one of them does; a mixture of them alone would have to wait for the
best one (docs/decisions/0076-bets-that-add-up.md).

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

PRIOR_SIGNS = 0.28
"""prior share of the sign bettors; the rest is the blends'"""
SHARE = 0.001
"""fixed share (Herbster & Warmuth 1998): weight that flows back to the prior after each pair"""
CLIP = 0.01

_SIGN_DECAY = 0.98
# arrays, not numbers: numpy takes a third longer where it has to make one of a number first
_TWICE_KAPPA = np.full((2, COUNT), 1.0, dtype=np.float32)
_SIGN_COUNT = 2 * COUNT
_SLOW, _FAST = 0.2, 1.0
"""rates of the logistic learners, over the root of the squares of each input so far (Duchi, Hazan & Singer 2011): they
start fast and settle down"""
_FORGETS_EVERY = 8
_REMEMBERED = 0.96
"""of the squares, after so many pairs"""
_FIRST_SQUARE = 0.08
_RETURNED_SQUARE = _FIRST_SQUARE * (1.0 - _REMEMBERED)
"""an input that is never seen keeps its first square"""
_PARTS = np.array([0, COUNT, COUNT + DIMENSIONS, 2 * COUNT + DIMENSIONS])
"""where features and text hash begin in the weights of the slow and of the fast learner"""
_NEARLY_SURE = np.full(COUNT, 0.999)
"""largest bet of a sign record as part of a sum: its log-odds stay finite"""

_BLENDS = (
    np.array(  # features and hash learned slowly, features and hash learned fast, sign records; prior share
        [
            [0.0, 0.0, 1.0, 1.0, 0.0, 0.13],
            [1.0, 1.0, 0.0, 0.0, 0.2, 0.13],
            [0.0, 0.0, 1.0, 1.0, 0.2, 0.06],
            [0.0, 1.0, 0.0, 0.0, 0.2, 0.06],
            [1.0, 1.0, 0.0, 0.0, 0.0, 0.08],
            [0.25, 0.25, 0.0, 0.0, 0.0, 0.05],
            [0.0, 0.0, 0.0, 0.0, 0.05, 0.05],
            [1.0, 0.0, 0.0, 0.0, 0.0, 0.06],
            [0.0, 1.0, 0.0, 0.0, 0.0, 0.04],
            [0.0, 0.0, 0.0, 2.0, 0.0, 0.06],
        ]
    )
)
_HALVES = 0.5 * np.concatenate([_BLENDS[:, :5], np.eye(4, 5)])
"""half of the blends' coefficients, and of each logistic learner's own score, which is what it learns from"""
_HALF_BLENDS = _HALVES[: len(_BLENDS)]
_BY_SCORE = np.ascontiguousarray(_HALVES.T)
_WORDING = slice(-2, None)
"""the blends that see the text hash alone"""
_MOST_STAKED = np.full(len(_BLENDS), 1.0 - 2.0 * CLIP)
EXPERTS = _SIGN_COUNT + len(_BLENDS)
_PRIOR = np.concatenate([np.full(_SIGN_COUNT, PRIOR_SIGNS / _SIGN_COUNT), _BLENDS[:, 5]])
_SHARED = SHARE * _PRIOR
_EVEN = np.ones(EXPERTS)
_LEAST, _LARGEST = np.full(COUNT, -3.0), np.full(COUNT, 3.0)
"""root mean squares at which a feature's difference is cut off"""
_ONE_STEP = np.full(COUNT, 1.0 / SCALE)
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
    """shape (512,), of length 1 where the sides differ in wording"""
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
    reworded = vector.scale != 0.0
    if reworded:  # whole numbers: the sum of their squares is exact, in whatever order BLAS adds
        hashed *= np.float32(1.0 / math.sqrt(max(1.0, hashed.dot(hashed))))
    tied = not reworded and not np.count_nonzero(features)
    triple = None if vector.third is None else vector
    return Difference(features, signs, hashed, reworded, tied, vector.facts, triple)


class SwapBet:
    """The learner of one group: its experts, their weights, nothing about evidence gathered.

    Cost about 30 microseconds a pair, 10 KB of state.
    """

    __slots__ = (
        "edge",
        "facts",
        "held",
        "learned",
        "pairs",
        "signs",
        "square_sum",
        "squares",
        "weights",
    )

    def __init__(self) -> None:
        self.weights: Floats = _PRIOR.copy()
        self.signs: Singles = np.zeros((2, 2, COUNT), dtype=np.float32)
        """decayed sums of the signs, and of their absolute values"""
        self.square_sum: Floats = np.full(COUNT, 1e-30)
        """never 0: where it is this small the difference is 0 too"""
        self.learned: Singles = np.zeros((2, COUNT + DIMENSIONS), dtype=np.float32)
        """weights of the logistic learners, slow and fast, of features and text hash"""
        self.squares: Singles = np.full(COUNT + DIMENSIONS, _FIRST_SQUARE, dtype=np.float32)
        """decayed sums of the squares of their inputs"""
        self.pairs = 0
        self.edge: float | None = None
        """2 p(truth) - 1 of the blends of wording alone, together, of the last pair; None where its wordings were equal"""
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

        The sign bettors of one feature see one sign; a logistic learner sees a vector of length 1.
        """
        held = self.weights[:_SIGN_COUNT].reshape(2, COUNT)
        edges = self.signs[0] / (self.signs[1] + _TWICE_KAPPA)
        staked = np.add.reduce(held * edges, axis=0)
        lengths = np.sqrt(np.add.reduceat(self.learned.ravel().astype(np.float64) ** 2, _PARTS))
        sure = 2.0 * np.add.reduce(np.arctanh(_NEARLY_SURE * np.abs(edges[0], dtype=np.float64)))
        most = _ROUNDED_UP * np.append(lengths, sure)
        worst = -_MOST_STAKED * np.tanh(np.add.reduce(_HALF_BLENDS * most, axis=1))
        blended = float(np.add.reduce(self.weights[_SIGN_COUNT:] * (1.0 + worst)))
        least = float(np.add.reduce(held, axis=None) - np.add.reduce(np.abs(staked))) + blended
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
        shown = self._shown(seen)
        payoffs, steps = self._payoffs(seen, shown)
        paid = self.weights * payoffs
        payoff = float(np.add.reduce(paid))
        self.edge = self._edge_of_wording(paid) if seen.reworded else None
        # -- nothing above this line may depend on which side is which; nothing below it may reach back
        self.weights = paid
        self._share(payoff)
        self._learn(seen, shown, steps)
        return payoff

    def _edge_of_wording(self, paid: Floats) -> float:
        held, gained = self.weights[_WORDING].tolist(), paid[_WORDING].tolist()
        edge: float = (gained[0] + gained[1]) / (held[0] + held[1]) - 1.0
        return edge

    def _shown(self, seen: Difference) -> Singles:
        """Return what the logistic learners see: features and text hash, each of length 1 where there is any.

        Features are divided by their running root mean square before. The square is even in the sides, so this pair may
        be part of it.
        """
        features = seen.features
        self.square_sum += features * features
        scaled = features * np.sqrt(self.pairs / self.square_sum)
        np.minimum(np.maximum(scaled, _LEAST, out=scaled), _LARGEST, out=scaled)
        length = math.sqrt(np.add.reduce(scaled * scaled))
        shown = np.empty(COUNT + DIMENSIONS, dtype=np.float32)
        shown[:COUNT] = scaled * (1.0 / length) if length else 0.0
        shown[COUNT:] = seen.hashed
        return shown

    def _payoffs(self, seen: Difference, shown: Singles) -> tuple[Floats, list[float]]:
        """Return what each expert pays, and the step of each logistic learner: of slow ones, then of fast ones."""
        payoffs, scores = np.empty(EXPERTS), np.empty(5)
        signs = self.signs[0] / (self.signs[1] + _TWICE_KAPPA)
        signs *= seen.signs[0]
        payoffs[:_SIGN_COUNT] = signs.ravel()
        # sums of products, not BLAS: the same bits whatever the alignment, so that replay equals live
        scores[:4] = np.add.reduceat((self.learned * shown).ravel(), _PARTS)
        scores[4] = 2.0 * np.add.reduce(np.arctanh(_NEARLY_SURE * payoffs[:COUNT]))
        edges = np.tanh(np.add.reduce(_BY_SCORE * scores[:, None], axis=0))
        # 2 p(truth) = 1 + tanh(z / 2); a logistic learner moves by 1 - p = (1 - tanh(z / 2)) / 2, twice that here: what
        # it is divided by is the root of the inputs' squares, and the gradient's are a quarter of them at most
        own: list[float] = edges[len(_BLENDS) :].tolist()
        steps = [
            _SLOW - _SLOW * own[0],
            _SLOW - _SLOW * own[1],
            _FAST - _FAST * own[2],
            _FAST - _FAST * own[3],
        ]
        np.multiply(edges[: len(_BLENDS)], _MOST_STAKED, out=payoffs[_SIGN_COUNT:])
        payoffs += _EVEN
        return payoffs, steps

    def _share(self, payoff: float) -> None:
        self.weights *= (1.0 - SHARE) / payoff
        self.weights += _SHARED

    def _learn(self, seen: Difference, shown: Singles, steps: list[float]) -> None:
        decaying = self.signs[:, 1]
        decaying *= _SIGN_DECAY
        self.signs += seen.signs
        squares = self.squares
        square = shown * shown
        squares += square
        if not self.pairs % _FORGETS_EVERY:
            squares *= _REMEMBERED
            squares += _RETURNED_SQUARE
        towards = shown / np.sqrt(squares, out=square)
        features, (slow, fast) = towards[:COUNT], self.learned
        for learner, of_features, of_words in ((slow, steps[0], steps[1]), (fast, steps[2], steps[3])):
            np.multiply(towards, of_words, out=square)
            np.multiply(features, of_features, out=square[:COUNT])
            np.add(learner, square, out=learner)

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


_STATE = ("learned", "pairs", "signs", "square_sum", "squares", "weights")
