"""Gemini's `generateContent`.

https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from promptguard.convert.question import (
    CannotSayError,
    Form,
    Image,
    Part,
    Question,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    items,
    members,
    number,
    refuse_others,
    said,
    stops,
    text,
    whole,
)

_READ = ("contents", "systemInstruction", "tools", "toolConfig", "generationConfig")
_WITHOUT_EFFECT = ("model", "labels", "safetySettings", "store", "serviceTier")
"""Which answers are blocked is each provider's own: its settings are not carried over."""
_READ_SETTINGS = (
    "maxOutputTokens", "temperature", "topP", "topK", "stopSequences", "seed", "presencePenalty", "frequencyPenalty",
    "responseMimeType", "responseSchema", "responseJsonSchema",
)  # fmt: skip
_SETTINGS_WITHOUT_EFFECT = ("candidateCount", "responseLogprobs", "logprobs")
_WORDS = {
    "max_tokens": "maxOutputTokens", "temperature": "temperature", "top_p": "topP", "top_k": "topK",
    "stop": "stopSequences", "seed": "seed", "presence_penalty": "presencePenalty", "frequency_penalty": "frequencyPenalty",
}  # fmt: skip
_MODES = {"AUTO": "auto", "ANY": "required", "NONE": "none"}
_JSON = "application/json"
_SNAKE = re.compile(r"_([a-z])")


def read(body: Mapping[str, Any]) -> Question:
    """Read a request's body. Raises CannotSayError, naming the field that only this provider has."""
    body = named(body)
    refuse_others(body, _READ, _WITHOUT_EFFECT)
    settings = named(members(body.get("generationConfig") or {}, "generationConfig"))
    usual = ("responseModalities",) if settings.get("responseModalities") == ["TEXT"] else ()
    refuse_others(settings, _READ_SETTINGS, (*_SETTINGS_WITHOUT_EFFECT, *usual), "generationConfig.")
    calls = _Calls()
    turns = tuple(_turn(members(each, "contents"), calls) for each in items(body.get("contents"), "contents"))
    instruction = members(body.get("systemInstruction") or {"parts": []}, "systemInstruction")
    choice, chosen = _choice(body.get("toolConfig"))
    return Question(
        "\n\n".join(_plain(instruction)),
        turns,
        tuple(_tools(body.get("tools"))),
        choice,
        chosen,
        form=_form(settings),
        sampling=Sampling(
            whole(settings.get("maxOutputTokens"), "maxOutputTokens"),
            number(settings.get("temperature"), "temperature"),
            number(settings.get("topP"), "topP"),
            whole(settings.get("topK"), "topK"),
            number(settings.get("presencePenalty"), "presencePenalty"),
            number(settings.get("frequencyPenalty"), "frequencyPenalty"),
            stops(settings.get("stopSequences"), "stopSequences"),
            whole(settings.get("seed"), "seed"),
        ),
    )


