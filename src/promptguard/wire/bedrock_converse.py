"""Amazon Bedrock's Converse, plain and streamed: one form for every model family, the model named in the URL.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html ; read against botocore 1.44
(bedrock-runtime, Converse and ConverseStream). A stream says why it stops in `messageStop` and ends with `metadata`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote, unquote

from promptguard.core.model import Facts, Headers, Identity, Reading, Request
from promptguard.wire import shared
from promptguard.wire.eventstream import events
from promptguard.wire.known.bedrock_converse import KNOWN

NAME = "bedrock_converse"
MARKS_END = True

_PATH = re.compile(
    r"(?P<before>.*/model/)(?P<model>[^/?]+)/(?P<verb>converse|converse-stream)(?P<query>\?.*)?", re.DOTALL
)
_PROMPT = re.compile(r"arn:[^:]*:bedrock:[^:]*:[^:]*:prompt/")
_ENDS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
"""Other words (`malformed_tool_use`, ...) stay as they are and are ends of no ordinary answer."""


def speaks(method: str, path: str) -> bool:
    """Whether method and path are this protocol's."""
    return method == "POST" and _PATH.fullmatch(path) is not None


def read_request(request: Request) -> Facts | None:
    """Read a request's URL and body; None for what is none, and for prompts that are kept at the provider."""
    found, body = _PATH.fullmatch(request.path), shared.json_object(request.body)
    turns = None if body is None else body.get("messages")
    if found is None or body is None or not isinstance(turns, list):
        return None
    model = unquote(found["model"])
    if _PROMPT.match(model):  # to which messages may be added; of another model it would be another question
        return None
    system = _content(body.get("system"))
    tools = shared.members(body.get("toolConfig")).get("tools")
    return Facts(
        protocol=NAME,
        provider="aws.bedrock",
        operation="chat",
        model=model,
        messages=shared.as_chat(system, tuple(_message(turn) for turn in turns)),
        body=body,
        streamed=found["verb"] == "converse-stream",
        instructions=tuple(part for part in (system, tools) if part),
        findings=KNOWN.examine(request, body),
        temperature=shared.number(shared.members(body.get("inferenceConfig")).get("temperature")),
    )


def _message(turn: object) -> object:
    """Return a turn with its text as a chat has it."""
    return {
        "role": shared.members(turn).get("role"),
        "content": _content(shared.members(turn).get("content")),
    }


def _content(blocks: object) -> object:
    """Return the text of blocks that are text alone, else the blocks."""
    texts = [b["text"] for b in shared.items(blocks) if isinstance(b, Mapping) and set(b) == {"text"}]
    said = [text for text in texts if isinstance(text, str)]
    return "".join(said) if said and len(said) == len(shared.items(blocks)) else blocks


def with_model(request: Request, facts: Facts, model: str) -> Request:  # noqa: ARG001 - the interface of protocols
    """Return the request with another model named in its URL, the body as sent."""
    found = _PATH.fullmatch(request.path)
    assert found is not None  # noqa: S101 - `read_request` has matched it
    path = f"{found['before']}{quote(model, safe='')}{request.path[found.end('model') :]}"
    return Request(request.method, request.origin, path, request.headers, request.body, request.timeout)


def background_path(request: Request, facts: Facts, model: str) -> str:  # noqa: ARG001 - the interface of protocols
    """Return where the same question goes for another model, not streamed."""
    found = _PATH.fullmatch(request.path)
    assert found is not None  # noqa: S101 - `read_request` has matched it
    return f"{found['before']}{quote(model, safe='')}/converse{found['query'] or ''}"


def background_body(facts: Facts, model: str) -> dict[str, object]:  # noqa: ARG001 - the model is in the URL
    """Return the body of the same question for a background call: without what names users or projects."""
    body = shared.without(facts.body, frozenset({"requestMetadata", "projectIdentifier"}))
    config = body.get("guardrailConfig")
    if isinstance(config, Mapping) and "streamProcessingMode" in config:  # which only streams have
        body["guardrailConfig"] = shared.without(config, frozenset({"streamProcessingMode"}))
    return body


