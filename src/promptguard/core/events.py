"""What happened, for telemetry and counters: facts without content."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from promptguard.core.model import Facts, Headers, Reading, header

NOTHING_READ = Reading(text="", complete=False)
CacheResult = Literal["hit", "miss", "bypass", "error"]


class CallTrace(Protocol):
    """One call to a provider as telemetry follows it, from its sending to its end."""

    @property
    def link(self) -> str | None:
        """What spans of background calls are linked to, as W3C's traceparent; None where there is no span, or not yet."""

    def end(self, made: CallMade) -> None:
        """Tell how the call ended."""


class CallObserver(Protocol):
    """Telemetry, as far as it follows calls."""

    @property
    def is_recorded(self) -> bool:
        """Whether what it tells goes anywhere."""

    def begin(self, began: CallBegan) -> CallTrace:
        """Follow a call that is about to be sent to a provider."""

    def unseen(self) -> AbstractContextManager[None]:
        """Keep instrumentation of others quiet in a block, as far as it can be."""


@dataclass(frozen=True, slots=True)
class CallBegan:
    """A call is about to be sent to a provider: one attempt of the application's own, or one of background work's."""

    facts: Facts
    origin: str
    """scheme://host[:port] of the provider"""
    group: str
    started: float
    """monotonic seconds"""
    model: str
    """the model that is asked: the request's own, or where a verdict routes it"""
    routed_to: str | None = None
    headers: Headers = ()
    """of the request"""
    cache: CacheResult | None = None
    """what the cache said; None without one"""
    drifted: bool = False
    """an alarm stands for the prompt, and nobody has acknowledged it"""
    context: object = None
    """the trace context of the moment the call began, opaque here"""
    role: str | None = None
    """`candidate`, `repeat`, `replay` or `placebo` of a background call; None for the application's own"""
    link: str | None = None
    """of a background call: the call it repeats, as `CallTrace.link` gave it"""

    @property
    def agent(self) -> str:
        """The User-Agent of the SDK, which tells the SDKs apart."""
        return (header(self.headers, b"user-agent") or b"").decode("latin-1")


@dataclass(frozen=True, slots=True)
class CallMade:
    """One answered or failed call to a provider; times are seconds of the monotonic clock."""

    trace: CallTrace | None
    ended: float
    error: str | None = None
    reading: Reading = NOTHING_READ
    arrivals: tuple[float, ...] = ()
    """when each chunk of a streamed answer came"""


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
class VerdictGiven:
    """The status of one group changed: what it is now, and the sentence that says so, which holds no content."""

    stream: str
    group: str
    status: str
    log10_evidence: float
    sentence: str


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of our own that the caller never saw; `operation` names the step, `error` the exception's type."""

    operation: str
    error: str


Event = (
    CallMade | CacheLooked | CacheStore | PairDone | NotPaired | NotRead | AlarmRang | VerdictGiven | Fault
)
