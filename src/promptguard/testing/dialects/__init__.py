"""What the provider on loopback speaks: one module a protocol, written apart from `promptguard.wire`, which it tests.

A dialect is a module with `speaks(path)`, `asked(path, body)`, `plain(...)`, `streamed(...)`, `error(...)` and
STREAM_TYPE; `openai.py` is the one to read first.
"""

from __future__ import annotations

from types import ModuleType

from promptguard.testing.dialects import (
    anthropic,
    bedrock,
    cohere,
    converse,
    embeddings,
    gemini,
    ollama,
    openai,
    responses,
    vertex,
)

DIALECTS: tuple[ModuleType, ...] = (
    openai, responses, embeddings, anthropic, bedrock, vertex, converse, gemini, ollama, cohere,
)  # fmt: skip


def dialect_of(path: str) -> ModuleType | None:
    """Return the dialect spoken at `path` (with its query), or None."""
    return next((dialect for dialect in DIALECTS if dialect.speaks(path)), None)
