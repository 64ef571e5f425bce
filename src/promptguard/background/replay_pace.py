"""Whether stored answers come fast enough for any change to be found by them: said when it is known, after a day."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from promptguard.background.notices import Notices
from promptguard.core.ladder import AGES, DAY
from promptguard.core.options import Drift
from promptguard.drift import days_needed
from promptguard.ledger.bank import stored_since
from promptguard.ledger.store import Ledger

LOOK_SECONDS = 3600.0
MOST = 5000
"""Stored answers of a fortnight that are enough, however long they wait."""


class ReplayPace:
    """Looks once an hour at the pace of the replay stream."""

    def __init__(self, ledger: Ledger, notices: Notices, wall: Callable[[], float]) -> None:
        self._ledger = ledger
        self._notices = notices
        self._wall = wall
        self._look_at = time.monotonic() + LOOK_SECONDS

    def look(self, drift: Drift) -> None:
        """Say that no change could be found, if that is so. Raises what the ledger does."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_SECONDS
        self._notices.add(too_slow(self._ledger, drift, self._wall()))


def too_slow(ledger: Ledger, drift: Drift, now: float) -> list[str]:
    """Return what to say where not even a change of every answer would be found by stored answers; else nothing."""
    alpha = drift.alpha_of("replay")
    with ledger.reading() as connection:
        stored = stored_since(connection, now - AGES[-1], MOST)
    first = min((at for at, _ in stored), default=now)
    if alpha <= 0.0 or len(stored) == MOST or now - first < DAY:
        return []
    waits, per_day = [wait for _, wait in stored], len(stored) * DAY / (now - first)
    bar = math.log((drift.horizon if drift.mode == "monitor" else 1) / alpha)
    ages = [(wait / DAY, per_day / len(waits)) for wait in waits]
    if days_needed(1.0, 0.0, bar, ages) is not None:
        return []
    longest = max(waits) / DAY
    said = (
        f"Replay(share=...) stores about {per_day:.2g} answers a day, which wait {longest:.2g} days at most: too few for "
        "even a change of every answer to be found before only new answers are left; give a larger share"
    )
    return [said]
