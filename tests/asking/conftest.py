"""Both HTTP libraries, where they are installed, and servers on sockets that misbehave below HTTP."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import socket
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


@pytest.fixture
def serve():
    """Start a server that has `talk(connection, stopping)` answer each connection; returns its origin."""
    stopping = threading.Event()
    listeners = []

    def start(talk):
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def accept():
            with contextlib.suppress(OSError):
                while not stopping.is_set():
                    connection, _ = listener.accept()
                    threading.Thread(target=converse, args=(connection,), daemon=True).start()

        def converse(connection):
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                talk(connection, stopping)

        threading.Thread(target=accept, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    stopping.set()
    for listener in listeners:
        listener.close()
