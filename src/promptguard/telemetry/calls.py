"""One call, one span: whose it is is decided when the call is sent, for each call (`Calls.begin`).

The first of these that holds: an inference of util-genai is under way around the call, and gets our part; another
instrumentor's span of this call is the current one, and gets our part; somebody's span of it cannot be reached, and ours is
an INTERNAL span without tokens beside it; nobody makes one, and ours is the CLIENT span. Metrics are recorded by us unless
whoever makes the span does. Background calls are not seen by others, and theirs is a root span of ours.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from opentelemetry import _logs, metrics, trace
from opentelemetry import context as otel_context
from opentelemetry._logs import LogRecord
from opentelemetry.context import Context

from promptguard.core.events import CallBegan, CallMade, CallTrace
from promptguard.telemetry import content, genai_util
from promptguard.telemetry import semconv as name
from promptguard.telemetry.attributes import Attributes, of_metrics, of_ours, of_span
from promptguard.telemetry.instrumentors import QUIET, Foreign, foreign_span
from promptguard.telemetry.links import links, traceparent

if TYPE_CHECKING:
    from collections.abc import Iterator

More = Callable[[CallBegan], Attributes]
"""Attributes for the prompt views of backends, of those that were asked for."""


class Calls:
    """Follows calls with the application's providers."""

    def __init__(self, version: str, more: More) -> None:
        self._version = version
        self._more = more
        self.tracer = trace.get_tracer(name.SCOPE_GENAI, version, schema_url=name.SCHEMA_URL)
        self.logger = _logs.get_logger(name.SCOPE_GENAI, version, schema_url=name.SCHEMA_URL)
        meter = metrics.get_meter(name.SCOPE_GENAI, version, schema_url=name.SCHEMA_URL)
        self._duration, self._tokens, self._first, self._gap = (
            meter.create_histogram(
                each.name, each.unit, each.description, explicit_bucket_boundaries_advisory=each.buckets
            )
            for each in name.CALL_METRICS
        )

    def begin(self, began: CallBegan) -> CallTrace:
        """Follow a call that is about to be sent."""
        ours = of_ours(began) | self._more(began)
        if began.role is not None:
            return OwnCall(self, began, ours)
        context = _context(began)
        data = genai_util.outer(context)
        if data is not None:
            genai_util.add_to(data, began, ours)
            return _Followed(_marked(context, ours))
        other = foreign_span(context, lambda: began.agent)
        if other is not None:
            if other.span is not None:
                other.span.set_attributes(ours)
            return BesideCall(self, began, ours, other)
        handler = None if began.facts.operation == "embeddings" else self._handler
        return OwnCall(self, began, ours) if handler is None else genai_util.UtilCall(handler, began, ours)

    @cached_property
    def _handler(self) -> Any | None:
        return genai_util.handler(self._version)

    def mark_hit(self, attributes: Mapping[str, Any]) -> None:
        """Say on whatever span others have begun for this call that its answer is a cached one."""
        context = otel_context.get_current()
        data = genai_util.outer(context)
        if data is not None:
            genai_util.mark_hit(data, attributes)
            _marked(context, attributes)
            return
        if not trace.get_current_span(context).get_span_context().is_valid:
            return  # nobody has begun one, or none that can be reached
        other = foreign_span(context, str)
        if other is not None and other.span is not None:
            other.span.set_attributes(attributes)

    def count(self, began: CallBegan, made: CallMade, attributes: Attributes, context: Context) -> None:
        """Record the metrics of a call within its span, for exemplars."""
        reading = made.reading
        self._duration.record(max(0.0, made.ended - began.started), attributes, context)
        for kind, tokens in (("input", reading.input_tokens), ("output", reading.output_tokens)):
            if tokens is not None:
                self._tokens.record(tokens, {**attributes, name.TOKEN_TYPE: kind}, context)
        if began.facts.streamed and made.arrivals:
            self._first.record(made.arrivals[0] - began.started, attributes, context)
            for earlier, later in itertools.pairwise(made.arrivals):
                self._gap.record(later - earlier, attributes, context)


