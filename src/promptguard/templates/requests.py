"""What a prompt asks for beside its messages, in the shape of a provider's SDK: `Call.request()`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from promptguard.core.mistakes import refused
from promptguard.errors import ConfigurationError, PromptSyntaxError
from promptguard.templates.body import Message
from promptguard.templates.inputs import Input, by_name, object_schema

PROVIDERS = ("openai", "anthropic", "google-genai")
_OPENAI = {
    "maxOutputTokens": "max_completion_tokens", "topP": "top_p", "topK": "top_k", "frequencyPenalty": "frequency_penalty",
    "presencePenalty": "presence_penalty", "stopSequences": "stop", "allowMultipleToolCalls": "parallel_tool_calls",
}  # fmt: skip
_PLAIN = {
    "max_tokens": "maxOutputTokens", "max_completion_tokens": "maxOutputTokens", "top_p": "topP", "top_k": "topK",
    "stop": "stopSequences", "frequency_penalty": "frequencyPenalty", "presence_penalty": "presencePenalty",
    "parallel_tool_calls": "allowMultipleToolCalls", "maxTokens": "maxOutputTokens",
}  # fmt: skip
_ANTHROPIC = {
    "maxOutputTokens": "max_tokens",
    "topP": "top_p",
    "topK": "top_k",
    "stopSequences": "stop_sequences",
}
_GOOGLE = {
    "maxOutputTokens": "max_output_tokens", "topP": "top_p", "topK": "top_k", "stopSequences": "stop_sequences",
    "frequencyPenalty": "frequency_penalty", "presencePenalty": "presence_penalty",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """What the front matter says of the model, the answer's form and the tools."""

    model: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    """by the names of Prompty v2; what has none there keeps its own"""
    answer: dict[str, Any] | None = None
    """JSON Schema of the answer"""
    tools: tuple[dict[str, Any], ...] = ()
    """name, description, JSON Schema of the parameters"""


def settings_of(model: object, outputs: Mapping[str, Input] | None, tools: object) -> Settings:
    """Read them; raises ValueError that says what is wrong. Tools of other kinds than `function` are the application's."""
    name: object = model
    options: dict[str, object] = {}
    if isinstance(model, dict):
        older = model.get("configuration")
        name = (
            model.get("id") or model.get("name") or (older.get("name") if isinstance(older, dict) else None)
        )
        stated = model.get("options") or model.get("parameters") or {}
        if not isinstance(stated, dict):
            elsewhere = isinstance(stated, str) and stated.startswith("${")
            raise ValueError(
                f"model.options stand elsewhere ({stated}): write them here"
                if elsewhere
                else "model.options must be a mapping"
            )
        more = stated.get("additionalProperties")
        plain = {key: value for key, value in stated.items() if key != "additionalProperties"}
        options = {
            _PLAIN.get(key, key): value
            for key, value in {**plain, **(more if isinstance(more, dict) else {})}.items()
        }
    if name is not None and not isinstance(name, str):
        raise ValueError("model must be a name, or a mapping with an `id`")
    answer = object_schema(outputs) if outputs else None
    return Settings(name or None, options, answer, tuple(_tools(tools)))


def _tools(stated: object) -> Sequence[dict[str, Any]]:
    named = by_name(stated) if stated is not None else {}
    if not isinstance(named, dict):
        raise ValueError("tools must be a list of mappings with names")
    found = []
    for name, entry in named.items():
        tool: Mapping[str, Any] = entry if isinstance(entry, dict) else {}
        if (tool.get("kind") or tool.get("type") or "function") != "function":
            continue
        inner = tool.get("function")
        one = inner if isinstance(inner, dict) else tool  # as OpenAI's API writes it, or as Prompty does
        found.append({
            "name": one.get("name", name), "description": one.get("description", ""), "parameters": _parameters(one),
        })  # fmt: skip
    return found


