"""Cohere's chat, version 2: no answer names the model that served it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from promptguard.testing.dialects.parts import SSE, Answer, Asked, event, function_of, in_body

STREAM_TYPE = SSE
_STOPS = {"stop": "COMPLETE", "tool_calls": "TOOL_CALL", "length": "MAX_TOKENS", "content_filter": "ERROR"}


def speaks(path: str) -> bool:
    """Whether this dialect is spoken at `path`."""
    return path.partition("?")[0].endswith("/v2/chat")


def asked(path: str, body: Mapping[str, object]) -> Asked:  # noqa: ARG001 - the interface of dialects
    """Read a request. Raises KeyError or TypeError for what is none."""
    return in_body(body)


def error(status: int, message: str, code: str) -> dict[str, object]:  # noqa: ARG001 - the interface of dialects
    """Return the body of an error."""
    return {"message": message}


def _usage(answer: Answer) -> dict[str, object]:
    tokens = {"input_tokens": float(answer.input_tokens), "output_tokens": float(answer.output_tokens)}
    return {"billed_units": tokens, "tokens": tokens}


def plain(answer: Answer) -> dict[str, object]:
    """Return a whole answer."""
    served = answer.served
    message: dict[str, object] = {"role": "assistant"}
    if served.text:
        message["content"] = [{"type": "text", "text": served.text}]
    if served.tool_calls:
        message["tool_calls"] = list(served.tool_calls)
    return {
        "id": _id(answer),
        "finish_reason": _STOPS[served.finish_reason],
        "message": message,
        "usage": _usage(answer),
    }


def _id(answer: Answer) -> str:
    number = answer.number.rjust(32, "0")
    return "-".join((number[:8], number[8:12], number[12:16], number[16:20], number[20:]))


def streamed(answer: Answer) -> Iterator[bytes]:
    """Yield the events of a streamed answer."""

    def told(kind: str, **more: object) -> bytes:
        return event({"type": kind, **more}, kind)

    message: dict[str, object] = {
        "role": "assistant",
        "content": [],
        "tool_plan": "",
        "tool_calls": [],
        "citations": [],
    }
    yield told("message-start", id=_id(answer), delta={"message": message})
    if answer.served.text:
        yield told("content-start", index=0, delta={"message": {"content": {"type": "text", "text": ""}}})
        for piece in answer.pieces():
            yield told("content-delta", index=0, delta={"message": {"content": {"text": piece}}})
        yield told("content-end", index=0)
    for index, call in enumerate(answer.served.tool_calls):
        function = dict(function_of(call))
        given = function.pop("arguments")
        begun = {"message": {"tool_calls": {**call, "function": {**function, "arguments": ""}}}}
        yield told("tool-call-start", index=index, delta=begun)
        delta = {"message": {"tool_calls": {"function": {"arguments": given}}}}
        yield told("tool-call-delta", index=index, delta=delta)
        yield told("tool-call-end", index=index)
    yield told(
        "message-end", delta={"finish_reason": _STOPS[answer.served.finish_reason], "usage": _usage(answer)}
    )
