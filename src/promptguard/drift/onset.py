"""When did it begin: a posterior over the first changed pair, from the signs of the differences.

For each feature and each candidate start j: signs before j are fair coins, signs from j on follow a
Krichevsky-Trofimov coin; how often the sides tie may change at j too. P(j) is proportional to the mean over
features of these likelihoods. Ties carry the information "still the same", without which a long run of
identical answers could not be told from the change that ended it.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.history import Rows
from promptguard.drift.verdict import Onset

MASS = 0.9


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


def find_onset(rows: Rows, latest: int | None = None) -> Onset | None:
    """Return the most probable first changed pair with the hull of its 90 % set; None without rows.

    `latest` is the number of the last pair it can be: what rang an alarm began before it rang.
    """
    if not len(rows):
        return None
    signs = np.sign(rows["candidate"].astype(np.int32) - rows["control"].astype(np.int32))
    signs = signs[:, np.any(signs != 0, axis=0)]
    if not signs.shape[1]:
        return None
    plus, minus = _from_here(signs > 0), _from_here(signs < 0)
    moved = plus + minus
    ties = np.arange(len(rows), 0, -1)[:, None] - moved
    moved_before, ties_before = moved[0] - moved, ties[0] - ties
    # Each feature's likelihood ratio against "no change": features then speak on one scale.
    score = (
        log_kt(plus, minus)
        + math.log(2.0) * moved
        + log_kt(moved, ties)
        + log_kt(moved_before, ties_before)
        - log_kt(moved[:1], ties[:1])
    )
    numbers = rows["number"]
    if latest is not None and bool((numbers <= latest).any()):
        score[numbers > latest] = -np.inf
    peak = score.max()
    posterior = np.exp(score - peak).sum(axis=1)
    posterior /= posterior.sum()
    order = np.argsort(-posterior, kind="stable")
    inside = order[: int(np.searchsorted(np.cumsum(posterior[order]), MASS)) + 1]
    return Onset(pair=int(numbers[order[0]]), low=int(numbers[inside.min()]), high=int(numbers[inside.max()]))


def _from_here(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return counts over [j, T] for every j."""
    counts: NDArray[np.int64] = np.cumsum(flags[::-1], axis=0, dtype=np.int64)[::-1]
    return counts
