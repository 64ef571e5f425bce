"""Answers cut at every byte, cleanly and by an error: nothing may be kept, and the caller sees what it would without us."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

import promptguard

URL = "http://provider/v1/chat/completions"
ANSWER = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4-0613",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Ja, größer {1}"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
}  # fmt: skip


def _chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"id": "c", "model": "gpt-4-0613", "choices": [choice]}).encode() + b"\n\n"


EVENTS = (
    _chunk({"role": "assistant", "content": ""}),
    _chunk({"content": "Ja, "}),
    _chunk({"content": "größer"}),
    _chunk({}, "stop"),
    b"data: [DONE]\n\n",
)
PLAIN = json.dumps(ANSWER).encode()
STREAM = b"".join(EVENTS)
BODIES = {
    "plain": (PLAIN, False, {"content-type": "application/json"}),
    "gzip": (gzip.compress(PLAIN, mtime=0), False, {"content-type": "application/json", "content-encoding": "gzip"}),
    "events": (STREAM, True, {"content-type": "text/event-stream"}),
    "gzip events": (
        gzip.compress(STREAM, mtime=0), True, {"content-type": "text/event-stream", "content-encoding": "gzip"},
    ),
}  # fmt: skip


@dataclass
class Figures:
    """What a campaign found."""

    cuts: int = 0
    stored: int = 0
    added_errors: int = 0

    def __str__(self) -> str:
        return f"{self.cuts} cuts: {self.stored} entries stored, {self.added_errors} errors added"


class Cut(httpx.SyncByteStream):
    """Gives a body in pieces of seven bytes, and ends or breaks where it is told to."""

    def __init__(self, body: bytes, breaks: bool) -> None:
        self.body = body
        self.breaks = breaks

    def __iter__(self) -> Iterator[bytes]:
        for at in range(0, len(self.body), 7):
            yield self.body[at : at + 7]
        if self.breaks:
            raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


class Provider(httpx.BaseTransport):
    """Answers every request with the bytes it was given last."""

    def __init__(self) -> None:
        self.body = b""
        self.headers: dict[str, str] = {}
        self.breaks = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=self.headers, stream=Cut(self.body, self.breaks))


def ask(client: httpx.Client, streamed: bool) -> tuple[str, bytes]:
    """Return what a caller sees: how it ended and the raw bytes until then."""
    seen: list[bytes] = []
    question = {"model": "gpt-4", "messages": [{"role": "user", "content": "?"}]}
    try:
        with client.stream(
            "POST", URL, json={**question, **({"stream": True} if streamed else {})}
        ) as response:
            seen.extend(response.iter_raw())
    except httpx.HTTPError as error:
        return type(error).__name__, b"".join(seen)
    return "end", b"".join(seen)


def campaign(kind: str) -> Figures:
    """Cut one kind of body at every byte offset, in both ways."""
    figures, provider = Figures(), Provider()
    body, streamed, provider.headers = BODIES[kind]
    bare = httpx.Client(transport=provider)
    client = promptguard.guard(httpx.Client(transport=provider), cache="memory")
    cache = client._transport._promptguard_ports.cache
    faults = client._transport._promptguard_ports.faults
    for at in range(len(body)):
        for provider.breaks in (False, True):
            provider.body = body[:at]
            figures.cuts += 1
            figures.added_errors += ask(client, streamed) != ask(bare, streamed)
            figures.stored += len(cache)
            cache.clear()
    provider.body, provider.breaks = body, True
    figures.cuts += 1
    ask(client, streamed)
    # All bytes came, and then the connection broke: only a stream is known to be complete by what it said.
    figures.stored += len(cache) if not streamed else 0
    cache.clear()
    figures.added_errors += sum(faults.counts.values())
    provider.breaks = False
    ask(client, streamed)
    assert len(cache) == 1, "the whole answer must be kept, or the campaign shows nothing"
    return figures
