"""OpenAI chat completions, plain and streamed: the protocol most servers of open models speak as well.

https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from promptguard.core.model import Facts, Headers, Identity, Reading, Request
from promptguard.wire import shared
from promptguard.wire.known.openai_chat import KNOWN
from promptguard.wire.sse import events

NAME = "openai_chat"
MARKS_END = True

_PROVIDERS = {
    "api.openai.com": "openai",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.together.xyz": "together_ai",
}
with_model = shared.with_body_model
background_path = shared.path_for


def speaks(method: str, path: str) -> bool:
    """Whether method and path are this protocol's, whatever prefix the base URL has."""
    return method == "POST" and path.partition("?")[0].endswith("/chat/completions")


def read_request(request: Request) -> Facts | None:
    """Read a request's body, or None when it is not what this protocol sends."""
    body = shared.json_object(request.body)
    model = None if body is None else shared.model_asked(request, body)
    turns = None if body is None else body.get("messages")
    if body is None or model is None or not isinstance(turns, list):
        return None
    return Facts(
        protocol=NAME,
        provider=_provider(request.origin),
        operation="chat",
        model=model,
        messages=tuple(turns),
        body=body,
        streamed=body.get("stream") is True,
        instructions=_instructions(turns, body),
        findings=KNOWN.examine(request, body),
        incomparable=shared.without_text(body.get("modalities"), "text"),
        temperature=shared.number(body.get("temperature")),
        choices=shared.limit(body.get("n")) or 1,
        response_format=shared.asked_form(body.get("response_format")),
    )


def _instructions(turns: list[object], body: Mapping[str, object]) -> tuple[object, ...]:
    said = shared.said_by(turns, "system", "developer")
    return (*said, body["tools"]) if body.get("tools") else said


def _provider(origin: str) -> str:
    host = origin.partition("://")[2].partition(":")[0]
    if host.endswith((".openai.azure.com", ".services.ai.azure.com")):
        return "azure.ai.openai"
    return _PROVIDERS.get(host, "openai")


def background_body(facts: Facts, model: str) -> dict[str, object]:
    """Return the body of the same question for a background call: not streamed, nothing kept at the provider."""
    dropped = frozenset(
        ("stream", "stream_options", "store", "metadata", "user", "safety_identifier", "prompt_cache_key")
    )
    return shared.renamed(shared.without(facts.body, dropped), facts, model)


def output_bound(body: Mapping[str, object]) -> int | None:
    """Return the most tokens an answer may cost by the request's own limit, or None when it names none."""
    stated = body.get("max_completion_tokens")
    limit = shared.limit(body.get("max_tokens") if stated is None else stated)
    return None if limit is None else limit * (shared.limit(body.get("n")) or 1)


def read_reply(status: int, headers: Headers, body: bytes, *, streamed: bool) -> Reading:
    """Read an answer from its raw bytes; plain and streamed answers of equal content give equal readings."""
    return shared.read_answer(status, headers, body, _read_stream if streamed else _read_plain)


def _read_plain(body: bytes) -> Reading:
    answer = shared.record(json.loads(body))
    choices = shared.records(answer["choices"])
    message = shared.record(choices[0]["message"])
    usage = shared.record(answer.get("usage") or {})
    return Reading(
        text=_content(message.get("content")) or "",
        complete=all(shared.text(c.get("finish_reason")) for c in choices),
        finish_reason=shared.text(choices[0].get("finish_reason")),
        refusal=shared.text(message.get("refusal")) or None,
        tool_calls=tuple(_tool_call(call) for call in shared.records(message.get("tool_calls") or [])),
        identity=_identity(answer),
        response_id=shared.text(answer.get("id")),
        input_tokens=shared.count(usage.get("prompt_tokens")),
        output_tokens=shared.count(usage.get("completion_tokens")),
        token_details=shared.token_details(usage),
        other_ends=tuple(
            "refusal"
            if shared.record(c["message"]).get("refusal")
            else shared.text(c.get("finish_reason")) or ""
            for c in choices[1:]
        ),
        logprobs=_logprobs(choices[0]),
    )


