"""Log-probabilities that a background call may ask for: how each protocol says it, and which models are known to give them.

Asking changes neither the answer nor its price, only how much is told of it. Sources (checked 2026-11): the SDKs' own
types; UKGovernmentBEIS/inspect_ai#2739 (reasoning models of OpenAI give none); vercel/ai#5418 (Gemini on Vertex AI does,
the Gemini API refuses: mscraftsman/generative-ai#135).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from promptguard.wire import shared

_OF_OUTPUT = "message.output_text.logprobs"
_OPENAI = re.compile(r"https://(?:[a-z]+\.)?api\.openai\.com|https://[a-z0-9-]+\.openai\.azure\.com")
_OPENAI_MODELS = re.compile(
    r"(?:ft:)?(?:gpt-3\.5-turbo|gpt-4)(?!.*(?:audio|search|realtime|transcribe|tts)).*"
)
_VERTEX = re.compile(r"https://(?:[a-z0-9-]+-)?aiplatform\.googleapis\.com")
_VERTEX_MODELS = re.compile(r"gemini-2\.[05]-(?:flash|flash-lite|pro)(?:-\d{3})?")
_KNOWN = {
    "openai_chat": (_OPENAI, _OPENAI_MODELS),
    "openai_responses": (_OPENAI, _OPENAI_MODELS),
    "gemini": (_VERTEX, _VERTEX_MODELS),
}


def known_to_give(protocol: str, origin: str, model: str) -> bool:
    """Whether a model of a server (scheme, host and port) is known to give log-probabilities for the asking.

    >>> known_to_give("openai_chat", "https://api.openai.com", "gpt-4o-mini")
    True
    >>> known_to_give("openai_chat", "https://api.openai.com", "o3-mini")
    False
    """
    servers, models = _KNOWN.get(protocol, (None, None))
    if servers is None or models is None:
        return False
    return bool(servers.fullmatch(origin) and models.fullmatch(model.rpartition("/")[2]))


def asking(protocol: str, body: Mapping[str, object]) -> dict[str, object] | None:
    """Return a question that asks for log-probabilities as well; None where it does already, or has no word for them."""
    if protocol == "openai_chat":
        return None if "logprobs" in body else {**body, "logprobs": True}
    if protocol == "openai_responses":
        wanted = shared.items(body.get("include") or [])
        return None if _OF_OUTPUT in wanted else {**body, "include": [*wanted, _OF_OUTPUT]}
    if protocol == "gemini":
        name = "generation_config" if "generation_config" in body else "generationConfig"
        settings = shared.members(body.get(name))
        if "responseLogprobs" in settings or "response_logprobs" in settings:
            return None
        return {**body, name: {**settings, "responseLogprobs": True}}
    return None
