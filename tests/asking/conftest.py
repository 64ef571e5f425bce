"""Both HTTP libraries, where they are installed, and servers on sockets that misbehave below HTTP."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import socketserver
import threading

import pytest

FAMILIES = [name for name in ("httpx", "httpx2") if importlib.util.find_spec(name)]


@pytest.fixture(params=FAMILIES)
def family(request):
    return importlib.import_module(request.param)


@pytest.fixture(params=["sync", "async"])
def is_async(request):
    return request.param == "async"


@pytest.fixture
def stock(family, is_async):
    """The network transport of one library and kind."""
    return family.AsyncHTTPTransport if is_async else family.HTTPTransport


@pytest.fixture
def client_class(family, is_async):
    return family.AsyncClient if is_async else family.Client


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, talk, stopping):
        class Conversation(socketserver.BaseRequestHandler):
            def handle(self):
                with contextlib.suppress(OSError):
                    self.request.recv(65536)
                    talk(self.request, stopping)

        super().__init__(("127.0.0.1", 0), Conversation)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def serve():
    """Start a server that has `talk(connection, stopping)` answer each connection; returns its origin."""
    stopping, servers = threading.Event(), []

    def start(talk):
        servers.append(_Server(talk, stopping))
        return f"http://127.0.0.1:{servers[-1].server_address[1]}"

    yield start
    stopping.set()
    for server in servers:
        server.shutdown()
        server.server_close()
