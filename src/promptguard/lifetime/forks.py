"""Forks: no SQLite connection of ours is open at that moment, and the child begins anew.

SQLite keeps its table of POSIX locks and the index of its write-ahead log in the memory of the process. A child gets a
copy of both: its *new* connections then trust locks that nobody holds, and a file written by parent and child at once
is damaged for good. So a fork waits, for at most `FORK_WAIT` seconds, until every connection is closed; new ones wait
for the fork. Where that takes longer, the child leaves ledger and disk cache alone for as long as it lives.
https://www.sqlite.org/howtocorrupt.html ("Carrying an open database connection across a fork")
"""

from __future__ import annotations

import importlib._bootstrap
import logging
import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

FORK_WAIT = 2.0
"""Seconds that a fork waits, at most, for connections to be closed."""

log = logging.getLogger("promptguard")


class Forkable(Protocol):
    """Something with locks, threads or connections that a child process must not inherit."""

    def after_fork(self) -> None:
        """Make new locks; forget threads and connections. Runs in the child, before anything else. Never raises."""


class Quiescent(Forkable, Protocol):
    """Something that keeps SQLite connections open between uses."""

    def quiesce(self, deadline: float) -> bool:
        """Close every connection and open none until `resume`; False when that is not done by `deadline` (monotonic)."""

    def resume(self) -> None:
        """Go on: the fork is over, and this is the parent."""


class Gate:
    """Counts open connections. A fork closes the gate and waits until nobody is inside."""

    def __init__(self) -> None:
        self.unsafe = False
        """this process was forked while a connection was open: it must not touch a database of the parent's"""
        self.is_child = False
        self._mine = threading.local()
        self._begin()

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._forks = 0

    @contextmanager
    def connection(self) -> Iterator[None]:
        """Hold the gate while an SQLite connection is open; waits while the process forks."""
        changed = self._changed
        with changed:
            if not getattr(self._mine, "depth", 0):  # a nested one would wait for itself
                changed.wait_for(lambda: not self._forks, 2 * FORK_WAIT)
            self._inside += 1
        self._mine.depth = getattr(self._mine, "depth", 0) + 1
        try:
            yield
        finally:
            self._mine.depth -= 1
            with changed:
                self._inside -= 1
                changed.notify_all()

    def close(self, deadline: float) -> bool:
        """Let nobody in, and wait until nobody is inside; returns whether that is so."""
        with self._changed:
            self._forks += 1
            # Whoever forks within a transaction of its own waits in vain.
            return self._changed.wait_for(lambda: not self._inside, max(0.0, deadline - time.monotonic()))

    def open(self) -> None:
        """Let in again."""
        with self._changed:
            self._forks -= 1
            self._changed.notify_all()

    @property
    def is_anybody_inside(self) -> bool:
        """Whether a connection is open, as far as can be seen without the lock, which a child may find held for ever."""
        return self._inside > 0

    def after_fork(self, *, unsafe: bool) -> None:
        """Begin anew in a child."""
        self.is_child = True
        self.unsafe = self.unsafe or unsafe
        self._mine = threading.local()
        self._begin()


_gate = Gate()
_living: weakref.WeakSet[Forkable] = weakref.WeakSet()
_quiescent: weakref.WeakSet[Quiescent] = weakref.WeakSet()
_asleep = threading.local()

connection = _gate.connection


def is_unsafe() -> bool:
    """Whether this process must leave every database of PromptGuard's alone: it was forked amid a transaction."""
    return _gate.unsafe


def is_child() -> bool:
    """Whether this process was forked after PromptGuard was imported."""
    return _gate.is_child


def survive_fork(this: Forkable) -> None:
    """Have `this.after_fork()` called in every child process, for as long as `this` lives."""
    _living.add(this)


def sleep_at_fork(this: Quiescent) -> None:
    """Have `this` close its connections before every fork, for as long as it lives; and begin anew in the child."""
    _living.add(this)
    _quiescent.add(this)


def _before() -> None:
    deadline = time.monotonic() + FORK_WAIT
    _asleep.these, _asleep.was_asked = [], True
    quiet = _gate.close(deadline)
    for each in list(_quiescent):
        _asleep.these.append(each)
        quiet = each.quiesce(deadline) and quiet
    _asleep.quiet = quiet
    while _others_import() and time.monotonic() < deadline:
        time.sleep(0.001)


def _others_import() -> bool:
    """Whether another thread is amid an import, whose lock the child would wait for in vain.

    Python begins the import system's own lock anew in a child, and those of single modules not. Background threads
    import what they first need (a dialect, an SDK's parts) in the very moments in which a server forks its workers.
    """
    locks = getattr(importlib._bootstrap, "_module_locks", {})
    me = threading.get_ident()
    owners = {getattr(reference(), "owner", None) for reference in list(locks.values())}
    return bool(owners - {None, me})


def _in_parent() -> None:
    for each in getattr(_asleep, "these", ()):
        each.resume()
    _asleep.these, _asleep.was_asked = [], False
    _gate.open()


def _in_child() -> None:
    # Forked from C, as uWSGI does, nobody was asked to be quiet, and nobody need have been at work.
    was_asked = getattr(_asleep, "was_asked", False)
    unsafe = not _asleep.quiet if was_asked else _gate.is_anybody_inside
    _gate.after_fork(unsafe=unsafe)
    _asleep.these, _asleep.was_asked = [], False
    for each in list(_living):
        each.after_fork()
    if _gate.unsafe:
        log.warning(
            "this process was forked while a PromptGuard database was in use: it uses neither ledger nor disk cache; its "
            "calls go through untouched"
        )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