def named(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an object of the API with its members in camel case: the API takes `max_output_tokens` as well."""
    return {_SNAKE.sub(lambda found: found[1].upper(), str(name)): inner for name, inner in value.items()}


class _Calls:
    """Numbers of tool calls, which this provider need not give: a result belongs to the oldest call of its name."""

    def __init__(self) -> None:
        self._count = 0
        self._open: dict[str, list[str]] = {}

    def begin(self, name: str, given: object) -> str:
        self._count += 1
        number_of = given if isinstance(given, str) and given else f"call_{self._count}"
        self._open.setdefault(name, []).append(number_of)
        return number_of

    def end(self, name: str, given: object) -> str:
        if isinstance(given, str) and given:
            return given
        waiting = self._open.get(name)
        if not waiting:
            raise CannotSayError("contents.functionResponse")
        return waiting.pop(0)


def _plain(content: Mapping[str, Any]) -> Iterator[str]:
    for part in items(content.get("parts") or [], "systemInstruction.parts"):
        yield text(members(part, "systemInstruction.parts").get("text"), "systemInstruction.parts")


def _turn(content: Mapping[str, Any], calls: _Calls) -> Turn:
    role = content.get("role", "user")
    if role not in ("user", "model", "function"):
        raise CannotSayError("contents.role")
    parts = tuple(_parts(items(content.get("parts"), "contents.parts"), calls))
    return Turn("assistant" if role == "model" else "user", parts)


def _parts(parts: list[Any], calls: _Calls) -> Iterator[Part]:
    for each in parts:
        part = named(members(each, "contents.parts"))
        if part.get("thought"):  # one model's own
            continue
        if isinstance(part.get("text"), str):
            yield Text(part["text"])
        elif "inlineData" in part:
            data = named(members(part["inlineData"], "inlineData"))
            kind = text(data.get("mimeType"), "inlineData")
            if not kind.startswith("image/"):
                raise CannotSayError("contents.inlineData")
            yield Image(kind, text(data.get("data"), "inlineData"))
        elif "functionCall" in part:
            call = members(part["functionCall"], "functionCall")
            name = text(call.get("name"), "functionCall")
            yield ToolCall(
                calls.begin(name, call.get("id")), name, members(call.get("args") or {}, "functionCall")
            )
        elif "functionResponse" in part:
            answer = members(part["functionResponse"], "functionResponse")
            name = text(answer.get("name"), "functionResponse")
            yield ToolResult(
                calls.end(name, answer.get("id")),
                name,
                json.dumps(answer.get("response"), ensure_ascii=False),
            )
        else:
            raise CannotSayError(f"contents.{next(iter(part), 'parts')}")


def _tools(told: object) -> Iterator[Tool]:
    for each in items(told or [], "tools"):
        tool = named(members(each, "tools"))
        refuse_others(tool, ("functionDeclarations",), (), "tools.")
        for one in items(tool.get("functionDeclarations") or [], "tools"):
            function = named(members(one, "tools"))
            refuse_others(
                function, ("name", "description", "parameters", "parametersJsonSchema"), (), "tools."
            )
            schema = function.get("parametersJsonSchema") or _json_schema(function.get("parameters"))
            yield Tool(
                text(function.get("name"), "tools.name"),
                text(function.get("description") or "", "tools.description"),
                members(schema or {"type": "object", "properties": {}}, "tools.parameters"),
            )


_MANY = ("properties", "$defs", "definitions", "patternProperties")
"""members of a schema that hold schemas by name"""
_INNER = ("items", "anyOf", "allOf", "oneOf", "not", "additionalProperties", "prefixItems")


def _json_schema(schema: object) -> Any:
    """Return a schema in Gemini's own words, types in capitals, as a JSON schema; its data stays as it is."""
    if isinstance(schema, list):
        return [_json_schema(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    found: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _MANY and isinstance(value, Mapping):
            found[name] = {each: _json_schema(inner) for each, inner in value.items()}
        elif name in _INNER:
            found[name] = _json_schema(value)
        elif name != "propertyOrdering":
            found[name] = value
    kind = found.get("type")
    if isinstance(kind, str):
        nullable = found.pop("nullable", False) is True
        found["type"] = [kind.lower(), "null"] if nullable else kind.lower()
    return found


def _choice(told: object) -> tuple[Any, str]:
    config = named(members(told or {}, "toolConfig"))
    refuse_others(config, ("functionCallingConfig",), (), "toolConfig.")
    calling = named(members(config.get("functionCallingConfig") or {}, "toolConfig"))
    mode, names = (
        str(calling.get("mode", "AUTO")),
        items(calling.get("allowedFunctionNames") or [], "toolConfig"),
    )
    if mode not in _MODES or len(names) > 1 or (names and mode != "ANY"):
        raise CannotSayError("toolConfig")
    return ("tool", str(names[0])) if names else (_MODES[mode], "")


def _form(settings: Mapping[str, Any]) -> Form | None:
    kind = settings.get("responseMimeType")
    schema = settings.get("responseJsonSchema") or _json_schema(settings.get("responseSchema"))
    if kind in (None, "text/plain") and schema is None:
        return None
    if kind != _JSON:
        raise CannotSayError("generationConfig.responseMimeType")
    return Form(None if schema is None else members(schema, "generationConfig.responseSchema"))


def write(question: Question, model: str) -> dict[str, Any]:  # noqa: ARG001 - the model is in the URL
    """Return the body that asks a model. Raises CannotSayError for what this provider has no word for."""
    settings = said(question.sampling, _WORDS)
    if question.form is not None:
        settings["responseMimeType"] = _JSON
        if question.form.schema is not None:
            settings["responseJsonSchema"] = question.form.schema
    body: dict[str, Any] = {"contents": [_content(turn) for turn in question.merged()]}
    if question.system:
        body["systemInstruction"] = {"parts": [{"text": question.system}]}
    if settings:
        body["generationConfig"] = settings
    if question.tools:
        if question.one_call:
            raise CannotSayError("parallel_tool_calls")
        body["tools"] = [
            {
                "functionDeclarations": [
                    {
                        "name": tool.name,
                        "description": tool.description,
                        "parametersJsonSchema": tool.parameters,
                    }
                    for tool in question.tools
                ]
            }
        ]
        if question.choice != "auto":
            body["toolConfig"] = {"functionCallingConfig": _calling(question)}
    return body


def _calling(question: Question) -> dict[str, Any]:
    if question.choice == "tool":
        return {"mode": "ANY", "allowedFunctionNames": [question.chosen]}
    return {"mode": next(ours for ours, plain in _MODES.items() if plain == question.choice)}


def _content(turn: Turn) -> dict[str, Any]:
    return {"role": "model" if turn.role == "assistant" else "user", "parts": [_part(p) for p in turn.parts]}


def _part(part: Part) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"text": part.text}
    if isinstance(part, ToolCall):
        return {"functionCall": {"name": part.name, "args": part.arguments}}
    if isinstance(part, ToolResult):
        return {"functionResponse": {"name": part.name, "response": _response(part)}}
    if part.url:
        raise CannotSayError("image_url")
    return {"inlineData": {"mimeType": part.media_type, "data": part.data}}


def _response(result: ToolResult) -> Mapping[str, Any]:
    if result.failed:
        return {"error": result.text}
    try:
        told = json.loads(result.text)
        same = isinstance(told, dict) and json.dumps(told, ensure_ascii=False) == result.text
    except (ValueError, RecursionError):
        same = False
    return told if same else {"result": result.text}  # as an object only where nothing is lost by reading it
