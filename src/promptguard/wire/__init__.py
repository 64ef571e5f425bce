"""One module a protocol: bytes to facts and back.

Rule: pure. A protocol never raises on hostile bytes; what it cannot read is a reading with `complete=False`.

A module has NAME, MARKS_END (whether a streamed answer says itself that it is over) and the functions `speaks`,
`read_request`, `read_reply`, `with_model` (for routing), `background_path` and `background_body` (where and how the
same question is asked in the background) and `output_bound`; `openai_chat` is the one to read first.
"""

from __future__ import annotations

from typing import Any

from promptguard.core.model import Request
from promptguard.wire import (
    anthropic_clouds,
    anthropic_messages,
    bedrock_converse,
    cohere,
    gemini,
    ollama,
    openai_chat,
    openai_embeddings,
    openai_responses,
)

PROTOCOLS: tuple[Any, ...] = (
    openai_chat,
    openai_responses,
    openai_embeddings,
    anthropic_messages,
    anthropic_clouds.BEDROCK,
    anthropic_clouds.VERTEX,
    bedrock_converse,
    gemini,
    ollama,
    cohere,
)


def recognise(request: Request) -> Any | None:
    """Return the protocol that can read `request`, judged by method and path alone, or None."""
    return next((protocol for protocol in PROTOCOLS if protocol.speaks(request.method, request.path)), None)
