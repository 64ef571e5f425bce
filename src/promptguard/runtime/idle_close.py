"""Closing connections that other threads may be reading from."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self


class CloseWhenIdle:
    """Counts who uses some connections (`with`), and closes them once `close` was called and nobody does any more.

    Closing a socket that another thread waits on gives its number to the next socket of the process: that thread could then
    read what is the application's.
    """

    def __init__(self, close: Callable[[], object]) -> None:
        self._close = close
        self._lock = threading.Lock()
        self._users = 0
        self._closing = False
        self._closed = False

    def __enter__(self) -> Self:
        with self._lock:
            if self._closing:
                raise ConnectionError("the background client is closed")
            self._users += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._users -= 1
        self._close_if_idle()

    def close(self) -> None:
        """Close, now or when the last call in flight has ended. Safe to call twice."""
        with self._lock:
            self._closing = True
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        with self._lock:
            if not self._closing or self._users or self._closed:
                return
            self._closed = True
        self._close()
