"""The streams of pairs: which judge the model, and which test the instrument and can only take verdicts away."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, get_args

Stream = Literal["candidate", "repeat", "replay", "canary", "placebo"]
STREAMS: tuple[str, ...] = get_args(Stream)

CALL, STORED = "call", "stored"
"""Places of a sampled call beside those in the order of a stream: its room in the queue, and that it is to be stored.

What is to be stored is drawn and counted before there is an answer, as pairs are: an answer that never comes is one that
the replay stream has lost.
"""

REPEAT = "repeat"
"""One model twice at the same moment: tests the pipeline."""
PLACEBO = "placebo"
"""A pinned snapshot asked again later: tests whether anything but the model changes answers over time."""
SELF_TESTS = frozenset((REPEAT, PLACEBO))

_DOUBTS = (
    (REPEAT, frozenset(("candidate", "replay", "canary")), "failed self-test"),
    (PLACEBO, frozenset(("replay", "canary")), "failed placebo"),
)


def doubt(stream: str, alarmed: Collection[str]) -> str | None:
    """Return why a stream's verdict does not count while the self-tests in `alarmed` have alarmed, or None."""
    found = (reason for test, doubted, reason in _DOUBTS if test in alarmed and stream in doubted)
    return next(found, None)
