"""Background work gives way to the application: it pauses after each piece while calls are being made.

The interpreter runs one thread at a time. A thread that computes without a pause makes every call wait for it at each of
its steps; one that pauses after a tenth of a millisecond is hardly noticed.
"""

from __future__ import annotations

import time

RECENT_SECONDS = 0.5
PAUSE_SECONDS = 0.001
IDLE_SECONDS = 0.002
"""How long background work runs without a pause while no call is made: less than the interpreter's own 5 ms."""

_last_call = -1e9
_gave_way = -1e9


def call_began() -> None:
    """Note that the application makes a call. Costs 0.1 microseconds."""
    global _last_call  # noqa: PLW0603 - one moment a process; a lost update loses nothing
    _last_call = time.monotonic()


def give_way() -> None:
    """Let other threads run: after each piece while the application makes calls, now and then while it does not.

    Even a pause of no length is a switch of threads, which costs about as much as folding a quarter of a pair.
    """
    global _gave_way  # noqa: PLW0603 - threads that share it pause a little more or less often
    now = time.monotonic()
    if now - _last_call < RECENT_SECONDS:
        time.sleep(PAUSE_SECONDS)
    elif now - _gave_way >= IDLE_SECONDS:
        time.sleep(0.0)
        _gave_way = time.monotonic()
