"""A call's whole life as a generator of effects: every decision is here, no IO.

    Lookup → (Serve) → Send → Deliver → Save, Offer, Emit

The generator is driven on the caller's path by `http/transport`. It is suspended at `Deliver` while the caller reads
the answer, and finishes when the caller is done with it, so that a streamed answer is judged by its terminal event.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Protocol

from promptguard.core import effects as do
from promptguard.core.events import CacheLooked, CallMade
from promptguard.core.key import cache_key, cluster_digest, question_digest, unambiguous
from promptguard.core.model import Facts, Headers, Reading, Request, StoredReply
from promptguard.core.policy import (
    NOT_SAMPLED,
    Sampled,
    Settings,
    State,
    cache_bypass,
    sample,
    stale,
    unsaved,
)

Flow = Generator[do.Effect, Any, None]

_ROUTE_KEPT = frozenset({408, 409, 429})  # the SDK retries these; they are not about the model's name


class WireProtocol(Protocol):
    """What the flow needs of a module in `wire`."""

    MARKS_END: bool

    def read_request(self, request: Request) -> Facts | None:
        """Read a request, or None when it is not what the protocol sends."""

    def read_reply(self, status: int, headers: Headers, body: bytes, *, streamed: bool) -> Reading:
        """Read an answer's raw bytes; never raises."""

    def with_model(self, request: Request, facts: Facts, model: str) -> Request:
        """Return the request with another model named."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What one call is told about the world when it begins."""

    settings: Settings
    state: State
    group_of: Callable[[Facts], str]
    open_ticket: Callable[[str, str, tuple[str, ...]], int | None]
    """(stream, group, clusters) → a place in the order of pairs, or None where one of the clusters has had its pair"""
    clock: Callable[[], float]
    """monotonic seconds"""
    wall: Callable[[], float]
    """seconds since the Unix epoch"""
    draws: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    call: int = 0
    bypass: bool = False
    """inside `with promptguard.bypass()`: not answered from the cache"""
    cluster: str | None = None
    """inside `with promptguard.cluster(...)`: what makes these calls depend on each other"""
    observed: bool = False
    """telemetry is recorded: answers are read even when nothing else needs it"""
    context: object = None
    """the caller's trace context, opaque here"""


@dataclass(slots=True)
class _Call:
    """What one call knows of itself while it runs."""

    request: Request
    facts: Facts
    group: str
    answering: str
    """the model that is asked: the request's own, or where a verdict routes it"""
    epoch: int
    key: str | None = None
    sampled: Sampled = NOT_SAMPLED
    clusters: tuple[str, ...] = ()
    tickets: dict[str, int] = field(default_factory=dict)
    routed_to: str | None = None
    started: float = 0.0


def is_idle(settings: Settings, state: State, sampled: Sampled) -> bool:
    """Whether a call needs nothing of us, so that not even its body is read."""
    return not (sampled or settings.cache or state.routes or state.raising)


def call(request: Request, protocol: WireProtocol, around: Surroundings) -> Flow:
    """Run one attempt. Ends after `Serve` or `Refuse`, or when the body is dealt with."""
    sampled = sample(around.settings, around.draws)
    idle = not around.observed and is_idle(around.settings, around.state, sampled)
    facts = None if idle else protocol.read_request(request)
    if facts is None:
        yield do.Send()
        return
    group = around.group_of(facts)
    if group in around.state.raising:
        yield do.Refuse(around.state.raising[group])
        return
    routed_to = around.state.route(group, facts.model)
    answering = routed_to or facts.model
    epoch = around.state.epoch(group, answering)
    this = _Call(request, facts, group, answering, epoch, routed_to=routed_to, started=around.clock())
    if around.settings.cache is not None and (yield from _from_cache(this, around)):
        return
    if facts.pairable and not facts.stateful:
        this.sampled = sampled
        this.clusters = _clusters(this, around) if sampled else ()
        this.tickets = _tickets(this, around)
    head = yield from _send(this, protocol, around)
    if head is None:
        return
    body: do.Body = yield do.Deliver()
    yield from _settle(this, protocol, around, head, body)


def _tickets(this: _Call, around: Surroundings) -> dict[str, int]:
    """Take places in the order of pairs before the answer is known: of dependent calls the first sampled one has the pair.

    Were it the first answered one, short answers would be favoured on the control's side alone.
    """
    drawn = [name for name in ("candidate", "repeat") if getattr(this.sampled, name)]
    opened = {name: around.open_ticket(name, this.group, this.clusters) for name in drawn}
    return {name: ticket for name, ticket in opened.items() if ticket is not None}


