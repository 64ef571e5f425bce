"""Background work gives way to the application: it pauses after each piece while calls are being made.

The interpreter runs one thread at a time. A thread that computes without a pause makes every call wait for it at each of
its steps; one that pauses after a tenth of a millisecond is hardly noticed.
"""

from __future__ import annotations

import time

RECENT_SECONDS = 0.5
PAUSE_SECONDS = 0.001

_last_call = -1e9


def call_began() -> None:
    """Note that the application makes a call. Costs 0.1 microseconds."""
    global _last_call  # noqa: PLW0603 - one moment a process; a lost update loses nothing
    _last_call = time.monotonic()


def give_way() -> None:
    """Let other threads run; longer while the application makes calls."""
    time.sleep(PAUSE_SECONDS if time.monotonic() - _last_call < RECENT_SECONDS else 0.0)
