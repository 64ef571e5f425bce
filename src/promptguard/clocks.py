"""`clock=`: a function that tells seconds since the Unix epoch, checked once and survived afterwards."""

from __future__ import annotations

import contextlib
import inspect
import logging
import threading
import time
from collections.abc import Callable
from typing import TypeGuard

from promptguard.core.mistakes import refused, shown, takes
from promptguard.errors import ConfigurationError

log = logging.getLogger("promptguard")

_NO_CLOCKS = {
    "monotonic": time.monotonic, "perf_counter": time.perf_counter, "process_time": time.process_time,
    "time_ns": time.time_ns, "monotonic_ns": time.monotonic_ns, "perf_counter_ns": time.perf_counter_ns,
}  # fmt: skip
"""Functions of `time` that count from another moment, or in other units."""
_LAST_SECOND = 253_402_300_799.0
"""of the year 9999; a clock that says more counts in milliseconds or less"""


def check_clock(clock: object, name: str = "clock") -> Callable[[], float]:
    """Return a clock that tells what `clock` does, and goes on where that raises or tells nonsense later.

    Raises ConfigurationError, which calls it `name`, unless it tells seconds since the Unix epoch now.
    """
    if clock is time.time:
        return time.time
    accepted = "a function without arguments that returns seconds since the Unix epoch, as time.time does"
    if not callable(clock) or isinstance(clock, type) or not takes(clock, 0):
        raise refused(name, clock, accepted)
    if any(clock is other for other in _NO_CLOCKS.values()):
        raise refused(name, clock, accepted, meant="time.time")
    try:
        now: object = clock()
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"{name}={shown(clock)} raised {type(error).__name__}: give {accepted}"
        ) from error
    if inspect.iscoroutine(now):
        now.close()
    if not _is_moment(now):
        raise ConfigurationError(f"{name}={shown(clock)} returned {shown(now)}: give {accepted}")
    return SteadyClock(clock, float(now))


def _is_moment(now: object) -> TypeGuard[float]:
    return isinstance(now, (int, float)) and not isinstance(now, bool) and 0 <= now <= _LAST_SECOND


class SteadyClock:
    """A clock of the user's that may fail: then time goes on from its last word, by the machine's own.

    It is read on the caller's path, in background threads and in `flush()`, and nothing that it raises may reach any.
    """

    def __init__(self, clock: Callable[[], object], now: float) -> None:
        self._clock = clock
        self._last = (now, time.monotonic())
        self._is_told = False

    def __call__(self) -> float:
        """Return seconds since the Unix epoch; never raises but for a Ctrl-C that came while it was read."""
        try:
            now = self._clock()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                raise
            return self._go_on(type(error).__name__)
        if not _is_moment(now):
            return self._go_on("no moment")
        self._last = (float(now), time.monotonic())
        return float(now)

    def _go_on(self, why: str) -> float:
        if not self._is_told:
            self._is_told = True
            with contextlib.suppress(Exception):  # a filter of the application's may raise
                log.warning("clock= failed (%s): time goes on by the machine's clock where it does", why)
        at, then = self._last
        return at + time.monotonic() - then
