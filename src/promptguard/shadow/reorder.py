"""Pairs are judged in the order in which calls were *sampled*, not in which answers arrived.

Short answers arrive first. If they were judged first, the pairs seen at any moment would favour whichever side was
short, the two sides would not be exchangeable given the past, and the bound on false alarms would not hold. So each
sampled call takes a slot before its answer is known, and outcomes are released in the order of slots.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

MOST_SLOTS = 8192
"""Slots that may wait at once; beyond it the oldest open ones are abandoned, whatever their age."""


class _Open:
    """A slot whose outcome is not known yet."""

    __slots__ = ("group", "since")

    def __init__(self, group: str, since: float) -> None:
        self.group = group
        self.since = since


class ReorderBuffer(Generic[T]):
    """Releases outcomes in the order in which their slots were opened.

    Thread-safe. `release` is called within the lock, so it must return at once; `clock` gives seconds; `abandoned` makes
    the outcome of a slot that is given up, of the group it was opened for.
    """

    def __init__(
        self, release: Callable[[T], None], clock: Callable[[], float], abandoned: Callable[[str], T]
    ) -> None:
        self._release = release
        self._clock = clock
        self._abandoned = abandoned
        self._lock = threading.Lock()
        self._next = 0
        self._waiting: OrderedDict[int, _Open | T] = OrderedDict()

    def open(self, group: str) -> int:
        """Take the next slot, for a call of this group."""
        with self._lock:
            if len(self._waiting) >= MOST_SLOTS:
                self._abandon_front()
            slot, self._next = self._next, self._next + 1
            self._waiting[slot] = _Open(group, self._clock())
            return slot

    def renew(self, slot: int) -> None:
        """Count the age of an open slot from now: its call has been answered, and its second answer is asked for."""
        with self._lock:
            found = self._waiting.get(slot)
            if isinstance(found, _Open):
                found.since = self._clock()

    def is_open(self, slot: int) -> bool:
        """Whether an outcome for this slot would still count."""
        return isinstance(self._waiting.get(slot), _Open)

    def complete(self, slot: int, outcome: T) -> None:
        """Fill a slot; releases it, and those it held up, once all before it are known. Second calls are ignored."""
        with self._lock:
            if isinstance(self._waiting.get(slot), _Open):
                self._waiting[slot] = outcome
                self._release_front()

    def abandon_older(self, age: float) -> None:
        """Give up the slots opened or renewed more than `age` seconds ago, so that one call does not hold up the rest."""
        with self._lock:
            limit = self._clock() - age
            for slot, found in self._waiting.items():
                if isinstance(found, _Open) and found.since < limit:
                    self._waiting[slot] = self._abandoned(found.group)
            self._release_front()

    def end(self, lost: Callable[[str | T], T]) -> None:
        """Release every slot that waits, as `lost`, which is told its outcome, or its group where there is none yet.

        An outcome behind an open slot is lost with it: which slots are open in the end depends on how long answers take,
        so that those behind them, judged alone, would favour short answers.
        """
        with self._lock:
            for slot, found in self._waiting.items():
                self._waiting[slot] = lost(found.group if isinstance(found, _Open) else found)
            self._release_front()

    @property
    def pending(self) -> int:
        """How many slots wait to be released."""
        return len(self._waiting)

    @property
    def held(self) -> int:
        """How many outcomes are known and not yet released, as one before them is not known."""
        with self._lock:
            return sum(not isinstance(found, _Open) for found in self._waiting.values())

    def _abandon_front(self) -> None:
        slot, found = next(iter(self._waiting.items()))
        if isinstance(found, _Open):
            self._waiting[slot] = self._abandoned(found.group)
        self._release_front()

    def _release_front(self) -> None:
        while self._waiting:
            slot, found = next(iter(self._waiting.items()))
            if isinstance(found, _Open):
                return
            del self._waiting[slot]
            self._release(found)
