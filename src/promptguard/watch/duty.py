"""One active watch a ledger: the others stand by, and one of them takes over when the lease of the first runs out.

The active one judges (it holds the evaluator's lease as any process does), so a change of watches loses nothing: the next
one goes on from the last snapshot and the last row that was folded, and stored questions are taken out of the ledger in
the transaction that claims them.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import Literal, Protocol

from promptguard.background.evaluating import WATCH_LEASE
from promptguard.ledger.store import Ledger
from promptguard.ledger.trouble import LedgerUnavailable

log = logging.getLogger("promptguard")

LEASE_SECONDS = 15.0
RENEW_SECONDS = 3.0
"""Looks of the active one, and of those who stand by: one that dies is replaced within LEASE_SECONDS and this."""
DEAD_SECONDS = 60.0
"""A watch that has not looked for so long is not alive: whoever runs it starts it anew."""

State = Literal["starting", "standby", "active", "stopped"]


class Work(Protocol):
    """What the active watch does, in threads of its own."""

    def stop(self) -> None:
        """End it: what was taken is finished, and leases are given back."""

    def look(self) -> None:
        """Do what is due now and then. May raise."""


class Duty:
    """The lease of one watch. `begin` starts the work, `tell` is told each change of the state."""

    def __init__(
        self, ledger: Ledger, begin: Callable[[], Work], tell: Callable[[State], None] = lambda _state: None
    ) -> None:
        self._ledger = ledger
        self._begin = begin
        self._tell = tell
        self._holder = f"watch-{uuid.uuid4().hex}"
        self._work: Work | None = None
        self._ended = threading.Event()
        self.state: State = "starting"
        self.looked_at = time.monotonic()
        """when it last looked, with whatever result (monotonic seconds)"""
        self.is_reachable = False
        """whether the ledger could be used then"""

    @property
    def is_live(self) -> bool:
        """Whether it goes round."""
        return time.monotonic() - self.looked_at < DEAD_SECONDS

    @property
    def is_ready(self) -> bool:
        """Whether it has its ledger, and judges it or stands by."""
        return self.is_live and self.is_reachable and self.state in {"active", "standby"}

    def end(self) -> None:
        """Leave soon; safe in a signal handler."""
        self._ended.set()

    def run(self) -> None:
        """Go on until `end`. Raises what beginning the work raises."""
        try:
            while not self._ended.is_set():
                self._turn()
                self.looked_at = time.monotonic()
                self._ended.wait(RENEW_SECONDS)
        finally:
            self._leave()

    def _turn(self) -> None:
        try:
            self._ledger.open()
            # The lease lives by the real clock, or the database's.
            held = self._ledger.take_lease(WATCH_LEASE, self._holder, time.time(), LEASE_SECONDS)
            self.is_reachable = True
        except LedgerUnavailable:
            # Told once by the ledger itself. Whoever holds the lease cannot be known to have lost it: the evaluator looks
            # at its own before it judges.
            self.is_reachable = False
            return
        if held and self._work is None:
            self._work = self._begin()
            self._to("active")
        elif not held and self._work is not None:
            log.warning("%s: another watch is active now; this one stands by", self._ledger.place)
            self._stop_work()
            self._to("standby")
        elif not held:
            self._to("standby")
        if self._work is not None:
            self._look(self._work)

    def _look(self, work: Work) -> None:
        try:
            work.look()
        except LedgerUnavailable:
            self.is_reachable = False
        except Exception as error:
            log.warning("watch: %s; tried again", type(error).__name__)
            log.debug("the fault in full", exc_info=error)

    def _leave(self) -> None:
        self._stop_work()
        try:
            self._ledger.drop_lease(WATCH_LEASE, self._holder)
        except LedgerUnavailable:
            log.debug("the lease runs out by itself")
        self._ledger.close()
        self._to("stopped")

    def _stop_work(self) -> None:
        work, self._work = self._work, None
        if work is not None:
            work.stop()

    def _to(self, state: State) -> None:
        if state != self.state:
            self.state = state
            self._tell(state)
