"""Blocking calls with a deadline: each runs in a spare thread, which is left behind when it takes too long.

Nothing else can end a callable of the application's that hangs (a key callback, a lookup of a name, a transport).
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context, ContextVar, copy_context
from math import inf
from typing import TypeVar

from promptguard.runtime.lost import CallLost

T = TypeVar("T")

MAX_THREADS = 128
"""Spare threads of a process, those left behind included; what would need one more is not begun."""
IDLE_SECONDS = 5.0
"""How long a spare thread waits for its next call before it ends."""


_UNTIL: ContextVar[float] = ContextVar("promptguard_until", default=inf)


class TooManyHangingCallsError(Exception):
    """So many calls were left behind that no other is begun."""


def call_within(seconds: float, call: Callable[[], T]) -> T:
    """Return what `call` returns, if it does so within `seconds`.

    Raises CallLost with what it raised, TimeoutError for one that takes longer, or TooManyHangingCallsError.
    """
    future: Future[T] = Future()
    until = time.monotonic() + seconds
    context = (
        copy_context()
    )  # the thread's own is empty; whoever asks may have set something for this call alone

    def run() -> None:
        context.run(_UNTIL.set, until)
        try:
            future.set_result(context.run(call))
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is this call's alone
            future.set_exception(error)

    if not _threads.run(run):
        raise CallLost(TooManyHangingCallsError())
    try:
        return future.result(seconds)
    except BaseException as error:
        if future.done() or isinstance(error, TimeoutError):
            raise CallLost(error) from None
        raise  # the waiting itself was interrupted


def seconds_left() -> float:
    """Return how many seconds the call that runs here has left; infinity outside of one, 0 or less when it is given up."""
    return _UNTIL.get() - time.monotonic()


class _SpareThreads:
    """Threads that wait for something to do, made on demand."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[queue.SimpleQueue[Callable[[], None]]] = []
        self._count = 0

    def run(self, task: Callable[[], None]) -> bool:
        """Have a thread run `task`; False when there are too many already."""
        with self._lock:
            if self._idle:
                self._idle.pop().put(task)
                return True
            if self._count >= MAX_THREADS:
                return False
            self._count += 1
        inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        inbox.put(task)
        thread = threading.Thread(
            target=self._serve, args=(inbox,), name="promptguard-background-call", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the machine gives no more threads, or the interpreter is leaving
            with self._lock:
                self._count -= 1
            return False
        return True

    def _serve(self, inbox: queue.SimpleQueue[Callable[[], None]]) -> None:
        while (task := self._next(inbox)) is not None:
            Context().run(task)  # an empty one: nothing of the call before, nothing of the application's
            del task  # an idle thread must keep nobody's request alive
            with self._lock:
                self._idle.append(inbox)

    def _next(self, inbox: queue.SimpleQueue[Callable[[], None]]) -> Callable[[], None] | None:
        try:
            return inbox.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            with self._lock:
                if inbox in self._idle:
                    self._idle.remove(inbox)
                    self._count -= 1
                    return None
            return inbox.get()  # a task came at the last moment


_threads = _SpareThreads()


def _after_fork() -> None:
    global _threads  # noqa: PLW0603 - the threads are the parent's, and its lock may be held
    _threads = _SpareThreads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
