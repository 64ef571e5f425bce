"""A cache in memory before one outside this process, whose faults nobody waits for.

Who runs what: callers look into memory, then read one entry over a connection of their own; a daemon thread opens, writes,
clears and, after faults, opens again. What opening and writing may cost (with SQLite a minute, while another process
holds its lock) never costs a caller. Every fault is a miss. Where entries are kept is the business of a `Backend`.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from promptguard.cache.backlog import Backlog, Job
from promptguard.cache.circuit import Circuit
from promptguard.cache.contract import Backend, CacheStats, Listener, Meeting, NotKept, Store, tell
from promptguard.cache.entry import MAX_ENTRY_BYTES, MIN_MAC_KEY_BYTES, BadEntry, decode, encode
from promptguard.cache.meeting import Claims, SharedEpochs, Told
from promptguard.cache.memory import MemoryCache
from promptguard.core.model import StoredReply
from promptguard.core.options import Cache
from promptguard.errors import ConfigurationError
from promptguard.lifetime.error_counter import ErrorCounter
from promptguard.lifetime.forks import is_unsafe, sleep_at_fork
from promptguard.lifetime.threads import supervised

READ_TIMEOUT_S = 0.01
"""How long a caller waits for the store at most, and a store may wait for whoever holds it from a reader."""
EXIT_S = 0.4
"""How long leaving the process may wait for entries that are queued."""
LOOK_S = 1.0
"""How often it is looked whether another process cleared the cache."""

faults = ErrorCounter()


_inherited: list[Store] = []
"""Stores that came through a fork with their connections open: kept, never closed. Such a process uses no disk cache, as
SQLite would take the parent's locks for its own."""


