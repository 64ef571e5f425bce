"""A call's whole life as a generator of effects: every decision is here, no IO.

    Lookup → (Serve) → Join → Send → Deliver → Offer, Save, Land, Emit

The generator is driven on the caller's path by `http/transport`. It is suspended at `Deliver` while the caller reads
the answer, and finishes when the caller is done with it, so that a streamed answer is judged by its terminal event.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any, Protocol

from promptguard.core import effects as do
from promptguard.core.caching import answered, keep, land
from promptguard.core.events import CallMade
from promptguard.core.key import cluster_digest, is_signed, question_digest
from promptguard.core.model import Facts, Headers, Reading, Request
from promptguard.core.policy import Sampled, Settings, State, sample
from promptguard.core.surroundings import Running, Surroundings

Flow = Generator[do.Effect, Any, None]

_ROUTE_KEPT = frozenset({408, 409, 429})  # the SDK retries these; they are not about the model's name

_CALLER_WENT = frozenset({"CancelledError", "GeneratorExit", "KeyboardInterrupt", "SystemExit"})


class WireProtocol(Protocol):
    """What the flow needs of a module in `wire`."""

    MARKS_END: bool

    def read_request(self, request: Request) -> Facts | None:
        """Read a request, or None when it is not what the protocol sends."""

    def read_reply(self, status: int, headers: Headers, body: bytes, *, streamed: bool) -> Reading:
        """Read an answer's raw bytes; never raises."""

    def with_model(self, request: Request, facts: Facts, model: str) -> Request:
        """Return the request with another model named."""


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
    if routed_to is not None and is_signed(request):
        routed_to = (
            None  # the signature covers the model's name; another process may route where this one cannot
        )
    answering = routed_to or facts.model
    epoch = around.state.epoch(group, answering)
    this = Running(request, facts, group, answering, epoch, routed_to=routed_to, started=around.clock())
    if routed_to is not None:
        this.routed = protocol.with_model(request, facts, routed_to)
    cache = around.settings.cache
    if cache is not None and (yield from answered(this, around, cache)):
        return
    if facts.pairable and not facts.stateful:
        this.sampled = sampled if this.prior is None else replace(sampled, replay=False)
        this.clusters = _clusters(this, around) if sampled or this.prior else ()
        this.tickets = _tickets(this, around)
    head = yield from _send(this, around)
    if head is None:
        return
    body: do.Body = yield do.Deliver()
    yield from _settle(this, protocol, around, head, body)


def _tickets(this: Running, around: Surroundings) -> dict[str, int]:
    """Take places in the order of pairs before the answer is known: of dependent calls the first sampled one has the pair.

    Were it the first answered one, short answers would be favoured on the control's side alone.
    """
    drawn = [name for name in ("candidate", "repeat") if getattr(this.sampled, name)]
    if this.prior is not None:
        drawn.append("replay")
    opened = {name: around.open_ticket(name, this.group, this.clusters) for name in drawn}
    return {name: ticket for name, ticket in opened.items() if ticket is not None}


def _send(this: Running, around: Surroundings) -> Generator[do.Effect, Any, do.Head | None]:
    """Send, routed where a verdict says so; a routed request that the provider refuses is sent once as it was."""
    head = yield do.Send(this.routed)
    if (
        this.routed is not None
        and isinstance(head, do.Head)
        and 400 <= head.status < 500
        and head.status not in _ROUTE_KEPT
    ):
        this.routed_to = this.routed = this.key = None  # what comes now is not the answer the key stands for
        yield from land(this, None, "unsaved")
        head = yield do.Send()
    if isinstance(head, do.Head) and head.status < 400:
        return head
    yield from _failed(this, around, head)
    return None


def _failed(this: Running, around: Surroundings, head: do.Head | do.Lost) -> Flow:
    """Count an attempt without an answer: missing on the control's side, and the SDK may try again."""
    status = head.status if isinstance(head, do.Head) else None
    error = head.error if isinstance(head, do.Lost) else f"status_{head.status}"
    yield from land(this, None, "gone" if error in _CALLER_WENT else "failed")
    for stream, ticket in this.tickets.items():
        # The fresh answer of a stored question is its candidate; every other call's own answer is a control.
        side: Any = "candidate_error" if stream == "replay" else "control_error"
        yield do.Forfeit(stream, ticket, this.group, error, side)
    yield do.Emit(_call_made(this, around, status=status, error=error))


def _settle(
    this: Running, protocol: WireProtocol, around: Surroundings, head: do.Head, body: do.Body
) -> Flow:
    """Deal with what the caller has received: keep it, offer the call for pairing, tell telemetry."""
    ended = around.clock()
    if this.sampled:
        yield do.Offer(_job(this, around, head, body, latency=ended - this.started))
    if this.key is None and not around.observed:
        return
    reading = protocol.read_reply(
        head.status, head.headers, b"".join(body.chunks), streamed=this.facts.streamed
    )
    kept = yield from keep(this, around, head, body, reading, marks_end=protocol.MARKS_END)
    if "replay" in this.tickets:
        yield from _pair_prior(this, around, head, body, kept, latency=ended - this.started)
    if around.observed:
        yield do.Emit(_call_made(this, around, status=head.status, reading=reading))


def _pair_prior(
    this: Running, around: Surroundings, head: do.Head, body: do.Body, kept: bool, latency: float
) -> Flow:
    """Offer the cached answer with the fresh one. The cached one was complete and ordinary, so both must be.

    Otherwise the two would not be exchangeable, and a share of refusals that never changed would look like a change.
    """
    ticket = this.tickets["replay"]
    if not kept:
        yield do.Forfeit("replay", ticket, this.group, "fresh answer not ordinary", "not_paired")
        return
    whole = _job(this, around, head, body, latency)
    alone = replace(whole, candidate_ticket=None, repeat_ticket=None, replay=False, placebo=False)
    yield do.Offer(replace(alone, prior=this.prior, prior_ticket=ticket))


def _job(this: Running, around: Surroundings, head: do.Head, body: do.Body, latency: float) -> do.Job:
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


def _clusters(this: Running, around: Surroundings) -> tuple[str, ...]:
    """Name what this call's answer depends on: its question, where equal ones have equal answers, and what was given."""
    secret = around.settings.secret
    found = [] if around.cluster is None else [cluster_digest(around.cluster, secret)]
    if this.prior is not None:  # two calls that ask one entry afresh at a time: it is paired once
        found.append(cluster_digest(f"cached {this.key} {this.prior.stored_at!r}", secret))
    if this.facts.temperature == 0:
        found.append(question_digest(this.request, this.facts.body, secret))
    return tuple(found)


def _call_made(
    this: Running,
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
