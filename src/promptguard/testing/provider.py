"""A model provider on loopback that speaks OpenAI chat completions, plain and streamed, over real HTTP.

with FakeProvider({"gpt-4": lambda question: "[Yes]"}) as provider:
client = OpenAI(base_url=provider.url, api_key="test")
"""

from __future__ import annotations

import gzip
import itertools
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self

FINGERPRINT = "fp_3f2a9c1d7e"


@dataclass(frozen=True, slots=True)
class Question:
    """What the provider was asked."""

    model: str
    messages: tuple[Mapping[str, Any], ...]
    body: Mapping[str, Any]
    headers: Mapping[str, str]

    @property
    def text(self) -> str:
        """The content of the last message."""
        return str(self.messages[-1].get("content", "")) if self.messages else ""


@dataclass(frozen=True, slots=True)
class Served:
    """One answer in full; a plain str stands for Served(text)."""

    text: str
    finish_reason: str = "stop"
    output_tokens: int | None = None
    model: str | None = None
    """what the response says served it; the name asked for when None"""
    refusal: str | None = None
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    delay: float = 0.0
    """seconds before the first byte"""
    chunk_delay: float = 0.0
    """seconds before each event of a stream"""
    gzip: bool = False
    """compressed, as providers answer when the request accepts it"""


@dataclass(frozen=True, slots=True)
class Fault:
    """A way to fail: an HTTP status, silence, a cut connection, or bytes that are no answer."""

    kind: Literal["status", "hang", "refuse", "garbage", "cut"]
    status: int = 500
    seconds: float = 60.0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"\x00\xff<html>no answer</html>"


Answerer = Callable[[Question], "str | Served | Fault"]


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived."""

    path: str
    headers: Mapping[str, str]
    raw: bytes
    model: str
    streamed: bool


class FakeProvider:
    """Serves models by name until closed; `models` may be changed while it runs, which is what providers do."""

    def __init__(self, models: Mapping[str, Answerer], *, chunk_words: int = 4) -> None:
        self.models: dict[str, Answerer] = dict(models)
        self.received: list[Received] = []
        self.chunk_words = chunk_words
        self.stopping = threading.Event()
        self._ids = itertools.count(1)
        self._server = _Server(("127.0.0.1", 0), _Conversation)
        self._server.provider = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="fake-provider", daemon=True)

    @property
    def url(self) -> str:
        """The base URL to give to an SDK."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def start(self) -> Self:
        """Begin serving."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop serving; connections that hang are let go."""
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def asked(self, model: str) -> int:
        """How many requests named `model` so far."""
        return sum(1 for request in self.received if request.model == model)

    def next_id(self) -> str:
        """Return an id as the provider forms them, new for every answer."""
        return f"chatcmpl-{next(self._ids):024x}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    provider: FakeProvider


class _Conversation(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
        """Stay silent."""

    def do_POST(self) -> None:
        provider = self.server.provider
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            body = json.loads(raw)
            model, messages = str(body["model"]), tuple(body["messages"])
        except (ValueError, KeyError, TypeError):
            self._send_error(400, "the body is no chat completion request", "invalid_request_error")
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        provider.received.append(Received(self.path, headers, raw, model, body.get("stream") is True))
        answerer = provider.models.get(model)
        if answerer is None:
            self._send_error(404, f"The model `{model}` does not exist or you do not have access to it.", "model_not_found")
            return
        answer = answerer(Question(model, messages, body, headers))
        if isinstance(answer, Fault):
            self._fail(answer)
            return
        served = Served(answer) if isinstance(answer, str) else answer
        if served.delay:
            provider.stopping.wait(served.delay)
        if body.get("stream") is True:
            self._send_stream(served, model, body, messages)
        else:
            self._send_plain(served, model, messages)

    def _head(self, served: Served, model: str, kind: str) -> dict[str, Any]:
        return {
            "id": self.server.provider.next_id(),
            "object": kind,
            "created": int(time.time()),
            "model": served.model or model,
            "system_fingerprint": FINGERPRINT,
        }

    def _send_plain(self, served: Served, model: str, messages: tuple[Any, ...]) -> None:
        message: dict[str, Any] = {"role": "assistant", "content": served.text, "refusal": served.refusal}
        if served.tool_calls:
            message["tool_calls"] = list(served.tool_calls)
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": served.finish_reason}
        answer = {**self._head(served, model, "chat.completion"), "choices": [choice], "usage": _usage(served, messages)}
        body = json.dumps(answer).encode()
        if served.gzip:
            self._send(200, gzip.compress(body, mtime=0), {"content-encoding": "gzip"})
        else:
            self._send(200, body)

    def _send_stream(self, served: Served, model: str, body: Mapping[str, Any], messages: tuple[Any, ...]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        if served.gzip:
            self.send_header("content-encoding", "gzip")
        self.send_header("x-request-id", self.server.provider.next_id())
        self.end_headers()
        packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16) if served.gzip else None
        try:
            for event in self._events(served, model, body, messages):
                if served.chunk_delay:
                    self.server.provider.stopping.wait(served.chunk_delay)
                data = f"data: {event}\n\n".encode()
                if packer is not None:
                    data = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
                self._send_chunk(data)
            if packer is not None:
                self._send_chunk(packer.flush())
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True  # the caller went away, which is their right

    def _send_chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _events(self, served: Served, model: str, body: Mapping[str, Any], messages: tuple[Any, ...]) -> Iterator[str]:
        head = self._head(served, model, "chat.completion.chunk")

        def chunk(delta: Mapping[str, Any], finish: str | None = None) -> str:
            return json.dumps({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

        yield chunk({"role": "assistant", "content": ""})
        for piece in _pieces(served.text, self.server.provider.chunk_words):
            yield chunk({"content": piece})
        for index, call in enumerate(served.tool_calls):
            yield chunk({"tool_calls": [{"index": index, **call}]})
        if served.refusal:
            yield chunk({"refusal": served.refusal})
        yield chunk({}, served.finish_reason)
        if (body.get("stream_options") or {}).get("include_usage"):
            yield json.dumps({**head, "choices": [], "usage": _usage(served, messages)})
        yield "[DONE]"

    def _fail(self, fault: Fault) -> None:
        if fault.kind == "status":
            self._send_error(fault.status, "as told", "server_error", fault.headers)
        elif fault.kind == "garbage":
            self._send(200, fault.body)
        else:
            if fault.kind == "hang":
                self.server.provider.stopping.wait(fault.seconds)
            if fault.kind == "cut":
                self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n" + b'{"id": ')
            self._drop()

    def _drop(self) -> None:
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # already gone

    def _send_error(self, status: int, message: str, code: str, headers: Mapping[str, str] | None = None) -> None:
        error = {"error": {"message": message, "type": code, "param": None, "code": code}}
        self._send(status, json.dumps(error).encode(), headers)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        try:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("x-request-id", self.server.provider.next_id())
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True


def _usage(served: Served, messages: tuple[Any, ...]) -> dict[str, int]:
    # About four characters a token: near enough for usage that is only ever added up.
    asked = sum(len(str(m.get("content") or "")) for m in messages if isinstance(m, dict)) // 4 + 7
    answered = served.output_tokens if served.output_tokens is not None else max(1, len(served.text) // 4)
    return {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}


def _pieces(text: str, words: int) -> Iterator[str]:
    parts = text.split(" ")
    for start in range(0, len(parts), words):
        piece = " ".join(parts[start : start + words])
        yield piece if start + words >= len(parts) else piece + " "
