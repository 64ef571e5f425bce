"""How a background call ended that brought nothing."""

from __future__ import annotations


class CallLost(Exception):  # noqa: N818 - an outcome that callers tell apart, not a mistake of theirs
    """A background call raised, or took too long. `cause` is what it raised, whatever that was.

    Callables of the application (a key callback, a transport) may raise SystemExit or KeyboardInterrupt: here these
    mean that one answer is lost, not that a thread of ours ends.
    """

    def __init__(self, cause: BaseException) -> None:
        super().__init__(type(cause).__name__)
        self.cause = cause
