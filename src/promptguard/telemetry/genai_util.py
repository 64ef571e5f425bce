"""The one place that knows `opentelemetry-util-genai` (extra `promptguard[otel]`), which is young and moves.

It has inference invocations: whoever begins one while another is under way makes no span, and what it knows is put on the
outer one. So where an official instrumentor has begun the call, our part is added to its span and metrics; where nobody
has, the invocation is ours. `tests/telemetry/test_util_genai.py` holds it to what is used here.
"""

from __future__ import annotations

import importlib
import logging
import sys
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from promptguard.core.events import CallBegan, CallMade
from promptguard.core.parameters import request_parameters
from promptguard.telemetry import content
from promptguard.telemetry import semconv as name
from promptguard.telemetry.attributes import prompt_of, server_of
from promptguard.telemetry.links import traceparent

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY = "opentelemetry.genai.client.inference.context"
_MODULE = "opentelemetry.util.genai.invocation"
_SERIES = "1.3"
"""Releases with this API; pyproject.toml has the same range."""
log = logging.getLogger("promptguard")


def outer(context: Context) -> Any | None:
    """Return the data of the inference that an instrumentor has begun around this call, or None. Imports nothing."""
    data = otel_context.get_value(_KEY, context)
    known = getattr(sys.modules.get(_MODULE), "InferenceData", None)
    return data if known is not None and isinstance(data, known) else None


def quiet(context: Context) -> Context:
    """Return `context` as it is within an inference, so that instrumentors over util-genai make no span."""
    known = getattr(sys.modules.get(_MODULE), "InferenceData", None)
    return context if known is None else otel_context.set_value(_KEY, known(), context)


def add_to(data: Any, began: CallBegan, attributes: Mapping[str, Any]) -> None:
    """Put what we know of a call on the span of the inference that is under way, and mark a hit in its metrics."""
    data.prompt_name, data.prompt_version = prompt_of(began)
    data.attributes.update(attributes)


def mark_hit(data: Any, attributes: Mapping[str, Any]) -> None:
    """Say on span and metrics of the inference under way that the answer is a cached one: nothing was billed."""
    data.attributes.update(attributes)
    data.metric_attributes[name.CACHE_RESULT] = "hit"


def handler(version: str) -> Any | None:
    """Return what begins inferences with the application's providers of now; None where the library cannot be used."""
    try:
        told = importlib.import_module("opentelemetry.util.genai.version").__version__
        if not told.startswith(_SERIES):
            log.info("opentelemetry-util-genai %s is not known; spans are made without it", told)
            return None
        return importlib.import_module("opentelemetry.util.genai.handler").TelemetryHandler(
            instrumentation_scope_name=name.SCOPE_GENAI, instrumentation_scope_version=version
        )
    except ModuleNotFoundError:
        return None
    except Exception as error:  # noqa: BLE001 - somebody else's code; spans are made without it
        log.info(
            "opentelemetry-util-genai cannot be used (%s); spans are made without it", type(error).__name__
        )
        return None


class UtilCall:
    """An inference of our own, begun when the call is sent."""

    def __init__(self, handler: Any, began: CallBegan, attributes: Mapping[str, Any]) -> None:
        address, port = server_of(began.origin)
        self._began = began
        self._invocation = handler.inference(
            began.facts.provider,
            request_model=began.model,
            server_address=address,
            server_port=port,
            operation_name=began.facts.operation,
            context=began.context,
            _attach_to_context=False,
        )
        self._invocation.data.prompt_name, self._invocation.data.prompt_version = prompt_of(began)
        self._invocation.attributes.update(attributes)

    @property
    def link(self) -> str | None:
        """Where the span is."""
        return traceparent(self._invocation.span)

    def end(self, made: CallMade) -> None:
        """Tell the inference what the call brought, and end it."""
        from opentelemetry.util.genai.types import Error

        invocation, data, reading = self._invocation, self._invocation.data, made.reading
        for parameter, value in request_parameters(self._began.facts).items():
            field = parameter if parameter in {"output_type", "conversation_id"} else f"request_{parameter}"
            setattr(data, field, list(value) if isinstance(value, tuple) else value)
        data.request_stream = self._began.facts.streamed or None
        data.response_model = reading.identity.model
        data.response_id = reading.response_id
        data.response_finish_reasons = [reading.finish_reason] if reading.finish_reason else None
        data.usage_input_tokens, data.usage_output_tokens = reading.input_tokens, reading.output_tokens
        data.usage_cache_read_input_tokens = reading.token_details.cache_read
        data.usage_cache_write_input_tokens = reading.token_details.cache_write
        data.usage_reasoning_output_tokens = reading.token_details.reasoning
        if reading.identity.fingerprint:
            invocation.attributes[name.FINGERPRINT] = reading.identity.fingerprint
        self._chunks(made)
        if invocation.should_capture_content:
            self._content(made)
        if made.error is None:
            invocation.stop()
        else:
            invocation.fail(Error(message=made.error, type=made.error))

    def _chunks(self, made: CallMade) -> None:
        """Tell when the chunks came: `record_stream_chunk` would take the present for it."""
        if not self._began.facts.streamed:
            return
        late = self._invocation._monotonic_start_s - self._began.started
        for arrival in made.arrivals:
            self._invocation._on_stream_chunk(arrival + late)

    def _content(self, made: CallMade) -> None:
        from opentelemetry.util.genai.types import InputMessage, OutputMessage, Text

        def texts(parts: list[dict[str, Any]]) -> list[Any]:
            return [Text(content=part["content"]) for part in parts if part["type"] == "text"]

        self._invocation.input_messages = [
            InputMessage(role=told["role"], parts=texts(told["parts"]))
            for told in content.input_messages(self._began.facts)
        ]
        self._invocation.output_messages = [
            OutputMessage(role=told["role"], parts=texts(told["parts"]), finish_reason=told["finish_reason"])
            for told in content.output_messages(made.reading)
        ]
