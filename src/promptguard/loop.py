"""A private event loop for asynchronous clients, so that background work outlives the application's loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any


class LoopThread:
    """Runs coroutines in a daemon thread of its own, started with the first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def result_of(self, coroutine: Any, timeout: float | None) -> Any:
        """Run a coroutine to its end, for at most a little longer than its own time limit in seconds."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._running())
        try:
            return future.result(None if timeout is None else timeout + 5.0)
        except TimeoutError:
            future.cancel()
            raise

    def close(self, last: Any) -> None:
        """Run a last coroutine and end the loop; without waiting for questions that hang."""
        loop = self._running()

        async def finish() -> None:
            with contextlib.suppress(Exception):
                await last
            loop.stop()

        asyncio.run_coroutine_threadsafe(finish(), loop)
        if self._thread is not None:
            self._thread.join(0.3)
            if not self._thread.is_alive():
                loop.close()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="promptguard-loop", daemon=True
                )
                self._thread.start()
            return self._loop
