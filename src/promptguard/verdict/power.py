"""The formula for how many pairs a shift needs, and its inverse: the largest shift that could still hide. Pure, no numpy.

n = [ln threshold + ln(1/prior) + half ln(n(shift + 2 noise))] / ((shift + 2 noise) KL(p || half)),
p = (shift + noise)/(shift + 2 noise): measured medians were .58-1.06 of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

_STEPS = 20
"""Halvings of the interval in which the largest shift lies: to a millionth."""


def active_and_gain(shift: float, noise: float) -> tuple[float, float]:
    """Return the share of pairs whose flag differs, and what one of them pays on average (nats)."""
    active = min(1.0, shift + 2.0 * noise)
    p = min(1.0, (shift + noise) / (shift + 2.0 * noise)) if active > 0 else 0.5
    return active, math.log(2.0) + sum(q * math.log(q) for q in (p, 1.0 - p) if q > 0)


def needed(shift: float, noise: float, log_bar: float) -> float:
    """Return about how many pairs until half of all runs alarm; `log_bar` is ln threshold + ln(1/prior)."""
    active, gain = active_and_gain(shift, noise)
    if active * gain < 1e-12:
        return math.inf
    count = 100.0
    for _ in range(60):  # a contraction: the count enters only through its logarithm
        count = (log_bar + 0.5 * math.log(max(1.0, count * active))) / (active * gain)
    return count


def could_hide(pairs: int, noise: float, log_bar: float, straddling: float = 1.0) -> float:
    """Return the largest net share of changed answers that `pairs` pairs would miss half of the time.

    `straddling` is the share of those pairs that compare an answer from before the change with one from after it.
    """
    if hides(1.0, pairs, noise, log_bar, straddling):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if hides(middle, pairs, noise, log_bar, straddling) else (low, middle)
    return high


def hides(shift: float, pairs: int, noise: float, log_bar: float, straddling: float) -> bool:
    """Whether a shift takes more than `pairs`: the equation is a contraction, so one step from there tells the side."""
    active, gain = active_and_gain(shift * straddling, noise)
    if active * gain < 1e-12:
        return True
    return (log_bar + 0.5 * math.log(max(1.0, pairs * active))) / (active * gain) > pairs


_STEP = 1.02
"""Factor between two looks for the day on which a change is found."""


class Lasting(NamedTuple):
    """What an alarm takes where pairs compare different days: so many days, or to be sudden.

    Attributes:
        days: how long evidence has to last
        sudden: what each pair pays of a sudden change, at least (nats)
        fewest: pairs that a sudden change is told by, at least
    """

    days: float
    sudden: float
    fewest: int


def days_needed(
    shift: float,
    noise: float,
    log_bar: float,
    log_prior: float,
    ages: Sequence[tuple[float, float]],
    lasting: Lasting,
) -> tuple[float, float] | None:
    """Return (days, pairs) until half of all runs find a change, where stored answers are asked again; None for never.

    `log_bar` is ln threshold + ln(1/prior); `ages` are (days that an answer waits, answers a day that wait so
    long): t days after the change the answers of an age that were stored before it are asked for min(t, age) days; then new
    is compared with new.
    """
    floor = log_bar - log_prior
    per_day = sum(rate for _, rate in ages)
    longest = max((age for age, rate in ages if rate > 0.0), default=0.0)
    days = 0.01
    while days <= longest:
        pairs = per_day * days
        straddling = sum(rate * min(days, age) for age, rate in ages)
        # no pair pays more than 2, whatever the formula says
        reachable = straddling * math.log(2.0) >= floor
        active, gain = active_and_gain(shift * straddling / pairs, noise)
        sudden = active * gain >= lasting.sudden and pairs >= lasting.fewest
        allowed = reachable and (sudden or days >= lasting.days)
        if allowed and not hides(shift, max(1, int(pairs)), noise, log_bar, straddling / pairs):
            return days, pairs
        days *= _STEP
    return None


def could_hide_beyond(
    pairs: int, tolerance: float, log_bar: float, bets: tuple[float, ...], straddling: float = 1.0
) -> float:
    """Return the largest share of answers in which a flag could differ and be missed, when up to `tolerance` may.

    `log_bar` is ln threshold + ln of the number of bets on features; `bets` are shares of the largest bet allowed.
    """
    if pairs * _growth(straddling, tolerance, bets) < log_bar:
        return 1.0
    low, high = tolerance, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        missed = pairs * _growth(middle * straddling, tolerance, bets) < log_bar
        low, high = (middle, high) if missed else (low, middle)
    return high


def _growth(share: float, tolerance: float, bets: tuple[float, ...]) -> float:
    sizes = [bet / (1.0 + tolerance) for bet in bets]
    return max(
        share * math.log1p(size * (1.0 - tolerance)) + (1.0 - share) * math.log1p(-size * tolerance)
        for size in sizes
    )