def _parameters(tool: Mapping[str, Any]) -> dict[str, Any]:
    stated = tool.get("parameters") or {}
    if isinstance(stated, dict) and stated.get("type") == "object" and "properties" in stated:
        return dict(stated)  # JSON Schema already
    inner = stated.get("properties", stated) if isinstance(stated, dict) else stated
    fields = by_name(inner)
    if not isinstance(fields, dict):
        raise ValueError(f"tools: the parameters of {tool.get('name')!r} must be fields with names")
    bound = tool.get("bindings") or ()
    return object_schema(
        {name: Input.model_validate(each) for name, each in fields.items() if name not in bound}
    )


def request(
    provider: str, settings: Settings, messages: Sequence[Message], model: str | None
) -> dict[str, Any]:
    """Return the keyword arguments of the SDK's call; ConfigurationError where the prompt says too little for one."""
    name = model or settings.model
    if name is None:
        raise ConfigurationError(
            'there is no model: render(model="..."), or `model: {id: ...}` in the prompt file, says which one'
        )
    _refuse_elsewhere(name, settings.options)
    if provider == "openai":
        return _of_openai(name, settings, messages)
    if provider == "anthropic":
        return _of_anthropic(name, settings, messages)
    if provider == "google-genai":
        return _of_google(name, settings, messages)
    raise refused("request(provider)", provider, ", ".join(f'"{each}"' for each in PROVIDERS))


def _refuse_elsewhere(model: str, options: Mapping[str, object]) -> None:
    """Raise ConfigurationError for what the file has left to another file or to the environment: neither is read."""
    if model.startswith("${"):
        raise ConfigurationError(
            f'the prompt file\'s model stands elsewhere ({model}): give render(model="...")'
        )
    for name, value in options.items():
        if isinstance(value, str) and value.startswith("${"):
            raise ConfigurationError(
                f"the prompt file's option {name} stands elsewhere ({value}): write it in the file, or give it to the call"
                " instead of request()"
            )


def _of_openai(model: str, settings: Settings, messages: Sequence[Message]) -> dict[str, Any]:
    told: dict[str, Any] = {"model": model, "messages": list(messages)}
    told |= {_OPENAI.get(key, key): value for key, value in settings.options.items()}
    if settings.answer is not None:
        told["response_format"] = {
            "type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": settings.answer},
        }  # fmt: skip
    if settings.tools:
        told["tools"] = [{"type": "function", "function": dict(tool)} for tool in settings.tools]
    return told


def _of_anthropic(model: str, settings: Settings, messages: Sequence[Message]) -> dict[str, Any]:
    system, turns = _apart(messages)
    told: dict[str, Any] = {"model": model, "messages": [_anthropic_turn(each) for each in turns]}
    told |= {_ANTHROPIC.get(key, key): _listed(key, value) for key, value in settings.options.items()}
    if "max_tokens" not in told:
        raise ConfigurationError(
            "anthropic needs a limit: give `model: {options: {maxOutputTokens: 1024}}` in the prompt file"
        )
    if system:
        told["system"] = system
    if settings.answer is not None:
        told["output_config"] = {"format": {"type": "json_schema", "schema": settings.answer}}
    if settings.tools:
        told["tools"] = [
            {"name": tool["name"], "description": tool["description"], "input_schema": tool["parameters"]}
            for tool in settings.tools
        ]
    return told


def _listed(option: str, value: object) -> object:
    """Return an option's value; one stop sequence may stand alone in a file, as OpenAI's API takes it."""
    return [value] if option == "stopSequences" and isinstance(value, str) else value


def _anthropic_turn(message: Message) -> dict[str, Any]:
    if message["role"] == "tool":
        block = {
            "type": "tool_result",
            "tool_use_id": message.get("tool_call_id", ""),
            "content": message["content"],
        }
        return {"role": "user", "content": [block]}
    calls = message.get("tool_calls") or ()
    content = _parts(message["content"], _anthropic_part)
    if not calls:
        return {"role": message["role"], "content": content}
    said = [{"type": "text", "text": content}] if isinstance(content, str) and content else content
    blocks: list[dict[str, Any]] = [] if isinstance(said, str) else [*said]
    for call in calls:
        function = call.get("function", {})
        blocks.append({
            "type": "tool_use", "id": call.get("id", ""), "name": function.get("name", ""),
            "input": _read_arguments(function.get("arguments")),
        })  # fmt: skip
    return {"role": message["role"], "content": blocks}


