"""Ollama's own chats.

https://docs.ollama.com/api
"""

from __future__ import annotations

import base64
import binascii
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from promptguard.convert.openai_chat import chat_tool, chat_tools, result_text
from promptguard.convert.question import (
    CannotSayError,
    Form,
    Image,
    Part,
    Question,
    Sampling,
    Text,
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

_READ = ("messages", "tools", "format", "options", "think")
_WITHOUT_EFFECT = ("model", "stream", "keep_alive", "logprobs", "top_logprobs")
_WORDS = {
    "max_tokens": "num_predict", "temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "stop": "stop",
    "seed": "seed", "presence_penalty": "presence_penalty", "frequency_penalty": "frequency_penalty",
}  # fmt: skip
_OPTIONS_WITHOUT_EFFECT = ("num_ctx", "num_thread", "num_gpu", "num_batch", "main_gpu", "use_mmap")
_IMAGES = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8", "image/jpeg"),
    (b"RIFF", "image/webp"),
    (b"GIF8", "image/gif"),
)


def read(body: Mapping[str, Any]) -> Question:
    """Read a request's body. Raises CannotSayError, naming the field that only this server has."""
    refuse_others(body, _READ, _WITHOUT_EFFECT)
    if body.get("think"):
        raise CannotSayError("think")
    options = members(body.get("options") or {}, "options")
    refuse_others(options, _WORDS.values(), _OPTIONS_WITHOUT_EFFECT, "options.")
    system: list[str] = []
    turns: list[Turn] = []
    calls = _Calls()
    for each in items(body.get("messages"), "messages"):
        message = members(each, "messages")
        if message.get("role") == "system" and not turns:
            system.append(text(message.get("content"), "messages.content"))
        else:
            turns.append(_turn(message, calls))
    return Question(
        "\n\n".join(system),
        tuple(turns),
        tuple(map(chat_tool, items(body.get("tools") or [], "tools"))),
        form=_form(body.get("format")),
        sampling=Sampling(
            _limit(options.get("num_predict")),
            number(options.get("temperature"), "temperature"),
            number(options.get("top_p"), "top_p"),
            whole(options.get("top_k"), "top_k"),
            number(options.get("presence_penalty"), "presence_penalty"),
            number(options.get("frequency_penalty"), "frequency_penalty"),
            stops(options.get("stop"), "stop"),
            whole(options.get("seed"), "seed"),
        ),
    )


def _limit(told: object) -> int | None:
    limit = whole(told, "num_predict")
    if limit is not None and limit < -1:  # as much as the context holds
        raise CannotSayError("options.num_predict")
    return None if limit == -1 else limit


class _Calls:
    """Tool calls that wait for their results, which this server knows by name alone: the oldest of a name comes first."""

    def __init__(self) -> None:
        self._count = 0
        self._waiting: dict[str, deque[ToolCall]] = {}

    def begin(self, told: object) -> ToolCall:
        function = members(members(told, "messages.tool_calls").get("function"), "messages.tool_calls")
        name = text(function.get("name"), "messages.tool_calls")
        self._count += 1
        arguments = members(function.get("arguments") or {}, "messages.tool_calls")
        call = ToolCall(f"call_{self._count}", name, arguments)
        self._waiting.setdefault(name, deque()).append(call)
        return call

    def end(self, name: object) -> ToolCall:
        waiting = self._waiting.get(name) if isinstance(name, str) else None
        if not waiting:
            raise CannotSayError("messages.tool_name")
        return waiting.popleft()


def _turn(message: Mapping[str, Any], calls: _Calls) -> Turn:
    role = message.get("role")
    content = text(message.get("content") or "", "messages.content")
    if role == "user":
        refuse_others(message, ("role", "content", "images"), (), "messages.")
        pictures = map(_image, items(message.get("images") or [], "messages.images"))
        return Turn("user", (Text(content), *pictures))
    if role == "assistant":
        called = tuple(map(calls.begin, items(message.get("tool_calls") or [], "messages.tool_calls")))
        return Turn("assistant", (*([Text(content)] if content else []), *called))
    if role == "tool":
        call = calls.end(message.get("tool_name", message.get("name", "")))
        return Turn("user", (ToolResult(call.id, call.name, content),))
    raise CannotSayError("messages.role")


def _image(data: object) -> Image:
    told = text(data, "messages.images")
    try:
        first = base64.b64decode(told[:16], validate=True)
    except (binascii.Error, ValueError):
        raise CannotSayError("messages.images") from None
    kind = next((kind for magic, kind in _IMAGES if first.startswith(magic)), None)
    if kind is None:
        raise CannotSayError("messages.images")
    return Image(kind, told)


def _form(told: object) -> Form | None:
    if told in (None, ""):
        return None
    return Form() if told == "json" else Form(members(told, "format"))


def write(question: Question, model: str) -> dict[str, Any]:
    """Return the body that asks `model`. Raises CannotSayError for what this server has no word for."""
    if question.tools and (question.choice in ("required", "tool") or question.one_call):
        raise CannotSayError("parallel_tool_calls" if question.one_call else "tool_choice")
    messages: list[dict[str, Any]] = (
        [{"role": "system", "content": question.system}] if question.system else []
    )
    for turn in question.turns:
        messages += _messages(turn)
    body: dict[str, Any] = {"model": model, "messages": messages, "stream": False}
    options = said(question.sampling, _WORDS)
    if options:
        body["options"] = options
    if question.form is not None:
        body["format"] = question.form.schema if question.form.schema is not None else "json"
    if question.tools and question.choice != "none":
        body["tools"] = chat_tools(question.tools)
    return body


def _messages(turn: Turn) -> Iterator[dict[str, Any]]:
    for part in turn.parts:
        if isinstance(part, ToolResult):
            yield {"role": "tool", "tool_name": part.name, "content": result_text(part)}
    spoken = [part for part in turn.parts if not isinstance(part, ToolResult)]
    if not spoken:
        return
    kinds = [isinstance(part, Image) for part in spoken if isinstance(part, Text | Image)]
    if kinds not in (
        sorted(kinds),
        sorted(kinds, reverse=True),
    ):  # pictures lie beside the text here, not within it
        raise CannotSayError("messages.content")
    message: dict[str, Any] = {
        "role": turn.role,
        "content": "\n".join(part.text for part in spoken if isinstance(part, Text)),
    }
    pictures = [_data(part) for part in spoken if isinstance(part, Image)]
    calls = [part for part in spoken if isinstance(part, ToolCall)]
    if pictures:
        message["images"] = pictures
    if calls:
        message["tool_calls"] = [
            {"function": {"name": call.name, "arguments": call.arguments}} for call in calls
        ]
    yield message


def _data(part: Part) -> str:
    if not isinstance(part, Image) or not part.data:
        raise CannotSayError("image_url")
    return part.data
