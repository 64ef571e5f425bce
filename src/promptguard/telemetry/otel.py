"""Turns events into metrics, and hands calls to `calls`, which makes their spans; names are in semconv.py."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from functools import lru_cache

from opentelemetry import context as otel_context
from opentelemetry import metrics, trace
from opentelemetry._logs import LogRecord

from promptguard.core import events as ev
from promptguard.core.telemetry_for import Backend
from promptguard.telemetry import semconv as name
from promptguard.telemetry.backends import attributes_for
from promptguard.telemetry.calls import Calls, unseen
from promptguard.telemetry.groups import split_group
from promptguard.telemetry.state import StateGauges

_log = logging.getLogger("promptguard")
MAX_GROUPS = 200
_UNSET = ("Proxy", "_Proxy", "NoOp", "_NoOp")
"""How classes of OpenTelemetry's own API begin that record nothing; others may be called so and record (logfire's are)."""


_told_off: set[str] = set()
"""Reasons why telemetry is off that were logged."""


_shared: tuple[object, object, tuple[Backend, ...], Telemetry] | None = None
"""Providers and backends, and what records with them."""


def _with(version: str, traces: object, meters: object, backends: tuple[Backend, ...]) -> Telemetry:
    """Return one for all clients: OpenTelemetry keeps every instrument that is made for as long as the process lives.

    Providers are told apart by identity, for they need not be hashable (logfire's are not).
    """
    global _shared  # noqa: PLW0603 - made anew where the application changes its providers
    if _shared is None or _shared[0] is not traces or _shared[1] is not meters or _shared[2] != backends:
        _shared = traces, meters, backends, Telemetry(version, backends)
    return _shared[3]


def start(version: str, backends: tuple[Backend, ...] = ()) -> Telemetry | None:
    """Return what records events; None, logged once a reason, where OpenTelemetry cannot give its providers.

    Its API loads the provider that OTEL_PYTHON_TRACER_PROVIDER or OTEL_PYTHON_METER_PROVIDER names when it is first
    asked for one, and lets through whatever comes of it: a bare StopIteration where nothing of that name is installed.
    """
    try:
        return _with(version, trace.get_tracer_provider(), metrics.get_meter_provider(), backends)
    except Exception as error:  # noqa: BLE001 - somebody else's code, and no reason to keep the application from starting
        reason = f"{type(error).__name__}: {error}".rstrip(": ")
        if reason not in _told_off:
            _told_off.add(reason)
            _log.warning(
                "telemetry is off: OpenTelemetry could not load its provider (%s); see the environment variables"
                " OTEL_PYTHON_TRACER_PROVIDER and OTEL_PYTHON_METER_PROVIDER",
                reason,
            )
        return None


def is_recorded() -> bool:
    """Whether the application has set up an SDK, so that spans or metrics go anywhere."""
    return _records(type(trace.get_tracer_provider())) or _records(type(metrics.get_meter_provider()))


@lru_cache(maxsize=64)
def _records(kind: type) -> bool:
    return not (kind.__module__.startswith("opentelemetry.") and kind.__name__.startswith(_UNSET))


def current_context() -> object:
    """Return the caller's trace context: taken when a call begins, as it may be gone when its stream ends."""
    return otel_context.get_current()


class Telemetry:
    """Records events with the application's own providers; never replaces them, never raises into a caller."""

    def __init__(self, version: str, backends: tuple[Backend, ...] = ()) -> None:
        self._groups: set[str] = set()
        self._calls = Calls(version, attributes_for(backends))
        meter = metrics.get_meter(name.SCOPE, version)
        counters = {
            each.name: meter.create_counter(each.name, each.unit, each.description)
            for each in name.EVENT_METRICS
            if each.kind == "counter"
        }
        self._lookups, self._store_events = counters[name.CACHE_LOOKUPS], counters[name.CACHE_EVENTS]
        self._pairs, self._skips, self._faults = (
            counters[each] for each in (name.PAIRS, name.SKIPPED, name.FAULTS)
        )
        time = name.METRICS[name.CACHE_DURATION]
        self._lookup_time = meter.create_histogram(
            time.name, time.unit, time.description, explicit_bucket_boundaries_advisory=time.buckets
        )
        self.state = StateGauges(meter)
        """shows the state of ledgers that it is told of"""
        self._record = {
            ev.CallMade: self._call_made,
            ev.CacheLooked: self._cache_looked,
            ev.CacheStore: self._cache_store,
            ev.PairDone: self._pair_done,
            ev.NotPaired: self._skipped,
            ev.NotRead: self._skipped,
            ev.AlarmRang: _nothing,
            ev.VerdictGiven: self._verdict_given,
            ev.Fault: self._fault,
        }

    def record(self, event: ev.Event) -> None:
        """Record one event."""
        self._record[type(event)](event)  # type: ignore[operator]

    def _prompt(self, group: str) -> str:
        """Return the prompt name for a metric; beyond MAX_GROUPS of them, one name for the rest."""
        prompt, _ = split_group(group)
        if prompt in self._groups or len(self._groups) < MAX_GROUPS:
            self._groups.add(prompt)
            return prompt
        return "_other"

    def begin(self, began: ev.CallBegan) -> ev.CallTrace:
        """Follow a call that is about to be sent to a provider."""
        return self._calls.begin(began)

    @property
    def is_recorded(self) -> bool:
        """Whether the application has set up an SDK."""
        return is_recorded()

    def unseen(self) -> AbstractContextManager[None]:
        """Keep instrumentation of others quiet in a block."""
        return unseen()

    def _call_made(self, event: ev.CallMade) -> None:
        if event.trace is not None:
            event.trace.end(event)

    def _cache_looked(self, event: ev.CacheLooked) -> None:
        attributes = {name.CACHE_RESULT: event.result, name.PROMPT_NAME: self._prompt(event.group)}
        if event.reason:
            attributes[name.CACHE_REASON] = event.reason.partition(":")[0]
        self._lookups.add(1, attributes)
        if event.result == "hit":
            prompt, version = split_group(event.group)
            named = {name.PROMPT_NAME: prompt, name.PROMPT_VERSION: version} if version else {}
            self._calls.mark_hit({name.CACHE_RESULT: "hit", **named})
        if event.duration:
            self._lookup_time.record(event.duration, {name.CACHE_RESULT: event.result})

    def _cache_store(self, event: ev.CacheStore) -> None:
        self._store_events.add(1, {name.CACHE_EVENT: event.kind})

    def _pair_done(self, event: ev.PairDone) -> None:
        prompt = self._prompt(event.group)
        self._pairs.add(
            1, {name.PAIR_OUTCOME: event.outcome, name.STREAM: event.stream, name.PROMPT_NAME: prompt}
        )

    def _skipped(self, event: ev.NotPaired | ev.NotRead) -> None:
        self._skips.add(1, {name.SKIPPED_REASON: event.reason})

    def _verdict_given(self, event: ev.VerdictGiven) -> None:
        """Tell a verdict as the convention tells the result of an evaluation."""
        prompt, version = split_group(event.group)
        attributes: dict[str, str | float] = {
            name.EVALUATION_NAME: name.EVALUATION_OF_DRIFT,
            name.EVALUATION_SCORE: event.log10_evidence,
            name.EVALUATION_LABEL: event.status,
            name.EVALUATION_EXPLANATION: event.sentence,
            name.STREAM: event.stream,
            name.PROMPT_NAME: prompt,
        }
        if version is not None:
            attributes[name.PROMPT_VERSION] = version
        self._calls.logger.emit(LogRecord(event_name=name.EVENT_EVALUATION, attributes=attributes))

    def _fault(self, event: ev.Fault) -> None:
        self._faults.add(1, {name.OPERATION_OF_OURS: event.operation, name.ERROR_TYPE: event.error})


def _nothing(_event: ev.Event) -> None:
    """Leave it to the gauges, which show state."""