class Tiered:
    """Replies in memory and in `backend`, authenticated with `mac_key`.

    `get` finds nothing until the background thread has opened the store, a moment after construction; what this process
    put is found at once. `clock` gives seconds for the pauses after faults; `listener` returns who is told of events, or
    None.

    A store that cannot be used makes every lookup a miss and is tried again. Raises ConfigurationError for a secret that is
    too short.
    """

    def __init__(
        self,
        backend: Backend,
        mac_key: bytes,
        *,
        memory_bytes: int = 16 * 2**20,
        listener: Listener | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if len(mac_key) < MIN_MAC_KEY_BYTES:
            raise ConfigurationError(f"the cache's secret must have at least {MIN_MAC_KEY_BYTES} bytes")
        self.stats = CacheStats()
        self.key: Hashable = backend.place, mac_key
        """what tells caches of this process apart"""
        self._backend = backend
        self._mac_key = mac_key
        self._listener = listener
        self._clock = clock
        self._memory = MemoryCache(memory_bytes)
        self._closed = False
        self._cleared = backend.clear_mark()
        self._epochs = SharedEpochs(mac_key)
        self._look_at = 0.0
        self._begin()
        sleep_at_fork(self)
        self._ensure_thread()

    def _on_event(self, kind: str, reason: str) -> None:
        told = None if self._listener is None else self._listener()
        tell(told, kind, reason)

    def get(self, key: str) -> StoredReply | None:
        """Return the reply kept under `key`, or None; also when the store is slow, away, tampered with."""
        if self._clock() >= self._look_at:
            self._look_at = self._clock() + LOOK_S
            self._backlog.add(Job("look"))
        found = self._memory.get(key)
        if found is None and not self._closed:
            found = self._from_store(key)
        self.stats.count("misses" if found is None else "hits")
        return found

    def put(self, key: str, reply: StoredReply) -> None:
        """Keep `reply` under `key`: in memory at once, in the store soon. Never waits; drops are counted."""
        if self._closed:
            return
        self._memory.put(key, reply)
        self._ensure_thread()
        if reply.size > MAX_ENTRY_BYTES:
            self._drop("entry_too_large")
        elif not self._backlog.add(Job("write", key, reply)):
            self._drop("queue_full")

    @property
    def is_closed(self) -> bool:
        """Whether it takes no more entries."""
        return self._closed

    @property
    def has_meeting(self) -> bool:
        """Whether processes on other hosts may share the store."""
        return self._backend.meets

    def epoch(self, group: str, model: str) -> int:
        """Return how often the model behind a group was found changed, as far as those who share the store have told."""
        return self._epochs.of(group, model)

    def follow(self, name: str, read: Callable[[], Told]) -> None:
        """Tell those who share the store what a ledger of this process finds changed."""
        self._epochs.follow(name, read)

    def claim(self, key: str) -> tuple[bool, str]:
        """Return whether the caller is the one to ask for `key`, and who is; "" where that cannot be told."""
        meeting = self._reading if self._circuit.in_use and not is_unsafe() else None
        if not isinstance(meeting, Meeting):
            return False, ""
        try:
            return self._claims.claim(meeting, key)
        except Exception as error:  # noqa: BLE001 - whoever cannot claim asks alone
            self._fault("claim", error)
            return False, ""

    def reconfigure(self, option: Cache, listener: Listener | None) -> None:
        """Take the settings of a client that names the same place: the newest hold."""
        self._backend.use(option)
        self._listener = listener

    def release(self, key: str, token: str, *, unshared: bool) -> None:
        """Give a claim up once all that was put before is in the store."""
        self._claims.forget(key, token)
        self._backlog.add(Job("unshare" if unshared else "release", key, token=token))

    def flush(self, timeout_s: float = 2.0) -> bool:
        """Wait until everything put so far was written or dropped; returns whether it was."""
        self._ensure_thread()
        return self._backlog.drained(timeout_s)

    def clear(self, tag: str | None = None, timeout_s: float = 2.0) -> bool:
        """Forget every entry, or those with `tag`; also where other processes keep them in memory, within seconds.

        The store is out of sight at once; returns whether it was cleared in time.
        """
        self._hidden.set()
        self._memory.clear(tag)
        self._ensure_thread()
        self._backlog.add(Job("clear", tag or ""))
        return self._backlog.drained(timeout_s)

    def stop(self, deadline: float = math.inf) -> None:  # noqa: ARG002 - join() is told as well
        """Take no more entries; those that are queued are written. Returns at once."""
        if not self._closed:
            self._closed = True
            self._backlog.add(Job("stop"))

    def join(self, deadline: float) -> None:
        """Wait until what is queued is written, until `deadline` (monotonic seconds) at most; the rest is given up."""
        if not self._backlog.drained(max(0.0, deadline - time.monotonic() - 0.1)):
            self._backlog.forget_writes(self._drop)
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        self._memory.clear()

    def close(self, timeout_s: float = EXIT_S) -> None:
        """Write what is queued, for at most `timeout_s` seconds, and close the store."""
        self.stop()
        self.join(time.monotonic() + timeout_s)

    def quiesce(self, deadline: float) -> bool:
        """Close both connections for a fork, and open none until `resume`; False when one is in use for longer."""
        for lock in (self._write_lock, self._read_lock):
            if not lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
                return False
            self._asleep.append(lock)
        self._forget_stores()
        return True

    def resume(self) -> None:
        """Go on after a fork: the background thread opens the store again."""
        while self._asleep:
            self._asleep.pop().release()
        if self._thread is not None:
            self._backlog.add(Job("open"))

    def after_fork(self) -> None:
        """Begin anew in a child process: own queue, thread and connections; the queue stays the parent's."""
        self.stats.after_fork()
        opened = [store for store in (self._writing, self._reading) if store is not None]
        if opened:  # forked from C, as uWSGI does, so that nobody could close them: closing them here would harm the file
            _inherited.extend(opened)
        self._begin()

    def _begin(self) -> None:
        self._circuit = Circuit(self._clock)
        self._claims = Claims(self._clock)
        self._turn_at = 0.0
        self._backlog = Backlog()
        self._writing: Store | None = None
        self._reading: Store | None = None
        self._read_lock = threading.Lock()
        self._write_lock = threading.Lock()
        """held by the background thread while it works; with the other one, by a fork"""
        self._asleep: list[threading.Lock] = []
        self._start_lock = threading.Lock()
        self._hidden = threading.Event()
        self._owed: list[str | None] = []
        self._thread: threading.Thread | None = None

    def _ensure_thread(self) -> None:
        if self._thread is not None or self._closed:
            return
        with self._start_lock:
            if self._thread is None:
                thread = supervised("promptguard-cache", self._work, self._died)
                try:
                    thread.start()
                except RuntimeError:  # the interpreter is shutting down, or there are no threads left
                    self.stats.count("errors")
                    return
                self._thread = thread
                self._backlog.add(Job("open"))

    # on callers' threads

    def _from_store(self, key: str) -> StoredReply | None:
        if is_unsafe() or _inherited:
            return None
        self._ensure_thread()
        if not self._circuit.closed:
            if self._circuit.probe_due():
                self._backlog.add(Job("probe"))
            return None
        if self._reading is None or self._hidden.is_set() or not self._circuit.in_use:
            return None
        try:
            with self._reader() as store:
                blob = None if store is None else store.get(key)
        except BadEntry as error:
            self._tampered(error)
            return None
        except Exception as error:  # noqa: BLE001 - whatever the store does, the caller's call goes on
            self._fault("read", error)
            return None
        return None if blob is None else self._believed(key, blob)

    @contextmanager
    def _reader(self) -> Iterator[Store | None]:
        """Give the connection to read with; none where others use it for too long."""
        if self._backend.many_readers:
            yield self._reading
        elif not self._read_lock.acquire(timeout=READ_TIMEOUT_S):
            yield None
        else:
            try:
                yield self._reading
            finally:
                self._read_lock.release()

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
        self._on_event("cache_tampered", str(error))

    def _drop(self, reason: str) -> None:
        self.stats.count("dropped")
        self._on_event("cache_dropped", reason)

    def _fault(self, what: str, error: Exception, at_once: bool = False) -> None:
        self.stats.count("errors")
        reason = f"{what}: {type(error).__name__}"
        self._on_event("cache_error", reason)
        if self._circuit.failed(at_once, waited=isinstance(error, TimeoutError)):
            self._on_event("cache_unavailable", reason)

    # on the background thread

    def _work(self) -> None:
        backlog = self._backlog
        while True:
            rhythm = self._backend.rhythm_s
            due = rhythm is not None and self._clock() >= self._turn_at
            job = None if due else backlog.take(rhythm)
            if job is None:
                self._turn(rhythm or LOOK_S)
                continue
            try:
                with self._write_lock:
                    if job.kind == "stop":
                        self._close_stores()
                        return
                    self._do(job)
            except Exception as error:  # noqa: BLE001 - the thread outlives every fault
                self._fault(job.kind, error)
            finally:
                backlog.done()

    def _turn(self, rhythm: float) -> None:
        """Look at what other processes did, though nobody asks."""
        self._turn_at = self._clock() + rhythm
        try:
            with self._write_lock:
                self._do(Job("look"))
        except Exception as error:  # noqa: BLE001
            self._fault("look", error)

    def _died(self, operation: str, error: BaseException) -> None:
        self.stats.count("errors")
        faults.add(operation, error)

    def _do(self, job: Job) -> None:
        if is_unsafe() or _inherited:
            return
        if self._writing is None and self._circuit.closed:  # at first, and after a fork
            self._open(again=False)
        if job.kind == "clear":
            self._owed.append(job.key or None)
        if not self._circuit.closed and (job.kind in ("probe", "clear") or self._circuit.probe_due()):
            self._open(again=True)
        store = self._writing
        if store is None or not self._circuit.closed:
            if job.kind == "write":
                self._drop("store_unavailable")
        else:
            self._do_with(store, job)

    def _do_with(self, store: Store, job: Job) -> None:
        if job.kind == "clear":
            self._clear(store)
        elif job.kind == "look":
            self._look(store)
        elif job.kind in ("release", "unshare") and isinstance(store, Meeting):
            self._claims.release(store, job.key, job.token, unshared=job.kind == "unshare")
        elif job.reply is not None:
            self._write(store, job.key, job.reply)

    def _clear(self, store: Store) -> None:
        """Clear what is owed; until then nothing of the store is shown."""
        try:
            while self._owed:
                remove(store, self._mac_key, self._owed[0])
                del self._owed[0]
            self._cleared = self._backend.set_clear_mark()
        except Exception as error:  # noqa: BLE001
            self._fault("clear", error, at_once=True)  # opening again will clear first
        else:
            self._hidden.clear()

    def _look(self, store: Store) -> None:
        """Forget what is in memory when another process has cleared the store; tell and learn what has changed."""
        mark = self._backend.clear_mark()
        if mark != self._cleared:
            self._cleared = mark
            self._memory.clear()
        if isinstance(store, Meeting):
            self._claims.renew(store)
            self._epochs.exchange(store)

    def _write(self, store: Store, key: str, reply: StoredReply) -> None:
        try:
            blob = encode(key, reply, self._mac_key)
        except BadEntry:
            self._drop("entry_not_storable")
            return
        try:
            store.set(key, blob)
        except NotKept as error:
            self._drop(str(error))
            return
        except Exception as error:  # noqa: BLE001
            self._drop("write_failed")
            self._fault("write", error)
            return
        self._circuit.worked()
        self.stats.count("stores")

    def _open(self, again: bool) -> None:
        """Open both connections; after faults, what is there is looked through first."""
        self._close_stores()
        try:
            writing, reading = self._backend.open(check=again, on_event=self._on_event)
        except Exception as error:  # noqa: BLE001
            # One that is busy is tried again with the next job, a few times.
            self._fault("open", error, at_once=not self._backend.is_busy(error))
            return
        self._writing = writing
        with self._read_lock:
            self._reading = reading
        if self._hidden.is_set():
            self._clear(writing)
        if not self._hidden.is_set() and self._circuit.worked():
            self._on_event("cache_recovered", "opened again")

    def _close_stores(self) -> None:
        with self._read_lock:
            self._forget_stores()

    def _forget_stores(self) -> None:
        stores, self._writing, self._reading = (self._writing, self._reading), None, None
        for store in stores:
            if store is not None:
                store.close()


def remove(store: Store, mac_key: bytes, tag: str | None) -> int:
    """Remove every entry, or those with `tag`; returns how many."""
    if tag is None:
        return store.clear()
    tagged = [key for key, blob in store.each() if _has(tag, key, blob, mac_key)]
    return sum(bool(store.delete(key)) for key in tagged)


def _has(tag: str, key: str, blob: bytes, mac_key: bytes) -> bool:
    try:
        return tag in decode(key, blob, mac_key).tags
    except BadEntry:
        return False
