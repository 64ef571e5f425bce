"""Pairs are judged in the order in which calls were *sampled*, not in which answers arrived.

Short answers arrive first. If they were judged first, the pairs seen at any moment would favour whichever side was
short, the two sides would not be exchangeable given the past, and the bound on false alarms would not hold. So each
sampled call takes a slot before its answer is known, and outcomes are released in the order of slots.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Literal, TypeVar

T = TypeVar("T")
Missing = Literal["first", "second", "turn"]
"""What an open slot waits for: the call's own answer, the second one, or the turn of a question that was stored."""
END_SECONDS = 0.1
"""How long an end waits for a thread that is releasing: whoever listens there may hang, and an exit may not."""

MOST_SLOTS = 8192
"""Slots that may wait at once; beyond it the oldest open ones are abandoned, whatever their age."""


class _Open:
    """A slot whose outcome is not known yet."""

    __slots__ = ("group", "missing", "since")

    def __init__(self, group: str, missing: Missing, since: float) -> None:
        self.group = group
        self.missing = missing
        self.since = since


class ReorderBuffer(Generic[T]):
    """Releases outcomes in the order in which their slots were opened.

    Thread-safe. `release` is called within the lock, so it must return at once; `clock` gives seconds; `abandoned` makes
    the outcome of a slot that is given up, of the group it was opened for and what it waited for.
    """

    def __init__(
        self, release: Callable[[T], None], clock: Callable[[], float], abandoned: Callable[[str, Missing], T]
    ) -> None:
        self._release = release
        self._clock = clock
        self._abandoned = abandoned
        self._lock = threading.Lock()
        # A stream that is begun before a fork and read in the child fills no place of the child's: its clock is further on.
        self._next = time.monotonic_ns()
        self._waiting: OrderedDict[int, _Open | T] = OrderedDict()

    def open(self, group: str, missing: Missing = "first") -> int:
        """Take the next slot, for a call of this group."""
        with self._lock:
            if len(self._waiting) >= MOST_SLOTS:
                self._abandon_front()
            slot, self._next = self._next, self._next + 1
            self._waiting[slot] = _Open(group, missing, self._clock())
            return slot

    def renew(self, slot: int) -> None:
        """Count the age of an open slot from now: its first answer is there, and the second one is missing."""
        with self._lock:
            found = self._waiting.get(slot)
            if isinstance(found, _Open):
                found.since, found.missing = self._clock(), "second"

    def is_open(self, slot: int) -> bool:
        """Whether an outcome for this slot would still count."""
        return isinstance(self._waiting.get(slot), _Open)

    def complete(self, slot: int, outcome: T) -> bool:
        """Fill a slot; releases it, and those it held up, once all before it are known. False if it was not open."""
        with self._lock:
            if not isinstance(self._waiting.get(slot), _Open):
                return False
            self._waiting[slot] = outcome
            self._release_front()
            return True

    def abandon_older(self, age: float) -> None:
        """Give up the slots opened or renewed more than `age` seconds ago, so that one call does not hold up the rest."""
        with self._lock:
            limit = self._clock() - age
            for slot, found in self._waiting.items():
                if isinstance(found, _Open) and found.since < limit:
                    self._waiting[slot] = self._abandoned(found.group, found.missing)
            self._release_front()

    def give_up_front(self, before: int) -> None:
        """Give up the open slots that hold up everything else: those before the first outcome, and before this slot."""
        with self._lock:
            for slot, found in self._waiting.items():
                if slot >= before or not isinstance(found, _Open):
                    break
                self._waiting[slot] = self._abandoned(found.group, found.missing)
            self._release_front()

    def end(self, lost: Callable[[str, Missing], T], behind: Callable[[T], T]) -> None:
        """Release every slot that waits: open ones as `lost`, outcomes behind one as what `behind` makes of them.

        Which slots are open in the end depends on how long answers take, of those behind them too, as a program often
        ends with its last answer. Outcomes judged because the end found them complete would favour some lengths.

        Raises TimeoutError where another thread has been releasing for END_SECONDS.
        """
        if not self._lock.acquire(timeout=END_SECONDS):
            raise TimeoutError("another thread releases outcomes")
        try:
            for slot, found in self._waiting.items():
                if isinstance(found, _Open):
                    self._waiting[slot] = lost(found.group, found.missing)
                else:
                    self._waiting[slot] = behind(found)
            self._release_front()
        finally:
            self._lock.release()

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
            self._waiting[slot] = self._abandoned(found.group, found.missing)
        self._release_front()

    def _release_front(self) -> None:
        while self._waiting:
            slot, found = next(iter(self._waiting.items()))
            if isinstance(found, _Open):
                return
            del self._waiting[slot]
            self._release(found)
