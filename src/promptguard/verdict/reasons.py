"""Why a verdict is `unmeasured`, in the words that every reader finds."""

from __future__ import annotations

STALE = "stale"
"""the last pair is too old"""
NONE_STRADDLE = "too few answers from before"
"""of stored answers asked again: too few pairs compare one from before a change of the last week with one from after it"""
PROCESS_ENDED = "process ended"
"""pairs were not complete, or waited for one that was not, when their process or its last client ended"""
TOO_FEW, TOO_MANY_LOST, ASYMMETRIC = "too few pairs", "too many losses", "asymmetric loss"
NO_PAIRS = frozenset((TOO_FEW, TOO_MANY_LOST, ASYMMETRIC))
"""reasons that leave open why pairs are missing"""

_NOT_ASKED = {"budget": "budget spent", "rate": "rate", "price_unknown": "price unknown"}


def why_missing(said: str) -> str:
    """Return the reason why pairs are missing, of `outcome: reason` as the ledger has it.

    >>> why_missing("dropped: not_asked: budget"), why_missing("candidate_error: status_404")
    ('budget spent', 'candidate errors: status_404')
    >>> why_missing("candidate_error: process ended")
    'process ended'
    """
    outcome, _, reason = said.partition(": ")
    if outcome.endswith("_error") and reason != PROCESS_ENDED:
        return f"{outcome.removesuffix('_error')} errors: {reason}"
    asked = reason.removeprefix("not_asked: ")
    return _NOT_ASKED.get(asked, asked or outcome)
