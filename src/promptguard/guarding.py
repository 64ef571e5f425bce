"""One wrapped client: where its calls meet cache, shadow, verdicts and telemetry, all on the caller's path."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from promptguard import wire
from promptguard.core import effects as do
from promptguard.core.background_call import BackgroundClient
from promptguard.core.context import CallContext, Rewriting
from promptguard.core.events import (
    CacheLooked,
    CacheStore,
    CallBegan,
    CallTrace,
    Event,
    Fault,
    NotPaired,
    NotRead,
)
from promptguard.core.flow import Flow, attempt, is_idle
from promptguard.core.identity import who_of
from promptguard.core.model import Facts, PromptReference, Request, StoredReply
from promptguard.core.policy import Settings, State, sample
from promptguard.core.recent import RecentModels, VariantSelector
from promptguard.core.rollouts import SEEN, Table
from promptguard.lifetime.activity import call_began
from promptguard.lifetime.error_counter import ErrorCounter
from promptguard.lifetime.forks import is_unsafe, survive_fork
from promptguard.reasons import note

if TYPE_CHECKING:
    from promptguard.background import Background
    from promptguard.background.asker import Asker
    from promptguard.background.counting import Counting
    from promptguard.following import Following
    from promptguard.grouping import Groups
    from promptguard.lifetime.shared import Ending, Use
    from promptguard.telemetry.otel import Telemetry

BYPASS: ContextVar[bool] = ContextVar("promptguard_bypass", default=False)
CLUSTER: ContextVar[str | None] = ContextVar("promptguard_cluster", default=None)
GROUP: ContextVar[str | None] = ContextVar("promptguard_group", default=None)
SUBJECT: ContextVar[str | None] = ContextVar("promptguard_subject", default=None)
TAGS: ContextVar[tuple[str, ...]] = ContextVar("promptguard_cache_tags", default=())


class Replies(Protocol):
    """What a cache is on the caller's path. Either may raise."""

    def get(self, key: str) -> StoredReply | None:
        """Return the reply kept under `key`, or None."""

    def put(self, key: str, reply: StoredReply) -> None:
        """Keep `reply` under `key`."""

    def epoch(self, group: str, model: str) -> int:
        """Return how often the model behind a group was found changed, as far as those who share the cache have told."""


class SharedCalls(Protocol):
    """Equal calls on their way. Each of these may raise."""

    def join(self, keys: tuple[str, ...], seconds: float) -> do.Joined:
        """Lead the first of `keys` that is free, or wait for one, at most `seconds`."""

    async def join_async(self, keys: tuple[str, ...], seconds: float) -> do.Joined:
        """Do the same without blocking the loop."""

    def complete(self, leader: object, reply: StoredReply | None, outcome: do.Outcome) -> None:
        """End the call that `leader` leads, and wake who waits for it."""


UNKNOWN_SUBJECT = "about a subject, which could not be purged: the ledger's secret is not known"
_GOOD_NEWS = frozenset({"cache_recovered"})


class CacheTrouble(Exception):  # noqa: N818 - never raised: it carries a reason to the counters
    """Why the cache's store was of no use for a moment."""


@dataclass(frozen=True, slots=True)
class Services:
    """What works for a client off its path, shared with other clients of this process, and held while it lives."""

    background: Use[Background] | None = None
    counting: Use[Counting] | None = None
    """counts for the ledger where there is a cache on disk and no background work"""
    cache: Use[Ending] | None = None
    """the cache outside this process, if there is one"""
    asker: Asker | None = None
    following: Following | None = None
    """what is being rolled out; shared with the guards of the same client, and given up when they are collected"""


NO_SERVICES = Services()


