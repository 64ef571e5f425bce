"""A forward proxy on loopback, as companies put before the internet: for tests of what goes through one."""

from __future__ import annotations

import http.client
import select
import socket
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit

_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-connection", "proxy-authorization", "transfer-encoding")
)


class ForwardProxy:
    """Passes requests on to `hosts`, a name → the (address, port) where it really is; any other name is refused.

    Plain requests are forwarded, `CONNECT` opens a tunnel. Connections to the proxy are kept alive, as proxies do.

    >>> with ForwardProxy({"llm.internal": ("127.0.0.1", 8000)}) as proxy:  # doctest: +SKIP
    ...     client = httpx.Client(proxy=proxy.url)
    """

    def __init__(self, hosts: Mapping[str, tuple[str, int]]) -> None:
        self.hosts = dict(hosts)
        self.passed: list[tuple[str, Mapping[str, str]]] = []
        """what was asked of it: "POST http://...", or "CONNECT host:port", and the headers, names in lower case"""
        self._server = _Server(("127.0.0.1", 0), _Conversation)
        self._server.proxy = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="forward-proxy", daemon=True
        )

    @property
    def url(self) -> str:
        """The proxy's own address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    proxy: ForwardProxy

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent: clients that go away are no news."""


class _Conversation(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Stay silent."""

    def _note(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.proxy.passed.append((f"{self.command} {self.path}", headers))

    def do_POST(self) -> None:
        self._note()
        url = urlsplit(self.path)
        target = self.server.proxy.hosts.get(url.hostname or "")
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if target is None:
            self.send_error(502, "no such host")
            return
        upstream = http.client.HTTPConnection(*target, timeout=60)
        try:
            headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
            upstream.request("POST", url._replace(scheme="", netloc="").geturl(), body, headers)
            self._relay(upstream.getresponse())
        except (OSError, http.client.HTTPException):
            self.close_connection = True  # what broke off there breaks off here
        finally:
            upstream.close()

    def _relay(self, response: http.client.HTTPResponse) -> None:
        """Pass an answer on piece by piece, as it comes."""
        self.send_response_only(response.status, response.reason)
        for name, value in response.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        chunked = response.getheader("content-length") is None
        if chunked:
            self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        while data := response.read1(65536):
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n" if chunked else data)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def do_CONNECT(self) -> None:
        self._note()
        self.close_connection = True
        target = self.server.proxy.hosts.get(self.path.rpartition(":")[0])
        if target is None:
            self.send_error(502, "no such host")
            return
        with socket.create_connection(target, timeout=60) as upstream:
            self.send_response_only(200, "Connection established")
            self.end_headers()
            self._pump(upstream)

    def _pump(self, upstream: socket.socket) -> None:
        ends = {self.connection: upstream, upstream: self.connection}
        while True:
            ready, _, _ = select.select(list(ends), [], [], 60)
            for source in ready:
                data = source.recv(65536)
                if not data:
                    return
                ends[source].sendall(data)
            if not ready:
                return
