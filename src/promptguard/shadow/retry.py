"""Retries of a busy server, where a question may be asked again: replays, and nothing on the caller's path."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_result, stop_after_attempt, wait_random_exponential

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
