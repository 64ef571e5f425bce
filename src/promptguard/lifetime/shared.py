"""Things of this process that several clients use at once: one a key, counted, closed after the last user has left.

A client a request is ordinary, so a thing without users lives on for `LINGER` seconds. Users leave by `Use.release`, or
by being collected, which may happen in any thread at any moment, within any lock: leaving only puts a note into a queue,
and one caretaker thread, alive while there is anything to look after, does the rest.
"""

from __future__ import annotations

import atexit
import contextlib
import queue
import sys
import threading
import time
import weakref
from collections.abc import Callable, Hashable
from types import ModuleType
from typing import Generic, Protocol, TypeVar

from promptguard.lifetime.forks import survive_fork
from promptguard.lifetime.threads import OnFault, supervised

LINGER = 3.0
"""Seconds that a thing outlives its last user."""
CLOSE_SECONDS = 10.0
"""What a thing may take to close while the process lives."""
EXIT_SECONDS = 1.0
"""What leaving the process may wait, for all things together."""


class Ending(Protocol):
    """Something that ends in order."""

    def stop(self, deadline: float) -> None:
        """Begin to end, by `deadline` (monotonic seconds) at most; returns at once.

        It is told here as well, as things are waited for one after the other.
        """

    def join(self, deadline: float) -> None:
        """Wait for the end, until `deadline` (monotonic seconds) at most."""


class _Living(Protocol):
    def living(self) -> tuple[Ending, ...]:
        """Return every thing of this process."""


K = TypeVar("K", bound=Hashable)
T = TypeVar("T", bound=Ending)
T_co = TypeVar("T_co", bound=Ending, covariant=True)


class _Entry(Generic[T]):
    __slots__ = ("idle_at", "thing", "users")

    def __init__(self, thing: T) -> None:
        self.thing = thing
        self.users = 0
        self.idle_at = 0.0


class Use(Generic[T_co]):
    """One user's hold on a shared thing; given up by `release`, or when it is collected."""

    def __init__(self, thing: T_co, entry: _Entry[T_co], left: queue.SimpleQueue[_Entry[T_co]]) -> None:
        self.thing = thing
        self._entry: _Entry[T_co] | None = entry
        self._left = left

    def release(self) -> None:
        """Give the thing up. Safe to call again, in any thread, at any moment."""
        entry, self._entry = self._entry, None
        if entry is not None:
            self._left.put(entry)

    def __del__(self) -> None:
        try:  # noqa: SIM105 - modules are empty already where a process ends
            self.release()
        except Exception:  # noqa: BLE001, S110
            pass


