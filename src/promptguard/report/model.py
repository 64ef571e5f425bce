"""What a page or a command shows of a ledger: frozen values, ready for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from promptguard.core.identity import IdentityFact, IdentityObservation
from promptguard.core.streams import SELF_TESTS
from promptguard.verdict import Status, Verdict
from promptguard.verdict.words import counted


@dataclass(frozen=True, slots=True)
class Moment:
    """Where a pair lies in the application's life: its call number and time (seconds since 1970).

    `banked_call` is the call whose stored answer a replay compares with, None for other pairs.
    """

    pair: int
    call: int
    at: float
    banked_call: int | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """The evidence after one pair; `at` is None where an older version drew the curve."""

    pair: int
    call: int
    log10_evidence: float
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """Both answers of one pair, as recorded."""

    moment: Moment
    question: str
    control: str
    candidate: str


@dataclass(frozen=True, slots=True)
class StreamReport:
    """One verdict with what the ledger knows around it; `groups` are the same for each group of the stream.

    `control` and `candidate` are the models asked for the two sides: after
    a route the control is the model the application asked for, the candidate the one its calls are sent to.
    """

    stream: str
    epoch: int
    group: str | None
    verdict: Verdict
    control: str
    candidate: str
    routed: bool
    alarm: Moment | None = None
    onset: Moment | None = None
    onset_low: Moment | None = None
    onset_high: Moment | None = None
    last: Moment | None = None
    curve: tuple[Point, ...] = ()
    examples: tuple[Example, ...] = ()
    groups: tuple[StreamReport, ...] = ()
    as_before_since: float | None = None
    """since when the answers are as before a change that is known, which was taken back (seconds since 1970)"""
    together: bool = False
    """of a stream: its prompts alarmed together, before any did alone"""

    @property
    def rows(self) -> tuple[StreamReport, ...]:
        """What is listed of a stream: its prompts, and all of them where they stand for themselves."""
        return (*self.groups, self) if self.together or not self.groups else self.groups

    @property
    def status(self) -> Status:
        """`drift`, `no_drift` or `unmeasured`."""
        return self.verdict.status

    @property
    def acknowledged(self) -> bool:
        """Whether somebody has said that this alarm is known."""
        return self.verdict.acknowledged

    @property
    def pairs(self) -> int:
        """Pairs compared in this epoch."""
        return self.verdict.pairs

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values; the verdict is verdict.json."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        nested = {
            name: None if own[name] is None else asdict(own[name])
            for name in ("alarm", "onset", "onset_low", "onset_high", "last")
        }
        return {
            **own,
            **nested,
            "verdict": {**self.verdict.to_dict(), "acknowledged": self.acknowledged},
            "curve": [asdict(point) for point in self.curve],
            "examples": [asdict(example) for example in self.examples],
            "groups": [group.to_dict() for group in self.groups],
        }


@dataclass(frozen=True, slots=True)
class Loss:
    """Pairs that were not made: how it ended, and why."""

    stream: str
    outcome: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class Spent:
    """What one stream's background calls cost; with their tokens."""

    stream: str
    pairs: int
    usd: float
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a stream makes pairs and what they cost, and how noisy the model is; None where nothing tells."""

    noise: float | None
    """share of repeat pairs in which the noisiest flag flips, each way"""
    noise_pairs: int
    pairs_per_day: float | None
    usd_per_pair: float | None


@dataclass(frozen=True, slots=True)
class Day:
    """What one day's background calls cost, UTC."""

    day: str
    calls: int
    usd: float


@dataclass(frozen=True, slots=True)
class Occurrence:
    """An alarm or an action, in the order in which they happened."""

    at: float
    call: int
    kind: str
    stream: str
    group: str
    detail: Mapping[str, Any]
    id: int = 0
    """its number in the ledger, which `promptguard undo` takes of an action"""


@dataclass(frozen=True, slots=True)
class CacheUse:
    """What the response cache did; `saved_usd` is None when a model has no list price, or unpriced."""

    hits: int = 0
    misses: int = 0
    other: Mapping[str, int] = field(default_factory=dict)
    """bypasses and errors, by reason; `hit: joined` are hits that waited for an equal call"""
    saved_tokens: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """(input, output) by model"""
    saved_usd: float | None = None


@dataclass(frozen=True, slots=True)
class PassedBy:
    """Calls with which something was not done, and why."""

    what: str
    """`not cached`, `not paired`, or `neither cached nor paired`"""
    reason: str
    calls: int
    """pairs of any stream that came to nothing, where `what` is `not paired`: one call may have begun several"""

    @property
    def sentence(self) -> str:
        """How many, and what was not done."""
        if self.what == "not paired":
            return f"{counted(self.calls, 'pair')} not made"
        return f"{counted(self.calls, 'call')} {self.what}"


@dataclass(frozen=True, slots=True)
class Notice:
    """What cannot work as it is set up, and when it was last said (seconds since the Unix epoch)."""

    text: str
    at: float


@dataclass(frozen=True, slots=True)
class Report:
    """Everything there is to show of one ledger at one moment."""

    ledger: str
    status: str
    streams: tuple[StreamReport, ...]
    actions: tuple[Occurrence, ...]
    losses: tuple[Loss, ...]
    identities: tuple[IdentityObservation, ...]
    """who answered, the hours added up"""
    identity_facts: tuple[IdentityFact, ...]
    """what that comes to; no verdicts"""
    cache: CacheUse
    days: tuple[Day, ...]
    spent: tuple[Spent, ...]
    recorded_content: bool
    false_alarms_per_year: float | None = None
    """at most so many are expected if nothing changes, at the pace so far; None without a pace, or where all is gated"""
    passed_by: tuple[PassedBy, ...] = ()
    """what was not done with calls and why, the commonest first"""
    notices: tuple[Notice, ...] = ()
    """what cannot work as it is set up, newest first"""
    measured: tuple[int, int] = (0, 0)
    """groups that are measured in some stream that judges, and groups in all"""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        streams = [stream.to_dict() for stream in self.streams]
        return {**asdict(replace(self, streams=())), "streams": streams}

    @property
    def judging(self) -> tuple[StreamReport, ...]:
        """The streams that can speak of a change: all but the self-test."""
        return tuple(stream for stream in self.streams if stream.stream not in SELF_TESTS)
