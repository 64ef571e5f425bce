"""A model provider on loopback that answers as told, over real HTTP, in the words of whoever asks.

It speaks the protocols of OpenAI (chats, responses, embeddings), Anthropic (also as Bedrock and Vertex AI serve it),
Bedrock's Converse, Gemini, Ollama and Cohere, plain and streamed; no credential and no signature is checked.

with FakeProvider({"gpt-4": lambda question: "[Yes]"}) as provider:
    client = OpenAI(base_url=provider.url, api_key="test")
    other = Anthropic(base_url=provider.origin, api_key="test")
"""

from __future__ import annotations

import gzip
import itertools
import json
import socket
import sys
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from typing import Self

from promptguard.testing.dialects import dialect_of, openai
from promptguard.testing.dialects.parts import FINGERPRINT, Answer, Asked, Fault, Question, Served

__all__ = ["FINGERPRINT", "FakeProvider", "Fault", "Question", "Received", "Served"]

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
    """Serves models by name until closed; `models` may be changed while it runs, which is what providers do.

    A model is a function of the `Question` that returns a text, a `Served` or a `Fault`.

    >>> with FakeProvider({"gpt-4": lambda question: "Yes."}) as provider:  # doctest: +SKIP
    ...     client = OpenAI(base_url=provider.url, api_key="k")
    """

    def __init__(self, models: Mapping[str, Answerer], *, chunk_words: int = 4) -> None:
        self.models: dict[str, Answerer] = dict(models)
        self.received: list[Received] = []
        self.chunk_words = chunk_words
        self.stopping = threading.Event()
        self._ids = itertools.count(1)
        self._server = _Server(("127.0.0.1", 0), _Conversation)
        self._server.provider = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="fake-provider", daemon=True
        )

    @property
    def origin(self) -> str:
        """Scheme, host and port: the base URL for SDKs whose paths begin with a version (anthropic, gemini, ollama)."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """The base URL to give to an SDK of OpenAI's kind."""
        return f"{self.origin}/v1"

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
        """Return what ids are formed from, new for every answer: 24 hexadecimal digits."""
        return f"{next(self._ids):024x}"

    def now(self) -> int:
        """Return what answers say when they were made, seconds since the Unix epoch."""
        return int(time.time())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    provider: FakeProvider

    def handle_error(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """Stay silent about clients that go away; print everything else, as a test wants to know."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Conversation(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server
    _dialect: ModuleType = openai

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Stay silent."""

    def do_POST(self) -> None:
        provider = self.server.provider
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        dialect = self._dialect = dialect_of(self.path) or openai
        try:
            asked = dialect.asked(self.path, json.loads(raw))
        except (ValueError, KeyError, TypeError, AttributeError):
            self._send_error(400, "the body is no request of this protocol", "invalid_request_error")
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        provider.received.append(Received(self.path, headers, raw, asked.model, asked.streamed))
        answerer = provider.models.get(asked.model)
        if answerer is None:
            self._send_error(
                404,
                f"The model `{asked.model}` does not exist or you do not have access to it.",
                "model_not_found",
            )
            return
        answer = answerer(Question(asked.model, asked.messages, asked.body, headers))
        if isinstance(answer, Fault):
            self._fail(answer)
        else:
            self._answer(dialect, asked, Served(answer) if isinstance(answer, str) else answer)

    def _answer(self, dialect: ModuleType, asked: Asked, served: Served) -> None:
        provider = self.server.provider
        if served.delay:
            provider.stopping.wait(served.delay)
        answer = Answer(asked, served, provider.next_id(), provider.now(), provider.chunk_words)
        if asked.streamed:
            self._send_stream(dialect, answer)
            return
        body = json.dumps(dialect.plain(answer)).encode()
        if served.gzip:
            self._send(200, gzip.compress(body, mtime=0), {"content-encoding": "gzip", **served.headers})
        else:
            self._send(200, body, served.headers)

    def _send_stream(self, dialect: ModuleType, answer: Answer) -> None:
        served = answer.served
        self.send_response(200)
        self.send_header("content-type", dialect.STREAM_TYPE)
        self.send_header("transfer-encoding", "chunked")
        if served.gzip:
            self.send_header("content-encoding", "gzip")
        self.send_header("x-request-id", f"req_{self.server.provider.next_id()}")
        for name, value in served.headers.items():
            self.send_header(name, value)
        self.end_headers()
        packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16) if served.gzip else None
        try:
            for event in dialect.streamed(answer):
                if served.chunk_delay:
                    self.server.provider.stopping.wait(served.chunk_delay)
                data = event if packer is None else packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH)
                self._send_chunk(data)
            if packer is not None:
                self._send_chunk(packer.flush())
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True  # the caller went away, which is their right

    def _send_chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _fail(self, fault: Fault) -> None:
        if fault.kind == "status" and fault.body.startswith(b"{"):
            self._send(fault.status, fault.body)
        elif fault.kind == "status":
            self._send_error(fault.status, "as told", "server_error", fault.headers)
        elif fault.kind == "garbage":
            self._send(200, fault.body)
        else:
            if fault.kind == "hang":
                self.server.provider.stopping.wait(fault.seconds)
            if fault.kind == "cut":
                self.wfile.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n"
                    b'{"id": '
                )
            self._drop()

    def _drop(self) -> None:
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # already gone

    def _send_error(
        self, status: int, message: str, code: str, headers: Mapping[str, str] | None = None
    ) -> None:
        error = self._dialect.error(status, message, code)
        self._send(status, json.dumps(error).encode(), headers)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        try:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("x-request-id", f"req_{self.server.provider.next_id()}")
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True
