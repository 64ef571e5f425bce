"""OpenAI chat completions, which Azure, groq, together, mistral and Hugging Face speak as well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from promptguard.testing.dialects.parts import FINGERPRINT, SSE, Answer, Asked, event, in_body

STREAM_TYPE = SSE


def speaks(path: str) -> bool:
    """Whether this dialect is spoken at `path`; also everywhere else where nothing better is known."""
    return path.partition("?")[0].endswith("/chat/completions")


def asked(path: str, body: Mapping[str, object]) -> Asked:
    """Read a request; Azure goes by the deployment in the path. Raises KeyError or TypeError for what is none."""
    _, found, rest = path.rpartition("/deployments/")
    return in_body({**body, "model": unquote(rest.partition("/")[0])} if found else body)


def error(status: int, message: str, code: str) -> dict[str, object]:  # noqa: ARG001 - the interface of dialects
    """Return the body of an error."""
    return {"error": {"message": message, "type": code, "param": None, "code": code}}


def _head(answer: Answer, kind: str) -> dict[str, object]:
    return {
        "id": f"chatcmpl-{answer.number}",
        "object": kind,
        "created": answer.created,
        "model": answer.model,
        "system_fingerprint": FINGERPRINT,
    }


def _usage(answer: Answer) -> dict[str, int]:
    given, said = answer.input_tokens, answer.output_tokens
    return {"prompt_tokens": given, "completion_tokens": said, "total_tokens": given + said}


def plain(answer: Answer) -> dict[str, object]:
    """Return a whole answer."""
    served = answer.served
    message: dict[str, object] = {"role": "assistant", "content": served.text, "refusal": served.refusal}
    if served.tool_calls:
        message["tool_calls"] = list(served.tool_calls)
    told = {"content": answer.tokens()} if answer.asked.body.get("logprobs") else None
    choice = {"index": 0, "message": message, "logprobs": told, "finish_reason": served.finish_reason}
    return {**_head(answer, "chat.completion"), "choices": [choice], "usage": _usage(answer)}


def streamed(answer: Answer) -> Iterator[bytes]:
    """Yield the events of a streamed answer."""
    served, head = answer.served, _head(answer, "chat.completion.chunk")

    def chunk(delta: Mapping[str, object], finish: str | None = None) -> bytes:
        return event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    yield chunk({"role": "assistant", "content": ""})
    for piece in answer.pieces():
        yield chunk({"content": piece})
    for index, call in enumerate(served.tool_calls):
        yield chunk({"tool_calls": [{"index": index, **call}]})
    if served.refusal:
        yield chunk({"refusal": served.refusal})
    yield chunk({}, served.finish_reason)
    options = answer.asked.body.get("stream_options")
    if isinstance(options, Mapping) and options.get("include_usage"):
        yield event({**head, "choices": [], "usage": _usage(answer)})
    yield b"data: [DONE]\n\n"
