"""How much: intervals for the size of an effect, from pairs after the alarm only."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEWEST = 30
"""pairs after the alarm below which an effect is `pending`"""
LEVEL = 0.95
_MEANS: Floats = np.linspace(0.0, 1.0, 81)
_FINE = 21
_FRACTIONS: Floats = np.geomspace(0.01, 0.9, 12)
_VALUES = 400
_NORMAL_95 = 1.959963984540054


def betting_interval(differences: Floats, level: float = LEVEL) -> tuple[float, float] | None:
    """Return a confidence sequence, at its last time, for the mean of `differences` in [-1, 1].

    Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting" (arXiv 2010.09686): the
    hedged grid-Kelly form, a mean over constant bets on either side, so that the order of the pairs does not
    matter (files are often sorted). It holds at every stopping time at once; earlier sets are not
    intersected, or a mean that moves with the prompts would squeeze it to nothing. None for no data.
    """
    if not len(differences):
        return None
    x = np.clip((np.asarray(differences, dtype=np.float64) + 1.0) / 2.0, 0.0, 1.0)
    values, counts = np.unique(np.rint(x * _VALUES) / _VALUES, return_counts=True)
    slack = 0.0 if np.isin(x, values).all() else 0.5 / _VALUES  # rounding moves the mean by at most this
    bar = math.log(2.0 / (1.0 - level))
    inside = np.flatnonzero(_log_capital(values, counts, _MEANS) < bar)
    if len(inside):
        low = _edge(values, counts, bar, int(inside[0]), -1)
        high = _edge(values, counts, bar, int(inside[-1]), +1)
    else:  # the whole set lies between two points of the grid
        near = np.clip(x.mean() + np.linspace(-0.0125, 0.0125, 101), 0.0, 1.0)
        kept = near[_log_capital(values, counts, near) < bar]
        low, high = (kept.min() - 0.00025, kept.max() + 0.00025) if len(kept) else (x.mean(), x.mean())
    return 2.0 * max(float(low) - slack, 0.0) - 1.0, 2.0 * min(float(high) + slack, 1.0) - 1.0


def _log_capital(values: Floats, counts: NDArray[np.int64], means: Floats) -> Floats:
    """Return, for each hypothetical mean, the log of the larger capital of the two hedged bettors."""
    gaps = values[:, None, None] - means[None, :, None]
    up = _FRACTIONS / np.maximum(means, 1e-9)[:, None]
    down = _FRACTIONS / np.maximum(1.0 - means, 1e-9)[:, None]
    richer = np.stack([np.log1p(np.maximum(bet * gaps, -0.999)) for bet in (up, -down)])
    logs = np.tensordot(richer, counts.astype(np.float64), axes=(1, 0))
    peak = logs.max(axis=2, keepdims=True)
    capital = peak[:, :, 0] + np.log(np.exp(logs - peak).mean(axis=2))
    result: Floats = capital.max(axis=0)
    return result


def _edge(values: Floats, counts: NDArray[np.int64], bar: float, place: int, step: int) -> float:
    """Return the outer edge of the set beyond grid cell `place`, found on a finer grid; rounded outwards."""
    beyond = place + step
    if not 0 <= beyond < len(_MEANS):
        return float(_MEANS[place])
    fine = np.linspace(_MEANS[place], _MEANS[beyond], _FINE)
    outside = np.flatnonzero(_log_capital(values, counts, fine) >= bar)
    return float(fine[outside[0]]) if len(outside) else float(fine[-1])


def rate_interval(total: float, count: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval for the mean of `count` values in [0, 1] that sum to `total`.

    Made for flags, conservative for graded values, whose variance is below p(1 - p). For one look, not any
    time.
    """
    if not count:
        return 0.0, 1.0
    p, z2 = total / count, _NORMAL_95**2
    centre = (p + z2 / (2 * count)) / (1 + z2 / count)
    half = _NORMAL_95 * math.sqrt(p * (1 - p) / count + z2 / (4 * count * count)) / (1 + z2 / count)
    return max(0.0, centre - half), min(1.0, centre + half)