def _anthropic_part(part: Mapping[str, Any]) -> dict[str, Any]:
    url = part.get("image_url", {}).get("url")
    if part["type"] != "image_url" or not isinstance(url, str):
        return dict(part)
    kind, _, data = url.removeprefix("data:").partition(";base64,")
    source = {"type": "base64", "media_type": kind, "data": data} if data else {"type": "url", "url": url}
    return {"type": "image", "source": source}


def _of_google(model: str, settings: Settings, messages: Sequence[Message]) -> dict[str, Any]:
    system, turns = _apart(messages)
    config: dict[str, Any] = {
        _GOOGLE.get(key, key): _listed(key, value) for key, value in settings.options.items()
    }
    if system:
        config["system_instruction"] = system
    if settings.answer is not None:
        config |= {"response_mime_type": "application/json", "response_json_schema": settings.answer}
    if settings.tools:
        declared = [
            {
                "name": tool["name"],
                "description": tool["description"],
                "parameters_json_schema": tool["parameters"],
            }
            for tool in settings.tools
        ]
        config["tools"] = [{"function_declarations": declared}]
    names = {
        call.get("id"): call.get("function", {}).get("name", "")
        for each in turns
        for call in each.get("tool_calls") or ()
    }
    contents = [_google_turn(each, names) for each in turns]
    return {"model": model, "contents": contents} | ({"config": config} if config else {})


def _google_turn(message: Message, names: Mapping[Any, str]) -> dict[str, Any]:
    """Return one turn; `names` holds the function of each call's id, which an answer is told apart by."""
    if message["role"] == "tool":
        called = message.get("tool_call_id", "")
        answered = {
            "name": message.get("name") or names.get(called) or called,
            "response": {"result": message["content"]},
        }
        return {"role": "user", "parts": [{"function_response": answered}]}
    parts = _parts(message["content"], _google_part)
    told = [{"text": parts}] if isinstance(parts, str) else parts
    for call in message.get("tool_calls") or ():
        function = call.get("function", {})
        told.append(
            {
                "function_call": {
                    "name": function.get("name", ""),
                    "args": _read_arguments(function.get("arguments")),
                }
            }
        )
    return {"role": "model" if message["role"] == "assistant" else "user", "parts": told}


def _google_part(part: Mapping[str, Any]) -> dict[str, Any]:
    url = part.get("image_url", {}).get("url")
    if part["type"] != "image_url" or not isinstance(url, str):
        return {"text": part.get("text", "")}
    kind, _, data = url.removeprefix("data:").partition(";base64,")
    return {"inline_data": {"mime_type": kind, "data": data}} if data else {"file_data": {"file_uri": url}}


def _apart(messages: Sequence[Message]) -> tuple[str, list[Message]]:
    """Return the system part as one text, and the turns after it."""
    own = ("system", "developer")
    system = "\n\n".join(_system_text(each["content"]) for each in messages if each["role"] in own)
    return system, [each for each in messages if each["role"] not in own]


def _system_text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts: Sequence[Mapping[str, Any]] = content if isinstance(content, list) else ()
    if any(part.get("type") != "text" for part in parts):
        raise ConfigurationError(
            "this provider takes text alone in a system message: put the image in a user message"
        )
    return "".join(str(part.get("text", "")) for part in parts)


def _parts(content: object, turned: Any) -> Any:
    return content if isinstance(content, str) else [turned(part) for part in content or ()]  # type: ignore[attr-defined]


def _read_arguments(stated: object) -> object:
    if not isinstance(stated, str):
        return stated or {}
    try:
        return json.loads(stated or "{}")
    except ValueError:
        raise PromptSyntaxError("a tool call of the history has arguments that are no JSON") from None
