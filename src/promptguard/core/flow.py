"""A call's whole life as a generator of effects: every decision is here, no IO.

    Lookup → (Serve) → Join → Send → Deliver → Offer, Save, Complete, Emit

The generator is driven on the caller's path by `http/transport`. It is suspended at `Deliver` while the caller reads
the answer, and finishes when the caller is done with it, so that a streamed answer is judged by its terminal event.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeGuard

from promptguard.core import effects as do
from promptguard.core.caching import answered, complete, keep
from promptguard.core.canonical import canonical_json
from promptguard.core.context import CallContext, CallState, Rewriting
from promptguard.core.events import CallBegan, CallMade, NotPaired, NotRead
from promptguard.core.key import cluster_digest, covers_body, is_signed, question_digest, subject_digest
from promptguard.core.model import Facts, PromptReference, Request
from promptguard.core.policy import NOT_SAMPLED, Sampled, Settings, State, pairing_bypass, sample
from promptguard.core.protocol import WireProtocol
from promptguard.core.rollouts import Staged
from promptguard.core.streams import STORED

Flow = do.Steps[None]

_ROUTE_KEPT = frozenset({408, 409, 429})  # the SDK retries these; they are not about the model's name

_WORDS_REFUSED = frozenset({400, 401, 403, 422})
"""With those of a gateway that checks a signature over the body, which nobody here knows of."""

_CALLER_WENT = frozenset({"CancelledError", "GeneratorExit", "KeyboardInterrupt", "SystemExit"})


def is_idle(settings: Settings, state: State, sampled: Sampled) -> bool:
    """Whether a call needs nothing of us, so that not even its body is read."""
    return not (sampled or settings.cache or settings.compat or state.routes or state.raising)


def attempt(request: Request, protocol: WireProtocol, ctx: CallContext) -> Flow:
    """Run one attempt. Ends after `Serve` or `Refuse`, or when the body is dealt with."""
    sampled = sample(ctx.settings, ctx.draws, ctx.repeated)
    idle = not ctx.observed and ctx.rollouts is None and is_idle(ctx.settings, ctx.state, sampled)
    facts = None if idle else protocol.read_request(request)
    if facts is None:
        if not idle:
            yield do.Emit(NotRead(f"{protocol.NAME}: body that this protocol does not send"))
        yield do.Send()
        return
    group, prompt = ctx.identify(facts)
    refusal = ctx.state.refusal(group) if ctx.state.raising else None
    if refusal is not None:
        yield do.Refuse(refusal)
        return
    routed_to, staged = _destination(request, facts, ctx, group, prompt)
    if routed_to is not None and ctx.state.route(group, facts.model) is None:
        sampled = (
            NOT_SAMPLED  # of a rollout: who compares models in the background means those that were asked for
        )
    answering = routed_to or facts.model
    epoch = max(ctx.state.epoch(group, answering), ctx.shared_epoch(group, answering))
    call = CallState(
        request,
        facts,
        group,
        answering,
        epoch,
        prompt,
        staged=staged,
        routed_to=routed_to,
        started=ctx.clock(),
        at=ctx.wall(),
    )
    _write(call, protocol, ctx.rewriting)
    cache = ctx.settings.cache
    if cache is not None and (yield from answered(call, ctx, cache)):
        return
    try:
        yield from _draw(call, ctx, sampled)
        head = yield from _send(call, protocol, ctx)
        if head is None:
            return
        body: do.Body = yield do.Deliver()
        yield from _settle(call, protocol, ctx, head, body)
    finally:  # after a fault, or where the flow, or a part of it, was closed and collected
        for stream, slot in call.places.items():
            ctx.give_up(stream, slot, group)


def _destination(
    request: Request, facts: Facts, ctx: CallContext, group: str, prompt: PromptReference | None
) -> tuple[str | None, tuple[Staged, ...]]:
    """Return the model to ask instead, or None, and the rollouts that the call is of.

    A signature covers the model's name, so a signed call goes where it was meant to; another process may route it.
    """
    of_prompt = () if prompt is None or prompt.staged is None else (prompt.staged,)
    if is_signed(request):
        return None, of_prompt
    routed_to = ctx.state.route(group, facts.model)
    if (
        routed_to is not None
        or ctx.rollouts is None
        or facts.incomparable
        or facts.model not in ctx.rollouts.models
    ):
        return routed_to, of_prompt
    try:
        unit = ctx.unit or canonical_json([facts.messages]).hex()
    except (ValueError, RecursionError):  # a number beyond JSON, or a nest of them
        return None, of_prompt
    routed_to, staged = ctx.rollouts.model(facts.model, unit)
    return routed_to, of_prompt if staged is None else (*of_prompt, staged)


def _draw(call: CallState, ctx: CallContext, sampled: Sampled) -> Flow:
    """Decide what a drawn call is paired with; tell the reason where it cannot be paired at all."""
    if not sampled and call.prior is None:
        return
    reason = pairing_bypass(call.facts, ctx.settings)
    if reason is not None:
        yield do.Emit(NotPaired(reason, call.group))
        return
    call.sampled = sampled
    call.clusters = _clusters(call, ctx)
    # Before the answer is known: of dependent calls the first sampled one has the pair. Were it the first answered one,
    # short answers would be favoured on the control's side alone.
    call.places = ctx.take_places(_drawn(call), call.group, call.clusters)


def _drawn(call: CallState) -> tuple[str, ...]:
    """Return the streams that a call is to have places for."""
    drawn = [name for name in ("candidate", "repeat") if getattr(call.sampled, name)]
    if call.prior is not None:
        drawn.append("replay")
    elif call.sampled.replay and call.routed_to is None:
        drawn.append(STORED)
    return tuple(drawn)


def _write(call: CallState, protocol: WireProtocol, rewriting: Rewriting | None) -> None:
    """Write the request as it is sent, where that is not as the SDK built it; pairs and cache go by what is written.

    What is signed stays as it is.
    """
    if call.routed_to is not None:
        call.sent = protocol.with_model(call.request, call.facts, call.routed_to)
    if rewriting is None:
        return
    request = call.sent or call.request
    facts = call.facts if call.sent is None else protocol.read_request(request)
    if facts is None or covers_body(request):
        return
    written = rewriting.write(request, facts, call.answering, own=call.routed_to is None)
    read = None if written is None else protocol.read_request(written.request)
    if written is None or read is None:
        return
    call.sent, call.asked = written.request, read.body
    if call.routed_to is None:
        call.plain, call.rules = (call.request, call.facts), written.rules
        call.request, call.facts, call.asked = written.request, read, None


def _send(call: CallState, protocol: WireProtocol, ctx: CallContext) -> do.Steps[do.Head | None]:
    """Send; what is not as the SDK built it, and is refused, is sent once more with one change less.

    First as a verdict routes it, then to its own model as that takes it, then as it was.
    """
    undone: str | None = None
    while True:
        call.trace = (yield do.Observe(_call_began(call, ctx))) if ctx.observed else None
        head = yield do.Send(call.sent)
        if call.sent is None or not _is_refused(head, call):
            break
        if ctx.observed:  # what comes now is another call to the provider
            yield do.Emit(CallMade(call.trace, ctx.clock(), error=str(head.status)))
        if call.routed_to is not None:
            yield from _note(call, None, f"status_{head.status}")
            call.staged = ()  # what comes now is of neither version
        yield from complete(call, None, "unsaved")
        undone = _undo(call, protocol, ctx)
    if isinstance(head, do.Head) and head.status < 400:
        if undone is not None and ctx.rewriting is not None:
            ctx.rewriting.leave_alone(undone, call.rules)
        return head
    yield from _failed(call, ctx, head)
    return None


def _is_refused(head: do.Head | do.Lost, call: CallState) -> TypeGuard[do.Head]:
    """Whether a refusal may be of what was changed: another model is, or words that its own model does not take."""
    if not isinstance(head, do.Head):
        return False
    if call.routed_to is None:
        return head.status in _WORDS_REFUSED
    return 400 <= head.status < 500 and head.status not in _ROUTE_KEPT


def _undo(call: CallState, protocol: WireProtocol, ctx: CallContext) -> str | None:
    """Take back the last change of a refused request; return the model whose own request was written anew."""
    call.key = None  # what comes now is not the answer the key stands for
    call.sent = call.asked = None
    if call.plain is not None:
        (call.request, call.facts), call.plain = call.plain, None
        return call.facts.model
    call.routed_to, call.answering = None, call.facts.model
    _write(call, protocol, ctx.rewriting)
    return None


def _failed(call: CallState, ctx: CallContext, head: do.Head | do.Lost) -> Flow:
    """Count an attempt without an answer: missing on the control's side, and the SDK may try again."""
    status = head.status if isinstance(head, do.Head) else None
    error = head.error if isinstance(head, do.Lost) else f"status_{head.status}"
    yield from complete(call, None, "gone" if error in _CALLER_WENT else "failed")
    if _is_of_the_version(status, error):
        yield from _note(call, None, error)
    for stream, slot in call.places.items():
        if stream == STORED:
            continue
        # The fresh answer of a stored question is its candidate; every other call's own answer is a control.
        side: Literal["candidate_error", "control_error"] = (
            "candidate_error" if stream == "replay" else "control_error"
        )
        yield do.Abandon(stream, slot, call.group, error, side)
    if STORED in call.places:  # that there was no answer is kept like one
        nothing = _job(call, ctx, do.Head(status or 0, ()), do.Body((), "cut"), 0.0)
        yield do.Offer(replace(nothing, error=error, places={STORED: call.places[STORED]}))
    call.places = {}
    if ctx.observed:
        yield do.Emit(CallMade(call.trace, ctx.clock(), error=str(status) if status else error))


