"""A wall clock that moves when told."""

from __future__ import annotations

import threading


class FakeClock:
    """Callable like time.time: seconds since the Unix epoch. Thread-safe."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = float(start)
        self._lock = threading.Lock()

    def __call__(self) -> float:
        """Return the time as it was last set."""
        return self._now

    def advance(self, seconds: float) -> float:
        """Move by `seconds`, backwards too, as real clocks do; returns the new time."""
        with self._lock:
            self._now += seconds
            return self._now
