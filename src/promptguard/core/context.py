"""What one call is told about the world when it begins, and what it knows of itself while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from promptguard.core.events import CacheResult, CallTrace
from promptguard.core.model import Facts, PromptReference, Request, StoredReply
from promptguard.core.policy import NOT_SAMPLED, Sampled, Settings, State
from promptguard.core.rollouts import Staged, Table


class Rewritten(NamedTuple):
    """A request as its model takes it, and by which rules: their names, with commas between."""

    request: Request
    rules: str


class Rewriting(Protocol):
    """Writes requests as their model takes them, where the application wants that."""

    def write(self, request: Request, facts: Facts, model: str, *, own: bool) -> Rewritten | None:
        """Return the request as `model` takes it; None where it stays as it is. `own`: the application named the model."""

    def leave_alone(self, model: str, rules: str) -> None:
        """Leave requests alone that these rules would change: their server takes what the application wrote."""


@dataclass(slots=True)
class CallContext:
    """What one call is told about the world when it begins. Not frozen, which would cost a microsecond a call."""

    settings: Settings
    state: State
    identify: Callable[[Facts], tuple[str, PromptReference | None]]
    """what the call is counted under, and the prompt it was rendered from; asked once a call"""
    take_places: Callable[[tuple[str, ...], str, tuple[str, ...]], dict[str, int]]
    """(streams, group, clusters) → places in their orders and CALL; empty where there is no room for the call"""
    clock: Callable[[], float]
    """monotonic seconds"""
    wall: Callable[[], float]
    """seconds since the Unix epoch"""
    draws: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    repeated: float = 0.0
    """share of sampled calls that ask their own model again, as of this call"""
    reask_draw: float = 1.0
    """uniform from [0, 1): below Cache(reask), a hit is asked afresh"""
    call: int = 0
    bypass: bool = False
    """inside `with promptguard.bypass()`: not answered from the cache"""
    cluster: str | None = None
    """inside `with promptguard.cluster(...)`: what makes these calls depend on each other"""
    subject: str | None = None
    """inside `with promptguard.subject(...)`: whom these calls are about"""
    tags: tuple[str, ...] = ()
    """of `with promptguard.cache_tags(...)`"""
    give_up: Callable[[str, int, str], None] = lambda _stream, _slot, _group: None
    """(stream, slot, group) → nothing: the place will not be filled, as this flow ends by a fault. Safe anywhere."""
    moved: Callable[[str, str, str], bool] = lambda _origin, _asked, _served: False
    """(origin, model asked, model that served) → whether that name is served by another model by now"""
    shared_epoch: Callable[[str, str], int] = lambda _group, _model: 0
    """(group, model asked) → the verdict epoch, as far as those who share the cache know of it"""
    observed: bool = False
    """telemetry is recorded: answers are read even when nothing else needs it"""
    context: object = None
    """the caller's trace context, opaque here"""
    rewriting: Rewriting | None = None
    """where the application's own requests are written as their model takes them"""
    rollouts: Table | None = None
    """what is being rolled out; None where nothing is, so that no call is read for its sake"""
    unit: str | None = None
    """inside `with promptguard.unit(...)`: whose call it is"""


@dataclass(slots=True)
class CallState:
    """What one call knows of itself while it runs."""

    request: Request
    facts: Facts
    group: str
    answering: str
    """the model that is asked: the request's own, or where a verdict routes it"""
    epoch: int
    prompt: PromptReference | None = None
    key: str | None = None
    """where the answer will be kept"""
    leader: object = None
    """of the leader of equal calls"""
    prior: StoredReply | None = None
    """the cached answer that this call's own replaces and is paired with"""
    sampled: Sampled = NOT_SAMPLED
    clusters: tuple[str, ...] = ()
    staged: tuple[Staged, ...] = ()
    """of a rollout of its prompt, and of one of its model"""
    places: dict[str, int] = field(default_factory=dict)
    """in the orders of pairs, and CALL: what has to be settled whatever becomes of the call"""
    routed_to: str | None = None
    sent: Request | None = None
    """the request as it is sent, where it is not the one that the SDK built: another model's, or in other words"""
    asked: Mapping[str, object] | None = None
    """the body that the model is asked with, where it is not that of `facts`"""
    rules: str = ""
    """the names of the rules that the application's own request was written by"""
    plain: tuple[Request, Facts] | None = None
    """what the SDK built, where `request` and `facts` are those of a request that was written in other words"""
    started: float = 0.0
    at: float = 0.0
    """when the call was made, seconds since the Unix epoch"""
    cache: CacheResult | None = None
    """what the cache said of it"""
    trace: CallTrace | None = None
    """the call in telemetry, once it is sent"""
