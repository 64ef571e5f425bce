"""One background answer takes so long and is so large as it may, whatever the server sends, byte by byte."""

from __future__ import annotations

import threading
import time

import pytest

from promptguard.core import background_call
from promptguard.core.background_call import ANSWER_SECONDS, seconds_for
from promptguard.http.background_client import HttpBackgroundClient
from promptguard.http.owned_client import adopted, client_settings

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


def drip(connection, stopping, first, piece):
    """Send a byte or so every 10 ms, for as long as somebody reads."""
    connection.sendall(first)
    while not stopping.wait(0.01):
        connection.sendall(piece)


SERVERS = {
    "says nothing": lambda connection, stopping: stopping.wait(60),
    "drips its status line": lambda c, s: drip(c, s, b"", b"H"),
    "drips its headers": lambda c, s: drip(c, s, HEAD, b"x: y\r\n"),
    "drips its body": lambda c, s: drip(c, s, HEAD + b"content-length: 1000000\r\n\r\n", b"x"),
    "drips its chunks": lambda c, s: drip(c, s, HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "stops amid its body": lambda c, s: (c.sendall(HEAD + b"content-length: 100\r\n\r\n{"), s.wait(60)),
}


@pytest.fixture
def asker(client_class):
    made = HttpBackgroundClient(client_settings(client_class()).build())
    yield made
    made.close()


@pytest.mark.parametrize("server", SERVERS)
def test_an_answer_is_given_up_at_its_deadline(server, asker, serve):
    origin = serve(SERVERS[server])
    began = time.monotonic()
    told = asker.ask(origin + "/v1", {}, {}, {"read": 0.3})
    took = time.monotonic() - began
    assert told.error in {"timeout", "RemoteProtocolError"}
    assert 0.25 < took < 10.0


@pytest.mark.parametrize("server", SERVERS)
def test_connections_that_were_given_up_are_free_again(server, asker, serve):
    """The pool is small: if they were not, the fifth question would never be asked."""
    origin = serve(SERVERS[server])
    fine = serve(lambda c, _: c.sendall(HEAD + b"content-length: 2\r\n\r\n{}"))
    for _ in range(6):
        asker.ask(origin + "/v1", {}, {}, {"read": 0.05})
    assert asker.ask(fine + "/v1", {}, {}, {"read": 30.0}).status == 200


def test_the_deadline_is_the_callers_or_ours_whichever_is_shorter(asker, serve, monkeypatch):
    assert ANSWER_SECONDS == 120.0
    assert [seconds_for({"read": s}) for s in (5.0, 600.0, None)] == [5.0, 120.0, 120.0]
    assert seconds_for({}) == 120.0
    monkeypatch.setattr(background_call, "ANSWER_SECONDS", 0.2)
    told = asker.ask(serve(SERVERS["drips its body"]), {}, {}, {"read": 600.0, "connect": None})
    assert told.error == "timeout"


def test_a_transport_of_the_factorys_that_hangs_is_left_behind(family):
    release = threading.Event()

    class Hanging(family.BaseTransport):
        def handle_request(self, request):
            release.wait(60)
            return family.Response(200)

    asker = HttpBackgroundClient(adopted(family.Client(transport=Hanging())))
    assert asker.ask("http://x/", {}, {}, {"read": 0.1}).error == "timeout"
    release.set()
    asker.close()


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), ZeroDivisionError(), GeneratorExit()])
def test_a_transport_of_the_factorys_may_raise_anything(error, family, client_class, is_async):
    class Failing(family.BaseTransport, family.AsyncBaseTransport):
        def handle_request(self, request):
            raise error

        async def handle_async_request(self, request):
            raise error

    asker = HttpBackgroundClient(adopted(client_class(transport=Failing())))
    for _ in range(3):
        assert asker.ask("http://x/", {}, {}, {}).error == type(error).__name__
    asker.close()


def test_what_is_longer_or_packed_is_refused(asker, serve, monkeypatch):
    monkeypatch.setattr("promptguard.http.owned_client.MAX_ANSWER_BYTES", 1000)
    exact = serve(lambda c, _: c.sendall(HEAD + b"content-length: 1000\r\n\r\n" + b"x" * 1000))
    longer = serve(lambda c, _: c.sendall(HEAD + b"content-length: 1001\r\n\r\n" + b"x" * 1001))
    packed = serve(lambda c, _: c.sendall(HEAD + b"content-encoding: gzip\r\ncontent-length: 1\r\n\r\nx"))
    assert len(asker.ask(exact, {}, {}, {}).body) == 1000
    assert asker.ask(longer, {}, {}, {}).error == "ReadError"
    assert asker.ask(packed, {}, {}, {}).error == "DecodingError"


def test_a_closed_client_says_so(asker):
    asker.close()
    asker.close()
    assert asker.ask("http://127.0.0.1:9/", {}, {}, {"read": 1.0}).error
