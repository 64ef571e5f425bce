"""From settings to guards: everything a wrapped client needs, put together once and checked before any call."""

from __future__ import annotations

import logging
import random
import secrets
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from promptguard._version import __version__
from promptguard.arguments import Wanted
from promptguard.background_clients import Wish
from promptguard.core.background_call import BackgroundClient, OtherServer
from promptguard.core.context import Rewriting
from promptguard.core.feasibility import of_settings
from promptguard.core.options import Action, Budget, Channel, Drift, Route
from promptguard.core.policy import Settings
from promptguard.directories import Database, Place, ledger_place, local_directory
from promptguard.errors import ConfigurationError
from promptguard.following import Following
from promptguard.guarding import Interceptor, Replies, Services, SharedCalls

if TYPE_CHECKING:
    from promptguard.background.counting import Counting
    from promptguard.cache.single_flight import SingleFlight
    from promptguard.cache.tiered import Tiered
    from promptguard.grouping import Groups
    from promptguard.ledger.writer import Writer
    from promptguard.lifetime.shared import Use

log = logging.getLogger("promptguard")

KEY_FILE = "keys"
OPEN_WAIT = 0.5
"""Seconds that wrap() waits for the ledger, so that a route that stands holds for the first call already."""


class Assembly:
    """Makes the guards of one wrapped client. Raises ConfigurationError at construction for what cannot work."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self.actions = wanted.actions
        _check_packages(wanted.actions)
        _check_rules(wanted)
        self._place = _place(wanted.ledger)
        self._local = local_directory(self._place)
        self.background_wish = Wish.of(wanted.shadow, wanted.replay, str(wanted.ledger))
        """what the options say about clients for background calls"""
        self._secret_lasts = True
        """the secret is the ledger's own, and not one of this process's while the ledger cannot be read"""
        self.elsewhere: Callable[[], OtherServer | None] | None = None
        """builds the server that the second model is asked of, where it is not the application's"""
        self._guards: weakref.WeakSet[Interceptor] = weakref.WeakSet()
        self._outside: Use[Tiered] | None = None
        """the cache outside this process, if there is one"""
        self._settings = Settings(
            cache=wanted.cache,
            shadow=wanted.shadow,
            replay=wanted.replay,
            compat=wanted.compat,
            secret=secrets.token_bytes(32),
            renewing=wanted.renewing,
            fields=wanted.fields or {},
        )

    @property
    def shadows(self) -> bool:
        """Whether another model is asked in the background."""
        return self._wanted.shadow is not None

    @property
    def routes(self) -> bool:
        """Whether the application's own calls may go to another model."""
        return any(isinstance(action, Route) for action in self.actions)

    def guard(self, make_client: Callable[[], BackgroundClient]) -> Interceptor:
        """Return a guard for one HTTP client; guards of one assembly share cache and background work."""
        from promptguard.telemetry import otel

        cache, single_flight, settings = self._cached
        seed = self._wanted.seed
        guard = Interceptor(
            settings,
            groups=self._groups,
            cache=cache,
            single_flight=single_flight,
            telemetry=otel.start(__version__, self._wanted.telemetry_for),
            make_client=make_client,
            serve=self._services,
            is_recorded=otel.is_recorded,
            context=otel.current_context,
            rewriting=self._rewriting,
            knows_subjects=self._secret_lasts,
            wall=self._wanted.clock,
            rng=random.Random(seed) if seed is not None else None,
        )
        self._guards.add(guard)
        if guard.background is not None:
            guard.background.wait_open(OPEN_WAIT)
        self._following.begin()
        return guard

    @cached_property
    def _rewriting(self) -> Rewriting | None:
        if self._wanted.compat is None:
            return None
        from promptguard.compat.requests import OwnRequests

        return OwnRequests(self._wanted.compat)

    @cached_property
    def _following(self) -> Following:
        """What is rolled out, for all guards; kept in forked children, where it begins anew by itself."""
        return Following(self._place, self._wanted.clock)

    @cached_property
    def _groups(self) -> Groups:
        from promptguard.grouping import groups_of

        return groups_of(self._place, (self._wanted.drift or Drift()).max_groups)

    @cached_property
    def _cached(self) -> tuple[Replies | None, SharedCalls | None, Settings]:
        """The response cache, its calls on their way, and the settings with the secret that keys digests of credentials.

        What outlives the process (entries on disk, stored requests) needs the same secret next time.
        """
        settings, option = self._settings, self._settings.cache
        persistent = settings.shadow is not None or settings.replay is not None
        if persistent or (option is not None and option.kind != "memory"):
            kept = _kept_secret(self._place)
            self._secret_lasts = kept is not None
            settings = replace(settings, secret=kept or settings.secret)
        if option is None:
            return None, None, settings
        if option.kind == "memory":
            from promptguard.cache.memory import MemoryCache

            return MemoryCache(option.max_bytes), self._single_flight(None), settings
        from promptguard.cache.outside import acquire

        listener = weakref.WeakMethod(self._on_cache_event)
        self._outside = acquire(option, self._local, settings.secret, listener)
        return self._outside.thing, self._single_flight(self._outside.thing), settings

    def _single_flight(self, outside: Tiered | None) -> SingleFlight:
        from promptguard.cache.across import AcrossProcesses
        from promptguard.cache.single_flight import SingleFlight
        from promptguard.runtime.finishing import finish_abandoned

        if outside is None or not outside.has_meeting:
            return SingleFlight(finish_abandoned)
        return AcrossProcesses(outside, finish_abandoned)

    def _on_cache_event(self, kind: str, reason: str) -> None:
        for guard in list(self._guards)[:1]:  # they share one cache, and one of them is enough to count
            guard.on_cache_event(kind, reason)

    def _services(self, guard: Interceptor) -> Services:
        """Connect a guard to what works for it: at wrap(), and once more in each forked child. Opens no file."""
        settings, outside = guard.settings, None
        if self._outside is not None:
            from promptguard.cache.outside import again

            outside = again(self._outside.thing)
        shadow, replay = settings.shadow, settings.replay
        if shadow is None and replay is None:
            self._say_without_background()
            return Services(
                counting=self._counting(guard) if outside else None,
                cache=outside,
                following=self._following,
            )
        from promptguard.background import engine
        from promptguard.background.asker import Asker

        wanted, calls = self._wanted, guard.calls
        use = engine.acquire(
            self._place,
            wanted.drift or Drift(),
            self.actions,
            record_content=wanted.record_content,
            queue=shadow.queue if shadow else 256,
            threads=shadow.workers if shadow else 2,
            wall=wanted.clock,
        )
        background = use.thing
        background.on_groups = self._groups.known
        if outside is not None:
            ledger, state = background.ledger, background.state
            outside.thing.follow(str(self._place), lambda: (ledger.identity, state.epochs))
            _note_place(background.writer, settings)
        background.notices.add(self._unworkable())
        if guard.telemetry is not None:
            background.listen(guard.telemetry.record, guard.telemetry)
            guard.telemetry.state.watch(background.state_source)
        if replay is not None:
            background.replaying.start()
        limiter = background.limiter("shadow", shadow.budget if shadow else Budget())
        own = replay.budget if replay else None
        asker = Asker(
            guard.make_client,
            shadow=shadow,
            replay=replay,
            secret=settings.secret,
            limiter=limiter,
            replay_limiter=limiter if own is None else background.limiter("replay", own),
            calls=lambda: calls[0],
            elsewhere=self.elsewhere,
        )
        return Services(background=use, cache=outside, asker=asker, following=self._following)

    def _say_without_background(self) -> None:
        """Say what cannot work where nothing is compared; nothing is imported where there is nothing to say."""
        if any(isinstance(action, Route | Channel) or callable(action) for action in self.actions):
            from promptguard.background.notices import say

            for text in self._unworkable():
                say(self._place, text)

    def _unworkable(self) -> list[str]:
        from promptguard.background.notices import has_price
        from promptguard.background.replaying import KEPT_SECONDS

        wanted = self._wanted
        return of_settings(
            wanted.shadow,
            wanted.replay,
            wanted.drift or Drift(),
            actions=self.actions,
            cache=wanted.cache,
            kept=KEPT_SECONDS,
            priced=has_price,
        )

    def _counting(self, guard: Interceptor) -> Use[Counting]:
        """Count for the ledger what a cache outside this process did: it outlives it, so its counts should."""
        from promptguard.background.counting import Counting, countings

        place, on_fault = self._place, guard.faults.add
        use = countings.acquire(place, lambda: Counting(place, on_fault))
        _note_place(use.thing.writer, self._settings)
        return use


