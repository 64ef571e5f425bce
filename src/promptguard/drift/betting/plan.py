"""How many pairs a shift needs, and, when nothing was found, how large a shift could still hide."""

from __future__ import annotations

import math

from promptguard.drift.betting.experts import PRIOR_SIGNS
from promptguard.drift.features.catalogue import COUNT

_LOG_PRIOR = math.log(COUNT / PRIOR_SIGNS)


def pairs_needed(shift: float, noise: float, log_threshold: float) -> float:
    """Return about how many pairs until half of all runs alarm.

    `shift` is the net share of requests whose flag flips, `noise` the share that flips each way when nothing
    changed; log_threshold is ln(1/alpha) in a gate, ln(H/alpha) in a monitor. n = [ln threshold + ln(1/prior)
    + half ln(n(shift + 2 noise))] / ((shift + 2 noise) KL(p || half)), p = (shift + noise)/(shift + 2 noise);
    measured medians were .58-1.06 of it.
    """
    active, gain = _active_and_gain(shift, noise)
    if active * gain < 1e-12:
        return math.inf
    count = 100.0
    for _ in range(60):  # a contraction: the count enters only through its logarithm
        count = (log_threshold + _LOG_PRIOR + 0.5 * math.log(max(1.0, count * active))) / (active * gain)
    return count


def _active_and_gain(shift: float, noise: float) -> tuple[float, float]:
    active = min(1.0, shift + 2.0 * noise)
    p = min(1.0, (shift + noise) / (shift + 2.0 * noise)) if active > 0 else 0.5
    return active, math.log(2.0) + sum(q * math.log(q) for q in (p, 1.0 - p) if q > 0)


def largest_hidden(pairs: int, noise: float, log_threshold: float) -> float:
    """Return the largest net share of flipped requests that `pairs` pairs would miss half of the time."""
    low, high = 0.0, 1.0
    if _is_hidden(high, pairs, noise, log_threshold):
        return 1.0
    for _ in range(40):
        middle = (low + high) / 2.0
        low, high = (middle, high) if _is_hidden(middle, pairs, noise, log_threshold) else (low, middle)
    return high


def _is_hidden(shift: float, pairs: int, noise: float, log_threshold: float) -> bool:
    """Whether `pairs_needed` is above `pairs`: its equation is a contraction, so one step from there tells the side."""
    active, gain = _active_and_gain(shift, noise)
    if active * gain < 1e-12:
        return True
    return (log_threshold + _LOG_PRIOR + 0.5 * math.log(max(1.0, pairs * active))) / (active * gain) > pairs
