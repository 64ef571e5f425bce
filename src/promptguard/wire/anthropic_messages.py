"""Anthropic's messages, plain and streamed.

https://platform.claude.com/docs/en/api/messages ; read against anthropic 2.12 (types/message.py, types/raw_*_event.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from promptguard.core.model import Facts, Headers, Identity, Reading, Request
from promptguard.wire import shared
from promptguard.wire.known.anthropic_messages import KNOWN
from promptguard.wire.sse import events

NAME = "anthropic_messages"
MARKS_END = True

_ENDS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
"""Other words (`pause_turn`: to be continued) stay as they are and are ends of no ordinary answer."""
NOT_ASKED_AGAIN = frozenset({"stream", "metadata", "diagnostics", "user_profile_id"})

with_model = shared.with_body_model
background_path = shared.same_path


def speaks(method: str, path: str) -> bool:
    """Whether method and path are this protocol's, whatever prefix the base URL has."""
    return method == "POST" and path.partition("?")[0].endswith("/v1/messages")


def read_request(request: Request) -> Facts | None:
    """Read a request's body, or None when it is not what this protocol sends."""
    body = shared.json_object(request.body)
    model = None if body is None else body.get("model")
    if body is None or not isinstance(model, str):
        return None
    streamed = body.get("stream") is True
    return facts_of(request, body, protocol=NAME, provider="anthropic", model=model, streamed=streamed)


def facts_of(
    request: Request, body: Mapping[str, object], *, protocol: str, provider: str, model: str, streamed: bool
) -> Facts | None:
    """Return what a body says whose model and stream are known already; a cloud names them in the URL."""
    turns = body.get("messages")
    if not isinstance(turns, list):
        return None
    system = body.get("system")
    return Facts(
        protocol=protocol,
        provider=provider,
        operation="chat",
        model=model,
        messages=shared.as_chat(system, tuple(turns)),
        body=body,
        streamed=streamed,
        instructions=tuple(part for part in (system, body.get("tools")) if part),
        findings=KNOWN.examine(request, body),
        temperature=shared.number(body.get("temperature")),
        response_format=shared.asked_form(
            shared.members(body.get("output_config")).get("format", body.get("output_format"))
        ),
    )


def background_body(facts: Facts, model: str) -> dict[str, object]:
    """Return the body of the same question for a background call: not streamed, no names of users."""
    return {**shared.without(facts.body, NOT_ASKED_AGAIN), "model": model}


def output_bound(body: Mapping[str, object]) -> int | None:
    """Return the most tokens an answer may cost by the request's own limit, or None when it names none."""
    return shared.limit(body.get("max_tokens"))


def read_reply(status: int, headers: Headers, body: bytes, *, streamed: bool) -> Reading:
    """Read an answer from its raw bytes; plain and streamed answers of equal content give equal readings."""
    return shared.read_answer(status, headers, body, _read_stream if streamed else _read_plain)


def _read_plain(body: bytes) -> Reading:
    message = shared.record(json.loads(body))
    return _reading(message, dict(enumerate(shared.records(message["content"]))), done=True)


def _read_stream(body: bytes) -> Reading:
    return read_events(events(body))


def read_events(told: Iterable[str]) -> Reading:
    """Read a streamed answer from the data of its events. Raises what `shared.read_answer` turns into unreadable."""
    message: dict[str, object] = {}
    blocks: dict[int, dict[str, object]] = {}
    done = False
    for data in told:
        event = shared.record(json.loads(data))
        kind = event.get("type")
        if kind == "error":
            raise ValueError("the server reported an error within the stream")
        if kind == "message_start":
            message = dict(shared.record(event["message"]))
        elif kind == "content_block_start":
            blocks[shared.index(event["index"])] = {**shared.record(event["content_block"]), "partial": ""}
        elif kind == "content_block_delta":
            _add_delta(blocks[shared.index(event["index"])], shared.record(event["delta"]))
        elif kind == "message_delta":
            message.update(shared.record(event["delta"]))
            # Each count is cumulative and may be left out; what was said before stays.
            counted = {k: v for k, v in shared.record(event.get("usage") or {}).items() if v is not None}
            message["usage"] = {**shared.record(message.get("usage") or {}), **counted}
        elif kind == "message_stop":
            done = True
            break
    return _reading(message, blocks, done)


def _add_delta(block: dict[str, object], delta: Mapping[str, object]) -> None:
    if delta.get("type") == "text_delta":
        block["text"] = (shared.text(block.get("text")) or "") + (shared.text(delta.get("text")) or "")
    elif delta.get("type") == "input_json_delta":
        block["partial"] = (shared.text(block["partial"]) or "") + (
            shared.text(delta.get("partial_json")) or ""
        )


def _reading(
    message: Mapping[str, object], blocks: Mapping[int, Mapping[str, object]], done: bool
) -> Reading:
    ordered = [blocks[index] for index in sorted(blocks)]
    usage = shared.record(message.get("usage") or {})
    stop = shared.text(message.get("stop_reason"))
    details = shared.members(message.get("stop_details"))
    return Reading(
        text="".join(shared.text(b.get("text")) or "" for b in ordered if b.get("type") == "text"),
        complete=done and stop is not None,
        finish_reason=_ENDS.get(stop, stop) if stop else None,
        refusal=(shared.name(details.get("explanation")) or "refusal") if stop == "refusal" else None,
        tool_calls=tuple(
            {
                "name": shared.text(b.get("name")) or "",
                "arguments": shared.arguments(b.get("partial") or b.get("input")),
            }
            for b in ordered
            if b.get("type") == "tool_use"
        ),
        identity=Identity(
            model=shared.name(message.get("model")),
            service_tier=shared.name(usage.get("service_tier")),
            region=shared.name(usage.get("inference_geo")),
        ),
        response_id=shared.name(message.get("id")),
        # What was read from the provider's prompt cache, or written to it, is not part of `input_tokens`.
        input_tokens=shared.counts(
            usage.get("input_tokens"),
            usage.get("cache_creation_input_tokens"),
            usage.get("cache_read_input_tokens"),
        ),
        output_tokens=shared.count(usage.get("output_tokens")),
        token_details=shared.token_details(usage),
    )
