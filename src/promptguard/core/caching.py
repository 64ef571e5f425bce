"""The cache's part of a call: whether it is answered without the network, and what is kept of its answer.

    Lookup → (Choose) → hit: Serve
           → miss: Join → the answer another call got, or the lead: Lookup once more, Send, ..., Save, Complete

Pure, like the flow it belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping

from promptguard.core import effects as do
from promptguard.core.body_completeness import broken_off
from promptguard.core.context import CallContext, CallState
from promptguard.core.events import CacheLooked
from promptguard.core.key import cache_key, subject_digest, subject_tag
from promptguard.core.model import Ambiguous, BodyEnd, Reading, Request, StoredReply, header
from promptguard.core.options import Cache
from promptguard.core.policy import CHANGED, cache_bypass, unsaved, unusable, wants_variety
from promptguard.core.streams import CALL, STORED

_ENDED: Mapping[BodyEnd, do.Outcome] = {"cut": "failed", "closed": "gone"}

LONGEST_WAIT = 600.0
"""Seconds that a call waits for an equal one, at most, when it has no read timeout of its own."""


def answered(call: CallState, ctx: CallContext, cache: Cache) -> do.Steps[bool]:
    """Answer from the cache if possible; tell the reason if not. True when the call is answered."""
    found = _keys(call, ctx, cache)
    if isinstance(found, str):
        call.cache = "bypass"
        yield do.Emit(CacheLooked("bypass", call.group, call.answering, found))
        return False
    began = ctx.clock()
    entry, free = yield from _look(call, ctx, cache, found)
    if entry is not None and cache.reask and ctx.reask_draw < cache.reask and call.routed_to is None:
        call.cache = "bypass"
        yield do.Emit(CacheLooked("bypass", call.group, call.answering, "asked afresh"))
        # Its answer takes the stored one's place, and is paired with it unless that has been in a pair.
        call.prior = None if entry.paired else entry
        return False
    reason = ""
    if entry is None:
        call.key = next(iter(free))
        if cache.single_flight and not (call.facts.streamed or _is_handed_out(call.request)):
            entry, reason = (yield from _join(call, ctx, cache, tuple(free))), "joined"
    took = ctx.clock() - began
    if entry is not None:
        tokens = entry.input_tokens, entry.output_tokens
        yield do.Emit(CacheLooked("hit", call.group, call.answering, reason, *tokens, took))
        yield do.Serve(entry)
        return True
    yield from _tell_miss(call, ctx, cache, free, took)
    return False


def _is_handed_out(request: Request) -> bool:
    """Whether the caller gets the answer with its body unread, and may wait for an equal call before reading it.

    Stainless SDKs say so in a header (`with_streaming_response`).
    """
    return request.handed_out or header(request.headers, b"x-stainless-raw-response") == b"stream"


def _keys(call: CallState, ctx: CallContext, cache: Cache) -> tuple[str, ...] | str:
    """Return where the answers to this question are kept, one key a variant; or why there may be none."""
    if ctx.state.bypasses(call.group, call.facts.model):
        return "drift"
    reason = "asked for" if ctx.bypass else cache_bypass(call.request, call.facts, ctx.settings)
    if reason is not None:
        return reason
    if isinstance(call.facts.body, Ambiguous):
        return "repeated JSON member"
    settings = ctx.settings
    # As it is sent; a call that is routed is another question, also where only its URL names the model.
    asked = call.asked or call.facts.body
    if call.routed_to is not None:
        asked = {**asked, "model": call.routed_to}
    try:
        key = cache_key(
            call.sent or call.request,
            asked,
            secret=settings.secret,
            tenant=cache.tenant,
            renewed=settings.renewing,
        )
    except ValueError:
        return "number beyond JSON"
    variants = cache.variants if wants_variety(call.facts) else 1
    return (key, *(f"{key}#{number}" for number in range(1, variants)))


def _look(
    call: CallState, ctx: CallContext, cache: Cache, keys: tuple[str, ...]
) -> do.Steps[tuple[StoredReply | None, dict[str, StoredReply | None]]]:
    """Return the entry to serve, or the keys that are free with what lies there and may not be served."""
    held: list[tuple[str, StoredReply]] = []
    free: dict[str, StoredReply | None] = {}
    for key in keys:
        entry: StoredReply | None = yield do.Lookup(key)
        if entry is None or _why_not(entry, call, ctx, cache):
            free[key] = entry
        else:
            held.append((key, entry))
    if free:
        return None, free
    number = 0 if len(held) == 1 else (yield do.Choose(keys[0], len(held)))
    call.key, chosen = held[number]
    return chosen, free


def _why_not(entry: StoredReply, call: CallState, ctx: CallContext, cache: Cache) -> str | None:
    moved = bool(entry.served) and ctx.moved(call.request.origin, call.answering, entry.served)
    return unusable(entry, ctx.wall(), call.epoch, cache, moved=moved)


def _join(
    call: CallState, ctx: CallContext, cache: Cache, free: tuple[str, ...]
) -> do.Steps[StoredReply | None]:
    """Return the answer of an equal call; or None when this call goes on, as their leader or alone."""
    limit = call.request.timeout.get("read")
    joined: do.Joined = yield do.Join(free, LONGEST_WAIT if limit is None else min(limit, LONGEST_WAIT))
    if joined.reply is not None and not _why_not(joined.reply, call, ctx, cache):
        return joined.reply
    if joined.key is None:
        return None
    call.key, call.leader = joined.key, joined.leader
    # Looked up once more: another leader may have saved its answer between our first look and now.
    entry: StoredReply | None = yield do.Lookup(call.key)
    if entry is None or _why_not(entry, call, ctx, cache):
        return None
    yield from complete(call, entry, "saved")
    return entry


def _tell_miss(
    call: CallState,
    ctx: CallContext,
    cache: Cache,
    free: dict[str, StoredReply | None],
    took: float,
) -> do.Steps[None]:
    """Tell that nothing was served; of an entry whose model changed, that it was passed over, and pair it if asked."""
    lying = free.get(call.key or "")
    changed = lying is not None and _why_not(lying, call, ctx, cache) == CHANGED
    call.cache, reason = ("bypass", CHANGED) if changed else ("miss", "")
    yield do.Emit(CacheLooked(call.cache, call.group, call.answering, reason, duration=took))
    if changed and lying is not None and cache.on_drift == "reask":
        call.prior = None if lying.paired or call.routed_to else lying


def keep(
    call: CallState, ctx: CallContext, head: do.Head, body: do.Body, reading: Reading, *, marks_end: bool
) -> do.Steps[bool]:
    """Keep an answer that may be served again, and give it to those who wait; returns whether it was kept.

    `marks_end`: a streamed answer says itself that it is over. Where none does, one that was closed early cannot be told
    from a whole one.
    """
    if reading.error is None and reading.complete:
        asked = call.routed_to or call.facts.model
        yield do.RecordIdentity(
            call.request.origin, asked, reading.identity, ctx.wall(), to_ledger=CALL not in call.places
        )
    if call.key is None:
        return False
    reason = broken_off(head, body, streamed=call.facts.streamed and marks_end) or unsaved(reading)
    if reason is not None:
        yield do.Emit(CacheLooked("bypass", call.group, call.answering, f"not saved: {reason}"))
        yield from complete(call, None, "unsaved" if reading.complete else _ENDED.get(body.end, "unsaved"))
        return False
    entry = _entry(call, ctx, head, body, reading)
    yield do.Save(call.key, entry)
    yield from complete(call, entry, "saved")
    return True


def complete(call: CallState, reply: StoredReply | None, outcome: do.Outcome) -> do.Steps[None]:
    """Tell those who wait for this call, if any could."""
    leader, call.leader = call.leader, None
    if leader is not None:
        yield do.Complete(leader, reply, outcome)


def _entry(call: CallState, ctx: CallContext, head: do.Head, body: do.Body, reading: Reading) -> StoredReply:
    cache, tags = ctx.settings.cache, ctx.tags
    if ctx.subject is not None:
        tags = (*tags, subject_tag(subject_digest(ctx.subject, ctx.settings.secret)))
    return StoredReply(
        status=head.status,
        headers=head.headers,
        chunks=body.chunks,
        stored_at=ctx.wall(),
        group=call.group,
        model=call.answering,
        epoch=call.epoch,
        input_tokens=reading.input_tokens or 0,
        output_tokens=reading.output_tokens or 0,
        served=reading.identity.model or "",
        tags=tuple(dict.fromkeys((*(cache.tags if cache else ()), *tags))),
        paired=STORED in call.places or "replay" in call.places,
    )
