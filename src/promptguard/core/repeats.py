"""The share of sampled calls that ask their own model again, where `Shadow(repeat="auto")` leaves it to PromptGuard.

A second control tells how far apart two draws of one model are on this very prompt. That helps where answers are noisy, and
tells nothing where the two are alike each time. So the share follows how often they differed so far; and calls that a cap
refuses are worth more as pairs, so it is the least there is while caps refuse.

Why this keeps the promise on false alarms: the share is a function of calls that ended before this one began and of what
caps let through, and whether this call is drawn is decided by a coin before its answer exists. Given the past, the three
answers (or the two) are as exchangeable as without the choice, so whichever game is played has mean 1, and so has each
mixture.
"""

from __future__ import annotations

from collections.abc import Callable

from promptguard.core.options import Shadow

LEAST, MOST = 0.02, 0.5
"""of the share: the instrument goes on being tested, and most calls stay pairs"""
_BEGIN = 0.2
"""share of repeats taken to differ before any was seen: then about a ninth of the calls are drawn"""
_KEPT = 0.95
"""weight of the past after each repeat"""
REFUSED_SECONDS = 600.0
"""for which a refusal by a cap is remembered"""


class RepeatShare:
    """What one client's calls are drawn with. Any thread may tell it what it saw; numbers are replaced whole.

    Parameters: `shadow` says whether the share adapts; `clock` gives monotonic seconds.
    """

    __slots__ = ("_adapts", "_clock", "_differ", "_refused", "share")

    def __init__(self, shadow: Shadow | None, clock: Callable[[], float]) -> None:
        self._adapts = shadow is not None and shadow.repeat == "auto"
        self._clock = clock
        self._differ = _BEGIN
        self._refused = -REFUSED_SECONDS
        self.share = 0.0 if shadow is None or isinstance(shadow.repeat, str) else shadow.repeat
        """of sampled calls, as of now"""
        if self._adapts:
            self._refused += clock()
            self._set()

    def saw(self, *, differ: bool) -> None:
        """Learn from a call that asked its own model again whether the two answers differ."""
        self._differ = _KEPT * self._differ + (1.0 - _KEPT) * differ
        self._set()

    def refused(self) -> None:
        """Learn that a cap let a background call not through."""
        if self._adapts:
            self._refused = self._clock()
            self._set()

    def _set(self) -> None:
        if not self._adapts:
            return
        short = self._clock() - self._refused < REFUSED_SECONDS
        self.share = LEAST if short else LEAST + (MOST - LEAST) * self._differ
