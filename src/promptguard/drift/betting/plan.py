"""How many pairs a shift needs, and, when nothing was found, how large a shift could still hide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from promptguard.drift.betting.days import DAY_SHARE, FEWEST, SUDDEN
from promptguard.drift.betting.experts import CLIP, PRIOR_SIGNS, Floats
from promptguard.drift.betting.shift import BETS
from promptguard.drift.betting.shift import EXPERTS as SHIFT_EXPERTS
from promptguard.drift.features.catalogue import BINARY, COUNT, KINDS
from promptguard.drift.history.tally import Tally
from promptguard.verdict import Verdict, power
from promptguard.verdict.window import Power

LOG_PRIOR = math.log(COUNT / PRIOR_SIGNS)
_MOVED_TOGETHER = 30
"""Features that an ordinary change moves; measured in benchmarks/replay_window.py."""
_LASTING = power.Lasting(days=1.0 / DAY_SHARE, sudden=SUDDEN, fewest=FEWEST)
"""One day may bring DAY_SHARE of what an alarm takes; the rest, ln(horizon), is there before any evidence is."""
_LN10 = math.log(10.0)
_DEAREST = -math.log(2.0 * CLIP)


def pairs_needed(shift: float, noise: float, log_threshold: float) -> float:
    """Return about how many pairs until half of all runs alarm.

    `shift` is the net share of requests whose flag flips, `noise` the share that flips each way when nothing
    changed; log_threshold is ln(1/alpha) in a gate, ln(H/alpha) in a monitor (`promptguard.verdict.power`).
    """
    return power.needed(shift, noise, log_threshold + LOG_PRIOR)


def days_needed(
    shift: float, noise: float, log_threshold: float, ages: Sequence[tuple[float, float]]
) -> tuple[float, float] | None:
    """Return (days, pairs) until half of all runs find a change by stored answers; `ages` as (days, answers a day)."""
    # a change is seldom of one feature: as many bettors begin to win together
    prior = LOG_PRIOR - math.log(_MOVED_TOGETHER)
    return power.days_needed(shift, noise, log_threshold + prior, prior, ages, _LASTING)


def largest_hidden(pairs: int, noise: float, log_threshold: float) -> float:
    """Return the largest net share of flipped requests that `pairs` pairs would miss half of the time."""
    return power.could_hide(pairs, noise, log_threshold + LOG_PRIOR)


def power_of(tally: Tally, log_threshold: float, tolerance: float | None, lost: int = 0) -> Power:
    """Return what decides how large a shift can hide: that of any flag has to stand out from the noisiest one.

    Each of `lost` pairs that had one answer may have cost as much as a clipped learner can lose.
    """
    log_threshold += lost * _DEAREST
    if tolerance is not None:
        bets = tuple(BETS.tolist())
        return Power(log_threshold + math.log(SHIFT_EXPERTS), tolerance=tolerance, bets=bets)
    return Power(log_threshold + LOG_PRIOR, noise=float(_flips(tally)[list(BINARY)].max()))


def with_hidden(brief: Verdict, tally: Tally, lost: int) -> Verdict:
    """Return a verdict with the largest changes that so many pairs could have missed; `lost` pairs had one answer."""
    bar = brief.log10_threshold * _LN10
    hidden = power_of(tally, bar, brief.tolerance, lost).hides(brief.pairs)
    bar += lost * _DEAREST
    if brief.tolerance is not None:
        return replace(brief, largest_hidden_drift=hidden)
    flips = _flips(tally)
    return replace(
        brief,
        largest_hidden_drift=hidden,
        hidden_by_kind={
            kind: largest_hidden(brief.pairs, float(flips[list(places)].max()), bar)
            for kind, places in KINDS.items()
        },
    )


def _flips(tally: Tally) -> Floats:
    flips: Floats = (tally.plus + tally.minus) / (2.0 * max(1, tally.pairs))
    return flips
