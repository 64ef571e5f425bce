"""Why calls were not cached or not paired: told once a reason, and bounded, so that no provider's names fill a ledger."""

from __future__ import annotations

import contextlib
import logging

log = logging.getLogger("promptguard")

MOST = 200
"""Distinct reasons of a process; later ones are counted under OTHER."""
OTHER = "(other reasons)"


class Reasons:
    """The reasons that were seen in this process. Thread-safe without a lock: at worst one is told twice."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._seen: set[tuple[str, str]] = set()

    def note(self, what: str, reason: str) -> str:
        """Return the label to count `reason` under; the first time it is told through the logger. Never raises.

        `what` says what was not done, such as "not paired". A field that nobody has classified is a warning: whoever
        reads it can classify the field, or ask for it.
        """
        if (what, reason) in self._seen:
            return reason
        if len(self._seen) >= self._most:
            return OTHER
        self._seen.add((what, reason))
        level = logging.WARNING if reason.endswith("not known") else logging.INFO
        with contextlib.suppress(Exception):  # a filter of the application's may raise
            log.log(level, "%s: %s (told once; promptguard status counts them)", what, reason)
        return reason


PROCESS = Reasons()
note = PROCESS.note
