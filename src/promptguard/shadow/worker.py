"""A bounded queue and daemon threads behind it. Offering never waits; every drop is the caller's to count.

Daemon threads, because a ThreadPoolExecutor would hold up the interpreter's exit until the last slow answer.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Worker(Generic[T]):
    """Runs `handle` on offered tasks in `threads` daemon threads, started with the first task.

    Bounded by `size` tasks and by `max_bytes` as `weigh` counts them.
    """

    def __init__(
        self,
        handle: Callable[[T], None],
        on_fault: Callable[[str, BaseException], None],
        *,
        size: int = 256,
        threads: int = 2,
        max_bytes: int = 64 * 1024 * 1024,
        weigh: Callable[[T], int] = lambda _task: 0,
    ) -> None:
        self._handle = handle
        self._on_fault = on_fault
        # Not queue.Queue, whose three conditions cost the caller more than all the rest of an offer.
        self._queue: queue.SimpleQueue[tuple[T, int] | None] = queue.SimpleQueue()
        self._size = size
        self._threads = threads
        self._max_bytes = max_bytes
        self._weigh = weigh
        self._lock = threading.Lock()
        self._all_done = threading.Condition(self._lock)
        self._waiting = 0
        self._unfinished = 0
        self._held = 0
        """bytes of all tasks that are not finished"""
        self._started: list[threading.Thread] = []
        self._closed = False

    def offer(self, task: T) -> str | None:
        """Take a task, or return why not: "queue_full", "queue_bytes", "closed"."""
        weight = self._weigh(task)
        with self._lock:
            if self._closed:
                return "closed"
            if self._waiting >= self._size:
                return "queue_full"
            if self._held + weight > self._max_bytes:
                return "queue_bytes"
            self._waiting += 1
            self._unfinished += 1
            self._held += weight
            self._queue.put((task, weight))  # within the lock: nothing may come after what ends the threads
            if not self._started:
                self._start()
        return None

    def _start(self) -> None:
        for number in range(self._threads):
            thread = threading.Thread(target=self._run, name=f"promptguard-shadow-{number}", daemon=True)
            thread.start()
            self._started.append(thread)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            task, weight = item
            with self._lock:
                self._waiting -= 1
            try:
                self._handle(task)
            except Exception as error:  # noqa: BLE001 - one bad task must not end the thread
                self._on_fault("shadow", error)
            finally:
                self._finished(weight)

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

    def close(self) -> None:
        """Take no more tasks; threads end after what they are doing, and never hold up the exit."""
        with self._lock:
            self._closed = True
            for _ in self._started:
                self._queue.put(None)
