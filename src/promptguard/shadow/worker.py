"""A bounded queue and daemon threads behind it. Offering never waits; every drop is the caller's to count.

Daemon threads, because a ThreadPoolExecutor would hold up the interpreter's exit until the last slow answer.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from promptguard.lifetime.threads import OnFault, supervised

T = TypeVar("T")


class Worker(Generic[T]):
    """Runs `handle` on offered tasks in `threads` daemon threads, started with the first task.

    Bounded by `size` tasks and by `max_bytes` as `weigh` counts them. A task that raises, `SystemExit` included, is told
    to `on_fault`, given to `failed`, and costs nothing but itself.
    """

    def __init__(
        self,
        handle: Callable[[T], None],
        on_fault: OnFault,
        *,
        name: str = "shadow",
        size: int = 256,
        threads: int = 2,
        max_bytes: int = 64 * 1024 * 1024,
        weigh: Callable[[T], int] = lambda _task: 0,
        failed: Callable[[T], None] = lambda _task: None,
    ) -> None:
        self._handle = handle
        self._on_fault = on_fault
        self._name = name
        # Not queue.Queue, whose three conditions cost the caller more than all the rest of an offer.
        self._queue: queue.SimpleQueue[tuple[T, int] | None] = queue.SimpleQueue()
        self._size = size
        self._threads = threads
        self._max_bytes = max_bytes
        self._weigh = weigh
        self._failed = failed
        self._lock = threading.Lock()
        self._all_done = threading.Condition(self._lock)
        self._waiting = 0
        self._unfinished = 0
        self._held = 0
        """bytes of all tasks that are not finished"""
        self._started: list[threading.Thread] = []
        self._closed = False

    def grow(self, size: int, threads: int) -> None:
        """Allow for more tasks and threads: another client of the same ledger wants them. Never fewer."""
        with self._lock:
            self._size = max(self._size, size)
            self._threads = max(self._threads, threads)
            if self._started and not self._closed:
                self._start()

    def hold(self, task: T, *, over: bool = False) -> str | None:
        """Count the bytes of a task that is to be offered later, as held; returns why there is no room for it.

        `over`: there is room for as much again.
        """
        weight = self._weigh(task)
        with self._lock:
            if self._closed:
                return "closed"
            if self._held + weight > self._max_bytes * (1 + over):
                return "queue_bytes"
            if not self._started:
                self._start()  # now: as the interpreter exits, when it may be offered, no thread can be started
            self._held += weight
        return None

    def let_go(self, task: T) -> None:
        """Count the bytes of a task no more that was held, and is not offered after all."""
        weight = self._weigh(task)
        with self._lock:
            self._held -= weight

    def offer(self, task: T, *, has_room: bool = False, is_held: bool = False) -> str | None:
        """Take a task, or return why not: "queue_full", "queue_bytes", "closed".

        `has_room`: who offers has admitted such tasks when each began, by `capacity`; none is refused for the length.
        `is_held`: its bytes are counted already (`hold`).
        """
        weight = self._weigh(task)
        with self._lock:
            if is_held:
                self._held -= weight
            if self._closed:
                return "closed"
            if self._waiting >= self._size and not has_room:
                return "queue_full"
            if self._held + weight > self._max_bytes and not is_held:
                return "queue_bytes"
            if not self._started:
                self._start()  # first: where no thread can be started, nothing was taken
            self._waiting += 1
            self._unfinished += 1
            self._held += weight
            self._queue.put((task, weight))  # within the lock: nothing may come after what ends the threads
        return None

    def _start(self) -> None:
        for number in range(len(self._started), self._threads):
            thread = supervised(f"promptguard-{self._name}-{number}", self._run, self._on_fault)
            thread.start()
            self._started.append(thread)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            task, weight = item
            del item  # a task holds its client, which nobody should keep alive while there is nothing to do
            with self._lock:
                self._waiting -= 1
            try:
                self._handle(task)
            except BaseException as error:  # noqa: BLE001 - a user's callable or transport may raise anything
                self._on_fault("shadow", error)
                self._give_up(task)
            finally:
                del task
                self._finished(weight)

    def _give_up(self, task: T) -> None:
        try:
            self._failed(task)
        except BaseException as error:  # noqa: BLE001
            self._on_fault("shadow", error)

    def _finished(self, weight: int) -> None:
        with self._lock:
            self._held -= weight
            self._unfinished -= 1
            if not self._unfinished:
                self._all_done.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until every offered task is done; False when that took longer than `timeout` seconds."""
        with self._lock:
            return self._all_done.wait_for(lambda: not self._unfinished, timeout)

    def drain(self) -> list[T]:
        """Return the tasks that wait, and do none of them."""
        found: list[T] = []
        with self._lock, contextlib.suppress(queue.Empty):
            while not self._closed and (item := self._queue.get_nowait()) is not None:
                found.append(item[0])
                self._waiting -= 1
                self._unfinished -= 1
                self._held -= item[1]
        with self._lock:
            if not self._unfinished:
                self._all_done.notify_all()
        return found

    @property
    def capacity(self) -> int:
        """How many tasks may wait or be done at once."""
        return self._size + self._threads

    @property
    def waiting(self) -> int:
        """How many tasks wait."""
        return self._waiting

    @property
    def room(self) -> int:
        """How many more tasks may wait."""
        return max(0, self._size - self._waiting)

    @property
    def is_idle(self) -> bool:
        """Whether no task waits or is being done."""
        return not self._unfinished

    def stop(self) -> None:
        """Take no more tasks; threads end after those that were taken. Returns at once."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for _ in self._started:
                self._queue.put(None)

    def join(self, deadline: float) -> None:
        """Wait for the tasks that were taken, until `deadline` (monotonic seconds) at most."""
        self.flush(max(0.0, deadline - time.monotonic()))
