"""One provider's question in another provider's shape, or why it cannot stay the same question. Pure.

A request is read into a `Question`, which is no provider's, and written from there. Every field of a request is read, is
known to leave the answer alone, or stands in the way: nothing is dropped in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from promptguard.convert import anthropic, gemini, ollama, openai_chat, openai_responses
from promptguard.convert.question import CannotSayError, Question

_READERS: Mapping[str, Callable[[Mapping[str, Any]], Question]] = {
    "openai_chat": openai_chat.read,
    "openai_responses": openai_responses.read,
    "anthropic_messages": anthropic.read,
    "anthropic_bedrock": anthropic.read,
    "anthropic_vertex": anthropic.read,
    "gemini": gemini.read,
    "ollama": ollama.read,
}
_WRITERS: Mapping[str, Callable[[Question, str], dict[str, Any]]] = {
    "openai_chat": openai_chat.write,
    "anthropic_messages": anthropic.write,
    "gemini": gemini.write,
    "ollama": ollama.write,
}
TARGETS = tuple(_WRITERS)
"""Protocols that questions can be written in."""


def converted(body: Mapping[str, Any], source: str, target: str, model: str) -> dict[str, Any]:
    """Return the body that asks `model` in the protocol `target` what `body` asks in the protocol `source`.

    Raises CannotSayError, with the field that stands in the way: what only one of the two has a word for, and what has
    another meaning there. `body` is not changed.
    """
    read, write = _READERS.get(source), _WRITERS[target]
    if read is None:
        raise CannotSayError(source)
    try:
        question = read(body)
        if not question.turns or not all(turn.parts for turn in question.turns):
            raise CannotSayError("messages")
        if question.turns[-1].role != "user":  # one provider goes on with it, another answers it
            raise CannotSayError("messages.prefill")
        return write(question, model)
    except (RecursionError, TypeError, ValueError, LookupError, AttributeError, OverflowError):
        raise CannotSayError("body") from None  # of no form that this provider takes
