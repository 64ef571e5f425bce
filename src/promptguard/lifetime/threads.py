"""Daemon threads that outlive whatever is raised in them: `SystemExit` and `KeyboardInterrupt` included.

A user's callable may call `sys.exit`, a transport may raise anything. In a background thread that must cost the one
thing that was being done, be counted and told, and no more.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

OnFault = Callable[[str, BaseException], None]

REST_SECONDS = 0.5
"""A pause after a fault of the loop itself, so that one that fails at once does not spin."""


def supervised(name: str, loop: Callable[[], None], on_fault: OnFault) -> threading.Thread:
    """Return a daemon thread, not started, that runs `loop` and runs it again whenever it is left by an exception.

    Parameters: `name` of the thread; `loop` returns when the thread's work is over; `on_fault` is told the thread's name
    and what was raised. It ends when `loop` returns.
    """

    def run() -> None:
        while True:
            try:
                loop()
                return
            except BaseException as error:  # noqa: BLE001 - the point of this module
                with contextlib.suppress(
                    BaseException
                ):  # telling may reach what the application has put there
                    on_fault(name.removeprefix("promptguard-"), error)
                time.sleep(REST_SECONDS)

    return threading.Thread(target=run, name=name, daemon=True)
