"""Anthropic's messages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from promptguard.testing.dialects.parts import SSE, Answer, Asked, event, in_body

STREAM_TYPE = SSE
_STOPS = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "content_filter": "refusal"}
_KINDS = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 529: "overloaded_error",
}  # fmt: skip


def speaks(path: str) -> bool:
    """Whether this dialect is spoken at `path`."""
    return path.partition("?")[0].endswith("/v1/messages")


def asked(path: str, body: Mapping[str, object]) -> Asked:  # noqa: ARG001 - the interface of dialects
    """Read a request. Raises KeyError or TypeError for what is none."""
    return in_body(body)


def error(status: int, message: str, code: str) -> dict[str, object]:  # noqa: ARG001 - the interface of dialects
    """Return the body of an error."""
    kind = _KINDS.get(status, "api_error")
    return {
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy",
    }


def _blocks(answer: Answer) -> list[dict[str, object]]:
    served = answer.served
    said: list[dict[str, object]] = (
        [{"type": "text", "text": served.text, "citations": None}] if served.text else []
    )
    used: list[dict[str, object]] = [
        {"type": "tool_use", "id": i, "name": n, "input": given} for i, n, given in answer.calls()
    ]
    return said + used


def _message(answer: Answer) -> dict[str, object]:
    return {
        "id": f"msg_{answer.number}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(answer, 1),
    }


def _usage(answer: Answer, output_tokens: int) -> dict[str, object]:
    return {
        "input_tokens": answer.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output_tokens,
        "service_tier": "standard",
        "inference_geo": "global",
    }


def _stop(answer: Answer) -> dict[str, object]:
    served = answer.served
    stop = "refusal" if served.refusal else _STOPS[served.finish_reason]
    details = (
        {"type": "refusal", "category": None, "explanation": served.refusal} if stop == "refusal" else None
    )
    return {"stop_reason": stop, "stop_sequence": None, "stop_details": details}


def plain(answer: Answer) -> dict[str, object]:
    """Return a whole answer."""
    usage = _usage(answer, answer.output_tokens)
    return {**_message(answer), "content": _blocks(answer), **_stop(answer), "usage": usage}


def streamed(answer: Answer) -> Iterator[bytes]:
    """Yield the events of a streamed answer."""

    def told(kind: str, **more: object) -> bytes:
        return event({"type": kind, **more}, kind)

    yield told("message_start", message=_message(answer))
    for index, block in enumerate(_blocks(answer)):
        is_text = block["type"] == "text"
        empty: dict[str, object] = {"text": ""} if is_text else {"input": {}}
        yield told("content_block_start", index=index, content_block={**block, **empty})
        if index == 0:
            yield told("ping")
        if is_text:
            deltas = [{"type": "text_delta", "text": piece} for piece in answer.pieces()]
        else:
            given = json.dumps(block["input"])
            deltas = [
                {"type": "input_json_delta", "partial_json": part} for part in ("", given[:5], given[5:])
            ]
        for delta in deltas:
            yield told("content_block_delta", index=index, delta=delta)
        yield told("content_block_stop", index=index)
    yield told("message_delta", delta=_stop(answer), usage={"output_tokens": answer.output_tokens})
    yield told("message_stop")
