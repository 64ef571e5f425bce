"""Faults of our own: counted, told through the logger now and then, never raised."""

from __future__ import annotations

import contextlib
import logging
import threading
import time

from promptguard.lifetime.forks import survive_fork

log = logging.getLogger("promptguard")


class ErrorCounter:
    """Counts faults of our own and warns once a minute at most for each kind."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._warned: dict[str, float] = {}
        self._lock = threading.Lock()
        survive_fork(self)

    def after_fork(self) -> None:
        """Make a new lock in a child."""
        self._lock = threading.Lock()

    def add(self, operation: str, error: BaseException) -> None:
        """Count one; never raises. The message names the exception's type only: its text may hold content.

        An exception that says of itself `is_told` was logged where it came from, and is only counted.
        """
        kind = f"{operation}:{type(error).__name__}"
        with self._lock:
            self.counts[kind] = self.counts.get(kind, 0) + 1
            if getattr(error, "is_told", False):
                return
            now = time.monotonic()
            if now - self._warned.get(kind, -60.0) < 60.0:
                return
            self._warned[kind] = now
        with contextlib.suppress(Exception):  # a filter of the application's may raise
            log.warning(
                "%s failed (%s, %d so far); the application's calls are not affected",
                operation,
                kind,
                self.counts[kind],
            )
            log.debug("the fault in full", exc_info=error)
