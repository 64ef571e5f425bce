"""What each SDK can send in the body of a chat, as the SDK itself declares it, and what that means for the cache.

`IN_THE_KEY`: looked at, and part of the key like everything else. `NEVER_CACHED`: with a value of which calls leave
something at the provider, or read what changes there. `NOT_SENT`: arguments for the SDK itself.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints

BASE: Mapping[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@dataclass(frozen=True)
class Fields:
    path: str
    in_the_key: frozenset[str]
    never_cached: Mapping[str, Any]
    base: Mapping[str, Any] = field(default_factory=lambda: BASE)
    not_sent: frozenset[str] = frozenset()
    within: str = ""
    """the member of the body in which most of them lie"""


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OPENAI = words(
    "audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages "
    "metadata modalities model moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key "
    "prompt_cache_options prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier stop "
    "stream stream_options temperature tool_choice tools top_logprobs top_p user verbosity"
)
_SEARCHED = {"web_search_options": {}, "store": True}
_ANTHROPIC = words(
    "cache_control diagnostics inference_geo max_tokens messages metadata model output_config service_tier speed "
    "stop_sequences stream system temperature thinking tool_choice tools top_k top_p user_profile_id workspace_id"
)
_CLOUD = {"anthropic_version": "v", "messages": BASE["messages"]}
FIELDS: Mapping[str, Fields] = {
    "openai": Fields("/v1/chat/completions", _OPENAI, _SEARCHED),
    "azure openai": Fields("/openai/deployments/m/chat/completions?api-version=v", _OPENAI, _SEARCHED),
    "openai responses": Fields(
        "/v1/responses",
        words(
            "access_programs background_options context_management image include input instructions max_output_tokens "
            "max_tool_calls metadata model moderation parallel_tool_calls prompt_cache_key prompt_cache_options "
            "prompt_cache_retention reasoning safety_identifier service_tier stream stream_options temperature text "
            "tool_choice tools top_logprobs top_p truncation user"
        ),
        {"background": True, "conversation": "c", "previous_response_id": "r", "prompt": {"id": "p"}, "store": True},
        base={"model": "m", "input": "hi", "store": False},
    ),
    "anthropic": Fields("/v1/messages", _ANTHROPIC, {"container": "c"}),
    "anthropic bedrock": Fields("/model/m/invoke", _ANTHROPIC, {"container": "c"}, base=_CLOUD),
    "anthropic vertex": Fields(
        "/v1/projects/p/locations/l/publishers/anthropic/models/m:rawPredict",
        _ANTHROPIC,
        {"container": "c"},
        base=_CLOUD,
    ),
    "groq": Fields(
        "/openai/v1/chat/completions",
        _OPENAI - words("audio modalities moderation prediction verbosity stream_options safety_identifier")
        | words("citation_options disable_tool_validation documents include_reasoning reasoning_format"),
        {"compound_custom": {}, "exclude_domains": ["x"], "include_domains": ["x"], "search_settings": {}, "store": True},
    ),
    "together": Fields(
        "/v1/chat/completions",
        words(
            "chat_template_kwargs compliance context_length_exceeded_behavior echo frequency_penalty function_call "
            "logit_bias logprobs max_tokens messages min_p model n presence_penalty reasoning reasoning_effort "
            "repetition_penalty response_format safety_model seed stop stream temperature tool_choice tools top_k top_p"
        ),
        {},
    ),
    "mistral": Fields(
        "/v1/chat/completions",
        words(
            "frequency_penalty guardrails logprobs max_tokens messages metadata min_tokens model n parallel_tool_calls "
            "prediction presence_penalty prompt_cache_key prompt_logprobs prompt_mode random_seed "
            "reasoning_effort repetition_penalty response_format safe_prompt service_tier stop stream temperature "
            "tool_choice tools top_k top_logprobs top_p top_prompt_logprobs"
        ),
        {},
    ),
    "cohere": Fields(
        "/v2/chat",
        words(
            "citation_options documents frequency_penalty k logprobs max_tokens messages model p presence_penalty priority "
            "response_format safety_mode seed stop_sequences strict_tools temperature thinking tool_choice tools"
        ),
        {},
        not_sent=words("self request_options"),
    ),
    "ollama": Fields(
        "/api/chat",
        words("format keep_alive logprobs messages model options stream think tools top_logprobs"),
        {},
    ),
    "google-genai": Fields(
        "/v1beta/models/m:generateContent",
        words(
            "audio_timestamp audio_transcription_config candidate_count enable_enhanced_civic_answers frequency_penalty "
            "generation_output_config image_config labels logprobs max_output_tokens media_resolution model_armor_config "
            "model_selection_config presence_penalty response_json_schema response_logprobs response_mime_type "
            "response_modalities response_schema routing_config safety_settings seed service_tier speech_config "
            "stop_sequences system_instruction temperature thinking_config tool_config tools top_k top_p"
        ),
        {"cached_content": "c", "continuation_token": "dA==", "store": True},
        base={"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
        not_sent=words("automatic_continuation automatic_function_calling http_options should_return_http_response"),
        within="generationConfig",
    ),
    "boto3 converse": Fields(
        "/model/m/converse",
        words(
            "additionalModelRequestFields additionalModelResponseFieldPaths guardrailConfig inferenceConfig messages "
            "outputConfig performanceConfig promptVariables requestMetadata serviceTier system toolConfig"
        ),
        {"toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}]}},
        base={"messages": [{"role": "user", "content": [{"text": "hi"}]}]},
        not_sent=words("modelId"),  # in the URL
    ),
    "huggingface_hub": Fields(
        "/v1/chat/completions",
        words(
            "frequency_penalty logit_bias logprobs max_tokens messages model n presence_penalty response_format seed stop "
            "stream stream_options temperature tool_choice tool_prompt tools top_logprobs top_p"
        ),
        {},
        not_sent=words("self extra_body"),
    ),
}  # fmt: skip


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
    return _hints("anthropic.types.message_create_params", *both)


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
