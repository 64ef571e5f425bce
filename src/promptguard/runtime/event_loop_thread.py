"""The one event loop of a process on which asynchronous background calls run, never the application's.

It starts with the first client that needs it and ends with the last (`retain`, `release_after`).
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Generic, TypeVar

from promptguard.runtime.finalizers import loop_hidden_amid_collections
from promptguard.runtime.lost import CallLost

T = TypeVar("T")

GRACE_SECONDS = 1.0
"""How much longer than its deadline a call is waited for: it may be cancelled, but not when something blocks the loop."""
CLOSE_SECONDS = 1.0
"""How long giving connections back may take."""
EXIT_SECONDS = 0.3
"""How long leaving the process waits for the loop to end."""


def await_within(seconds: float, call: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine function on the background loop and return its result; blocks the calling thread.

    At `seconds` it is cancelled. Raises CallLost with what it raised, whatever that was, TimeoutError included.
    """
    future = _shared.submit(_bounded(seconds, call))
    if future is None:
        raise CallLost(RuntimeError("the process is leaving"))
    try:
        outcome = future.result(seconds + GRACE_SECONDS)
    except BaseException as error:
        if future.done() or isinstance(error, TimeoutError):
            future.cancel()
            raise CallLost(error) from None
        raise  # the waiting itself was interrupted
    if outcome.error is not None:
        raise CallLost(outcome.error)
    return outcome.value  # type: ignore[return-value] # there is one where there is no error


def retain() -> None:
    """Note that one more client uses the loop."""
    _shared.retain()


def release_after(closing: Callable[[], Awaitable[object]]) -> None:
    """Run a client's last coroutine function, then note that it uses the loop no more. Returns at once."""
    _shared.release_after(closing)


class _Outcome(Generic[T]):
    __slots__ = ("error", "value")

    def __init__(self, value: T | None, error: BaseException | None) -> None:
        self.value = value
        self.error = error


async def _bounded(seconds: float, call: Callable[[], Awaitable[T]]) -> _Outcome[T]:
    """Return what a coroutine function returned or raised: an exception that left a task could end the loop."""
    try:
        async with asyncio.timeout(seconds):
            return _Outcome(await call(), None)
    except BaseException as error:  # noqa: BLE001 - SystemExit of a callable of the application's is a lost answer
        return _Outcome(None, error)


class _EventLoopThread:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._leaving = False

    def retain(self) -> None:
        with self._lock:
            self._users += 1

    def release_after(self, closing: Callable[[], Awaitable[object]]) -> None:
        async def last() -> None:
            await _bounded(CLOSE_SECONDS, closing)
            self._release()

        self.submit(last())

    def _release(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users or self._loop is None:
                return
            loop, self._loop, self._thread = self._loop, None, None
        loop.call_soon_threadsafe(loop.stop)

    def submit(self, coroutine: Coroutine[object, object, T]) -> Future[T] | None:
        """Have the loop run a coroutine; None when there is no loop any more."""
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self._running())
        except RuntimeError:  # it is closed, or the interpreter gives no more threads
            coroutine.close()
            return None

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._leaving:
                raise RuntimeError("the process is leaving")
            if self._loop is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=_serve, args=(loop,), name="promptguard-loop", daemon=True)
                thread.start()
                self._loop, self._thread = loop, thread
            return self._loop

    def end(self) -> None:
        """End the loop, whoever uses it: the process is leaving."""
        with self._lock:
            self._leaving = True
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(EXIT_SECONDS)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Run the loop until it is stopped; what escapes from a callback of the application's does not end it."""
    with loop_hidden_amid_collections():
        _run_until_stopped(loop)


def _run_until_stopped(loop: asyncio.AbstractEventLoop) -> None:
    stopped = False
    while not stopped:
        try:
            loop.run_forever()
            stopped = True
        except BaseException:  # noqa: BLE001, S112 - SystemExit in a task that a library has made; its call times out
            continue
    with contextlib.suppress(BaseException):
        loop.run_until_complete(_cancel_rest())
    with contextlib.suppress(BaseException):
        loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


async def _cancel_rest() -> None:
    rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in rest:
        task.cancel()
    await asyncio.wait_for(asyncio.gather(*rest, return_exceptions=True), EXIT_SECONDS)


_shared = _EventLoopThread()
_inherited: list[_EventLoopThread] = []
"""Loops that came through a fork: kept, because closing one would take its parent's wake-up out of the selector."""


def _after_fork() -> None:
    global _shared  # noqa: PLW0603 - the thread is the parent's, and its lock may be held
    _inherited.append(_shared)
    _shared = _EventLoopThread()


def _at_exit() -> None:
    _shared.end()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)  # at import: whatever is wrapped later leaves before this
