"""What became of one unit's first call: plain figures, no text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """One unit's outcome. None is what could not be told.

    `step` is the rollout's step at the time; `usd` what the call cost, `latency` how long it took in seconds; `answer` is
    the answer's features, as bytes of a `drift.PairVector` against no answer.
    """

    rollout: int
    step: int
    is_treated: bool
    unit: bytes
    at: float
    """seconds since the Unix epoch"""
    usable: bool | None = None
    refused: bool | None = None
    usd: float | None = None
    latency: float | None = None
    answer: bytes | None = None
