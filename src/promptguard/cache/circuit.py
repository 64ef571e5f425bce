"""A switch that leaves a failing store alone for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable

PAUSE_S = 1.0
"""Seconds for which no caller waits for a store that has just let one wait in vain."""


class Circuit:
    """Opens after `threshold` faults in a row; then a probe is due every `rest_s` seconds."""

    def __init__(self, clock: Callable[[], float], threshold: int = 3, rest_s: float = 30.0) -> None:
        self._clock = clock
        self._threshold = threshold
        self._rest_s = rest_s
        self._faults = 0
        self._probe_at: float | None = None
        self._pause_until = 0.0
        self._lock = threading.Lock()

    @property
    def closed(self) -> bool:
        """Whether the store is in use."""
        return self._probe_at is None

    @property
    def in_use(self) -> bool:
        """Whether callers use the store: it is closed, and nobody has just waited for it in vain."""
        return self._probe_at is None and (not self._pause_until or self._clock() >= self._pause_until)

    def worked(self) -> bool:
        """Note a success; returns whether it closed the circuit."""
        if self._faults == 0 and self._probe_at is None:
            return False  # the ordinary case, without the lock
        with self._lock:
            reopened, self._probe_at, self._faults = self._probe_at is not None, None, 0
            self._pause_until = 0.0
            return reopened

    def failed(self, at_once: bool = False, *, waited: bool = False) -> bool:
        """Note a fault; `at_once` opens without waiting for more. Returns whether it opened now.

        `waited`: somebody waited in vain, so that for a moment no caller does, nor the same one again.
        """
        with self._lock:
            self._faults += 1
            if waited:
                self._pause_until = self._clock() + PAUSE_S
            if not at_once and self._faults < self._threshold:
                return False
            opened, self._probe_at = self._probe_at is None, self._clock() + self._rest_s
            return opened

    def probe_due(self) -> bool:
        """Whether the store should be tried again now; true once per rest."""
        if self._probe_at is None:
            return False
        with self._lock:
            if self._probe_at is None or self._clock() < self._probe_at:
                return False
            self._probe_at = self._clock() + self._rest_s
            return True
