"""OpenAI embeddings: a vector of the text's own digest, so that equal texts have equal vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from promptguard.testing.dialects import openai
from promptguard.testing.dialects.parts import SSE, Answer, Asked

STREAM_TYPE = SSE
DIMENSIONS = 8
error = openai.error


def speaks(path: str) -> bool:
    """Whether this dialect is spoken at `path`."""
    return path.partition("?")[0].endswith("/embeddings")


def asked(path: str, body: Mapping[str, object]) -> Asked:  # noqa: ARG001 - the interface of dialects
    """Read a request. Raises KeyError or TypeError for what is none."""
    given = body["input"]
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list):
        raise TypeError("input must be a text or a list")
    return Asked(
        str(body["model"]), tuple({"role": "user", "content": str(text)} for text in texts), False, body
    )


def plain(answer: Answer) -> dict[str, object]:
    """Return a whole answer."""
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(str(message["content"]))}
        for index, message in enumerate(answer.asked.messages)
    ]
    usage = {"prompt_tokens": answer.input_tokens, "total_tokens": answer.input_tokens}
    return {
        "object": "list",
        "data": data,
        "model": answer.model,
        "usage": usage,
        "id": f"embd-{answer.number}",
    }


def _vector(text: str) -> list[float]:
    return [byte / 256 - 0.5 for byte in hashlib.sha256(text.encode()).digest()[:DIMENSIONS]]


def streamed(answer: Answer) -> Iterator[bytes]:
    """Yield nothing: embeddings are not streamed."""
    del answer
    yield from ()
