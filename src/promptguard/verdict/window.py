"""What a verdict can speak of: from when to when its pairs are, and which changes they could have shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from promptguard.verdict.ages import DAY, HOUR, Ages
from promptguard.verdict.power import could_hide, could_hide_beyond, hides

MOMENTS = (HOUR, 6 * HOUR, DAY, 7 * DAY)
"""Ages of a change of which every verdict says whether it could have been seen, in seconds."""
SHORTEST_STALE, LONGEST_STALE, STALE_GAPS = HOUR, DAY, 3.0


@dataclass(frozen=True, slots=True)
class Power:
    """What decides how large a shift so many pairs miss: the noisiest flag's noise and the bar, or the tolerance."""

    log_bar: float
    """ln of the threshold and of the inverse prior"""
    noise: float = 0.0
    tolerance: float | None = None
    bets: tuple[float, ...] = ()

    def hides(self, pairs: int, straddling: float = 1.0) -> float:
        """Return the largest share of answers that could have changed unseen in `pairs` pairs."""
        if pairs <= 0 or straddling <= 0.0:
            return 1.0
        if self.tolerance is None:
            return could_hide(pairs, self.noise, self.log_bar, straddling)
        return could_hide_beyond(pairs, self.tolerance, self.log_bar, self.bets, straddling)

    def hides_all(self, pairs: int, straddling: float) -> bool:
        """Whether even a change of every answer could hide; as `hides` at its end, in a step."""
        if self.tolerance is not None:
            return self.hides(pairs, straddling) >= 1.0
        return hides(1.0, pairs, self.noise, self.log_bar, straddling)


@dataclass(frozen=True, slots=True)
class Since:
    """Of a change that began `seconds` ago: how many pairs could have shown it, and how much of it could hide."""

    seconds: float
    pairs: int
    hidden: float


@dataclass(frozen=True, slots=True)
class Window:
    """The time of the first and the last pair (Unix seconds), and how old the last may be for the verdict to stand."""

    first_at: float
    last_at: float
    stale_after: float
    since: tuple[Since, ...] = ()

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Window:
        """Rebuild from JSON values."""
        since = tuple(
            Since(float(each["seconds"]), int(each["pairs"]), float(each["hidden"])) for each in told["since"]
        )
        return cls(float(told["first_at"]), float(told["last_at"]), float(told["stale_after"]), since)


def stale_after(gap: float, given: float | None = None) -> float:
    """Return how many seconds a verdict stands after its last pair: as given, else three usual gaps, 1 h to 24 h."""
    return given if given is not None else min(max(STALE_GAPS * gap, SHORTEST_STALE), LONGEST_STALE)


def window_of(
    ages: Ages, power: Power, now: float, *, stored: bool, given: float | None = None
) -> Window | None:
    """Return the window of a verdict at `now` (Unix seconds); None before there are pairs.

    Parameters: `stored`, whether the control's answer is from before (replay): then only pairs that straddle the beginning
    of a change could show it, else all pairs since; `given` is what the user said a verdict's age may be.
    """
    if ages.first is None or ages.last is None:
        return None
    since = tuple(_since(ages, power, seconds, now - seconds, stored=stored) for seconds in MOMENTS)
    return Window(ages.first, ages.last, stale_after(ages.gap, given), since)


def shows_nothing(ages: Ages, power: Power, now: float) -> bool:
    """Whether not even a change of every answer, begun at any of MOMENTS, could have been seen by now in stored answers."""
    return all(_hides_all(ages, power, now - seconds) for seconds in MOMENTS)


def _hides_all(ages: Ages, power: Power, moment: float) -> bool:
    straddling, among = _straddling(ages, moment)
    return not straddling or power.hides_all(among, straddling / among)


def _straddling(ages: Ages, moment: float) -> tuple[int, int]:
    """Return the pairs that straddle a moment, and among how many they lie: the others, new with new, dilute them."""
    straddling = ages.straddling(moment)
    return straddling, max(straddling, ages.between(moment, moment + ages.longest))


def _since(ages: Ages, power: Power, seconds: float, moment: float, *, stored: bool) -> Since:
    if not stored:
        pairs = ages.since(moment)
        return Since(seconds, pairs, power.hides(pairs))
    straddling, among = _straddling(ages, moment)
    return Since(seconds, straddling, power.hides(among, straddling / among if among else 0.0))
