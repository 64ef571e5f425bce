"""What each SDK can send in the body of a chat, as the installed version declares it, beside what our tables know.

The tables are `promptguard.wire.known`; a field that an SDK adds is not in them, so that its calls pass through untouched.
`python -m tests.conformance.fields` lists such fields: work for us, and no failure of ours.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from promptguard.core.fields import Known
from promptguard.wire.known import (
    anthropic_messages,
    bedrock_converse,
    cohere,
    gemini,
    ollama,
    openai_chat,
    openai_responses,
)

BASE: Mapping[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@dataclass(frozen=True)
class Fields:
    path: str
    table: Known
    base: Mapping[str, Any] = field(default_factory=lambda: BASE)
    not_sent: frozenset[str] = frozenset()
    """arguments for the SDK itself, or of the URL"""
    camel: bool = False
    """the wire has camelCase, and settings in generationConfig"""

    def placed(self, name: str, value: Any) -> dict[str, Any]:
        """Return the part of a body in which the SDK sends a field."""
        if not self.camel:
            return {name: value}
        there = camel(name)
        body = self.table.body
        return (
            {there: value}
            if there in body.harmless or said_of(self.table, there)
            else {"generationConfig": {there: value}}
        )

    def effect(self, name: str) -> str:
        """Return what our table says of a field: none, stateful, kept or unknown."""
        there = camel(name) if self.camel else name
        settings = self.table.body.within.get("generationConfig")
        harmless = self.table.body.harmless | (settings.harmless if self.camel else frozenset())
        return "none" if there in harmless else said_of(self.table, there) or "unknown"


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def said_of(table: Known, name: str) -> str | None:
    return "stateful" if name in table.body.stateful else "kept" if name in table.body.kept else None


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CLOUD = {"anthropic_version": "v", "messages": BASE["messages"]}
FIELDS: Mapping[str, Fields] = {
    "openai": Fields("/v1/chat/completions", openai_chat.KNOWN),
    "azure openai": Fields("/openai/deployments/m/chat/completions?api-version=v", openai_chat.KNOWN),
    "openai responses": Fields("/v1/responses", openai_responses.KNOWN, base={"model": "m", "input": "hi"}),
    "anthropic": Fields("/v1/messages", anthropic_messages.KNOWN, not_sent=words("betas")),
    "anthropic bedrock": Fields("/model/m/invoke", anthropic_messages.KNOWN, _CLOUD, words("betas")),
    "anthropic vertex": Fields(
        "/v1/projects/p/locations/l/publishers/anthropic/models/m:rawPredict",
        anthropic_messages.KNOWN,
        _CLOUD,
        words("betas"),
    ),
    "groq": Fields("/openai/v1/chat/completions", openai_chat.KNOWN),
    "together": Fields("/v1/chat/completions", openai_chat.KNOWN),
    "mistral": Fields("/v1/chat/completions", openai_chat.KNOWN),
    "cohere": Fields("/v2/chat", cohere.KNOWN, not_sent=words("self request_options")),
    "ollama": Fields("/api/chat", ollama.KNOWN),
    "google-genai": Fields(
        "/v1beta/models/m:generateContent",
        gemini.KNOWN,
        {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
        words("automatic_continuation automatic_function_calling http_options should_return_http_response"),
        camel=True,
    ),
    "boto3 converse": Fields(
        "/model/m/converse",
        bedrock_converse.KNOWN,
        {"messages": [{"role": "user", "content": [{"text": "hi"}]}]},
        words("modelId"),  # in the URL
    ),
    "huggingface_hub": Fields("/v1/chat/completions", openai_chat.KNOWN, not_sent=words("self extra_body")),
}


def unclassified(adapter: Any) -> list[str]:
    """Return the fields that the installed SDK declares and our table does not know."""
    fields = FIELDS[adapter.name]
    return sorted(name for name in declared(adapter) - fields.not_sent if fields.effect(name) == "unknown")


def declared(adapter: Any) -> set[str]:
    """Return the fields that the installed version of an SDK declares."""
    find = _DECLARED.get(adapter.name)
    return find() if find else _arguments(adapter)


def _hints(module: str, *classes: str) -> set[str]:
    found = importlib.import_module(module)
    return {name for each in classes for name in get_type_hints(getattr(found, each), include_extras=True)}


_BOTH = ("CompletionCreateParamsNonStreaming", "CompletionCreateParamsStreaming")


def _openai() -> set[str]:
    return _hints("openai.types.chat.completion_create_params", *_BOTH)


def _responses() -> set[str]:
    return _hints(
        "openai.types.responses.response_create_params",
        "ResponseCreateParamsNonStreaming",
        "ResponseCreateParamsStreaming",
    )


def _anthropic() -> set[str]:
    both = ("MessageCreateParamsNonStreaming", "MessageCreateParamsStreaming")
    beta = _hints("anthropic.types.beta.message_create_params", *both)
    return beta | _hints("anthropic.types.message_create_params", *both)


def _mistral() -> set[str]:
    from tests.conformance.adapters import Mistral

    models = importlib.import_module(Mistral().module.__name__ + ".models")
    both = (models.ChatCompletionRequest, models.ChatCompletionStreamRequest)
    return {each_field.alias or name for each in both for name, each_field in each.model_fields.items()}


def _ollama() -> set[str]:
    return set(importlib.import_module("ollama._types").ChatRequest.model_fields)


def _gemini() -> set[str]:
    return set(importlib.import_module("google.genai.types").GenerateContentConfig.model_fields)


def _converse() -> set[str]:
    service = importlib.import_module("botocore.session").get_session().get_service_model("bedrock-runtime")
    both = (service.operation_model(name) for name in ("Converse", "ConverseStream"))
    return {name for each in both for name in each.input_shape.members}


def _arguments(adapter: Any) -> set[str]:
    module = adapter.module
    chats = {
        "cohere": lambda: (module.ClientV2.chat, module.ClientV2.chat_stream),
        "huggingface_hub": lambda: (module.InferenceClient.chat_completion,),
    }[adapter.name]()
    return {name for chat in chats for name in inspect.signature(chat).parameters}


_DECLARED = {
    "openai": _openai,
    "azure openai": _openai,
    "openai responses": _responses,
    "anthropic": _anthropic,
    "anthropic bedrock": _anthropic,
    "anthropic vertex": _anthropic,
    "groq": lambda: _hints("groq.types.chat.completion_create_params", "CompletionCreateParams"),
    "together": lambda: _hints("together.types.chat.completion_create_params", *_BOTH),
    "mistral": _mistral,
    "ollama": _ollama,
    "boto3 converse": _converse,
    "google-genai": _gemini,
}


if __name__ == "__main__":
    from tests.conformance.adapters import ADAPTERS

    news = {each.name: unclassified(each) for each in ADAPTERS if each.missing() is None}
    for sdk, found in news.items():
        if found:
            print(f"{sdk}: not classified in promptguard/wire/known: {', '.join(found)}")  # noqa: T201
    print(f"{sum(map(len, news.values()))} fields of {len(news)} SDKs are not classified")  # noqa: T201
