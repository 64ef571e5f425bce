"""Ollama's own protocol, chat and generate."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from promptguard.testing.dialects.parts import Answer, Asked, turns_of

STREAM_TYPE = "application/x-ndjson"


def speaks(path: str) -> bool:
    """Whether this dialect is spoken at `path`."""
    return path.partition("?")[0].endswith(("/api/chat", "/api/generate"))


def asked(path: str, body: Mapping[str, object]) -> Asked:  # noqa: ARG001 - the interface of dialects
    """Read a request. Raises KeyError or TypeError for what is none."""
    messages = body["messages"] if "messages" in body else [{"role": "user", "content": body["prompt"]}]
    return Asked(str(body["model"]), turns_of(messages), body.get("stream") is not False, body)


def error(status: int, message: str, code: str) -> dict[str, object]:  # noqa: ARG001 - the interface of dialects
    """Return the body of an error."""
    return {"error": message}


def _part(answer: Answer, said: str, calls: list[dict[str, object]], *, done: bool) -> dict[str, object]:
    chat = "messages" in answer.asked.body
    message: dict[str, object] = {"role": "assistant", "content": said}
    if calls:
        message["tool_calls"] = calls
    moment = datetime.fromtimestamp(answer.created, UTC).isoformat().replace("+00:00", "Z")
    part = {"model": answer.model, "created_at": moment, "done": done}
    part |= {"message": message} if chat else {"response": said}
    if done:
        part |= {
            "done_reason": "length" if answer.served.finish_reason == "length" else "stop",
            "total_duration": 5_000_000, "load_duration": 1_000_000,
            "prompt_eval_count": answer.input_tokens, "prompt_eval_duration": 1_000_000,
            "eval_count": answer.output_tokens, "eval_duration": 3_000_000,
        }  # fmt: skip
    return part


def _calls(answer: Answer) -> list[dict[str, object]]:
    return [{"function": {"name": name, "arguments": given}} for _, name, given in answer.calls()]


def plain(answer: Answer) -> dict[str, object]:
    """Return a whole answer."""
    return _part(answer, answer.served.text, _calls(answer), done=True)


def streamed(answer: Answer) -> Iterator[bytes]:
    """Yield the lines of a streamed answer."""
    for piece in answer.pieces():
        yield _line(_part(answer, piece, [], done=False))
    calls = _calls(answer)
    if calls:
        yield _line(_part(answer, "", calls, done=False))
    yield _line(_part(answer, "", [], done=True))


def _line(part: Mapping[str, object]) -> bytes:
    return json.dumps(part).encode() + b"\n"
