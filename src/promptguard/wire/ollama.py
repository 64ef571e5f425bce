"""Ollama's own protocol, chat and generate: lines of JSON, the last of which says `done`.

https://docs.ollama.com/api ; read against ollama 0.6.3 (_types.py). Without `stream` in the body the server streams.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from promptguard.core.model import Facts, Finding, Headers, Identity, Reading, Request
from promptguard.wire import shared
from promptguard.wire.known.ollama import KNOWN

NAME = "ollama"
MARKS_END = True

with_model = shared.with_body_model
background_path = shared.same_path


_NO_QUESTION = Finding("keep_alive", "stateful", "without a question, it loads or unloads the model")


def speaks(method: str, path: str) -> bool:
    """Whether method and path are this protocol's, whatever prefix the base URL has."""
    return method == "POST" and path.partition("?")[0].endswith(("/api/chat", "/api/generate"))


def read_request(request: Request) -> Facts | None:
    """Read a request's body, or None when it is not what this protocol sends."""
    body = shared.json_object(request.body)
    model = None if body is None else body.get("model")
    if body is None or not isinstance(model, str):
        return None
    turns = _turns(body)
    if turns is None:
        return None
    options = shared.members(body.get("options"))
    return Facts(
        protocol=NAME,
        provider="ollama",
        operation="chat" if "messages" in body else "text_completion",
        model=model,
        messages=turns,
        body=body,
        streamed=body.get("stream") is not False,
        instructions=_instructions(turns, body),
        findings=KNOWN.examine(request, body) if turns else (_NO_QUESTION,),
        temperature=shared.number(options.get("temperature")),
        response_format={"type": "json_object"}
        if body.get("format") == "json"
        else shared.json_schema(body.get("format")),
    )


def _turns(body: Mapping[str, object]) -> tuple[object, ...] | None:
    """Return the chat's messages, or the prompt as if it were a chat; None for what is neither."""
    turns = body.get("messages")
    if isinstance(turns, list):
        return tuple(turns)
    prompt = body.get("prompt", "")
    if "messages" in body or not isinstance(prompt, str):
        return None
    return shared.as_chat(body.get("system"), ({"role": "user", "content": prompt},)) if prompt else ()


def _instructions(turns: tuple[object, ...], body: Mapping[str, object]) -> tuple[object, ...]:
    said = shared.said_by(turns, "system")
    return (*said, *(body[k] for k in ("tools", "template") if body.get(k)))


def background_body(facts: Facts, model: str) -> dict[str, object]:
    """Return the body of the same question for a background call: not streamed."""
    return {**facts.body, "model": model, "stream": False}


def output_bound(body: Mapping[str, object]) -> int | None:
    """Return the most tokens an answer may cost by the request's own limit, or None when it names none."""
    return shared.limit(shared.members(body.get("options")).get("num_predict"))


def read_reply(status: int, headers: Headers, body: bytes, *, streamed: bool) -> Reading:
    """Read an answer from its raw bytes; plain and streamed answers of equal content give equal readings."""
    return shared.read_answer(status, headers, body, _read_stream if streamed else _read_plain)


def _read_plain(body: bytes) -> Reading:
    return _reading([shared.record(json.loads(body))])


def _read_stream(body: bytes) -> Reading:
    # A line without its end is not whole: the server ends every one, the last as well.
    return _reading([shared.record(json.loads(line)) for line in body.split(b"\n")[:-1] if line.strip()])


def _reading(parts: Iterable[Mapping[str, object]]) -> Reading:
    said: list[str] = []
    calls: list[dict[str, str]] = []
    last: Mapping[str, object] = {}
    for part in parts:
        if part.get("error"):
            raise ValueError("the server reported an error within the stream")
        chat = part.get("message")
        message = {} if chat is None else shared.record(chat)
        said.append(shared.text(part.get("response") if chat is None else message.get("content")) or "")
        calls.extend(_tool_call(call) for call in shared.records(message.get("tool_calls") or []))
        last = part
        if part.get("done") is True:
            break
    reason = shared.text(last.get("done_reason"))
    return Reading(
        text="".join(said),
        # Older servers say no reason: `done` alone is the end then.
        complete=last.get("done") is True,
        finish_reason=_finish(last, reason, bool(calls)),
        tool_calls=tuple(calls),
        identity=Identity(model=shared.name(last.get("model"))),
        input_tokens=shared.count(last.get("prompt_eval_count")),
        output_tokens=shared.count(last.get("eval_count")),
    )


def _finish(last: Mapping[str, object], reason: str | None, called: bool) -> str | None:
    if last.get("done") is not True:
        return None
    ended = reason or "stop"
    return "tool_calls" if called and ended == "stop" else ended


def _tool_call(call: Mapping[str, object]) -> dict[str, str]:
    function = shared.record(call["function"])
    return {
        "name": shared.text(function.get("name")) or "",
        "arguments": shared.arguments(function.get("arguments")),
    }
