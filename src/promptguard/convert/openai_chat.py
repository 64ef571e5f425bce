"""OpenAI's chats, which most servers of open models speak as well.

https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from promptguard.convert.question import (
    CannotSayError,
    Form,
    Image,
    Part,
    Question,
    Sampling,
    Schema,
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

_READ = (
    "messages", "tools", "tool_choice", "parallel_tool_calls", "response_format", "max_tokens", "max_completion_tokens",
    "temperature", "top_p", "presence_penalty", "frequency_penalty", "stop", "seed",
)  # fmt: skip
WITHOUT_EFFECT = (
    "model", "stream", "stream_options", "store", "metadata", "user", "safety_identifier", "prompt_cache_key",
    "prompt_cache_retention", "service_tier", "prediction", "logprobs", "top_logprobs", "n",
)  # fmt: skip
"""What does not change what is answered; of several answers the first is compared."""
_WORDS = {
    "max_tokens": "max_tokens", "temperature": "temperature", "top_p": "top_p", "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty", "stop": "stop", "seed": "seed",
}  # fmt: skip
_SYSTEM = ("system", "developer")


def read(body: Mapping[str, Any]) -> Question:
    """Read a request's body. Raises CannotSayError, naming the field that only this provider has."""
    modalities = body.get("modalities")
    if modalities not in (None, ["text"]):
        raise CannotSayError("modalities")
    refuse_others(body, _READ, (*WITHOUT_EFFECT, "modalities"))
    system, turns = apart(items(body.get("messages"), "messages"))
    stated = body.get("max_completion_tokens")
    limit = body.get("max_tokens") if stated is None else stated
    return Question(
        system,
        tuple(_with_names(turns)),
        tuple(map(chat_tool, items(body.get("tools") or [], "tools"))),
        *choice_of(body.get("tool_choice")),
        one_call=body.get("parallel_tool_calls") is False,
        form=_form(body.get("response_format")),
        sampling=Sampling(
            whole(limit, "max_tokens"),
            number(body.get("temperature"), "temperature"),
            number(body.get("top_p"), "top_p"),
            None,
            number(body.get("presence_penalty"), "presence_penalty"),
            number(body.get("frequency_penalty"), "frequency_penalty"),
            stops(body.get("stop"), "stop"),
            whole(body.get("seed"), "seed"),
        ),
    )


def apart(messages: Sequence[object]) -> tuple[str, list[Turn]]:
    """Return what is said before the conversation, and the conversation."""
    system: list[str] = []
    turns: list[Turn] = []
    for each in messages:
        message = members(each, "messages")
        role = message.get("role")
        if role != "assistant":
            refuse_others(
                message,
                ("role", "content", *(("tool_call_id", "name") if role == "tool" else ())),
                (),
                "messages.",
            )
        if role in _SYSTEM and not turns:
            system.append(_plain(message.get("content")))
        elif role == "user":
            turns.append(Turn("user", tuple(_parts(message.get("content")))))
        elif role == "assistant":
            refuse_others(
                message, ("role", "content", "tool_calls"), ("refusal", "annotations", "id"), "messages."
            )
            said_first = _parts(message.get("content")) if message.get("content") else ()
            calls = map(_call, items(message.get("tool_calls") or [], "messages.tool_calls"))
            turns.append(Turn("assistant", (*said_first, *calls)))
        elif role == "tool":
            result = ToolResult(str(message.get("tool_call_id", "")), "", _plain(message.get("content")))
            turns.append(Turn("user", (result,)))
        else:
            raise CannotSayError("messages.role")
    return "\n\n".join(system), turns


