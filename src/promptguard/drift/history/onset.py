"""When did it begin: a posterior over the first changed pair, from the signs of the differences.

For each feature and each candidate start j: signs before j are fair coins, signs from j on follow a
Krichevsky-Trofimov coin; how often the sides tie may change at j too. P(j) is proportional to the mean over
features of these likelihoods. Ties carry the information "still the same", without which a long run of
identical answers could not be told from the change that ended it. The text hash takes part as one more
feature, with its learners' bets in place of signs: a change that only it sees has an onset too.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.features.catalogue import FEATURES
from promptguard.drift.history.events import signs_of
from promptguard.drift.history.history import NO_EDGE
from promptguard.drift.history.register import Register
from promptguard.drift.history.rows import Rows
from promptguard.verdict import Onset

MASS = 0.9
_LEAP = 64
"""255ths that a graded feature leaps: the noise of graded features is in small moves"""
_GRADED = [place for place, feature in enumerate(FEATURES) if not feature.binary]


@lru_cache(maxsize=4)
def _tables(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return log Gamma(i + 1/2) - log Gamma(1/2) and log Gamma(i + 1) for i <= size."""
    half = np.concatenate([[0.0], np.cumsum(np.log(np.arange(size) + 0.5))])
    whole = np.concatenate([[0.0], np.cumsum(np.log(np.arange(size) + 1.0))])
    return half, whole


def log_kt(ones: NDArray[np.int64], zeros: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the log probability that Krichevsky-Trofimov gives binary sequences with these counts."""
    half, whole = _tables(1 << max(11, int((ones + zeros).max(initial=0)).bit_length()))
    result: NDArray[np.float64] = half[ones] + half[zeros] - whole[ones + zeros]
    return result


def find_onset(rows: Rows, latest: int | None = None, register: Register | None = None) -> Onset | None:
    """Return the most probable first changed pair with the hull of its 90 % set; None without rows.

    `latest` is the number of the last pair it can be: what rang an alarm began before it rang. With `register`, what
    pairs say by place takes part.
    """
    if not len(rows):
        return None
    columns = [rows.signs(), rows.signs(_LEAP)[:, _GRADED]]
    if register is not None:
        columns.append(signs_of(register, rows))
    signs = np.concatenate(columns, axis=1)
    score = np.concatenate([_feature_scores(signs), _wording_score(rows.edges)], axis=1)
    numbers = rows.numbers
    if latest is not None and bool((numbers <= latest).any()):
        score[numbers > latest] = -np.inf
    return None if score.max() == 0.0 else most_probable(score, numbers)


def most_probable(score: NDArray[np.float64], numbers: NDArray[np.int64]) -> Onset:
    """Return the first changed pair from log likelihood ratios by start (rows) and explanation (columns)."""
    peak = score.max()
    posterior = np.exp(score - peak).sum(axis=1)
    posterior /= posterior.sum()
    order = np.argsort(-posterior, kind="stable")
    inside = order[: int(np.searchsorted(np.cumsum(posterior[order]), MASS)) + 1]
    return Onset(pair=int(numbers[order[0]]), low=int(numbers[inside.min()]), high=int(numbers[inside.max()]))


def _feature_scores(signs: NDArray[np.int8]) -> NDArray[np.float64]:
    """Return log likelihood ratios against "no change" for every start and feature that ever moved."""
    signs = signs[:, np.any(signs != 0, axis=0)]
    plus, minus = from_here(signs > 0), from_here(signs < 0)
    moved = plus + minus
    return log_kt(plus, minus) + math.log(2.0) * moved + _tie_score(moved)


def _wording_score(edges: NDArray[np.int8]) -> NDArray[np.float64]:
    """Return the same for the text hash: what its learners' bets, each made before the pair was told, paid.

    A learner knows nothing in the first pairs of a change and then pays 1, which moves no onset.
    """
    different = edges != NO_EDGE
    paid = np.log1p(np.where(different, edges, 0) / 127.0)
    result: NDArray[np.float64] = np.cumsum(paid[::-1])[::-1, None] + _tie_score(
        from_here(different[:, None])
    )
    return result


def _tie_score(moved: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the log likelihood ratio of "from here on the sides tie at another rate"."""
    if not moved.shape[1]:
        return np.zeros(moved.shape)
    ties = np.arange(len(moved), 0, -1)[:, None] - moved
    result: NDArray[np.float64] = (
        log_kt(moved, ties) + log_kt(moved[0] - moved, ties[0] - ties) - log_kt(moved[:1], ties[:1])
    )
    return result


def from_here(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return counts over [j, T] for every j."""
    counts: NDArray[np.int64] = np.cumsum(flags[::-1], axis=0, dtype=np.int64)[::-1]
    return counts
