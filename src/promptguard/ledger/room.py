"""How much may wait in a directory whose processes judge nothing: what nobody drains must not fill its volume."""

from __future__ import annotations

import contextlib
import math
import time

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from promptguard.ledger import schema
from promptguard.ledger.engines import words
from promptguard.ledger.folds import judged_up_to
from promptguard.ledger.store import Ledger
from promptguard.ledger.trouble import LedgerUnavailable

MOST_BYTES = 256 * 1024 * 1024
"""Of pairs that nobody has judged or drained yet, about; beyond it new ones are dropped, and counted."""
LOOK_SECONDS = 5.0
NOT_DRAINED = "nobody judges or drains this directory"
"""The reason of a pair that was dropped for it."""


class Room:
    """Looks now and then whether a ledger has room for more pairs. Thread-safe; never raises."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._look_at = -math.inf
        self._is_full = False

    def is_full(self) -> bool:
        """Whether too much waits in a directory; as last known while it cannot be read."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            with contextlib.suppress(LedgerUnavailable, SQLAlchemyError):
                self._is_full = waiting_bytes(self._ledger) > MOST_BYTES
        return self._is_full


def waiting_bytes(ledger: Ledger) -> int:
    """Return about how many bytes of a directory are of pairs that wait; 0 where the ledger is elsewhere, or small.

    Raises what `ledger.door.Door` says.
    """
    pair = schema.pair
    with ledger.reading() as connection:
        used = words(connection).used(connection)
        if used is None or used <= MOST_BYTES:
            return 0
        rows = int(connection.execute(select(func.count()).select_from(pair)).scalar_one())
        waits = select(func.count()).where(pair.c.id > judged_up_to(connection))
        return used * int(connection.execute(waits).scalar_one()) // max(1, rows)
