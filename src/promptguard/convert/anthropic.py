"""Anthropic's messages.

https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
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

MOST_TOKENS = 4096
"""The limit where the question names none, which this provider wants: the most that each of its models takes."""
_READ = (
    "system", "messages", "tools", "tool_choice", "output_config", "thinking", "max_tokens", "temperature", "top_p",
    "top_k", "stop_sequences",
)  # fmt: skip
_WITHOUT_EFFECT = ("model", "stream", "metadata", "service_tier", "cache_control", "inference_geo")
_WORDS = {
    "max_tokens": "max_tokens", "temperature": "temperature", "top_p": "top_p", "top_k": "top_k",
    "stop": "stop_sequences",
}  # fmt: skip
_CHOICES = {"auto": "auto", "any": "required", "none": "none", "tool": "tool"}
_THOUGHTS = ("thinking", "redacted_thinking")


def read(body: Mapping[str, Any]) -> Question:
    """Read a request's body. Raises CannotSayError, naming the field that only this provider has."""
    refuse_others(body, _READ, (*_WITHOUT_EFFECT, "anthropic_version"))
    if members(body.get("thinking") or {}, "thinking").get("type", "disabled") != "disabled":
        raise CannotSayError("thinking")
    names: dict[str, str] = {}
    turns = tuple(_turn(members(each, "messages"), names) for each in items(body.get("messages"), "messages"))
    choice = members(body.get("tool_choice") or {"type": "auto"}, "tool_choice")
    if choice.get("type") not in _CHOICES:
        raise CannotSayError("tool_choice")
    return Question(
        _system(body.get("system")),
        turns,
        tuple(map(_tool, items(body.get("tools") or [], "tools"))),
        _CHOICES[choice["type"]],  # type: ignore[arg-type]
        str(choice.get("name", "")),
        one_call=choice.get("disable_parallel_tool_use") is True,
        form=_form(body.get("output_config")),
        sampling=Sampling(
            whole(body.get("max_tokens"), "max_tokens"),
            number(body.get("temperature"), "temperature"),
            number(body.get("top_p"), "top_p"),
            whole(body.get("top_k"), "top_k"),
            stop=stops(body.get("stop_sequences"), "stop_sequences"),
        ),
    )


def _system(told: object) -> str:
    if told is None or isinstance(told, str):
        return told or ""
    blocks = [members(each, "system") for each in items(told, "system")]
    return "\n\n".join(text(block.get("text"), "system") for block in blocks)


def _turn(message: Mapping[str, Any], names: dict[str, str]) -> Turn:
    role = message.get("role")
    if role not in ("user", "assistant"):
        raise CannotSayError("messages.role")
    content = message.get("content")
    if isinstance(content, str):
        return Turn(role, (Text(content),))
    parts = tuple(_parts(items(content, "messages.content"), names))
    return Turn(role, parts)


def _parts(blocks: list[Any], names: dict[str, str]) -> Iterator[Part]:
    for each in blocks:
        block = members(each, "messages.content")
        kind = block.get("type")
        if kind == "text":
            yield Text(text(block.get("text"), "messages.content.text"))
        elif kind == "image":
            yield _image(members(block.get("source"), "messages.content.source"))
        elif kind == "tool_use":
            call = ToolCall(
                str(block.get("id", "")),
                str(block.get("name", "")),
                members(block.get("input") or {}, "input"),
            )
            names[call.id] = call.name
            yield call
        elif kind == "tool_result":
            number_of = str(block.get("tool_use_id", ""))
            failed = block.get("is_error") is True
            yield ToolResult(number_of, names.get(number_of, ""), _plain(block.get("content")), failed)
        elif kind not in _THOUGHTS:  # which are one model's own
            raise CannotSayError("messages.content.type")


def _plain(content: object) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    blocks = [members(each, "messages.content") for each in items(content, "messages.content")]
    if any(block.get("type") != "text" for block in blocks):
        raise CannotSayError("messages.content.type")
    return "".join(text(block.get("text"), "messages.content.text") for block in blocks)


def _image(source: Mapping[str, Any]) -> Image:
    if source.get("type") == "base64":
        return Image(text(source.get("media_type"), "source"), text(source.get("data"), "source"))
    if source.get("type") == "url":
        return Image(url=text(source.get("url"), "source"))
    raise CannotSayError("messages.content.source")


def _tool(told: object) -> Tool:
    tool = members(told, "tools")
    if tool.get("type", "custom") != "custom":
        raise CannotSayError("tools.type")
    refuse_others(
        tool, ("name", "description", "input_schema"), ("type", "cache_control", "strict"), "tools."
    )
    return Tool(
        text(tool.get("name"), "tools.name"),
        text(tool.get("description") or "", "tools.description"),
        members(tool.get("input_schema"), "tools.input_schema"),
    )


def _form(told: object) -> Form | None:
    if told is None:
        return None
    settings = members(told, "output_config")
    refuse_others(settings, ("format",), (), "output_config.")
    form = settings.get("format")
    if form is None:
        return None
    if members(form, "output_config.format").get("type") != "json_schema":
        raise CannotSayError("output_config.format")
    return Form(members(form.get("schema"), "output_config.format.schema"))


def write(question: Question, model: str) -> dict[str, Any]:
    """Return the body that asks `model`. Raises CannotSayError for what this provider has no word for."""
    sampling = question.sampling
    if sampling.temperature is not None and sampling.temperature > 1:
        raise CannotSayError("temperature")
    if any(not stop.strip() for stop in sampling.stop):
        raise CannotSayError("stop")
    turns = question.merged()
    if turns[0].role != "user":
        raise CannotSayError("messages.role")
    limited = sampling if sampling.max_tokens is not None else replace(sampling, max_tokens=MOST_TOKENS)
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": turn.role, "content": _content(turn)} for turn in turns],
        **said(limited, _WORDS),
    }
    if question.system:
        body["system"] = question.system
    if question.form is not None:
        if question.form.schema is None:
            raise CannotSayError("response_format")
        body["output_config"] = {"format": {"type": "json_schema", "schema": question.form.schema}}
    if question.tools:
        body["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
            for tool in question.tools
        ]
        chosen = _choice_for(question)
        if chosen != {"type": "auto"}:
            body["tool_choice"] = chosen
    return body


def _choice_for(question: Question) -> dict[str, Any]:
    kind = next(ours for ours, plain in _CHOICES.items() if plain == question.choice)
    chosen: dict[str, Any] = {"type": kind}
    if kind == "tool":
        chosen["name"] = question.chosen
    if question.one_call and kind != "none":
        chosen["disable_parallel_tool_use"] = True
    return chosen


def _content(turn: Turn) -> object:
    if len(turn.parts) == 1 and isinstance(turn.parts[0], Text):
        return turn.parts[0].text
    return [_block(part) for part in turn.parts if not (isinstance(part, Text) and not part.text)]


def _block(part: Part) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, ToolCall):
        return {"type": "tool_use", "id": part.id, "name": part.name, "input": part.arguments}
    if isinstance(part, ToolResult):
        failed = {"is_error": True} if part.failed else {}
        return {"type": "tool_result", "tool_use_id": part.id, "content": part.text, **failed}
    if part.url:
        return {"type": "image", "source": {"type": "url", "url": part.url}}
    return {"type": "image", "source": {"type": "base64", "media_type": part.media_type, "data": part.data}}