def _from_cache(this: _Call, around: Surroundings) -> Generator[do.Effect, Any, bool]:
    """Answer from the cache if possible; tell the reason if not. True when the call is answered."""
    cache = around.settings.cache
    assert cache is not None  # noqa: S101 - narrowed by the caller
    model = this.answering
    reason = "asked for" if around.bypass else cache_bypass(this.facts, cache)
    if reason is None and not unambiguous(this.request.body):
        reason = "repeated JSON member"
    if reason is not None:
        yield do.Emit(CacheLooked("bypass", this.group, model, reason))
        return False
    asked = {**this.facts.body, "model": model}
    this.key = cache_key(this.request, asked, secret=around.settings.secret, tenant=cache.tenant)
    began = around.clock()
    entry: StoredReply | None = yield do.Lookup(this.key)
    took = around.clock() - began
    if entry is None or stale(entry.stored_at, around.wall(), cache):
        yield do.Emit(CacheLooked("miss", this.group, model, duration=took))
        return False
    if entry.epoch < this.epoch:
        yield do.Emit(CacheLooked("bypass", this.group, model, "model changed", duration=took))
        return False
    yield do.Emit(CacheLooked("hit", this.group, model, "", entry.input_tokens, entry.output_tokens, took))
    yield do.Serve(entry)
    return True


def _send(
    this: _Call, protocol: WireProtocol, around: Surroundings
) -> Generator[do.Effect, Any, do.Head | None]:
    """Send, routed where a verdict says so; a routed request that the provider refuses is sent once as it was."""
    routed = protocol.with_model(this.request, this.facts, this.routed_to) if this.routed_to else None
    head = yield do.Send(routed)
    if (
        routed is not None
        and isinstance(head, do.Head)
        and 400 <= head.status < 500
        and head.status not in _ROUTE_KEPT
    ):
        this.routed_to = this.key = None  # what comes now is not the answer the key stands for
        head = yield do.Send()
    if isinstance(head, do.Head) and head.status < 400:
        return head
    yield from _failed(this, around, head)
    return None


def _failed(this: _Call, around: Surroundings, head: do.Head | do.Lost) -> Flow:
    """Count an attempt without an answer: missing on the control's side, and the SDK may try again."""
    status = head.status if isinstance(head, do.Head) else None
    error = head.error if isinstance(head, do.Lost) else f"status_{head.status}"
    for stream, ticket in this.tickets.items():
        yield do.Forfeit(stream, ticket, this.group, error)
    yield do.Emit(_call_made(this, around, status=status, error=error))


def _settle(this: _Call, protocol: WireProtocol, around: Surroundings, head: do.Head, body: do.Body) -> Flow:
    """Deal with what the caller has received: keep it, offer the call for pairing, tell telemetry."""
    ended = around.clock()
    if this.sampled:
        yield do.Offer(_job(this, around, head, body, latency=ended - this.started))
    if this.key is None and not around.observed:
        return
    reading = protocol.read_reply(
        head.status, head.headers, b"".join(body.chunks), streamed=this.facts.streamed
    )
    if this.key is not None:
        # Where no event marks the end, an answer that was closed early cannot be told from a whole one.
        cut = body.end == "cut" or (body.end == "closed" and not protocol.MARKS_END)
        reason = "clipped" if body.clipped else "cut" if cut else unsaved(reading)
        if reason is None:
            yield do.Save(this.key, _entry(this, around, head, body, reading))
        else:
            yield do.Emit(CacheLooked("bypass", this.group, this.answering, f"not saved: {reason}"))
    if around.observed:
        yield do.Emit(_call_made(this, around, status=head.status, reading=reading))


def _job(this: _Call, around: Surroundings, head: do.Head, body: do.Body, latency: float) -> do.Job:
    return do.Job(
        request=this.request,
        facts=this.facts,
        group=this.group,
        clusters=this.clusters,
        call=around.call,
        at=around.wall(),
        head=head,
        body=body,
        candidate_ticket=this.tickets.get("candidate"),
        repeat_ticket=this.tickets.get("repeat"),
        replay=this.sampled.replay,
        placebo=this.sampled.placebo,
        routed_to=this.routed_to,
        latency=latency,
    )


def _clusters(this: _Call, around: Surroundings) -> tuple[str, ...]:
    """Name what this call's answer depends on: its question, where equal ones have equal answers, and what was given."""
    secret = around.settings.secret
    found = [] if around.cluster is None else [cluster_digest(around.cluster, secret)]
    if this.facts.temperature == 0:
        found.append(question_digest(this.request, this.facts.body, secret))
    return tuple(found)


def _entry(this: _Call, around: Surroundings, head: do.Head, body: do.Body, reading: Reading) -> StoredReply:
    return StoredReply(
        status=head.status,
        headers=head.headers,
        chunks=body.chunks,
        stored_at=around.wall(),
        group=this.group,
        model=this.answering,
        epoch=this.epoch,
        input_tokens=reading.input_tokens or 0,
        output_tokens=reading.output_tokens or 0,
    )


def _call_made(
    this: _Call,
    around: Surroundings,
    *,
    status: int | None,
    error: str | None = None,
    reading: Reading | None = None,
) -> CallMade:
    said = reading or Reading(text="", complete=False)
    return CallMade(
        provider=this.facts.provider,
        operation=this.facts.operation,
        model=this.facts.model,
        group=this.group,
        streamed=this.facts.streamed,
        started=this.started,
        ended=around.clock(),
        status=status,
        routed_to=this.routed_to,
        error=error or said.error,
        context=around.context,
        identity=said.identity,
        response_id=said.response_id,
        finish_reason=said.finish_reason,
        input_tokens=said.input_tokens,
        output_tokens=said.output_tokens,
    )
