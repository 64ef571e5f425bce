"""The cache's part of a call: whether it is answered without the network, and what is kept of its answer.

    Lookup → (Choose) → hit: Serve
           → miss: Join → the answer another call got, or the lead: Lookup once more, Send, ..., Save, Land

Pure, like the flow it belongs to.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from promptguard.core import effects as do
from promptguard.core.events import CacheLooked
from promptguard.core.key import cache_key
from promptguard.core.model import Ambiguous, Reading, Request, StoredReply, header
from promptguard.core.options import Cache
from promptguard.core.policy import CHANGED, cache_bypass, unsaved, unusable, wants_variety
from promptguard.core.surroundings import Running, Surroundings
from promptguard.core.whole import broken_off

Steps = Generator[do.Effect, Any, None]

LONGEST_WAIT = 600.0
"""Seconds that a call waits for an equal one, at most, when it has no read timeout of its own."""


def answered(this: Running, around: Surroundings, cache: Cache) -> Generator[do.Effect, Any, bool]:
    """Answer from the cache if possible; tell the reason if not. True when the call is answered."""
    found = _keys(this, around, cache)
    if isinstance(found, str):
        yield do.Emit(CacheLooked("bypass", this.group, this.answering, found))
        return False
    began = around.clock()
    entry, free = yield from _look(this, around, cache, found)
    if entry is not None and cache.reask and around.reask_draw < cache.reask and this.routed_to is None:
        yield do.Emit(CacheLooked("bypass", this.group, this.answering, "asked afresh"))
        # Its answer takes the stored one's place, and is paired with it unless that has been in a pair.
        this.prior = None if entry.paired else entry
        return False
    reason = ""
    if entry is None:
        this.key = next(iter(free))
        if cache.single_flight and not (this.facts.streamed or _is_handed_out(this.request)):
            entry, reason = (yield from _join(this, around, cache, tuple(free))), "joined"
    took = around.clock() - began
    if entry is not None:
        tokens = entry.input_tokens, entry.output_tokens
        yield do.Emit(CacheLooked("hit", this.group, this.answering, reason, *tokens, took))
        yield do.Serve(entry)
        return True
    yield from _tell_miss(this, around, cache, free, took)
    return False


def _is_handed_out(request: Request) -> bool:
    """Whether the caller gets the answer with its body unread, and may wait for an equal call before reading it.

    Stainless SDKs say so in a header (`with_streaming_response`).
    """
    return request.handed_out or header(request.headers, b"x-stainless-raw-response") == b"stream"


def _keys(this: Running, around: Surroundings, cache: Cache) -> tuple[str, ...] | str:
    """Return where the answers to this question are kept, one key a variant; or why there may be none."""
    reason = "asked for" if around.bypass else cache_bypass(this.request, this.facts, around.settings)
    if reason is not None:
        return reason
    if isinstance(this.facts.body, Ambiguous):
        return "repeated JSON member"
    settings = around.settings
    # As it is sent; a call that is routed is another question, also where only its URL names the model.
    asked = this.facts.body if this.routed_to is None else {**this.facts.body, "model": this.routed_to}
    try:
        key = cache_key(
            this.routed or this.request,
            asked,
            secret=settings.secret,
            tenant=cache.tenant,
            renewed=settings.renewing,
        )
    except ValueError:
        return "number beyond JSON"
    variants = cache.variants if wants_variety(this.facts) else 1
    return (key, *(f"{key}#{number}" for number in range(1, variants)))


def _look(
    this: Running, around: Surroundings, cache: Cache, keys: tuple[str, ...]
) -> Generator[do.Effect, Any, tuple[StoredReply | None, dict[str, StoredReply | None]]]:
    """Return the entry to serve, or the keys that are free with what lies there and may not be served."""
    held: list[tuple[str, StoredReply]] = []
    free: dict[str, StoredReply | None] = {}
    for key in keys:
        entry: StoredReply | None = yield do.Lookup(key)
        if entry is None or _why_not(entry, this, around, cache):
            free[key] = entry
        else:
            held.append((key, entry))
    if free:
        return None, free
    number = 0 if len(held) == 1 else (yield do.Choose(keys[0], len(held)))
    this.key, chosen = held[number]
    return chosen, free


def _why_not(entry: StoredReply, this: Running, around: Surroundings, cache: Cache) -> str | None:
    moved = bool(entry.served) and around.moved(this.request.origin, this.answering, entry.served)
    return unusable(entry, around.wall(), this.epoch, cache, moved=moved)


def _join(
    this: Running, around: Surroundings, cache: Cache, free: tuple[str, ...]
) -> Generator[do.Effect, Any, StoredReply | None]:
    """Return the answer of an equal call; or None when this call goes on, as their leader or alone."""
    limit = this.request.timeout.get("read")
    joined: do.Joined = yield do.Join(free, LONGEST_WAIT if limit is None else min(limit, LONGEST_WAIT))
    if joined.reply is not None and not _why_not(joined.reply, this, around, cache):
        return joined.reply
    if joined.key is None:
        return None
    this.key, this.seat = joined.key, joined.seat
    # Looked up once more: another leader may have saved its answer between our first look and now.
    entry: StoredReply | None = yield do.Lookup(this.key)
    if entry is None or _why_not(entry, this, around, cache):
        return None
    yield from land(this, entry, "saved")
    return entry


def _tell_miss(
    this: Running,
    around: Surroundings,
    cache: Cache,
    free: dict[str, StoredReply | None],
    took: float,
) -> Steps:
    """Tell that nothing was served; of an entry whose model changed, that it was passed over, and pair it if asked."""
    lying = free.get(this.key or "")
    changed = lying is not None and _why_not(lying, this, around, cache) == CHANGED
    result, reason = ("bypass", CHANGED) if changed else ("miss", "")
    yield do.Emit(CacheLooked(result, this.group, this.answering, reason, duration=took))  # type: ignore[arg-type]
    if changed and lying is not None and cache.on_drift == "reask":
        this.prior = None if lying.paired or this.routed_to else lying


def keep(
    this: Running, around: Surroundings, head: do.Head, body: do.Body, reading: Reading, *, marks_end: bool
) -> Generator[do.Effect, Any, bool]:
    """Keep an answer that may be served again, and give it to those who wait; returns whether it was kept.

    `marks_end`: a streamed answer says itself that it is over. Where none does, one that was closed early cannot be told
    from a whole one.
    """
    if reading.error is None and reading.complete:
        asked = this.routed_to or this.facts.model
        yield do.Witness(
            this.request.origin, asked, reading.identity, around.wall(), to_ledger=not this.sampled
        )
    if this.key is None:
        return False
    reason = broken_off(head, body, streamed=this.facts.streamed and marks_end) or unsaved(reading)
    if reason is not None:
        yield do.Emit(CacheLooked("bypass", this.group, this.answering, f"not saved: {reason}"))
        ended = (
            "unsaved" if reading.complete else {"cut": "failed", "closed": "gone"}.get(body.end, "unsaved")
        )
        yield from land(this, None, ended)
        return False
    entry = _entry(this, around, head, body, reading)
    yield do.Save(this.key, entry)
    yield from land(this, entry, "saved")
    return True


def land(this: Running, reply: StoredReply | None, outcome: Any) -> Steps:
    """Tell those who wait for this call, if any could."""
    seat, this.seat = this.seat, None
    if seat is not None:
        yield do.Land(seat, reply, outcome)


def _entry(
    this: Running, around: Surroundings, head: do.Head, body: do.Body, reading: Reading
) -> StoredReply:
    cache = around.settings.cache
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
        served=reading.identity.model or "",
        tags=tuple(dict.fromkeys((*(cache.tags if cache else ()), *around.tags))),
        paired=this.sampled.replay or this.prior is not None,
    )