class Shared(Generic[K, T]):
    """Things by key. `kind` names them in the caretaker's thread; `at_exit`: the end of the process waits for them."""

    def __init__(self, kind: str, on_fault: OnFault, *, linger: float = LINGER, at_exit: bool = True) -> None:
        self._kind = kind
        self._on_fault = on_fault
        self._linger = linger
        self._begin()
        survive_fork(self)
        if at_exit:
            _all.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[K, _Entry[T]] = {}
        self._closing: set[_Entry[T]] = set()
        self._left: queue.SimpleQueue[_Entry[T]] = queue.SimpleQueue()
        self._caretaker: threading.Thread | None = None

    def acquire(
        self, key: K, make: Callable[[], T], *, join: Callable[[T], None] = lambda _thing: None
    ) -> Use[T]:
        """Return a hold on the thing under `key`, made by `make` if there is none.

        `join` is told a thing that was there already. What `make` raises is raised here, and nothing is kept.
        """
        close_at_exit()
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                entry = self._entries[key] = _Entry(make())
            else:
                join(entry.thing)
            entry.users += 1
            self._ensure_caretaker()
        return Use(entry.thing, entry, self._left)

    def discard(self, thing: T) -> None:
        """Forget a thing that has ended already: the next user gets a new one."""
        with self._lock:
            for key, entry in list(self._entries.items()):
                if entry.thing is thing:
                    del self._entries[key]

    def living(self) -> tuple[T, ...]:
        """Return every thing of this process, those that are closing included."""
        with self._lock:
            return (
                *(entry.thing for entry in self._entries.values()),
                *(each.thing for each in self._closing),
            )

    def close_all(self, deadline: float) -> None:
        """Close every thing, by `deadline` (monotonic seconds)."""
        with self._lock:
            entries = [*self._entries.values()]
            self._entries.clear()
        for entry in entries:
            entry.thing.stop(deadline)
        for entry in entries:
            entry.thing.join(deadline)

    def after_fork(self) -> None:
        """Forget everything in a child: it is the parent's."""
        self._begin()

    def _ensure_caretaker(self) -> None:
        if self._caretaker is None or not self._caretaker.is_alive():
            self._caretaker = supervised(
                f"promptguard-{self._kind}-caretaker", self._look_after, self._on_fault
            )
            self._caretaker.start()

    def _look_after(self) -> None:
        while True:
            wait = self._next_look()
            if wait is None:
                return
            with contextlib.suppress(queue.Empty):
                self._leave(self._left.get(timeout=wait))
            self._close_idle()

    def _next_look(self) -> float | None:
        """Return how long nothing needs to be done, at most; None when there is nothing left to look after."""
        with self._lock:
            if not self._entries and self._left.empty():
                self._caretaker = None
                return None
            idle = [entry.idle_at for entry in self._entries.values() if not entry.users]
            return max(0.0, min(idle) - time.monotonic()) if idle else 60.0

    def _leave(self, entry: _Entry[T]) -> None:
        with self._lock:
            entry.users -= 1
            entry.idle_at = time.monotonic() + self._linger

    def _close_idle(self) -> None:
        now = time.monotonic()
        with self._lock:
            gone = {
                key: entry for key, entry in self._entries.items() if not entry.users and entry.idle_at <= now
            }
            for key, entry in gone.items():
                del self._entries[key]
                self._closing.add(entry)
        for entry in gone.values():
            try:
                deadline = time.monotonic() + CLOSE_SECONDS
                entry.thing.stop(deadline)
                entry.thing.join(deadline)
            finally:
                with self._lock:
                    self._closing.discard(entry)


_all: weakref.WeakSet[_Living] = weakref.WeakSet()
_registered = False


def close_at_exit() -> None:
    """Have everything shared closed when this process ends: also a child of multiprocessing or billiard.

    Those leave by `os._exit` without running what `atexit` holds; they run their own finalizers instead.
    """
    global _registered  # noqa: PLW0603 - one hook a process
    if _registered:
        return
    _registered = True
    atexit.register(_close_everything)
    for name in ("multiprocessing", "billiard"):
        util = sys.modules.get(f"{name}.util")
        process = sys.modules.get(f"{name}.process")
        if util is None or process is None:
            continue
        if process.current_process()._parent_pid is not None:
            _finalize_in(util)
        # A child that has wrapped while it imported the main module forgets its finalizers when it begins to run.
        util.register_after_fork(_in_child, lambda _anchor, util=util: _finalize_in(util))


def _finalize_in(util: ModuleType) -> None:
    util.Finalize(None, _close_everything, exitpriority=0)


def _close_everything() -> None:
    """Stop all, then wait for all: what each of them takes does not add up."""
    deadline = time.monotonic() + EXIT_SECONDS
    things = [thing for shared in list(_all) for thing in shared.living()]
    for thing in things:
        with contextlib.suppress(Exception):
            thing.stop(deadline)
    for thing in things:
        with contextlib.suppress(Exception):
            thing.join(deadline)


class _InChild:
    def after_fork(self) -> None:
        global _registered  # noqa: PLW0603
        _registered = False
        atexit.unregister(_close_everything)


_in_child = _InChild()
survive_fork(_in_child)
