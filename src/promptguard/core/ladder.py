"""How long stored answers wait until they are asked again: ages spread over a fortnight, so that a change stays visible.

A stored answer is used once. Were all of them used after `after`, the bank would hold new answers alone once that has
passed since a change, and new would be compared with new. So a part waits longer: 6 h, 1 d, 3 d, 7 d, 14 d, those that are
longer than `after`. The age is drawn from the call's number, never from what it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HOUR, DAY = 3600.0, 86_400.0
AGES = (6 * HOUR, DAY, 3 * DAY, 7 * DAY, 14 * DAY)
_SHORTEST = 900.0
"""Seconds; with a shorter `after`, in a demonstration say, the ages are in the proportion of AGES."""
FIRST = 40
"""Answers of a prompt that are asked again as soon as may be, so that there is a first verdict soon."""
_SOON, _SOON_ROOM = 0.1, 0.3
"""Shares of the answers, and of the bank, that belong to the shortest age; each longer one has twice that of the last.

The longest counts most: t days after a change, only what has waited longer than t compares old with new. Measured in
benchmarks/replay_window.py; with even shares a change of a fifth took twice as long.
"""
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True, slots=True)
class Rung:
    """One age (seconds), the share of answers that wait so long, and how many of them the bank has room for."""

    age: float
    share: float
    room: int


def ladder(after: float, reservoir: int) -> tuple[Rung, ...]:
    """Return the ages, shortest first, for answers asked again after `after` seconds and `reservoir` of them a prompt."""
    unit = after / AGES[0]
    proportional = tuple(unit * age for age in AGES)
    longer = AGES if after >= _SHORTEST else proportional[1:]
    ages = (after, *(age for age in longer if age >= 2.0 * after))
    weights = [2**place / (2 ** (len(ages) - 1) - 1) for place in range(len(ages) - 1)]
    if not weights:
        return (Rung(after, 1.0, reservoir),)
    return (
        Rung(after, _SOON, reservoir),
        *(
            Rung(age, (1.0 - _SOON) * weight, int((1.0 - _SOON_ROOM) * weight * reservoir))
            for age, weight in zip(ages[1:], weights, strict=True)
        ),
    )


def draw(call: int) -> float:
    """Return a number in [0, 1) for a call: evenly spread over calls, the same in every process."""
    return call * _GOLDEN % 1.0


def drawn(rungs: Sequence[Rung], at: float) -> int:
    """Return the place of the age that a number in [0, 1) belongs to."""
    for place, rung in enumerate(rungs):
        at -= rung.share
        if at < 0.0:
            return place
    return len(rungs) - 1


@dataclass(frozen=True, slots=True)
class Flow:
    """Answers a day that wait for one age (seconds)."""

    age: float
    per_day: float


def flows(rungs: Sequence[Rung], per_day: float) -> tuple[Flow, ...]:
    """Return how many of `per_day` stored answers are used at each age: what the bank has no room for is used sooner."""
    found, over = [], 0.0
    for rung in reversed(rungs[1:]):
        wanted = per_day * rung.share + over
        kept = min(wanted, rung.room * DAY / rung.age)
        found.append(Flow(rung.age, kept))
        over = wanted - kept
    first = rungs[0]
    most = (first.room - sum(flow.per_day * flow.age / DAY for flow in found)) * DAY / max(first.age, 1.0)
    found.append(Flow(first.age, min(per_day * first.share + over, most)))
    return tuple(reversed(found))
