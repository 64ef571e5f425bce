"""Requests as SDKs send them, of every protocol, for campaigns that change one thing in them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from promptguard.core.model import Headers, Request

COMMON = (
    (b"Accept", b"application/json"),
    (b"Content-Type", b"application/json"),
    (b"User-Agent", b"OpenAI/Python 3.54.0"),
    (b"X-Stainless-Retry-Count", b"0"),
    (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
)
OPENAI = (
    (b"Authorization", b"Bearer sk-one"),
    (b"OpenAI-Organization", b"org-a"),
    (b"OpenAI-Project", b"proj-a"),
)
ANTHROPIC = (
    (b"x-api-key", b"sk-ant-one"),
    (b"anthropic-version", b"2023-06-01"),
    (b"anthropic-beta", b"context-1m-2025-08-07"),
)
SIGNED = (
    (
        b"Authorization",
        b"AWS4-HMAC-SHA256 Credential=AKIAONE/20261123/eu-1/bedrock/aws4_request, SignedHeaders=host, Signature=0",
    ),
)
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
            "required": ["city"],
        },
    },
}


@dataclass(frozen=True)
class Asked:
    """One question: where it goes, who asks, and its body."""

    origin: str
    path: str
    headers: Headers
    body: dict[str, Any]

    @property
    def request(self) -> Request:
        """The request it is sent as."""
        host = (b"Host", self.origin.partition("://")[2].encode())
        return Request(
            "POST", self.origin, self.path, (host, *COMMON, *self.headers), json.dumps(self.body).encode()
        )


def _chat(body: dict[str, Any]) -> Asked:
    return Asked("https://api.openai.com", "/v1/chat/completions", OPENAI, body)


def _bedrock(path: str, body: dict[str, Any]) -> Asked:
    return Asked("https://bedrock-runtime.eu-1.amazonaws.com", path, SIGNED, body)


TURNS = [{"role": "user", "content": "Is 17077 prime?"}]
QUESTIONS: tuple[Asked, ...] = (
    _chat({"model": "gpt-4", "messages": TURNS}),
    _chat({
        "model": "gpt-4-0613",
        "messages": [
            {"role": "system", "content": "You answer [Yes] or [No]."},
            {"role": "user", "content": [
                {"type": "text", "text": "Grüße"}, {"type": "image_url", "image_url": {"url": "data:x"}}]},
        ],
        "temperature": 0, "max_tokens": 20, "seed": 7, "stop": ["\n", "END"], "logit_bias": {"50256": -100},
    }),
    _chat({
        "model": "gpt-5.6",
        "messages": [
            {"role": "developer", "content": "Use tools"},
            {"role": "user", "content": "Weather in Kiel?"},
            {"role": "assistant", "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
        ],
        "tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": False, "reasoning_effort": "low",
    }),
    _chat({
        "model": "gpt-5.6", "messages": [{"role": "user", "content": "City?"}], "stream": True,
        "stream_options": {"include_usage": True}, "top_p": 0.9, "service_tier": "auto", "user": "u1",
        "response_format": {"type": "json_schema", "json_schema": {"name": "c", "schema": TOOL["function"]["parameters"]}},
        "metadata": {"a": "b"}, "prompt_cache_key": "k", "prediction": {"deep": [1, [2, {"x": None}]]},
    }),
    Asked(
        "https://me.openai.azure.com",
        "/openai/deployments/prod/chat/completions?api-version=2026-10-01",
        ((b"api-key", b"azure-one"),),
        {"model": "prod", "messages": TURNS, "temperature": 0},
    ),
    Asked("https://api.openai.com", "/v1/responses", OPENAI, {
        "model": "gpt-5.6", "input": [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}],
        "instructions": "Be brief", "store": False, "text": {"verbosity": "low"}, "max_output_tokens": 9,
    }),
    Asked("https://api.openai.com", "/v1/embeddings", OPENAI, {
        "model": "text-embedding-4", "input": ["a", "b"], "dimensions": 256, "encoding_format": "base64",
    }),
    Asked("https://api.anthropic.com", "/v1/messages", ANTHROPIC, {
        "model": "claude-5", "max_tokens": 64, "system": [{"type": "text", "text": "Be brief"}], "messages": TURNS,
        "tools": [{"name": "weather", "input_schema": TOOL["function"]["parameters"]}],
    }),
    Asked(
        "https://generativelanguage.googleapis.com", "/v1beta/models/gemini-3:generateContent",
        ((b"x-goog-api-key", b"goog-one"),),
        {
            "contents": [{"role": "user", "parts": [{"text": "x"}]}],
            "systemInstruction": {"parts": [{"text": "Be brief"}]},
            "generationConfig": {"maxOutputTokens": 9, "seed": 1, "thinkingConfig": {"thinkingLevel": "low"}},
        },
    ),
    Asked("https://api.cohere.com", "/v2/chat", OPENAI[:1], {
        "model": "command-a", "messages": TURNS, "documents": [{"data": {"text": "a"}}], "safety_mode": "OFF",
    }),
    Asked("http://127.0.0.1:11434", "/api/chat", (), {
        "model": "llama3", "messages": TURNS, "stream": False, "options": {"num_ctx": 64, "seed": 3}, "keep_alive": "5m",
    }),
    _bedrock("/model/anthropic.claude-5-v1%3A0/converse", {
        "messages": [{"role": "user", "content": [{"text": "x"}]}], "system": [{"text": "Be brief"}],
        "inferenceConfig": {"maxTokens": 9, "stopSequences": ["END"]}, "additionalModelRequestFields": {"top_k": 5},
    }),
    _bedrock("/model/anthropic.claude-5-v1%3A0/invoke", {
        "anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": TURNS,
    }),
    Asked(
        "https://eu-1-aiplatform.googleapis.com",
        "/v1/projects/p/locations/eu-1/publishers/anthropic/models/claude-5:rawPredict",
        ((b"Authorization", b"Bearer not-an-oauth-token"),),
        {"anthropic_version": "vertex-2023-10-16", "max_tokens": 9, "messages": TURNS},
    ),
)  # fmt: skip
