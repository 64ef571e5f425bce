"""SetBet: a mixture of bettors on "which answers of this round are the live ones?".

Expert k gives each labeling a weight from the past only; the round then pays e_k = weight of the truth / mean
weight, so E[e_k | past] = 1 when the round is exchangeable. Experts, over one round's labelings:

* likeness within the sides by three distances (words, n-grams, features): finds changes that go another way
  for every prompt, from the first round on;
* the live side wider or narrower: finds changes of spread (temperature, top_p), blind spots of paired
  differences;
* ranks of each feature; learned directions in features and n-grams (conditional logistic regression: all
  banked answers against all live ones, not one against one);
* log-linear mixtures of all those statistics, whose coefficients are learned: in effect a learned kernel;
* the ordinary pair game over the pairs of the round, read at its end.

The mixture is convex and its weights are learned with a fixed share, score first, then learn, as in
`experts.py`. Measured against its parts in docs/reference/detector-figures.md.
"""

from __future__ import annotations

import math

import numpy as np

from promptguard.drift.betting.experts import CLIP, SHARE
from promptguard.drift.betting.partitions import Floats, Round, cohesion, ranks, standardised, sums
from promptguard.drift.features.catalogue import COUNT
from promptguard.drift.features.hashing import DIMENSIONS

_LIKE, _WIDE = 4, 3
_STATISTICS = _LIKE + _WIDE + COUNT
_LIKE_STRENGTHS = 4
_SIGNED_STRENGTHS = 6
_FEATURE_RATES = np.array([0.1, 0.5, 2.0])
_HASH_RATES = np.array([0.5, 2.0, 8.0])
_BLEND_RATES = np.array([0.01, 0.03, 0.1])
_DECAY = 0.999
_FIRST_BLEND = 0.25
"""coefficient of likeness before anything is learned: it needs no direction, so it may bet at once"""

_FAMILIES = (  # number of experts, share of the prior mass
    (_LIKE * _LIKE_STRENGTHS, 1 / 9),
    (_WIDE * _SIGNED_STRENGTHS, 1 / 9),
    (COUNT * _SIGNED_STRENGTHS, 1 / 9),
    (len(_FEATURE_RATES), 1 / 9),
    (len(_HASH_RATES), 1 / 9),
    (len(_BLEND_RATES), 3 / 9),
    (1, 1 / 9),
)
_PRIOR = np.concatenate([np.full(number, mass / number) for number, mass in _FAMILIES])
EXPERTS = len(_PRIOR)


