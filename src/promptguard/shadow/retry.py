"""Retries of a busy server, where a question may be asked again, and of functions that fail; not on the caller's path."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_result,
    stop_after_attempt,
    wait_exponential_jitter,
    wait_random_exponential,
)

T = TypeVar("T")

ATTEMPTS = 3
FIRST_WAIT = 0.5
LONGEST_WAIT = 8.0
"""Seconds between attempts, drawn from a range that doubles."""


def with_retries(ask: Callable[[], T], is_busy: Callable[[T], bool]) -> T:
    """Return the first result of `ask` that `is_busy` denies, or the last after ATTEMPTS attempts."""
    retrying = Retrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT),
        retry=retry_if_result(is_busy),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
    )
    result: T = retrying(ask)
    return result


FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0
"""Seconds between attempts to call a function of the user's that fails: doubled each time, and up to a second more."""
_pauses = wait_exponential_jitter(initial=FIRST_PAUSE, max=LONGEST_PAUSE)


def pause_after(attempts: int) -> float:
    """Return how many seconds to wait after so many failed attempts (at least 1)."""
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = attempts
    return _pauses(state)
