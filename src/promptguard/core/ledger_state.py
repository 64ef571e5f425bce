"""The state of one ledger as figures: what gauges show, whoever reads it and whoever exports it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Standing = Literal["drift", "no_drift", "unmeasured", "acknowledged"]
STANDINGS: tuple[str, ...] = get_args(Standing)


@dataclass(frozen=True, slots=True)
class PromptState:
    """The verdict that stands for one stream and prompt. Evidence is log10 of the e-value; times are Unix seconds."""

    stream: str
    group: str | None
    """what its pairs are counted under; None for a stream that is judged as a whole"""
    standing: Standing
    log10_evidence: float
    log10_threshold: float
    hidden_shift: float | None
    """the largest share of answers that could have changed unseen, or None while nothing can be said"""
    last_pair_at: float | None
    pairs_of_last_day: int
    """those that could have shown a change that began a day ago"""
    alarms: int
    reason: str | None = None
    """why it is `unmeasured`"""


@dataclass(frozen=True, slots=True)
class Lost:
    """Sampled calls of a stream that gave no compared pair, for one reason."""

    stream: str
    outcome: str
    reason: str
    pairs: int


@dataclass(frozen=True, slots=True)
class BudgetLeft:
    """What is left of one purpose's caps today; None where there is no such cap."""

    usd: float | None
    calls: int | None


@dataclass(frozen=True, slots=True)
class LedgerState:
    """One ledger at one moment. `spent` is USD by stream, `saved` USD by model, `budgets` by purpose."""

    prompts: tuple[PromptState, ...] = ()
    losses: tuple[Lost, ...] = ()
    spent: Mapping[str, float] = field(default_factory=dict)
    saved: Mapping[str, float] = field(default_factory=dict)
    budgets: Mapping[str, BudgetLeft] = field(default_factory=dict)
