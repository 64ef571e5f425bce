"""What is rolled out in one ledger, for the caller's path: no thread and no import before there is a ledger.

Who follows looks for the file now and then, when it is asked; once it is there, a thread of its own begins to read it. So
whoever was idle when the ledger came is told of what is rolled out a moment after its first question.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from promptguard.core.rollouts import Table
from promptguard.directories import Place
from promptguard.lifetime.error_counter import ErrorCounter
from promptguard.lifetime.forks import is_unsafe, survive_fork
from promptguard.lifetime.threads import supervised

if TYPE_CHECKING:
    from promptguard.background.rolling import Rolling
    from promptguard.lifetime.shared import Use

LEDGER_FILE = "ledger.sqlite3"
LOOK_SECONDS = 0.5
FIRST_LOOK = 0.5
"""Seconds that `begin` waits for what is rolled out, at most."""

faults = ErrorCounter()
_INHERITED: list[object] = []
"""What came through a fork: kept, because giving it up would be a use of it."""


class Following:
    """What is rolled out in the ledger at `place`. `wall` gives seconds since the Unix epoch.

    What is begun is given up when this is collected.
    """

    def __init__(self, place: Place, wall: Callable[[], float] = time.time) -> None:
        self._place = place
        self._path = str(place / LEDGER_FILE) if isinstance(place, Path) else None
        """the file without which there is nothing to follow"""
        self._wall = wall
        self._table = Table()
        self._use: Use[Rolling] | None = None
        self._next_look = 0.0
        self._starting: threading.Thread | None = None
        survive_fork(self)

    def begin(self) -> None:
        """Begin to follow; waits a moment where there is a ledger, so that the first call is as the rollout says."""
        thread = None if self._starting is not None else self._look()
        if thread is not None:
            thread.join(FIRST_LOOK)

    def table(self) -> Table:
        """Return what is rolled out. Never waits; a fault of ours is counted, and rolls nothing out."""
        if self._use is None and time.monotonic() >= self._next_look and self._starting is None:
            self._look()
        return self._table

    def after_fork(self) -> None:
        """Leave the parent's thread alone; what was rolled out holds until the child's own has looked."""
        if self._use is not None:
            _INHERITED.append(self._use)
        self._use, self._starting, self._next_look = None, None, 0.0

    def _look(self) -> threading.Thread | None:
        """Begin a thread that begins to follow, where there is a ledger to follow."""
        self._next_look = time.monotonic() + LOOK_SECONDS
        try:
            if is_unsafe() or not self._is_there():
                return None
            thread = self._starting = supervised("promptguard-follow", self._follow, faults.add)
            thread.start()
        except Exception as error:  # noqa: BLE001 - such as no room for another thread: the caller goes on
            self._starting = None
            faults.add("rollouts", error)
            return None
        return thread

    def _is_there(self) -> bool:
        return self._path is None or os.path.exists(self._path)  # noqa: PTH110 - false where it may not look

    def _follow(self) -> None:
        from promptguard.background.rolling import Rolling, rollings

        use = rollings.acquire(self._place, lambda: Rolling(self._place, self._wall))
        use.thing.wait_ready()
        self._table, self._use = use.thing.table, use