def _settle(call: CallState, protocol: WireProtocol, ctx: CallContext, head: do.Head, body: do.Body) -> Flow:
    """Deal with what the caller has received: keep it, offer the call for pairing, tell telemetry."""
    ended = ctx.clock()
    kept = False
    if call.key is not None or ctx.observed:
        reading = protocol.read_reply(
            head.status, head.headers, b"".join(body.chunks), streamed=call.facts.streamed
        )
        if ctx.observed:  # first of all, so that the offered call's span is there to be linked to
            error = reading.error and reading.error.removeprefix("status_")
            yield do.Emit(CallMade(call.trace, ended, error, reading, body.arrivals))
        kept = yield from keep(call, ctx, head, body, reading, marks_end=protocol.MARKS_END)
    if "replay" in call.places and not kept:
        # The cached answer was complete and ordinary, so the fresh one must be: otherwise the two would not be
        # exchangeable, and a share of refusals that never changed would look like a change.
        yield do.Abandon(
            "replay", call.places["replay"], call.group, "fresh answer not ordinary", "not_paired"
        )
        del call.places["replay"]
    yield from _offer(call, ctx, head, body, latency=ended - call.started)


def _offer(call: CallState, ctx: CallContext, head: do.Head, body: do.Body, latency: float) -> Flow:
    """Offer a sampled call for pairing, and one of a rollout for its evidence."""
    if call.staged:
        yield from _note(call, do.answered(_job(call, ctx, head, body, latency)))
    if call.places:
        yield do.Offer(_job(call, ctx, head, body, latency))
        call.places = {}  # whoever took the offer fills them now


