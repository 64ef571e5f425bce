"""One ledger's state for whoever collects metrics: read when it is asked for, at most every few seconds.

The process that holds the evaluator's lease tells it, so that a fleet has each figure once. Asking never raises, and never
waits for another collector or, for longer than a moment, for a locked ledger.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from promptguard.core.ledger_state import BudgetLeft, LedgerState
from promptguard.core.options import Budget
from promptguard.directories import name_of
from promptguard.ledger.store import Ledger
from promptguard.lifetime.threads import OnFault

if TYPE_CHECKING:
    from promptguard.report.state import StateReader

REFRESH_SECONDS = 2.0
"""How old what is told may be: all instruments of one collection see one reading."""
KEPT_SECONDS = 30.0
"""For so long the last reading is told where the ledger cannot be read."""


class StateSource:
    """What gauges show of one ledger. Thread-safe.

    Parameters: `ledger`; `holder`, the name under which this process takes the lease; `budgets` gives (purpose, budget) of
    the clients; `looked` gives when the evaluator last looked, `queue` the calls that wait; `wall` gives Unix seconds.
    """

    def __init__(
        self,
        ledger: Ledger,
        holder: str,
        *,
        budgets: Callable[[], Iterable[tuple[str, Budget]]],
        looked: Callable[[], float],
        queue: Callable[[], int],
        wall: Callable[[], float],
        on_fault: OnFault,
    ) -> None:
        self.name = name_of(ledger.place)
        self._ledger = ledger
        self._holder = holder
        self._budgets = budgets
        self._looked = looked
        self._queue = queue
        self._on_fault = on_fault
        self._pid = os.getpid()
        self._reading = threading.Lock()
        self._reader: StateReader | None = None
        self._state: LedgerState | None = None
        self._tried = self._read = float("-inf")
        self._closed = False
        self.wall = wall

    def close(self) -> None:
        """Tell nothing any more."""
        self._closed = True

    @property
    def is_open(self) -> bool:
        """Whether this process may tell it: not after the end, and not in a child that inherited it through a fork."""
        return not self._closed and self._pid == os.getpid()

    @property
    def queue_size(self) -> int:
        """Calls of this process that wait to be paired."""
        return self._queue()

    @property
    def evaluator_age(self) -> float:
        """Seconds since the evaluator of this process last looked at the ledger."""
        return max(0.0, time.monotonic() - self._looked())

    def state(self) -> LedgerState | None:
        """Return the state; None where another process tells it, and where the ledger could not be read for a while."""
        if time.monotonic() - self._tried > REFRESH_SECONDS and self._reading.acquire(blocking=False):
            try:
                self._refresh()
            except Exception as error:  # noqa: BLE001 - whoever collects metrics must not meet a fault of ours
                self._on_fault("state gauges", error)
            finally:
                self._tried = time.monotonic()
                self._reading.release()
        return self._state if time.monotonic() - self._read < KEPT_SECONDS else None

    def _refresh(self) -> None:
        from promptguard.errors import NoLedger
        from promptguard.report.state import StateReader, least

        self._reader = self._reader or StateReader(self._ledger.place, self._holder)
        caps: dict[str, list[BudgetLeft]] = {}
        for purpose, budget in self._budgets():
            caps.setdefault(purpose, []).append(BudgetLeft(budget.usd_per_day, budget.calls_per_day))
        try:
            self._state = self._reader.read(self.wall(), {name: least(each) for name, each in caps.items()})
        except NoLedger:  # not made yet
            self._state = None
        self._read = time.monotonic()
