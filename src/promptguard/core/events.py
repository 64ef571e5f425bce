"""What happened, for telemetry and counters: facts without content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from promptguard.core.model import Identity

NOT_REPORTED = Identity()
CacheResult = Literal["hit", "miss", "bypass", "error"]


@dataclass(frozen=True, slots=True)
class CallMade:
    """One answered or failed attempt of the application's own; times are seconds of the monotonic clock."""

    provider: str
    operation: str
    model: str
    group: str
    streamed: bool
    started: float
    ended: float
    status: int | None
    routed_to: str | None = None
    error: str | None = None
    identity: Identity = NOT_REPORTED
    response_id: str | None = None
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    context: object = None
    """the trace context of the moment the call began, opaque here"""


@dataclass(frozen=True, slots=True)
class CacheLooked:
    """One decision of the cache; `reason` names why it was bypassed or why an answer was not saved."""

    result: CacheResult
    group: str
    model: str
    reason: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    duration: float = 0.0
    """seconds"""


@dataclass(frozen=True, slots=True)
class CacheStore:
    """Something happened to the store of a cache: cache_unavailable, cache_recovered, cache_tampered, ..."""

    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class PairDone:
    """One pair, compared or lost; `outcome` is compared, control_error, candidate_error, dropped, ..."""

    stream: str
    group: str
    outcome: str
    reason: str = ""
    model: str = ""
    usd: float = 0.0


@dataclass(frozen=True, slots=True)
class NotPaired:
    """A call was drawn for pairing and cannot be paired; `reason` is made of our own words and names of fields."""

    reason: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class NotRead:
    """A call passed through untouched, neither cached nor paired, because it could not be read; `reason` as above."""

    reason: str


@dataclass(frozen=True, slots=True)
class AlarmRang:
    """A stream's evidence reached its threshold for a group."""

    stream: str
    group: str
    pairs: int
    log10_evidence: float


@dataclass(frozen=True, slots=True)
class EvidenceMoved:
    """The evidence of one group after its newest pair."""

    stream: str
    group: str
    log10_evidence: float


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of our own that the caller never saw; `operation` names the step, `error` the exception's type."""

    operation: str
    error: str


Event = (
    CallMade | CacheLooked | CacheStore | PairDone | NotPaired | NotRead | AlarmRang | EvidenceMoved | Fault
)
