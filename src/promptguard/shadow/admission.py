"""Which sampled calls are taken in for background work: decided once a call, when it is sampled.

A queue that refused a call once its answer is there would refuse those with long answers: in a burst the short ones come
first and fill it. So a call is counted from its sampling until its background work is done, and how many are counted at
that moment, which no answer of its own has a part in, decides whether there is room for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Admission:
    """The calls that are under way. Thread-safe; every method is quick.

    `most` returns how many there may be; `clock` gives seconds.
    """

    def __init__(self, most: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        # No number of before a fork is one of the child's, as its clock is further on.
        self._next = time.monotonic_ns()
        self._unanswered: dict[int, float] = {}
        """number → since when its own answer is waited for"""
        self._answered: set[int] = set()

    def __len__(self) -> int:
        """How many calls are under way."""
        return len(self._unanswered) + len(self._answered)

    def admit(self) -> int | None:
        """Count a call that was sampled, and return its number; None where there is no room."""
        with self._lock:
            if len(self) >= self._most():
                return None
            number, self._next = self._next, self._next + 1
            self._unanswered[number] = self._clock()
            return number

    def answered(self, number: int) -> bool:
        """Note that a call's own answer is there: from now on its background work takes the room. False if it has none."""
        with self._lock:
            if self._unanswered.pop(number, None) is None:
                return False
            self._answered.add(number)
            return True

    def leave(self, number: int) -> None:
        """Give the room of a call back. Second calls, and numbers that are not known, are ignored."""
        with self._lock:
            self._unanswered.pop(number, None)
            self._answered.discard(number)

    def expire(self, age: float) -> None:
        """Give the room back of calls whose own answer has not come for `age` seconds: it may be read for hours."""
        with self._lock:
            limit = self._clock() - age
            for number in [number for number, since in self._unanswered.items() if since < limit]:
                del self._unanswered[number]