class Interceptor:
    """The ports of one wrapped client; the drivers in `http/` call it on the caller's thread or loop."""

    def __init__(
        self,
        settings: Settings,
        *,
        groups: Groups,
        cache: Replies | None,
        single_flight: SharedCalls | None = None,
        telemetry: Telemetry | None,
        make_client: Callable[[], BackgroundClient],
        serve: Callable[[Interceptor], Services] = lambda _guard: NO_SERVICES,
        is_recorded: Callable[[], bool] = lambda: False,
        context: Callable[[], object] = lambda: None,
        rewriting: Rewriting | None = None,
        knows_subjects: bool = True,
        wall: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        cache_option = settings.cache
        self.settings = settings
        self._only_tells = not (settings.cache or settings.shadow or settings.replay or settings.compat)
        """nothing but telemetry was asked for"""
        self._groups = groups
        self.caches = cache_option is not None
        self.cache = cache
        self.telemetry = telemetry
        self.faults = ErrorCounter()
        self.calls = [0]
        """attempts begun so far; in a list, so that what asks again can read it without holding this client"""
        self.make_client = make_client
        """builds what asks again in the background"""
        self._serve = serve
        self._forked = False
        self._closed = False
        self._is_recorded = is_recorded
        self._context = context
        self._rewriting = rewriting
        self._knows_subjects = knows_subjects
        """whether what is kept of a subject could be found again to be purged"""
        self.wall = wall
        self._draw = (rng or random.Random()).random
        self._count = itertools.count(1)
        self._single_flight = single_flight
        self._turns = VariantSelector(
            None if cache_option is None or cache_option.draw == "turn" else self._draw
        )
        self._identities = RecentModels()
        self._perform: dict[type, Callable[..., object]] = {
            do.Lookup: self._lookup,
            do.Choose: self._choose,
            do.Save: self._save,
            do.Complete: self._complete,
            do.RecordIdentity: self._record_identity,
            do.Offer: self._offer,
            do.Abandon: self._abandon,
            do.NoteOutcome: lambda effect: effect.staged.table.offer(effect, effect.size),
            do.Emit: lambda effect: self.emit(effect.event),
            do.Observe: lambda effect: self.observe(effect.began),
        }
        self._connect(serve(self))
        survive_fork(self)

    def _connect(self, services: Services) -> None:
        self._services = services
        self.background = services.background.thing if services.background else None
        self.counting = services.counting.thing if services.counting else None
        self.asker = services.asker
        self.following = services.following
        if self.background is not None:
            self.faults = self.background.faults

    def begin(self, read: Callable[[], Request | None]) -> Flow | None:
        """Start the flow of one attempt, or None where nothing is to be done with it."""
        if self._forked:
            self._begin_in_child()
        call_began()
        background = self.background
        self.calls[0] = number = next(self._count)
        observed = self.telemetry is not None and self._is_recorded()
        rollouts = self._rollouts()
        if self._only_tells and not observed and rollouts is None:
            return None
        if not self._knows_subjects and SUBJECT.get() is not None:
            self.emit(NotPaired(UNKNOWN_SUBJECT, "(subject)"))
            return None
        replay = self.settings.replay
        # The fourth only where it is used: one more draw a call would give every seeded test another order.
        last = self._draw if replay is not None and replay.placebo is not None else _never
        draws = (self._draw(), self._draw(), self._draw(), last())
        repeated = 0.0 if self.asker is None else self.asker.repeats.share
        cache = self.settings.cache
        reask_draw = self._draw() if cache is not None and cache.reask else 1.0
        state = background.state if background else _NOTHING_CHANGED
        idle = not observed and rollouts is None
        if idle and is_idle(self.settings, state, sample(self.settings, draws, repeated)):
            return None
        request = read()
        if request is None:
            self.emit(NotRead("body that is not in memory"))
            return None
        protocol = wire.recognise(request)
        if protocol is None:
            if request.method == "POST":
                self.emit(NotRead(wire.unread(request)))
            return None
        ctx = CallContext(
            settings=self.settings,
            state=state,
            identify=self._identify,
            take_places=self._take_places if background else _no_places,
            give_up=background.give_up if background else _nothing,
            clock=time.monotonic,
            wall=self.wall,
            draws=draws,
            repeated=repeated,
            reask_draw=reask_draw,
            call=number,
            bypass=BYPASS.get(),
            cluster=CLUSTER.get(),
            subject=SUBJECT.get(),
            tags=TAGS.get(),
            moved=self._identities.moved,
            shared_epoch=_no_epoch if self.cache is None else self.cache.epoch,
            observed=observed,
            context=self._context(),
            rewriting=self._rewriting,
            rollouts=rollouts,
            unit=None if rollouts is None else _unit(),
        )
        return attempt(request, protocol, ctx)

    def _take_places(self, streams: tuple[str, ...], group: str, clusters: tuple[str, ...]) -> dict[str, int]:
        """Give a sampled call its places in the orders of pairs, before its answer is known."""
        background, asker = self.background, self.asker
        if background is None or asker is None:
            return {}
        return background.take_places(asker, streams, group, clusters)

    def retire(self) -> None:
        """Its client was unwrapped or wrapped anew: stored requests are asked again by others from now on."""
        if self.background is not None and self.asker is not None:
            self.background.replaying.sources.forget(self.asker, self.wall())

    def _rollouts(self) -> Table | None:
        """Return what is rolled out; None where no call has to be read for its sake."""
        table = self.following.table() if self.following is not None else _NOTHING_ROLLED_OUT
        return table if SEEN.staged or table.models else None

    def close(self) -> None:
        """Its client was closed and makes no more calls: what it shares with others is given up. Safe to call again."""
        if self._closed:
            return
        self._closed = True
        services, self._services = self._services, NO_SERVICES
        self.asker = None
        for use in (services.background, services.counting, services.cache):
            if use is not None:
                use.release()

    def after_fork(self) -> None:
        """Leave the parent's threads, locks and connections alone; runs in the child before anything else."""
        self.faults = ErrorCounter()
        _INHERITED.append(self._services)
        self._services = NO_SERVICES
        self.background, self.counting, self.asker = None, None, None
        self._forked = True

    def _begin_in_child(self) -> None:
        self._forked = False
        if not self._closed and not is_unsafe():
            self._connect(self._serve(self))

    def perform(self, effect: do.Effect) -> object:
        """Perform an effect that returns at once."""
        return self._perform[type(effect)](effect)

    def join(self, effect: do.Join) -> do.Joined:
        """Lead equal calls or wait for the one that does; alone where that fails."""
        if self._single_flight is None:
            return do.ALONE
        try:
            return self._single_flight.join(effect.keys, effect.seconds)
        except Exception as error:  # noqa: BLE001 - a call that cannot be shared is made
            self.fault("single flight", error)
            return do.ALONE

    async def join_async(self, effect: do.Join) -> do.Joined:
        """Do as `join` does, without blocking the loop."""
        if self._single_flight is None:
            return do.ALONE
        try:
            return await self._single_flight.join_async(effect.keys, effect.seconds)
        except Exception as error:  # noqa: BLE001
            self.fault("single flight", error)
            return do.ALONE

    def leave(self, leader: object) -> None:
        """Give up the lead, if it is still held."""
        self._complete(do.Complete(leader, None, "gone"))

    def fault(self, operation: str, error: BaseException) -> None:
        """Count a fault of our own."""
        self.faults.add(operation, error)
        self.emit(Fault(operation, type(error).__name__))

    def emit(self, event: Event) -> None:
        """Tell counters and telemetry; a fault in telling is counted, never raised."""
        try:
            event = _bounded(event)
            counts = self.background or self.counting
            if counts is not None:
                counts.tally(event)
            if self.telemetry is not None:
                self.telemetry.record(event)
        except Exception as error:  # noqa: BLE001 - telemetry must not harm the call it tells about
            self.faults.add("telemetry", error)

    def observe(self, began: CallBegan) -> CallTrace | None:
        """Have telemetry follow a call that is about to be sent; a fault in that is counted, never raised."""
        try:
            return None if self.telemetry is None else self.telemetry.begin(began)
        except Exception as error:  # noqa: BLE001 - telemetry must not harm the call it tells about
            self.faults.add("telemetry", error)
            return None

    def on_cache_event(self, kind: str, reason: str) -> None:
        """Count what happened to the cache's store; trouble is warned of, at most once a minute a kind."""
        if kind not in _GOOD_NEWS:
            self.faults.add(kind.replace("_", " "), CacheTrouble(reason))
        self.emit(CacheStore(kind, reason))

    def _lookup(self, effect: do.Lookup) -> StoredReply | None:
        try:
            return None if self.cache is None else self.cache.get(effect.key)
        except Exception as error:  # noqa: BLE001 - a dead cache is a miss
            self.fault("cache lookup", error)
            return None

    def _choose(self, effect: do.Choose) -> int:
        return self._turns.next(effect.key, effect.count)

    def _record_identity(self, effect: do.RecordIdentity) -> None:
        try:
            if effect.identity.model:
                self._identities.saw(effect.origin, effect.asked, effect.identity.model)
            counts = self.background or self.counting
            if effect.to_ledger and counts is not None:
                counts.note_sighting(who_of(effect.origin, effect.asked, effect.identity), effect.at)
        except Exception as error:  # noqa: BLE001 - the answer is kept whoever gave it
            self.fault("identity", error)

    def _complete(self, effect: do.Complete) -> None:
        try:
            if self._single_flight is not None:
                self._single_flight.complete(effect.leader, effect.reply, effect.outcome)
        except Exception as error:  # noqa: BLE001 - who waits has a deadline
            self.fault("single flight", error)

    def _save(self, effect: do.Save) -> None:
        try:
            if self.cache is not None:
                self.cache.put(effect.key, effect.reply)
        except Exception as error:  # noqa: BLE001 - a dead cache keeps nothing
            self.fault("cache save", error)

    def _offer(self, effect: do.Offer) -> None:
        if self.background is None:
            return
        if self.asker is None:
            self.background.refuse(effect.job, "client closed")
        else:
            self.background.offer(effect.job, self.asker)

    def _abandon(self, effect: do.Abandon) -> None:
        if self.background is not None:
            self.background.abandon(effect)

    def _identify(self, facts: Facts) -> tuple[str, PromptReference | None]:
        if facts.operation == "embeddings":
            return f"({facts.operation})", None  # no verdict about chats is about these
        from promptguard.templates.rendered import recognise

        prompt = recognise(facts.messages)
        if prompt is not None:
            return self._groups.admitted(prompt.group, always=True), prompt
        named = GROUP.get()
        if named is not None:
            return self._groups.admitted(named), None
        if not facts.instructions:
            return "(no template)", None
        return self._groups.of_instructions(facts.instructions), None


def _bounded(event: Event) -> Event:
    """Return the event with a reason that may be a label, and tell the reason if it is new."""
    if isinstance(event, NotPaired):
        return replace(event, reason=note("not paired", event.reason))
    if isinstance(event, NotRead):
        return replace(event, reason=note("neither cached nor paired", event.reason))
    if isinstance(event, CacheLooked) and event.result == "bypass":
        return replace(event, reason=note("not cached", event.reason))
    return event


def _unit() -> str | None:
    from promptguard.templates.rendered import UNIT

    return UNIT.get()


_NOTHING_CHANGED = State()
_NOTHING_ROLLED_OUT = Table()

_INHERITED: list[object] = []
"""What came through a fork: kept, because closing connections would be a use of them."""


def _never() -> float:
    return 1.0


def _no_epoch(_group: str, _model: str) -> int:
    return 0


def _nothing(_stream: str, _ticket: int, _group: str) -> None:
    """Give up no place: there is none."""


def _no_places(_streams: tuple[str, ...], _group: str, _clusters: tuple[str, ...]) -> dict[str, int]:
    return {}
