"""Turns events into spans and metrics; names are in semconv.py, content is in neither.

A span is made when its call has ended, with the times the call had, so that nothing is done before the request leaves.
Where another library already traces the same SDK, ours is the INTERNAL span `promptguard.call`: two CLIENT spans for
one call would double every token count.
"""

from __future__ import annotations

import functools
import logging
import sys
import time
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import metrics, trace

from promptguard.core import events as ev
from promptguard.telemetry import semconv as name
from promptguard.telemetry.groups import split_group
from promptguard.telemetry.state import StateGauges

_OTHER_INSTRUMENTORS = (
    ("opentelemetry.instrumentation.genai.openai", "OpenAIInstrumentor"),
    ("opentelemetry.instrumentation.openai_v2", "OpenAIInstrumentor"),
    ("openinference.instrumentation.openai", "OpenAIInstrumentor"),
)
_log = logging.getLogger("promptguard")
MAX_GROUPS = 200
_UNSET = ("Proxy", "_Proxy", "NoOp", "_NoOp")


_told_off: set[str] = set()
"""Reasons why telemetry is off that were logged."""


@functools.lru_cache(maxsize=1)
def _shared(version: str, _traces: trace.TracerProvider, _meters: metrics.MeterProvider) -> Telemetry:
    """Return one for all clients: OpenTelemetry keeps every instrument that is made for as long as the process lives."""
    return Telemetry(version)


def start(version: str) -> Telemetry | None:
    """Return what records events; None, logged once a reason, where OpenTelemetry cannot give its providers.

    Its API loads the provider that OTEL_PYTHON_TRACER_PROVIDER or OTEL_PYTHON_METER_PROVIDER names when it is first
    asked for one, and lets through whatever comes of it: a bare StopIteration where nothing of that name is installed.
    """
    try:
        return _shared(version, trace.get_tracer_provider(), metrics.get_meter_provider())
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
    providers = (trace.get_tracer_provider(), metrics.get_meter_provider())
    return any(not type(provider).__name__.startswith(_UNSET) for provider in providers)


def current_context() -> object:
    """Return the caller's trace context: taken when a call begins, as it may be gone when its stream ends."""
    return otel_context.get_current()


class Telemetry:
    """Records events with the application's own providers; never replaces them, never raises into a caller."""

    def __init__(self, version: str) -> None:
        self._tracer = trace.get_tracer(name.SCOPE_GENAI, version, schema_url=name.SCHEMA_URL)
        self._groups: set[str] = set()
        genai = metrics.get_meter(name.SCOPE_GENAI, version, schema_url=name.SCHEMA_URL)
        meter = metrics.get_meter(name.SCOPE, version)
        self._duration = genai.create_histogram(
            name.OPERATION_DURATION,
            "s",
            "duration of calls",
            explicit_bucket_boundaries_advisory=name.DURATION_BUCKETS,
        )
        self._tokens = genai.create_histogram(
            name.TOKEN_USAGE, "{token}", "tokens used", explicit_bucket_boundaries_advisory=name.TOKEN_BUCKETS
        )
        self._lookups = meter.create_counter(name.CACHE_LOOKUPS, "{lookup}", "response cache lookups")
        self._store_events = meter.create_counter(
            name.CACHE_EVENTS,
            "{event}",
            "what happened to the cache's store: tampered, unavailable, recovered",
        )
        self._lookup_time = meter.create_histogram(
            name.CACHE_DURATION,
            "s",
            "time of one lookup",
            explicit_bucket_boundaries_advisory=name.LOOKUP_BUCKETS,
        )
        self._pairs = meter.create_counter(name.PAIRS, "{pair}", "pairs by outcome")
        self._skips = meter.create_counter(
            name.SKIPPED, "{call}", "calls that could not be paired, or not be read, by reason"
        )
        self._faults = meter.create_counter(name.FAULTS, "{fault}", "faults of our own that no caller saw")
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
            ev.EvidenceMoved: _nothing,
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

    def _call_made(self, event: ev.CallMade) -> None:
        attributes: dict[str, Any] = {
            name.OPERATION: event.operation,
            name.PROVIDER: event.provider,
            name.REQUEST_MODEL: event.routed_to or event.model,
        }
        if event.identity.model:
            attributes[name.RESPONSE_MODEL] = event.identity.model
        if event.error:
            attributes[name.ERROR_TYPE] = event.error
        instrumented = _instrumented_elsewhere()
        if not instrumented:
            self._duration.record(event.ended - event.started, attributes)
            for kind, count in (("input", event.input_tokens), ("output", event.output_tokens)):
                if count is not None:
                    self._tokens.record(count, {**attributes, name.TOKEN_TYPE: kind})
        self._span(event, attributes, internal=instrumented)

    def _span(self, event: ev.CallMade, attributes: dict[str, Any], *, internal: bool) -> None:
        now, monotonic = time.time_ns(), time.monotonic()
        started = now - int((monotonic - event.started) * 1e9)
        span = self._tracer.start_span(
            "promptguard.call" if internal else f"{event.operation} {event.routed_to or event.model}",
            context=event.context,  # type: ignore[arg-type]
            kind=trace.SpanKind.INTERNAL if internal else trace.SpanKind.CLIENT,
            start_time=started,
            # All at once: a second helping would be checked and copied by the SDK a second time.
            attributes=attributes | _details(event),
        )
        if event.error:
            span.set_status(trace.StatusCode.ERROR)
        span.end(now - int((monotonic - event.ended) * 1e9))

    def _cache_looked(self, event: ev.CacheLooked) -> None:
        attributes = {name.CACHE_RESULT: event.result, name.PROMPT_NAME: self._prompt(event.group)}
        if event.reason:
            attributes[name.CACHE_REASON] = event.reason.partition(":")[0]
        self._lookups.add(1, attributes)
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

    def _fault(self, event: ev.Fault) -> None:
        self._faults.add(1, {name.OPERATION_OF_OURS: event.operation, name.ERROR_TYPE: event.error})


def _nothing(_event: ev.Event) -> None:
    """Leave it to the gauges, which show state."""


def _details(event: ev.CallMade) -> dict[str, Any]:
    prompt, version = split_group(event.group)
    found = {
        name.PROMPT_NAME: prompt if version else None,
        name.PROMPT_VERSION: version,
        name.REQUEST_STREAM: event.streamed or None,
        name.RESPONSE_ID: event.response_id,
        name.FINISH_REASONS: (event.finish_reason,) if event.finish_reason else None,
        name.INPUT_TOKENS: event.input_tokens,
        name.OUTPUT_TOKENS: event.output_tokens,
        name.FINGERPRINT: event.identity.fingerprint,
        name.ROUTED_TO: event.routed_to,
    }
    return {key: value for key, value in found.items() if value is not None}


def _instrumented_elsewhere() -> bool:
    for module_name, class_name in _OTHER_INSTRUMENTORS:
        instrumentor = getattr(sys.modules.get(module_name), class_name, None)
        if instrumentor is not None and getattr(instrumentor(), "is_instrumented_by_opentelemetry", False):
            return True
    return False
