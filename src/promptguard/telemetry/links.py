"""Where a span is, as text that a ledger can keep, and back: the links of background calls."""

from __future__ import annotations

from opentelemetry import trace

from promptguard.core.events import CallBegan
from promptguard.telemetry import semconv as name


def traceparent(span: trace.Span) -> str | None:
    """Return where a span is, as W3C writes it (https://www.w3.org/TR/trace-context/#traceparent-header)."""
    place = span.get_span_context()
    if not place.is_valid:
        return None
    return f"00-{place.trace_id:032x}-{place.span_id:016x}-{place.trace_flags:02x}"


def links(began: CallBegan) -> list[trace.Link] | None:
    """Return the link to the call that a background call repeats, if it is known."""
    if began.link is None:
        return None
    try:
        _, trace_id, span_id, flags = began.link.split("-")
        place = trace.SpanContext(
            int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=trace.TraceFlags(int(flags, 16))
        )
    except ValueError:  # a ledger that says something else
        return None
    return [trace.Link(place, {name.LINK_KIND: f"{began.role}_of"})] if place.is_valid else None