def _logprobs(choice: Mapping[str, object]) -> tuple[float, ...]:
    return shared.logprobs(shared.members(choice.get("logprobs")).get("content"))


def _content(value: object) -> str | None:
    """Return what was said; Mistral's reasoning models say it in parts, of which the thoughts are left out."""
    if isinstance(value, list):
        return "".join(
            shared.text(part.get("text")) or ""
            for part in shared.records(value)
            if part.get("type") == "text"
        )
    return shared.text(value)


def _identity(answer: Mapping[str, object]) -> Identity:
    return Identity(
        model=shared.name(answer.get("model")),
        fingerprint=shared.name(answer.get("system_fingerprint")),
        service_tier=shared.name(answer.get("service_tier")),
        backend=shared.name(
            answer.get("provider")
        ),  # OpenRouter's: https://openrouter.ai/docs/api-reference/overview
    )


def _tool_call(call: Mapping[str, object]) -> dict[str, str]:
    function = shared.record(call.get("function") or {})
    given = function.get("arguments")
    if isinstance(given, dict):  # Mistral may send the object itself
        given = shared.arguments(given)
    return {"name": shared.text(function.get("name")) or "", "arguments": shared.text(given) or ""}


def _read_stream(body: bytes) -> Reading:
    gathered = _Gathered()
    done = False
    for data in events(body):
        if data.startswith("[DONE]"):
            done = True
            break
        gathered.add(shared.record(json.loads(data)))
    return gathered.reading(done)


_OF_EVERY_CHUNK = ("id", "model", "system_fingerprint", "service_tier", "provider")


class _Gathered:
    """The chunks of one streamed answer, put together again."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.refusal: list[str] = []
        self.calls: dict[int, dict[str, str]] = {}
        self.finish: dict[int, str] = {}
        self.choices: set[int] = set()
        self.refused: set[int] = set()
        self.logprobs: list[float] = []
        self.last: dict[str, object] = {}
        self.usage: dict[str, object] = {}

    def add(self, chunk: Mapping[str, object]) -> None:
        if chunk.get("error"):
            raise ValueError("the server reported an error within the stream")
        if usage := chunk.get("usage"):
            self.usage = shared.record(usage)
        for name in _OF_EVERY_CHUNK:
            if said := chunk.get(name):
                self.last[name] = said
        for choice in shared.records(chunk.get("choices") or []):
            index = shared.index(choice.get("index", 0))
            delta = shared.record(choice.get("delta") or {})
            self.choices.add(index)
            if choice.get("finish_reason"):
                self.finish[index] = shared.text(choice["finish_reason"]) or ""
            if index != 0 and delta.get("refusal"):
                self.refused.add(index)
            if index == 0:
                self._add_delta(delta)
                self.logprobs += _logprobs(choice)

    def _add_delta(self, delta: Mapping[str, object]) -> None:
        self.text.append(_content(delta.get("content")) or "")
        self.refusal.append(shared.text(delta.get("refusal")) or "")
        for call in shared.records(delta.get("tool_calls") or []):
            kept = self.calls.setdefault(shared.index(call.get("index") or 0), {"name": "", "arguments": ""})
            for name, value in _tool_call(call).items():
                kept[name] += value

    def reading(self, done: bool) -> Reading:
        return Reading(
            text="".join(self.text),
            complete=done and bool(self.choices) and all(index in self.finish for index in self.choices),
            finish_reason=self.finish.get(0),
            refusal="".join(self.refusal) or None,
            tool_calls=tuple(self.calls[index] for index in sorted(self.calls)),
            identity=_identity(self.last),
            response_id=shared.text(self.last.get("id")),
            input_tokens=shared.count(self.usage.get("prompt_tokens")),
            output_tokens=shared.count(self.usage.get("completion_tokens")),
            token_details=shared.token_details(self.usage),
            other_ends=tuple(
                "refusal" if index in self.refused else self.finish.get(index, "")
                for index in sorted(self.choices - {0})
            ),
            logprobs=tuple(self.logprobs[: shared.MOST_LOGPROBS]),
        )
