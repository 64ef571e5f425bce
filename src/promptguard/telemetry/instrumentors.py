"""Who else makes a span of a call: asked for each call, of what is really there, never of what is installed.

Our part of a call is at its transport, below the SDK's own method, which is what other instrumentation wraps. So whoever
traces this call has begun already, and is found in three ways: util-genai keeps its inference under a key of the context;
most others have made their span the current one, and its instrumentation scope tells whose it is; the rest is known by the
SDK's method, which they have replaced.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context

_KEYS = (
    "suppress_instrumentation",
    "suppress_language_model_instrumentation",
    # Made anew in each process, and private; what is built on opentelemetry-instrumentation looks here.
    getattr(otel_context, "_SUPPRESS_INSTRUMENTATION_KEY", None),
)
SUPPRESSED = tuple(key for key in _KEYS if isinstance(key, str))
"""Keys of the context under which instrumentation of others (traceloop, openinference, logfire) keeps quiet."""
_HTTP: object = getattr(otel_context, "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", None)
QUIET = (*SUPPRESSED, _HTTP) if isinstance(_HTTP, str) else SUPPRESSED
"""Those, and the one for instrumentation of HTTP clients."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """Somebody else's span of a call; `span` is None where it cannot be reached."""

    span: trace.Span | None
    counts_tokens: bool
    """they record the convention's metrics, so that ours would double them"""
    wants_quiet: bool = False
    """whoever follows the call has asked for no other spans of it"""


_SCOPES: dict[str, bool] = {
    "com.anthropic.sdk.python": False,
    "opentelemetry.instrumentation.openai": True,
    "opentelemetry.instrumentation.anthropic": True,
    "opentelemetry.instrumentation.google_generativeai": True,
    "openinference.instrumentation.": False,
    "logfire.openai": False,
    "logfire.anthropic": False,
    "langfuse-sdk": False,
}
"""How instrumentation scopes begin whose current span is that of a call → whether they record token metrics."""

_PATCHES: dict[str, bool] = {
    "opentelemetry.instrumentation.": True,
    "openinference.instrumentation.": False,
    "langfuse.openai": False,
}
"""Modules whose functions stand where an SDK's method was → whether they record token metrics."""

_PATCHING = ("opentelemetry.instrumentation", "openinference.instrumentation", "langfuse.openai")
"""Without any of these loaded, nobody has replaced anything."""

_METHODS = {
    "openai": ("openai.resources.chat.completions.completions", "Completions", "create"),
    "asyncopenai": ("openai.resources.chat.completions.completions", "AsyncCompletions", "create"),
    "anthropic": ("anthropic.resources.messages.messages", "Messages", "create"),
    "asyncanthropic": ("anthropic.resources.messages.messages", "AsyncMessages", "create"),
    "google-genai-sdk": ("google.genai.models", "Models", "generate_content"),
}
"""The SDK's name in its User-Agent → the method of its that others replace."""


def foreign_span(context: Context, agent: Callable[[], str]) -> Foreign | None:
    """Return who else makes a span of a call, or None; `agent` gives the User-Agent of the SDK that makes it.

    util-genai's own inference is looked for before (`genai_util.outer`).
    """
    span = trace.get_current_span(context)
    if span.is_recording():
        scope = getattr(getattr(span, "instrumentation_scope", None), "name", "")
        for begins, counts in _SCOPES.items():
            if scope.startswith(begins):
                return Foreign(span, counts or _patch(agent) is True)  # two may follow one call
    if any(context.get(key) for key in SUPPRESSED):
        return Foreign(_logfires(span), counts_tokens=False, wants_quiet=True)
    if _is_langsmiths():
        return Foreign(None, counts_tokens=False)
    patch = _patch(agent)
    return None if patch is None else Foreign(None, patch)


_known: dict[int, tuple[Any, bool | None]] = {}
"""id of a method → the method, and whether who replaced it counts tokens, or None"""


def _patch(agent_of: Callable[[], str]) -> bool | None:
    """Return whether who replaced the SDK's method records token metrics; None where nobody has, or keeps quiet."""
    if not any(module in sys.modules for module in _PATCHING):
        return None
    agent = agent_of()
    place = _METHODS.get(agent.partition("/")[0].lower())
    if place is None:
        return None
    module, owner, name = place
    method = vars(getattr(sys.modules.get(module), owner, object)).get(name)
    if method is None:
        return None
    kept = _known.get(id(method))
    if kept is None or kept[0] is not method:
        if len(_known) > 100:  # an application that instruments and takes it back, for ever
            _known.clear()
        kept = _known[id(method)] = (method, _counts(method))
    return None if kept[1] is None or (kept[1] is False and _is_quiet(method)) else kept[1]


def _counts(method: Any) -> bool | None:
    for each in _layers(method):
        module = _module(each)
        for begins, counts in _PATCHES.items():
            if module.startswith(begins) and not module.startswith("opentelemetry.instrumentation.genai."):
                return counts
    return None


def _layers(method: Any) -> list[Any]:
    """Return what lies around the SDK's own function, the outermost first; wrapt keeps its wrapper apart."""
    found: list[Any] = []
    while method is not None and len(found) < 20:
        found += [method] if (wrapper := getattr(method, "_self_wrapper", None)) is None else [wrapper]
        method = getattr(method, "__wrapped__", None)
    return found


def _module(function: Any) -> str:
    code = getattr(function, "__globals__", None)
    return str(code.get("__name__", "")) if code else str(type(function).__module__)


def _logfires(span: trace.Span) -> trace.Span | None:
    """Return logfire's span, where it has made an SDK's own keep quiet: that one only has the place of logfire's."""
    known: Any = getattr(sys.modules.get("logfire._internal.tracer"), "OPEN_SPANS", {})
    place = span.get_span_context()
    found: trace.Span | None = known.get((place.trace_id, place.span_id))
    return found


def _is_langsmiths() -> bool:
    """Whether LangSmith follows this call and makes a span of it afterwards: its client exports to OpenTelemetry."""
    helpers = sys.modules.get("langsmith.run_helpers")
    run = None if helpers is None else helpers.get_current_run_tree()
    if getattr(run, "run_type", None) != "llm":
        return False
    return getattr(getattr(run, "client", None), "otel_exporter", None) is not None


def _is_quiet(method: Any) -> bool:
    """Whether Langfuse's wrapper is there and none of its clients traces: it was given no keys, or told not to."""
    if not any(_module(each).startswith("langfuse") for each in _layers(method)):
        return False
    manager = getattr(sys.modules.get("langfuse._client.resource_manager"), "LangfuseResourceManager", None)
    clients: dict[str, Any] = getattr(manager, "_instances", {})
    return not any(getattr(client, "tracing_enabled", False) for client in clients.values())
