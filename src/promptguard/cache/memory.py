"""A cache in this process's memory, bounded by bytes and not by entries."""

from __future__ import annotations

import threading
from collections import OrderedDict

from promptguard.cache.contract import CacheStats
from promptguard.core.model import StoredReply
from promptguard.lifetime.forks import survive_fork

ENTRY_OVERHEAD = 256
"""Bytes of the key's object and the entry's place in the table."""


class MemoryCache:
    """The entries used last, up to `max_bytes` (default 64 MiB). A larger entry is not kept."""

    def __init__(self, max_bytes: int = 64 * 2**20) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, tuple[StoredReply, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self.stats = CacheStats()
        survive_fork(self)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """Bytes the entries occupy."""
        return self._bytes

    def get(self, key: str) -> StoredReply | None:
        """Return the reply kept under `key`, or None."""
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
        self.stats.count("misses" if found is None else "hits")
        return None if found is None else found[0]

    def put(self, key: str, reply: StoredReply) -> None:
        """Keep `reply` under `key`; the entries used longest ago make room."""
        size = reply.size + len(key) + ENTRY_OVERHEAD
        with self._lock:
            self._remove(key)
            kept = size <= self._max_bytes
            if kept:
                self._entries[key] = reply, size
                self._bytes += size
            while self._bytes > self._max_bytes:
                self._remove(next(iter(self._entries)))
        self.stats.count("stores" if kept else "dropped")

    def clear(self, tag: str | None = None) -> None:
        """Forget every entry, or those with `tag`."""
        with self._lock:
            gone = [key for key, (reply, _) in self._entries.items() if tag is None or tag in reply.tags]
            for key in gone:
                self._remove(key)

    def epoch(self, group: str, model: str) -> int:  # noqa: ARG002
        """Return 0: nobody shares it."""
        return 0

    def close(self) -> None:
        """Forget every entry."""
        self.clear()

    def after_fork(self) -> None:
        """Make new locks; where the parent was amid a change, begin empty."""
        amid, self._lock = self._lock.locked(), threading.Lock()
        self.stats.after_fork()
        if amid:
            self.clear()

    def _remove(self, key: str) -> None:
        found = self._entries.pop(key, None)
        if found is not None:
            self._bytes -= found[1]