def output_bound(body: Mapping[str, object]) -> int | None:
    """Return the most tokens an answer may cost by the request's own limit, or None when it names none."""
    return shared.limit(shared.members(body.get("inferenceConfig")).get("maxTokens"))


def read_reply(status: int, headers: Headers, body: bytes, *, streamed: bool) -> Reading:
    """Read an answer from its raw bytes; plain and streamed answers of equal content give equal readings."""
    return shared.read_answer(status, headers, body, _read_stream if streamed else _read_plain)


def _read_plain(body: bytes) -> Reading:
    answer = shared.record(json.loads(body))
    message = shared.record(shared.record(answer["output"])["message"])
    return _reading(shared.records(message["content"]), answer["stopReason"], answer)


def _read_stream(body: bytes) -> Reading:
    blocks: dict[int, dict[str, object]] = {}
    stop: str | None = None
    last: dict[str, object] | None = None
    for kind, event in events(body):
        if kind == "contentBlockStart":
            used = shared.members(event["start"]).get("toolUse")
            blocks[shared.index(event["contentBlockIndex"])] = (
                {"toolUse": {**shared.record(used), "input": ""}} if used else {}
            )
        elif kind == "contentBlockDelta":
            block = blocks.setdefault(shared.index(event["contentBlockIndex"]), {})
            _add_delta(block, shared.record(event["delta"]))
        elif kind == "messageStop":
            stop = shared.text(event["stopReason"])
        elif kind == "metadata":
            last = event
    ordered = [blocks[index] for index in sorted(blocks)]
    # Without its metadata a stream has been closed before its end, and would be served without its usage.
    return _reading(ordered, stop, last or {}, ended=last is not None)


def _add_delta(block: dict[str, object], delta: Mapping[str, object]) -> None:
    if "text" in delta:
        block["text"] = (shared.text(block.get("text")) or "") + (shared.text(delta["text"]) or "")
    elif "toolUse" in delta:
        used = shared.record(block.setdefault("toolUse", {"input": ""}))
        more = shared.text(shared.record(delta["toolUse"]).get("input"))
        used["input"] = (shared.text(used["input"]) or "") + (more or "")


def _said(block: Mapping[str, object]) -> str:
    """Return a block's text; with citations it has parts, which a stream gives as text like any other."""
    cited = shared.members(block.get("citationsContent"))
    parts = (block, *map(shared.members, shared.items(cited.get("content"))))
    return "".join(shared.text(part.get("text")) or "" for part in parts)


def _reading(
    blocks: Sequence[Mapping[str, object]], said: object, last: Mapping[str, object], *, ended: bool = True
) -> Reading:
    usage = shared.members(last.get("usage"))
    router = shared.members(shared.members(last.get("trace")).get("promptRouter"))
    stop = shared.text(said)
    return Reading(
        text="".join(_said(block) for block in blocks),
        complete=ended and stop is not None,
        finish_reason=_ENDS.get(stop, stop) if stop else None,
        tool_calls=tuple(
            {
                "name": shared.text(used.get("name")) or "",
                "arguments": shared.arguments(used.get("input") or None),
            }
            for used in (shared.record(block["toolUse"]) for block in blocks if "toolUse" in block)
        ),
        identity=Identity(
            model=shared.name(router.get("invokedModelId")),
            service_tier=shared.name(shared.members(last.get("serviceTier")).get("type")),
        ),
        # What was read from the provider's prompt cache, or written to it, is not part of `inputTokens`.
        input_tokens=shared.counts(
            usage.get("inputTokens"), usage.get("cacheReadInputTokens"), usage.get("cacheWriteInputTokens")
        ),
        output_tokens=shared.count(usage.get("outputTokens")),
        token_details=shared.token_details(usage),
    )
