"""Exit codes: what a command says to the shell that called it."""

from __future__ import annotations

NO_DRIFT = 0
DRIFT = 1
WRONG_USE = 2
UNMEASURED = 3
INTERRUPTED = 130

_OF_STATUS = {"no_drift": NO_DRIFT, "drift": DRIFT, "unmeasured": UNMEASURED}


def of_status(status: str) -> int:
    """Return the exit code of a command that judged `status`."""
    return _OF_STATUS[status]
