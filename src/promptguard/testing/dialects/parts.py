"""What is asked and answered, whatever the dialect."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

FINGERPRINT = "fp_3f2a9c1d7e"
SSE = "text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Question:
    """What the provider was asked."""

    model: str
    messages: tuple[Mapping[str, object], ...]
    body: Mapping[str, object]
    headers: Mapping[str, str]

    @property
    def text(self) -> str:
        """The text of the last message."""
        return text_of(self.messages[-1].get("content", "")) if self.messages else ""


@dataclass(frozen=True, slots=True)
class Served:
    """One answer in full; a plain str stands for Served(text).

    `finish_reason` and `tool_calls` are said as OpenAI's chats say them, and told in the words of whoever asks.
    """

    text: str
    finish_reason: str = "stop"
    output_tokens: int | None = None
    model: str | None = None
    """what the response says served it; the name asked for when None"""
    refusal: str | None = None
    tool_calls: tuple[Mapping[str, object], ...] = ()
    delay: float = 0.0
    """seconds before the first byte"""
    chunk_delay: float = 0.0
    """seconds before each event of a stream"""
    gzip: bool = False
    """compressed, as providers answer when the request accepts it"""
    logprobs: tuple[float, ...] = ()
    """log-probabilities of the answer's tokens, told where the request asks for them (OpenAI's chats and responses, Gemini;
    not streamed)"""
    headers: Mapping[str, str] = field(default_factory=dict)
    """more headers of the answer, such as those that name who served"""


@dataclass(frozen=True, slots=True)
class Fault:
    """A way to fail: an HTTP status, silence, a cut connection, or bytes that are no answer."""

    kind: Literal["status", "hang", "refuse", "garbage", "cut"]
    status: int = 500
    seconds: float = 60.0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"\x00\xff<html>no answer</html>"
    """of `garbage`; of a `status` where it is JSON, in place of the dialect's own error"""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as a dialect reads it."""

    model: str
    messages: tuple[Mapping[str, object], ...]
    streamed: bool
    body: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to be put into a dialect's words."""

    asked: Asked
    served: Served
    number: str
    """24 hexadecimal digits, new for every answer"""
    created: int
    """seconds since the Unix epoch"""
    chunk_words: int

    @property
    def model(self) -> str:
        """The model that the answer names."""
        return self.served.model or self.asked.model

    @property
    def input_tokens(self) -> int:
        """About a quarter of the characters: near enough for usage that is only ever added up."""
        return sum(len(text_of(m.get("content"))) for m in self.asked.messages) // 4 + 7

    @property
    def output_tokens(self) -> int:
        """As told, or about a quarter of the characters."""
        told = self.served.output_tokens
        return told if told is not None else max(1, len(self.served.text) // 4)

    def pieces(self) -> Iterator[str]:
        """Yield the text in pieces of `chunk_words` words, as streams send it."""
        words = self.served.text.split(" ")
        for start in range(0, len(words), self.chunk_words):
            piece = " ".join(words[start : start + self.chunk_words])
            yield piece if start + self.chunk_words >= len(words) else piece + " "

    def tokens(self, member: str = "logprob") -> list[dict[str, object]]:
        """Return the answer's tokens with their log-probabilities."""
        return [{"token": f"t{number}", member: told} for number, told in enumerate(self.served.logprobs)]

    def calls(self) -> Iterator[tuple[str, str, dict[str, object]]]:
        """Yield (id, name, arguments) of each tool call."""
        for call in self.served.tool_calls:
            function = function_of(call)
            yield str(call["id"]), function["name"], json.loads(function["arguments"])


def function_of(call: Mapping[str, object]) -> Mapping[str, str]:
    """Return name and arguments of a tool call. Raises KeyError or TypeError for what is none."""
    function = call["function"]
    if not isinstance(function, Mapping):
        raise TypeError("a tool call's function must be an object")
    return function


def turns_of(messages: object) -> tuple[Mapping[str, object], ...]:
    """Return a request's messages. Raises TypeError for what is no list."""
    if not isinstance(messages, list):
        raise TypeError("messages must be a list")
    return tuple(messages)


def text_of(content: object) -> str:
    """Return what a message says: text, or the texts of its parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def in_body(body: Mapping[str, object]) -> Asked:
    """Read a request that names model, messages and stream in its body. Raises KeyError or TypeError where it does not."""
    return Asked(str(body["model"]), turns_of(body["messages"]), body.get("stream") is True, body)


def event(data: Mapping[str, object], name: str | None = None) -> bytes:
    """Return one server-sent event."""
    named = f"event: {name}\n" if name else ""
    return f"{named}data: {json.dumps(data)}\n\n".encode()
