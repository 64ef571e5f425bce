"""Cohere's chat, version 2, plain and streamed.

https://docs.cohere.com/reference/chat ; read against cohere 7.3 (v2/types/v2chat_response.py, v2chat_stream_response.py).
No answer names the model that served it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from promptguard.core.model import Facts, Headers, Reading, Request
from promptguard.wire import shared
from promptguard.wire.known.cohere import KNOWN
from promptguard.wire.sse import events

NAME = "cohere"
MARKS_END = True

_ENDS = {"COMPLETE": "stop", "STOP_SEQUENCE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_calls"}

with_model = shared.with_body_model
background_path = shared.same_path


def speaks(method: str, path: str) -> bool:
    """Whether method and path are this protocol's, whatever prefix the base URL has."""
    return method == "POST" and path.partition("?")[0].endswith("/v2/chat")


def read_request(request: Request) -> Facts | None:
    """Read a request's body, or None when it is not what this protocol sends."""
    body = shared.json_object(request.body)
    if body is None:
        return None
    model, turns = body.get("model"), body.get("messages")
    if not isinstance(model, str) or not isinstance(turns, list):
        return None
    said = shared.said_by(turns, "system")
    return Facts(
        protocol=NAME,
        provider="cohere",
        operation="chat",
        model=model,
        messages=tuple(turns),
        body=body,
        streamed=body.get("stream") is True,
        instructions=(*said, body["tools"]) if body.get("tools") else said,
        findings=KNOWN.examine(request, body),
        temperature=shared.number(body.get("temperature")),
        response_format=_asked_form(body.get("response_format")),
    )


def _asked_form(said: object) -> Mapping[str, object] | None:
    """Return the form asked for: Cohere says `json_object`, and a schema beside it where there is one."""
    form = shared.members(said)
    return shared.json_schema(form.get("json_schema", form.get("schema"))) or shared.asked_form(said)


def background_body(facts: Facts, model: str) -> dict[str, object]:
    """Return the body of the same question for a background call: not streamed."""
    return {**facts.body, "model": model, "stream": False}


def output_bound(body: Mapping[str, object]) -> int | None:
    """Return the most tokens an answer may cost by the request's own limit, or None when it names none."""
    return shared.limit(body.get("max_tokens"))


def read_reply(status: int, headers: Headers, body: bytes, *, streamed: bool) -> Reading:
    """Read an answer from its raw bytes; plain and streamed answers of equal content give equal readings."""
    return shared.read_answer(status, headers, body, _read_stream if streamed else _read_plain)


def _read_plain(body: bytes) -> Reading:
    answer = shared.record(json.loads(body))
    message = shared.record(answer["message"])
    said = "".join(
        shared.text(item.get("text")) or ""
        for item in shared.records(message.get("content") or [])
        if item.get("type") == "text"
    )
    calls = [_tool_call(call) for call in shared.records(message.get("tool_calls") or [])]
    return _reading(answer, said, calls, done=True)


def _read_stream(body: bytes) -> Reading:
    said: list[str] = []
    calls: dict[int, dict[str, str]] = {}
    ended: dict[str, object] = {}
    done = False
    for data in events(body):
        if data.startswith("[DONE]"):
            break
        event = shared.record(json.loads(data))
        kind = event.get("type")
        delta = shared.record(event.get("delta") or {})
        message = shared.members(delta.get("message"))
        if kind == "message-start":
            ended["id"] = event.get("id")
        elif kind in {"content-start", "content-delta"}:
            said.append(shared.text(shared.members(message.get("content")).get("text")) or "")
        elif kind == "tool-call-start":
            calls[shared.index(event["index"])] = _tool_call(shared.record(message["tool_calls"]))
        elif kind == "tool-call-delta":
            more = _tool_call(shared.record(message["tool_calls"]))
            calls[shared.index(event["index"])]["arguments"] += more["arguments"]
        elif kind == "message-end":
            if delta.get("error"):
                raise ValueError("the server reported an error within the stream")
            ended.update(delta)
            done = True
            break
    return _reading(ended, "".join(said), [calls[index] for index in sorted(calls)], done)


def _tool_call(call: Mapping[str, object]) -> dict[str, str]:
    function = shared.record(call.get("function") or {})
    return {
        "name": shared.text(function.get("name")) or "",
        "arguments": shared.text(function.get("arguments")) or "",
    }


def _reading(answer: Mapping[str, object], said: str, calls: list[dict[str, str]], done: bool) -> Reading:
    tokens = shared.members(shared.members(answer.get("usage")).get("tokens"))
    reason = shared.text(answer.get("finish_reason"))
    return Reading(
        text=said,
        complete=done and reason is not None,
        finish_reason=_ENDS.get(reason, reason.lower()) if reason else None,
        tool_calls=tuple({**call, "arguments": shared.arguments(call["arguments"])} for call in calls),
        response_id=shared.name(answer.get("id")),
        input_tokens=_whole(tokens.get("input_tokens")),
        output_tokens=_whole(tokens.get("output_tokens")),
    )


def _whole(value: object) -> int | None:
    """Return a number of tokens that may be told as a float."""
    return shared.count(int(value) if isinstance(value, float) and value.is_integer() else value)
