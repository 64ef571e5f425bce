"""The share of sampled calls that ask their own model again, where `Shadow(repeat="auto")` leaves it to PromptGuard.

A second control tells how far apart two draws of one model are on this very prompt, and costs a background call. While
nothing seems to have changed it buys nothing; once past pairs speak for a change it brings the alarm sooner. So the share
is LEAST, and 1 while the evidence of past pairs, counted from its lowest point, says SUSPECTED or more. It is LEAST again
for RESTS pairs once that says SURE, as nothing is left to find out, and while caps refuse calls, which are worth more as
pairs.

Why this keeps the promise on false alarms: the share is a function of calls that ended before this one began and of what
caps let through, and whether this call is drawn is decided by a coin before its answer exists. Given the past, the three
answers (or the two) are as exchangeable as without the choice, so whichever game is played has mean 1, and so has each
mixture.
"""

from __future__ import annotations

from collections.abc import Callable

from promptguard.core.options import Shadow

LEAST = 0.02
"""so that the noise floor is measured and the instrument tested"""
SUSPECTED, SURE = 0.7, 30.0
"""evidence as a natural logarithm: twice as much as at its lowest point, and far beyond any alarm"""
RESTS = 1000
REFUSED_SECONDS = 600.0
"""for which a refusal by a cap is remembered"""


class RepeatShare:
    """What one client's calls are drawn with. Numbers are replaced whole: any thread may read them.

    Parameters: `shadow` says whether the share adapts; `clock` gives monotonic seconds.
    """

    __slots__ = ("_clock", "_log", "_refused", "_rests", "adapts", "share")

    def __init__(self, shadow: Shadow | None, clock: Callable[[], float]) -> None:
        self.adapts = shadow is not None and shadow.repeat == "auto"
        self._clock = clock
        self._log = 0.0
        self._rests = 0
        self._refused: float | None = None
        self.share = 0.0 if shadow is None else LEAST if isinstance(shadow.repeat, str) else shadow.repeat
        """of sampled calls, as of now"""

    def paid(self, log_payoff: float) -> None:
        """Learn what a pair has paid: the natural logarithm of its e."""
        if self._rests:
            self._rests -= 1
            return
        self._log = max(0.0, self._log + log_payoff)
        if self._log >= SURE:
            self._log, self._rests = 0.0, RESTS
        self._set()

    def refused(self) -> None:
        """Learn that a cap let a background call not through."""
        self._refused = self._clock()
        self._set()

    def _set(self) -> None:
        if not self.adapts:
            return
        short = self._refused is not None and self._clock() - self._refused < REFUSED_SECONDS
        self.share = 1.0 if self._log >= SUSPECTED and not short else LEAST
