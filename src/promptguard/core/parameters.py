"""What a request asks of the model, by the names that OpenTelemetry's convention has for it; read only where it is told.

Protocols spell the same things differently, and keep them in different places of the body: each name is looked up in all of
them, which no protocol makes ambiguous.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from promptguard.core.model import Facts

Value = str | int | float | tuple[str, ...]

_PLACES = ("generationConfig", "inferenceConfig", "options")
"""Members of a body that hold parameters: Gemini's, Converse's, Ollama's."""


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _texts(value: object) -> tuple[str, ...] | None:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return tuple(value)
    return None


_READ: dict[str, tuple[Callable[[object], Value | None], tuple[str, ...]]] = {
    "temperature": (_number, ("temperature",)),
    "top_p": (_number, ("top_p", "topP", "p")),
    "top_k": (_number, ("top_k", "topK", "k")),
    "max_tokens": (
        _whole,
        (
            "max_completion_tokens",
            "max_tokens",
            "max_output_tokens",
            "maxOutputTokens",
            "maxTokens",
            "num_predict",
        ),
    ),
    "seed": (_whole, ("seed",)),
    "choice_count": (_whole, ("n", "candidateCount")),
    "frequency_penalty": (_number, ("frequency_penalty", "frequencyPenalty")),
    "presence_penalty": (_number, ("presence_penalty", "presencePenalty")),
    "stop_sequences": (_texts, ("stop", "stop_sequences", "stopSequences")),
}


_BY_SPELLING = {spelling: (name, read) for name, (read, spellings) in _READ.items() for spelling in spellings}
"""One way to say it → the name, and what reads the value; a body has few members, so these are what is gone through."""


def request_parameters(facts: Facts) -> dict[str, Value]:
    """Return what a request asks for: its parameters, `output_type` and `conversation_id`, of those it has."""
    body = facts.body
    found: dict[str, Value] = {}
    for place in (body, *(inner for name in _PLACES if isinstance(inner := body.get(name), Mapping))):
        for spelling in place:
            known = _BY_SPELLING.get(spelling)
            if known is not None and (value := known[1](place[spelling])) is not None:
                found[known[0]] = value
    if found.get("choice_count") == 1:
        del found["choice_count"]  # the convention wants it only where it is not 1
    if facts.response_format is not None:
        found["output_type"] = "text" if facts.response_format.get("type") == "text" else "json"
    conversation = _conversation(body)
    if conversation is not None:
        found["conversation_id"] = conversation
    return found


def _conversation(body: Mapping[str, object]) -> str | None:
    """Return the provider's own conversation that a request belongs to (OpenAI's responses)."""
    told = body.get("conversation")
    if isinstance(told, Mapping):
        told = told.get("id")
    return told if isinstance(told, str) else None
