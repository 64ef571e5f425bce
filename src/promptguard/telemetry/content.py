"""Prompts and answers for spans and events, only where OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT asks for them.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/#capturing-instructions-inputs-and-outputs
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from promptguard.core.model import Facts, Reading
from promptguard.telemetry import semconv as name

VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_MODES = {
    "": (False, False),
    "no_content": (False, False),
    "span_only": (True, False),
    "event_only": (False, True),
    "span_and_event": (True, True),
}
log = logging.getLogger("promptguard")


def capture() -> tuple[bool, bool]:
    """Return whether content goes to spans, and whether to events. Neither, told once, for a value that is not known."""
    return _mode(os.environ.get(VARIABLE, "").strip().lower())


@lru_cache(maxsize=16)
def _mode(told: str) -> tuple[bool, bool]:
    if told not in _MODES:
        log.warning(
            "%s=%s is not known (NO_CONTENT, SPAN_ONLY, EVENT_ONLY, SPAN_AND_EVENT): no content is recorded",
            VARIABLE,
            told[:40],
        )
    return _MODES.get(told, (False, False))


Message = dict[str, Any]


def input_messages(facts: Facts) -> list[Message]:
    """Return what was asked as the convention writes messages; of parts that are no text, their kind alone."""
    return [_message(each) for each in facts.messages if isinstance(each, Mapping)]


def output_messages(reading: Reading) -> list[Message]:
    """Return the answer as the convention writes messages."""
    parts: list[dict[str, Any]] = []
    if reading.text:
        parts.append({"type": "text", "content": reading.text})
    for call in reading.tool_calls:
        arguments = call.get("arguments")
        parts.append({"type": "tool_call", "name": call.get("name"), "arguments": arguments})
    return [{"role": "assistant", "parts": parts, "finish_reason": reading.finish_reason or "stop"}]


def content_attributes(facts: Facts, reading: Reading) -> dict[str, str]:
    """Return the attributes that hold content, as JSON."""
    return {
        name.INPUT_MESSAGES: json.dumps(input_messages(facts), ensure_ascii=False),
        name.OUTPUT_MESSAGES: json.dumps(output_messages(reading), ensure_ascii=False),
    }


def _message(told: Mapping[str, Any]) -> Message:
    content = told.get("content", told.get("parts"))
    return {"role": str(told.get("role") or "user"), "parts": _parts(content)}


def _parts(content: object) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "content": content}]
    if not isinstance(content, list):
        return []
    return [_part(each) for each in content if isinstance(each, Mapping)]


def _part(told: Mapping[str, Any]) -> dict[str, Any]:
    text = told.get("text")
    if isinstance(text, str):
        return {"type": "text", "content": text}
    return {"type": str(told.get("type") or "other")}
