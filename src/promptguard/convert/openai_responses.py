"""OpenAI's Responses, read only: other servers are asked in chats.

https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from promptguard.convert.openai_chat import WITHOUT_EFFECT, arguments, choice_of, function_tool, image_at
from promptguard.convert.question import (
    CannotSayError,
    Form,
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
    text,
    whole,
)

_READ = (
    "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "text", "max_output_tokens", "temperature",
    "top_p",
)  # fmt: skip
_DEFAULTS = {"truncation": "disabled", "background": False}


def read(body: Mapping[str, Any]) -> Question:
    """Read a request's body. Raises CannotSayError, naming the field that only this provider has."""
    usual = [name for name, value in _DEFAULTS.items() if body.get(name) == value]
    refuse_others(body, _READ, (*WITHOUT_EFFECT, "include", *usual))
    told = body.get("input")
    system = [text(body.get("instructions") or "", "instructions")]
    turns: list[Turn] = []
    if isinstance(told, str):
        turns.append(Turn("user", (Text(told),)))
    else:
        names: dict[str, str] = {}
        for item in items(told, "input"):
            _add(members(item, "input"), system, turns, names)
    return Question(
        "\n\n".join(part for part in system if part),
        tuple(turns),
        tuple(map(_tool, items(body.get("tools") or [], "tools"))),
        *choice_of(body.get("tool_choice")),
        one_call=body.get("parallel_tool_calls") is False,
        form=_form(body.get("text")),
        sampling=Sampling(
            whole(body.get("max_output_tokens"), "max_output_tokens"),
            number(body.get("temperature"), "temperature"),
            number(body.get("top_p"), "top_p"),
        ),
    )


def _add(item: Mapping[str, Any], system: list[str], turns: list[Turn], names: dict[str, str]) -> None:
    kind, role = item.get("type", "message"), item.get("role")
    if kind == "message" and role in ("system", "developer") and not turns:
        system.append("".join(part.text for part in _parts(item) if isinstance(part, Text)))
    elif kind == "message" and role in ("user", "assistant"):
        turns.append(Turn("user" if role == "user" else "assistant", tuple(_parts(item))))
    elif kind == "function_call":
        call = ToolCall(
            str(item.get("call_id", "")), str(item.get("name", "")), arguments(item.get("arguments"))
        )
        names[call.id] = call.name
        turns.append(Turn("assistant", (call,)))
    elif kind == "function_call_output":
        number_of = str(item.get("call_id", ""))
        output = text(item.get("output"), "input.output")
        turns.append(Turn("user", (ToolResult(number_of, names.get(number_of, ""), output),)))
    elif kind != "reasoning":  # thoughts are one model's own
        raise CannotSayError("input.type")


def _parts(item: Mapping[str, Any]) -> Iterator[Part]:
    content = item.get("content")
    if isinstance(content, str):
        yield Text(content)
        return
    for each in items(content, "input.content"):
        part = members(each, "input.content")
        if part.get("type") in ("input_text", "output_text"):
            yield Text(text(part.get("text"), "input.content.text"))
        elif part.get("type") == "input_image" and part.get("image_url"):
            usual = ("detail",) if part.get("detail") in (None, "auto") else ()
            refuse_others(part, ("type", "image_url"), usual, "input.content.")
            yield image_at(part["image_url"])
        else:
            raise CannotSayError("input.content.type")


def _tool(told: object) -> Tool:
    tool = members(told, "tools")
    if tool.get("type") != "function":
        raise CannotSayError("tools.type")
    return function_tool(tool)


def _form(told: object) -> Form | None:
    if told is None:
        return None
    settings = members(told, "text")
    refuse_others(settings, ("format",), (), "text.")
    form = members(settings.get("format") or {"type": "text"}, "text.format")
    if form.get("type") == "json_schema":
        return Form(members(form.get("schema"), "text.format.schema"), str(form.get("name", "answer")))
    if form.get("type") in ("text", "json_object"):
        return None if form["type"] == "text" else Form()
    raise CannotSayError("text.format.type")
