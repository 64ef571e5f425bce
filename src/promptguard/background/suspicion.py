"""Whether the pairs that one client has made so far speak for a change: what its next second controls are drawn by.

A learner of its own, beside the ledger's: a verdict may be made in another process, and later. It says nothing to anybody.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from promptguard.core.repeats import RepeatShare
from promptguard.drift import PairVector

if TYPE_CHECKING:
    from promptguard.drift.betting.group import Group


class Suspicion:
    """Bets on one client's pairs, in the order in which they come, and tells its RepeatShare. Thread-safe."""

    def __init__(self) -> None:
        self._group: Group | None = None
        self._lock = threading.Lock()

    def saw(self, vector: bytes | None, share: RepeatShare) -> None:
        """Take in a pair of the application's model and the second one."""
        if vector is None or not share.adapts:
            return
        from promptguard.drift.betting.experts import difference
        from promptguard.drift.betting.group import Group

        with self._lock:
            self._group = self._group or Group("monitor")
            share.paid(self._group.bet(difference(PairVector.from_bytes(vector))))
