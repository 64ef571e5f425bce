"""No finalizer of the application's finds the background loop: for as long as a collection lasts, it is not there.

Python collects garbage in whichever thread happens to allocate. An `AsyncOpenAI` or `AsyncAnthropic` that was dropped
without being closed begins in `__del__` a task on the loop that it finds running, which closes its connections. Their
sockets were closed by the same collection, and their numbers are given out again: in the thread of the background
loop that task would then take the application's *newest* connection out of the application's selector, and its call
would wait for an answer until the time is up. Where it finds no loop, as in any thread without one, it does nothing,
and the collection closes the sockets.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_threads: set[int] = set()
_aside: dict[int, asyncio.AbstractEventLoop | None] = {}
"""Thread amid a collection → the loop that runs in it."""
_installing = threading.Lock()


@contextmanager
def loop_hidden_amid_collections() -> Iterator[None]:
    """Run an event loop within this, in the thread that calls, and what is collected there finds no running loop."""
    with _installing:
        if _hide not in gc.callbacks:
            gc.callbacks.append(_hide)  # for good: taking it out could make a collection pass over somebody's
    thread = threading.get_ident()
    _threads.add(thread)
    try:
        yield
    finally:
        _threads.discard(thread)


def _hide(phase: str, _info: dict[str, int]) -> None:
    thread = threading.get_ident()
    if thread not in _threads:
        return
    if phase == "start":
        _aside[thread] = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
    else:
        asyncio._set_running_loop(_aside.pop(thread, None))


def _after_fork() -> None:
    global _installing  # noqa: PLW0603 - a thread of the parent may hold it
    _installing = threading.Lock()
    _threads.clear()  # the child may give their numbers to threads of the application's
    _aside.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
