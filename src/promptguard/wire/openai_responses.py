"""OpenAI's responses, plain and streamed.

https://platform.openai.com/docs/api-reference/responses ; read against openai 3.54 (types/responses/). What the
provider keeps by default (`store` absent) no later call depends on unless it says so: see wire/known/openai_responses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from promptguard.core.model import Facts, Headers, Identity, Reading, Request
from promptguard.wire import shared
from promptguard.wire.known.openai_responses import KNOWN
from promptguard.wire.sse import events

NAME = "openai_responses"
MARKS_END = True

_TERMINAL = frozenset(("response.completed", "response.failed", "response.incomplete"))
_CUT_SHORT = {"max_output_tokens": "length", "content_filter": "content_filter"}
_NOT_ASKED_AGAIN = frozenset(
    ("stream", "stream_options", "metadata", "user", "safety_identifier", "prompt_cache_key")
)

with_model = shared.with_body_model
background_path = shared.same_path


def speaks(method: str, path: str) -> bool:
    """Whether method and path are this protocol's, whatever prefix the base URL has."""
    return method == "POST" and path.partition("?")[0].endswith("/responses")


def read_request(request: Request) -> Facts | None:
    """Read a request's body, or None when it is not what this protocol sends."""
    body = shared.json_object(request.body)
    model = None if body is None else body.get("model")
    if body is None or not isinstance(model, str) or "input" not in body:
        return None
    asked = body["input"]
    turns = ({"role": "user", "content": asked},) if isinstance(asked, str) else shared.items(asked)
    instructions = body.get("instructions")
    said = shared.said_by(turns, "system", "developer")
    return Facts(
        protocol=NAME,
        provider="openai",
        operation="chat",
        model=model,
        messages=shared.as_chat(instructions, turns),
        body=body,
        streamed=body.get("stream") is True,
        instructions=tuple(part for part in (instructions, *said, body.get("tools")) if part),
        findings=KNOWN.examine(request, body),
        temperature=shared.number(body.get("temperature")),
        response_format=shared.asked_form(shared.members(body.get("text")).get("format")),
    )


def background_body(facts: Facts, model: str) -> dict[str, object]:
    """Return the body of the same question for a background call: not streamed, nothing kept at the provider."""
    return {**shared.without(facts.body, _NOT_ASKED_AGAIN), "model": model, "store": False}


def output_bound(body: Mapping[str, object]) -> int | None:
    """Return the most tokens an answer may cost by the request's own limit, or None when it names none."""
    return shared.limit(body.get("max_output_tokens"))


def read_reply(status: int, headers: Headers, body: bytes, *, streamed: bool) -> Reading:
    """Read an answer from its raw bytes; plain and streamed answers of equal content give equal readings."""
    return shared.read_answer(status, headers, body, _read_stream if streamed else _read_plain)


def _read_plain(body: bytes) -> Reading:
    return _reading(shared.record(json.loads(body)))


def _read_stream(body: bytes) -> Reading:
    said: list[str] = []
    started: Mapping[str, object] = {}
    for data in events(body):
        if data.startswith("[DONE]"):
            break
        event = shared.record(json.loads(data))
        kind = event.get("type")
        if kind == "error":
            raise ValueError("the server reported an error within the stream")
        if kind in _TERMINAL:
            return _reading(shared.record(event["response"]))
        if kind == "response.created":
            started = shared.members(event["response"])
        elif kind == "response.output_text.delta":
            said.append(shared.text(event.get("delta")) or "")
    identity, response_id = _identity(started), shared.name(started.get("id"))
    return Reading(text="".join(said), complete=False, identity=identity, response_id=response_id)


def _identity(response: Mapping[str, object]) -> Identity:
    return Identity(
        model=shared.name(response.get("model")), service_tier=shared.name(response.get("service_tier"))
    )


def _reading(response: Mapping[str, object]) -> Reading:
    said: list[str] = []
    refused: list[str] = []
    calls: list[dict[str, str]] = []
    logprobs: list[float] = []
    for item in shared.records(response["output"]):
        if item.get("type") == "message":
            for part in shared.records(item.get("content") or []):
                said.append(shared.text(part.get("text")) or "" if part.get("type") == "output_text" else "")
                logprobs += shared.logprobs(part.get("logprobs"))
                refused.append(
                    shared.text(part.get("refusal")) or "" if part.get("type") == "refusal" else ""
                )
        elif item.get("type") in {"function_call", "custom_tool_call"}:
            given = item.get("arguments") if item["type"] == "function_call" else item.get("input")
            calls.append({"name": shared.text(item.get("name")) or "", "arguments": shared.text(given) or ""})
    status = shared.text(response.get("status"))
    usage = shared.members(response.get("usage"))
    return Reading(
        text="".join(said),
        complete=status in {"completed", "incomplete"},
        finish_reason=_finish(response, status, bool(calls)),
        refusal="".join(refused) or None,
        tool_calls=tuple(calls),
        identity=_identity(response),
        response_id=shared.name(response.get("id")),
        input_tokens=shared.count(usage.get("input_tokens")),
        output_tokens=shared.count(usage.get("output_tokens")),
        token_details=shared.token_details(usage),
        error="failed" if status == "failed" else None,
        logprobs=tuple(logprobs[: shared.MOST_LOGPROBS]),
    )


def _finish(response: Mapping[str, object], status: str | None, called: bool) -> str | None:
    if status == "completed":
        return "tool_calls" if called else "stop"
    if status == "incomplete":
        why = shared.name(shared.members(response.get("incomplete_details")).get("reason")) or "incomplete"
        return _CUT_SHORT.get(why, why)
    return None