class SetBet:
    """The learner of rounds of one group. Cost about 2 milliseconds a round of 5 + 5; 20 KB of state."""

    __slots__ = ("blend", "feature_weights", "hash_weights", "rounds", "square_sum", "weights")

    def __init__(self) -> None:
        self.weights: Floats = _PRIOR.copy()
        self.square_sum: Floats = np.zeros(COUNT)
        self.rounds = 0
        self.feature_weights: Floats = np.zeros((len(_FEATURE_RATES), COUNT))
        self.hash_weights: Floats = np.zeros((len(_HASH_RATES), DIMENSIONS))
        self.blend: Floats = np.zeros((len(_BLEND_RATES), _STATISTICS))
        self.blend[:, :_LIKE] = _FIRST_BLEND

    def score_then_learn(self, seen: Round, log_pairs: float) -> float:
        """Return log e of the round under what was known before it, then learn from it.

        `log_pairs` is what the pair game paid over the pairs of this very round.
        """
        self.rounds += 1
        scaled = self._normalised(seen.features)
        centred = seen.hashed - seen.hashed.mean(axis=0)
        statistics = _statistics(seen, scaled)
        shape = math.sqrt(float((scaled * scaled).sum(axis=1).mean()))
        unit = scaled / shape if shape else scaled
        labels = seen.labels
        by_features = _softmax(sums(labels, np.einsum("id,kd->ik", unit, self.feature_weights)))
        by_hash = _softmax(sums(labels, np.einsum("id,kd->ik", centred, self.hash_weights)))
        by_blend = _softmax(np.einsum("pk,lk->pl", statistics, self.blend))
        learned = np.concatenate([by_features[0], by_hash[0], by_blend[0]]) * len(labels)
        pays = np.concatenate([_fixed(statistics), learned])
        # no expert may stake everything on one labeling
        payoffs = np.append(2.0 * CLIP + (1.0 - 2.0 * CLIP) * pays, math.exp(log_pairs))
        payoff = float(np.add.reduce(self.weights * payoffs))
        # -- nothing above this line may depend on which row is the truth but the pay-offs; nothing below it
        # may reach back
        self.weights *= payoffs * ((1.0 - SHARE) / payoff)
        self.weights += SHARE * _PRIOR
        self._learn(seen.labels, by_features, by_hash, unit, centred)
        gap = statistics[0] - np.einsum("pl,pk->lk", by_blend, statistics)
        self.blend += _BLEND_RATES[:, None] * gap
        return math.log(payoff)

    @property
    def log_least(self) -> float:
        """The log of the least that any round could pay now: no expert's bet is below twice CLIP, but the pair game's."""
        return math.log(2.0 * CLIP * (1.0 - self.weights[-1]))

    def _normalised(self, features: Floats) -> Floats:
        """Centre on the round, divide by the running root mean square, clip: blind to the labels."""
        centred: Floats = features - features.mean(axis=0)
        self.square_sum += (centred * centred).mean(axis=0)
        scale = np.sqrt(self.square_sum / self.rounds)
        scaled = np.divide(centred, scale, out=np.zeros_like(centred), where=scale > 0)
        return np.clip(scaled, -3.0, 3.0)

    def _learn(
        self, labels: Floats, by_features: Floats, by_hash: Floats, unit: Floats, centred: Floats
    ) -> None:
        """Take one step up the conditional likelihood: true labels less those expected."""
        for learned, rates, belief, shown in (
            (self.feature_weights, _FEATURE_RATES, by_features, unit),
            (self.hash_weights, _HASH_RATES, by_hash, centred),
        ):
            surprise = labels[0] - np.einsum("pk,pi->ki", belief, labels)
            step = rates[:, None] * np.einsum("ki,id->kd", surprise, shown)
            np.add(learned * _DECAY, step, out=learned)

    def state_dict(self) -> dict[str, object]:
        """Return arrays and counts by name."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_state(cls, state: dict[str, object]) -> SetBet:
        """Rebuild a learner; it continues bit for bit."""
        learner = cls()
        for name in cls.__slots__:
            setattr(learner, name, state[name])
        return learner


def _statistics(seen: Round, scaled: Floats) -> Floats:
    """Return what is known of each labeling, standardised: likeness (4), spread (3), ranks (COUNT)."""
    grams = np.einsum("id,jd->ij", seen.hashed, seen.hashed)
    norms = np.diag(grams)
    # square roots: distances of negative type whose energy statistic weighs small differences more
    cosine = np.sqrt(np.maximum(0.5 * (norms[:, None] + norms[None]) - grams, 0.0))
    squares = ((scaled[:, None] - scaled[None]) ** 2).sum(axis=-1)
    typical = float(np.median(squares[np.triu_indices(len(squares), 1)]))
    features = 1.0 - np.exp(-squares / (typical or 1.0))
    alike, wider = cohesion(seen.labels, [np.sqrt(seen.words), cosine, features])
    alike, wider = standardised(alike), standardised(wider)
    together = standardised(alike.sum(axis=1, keepdims=True))
    ranked = standardised(sums(seen.labels, ranks(seen.features)))
    return np.concatenate([alike, together, wider, ranked], axis=1)


def _fixed(statistics: Floats) -> Floats:
    """Return exp(c z) of the truth over its mean, for c = .5, 1, 2, 4 (likeness) and +-.5, 1, 2 (the rest)."""
    roots = np.exp(0.5 * statistics)
    whole, double = roots**2, roots**4
    alike = [power[:, :_LIKE] for power in (roots, whole, double, double**2)]
    signed = [power[:, _LIKE:] for power in (roots, whole, double, 1 / roots, 1 / whole, 1 / double)]
    even = [_paid(power) for power in alike]
    odd = np.stack([_paid(power) for power in signed])
    return np.concatenate([*even, odd[:, :_WIDE].ravel(), odd[:, _WIDE:].ravel()])


def _paid(weights: Floats) -> Floats:
    result: Floats = weights[0] / weights.mean(axis=0)
    return result


def _softmax(scores: Floats) -> Floats:
    """Return the probability of each labeling (rows) under each expert (columns)."""
    weights = np.exp(scores - scores.max(axis=0))
    result: Floats = weights / weights.sum(axis=0)
    return result
