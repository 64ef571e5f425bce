"""Anthropic's messages through Amazon Bedrock's invoke: the model in the URL, a stream's events in frames."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from promptguard.testing.dialects import anthropic
from promptguard.testing.dialects.frames import EVENT_STREAM, chunk
from promptguard.testing.dialects.parts import Answer, Asked, turns_of

STREAM_TYPE = EVENT_STREAM
_PATH = re.compile(r".*/model/([^/?]+)/(invoke|invoke-with-response-stream)")
_KINDS = {
    400: "ValidationException", 403: "AccessDeniedException", 404: "ResourceNotFoundException",
    408: "ModelTimeoutException", 429: "ThrottlingException", 500: "InternalServerException",
    503: "ServiceUnavailableException",
}  # fmt: skip

plain = anthropic.plain


def speaks(path: str) -> bool:
    """Whether this dialect is spoken at `path`."""
    return _PATH.fullmatch(path) is not None


def asked(path: str, body: Mapping[str, object]) -> Asked:
    """Read a request. Raises KeyError or TypeError for what is none."""
    found = _PATH.fullmatch(path)
    if found is None or not isinstance(body["anthropic_version"], str):
        raise KeyError(path)
    return Asked(unquote(found[1]), turns_of(body["messages"]), found[2] != "invoke", body)


def error(status: int, message: str, code: str) -> dict[str, object]:  # noqa: ARG001 - the interface of dialects
    """Return the body of an error."""
    return {"message": message, "__type": _KINDS.get(status, "ValidationException")}


def streamed(answer: Answer) -> Iterator[bytes]:
    """Yield the events of a streamed answer, each in base64 in a frame."""
    for told in anthropic.streamed(answer):
        data = json.loads(told.partition(b"data: ")[2])
        if data["type"] == "message_stop":
            counts = {"inputTokenCount": answer.input_tokens, "outputTokenCount": answer.output_tokens}
            data["amazon-bedrock-invocationMetrics"] = counts
        yield chunk(json.dumps(data).encode())