class OwnCall:
    """A call whose span is ours. It is made when the call has ended, so that nothing is done before the request leaves."""

    def __init__(self, calls: Calls, began: CallBegan, ours: Attributes) -> None:
        self._calls = calls
        self._began = began
        self._ours = ours
        self._span: trace.Span | None = None

    @property
    def link(self) -> str | None:
        """Where the span is, once there is one."""
        return None if self._span is None else traceparent(self._span)

    def end(self, made: CallMade) -> None:
        """Make the span, with the times the call had, and record its metrics."""
        calls, began = self._calls, self._began
        to_span, to_event = content.capture()
        counted = of_metrics(began, made)
        attributes = counted | self._ours | of_span(began, made)
        texts = content.content_attributes(began.facts, made.reading) if to_span or to_event else {}
        to_wall = time.time_ns() - int(time.monotonic() * 1e9)
        parent = Context() if began.role is not None else _context(began)
        span = calls.tracer.start_span(
            f"{began.facts.operation} {began.model}",
            context=parent,
            kind=trace.SpanKind.CLIENT,
            start_time=to_wall + int(began.started * 1e9),
            # All at once: a second helping would be checked and copied by the SDK a second time.
            attributes=attributes | texts if to_span else attributes,
            links=links(began),
        )
        within = trace.set_span_in_context(span, parent)
        calls.count(began, made, counted, within)
        if to_event:
            calls.logger.emit(
                LogRecord(event_name=name.EVENT_DETAILS, attributes=attributes | texts, context=within)
            )
        if made.error:
            span.set_status(trace.StatusCode.ERROR)
        span.end(to_wall + int(made.ended * 1e9))
        self._span = span


class BesideCall:
    """A call whose span somebody else makes; where that cannot be reached, ours is beside it, without tokens."""

    def __init__(self, calls: Calls, began: CallBegan, ours: Attributes, other: Foreign) -> None:
        self._calls = calls
        self._began = began
        self._ours = ours
        self._other = other
        self.link = None if other.span is None else traceparent(other.span)

    def end(self, made: CallMade) -> None:
        """Record the metrics that nobody else does, and the span that says what is ours."""
        began, context = self._began, _context(self._began)
        if not self._other.counts_tokens:
            self._calls.count(began, made, of_metrics(began, made), context)
        if self._other.span is not None or self._other.wants_quiet:
            return
        to_wall = time.time_ns() - int(time.monotonic() * 1e9)
        attributes = self._ours if made.error is None else {**self._ours, name.ERROR_TYPE: made.error}
        span = self._calls.tracer.start_span(
            name.SPAN_BESIDE,
            context=context,
            start_time=to_wall + int(began.started * 1e9),
            attributes=attributes,
        )
        if made.error:
            span.set_status(trace.StatusCode.ERROR)
        span.end(to_wall + int(made.ended * 1e9))
        self.link = traceparent(span)


class _Followed:
    """A call that an inference of util-genai's follows: it tells all there is."""

    def __init__(self, span: trace.Span) -> None:
        self.link = traceparent(span)

    def end(self, made: CallMade) -> None:
        """Nothing: whoever began the inference ends it."""


def _marked(context: Context, attributes: Mapping[str, Any]) -> trace.Span:
    """Set attributes on the current span as well, and return it: within the inference another one may have begun."""
    span = trace.get_current_span(context)
    span.set_attributes(attributes)
    return span


def _context(began: CallBegan) -> Context:
    return began.context if isinstance(began.context, Context) else Context()


@contextmanager
def unseen() -> Iterator[None]:
    """Keep instrumentation of others quiet in this block, as far as it can be: for background calls."""
    context = genai_util.quiet(otel_context.get_current())
    for key in QUIET:
        context = otel_context.set_value(key, value=True, context=context)
    token = otel_context.attach(context)
    try:
        yield
    finally:
        otel_context.detach(token)
