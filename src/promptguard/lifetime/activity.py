"""Background work gives way to the application: it pauses after each piece while calls are being made.

The interpreter runs one thread at a time. A thread that computes without a pause makes every call wait for it at each of
its steps; one that pauses after a tenth of a millisecond is hardly noticed.
"""

from __future__ import annotations

import time

RECENT_SECONDS = 0.5
PAUSE_SECONDS = 0.003
"""After each piece of a tenth of a millisecond: a call then finds the interpreter taken at one of its steps in thirty."""
SHORTEST_SECONDS = 0.0002
"""The pause of work that would fall behind with longer ones."""
IDLE_SECONDS = 0.002
"""How long background work runs without a pause while no call is made: less than the interpreter's own 5 ms."""

LEAVE_SECONDS = 0.005
"""What an application needs to read an answer and to send the next question."""

_last_call = -1e9
_gave_way = -1e9


def call_began() -> None:
    """Note that the application makes a call. Costs 0.1 microseconds."""
    global _last_call  # noqa: PLW0603 - one moment a process; a lost update loses nothing
    _last_call = time.monotonic()


class Pace:
    """How long a work pauses after each piece: shorter while it falls behind what comes in, longer while it catches up."""

    def __init__(self) -> None:
        self.pause = PAUSE_SECONDS
        self._behind = 0

    def note(self, behind: int) -> None:
        """Note how many pieces are waiting; called after each of some hundreds."""
        self.pause = self.pause / 2 if behind > self._behind else self.pause * 1.5
        self.pause = min(max(self.pause, SHORTEST_SECONDS), PAUSE_SECONDS)
        self._behind = behind


def give_way(pause: float = PAUSE_SECONDS) -> None:
    """Let other threads run: `pause` seconds while the application makes calls, a moment now and then else.

    Even a pause of no length is a switch of threads, which costs about as much as folding a quarter of a pair.
    """
    global _gave_way  # noqa: PLW0603 - threads that share it pause a little more or less often
    now = time.monotonic()
    if now - _last_call < RECENT_SECONDS:
        time.sleep(pause)
    elif now - _gave_way >= IDLE_SECONDS:
        time.sleep(0.0)
        _gave_way = time.monotonic()


def let_call_leave() -> None:
    """Wait for a moment before a call is repeated: its answer has just come, and the application reads it, and asks again.

    From then on it waits for the network, and whatever computes is noticed less.
    """
    time.sleep(LEAVE_SECONDS)
