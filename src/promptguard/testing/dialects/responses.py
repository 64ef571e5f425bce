"""OpenAI responses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from promptguard.testing.dialects import openai
from promptguard.testing.dialects.parts import SSE, Answer, Asked, event, turns_of

STREAM_TYPE = SSE
error = openai.error


def speaks(path: str) -> bool:
    """Whether this dialect is spoken at `path`."""
    return path.partition("?")[0].endswith("/responses")


def asked(path: str, body: Mapping[str, object]) -> Asked:  # noqa: ARG001 - the interface of dialects
    """Read a request. Raises KeyError or TypeError for what is none."""
    given = body["input"]
    messages = ({"role": "user", "content": given},) if isinstance(given, str) else turns_of(given)
    return Asked(str(body["model"]), messages, body.get("stream") is True, body)


def plain(answer: Answer) -> dict[str, object]:
    """Return a whole answer."""
    cut = answer.served.finish_reason == "length"
    return {
        **_begun(answer),
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": _items(answer),
        "usage": {
            "input_tokens": answer.input_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": answer.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": answer.input_tokens + answer.output_tokens,
        },
    }


def _begun(answer: Answer) -> dict[str, object]:
    body = answer.asked.body
    return {
        "id": f"resp_{answer.number}",
        "object": "response",
        "created_at": answer.created,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "model": answer.model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": body.get("previous_response_id"),
        "service_tier": "default",
        "store": body.get("store", True),
        "temperature": body.get("temperature", 1.0),
        "tool_choice": "auto",
        "tools": body.get("tools", []),
        "usage": None,
    }


def _items(answer: Answer) -> list[dict[str, object]]:
    calls: list[dict[str, object]] = [
        {"type": "function_call", "id": f"fc_{answer.number}", "call_id": call_id, "name": name,
         "arguments": json.dumps(given), "status": "completed"}
        for call_id, name, given in answer.calls()
    ]  # fmt: skip
    if calls:
        return calls
    return [
        {"type": "message", "id": f"msg_{answer.number}", "role": "assistant", "status": "completed",
         "content": [_part(answer)]}
    ]  # fmt: skip


def _part(answer: Answer) -> dict[str, object]:
    served = answer.served
    refused: dict[str, object] = {"type": "refusal", "refusal": served.refusal}
    if served.refusal:
        return refused
    part: dict[str, object] = {"type": "output_text", "text": served.text, "annotations": []}
    asked = answer.asked.body.get("include")
    if isinstance(asked, list) and "message.output_text.logprobs" in asked:
        part["logprobs"] = answer.tokens()
    return part


def streamed(answer: Answer) -> Iterator[bytes]:
    """Yield the events of a streamed answer."""
    whole, number = plain(answer), 0

    def told(kind: str, **more: object) -> bytes:
        nonlocal number
        number += 1
        return event({"type": kind, "sequence_number": number - 1, **more}, kind)

    yield told("response.created", response=_begun(answer))
    for index, item in enumerate(_items(answer)):
        begun: dict[str, object] = {"content": []} if item["type"] == "message" else {"arguments": ""}
        yield told(
            "response.output_item.added", output_index=index, item={**item, **begun, "status": "in_progress"}
        )
        for kind, more in _told_of(answer, item):
            yield told(kind, output_index=index, item_id=item["id"], **more)
        yield told("response.output_item.done", output_index=index, item=item)
    yield told(f"response.{whole['status']}", response=whole)


def _told_of(answer: Answer, item: Mapping[str, object]) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield kind and members of the events between an item's beginning and its end."""
    if item["type"] != "message":
        given = item["arguments"]
        yield "response.function_call_arguments.delta", {"delta": given}
        yield "response.function_call_arguments.done", {"name": item["name"], "arguments": given}
        return
    empty = {"type": "output_text", "text": "", "annotations": []}
    yield "response.content_part.added", {"content_index": 0, "part": empty}
    for piece in answer.pieces():
        yield "response.output_text.delta", {"content_index": 0, "delta": piece, "logprobs": []}
    text = answer.served.text
    yield "response.output_text.done", {"content_index": 0, "text": text, "logprobs": []}
    yield "response.content_part.done", {"content_index": 0, "part": _part(answer)}
