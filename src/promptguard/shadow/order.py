"""Pairs are judged in the order in which calls were *sampled*, not in which answers arrived.

Short answers arrive first. If they were judged first, the pairs seen at any moment would favour whichever side was
short, the two sides would not be exchangeable given the past, and the bound on false alarms would not hold. So each
sampled call takes a ticket before its answer is known, and outcomes are released in ticket order.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class _Open:
    """A place in the order whose outcome is not known yet."""

    __slots__ = ("opened",)

    def __init__(self, opened: float) -> None:
        self.opened = opened


class Order(Generic[T]):
    """Releases outcomes in the order in which their tickets were opened. Thread-safe; `release` must return at once."""

    def __init__(self, release: Callable[[T], None], clock: Callable[[], float]) -> None:
        self._release = release
        self._clock = clock
        self._lock = threading.Lock()
        self._next = 0
        self._waiting: OrderedDict[int, _Open | T] = OrderedDict()

    def open(self) -> int:
        """Take the next place."""
        with self._lock:
            ticket, self._next = self._next, self._next + 1
            self._waiting[ticket] = _Open(self._clock())
            return ticket

    def settle(self, ticket: int, outcome: T) -> None:
        """Fill a place; releases it, and those it held up, once everything before it is known. Second calls are ignored."""
        with self._lock:
            if isinstance(self._waiting.get(ticket), _Open):
                self._waiting[ticket] = outcome
                self._release_front()

    def expire(self, age: float, outcome: T) -> None:
        """Fill places opened more than `age` seconds ago, so that one abandoned call does not hold up the rest."""
        with self._lock:
            limit = self._clock() - age
            for ticket, place in self._waiting.items():
                if isinstance(place, _Open) and place.opened < limit:
                    self._waiting[ticket] = outcome
            self._release_front()

    @property
    def pending(self) -> int:
        """How many places wait to be released."""
        return len(self._waiting)

    def _release_front(self) -> None:
        while self._waiting:
            ticket, place = next(iter(self._waiting.items()))
            if isinstance(place, _Open):
                return
            del self._waiting[ticket]
            self._release(place)
