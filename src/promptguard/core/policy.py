"""What is done with a call: cached or not, paired or not, sent where. Pure decisions, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from promptguard.core.epochs import EVERY_GROUP
from promptguard.core.fields import FieldEffect, objected
from promptguard.core.key import is_signed, renews
from promptguard.core.model import Facts, Reading, Request, StoredReply
from promptguard.core.options import Cache, Compat, Replay, Shadow, seconds

ORDINARY_ENDS = frozenset({"stop", "tool_calls", "function_call"})
"""Finish reasons of an answer that said what it had to say; `length` and `content_filter` are never cached."""

NEEDS_TENANT = "renewed token: Cache(tenant=...) is needed"
"""A token that is new every hour tells nobody apart for long, and one that is shared tells nobody apart at all."""

_OTHER_ENDS = frozenset({"length", "content_filter"})

CHANGED = "model changed"

EFFECT_PAIRS = 50
"""Pairs of the unrouted alias after a Route, from which the size of the change is measured."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What wrap() was told, as far as a call needs it."""

    cache: Cache | None = None
    shadow: Shadow | None = None
    replay: Replay | None = None
    compat: Compat | None = None
    """the application's own requests are written as their model takes them"""
    secret: bytes = b""
    """keys the digest of the principal; never leaves the process"""
    renewing: bool = False
    """the client gets a new credential when one runs out"""
    fields: Mapping[str, FieldEffect] = field(default_factory=dict)
    """what the user knows of fields, by the names that reasons give them"""


@dataclass(slots=True)
class State:
    """What verdicts have changed for later calls; written by the evaluator, read by every call.

    The group `EVERY_GROUP` stands for all: a change that only all prompts together show.

    Dictionaries are replaced, never mutated, so that a call sees one consistent state without a lock.
    """

    routes: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(group, model asked) → model to ask instead"""
    epochs: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(group, model asked) → verdict epoch; cached answers of an older epoch are not served"""
    raising: Mapping[str, str] = field(default_factory=dict)
    """group → what DriftDetected says on its next call"""
    bypassing: frozenset[tuple[str, str]] = frozenset()
    """(group, model asked) whose calls are not answered from the cache"""
    drifted: frozenset[str] = frozenset()
    """groups with an alarm that nobody has acknowledged"""

    def route(self, group: str, model: str) -> str | None:
        """Return the model to ask instead, or None."""
        return self.routes.get((group, model)) or self.routes.get((EVERY_GROUP, model))

    def epoch(self, group: str, model: str) -> int:
        """Return the verdict epoch that fresh answers belong to."""
        return self.epochs.get((group, model), 0) + self.epochs.get((EVERY_GROUP, model), 0)

    def refusal(self, group: str) -> str | None:
        """Return what DriftDetected says on the next call of a group, or None."""
        return self.raising.get(group) or self.raising.get(EVERY_GROUP)

    def bypasses(self, group: str, model: str) -> bool:
        """Whether a call must not be answered from the cache."""
        return (group, model) in self.bypassing or (EVERY_GROUP, model) in self.bypassing

    def is_drifted(self, group: str) -> bool:
        """Whether an alarm of a group stands."""
        return group in self.drifted or EVERY_GROUP in self.drifted


def wants_variety(facts: Facts) -> bool:
    """Whether a call says that it wants another answer each time."""
    return facts.choices > 1 or (facts.temperature is not None and facts.temperature > 0)


def cache_bypass(request: Request, facts: Facts, settings: Settings) -> str | None:
    """Why a call must not be answered from the cache, or None when it may be."""
    cache = settings.cache
    if cache is None:
        return "no cache"
    reason = objected(facts.findings, facts.body, settings.fields, kept=True)
    if reason is not None:
        return reason
    if not cache.tenant and (settings.renewing or (renews(request) and not is_signed(request))):
        return NEEDS_TENANT
    if not cache.sampled and facts.temperature is not None and facts.temperature > 0:
        return "temperature above 0"
    if not cache.sampled and facts.choices > 1:
        return "n above 1"
    return None


def pairing_bypass(facts: Facts, settings: Settings) -> str | None:
    """Why a call must not be asked again in the background, or None when it may be."""
    return facts.incomparable or objected(facts.findings, facts.body, settings.fields, kept=False)


def unsaved(reading: Reading) -> str | None:
    """Why an answer must not be kept, or None when it is complete and ordinary."""
    if reading.error:
        return reading.error
    if not reading.complete:
        return "incomplete"
    if reading.refusal:
        return "refusal"
    for end in (reading.finish_reason, *reading.other_ends):
        if end not in ORDINARY_ENDS:
            # Only known words: reasons become counters, and a provider may say anything here.
            return f"finish_reason {end if end in _OTHER_ENDS else 'unknown'}"
    return None


def unusable(entry: StoredReply, now: float, epoch: int, cache: Cache, *, moved: bool) -> str | None:
    """Why an entry must not be served, or None when it may be."""
    if stale(entry.stored_at, now, cache):
        return "stale"
    if cache.on_drift != "keep" and (entry.epoch < epoch or moved):
        return CHANGED
    return None


def stale(stored_at: float, now: float, cache: Cache) -> bool:
    """Whether an entry is older than the TTL; an age below zero means the clock jumped and is never trusted."""
    if cache.ttl is None:
        return False
    return not 0.0 <= now - stored_at <= seconds(cache.ttl, "ttl")


@dataclass(frozen=True, slots=True)
class Sampled:
    """Which background work a call was drawn for, before its answer is known."""

    candidate: bool = False
    repeat: bool = False
    replay: bool = False
    placebo: bool = False
    """the pinned snapshot is asked too, with `replay` only"""

    def __bool__(self) -> bool:
        return self.candidate or self.repeat or self.replay


NOT_SAMPLED = Sampled()


def sample(settings: Settings, draws: tuple[float, float, float, float], repeated: float) -> Sampled:
    """Decide by four uniform draws from [0, 1); drawn before the answer, or the null is false (docs/explanation).

    `repeated` is the share of sampled calls that ask their own model again: it may depend on earlier calls, not on this.
    """
    shadow, replay = settings.shadow, settings.replay
    drawn = shadow is not None and draws[0] < shadow.sample
    repeat = drawn and shadow is not None and draws[1] < repeated
    banked = replay is not None and draws[2] < replay.share
    if not drawn and not banked:
        return NOT_SAMPLED
    placebo = banked and replay is not None and replay.placebo is not None and draws[3] < replay.placebo_share
    # a call that asks its own model again asks the second one too: three answers tell more than two
    only = repeat and shadow is not None and shadow.asks_nobody_else
    return Sampled(candidate=drawn and not only, repeat=repeat, replay=banked, placebo=placebo)
