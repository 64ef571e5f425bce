"""What every cache offers, and how it counts."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
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