def _note_place(writer: Writer, settings: Settings) -> None:
    """Note on which server answers are cached: who purges a subject must look there too."""
    from promptguard.ledger.store import CACHE_PLACE

    if settings.cache is not None and settings.cache.shown:
        writer.count(CACHE_PLACE, settings.cache.shown)


def _check_rules(wanted: Wanted) -> None:
    """Raise ConfigurationError for a file of rules that cannot be read."""
    for option in (wanted.shadow, wanted.compat):
        if option is not None and option.rules is not None:
            from promptguard.compat.ruleset import rules_with

            rules_with(option.rules)


def _check_packages(actions: tuple[Action, ...]) -> None:
    channels = tuple(action for action in actions if isinstance(action, Channel))
    if channels:
        from promptguard.alerts.sending import check_installed

        check_installed(channels)


def _kept_secret(place: Place) -> bytes | None:
    """Return the secret of a ledger; None, told once, where it cannot be had."""
    from promptguard.cache.mackey import SecretUnavailable, is_shared, load_mac_key

    try:
        if isinstance(place, Database) and not is_shared():
            return _shared_secret(place)
        return load_mac_key(local_directory(place) / KEY_FILE)
    except SecretUnavailable as error:
        log.warning("%s; until then what is cached or stored is not found again by the next process", error)
        return None


def _shared_secret(database: Database) -> bytes:
    from promptguard.cache.mackey import SecretUnavailable
    from promptguard.ledger.secret import NoSecret, shared_secret

    try:
        return shared_secret(database)
    except NoSecret as error:
        raise SecretUnavailable(str(error)) from None


def _place(ledger: str | Path) -> Place:
    path = ledger_place(ledger)
    if isinstance(path, Database):
        return path
    try:
        is_file = path.is_file()
    except OSError:  # a parent that may not be looked into: told when the ledger is opened
        is_file = False
    if is_file:
        raise ConfigurationError(f"ledger={str(ledger)!r} is a file: give a directory")
    return path
