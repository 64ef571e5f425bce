"""One module a protocol: bytes to facts and back.

Rule: pure. A protocol never raises on hostile bytes; what it cannot read is a reading with `complete=False`.

What a module has is written down in `core.protocol.WireProtocol`; `openai_chat` is the one to read first.
"""

from __future__ import annotations

from promptguard.core.model import Request
from promptguard.core.protocol import WireProtocol
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

PROTOCOLS: tuple[WireProtocol, ...] = (
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


_BY_NAME = {protocol.NAME: protocol for protocol in PROTOCOLS}


def named(name: str) -> WireProtocol:
    """Return the protocol of that NAME. Raises KeyError for one that this version does not have."""
    return _BY_NAME[name]


_UNREAD = (
    "/audio/speech", "/audio/transcriptions", "/audio/translations", "/batches", "/completions", "/conversations", "/files",
    "/images/edits", "/images/generations", "/images/variations", "/messages/batches", "/messages/count_tokens",
    "/moderations", "/realtime/sessions", "/rerank", "/responses/compact", "/responses/input_tokens", "/videos",
    ":batchGenerateContent", ":countTokens", ":embedContent", ":batchEmbedContents", ":predict", "/api/embed",
    "/api/embeddings", "/v1/chat", "/v2/embed",
)  # fmt: skip
"""Endpoints of providers that no protocol here reads: named, so that a count of them says what they were."""


def unread(request: Request) -> str:
    """Say what a request that no protocol reads asks for: a known endpoint's name, never what a path may hold."""
    path = request.path.partition("?")[0]
    return next((f"endpoint {end}" for end in _UNREAD if path.endswith(end)), "endpoint not known")


def recognise(request: Request) -> WireProtocol | None:
    """Return the protocol that can read `request`, judged by method and path alone, or None."""
    return next((protocol for protocol in PROTOCOLS if protocol.speaks(request.method, request.path)), None)
