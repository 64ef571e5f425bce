"""A cache on disk behind a small one in memory.

Who runs what: callers look into memory, then read one row over a connection of their own; a daemon thread
opens, writes, clears and, after faults, opens again. diskcache's constructor blocks for 60 s while another
process holds the lock, and a `set` for as long as its timeout: neither ever runs on a caller's thread. Every
fault is a miss.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from promptguard.cache.backlog import Backlog, Job
from promptguard.cache.circuit import Circuit
from promptguard.cache.contract import CacheStats, OnEvent, close_at_exit, survive_fork, tell
from promptguard.cache.entry import MAX_ENTRY_BYTES, MIN_MAC_KEY_BYTES, BadEntry, decode, encode
from promptguard.cache.memory import MemoryCache
from promptguard.cache.place import clear_mark, prepare, set_aside, set_clear_mark
from promptguard.cache.upkeep import remove
from promptguard.core.model import StoredReply
from promptguard.errors import ConfigurationError, MissingExtra

if TYPE_CHECKING:
    from promptguard.cache.strict import StrictStore

READ_TIMEOUT_S = 0.01
WRITE_TIMEOUT_S = 0.5
EXIT_S = 0.4
"""How long leaving the process may wait for entries that are queued."""
LOOK_S = 1.0
"""How often it is looked whether another process cleared the cache."""
_INHERITED: list[object] = []
"""Connections that came through a fork: kept, because closing them would be a use of them."""


class DiskCache:
    """Replies in `directory`, at most about `max_bytes` (default 1 GiB), authenticated with `mac_key`.

    The directory is for the cache alone; it becomes 0700 and its files 0600. `get` finds nothing until the
    background thread has opened the store, a moment after construction; what this process put is found at
    once. `clock` gives seconds for the pauses after faults.

    Raises ConfigurationError for a directory that cannot be used and MissingExtra without diskcache.
    """

    def __init__(
        self,
        directory: str | Path,
        mac_key: bytes,
        max_bytes: int = 2**30,
        *,
        memory_bytes: int = 16 * 2**20,
        on_event: OnEvent | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if find_spec("diskcache") is None:
            raise MissingExtra(
                'cache="disk" needs diskcache; run: python -m pip install "diskcache>=5.6.3,<6"'
            )
        if len(mac_key) < MIN_MAC_KEY_BYTES:
            raise ConfigurationError(f"the cache's secret must have at least {MIN_MAC_KEY_BYTES} bytes")
        self.directory = Path(directory)
        prepare(self.directory)
        self.stats = CacheStats()
        self._mac_key = mac_key
        self._max_bytes = max_bytes
        self._on_event = on_event
        self._clock = clock
        self._memory = MemoryCache(memory_bytes)
        self._closed = False
        self._cleared = clear_mark(self.directory)
        self._look_at = 0.0
        self._begin()
        survive_fork(self)
        close_at_exit(self)
        self._ensure_thread()

    def get(self, key: str) -> StoredReply | None:
        """Return the reply kept under `key`, or None; also when the disk is slow, away, tampered with."""
        if self._clock() >= self._look_at:
            self._look_at = self._clock() + LOOK_S
            self._backlog.add(Job("look"))
        found = self._memory.get(key)
        if found is None and not self._closed:
            found = self._from_disk(key)
        self.stats.count("misses" if found is None else "hits")
        return found

    def put(self, key: str, reply: StoredReply) -> None:
        """Keep `reply` under `key`: in memory at once, on disk soon. Never waits; drops are counted."""
        if self._closed:
            return
        self._memory.put(key, reply)
        self._ensure_thread()
        if reply.size > MAX_ENTRY_BYTES:
            self._drop("entry_too_large")
        elif not self._backlog.add(Job("write", key, reply)):
            self._drop("queue_full")

    def flush(self, timeout_s: float = 2.0) -> bool:
        """Wait until everything put so far was written or dropped; returns whether it was."""
        self._ensure_thread()
        return self._backlog.drained(timeout_s)

    def clear(self, tag: str | None = None, timeout_s: float = 2.0) -> bool:
        """Forget every entry, or those with `tag`; also where other processes keep them in memory, within seconds.

        The disk is out of sight at once; returns whether it was cleared in time.
        """
        self._hidden.set()
        self._memory.clear(tag)
        self._ensure_thread()
        self._backlog.add(Job("clear", tag or ""))
        return self._backlog.drained(timeout_s)

    def close(self, timeout_s: float = EXIT_S) -> None:
        """Write what is queued, for at most `timeout_s` seconds, and close the store."""
        if self._closed:
            return
        self._closed = True
        if not self._backlog.drained(timeout_s):
            self._backlog.forget_writes(self._drop)
        self._backlog.add(Job("stop"))
        if self._thread is not None:
            self._thread.join(timeout_s)
        self._memory.clear()

    def after_fork(self) -> None:
        """Begin anew in a child process: own queue, thread and connections; the queue stays the parent's."""
        stores = (self._writing, self._reading)
        _INHERITED.extend(store.abandon() for store in stores if store is not None)
        self.stats.after_fork()
        self._begin()

    def _begin(self) -> None:
        self._circuit = Circuit(self._clock)
        self._backlog = Backlog()
        self._writing: StrictStore | None = None
        self._reading: StrictStore | None = None
        self._read_lock = threading.Lock()
        self._start_lock = threading.Lock()
        self._hidden = threading.Event()
        self._owed: list[str | None] = []
        self._thread: threading.Thread | None = None

    def _ensure_thread(self) -> None:
        if self._thread is not None or self._closed:
            return
        with self._start_lock:
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="promptguard-cache", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the interpreter is shutting down, or there are no threads left
                    self.stats.count("errors")
                    return
                self._thread = thread

    # on callers' threads

    def _from_disk(self, key: str) -> StoredReply | None:
        self._ensure_thread()
        if not self._circuit.closed:
            if self._circuit.probe_due():
                self._backlog.add(Job("probe"))
            return None
        if (
            self._reading is None
            or self._hidden.is_set()
            or not self._read_lock.acquire(timeout=READ_TIMEOUT_S)
        ):
            return None
        try:
            store = self._reading
            blob = None if store is None else store.get(key)
        except BadEntry as error:
            self._tampered(error)
            return None
        except Exception as error:  # noqa: BLE001 - whatever the disk does, the caller's call goes on
            self._fault("read", error)
            return None
        finally:
            self._read_lock.release()
        return None if blob is None else self._believed(key, blob)

    def _believed(self, key: str, blob: bytes) -> StoredReply | None:
        self._circuit.worked()
        try:
            reply = decode(key, blob, self._mac_key)
        except BadEntry as error:
            self._tampered(error)
            return None
        self._memory.put(key, reply)
        return reply

    def _tampered(self, error: BadEntry) -> None:
        self.stats.count("tampered")
        tell(self._on_event, "cache_tampered", str(error))

    def _drop(self, reason: str) -> None:
        self.stats.count("dropped")
        tell(self._on_event, "cache_dropped", reason)

    def _fault(self, what: str, error: Exception, at_once: bool = False) -> None:
        self.stats.count("errors")
        reason = f"{what}: {type(error).__name__}"
        tell(self._on_event, "cache_error", reason)
        if self._circuit.failed(at_once):
            tell(self._on_event, "cache_unavailable", reason)

    # on the background thread

    def _work(self) -> None:
        backlog = self._backlog
        self._open(again=False)
        while True:
            job = backlog.take()
            try:
                if job.kind == "stop":
                    self._close_stores()
                    return
                self._do(job)
            except Exception as error:  # noqa: BLE001 - the thread outlives every fault
                self._fault(job.kind, error)
            finally:
                backlog.done()

    def _do(self, job: Job) -> None:
        if job.kind == "clear":
            self._owed.append(job.key or None)
        if not self._circuit.closed and (job.kind in ("probe", "clear") or self._circuit.probe_due()):
            self._open(again=True)
        store = self._writing
        if store is None or not self._circuit.closed:
            if job.kind == "write":
                self._drop("store_unavailable")
        elif job.kind == "clear":
            self._clear(store)
        elif job.kind == "look":
            self._look()
        elif job.reply is not None:
            self._write(store, job.key, job.reply)

    def _clear(self, store: StrictStore) -> None:
        """Clear what is owed; until then nothing of the disk is shown."""
        try:
            while self._owed:
                remove(store, self._mac_key, self._owed[0])
                del self._owed[0]
            self._cleared = set_clear_mark(self.directory)
        except Exception as error:  # noqa: BLE001
            self._fault("clear", error, at_once=True)  # opening again will clear first
        else:
            self._hidden.clear()

    def _look(self) -> None:
        """Forget what is in memory when another process has cleared the disk."""
        mark = clear_mark(self.directory)
        if mark != self._cleared:
            self._cleared = mark
            self._memory.clear()

    def _write(self, store: StrictStore, key: str, reply: StoredReply) -> None:
        try:
            blob = encode(key, reply, self._mac_key)
        except BadEntry:
            self._drop("entry_not_storable")
            return
        try:
            store.set(key, blob)
        except Exception as error:  # noqa: BLE001
            self._drop("write_failed")
            self._fault("write", error)
            return
        self._circuit.worked()
        self.stats.count("stores")

    def _open(self, again: bool) -> None:
        """Open both connections; after faults, look through the file first and set a corrupt one aside."""
        self._close_stores()
        try:
            try:
                self._connect(check=again)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise  # locked, full, I/O: the file itself may be sound
                self._close_stores()
                tell(self._on_event, "cache_replaced", set_aside(self.directory))
                self._connect(check=False)
        except Exception as error:  # noqa: BLE001
            self._close_stores()
            self._fault("open", error, at_once=True)
        else:
            if self._hidden.is_set() and self._writing is not None:
                self._clear(self._writing)
            if not self._hidden.is_set() and self._circuit.worked():
                tell(self._on_event, "cache_recovered", "opened again")

    def _connect(self, check: bool) -> None:
        from promptguard.cache.strict import StrictStore

        self._writing = StrictStore(self.directory, self._max_bytes, WRITE_TIMEOUT_S)
        if check and not self._writing.is_sound():
            raise sqlite3.DatabaseError("quick_check failed")
        reading = StrictStore(self.directory, self._max_bytes, READ_TIMEOUT_S)
        with self._read_lock:
            self._reading = reading

    def _close_stores(self) -> None:
        with self._read_lock:
            stores, self._writing, self._reading = (self._writing, self._reading), None, None
        for store in stores:
            if store is not None:
                store.close()
