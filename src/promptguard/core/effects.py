"""What the flow of a call may ask of the world, and what it is told in return.

The flow (flow.py) is a generator that yields these and is sent the answers; short drivers in `http/`
perform them, for threads and for asyncio over httpx and for botocore. Every effect but `Send` and `Join` returns at once.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from promptguard.core.events import CallBegan, Event
from promptguard.core.model import BodyEnd, Facts, Headers, Identity, PromptReference, Request, StoredReply
from promptguard.core.rollouts import Staged


@dataclass(frozen=True, slots=True)
class Lookup:
    """Answered with the StoredReply under `key`, or None; never raises."""

    key: str


@dataclass(frozen=True, slots=True)
class Choose:
    """Answered with a number below `count`: which of the collected variants under `key` is served next."""

    key: str
    count: int


@dataclass(frozen=True, slots=True)
class Join:
    """Lead the first of `keys` that nobody asks at this moment, or wait for one that somebody does; answered `Joined`.

    Waits for at most `seconds`, on the caller's thread or loop, and never blocks a loop.
    """

    keys: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Joined:
    """How a call goes on: with the answer another one got, as the leader of `key`, or alone."""

    reply: StoredReply | None = None
    key: str | None = None
    leader: object = None
    """the leader's, to be given back by `Complete`; opaque here"""


ALONE = Joined()


Outcome = Literal["saved", "failed", "gone", "unsaved"]
"""How a leader's call ended; `Complete` says what each means for who waits."""


@dataclass(frozen=True, slots=True)
class Complete:
    """The leader's answer, for those who wait: `reply`, or None with the reason that decides what they do.

    `failed`: the attempt brought no answer, so one of them takes over. `gone`: so did its caller, by cancelling or by
    closing early; one takes over, and it is no sign that the provider is in trouble. `unsaved`: it brought an answer
    that may not be shared, so each of them asks for itself.
    """

    leader: object
    reply: StoredReply | None
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class RecordIdentity:
    """A fresh answer was read to its end: who served it."""

    origin: str
    asked: str
    identity: Identity
    at: float
    """seconds since the Unix epoch"""
    to_ledger: bool
    """no background work will note it there, so this must"""


@dataclass(frozen=True, slots=True)
class Send:
    """Send `request`, or the SDK's own request untouched when None; answered with a `Head`, or a `Lost`."""

    request: Request | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """Status and header lines of an answer whose body has not been read."""

    status: int
    headers: Headers


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer: the exception's type name. The driver raises the exception itself once the flow has seen this."""

    error: str


@dataclass(frozen=True, slots=True)
class Deliver:
    """Hand the answer to the caller; the flow comes back with the `Body` when the caller is done with it."""


@dataclass(frozen=True, slots=True)
class Body:
    """An answer's body as the caller received it: raw chunks as they came, and how it ended."""

    chunks: tuple[bytes, ...]
    end: BodyEnd
    clipped: bool = False
    """only the first megabytes were kept; the caller got everything"""
    arrivals: tuple[float, ...] = ()
    """when each chunk came, monotonic seconds; () where nobody noted it"""


@dataclass(frozen=True, slots=True)
class Serve:
    """Answer the caller from the cache, byte for byte; the flow ends here."""

    reply: StoredReply


@dataclass(frozen=True, slots=True)
class Refuse:
    """Raise DriftDetected to the caller, who asked for it with `on_drift=Raise()`; the flow ends here."""

    message: str


@dataclass(frozen=True, slots=True)
class Save:
    """Keep an answer under `key`."""

    key: str
    reply: StoredReply


@dataclass(frozen=True, slots=True)
class Job:
    """A sampled call, offered to the shadow engine when its answer is complete, whatever the answer says."""

    request: Request
    facts: Facts
    group: str
    clusters: tuple[str, ...]
    """keyed digests of what makes calls depend on each other: one pair each in a stream's epoch"""
    call: int
    """which call of this process it was, counted from 1"""
    at: float
    """when the call was made, seconds since the Unix epoch"""
    head: Head
    body: Body
    prompt: PromptReference | None = None
    """recognised when the call was made; nobody recognises it again"""
    places: Mapping[str, int] = field(default_factory=dict)
    """its places in the order of each stream that it was drawn for, CALL, and STORED where it is to be kept for replay"""
    placebo: bool = False
    """the pinned snapshot of Replay(placebo) is asked as well"""
    routed_to: str | None = None
    latency: float = 0.0
    """seconds from sending to the end of the body"""
    error: str = ""
    """why it has no answer of its own, where it was to be stored and has none"""
    prior: StoredReply | None = None
    """the cached answer that this call's own replaces: the two are a pair of the replay stream, where it has a place"""
    link: str | None = None
    """the call in telemetry (W3C's traceparent), which background calls are linked to"""
    subject: str = ""
    """keyed digest of whom the call is about; empty where nobody said"""


@dataclass(frozen=True, slots=True)
class Offer:
    """Give a job to the shadow engine; never waits."""

    job: Job


@dataclass(frozen=True, slots=True)
class Abandon:
    """A sampled call that can not be paired: its place in the order of pairs is given up, with the reason."""

    stream: str
    slot: int
    group: str
    reason: str
    outcome: Literal["control_error", "candidate_error", "not_paired"] = "control_error"


@dataclass(frozen=True, slots=True)
class NoteOutcome:
    """What became of a call of a rollout: the job with its answer, or without one the `error`; never waits."""

    staged: Staged
    job: Job | None
    """without the question: many may wait, and only the answer is looked at (`answered`)"""
    error: str = ""

    @property
    def size(self) -> int:
        """The bytes that it holds, about."""
        job = self.job
        if job is None:
            return 0
        schema = 0 if job.facts.response_format is None else len(str(job.facts.response_format))
        return schema + sum(len(chunk) + _CHUNK for chunk in job.body.chunks)


_CHUNK = 64
"""bytes that a chunk takes beside its own"""


def answered(job: Job) -> Job:
    """Return a job as a rollout's outcome needs it: the answer, and of the question its model and the form it asks for."""
    facts = replace(job.facts, messages=(), instructions=(), body={}, findings=())
    return replace(
        job,
        request=replace(job.request, headers=(), body=b""),
        facts=facts,
        body=replace(job.body, arrivals=()),
        prior=None,
    )


@dataclass(frozen=True, slots=True)
class Emit:
    """Tell telemetry and counters."""

    event: Event


@dataclass(frozen=True, slots=True)
class Observe:
    """Have telemetry follow a call that is about to be sent; answered with a `CallTrace`, or None. Never raises."""

    began: CallBegan


Effect = (
    Lookup
    | Choose
    | Join
    | Complete
    | RecordIdentity
    | Send
    | Deliver
    | Serve
    | Refuse
    | Save
    | Offer
    | Abandon
    | NoteOutcome
    | Emit
    | Observe
)

T = TypeVar("T")
Steps = Generator[Effect, Any, T]
"""Part of a flow that returns T. What it is sent depends on the effect it yielded, which no type can say: so `Any`."""
