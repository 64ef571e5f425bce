"""Gemini's generateContent: the model is named in the URL, and a stream ends where the data end."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from promptguard.testing.dialects.parts import SSE, Answer, Asked, event, turns_of

STREAM_TYPE = SSE
_PATH = re.compile(r".*/models/([^/:]+):(generateContent|streamGenerateContent)(\?.*)?")
_STOPS = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}
_KINDS = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE",
}  # fmt: skip


def speaks(path: str) -> bool:
    """Whether this dialect is spoken at `path`."""
    return _PATH.fullmatch(path) is not None


def asked(path: str, body: Mapping[str, object]) -> Asked:
    """Read a request. Raises KeyError or TypeError for what is none."""
    found = _PATH.fullmatch(path)
    if found is None:
        raise KeyError(path)
    messages = tuple(
        {"role": turn.get("role"), "content": turn["parts"]} for turn in turns_of(body["contents"])
    )
    return Asked(found[1], messages, found[2] == "streamGenerateContent", body)


def error(status: int, message: str, code: str) -> dict[str, object]:  # noqa: ARG001 - the interface of dialects
    """Return the body of an error."""
    return {"error": {"code": status, "message": message, "status": _KINDS.get(status, "INTERNAL")}}


def _chunk(answer: Answer, parts: list[dict[str, object]], *, last: bool) -> dict[str, object]:
    candidate: dict[str, object] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    usage = {"promptTokenCount": answer.input_tokens, "totalTokenCount": answer.input_tokens}
    if last:
        candidate["finishReason"] = _STOPS[answer.served.finish_reason]
        settings = answer.asked.body.get("generationConfig")
        if isinstance(settings, Mapping) and settings.get("responseLogprobs"):
            candidate["logprobsResult"] = {"chosenCandidates": answer.tokens("logProbability")}
        usage["candidatesTokenCount"] = answer.output_tokens
        usage["totalTokenCount"] += answer.output_tokens
    head = {"modelVersion": answer.model, "responseId": answer.number}
    if answer.served.refusal:
        return {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": usage, **head}
    return {"candidates": [candidate], "usageMetadata": usage, **head}


def _calls(answer: Answer) -> list[dict[str, object]]:
    return [{"functionCall": {"name": name, "args": given}} for _, name, given in answer.calls()]


def plain(answer: Answer) -> dict[str, object]:
    """Return a whole answer."""
    said: list[dict[str, object]] = [{"text": answer.served.text}] if answer.served.text else []
    return _chunk(answer, said + _calls(answer), last=True)


def streamed(answer: Answer) -> Iterator[bytes]:
    """Yield the events of a streamed answer."""
    chunks: list[list[dict[str, object]]] = [[{"text": piece}] for piece in answer.pieces() if piece]
    chunks += [[call] for call in _calls(answer)]
    chunks = chunks or [[]]
    for parts in chunks[:-1]:
        yield _sse(_chunk(answer, parts, last=False))
    yield _sse(_chunk(answer, chunks[-1], last=True))


def _sse(chunk: Mapping[str, object]) -> bytes:
    return event(chunk).replace(b"\n\n", b"\r\n\r\n")  # as the real one ends its lines
