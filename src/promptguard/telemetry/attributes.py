"""What is told of one call: as attributes of its span, whoever made that, and of its metrics."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from promptguard.core.events import CallBegan, CallMade
from promptguard.core.parameters import request_parameters
from promptguard.telemetry import semconv as name
from promptguard.telemetry.groups import split_group

Attributes = dict[str, Any]


def prompt_of(began: CallBegan) -> tuple[str | None, str | None]:
    """Return name and version of the prompt a call was rendered from; None and None for any other call."""
    prompt, version = split_group(began.group)
    return (prompt, version) if version else (None, None)


@lru_cache(maxsize=256)
def server_of(origin: str) -> tuple[str | None, int | None]:
    """Return host and port of `scheme://host[:port]`; no port where none is named."""
    place = origin.partition("://")[2]
    host, colon, port = place.rpartition(":")
    if colon and port.isdigit():
        return host.strip("[]") or None, int(port)
    return place.strip("[]") or None, None


def of_ours(began: CallBegan) -> Attributes:
    """Return what PromptGuard alone knows of a call."""
    prompt, version = prompt_of(began)
    return _told({
        name.PROMPT_NAME: prompt,
        name.PROMPT_VERSION: version,
        name.CACHE_RESULT: began.cache,
        name.ROUTED_TO: began.routed_to,
        name.VERDICT: "drift" if began.drifted else None,
        name.ROLE: began.role,
    })  # fmt: skip


def of_metrics(began: CallBegan, made: CallMade) -> Attributes:
    """Return the attributes of a call's metrics."""
    address, port = server_of(began.origin)
    return _told({
        name.OPERATION: began.facts.operation,
        name.PROVIDER: began.facts.provider,
        name.REQUEST_MODEL: began.model,
        name.RESPONSE_MODEL: made.reading.identity.model,
        name.SERVER_ADDRESS: address,
        name.SERVER_PORT: port,
        name.ERROR_TYPE: made.error,
        name.ROLE: began.role,
    })  # fmt: skip


def of_span(began: CallBegan, made: CallMade) -> Attributes:
    """Return what a span has beside `of_metrics` and `of_ours`."""
    reading = made.reading
    streamed = began.facts.streamed
    found: Attributes = {
        name.REQUEST[parameter]: value for parameter, value in request_parameters(began.facts).items()
    }
    told = {
        name.REQUEST_STREAM: streamed or None,
        name.RESPONSE_ID: reading.response_id,
        name.FINISH_REASONS: (reading.finish_reason,) if reading.finish_reason else None,
        name.INPUT_TOKENS: reading.input_tokens,
        name.OUTPUT_TOKENS: reading.output_tokens,
        name.CACHE_READ_TOKENS: reading.token_details.cache_read or None,
        name.CACHE_WRITE_TOKENS: reading.token_details.cache_write or None,
        name.REASONING_TOKENS: reading.token_details.reasoning or None,
        name.FIRST_CHUNK: made.arrivals[0] - began.started if streamed and made.arrivals else None,
        name.FINGERPRINT: reading.identity.fingerprint,
    }
    return found | _told(told)


def _told(values: Attributes) -> Attributes:
    return {key: value for key, value in values.items() if value is not None}