def _note(call: CallState, job: do.Job | None, error: str = "") -> Flow:
    for staged in call.staged:
        yield do.NoteOutcome(staged, job, error)


def _is_of_the_version(status: int | None, error: str) -> bool:
    """Whether a failure may be the version's own: refused, or too slow; not that the provider was away or busy."""
    return "Timeout" in error if status is None else 400 <= status < 500 and status not in _ROUTE_KEPT


def _job(call: CallState, ctx: CallContext, head: do.Head, body: do.Body, latency: float) -> do.Job:
    return do.Job(
        request=call.request,
        facts=call.facts,
        group=call.group,
        clusters=call.clusters,
        call=ctx.call,
        at=call.at,
        head=head,
        body=body,
        prompt=call.prompt,
        places=call.places,
        placebo=call.sampled.placebo and STORED in call.places,
        prior=call.prior if "replay" in call.places else None,
        routed_to=call.routed_to,
        latency=latency,
        link=None if call.trace is None else call.trace.link,
        subject="" if ctx.subject is None else subject_digest(ctx.subject, ctx.settings.secret),
    )


def _clusters(call: CallState, ctx: CallContext) -> tuple[str, ...]:
    """Name what this call's answer depends on: its question, where equal ones have equal answers, and what was given."""
    secret = ctx.settings.secret
    found = [] if ctx.cluster is None else [cluster_digest(ctx.cluster, secret)]
    if call.prior is not None:  # two calls that ask one entry afresh at a time: it is paired once
        found.append(cluster_digest(f"cached {call.key} {call.prior.stored_at!r}", secret))
    if call.facts.temperature == 0:
        found.append(question_digest(call.request, call.facts.body, secret))
    return tuple(found)


def _call_began(call: CallState, ctx: CallContext) -> CallBegan:
    return CallBegan(
        facts=call.facts,
        origin=call.request.origin,
        group=call.group,
        started=ctx.clock(),
        model=call.routed_to or call.facts.model,
        routed_to=call.routed_to,
        headers=call.request.headers,
        cache=call.cache,
        drifted=ctx.state.is_drifted(call.group),
        context=ctx.context,
    )
