"""What every cache offers, and how it counts."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from promptguard.core.model import StoredReply
from promptguard.core.options import Cache

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

    def epoch(self, group: str, model: str) -> int:
        """Return how often processes that share the cache found the model behind a group changed; 0 where none can tell."""

    def close(self) -> None:
        """Give back what is held open; the cache is empty from then on."""


class NotKept(Exception):  # noqa: N818 - no fault: the store is well
    """The store does not take this entry now, being full or a copy that is only read; the message says which."""


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


@runtime_checkable
class Meeting(Store, Protocol):
    """A connection to where processes on many hosts meet: they see what each of them claims and found changed."""

    def claim(self, key: str, token: str, seconds: float) -> str:
        """Return what lies at `key`: `token`, for so many seconds, if nothing did; else what another one left there."""

    def renew(self, key: str, token: str, seconds: float) -> object:
        """Hold a claim for so many seconds from now, if it is still held."""

    def release(self, key: str, token: str, left: str, seconds: float) -> object:
        """Give a claim up, if it is still held; `left`, if not empty, lies in its place for so many seconds."""

    def epochs(self) -> Mapping[str, int] | None:
        """Return how often each (group, model), as a digest, was found changed; None when that is as it was last time."""

    def tell_epochs(self, source: str, epochs: Mapping[str, int]) -> None:
        """Add what one ledger found; what it has told before counts once."""


class Backend(Protocol):
    """Where entries are kept outside this process, such as a directory: all that another kind of cache has to bring."""

    @property
    def place(self) -> Hashable:
        """What tells it from others of its kind in this process."""

    @property
    def many_readers(self) -> bool:
        """Whether several threads may read over the connection to read with at once."""

    @property
    def meets(self) -> bool:
        """Whether its connections are a `Meeting`, where processes on many hosts meet."""

    @property
    def rhythm_s(self) -> float | None:
        """Seconds between looks at what other processes did, also while no call comes; None: only then."""

    def open(self, *, check: bool, on_event: OnEvent) -> tuple[Store, Store]:
        """Return two connections: one to write with, one to read with, which answers quickly or raises.

        May take long. `check`: there were faults, so what is there is looked at first. `on_event` is told what was mended.
        """

    def use(self, option: Cache) -> None:
        """Take the settings of a client that names the same place, for what is opened or kept from now on."""

    def is_busy(self, error: Exception) -> bool:
        """Whether `open` may go well in a moment; if not, the store is left alone for a while."""

    def clear_mark(self) -> bytes:
        """Return what changes when anybody clears the store; empty before it was opened. Quick, and never raises."""

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