def _plain(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = list(_parts(content))
    if any(not isinstance(part, Text) for part in parts):
        raise CannotSayError("messages.content")
    return "".join(part.text for part in parts if isinstance(part, Text))


def _parts(content: object) -> Iterator[Part]:
    if isinstance(content, str):
        yield Text(content)
        return
    for each in items(content, "messages.content"):
        part = members(each, "messages.content")
        if part.get("type") == "text":
            yield Text(text(part.get("text"), "messages.content.text"))
        elif part.get("type") == "image_url":
            picture = members(part.get("image_url"), "messages.content.image_url")
            usual = ("detail",) if picture.get("detail") in (None, "auto") else ()
            refuse_others(picture, ("url",), usual, "messages.content.image_url.")
            yield image_at(picture.get("url"))
        else:
            raise CannotSayError("messages.content.type")


def image_at(url: object) -> Image:
    """Return the picture of a URL; of a `data:` URL its bytes."""
    told = text(url, "messages.content.image_url")
    if not told.startswith("data:"):
        return Image(url=told)
    kind, _, data = told.removeprefix("data:").partition(";base64,")
    if not data:
        raise CannotSayError("messages.content.image_url")
    return Image(kind, data)


def _call(told: object) -> ToolCall:
    call = members(told, "messages.tool_calls")
    if call.get("type", "function") != "function":
        raise CannotSayError("messages.tool_calls.type")
    function = members(call.get("function"), "messages.tool_calls.function")
    return ToolCall(
        str(call.get("id", "")),
        text(function.get("name"), "messages.tool_calls"),
        arguments(function.get("arguments")),
    )


def arguments(told: object) -> Mapping[str, Any]:
    """Return a call's arguments from the JSON that they are sent as."""
    try:
        return members(json.loads(told) if isinstance(told, str) and told else told or {}, "arguments")
    except ValueError:
        raise CannotSayError("messages.tool_calls.arguments") from None


def _with_names(turns: Sequence[Turn]) -> Iterator[Turn]:
    """Say of each tool's result which tool it was: others know results by name."""
    names = {part.id: part.name for turn in turns for part in turn.parts if isinstance(part, ToolCall)}
    for turn in turns:
        yield replace(
            turn,
            parts=tuple(
                replace(part, name=names.get(part.id, "")) if isinstance(part, ToolResult) else part
                for part in turn.parts
            ),
        )


def chat_tool(told: object) -> Tool:
    """Read a tool as chats declare it."""
    tool = members(told, "tools")
    if tool.get("type", "function") != "function":
        raise CannotSayError("tools.type")
    return function_tool(members(tool.get("function"), "tools.function"))


def chat_tools(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Return tools as chats declare them."""
    return [
        {
            "type": "function",
            "function": {"name": t.name, "description": t.description, "parameters": t.parameters},
        }
        for t in tools
    ]


def function_tool(function: Mapping[str, Any]) -> Tool:
    """Return a tool from its name, description and parameters; a strict one is written so for its own provider alone."""
    refuse_others(function, ("name", "description", "parameters"), ("strict", "type"), "tools.")
    return Tool(
        text(function.get("name"), "tools.name"),
        text(function.get("description") or "", "tools.description"),
        members(function.get("parameters") or NO_PARAMETERS, "tools.parameters"),
    )


NO_PARAMETERS: Schema = {"type": "object", "properties": {}}


def choice_of(told: object) -> tuple[Any, str]:
    """Return the choice of tools, and the one that is chosen."""
    if told is None or told == "auto":
        return "auto", ""
    if told in ("none", "required"):
        return told, ""
    choice = members(told, "tool_choice")
    if choice.get("type") != "function":
        raise CannotSayError("tool_choice")
    return "tool", text(
        choice.get("name") or members(choice.get("function"), "tool_choice").get("name"), "tool_choice"
    )


def _form(told: object) -> Form | None:
    if told is None:
        return None
    form = members(told, "response_format")
    if form.get("type") == "json_schema":
        inner = members(form.get("json_schema"), "response_format.json_schema")
        schema = members(inner.get("schema"), "response_format.json_schema.schema")
        return Form(schema, str(inner.get("name", "answer")))
    if form.get("type") in ("text", "json_object"):
        return None if form["type"] == "text" else Form()
    raise CannotSayError("response_format.type")


def write(question: Question, model: str) -> dict[str, Any]:
    """Return the body that asks `model`. Raises CannotSayError for what this provider has no word for."""
    messages: list[dict[str, Any]] = (
        [{"role": "system", "content": question.system}] if question.system else []
    )
    for turn in question.turns:
        messages += _messages(turn)
    body = {"model": model, "messages": messages, **said(question.sampling, _WORDS)}
    if question.form is not None:
        body["response_format"] = _form_for(question.form)
    if question.tools:
        body["tools"] = chat_tools(question.tools)
        if question.choice == "tool":
            body["tool_choice"] = {"type": "function", "function": {"name": question.chosen}}
        elif question.choice != "auto":
            body["tool_choice"] = question.choice
        if question.one_call:
            body["parallel_tool_calls"] = False
    return body


def _messages(turn: Turn) -> Iterator[dict[str, Any]]:
    for part in turn.parts:
        if isinstance(part, ToolResult):
            yield {"role": "tool", "tool_call_id": part.id, "content": result_text(part)}
    spoken = [part for part in turn.parts if isinstance(part, Text | Image)]
    calls = [part for part in turn.parts if isinstance(part, ToolCall)]
    if not spoken and not calls:
        return
    message: dict[str, Any] = {"role": turn.role, "content": _content(spoken) if spoken else None}
    if calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(dict(call.arguments))},
            }
            for call in calls
        ]
    yield message


def result_text(result: ToolResult) -> str:
    """Return what a tool returned; this provider has no word for a tool that failed."""
    if result.failed:
        raise CannotSayError("messages.content.is_error")
    return result.text


def _content(parts: Sequence[Text | Image]) -> object:
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return [
        {"type": "text", "text": part.text}
        if isinstance(part, Text)
        else {
            "type": "image_url",
            "image_url": {"url": part.url or f"data:{part.media_type};base64,{part.data}"},
        }
        for part in parts
    ]


def _form_for(form: Form) -> dict[str, Any]:
    if form.schema is None:
        return {"type": "json_object"}
    schema = {"name": form.name, "strict": _is_strict(form.schema), "schema": form.schema}
    return {"type": "json_schema", "json_schema": schema}


def _is_strict(schema: object) -> bool:
    """Whether a schema is one that strict outputs take: every object closed, and all of its members required."""
    if isinstance(schema, list):
        return all(map(_is_strict, schema))
    if not isinstance(schema, Mapping):
        return True
    inner = schema.get("properties")
    closed = not isinstance(inner, Mapping) or (
        schema.get("additionalProperties") is False and set(schema.get("required") or ()) == set(inner)
    )
    return closed and all(map(_is_strict, schema.values()))
