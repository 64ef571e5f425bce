"""What every cache offers, and how it counts."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from promptguard.core.model import StoredReply

OnEvent = Callable[[str, str], None]
"""Called with a kind of event and a short reason, never with content; what it raises is ignored."""

Listener = Callable[[], OnEvent | None]
"""Returns who is told of events at this moment, such as a weak reference to a method."""

Counter = Literal["hits", "misses", "stores", "dropped", "tampered", "errors"]


class ReplyCache(Protocol):
    """A cache of replies: thread-safe, and silent about its own faults once it is made."""

    @property
    def stats(self) -> CacheStats:
        """What happened so far."""

    def get(self, key: str) -> StoredReply | None:
        """Return the reply kept under `key`, or None."""

    def put(self, key: str, reply: StoredReply) -> None:
        """Keep `reply` under `key`, sooner or later or never; does not wait."""

    def clear(self, tag: str | None = None) -> object:
        """Forget every entry, or those with `tag`."""

    def close(self) -> None:
        """Give back what is held open; the cache is empty from then on."""


class Store(Protocol):
    """A connection to where entries are kept outside this process: for one thread at a time. Whatever it does may raise."""

    def get(self, key: str) -> bytes | None:
        """Return what was set under `key`, or None. Raises BadEntry for what cannot have been set by us."""

    def set(self, key: str, blob: bytes) -> object:
        """Keep `blob` under `key`."""

    def delete(self, key: str) -> object:
        """Remove an entry; true when there was one."""

    def clear(self) -> int:
        """Remove every entry; returns how many."""

    def each(self) -> Iterable[tuple[str, bytes]]:
        """Yield every entry."""

    def close(self) -> None:
        """Close it; safe to call twice."""


class Backend(Protocol):
    """Where entries are kept outside this process, such as a directory: all that another kind of cache has to bring."""

    def open(self, *, check: bool, on_event: OnEvent) -> tuple[Store, Store]:
        """Return two connections: one to write with, one to read with, which answers quickly or raises.

        May take long. `check`: there were faults, so what is there is looked at first. `on_event` is told what was mended.
        """

    def is_busy(self, error: Exception) -> bool:
        """Whether `open` may go well in a moment; if not, the store is left alone for a while."""

    def clear_mark(self) -> bytes:
        """Return what changes when anybody clears the store. Quick, and never raises."""

    def set_clear_mark(self) -> bytes:
        """Say that the store was cleared, so that other processes forget what they have in memory; returns the mark."""


@dataclass
class CacheStats:
    """Counts since the cache was made, in this process."""

    hits: int = 0
    misses: int = 0
    stores: int = 0
    """entries kept"""
    dropped: int = 0
    """entries not kept: the queue was full, the entry too large, the disk away"""
    tampered: int = 0
    """entries that were not as they had been written: a miss, never served"""
    errors: int = 0
    """faults of the store: locked, corrupt, I/O; each a miss"""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def count(self, counter: Counter, by: int = 1) -> None:
        """Add `by` to one counter (`+=` alone loses counts between threads)."""
        with self._lock:
            setattr(self, counter, getattr(self, counter) + by)

    def after_fork(self) -> None:
        """Replace the lock, which another thread may have held at the fork."""
        self._lock = threading.Lock()


def tell(on_event: OnEvent | None, kind: str, reason: str) -> None:
    """Report an event; a fault of the receiver stays there."""
    if on_event is not None:
        with contextlib.suppress(Exception):
            on_event(kind, reason)
